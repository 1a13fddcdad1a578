#!/usr/bin/env bash
# The table of docs/pairs.md, on stdout.
#
# usage: scripts/pairs.sh FOLDER      (what the tests of tests/matrix.rs left in TIDELOCK_MATRIX)
set -euo pipefail
folder=$1

kinds=(postgres18 postgres17 postgres16 postgres15 mysql mariadb)
cell() { # cell FILE: what a test left behind
  if [ -s "$folder/$1" ]; then echo passed; else echo "**FAILED**"; fi
}

echo "# Pairs of servers"
echo
echo "Written by \`make test-all\`: the same shop, types and conflicts on each pair (\`tests/matrix.rs\`), with accounts that are no superuser's."
echo
echo "| first | second | merge | first to second | second to first |"
echo "|---|---|---|---|---|"
for ((i = 0; i < ${#kinds[@]}; i++)); do
  for ((j = i; j < ${#kinds[@]}; j++)); do
    name=${kinds[i]}-${kinds[j]}
    versions=$(cat "$folder/$name".* 2>/dev/null | head -1 | cut -f1,2 || true)
    first=${versions%%$'\t'*} second=${versions#*$'\t'}
    echo "| ${first:-${kinds[i]}} | ${second:-${kinds[j]}} | $(cell "$name.Merge") | $(cell "$name.AToB") | $(cell "$name.BToA") |"
  done
done
echo
echo "Two databases of one PostgreSQL server are a pair too (the rows with one version twice). Written for, and untested because no such server could be had here: MySQL 8.4 LTS, MariaDB 11."
