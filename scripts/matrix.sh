#!/usr/bin/env bash
# Runs every pair of engines in every mode and direction, and writes docs/pairs.md from what passed.
#
# usage: scripts/matrix.sh [--matrix-only]      (without it, all tests run, the suites on pairs of one kind included)
set -euo pipefail
. "$(dirname "$0")/tools.sh"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TIDELOCK_MATRIX=$folder
export TIDELOCK_TEST_KINDS="postgres18 postgres17 postgres16 postgres15 mysql mariadb mysql_peer mariadb_peer"

# Not the great trial, which takes an hour: see scripts/trial.sh.
chosen=(-E 'not binary(trial)')
[ "${1:-}" = --matrix-only ] && chosen=(--test matrix)
code=0
scripts/test.sh --run-ignored all "${chosen[@]}" || code=$?

scripts/pairs.sh "$folder" >docs/pairs.md
cat docs/pairs.md
exit "$code"
