#!/usr/bin/env bash
# Measures what mapping costs the stream from MySQL to PostgreSQL, on servers of its own: see benches/mapped.rs.
#
# usage: [CHANGES=50000] [ROUNDS=3] [ROWS=100000] scripts/bench-mapped.sh [arguments of `cargo bench`]   (--profile dev: no release build)
set -euo pipefail
. "$(dirname "$0")/tools.sh"

scripts/servers.sh postgres18 mysql
exec cargo bench --locked --bench mapped "$@"
