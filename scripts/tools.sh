# Sourced by the other scripts: the Rust tools, installed when missing. All talk goes to stderr.

say() { echo "${0##*/}: $*" >&2; }
die() { say "$*"; exit 1; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# A toolchain that was just installed is often not on the PATH of this shell yet.
command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
command -v cargo >/dev/null || die "cargo is missing: install a Rust toolchain first, see https://rustup.rs"

# need_command NAME: a cargo subcommand, built once from its published, locked source
need_command() {
  cargo "$1" --version >/dev/null 2>&1 && return 0
  say "installing cargo-$1 (some minutes, once)"
  cargo install --locked --quiet "cargo-$1" >&2 || die "could not install cargo-$1; try it by hand: cargo install --locked cargo-$1"
}

# need_component CARGO_COMMAND COMPONENT: a part of the toolchain itself
need_component() {
  cargo "$1" --version >/dev/null 2>&1 && return 0
  command -v rustup >/dev/null || die "cargo $1 is missing: install your toolchain's $2"
  rustup component add "$2" >&2 || die "could not add $2 to the toolchain"
}
