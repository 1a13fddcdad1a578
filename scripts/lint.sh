#!/usr/bin/env bash
# Formatting, lints, and the dependencies' licenses, sources and known holes.
set -euo pipefail
. "$(dirname "$0")/tools.sh"

need_component fmt rustfmt
need_component clippy clippy
say "format"
cargo fmt --check
say "clippy"
cargo clippy --quiet --locked --all-targets -- -D warnings
need_command deny
say "dependencies"
cargo deny --log-level error --locked check bans licenses sources
# The database of advisories comes from the network; a machine without it still gets all else.
if timeout 60 cargo deny --log-level off --locked fetch db >/dev/null 2>&1; then
  cargo deny --log-level error --locked check --disable-fetch advisories
else
  say "NOT CHECKED: known security holes of the dependencies, because the advisory database could not be fetched"
fi
