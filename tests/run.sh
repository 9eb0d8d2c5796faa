#!/usr/bin/env bash
# Runs every test but those against providers of others (tests/providers.sh), after installing what is missing, and says
# how many ran. Fewer than tests/COUNT says are a failure: a test that is removed on purpose lowers the number there.
set -euo pipefail
cd "$(dirname "$0")/.."

tests/install.sh
# There only if the system's Node is too old.
PATH="$PWD/tests/counterparts/node_modules/node/bin:$PATH"
mkdir -p target
cargo test --locked --workspace --all-features "$@" 2>&1 | tee target/tests.log
ran=$(sed -n 's/^test result: ok\. \([0-9]*\) passed;.*/\1/p' target/tests.log | awk '{ sum += $1 } END { print sum + 0 }')
expected=$(cat tests/COUNT)
echo "$ran tests ran; tests/COUNT says $expected"
if (($# == 0 && ran < expected)); then
  echo "tests/run.sh: fewer tests than before: say why in the commit that lowers tests/COUNT" >&2
  exit 1
fi
