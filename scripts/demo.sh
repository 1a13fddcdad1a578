#!/usr/bin/env bash
# Shows two throw-away databases kept in step. Only the demo itself writes to stdout.
#
# usage: scripts/demo.sh [arguments of `tidelock demo`]
set -euo pipefail
. "$(dirname "$0")/tools.sh"

scripts/servers.sh postgres18
scripts/servers.sh mysql || { say "going on with MariaDB instead of MySQL"; scripts/servers.sh mariadb; }
say "building (some minutes the first time)"
cargo build --quiet --locked --release --bin tidelock >&2
exec cargo run --quiet --locked --release --bin tidelock -- demo "$@"
