#!/usr/bin/env bash
# Runs every mode of every benchmark for about a second each, unoptimized: shows the day it breaks that one is broken.
# Prints no figure that means anything. The gate calls it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PROFILE=dev

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# runs NAME ROW COMMAND…: the command succeeds, and prints each row that is named.
runs() {
  local name=$1 rows=$2 row
  shift 2
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    echo "benches/smoke.sh: $name failed" >&2
    exit 1
  fi
  while IFS= read -r row; do
    grep -qF "| $row |" "$log" || { cat "$log" >&2; echo "benches/smoke.sh: $name printed no row '$row'" >&2; exit 1; }
  done <<<"$rows"
  echo "$name runs"
}

modes="bare layered guarded guarded-200 guarded-uncached hs256 rs256 es256 broker broker-info broker-public"
runs "benches/run.sh" "$(tr ' ' '\n' <<<"$modes")" \
  env ROUNDS=1 SECONDS_EACH=1 WARM_UP=1 PEOPLE=100 MODES="$modes" benches/run.sh
proxies="nginx-1k proxy-1k proxy-1k-info nginx-100k proxy-100k"
runs "benches/run.sh proxy" "$(tr ' ' '\n' <<<"$proxies")" \
  env ROUNDS=1 SECONDS_EACH=1 WARM_UP=1 PEOPLE=100 benches/run.sh proxy
runs "benches/run.sh logins" "establishing a session in Redis" benches/run.sh logins 1 2
runs "cargo bench --bench revocation" "$(printf '%s\n' 'API of another broker' '`DEL`' 'evicted (allkeys-lru)' 1)" \
  cargo bench --locked --profile dev --bench revocation -- 2 1
runs "cargo bench --bench revocation logins" "$(printf '%s\n' everybody 'begun within the second after')" \
  cargo bench --locked --profile dev --bench revocation -- logins 50
runs "cargo bench --bench recovery" "$(printf '%s\n' '`250ms`' '`1s`' '`10s`')" \
  cargo bench --locked --profile dev --bench recovery -- 1
runs "cargo bench --bench memory" "$(printf '%s\n' 0 200)" cargo bench --locked --profile dev --bench memory -- 0 200
runs "cargo bench --bench scale" 'after the end of everybody' \
  cargo bench --locked --profile dev --bench scale -- 200 1
runs "cargo bench --bench links" "$(printf '%s\n' 300 3000)" cargo bench --locked --profile dev --bench links -- 1 1 10
