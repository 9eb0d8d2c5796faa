#!/usr/bin/env bash
# Runs every test, after installing what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

tests/install.sh
# There only if the system's Node is too old.
PATH="$PWD/tests/counterparts/node_modules/node/bin:$PATH"
cargo test --locked --all-features "$@"
