#!/usr/bin/env bash
# Makes an image under an official name where no image registry can be reached: the same programs, and of the
# official entrypoint what compose.yaml uses.
#
# usage: scripts/standins/make.sh IMAGE
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
IMAGE=$1
BASE=debian:bookworm-slim
say() { echo "standins: $*" >&2; }
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

servers() { # the folder where scripts/servers.sh puts what it fetches
  "$here/../servers.sh" "$@" >&2
  if [ -n "${TIDELOCK_SERVERS:-}" ]; then echo "$TIDELOCK_SERVERS"
  elif [ "$(id -u)" = 0 ]; then echo /var/cache/tidelock
  else echo "${XDG_CACHE_HOME:-$HOME/.cache}/tidelock"; fi
}
build() { # build ENTRYPOINT: from the Dockerfile on stdin and what was copied to $WORK
  cat >"$WORK/Dockerfile"
  [ -z "${1:-}" ] || cp "$here/$1" "$WORK/entrypoint.sh"
  docker build -q -t "$IMAGE" "$WORK" >/dev/null
  say "$IMAGE made"
}
need_base() { docker image inspect "$BASE" >/dev/null 2>&1 || "$here/make.sh" "$BASE"; }

case $IMAGE in
  debian:bookworm-slim)
    command -v debootstrap >/dev/null ||
      DEBIAN_FRONTEND=noninteractive apt-get -y -qq install --no-install-recommends debootstrap >/dev/null
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }')
    debootstrap --variant=minbase --include=ca-certificates bookworm "$WORK/root" "$mirror" >"$WORK/log" 2>&1 ||
      { tail -5 "$WORK/log" >&2; exit 1; }
    rm -rf "$WORK"/root/var/cache/apt/archives/*.deb "$WORK"/root/var/lib/apt/lists/* "$WORK"/root/usr/share/{doc,man,locale}/*
    tar -C "$WORK/root" -c . | docker import - "$IMAGE" >/dev/null
    say "$IMAGE made" ;;
  rust:*)
    need_base
    toolchain=$(rustc --print sysroot)
    mkdir "$WORK/rust"
    cp -a "$toolchain"/{bin,lib} "$WORK/rust/"
    # Behind a proxy that signs with a CA of its own, cargo must know that CA in the container too.
    mkdir "$WORK/ca"
    cp /usr/local/share/ca-certificates/*.crt "$WORK/ca/" 2>/dev/null || true
    build <<EOF
FROM $BASE
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY rust /usr/local/
COPY ca /usr/local/share/ca-certificates
RUN update-ca-certificates >/dev/null 2>&1
EOF
    ;;
  postgres:18)
    need_base
    cp -a "$(servers postgres18)/postgres18" "$WORK/postgres"
    build postgres.sh <<EOF
FROM $BASE
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-client && rm -rf /var/lib/apt/lists/* \
 && useradd --system --home /var/lib/postgresql --create-home postgres
COPY postgres /opt/postgres
COPY entrypoint.sh /usr/local/bin/
ENTRYPOINT ["entrypoint.sh"]
CMD ["postgres"]
EOF
    ;;
  mysql:*)
    need_base
    cp -a "$(servers mysql)/mysql" "$WORK/mysql"
    build mysql.sh <<EOF
FROM $BASE
RUN useradd --system --home /var/lib/mysql --create-home mysql
COPY mysql /opt/mysql
COPY entrypoint.sh /usr/local/bin/
RUN for name in mysql mysqladmin; do \
      printf '#!/bin/sh\nroot=/opt/mysql/usr lib=\$(echo /opt/mysql/usr/lib/*-linux-gnu)\nexec \$lib/ld-linux-*.so.* --library-path \$lib \$root/bin/%s "\$@"\n' \$name >/usr/local/bin/\$name \
      && chmod +x /usr/local/bin/\$name; done
ENTRYPOINT ["entrypoint.sh"]
EOF
    ;;
  mariadb:*)
    need_base
    build mariadb.sh <<EOF
FROM $BASE
RUN apt-get update && apt-get install -y --no-install-recommends mariadb-server && rm -rf /var/lib/apt/lists/* /var/lib/mysql/*
RUN printf '#!/bin/sh\nexec mariadb-admin -h 127.0.0.1 -u\$MARIADB_USER -p\$MARIADB_PASSWORD ping\n' >/usr/local/bin/healthcheck.sh \
 && chmod +x /usr/local/bin/healthcheck.sh
COPY entrypoint.sh /usr/local/bin/
ENTRYPOINT ["entrypoint.sh"]
EOF
    ;;
  *) say "no stand-in is known for $IMAGE"; exit 1 ;;
esac
