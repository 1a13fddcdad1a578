#!/usr/bin/env bash
# Runs the tests on real servers, which it installs, starts and stops.
#
# usage: scripts/test.sh [arguments of `cargo nextest run`]      (scripts/matrix.sh says what else is run now and then)
#
# The servers of the whole run are passed to the tests by URL in TIDELOCK_TEST_<KIND>; see tests/harness.
set -euo pipefail
. "$(dirname "$0")/tools.sh"

kinds=(${TIDELOCK_TEST_KINDS:-postgres18 postgres15 mysql mariadb mysql_peer mariadb_peer})
scripts/servers.sh $(printf '%s\n' "${kinds[@]%_peer}" | sort -u)
need_command nextest

say "building"
cargo build --quiet --example servers >&2
cargo nextest run --no-run >&2

# The servers live as long as the pipe to their keeper is open, so they end with this script however it ends.
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
# It begins when we say so: the shell forgets its own ends, and the number, as soon as the process is gone.
coproc KEEPER { read -r _ && exec "$target/debug/examples/servers" "${kinds[@]}"; }
keeper=$KEEPER_PID
exec {hold}>&"${KEEPER[1]}" {told}<&"${KEEPER[0]}"
echo begin >&"$hold"
ready=
while read -r line <&"$told"; do
  if [ "$line" = ready ]; then ready=1; break; fi
  name=${line%%=*}
  export "TIDELOCK_TEST_${name^^}=${line#*=}"
  say "$name: ${line#*=}"
done
[ -n "$ready" ] || die "the servers did not start"

code=0
cargo nextest run "$@" {hold}>&- {told}<&- || code=$?

kill -TERM "$keeper" 2>/dev/null || true
exec {hold}>&-
wait "$keeper" 2>/dev/null || true
exit "$code"
