#!/usr/bin/env bash
# Shows that what would be published is enough: takes nothing but the packed crates, builds a project outside the workspace
# with the example of the guard alone, and runs it against a real Redis.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
folder=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$folder"' EXIT

cargo package --locked --quiet --workspace --no-verify --allow-dirty
mkdir -p "$folder/src"
patches=
for crate in core session session-redis guard; do
  # With the time of now: cargo would take an older build for theirs.
  tar -xmzf "$target"/package/counterfoil-$crate-[0-9]*.crate -C "$folder"
  unpacked=$(basename "$folder"/counterfoil-$crate-[0-9]*)
  patches+="counterfoil-$crate = { path = \"$unpacked\" }"$'\n'
done
cat >"$folder/Cargo.toml" <<END
[package]
name = "office"
edition = "2024"

[workspace]

[dependencies]
axum = "0.8"
counterfoil-guard = "0.1"
counterfoil-session-redis = "0.1"
serde = { version = "1", features = ["derive"] }
tokio = { version = "1", features = ["full"] }

[patch.crates-io]
$patches
END
cp examples/office.rs "$folder/src/main.rs"
# The versions that were tried, as far as both need them.
cp Cargo.lock "$folder/Cargo.lock"
(cd "$folder" && cargo build --quiet --target-dir "$target/packaged")

# What somebody takes on with the guard and its sessions, without a store.
packages=$(cargo tree --locked -p counterfoil-guard -e normal --prefix none --no-dedupe | awk '!/^counterfoil/ { print $1, $2 }' | sort -u | wc -l)
echo "the guard and its sessions: $packages packages of others"
if ((packages > 130)); then
  echo "tests/packaged.sh: more than 130 packages" >&2
  exit 1
fi

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
redis=$(port) office=$(port)
redis-server --port "$redis" --bind 127.0.0.1 --save "" --appendonly no >"$folder/redis.log" &
pids+=($!)
SESSION_KEY=$(head -c 32 /dev/urandom | base64) REDIS_URL=redis://127.0.0.1:$redis LISTEN=127.0.0.1:$office \
  "$target/packaged/debug/office" >"$folder/office.log" 2>&1 &
pids+=($!)

# asks EXPECTED ARGUMENT…: the status of one request, until it is the expected one or ten seconds are over.
asks() {
  local expected=$1 status= attempt
  shift
  for attempt in $(seq 100); do
    status=$(curl -s -o "$folder/body" -w '%{http_code}' "$@" || true)
    [ "$status" = "$expected" ] && return
    sleep 0.1
  done
  echo "tests/packaged.sh: $* gave $status, not $expected" >&2
  cat "$folder/body" "$folder/office.log" >&2
  exit 1
}
site=http://127.0.0.1:$office
asks 401 "$site/"
asks 200 "$site/news"
asks 303 -c "$folder/jar" -d 'name=alice&password=wonderland' "$site/login"
asks 200 -b "$folder/jar" "$site/finance"
asks 403 -b "$folder/jar" -X DELETE "$site/people/alice/sessions"
asks 303 -c "$folder/mallory" -d 'name=mallory&password=keys' "$site/login"
asks 200 -b "$folder/mallory" -X DELETE "$site/people/alice/sessions"
asks 401 -b "$folder/jar" "$site/finance"
grep -q session_revoked "$folder/body"
echo "what is packed is enough"
