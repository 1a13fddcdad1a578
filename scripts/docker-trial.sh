#!/usr/bin/env bash
# Tries Dockerfile and compose.yaml for real: builds the image, starts everything, and sees a row cross both ways.
#
# usage: scripts/docker-trial.sh [--keep]          (--keep: leave it running)
#
# Owns: a docker engine of its own where none runs (needs root), stand-ins for the base images where no image
#       registry can be reached (scripts/standins), and the compose project `tidelock-trial`, which it removes.
# Fails: at the first thing that is not as it should be, with the logs of all containers.
set -euo pipefail
cd "$(dirname "$0")/.."

PROJECT=tidelock-trial
LIMIT=180 # seconds for one wait
keep=
[ "${1:-}" = --keep ] && keep=1
say() { echo "trial: $*" >&2; }
die() { say "FAILED: $*"; exit 1; }

# ---- an engine
if ! command -v dockerd >/dev/null && ! docker info >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] || die "no docker engine is reachable, and only root can install one"
  say "installing docker"
  apt-get -qq update >&2
  DEBIAN_FRONTEND=noninteractive apt-get -y -qq install --no-install-recommends docker.io docker-compose iptables >/dev/null
fi
engine=
if ! docker info >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] || die "no docker engine is reachable"
  say "starting a docker engine"
  dockerd >/tmp/tidelock-dockerd.log 2>&1 &
  engine=$!
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 1; done
  docker info >/dev/null 2>&1 || die "the docker engine did not start: $(tail -3 /tmp/tidelock-dockerd.log)"
fi
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else
  command -v docker-compose >/dev/null || die "neither 'docker compose' nor docker-compose is there"
  compose=(docker-compose)
fi
compose+=(-p "$PROJECT" --profile mariadb)

finish() {
  local code=$?
  trap - EXIT
  if [ "$code" != 0 ]; then "${compose[@]}" logs --tail 40 >&2 || true; fi
  if [ -z "$keep" ]; then
    "${compose[@]}" down -v --remove-orphans >/dev/null 2>&1 || true
    [ -z "$engine" ] || kill "$engine" 2>/dev/null || true
  fi
  exit "$code"
}
trap finish EXIT

# ---- base images: the real ones where a registry answers
for image in debian:bookworm-slim rust:1.95-slim-bookworm postgres:18 mysql:9.7 mariadb:10.11; do
  docker image inspect "$image" >/dev/null 2>&1 && continue
  timeout 120 docker pull -q "$image" >/dev/null 2>&1 && continue
  say "$image cannot be pulled: making a stand-in"
  scripts/standins/make.sh "$image" || die "no stand-in for $image"
done

# ---- the image
start=$SECONDS
docker build -t tidelock . >/tmp/tidelock-build.log 2>&1 || { tail -20 /tmp/tidelock-build.log >&2; die "docker build"; }
size=$(docker image inspect tidelock --format '{{.Size}}')
say "image tidelock: $((size / 1000000)) MB, built in $((SECONDS - start)) s"
[ "$size" -lt 60000000 ] || die "the image is larger than 60 MB"

# ---- up
sql() { # sql SERVICE STATEMENT: the rows, cells separated by blanks
  case $1 in
    postgres) "${compose[@]}" exec -T postgres psql -qAt -F ' ' -U shop "${3:-shop}" -c "$2" ;;
    mysql) "${compose[@]}" exec -T mysql mysql -h127.0.0.1 -N -ushop -pshop shop -e "$2" 2>/dev/null | tr '\t' ' ' ;;
    mariadb) "${compose[@]}" exec -T mariadb mariadb -h127.0.0.1 -N -ucrm -pcrm crm -e "$2" | tr '\t' ' ' ;;
  esac
}
wait_for() { # wait_for WHAT COMMAND...: until it succeeds
  local what=$1 from=$SECONDS
  shift
  until "$@" 2>/dev/null; do
    [ $((SECONDS - from)) -lt "$LIMIT" ] || die "waited $LIMIT s in vain for: $what"
    sleep 0.5
  done
  say "$what, after $((SECONDS - from)) s"
}
is() { [ "$(sql "$1" "$2" "${4:-}")" = "$3" ]; }
health_of() { docker inspect --format '{{.State.Health.Status}}' "$("${compose[@]}" ps -q "$1")"; }
healthy() { [ "$(health_of "$1")" = healthy ]; }

up=$SECONDS
say "${compose[*]} up -d"
"${compose[@]}" up -d >/tmp/tidelock-up.log 2>&1 || { tail -20 /tmp/tidelock-up.log >&2; die "compose up"; }
wait_for "tidelock is healthy" healthy tidelock
wait_for "tidelock-mariadb is healthy" healthy tidelock-mariadb
wait_for "the first copy has come to MySQL" is mysql "SELECT count(*) FROM customers" 10
sql postgres "INSERT INTO customers (id, name) VALUES (100, 'Ada')"
wait_for "a row went from PostgreSQL to MySQL" is mysql "SELECT id, name FROM customers WHERE id = 100" "100 Ada"
sql mysql "INSERT INTO customers (id, name) VALUES (200, 'Grace'); UPDATE customers SET name = 'Ada L.' WHERE id = 100"
wait_for "a row and a change went from MySQL to PostgreSQL" is postgres "SELECT string_agg(id || name, ',' ORDER BY id) FROM customers WHERE id >= 100" "100Ada L.,200Grace"
sql mariadb "UPDATE contacts SET phone = '555-0199' WHERE id = 1; INSERT INTO contacts VALUES (3, 'Joan', NULL)"
wait_for "changes went from MariaDB to PostgreSQL" is postgres "SELECT count(*) FROM contacts WHERE phone = '555-0199' OR id = 3" 2 crm
say "from 'up' to rows crossing both ways: $((SECONDS - up)) s"

# ---- what the image promises
container=$("${compose[@]}" ps -q tidelock)
[ "$(docker inspect --format '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}' "$container")" = "65532:65532 true" ] ||
  die "it runs as root or on a writable root"
"${compose[@]}" exec -T tidelock tidelock status >&2
docker exec "$container" sh -c true >/dev/null 2>&1 && die "there is a shell in the image"
say "a kill of the container loses nothing"
docker kill "$container" >/dev/null
sql mysql "DELETE FROM customers WHERE id = 200"
docker start "$container" >/dev/null
wait_for "the delete crossed after the restart" is postgres "SELECT count(*) FROM customers WHERE id = 200" 0
from=$SECONDS
"${compose[@]}" stop -t 10 tidelock >/dev/null 2>&1
code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
[ "$code" = 0 ] || die "it left with $code at SIGTERM"
say "left in $((SECONDS - from)) s with exit code 0"
say "PASSED"
