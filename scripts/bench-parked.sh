#!/usr/bin/env bash
# Measures how fast the rest flows while rows wait for a person, on servers of its own: see benches/parked.rs.
#
# usage: [ROWS=5000] [ROUNDS=3] scripts/bench-parked.sh [arguments of `cargo bench`]   (--profile dev: no release build)
set -euo pipefail
. "$(dirname "$0")/tools.sh"

scripts/servers.sh postgres18 mysql
exec cargo bench --locked --bench parked "$@"
