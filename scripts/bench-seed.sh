#!/usr/bin/env bash
# Measures the first copy beside what a user would take instead, on servers of its own: see benches/endtoend/seed.
#
# usage: [ROWS=1000000] [ROUNDS=5] [PAIRS=pp,mp,ap,pm,mm] [POSTGRES=15] scripts/bench-seed.sh [arguments of `cargo bench`]
set -euo pipefail
. "$(dirname "$0")/tools.sh"

scripts/servers.sh "postgres${POSTGRES:-18}" mysql mariadb
if ! command -v pgloader >/dev/null; then
  say "apt-get install pgloader"
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get -y -qq install --no-install-recommends pgloader >&2 ||
    die "could not install pgloader; install it by hand, or leave its pair out: PAIRS=pp,pm,mm"
fi
exec cargo bench --locked --bench seed "$@"
