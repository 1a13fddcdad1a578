#!/usr/bin/env bash
# Measures what merge costs beside transactional mode, on servers of its own: see benches/merge.rs.
#
# usage: [ROWS=20000] [ROUNDS=3] scripts/bench-merge.sh [arguments of `cargo bench`]   (--profile dev: no release build)
set -euo pipefail
. "$(dirname "$0")/tools.sh"

scripts/servers.sh postgres18 mysql
exec cargo bench --locked --bench merge "$@"
