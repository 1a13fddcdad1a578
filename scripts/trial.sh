#!/usr/bin/env bash
# First copies of millions of rows, and of 500 tables, under load and under kills: see tests/trial. On servers of its own;
# about an hour on two cores, and up to 10 GB of disk (TMPDIR).
#
# usage: [ROWS=n] [TABLES=n] [STORM=n] scripts/trial.sh [part of a name, such as postgres18_to_mysql]
#
# ROWS: of each pair, instead of 5,000,000 from PostgreSQL to MySQL and 1,000,000 on the others. TABLES: instead of 500. STORM:
# so many kills more, of anything at any moment.
# Ends with 1 when something was lost, differs, or was done again.
set -euo pipefail
. "$(dirname "$0")/tools.sh"

scripts/servers.sh
say "building (some minutes the first time)"
# Released, as users run it; one after the other, because each takes the whole machine.
exec cargo test --quiet --locked --release --test trial "$@" -- --ignored --nocapture --test-threads=1
