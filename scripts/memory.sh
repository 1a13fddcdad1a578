#!/usr/bin/env bash
# Measures memory and processor time on servers of its own: see examples/memory.rs. About ten minutes on two cores.
#
# usage: [SIZE_MB=1024] [ROWS=3600000] [IDLE_SECONDS=60] scripts/memory.sh
#
# Ends with 1 when a bound is not kept. A transaction of SIZE_MB needs some times its size of disk: both servers' logs
# and tables, and the spill (TMPDIR).
set -euo pipefail
. "$(dirname "$0")/tools.sh"

scripts/servers.sh postgres18 mysql
say "building (some minutes the first time)"
cargo build --quiet --locked --release --bin tidelock --example memory >&2
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
exec "$target/release/examples/memory" "$target/release/tidelock"
