#!/usr/bin/env bash
# Installs on Debian or Ubuntu with Rust what the tests need and is missing: Redis, OpenSSL, nginx, Caddy, Chromium, Node, Python, wrk, and
# the packages that tests/counterparts/package.json and requirements.txt pin. Without the right to install it says what
# to install.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
needs() { command -v "$1" >/dev/null || missing+=("${@:2}"); }
needs redis-server redis-server
needs redis-cli redis-tools
needs openssl openssl
needs nginx nginx
needs caddy caddy
needs chromium chromium chromium-driver
# Debian keeps servers where only administrators look.
PATH="$PATH:/usr/sbin" needs lighttpd lighttpd
needs node nodejs npm
needs python3 python3 python3-venv
# Debian's Python comes without what makes a venv.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
needs cc build-essential
needs curl curl
needs wrk wrk

if ((${#missing[@]})); then
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null; then
      as_root=(sudo)
    else
      echo "tests/install.sh: please install first: ${missing[*]} (apt-get install ${missing[*]})" >&2
      exit 1
    fi
  fi
  echo "tests/install.sh: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  # Debian would start a Redis of its own on the default port, which nobody here needs.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq "${missing[@]}" >/dev/null
fi

if ! (cd tests/counterparts && npm ls --depth=0 >/dev/null 2>&1); then
  echo "tests/install.sh: installing the Node packages of tests/counterparts"
  (cd tests/counterparts && npm install --no-save --no-audit --no-fund --no-package-lock --loglevel=error)
fi

# Debian 12 has Node 18; the counterparts need 20. The registry's `node` package carries a newer one.
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
  echo "tests/install.sh: installing a newer Node beside the counterparts"
  (cd tests/counterparts && npm install --no-save --no-audit --no-fund --no-package-lock --loglevel=error \
    node@22 oidc-provider@9.13.3 playwright-core@1.65.1 axe-core@4.14.1)
fi

venv=tests/counterparts/.venv
if ! cmp -s tests/counterparts/requirements.txt "$venv/installed.txt"; then
  echo "tests/install.sh: installing the Python packages of tests/counterparts"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement tests/counterparts/requirements.txt
  cp tests/counterparts/requirements.txt "$venv/installed.txt"
fi
