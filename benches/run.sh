#!/usr/bin/env bash
# Measures what the guard costs, against no guard and against JWTs, and prints Markdown.
#
#   benches/run.sh                              four rounds of five seconds for each mode
#   benches/run.sh logins [SECONDS [AT_A_TIME]]     what a login costs, instead
#   benches/run.sh proxy                        what the reverse proxy costs, against nginx that asks nobody, instead
#   ROUNDS=8 SECONDS_EACH=10 MODES="bare guarded hs256" benches/run.sh
#   PROFILE=dev benches/run.sh                  an unoptimized build: shows that it runs, not how fast
#
# The modes are those of benches/servers.rs, and nginx-1k and nginx-100k. `guarded-20000`: so many sessions in rotation
# instead of PEOPLE. `…-info`: with the access log, in a file.
#
# Needs two idle cores, wrk, redis-server and curl; for the proxies nginx, which is their upstream, too. The servers have
# core 0 to themselves; load, Redis and the upstream core 1.
# Against the guards of others: benches/peers.sh. What sessions occupy and how long they outlive their end:
# cargo bench --bench memory, cargo bench --bench revocation.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = proxy ]; then
  # With many connections it is the core that limits, with one the way there and back.
  for connections in 64 1; do
    echo -e "\n$connections connection(s) at a time:\n"
    MODES=${MODES:-nginx-1k proxy-1k proxy-1k-info nginx-100k proxy-100k} CONNECTIONS=$connections "$0"
  done
  exit
fi
source benches/common/measure.sh
people=${PEOPLE:-1000}
read -ra modes <<<"${MODES:-bare layered guarded guarded-20000 guarded-uncached hs256 rs256 es256 broker broker-info broker-public}"

needs wrk redis-server redis-cli curl taskset setsid
if [ "${1:-}" = logins ]; then
  # It puts the broker on the other core by itself.
  program=$(executables logins | sed -n 's/^logins=//p')
  taskset -c "$core_of_load" "$program" "${2:-20}" "${3:-8}" "$core_of_servers"
  exit
fi
servers=${SERVERS:-$(executables servers | sed -n 's/^servers=//p')}

start_redis
if [[ " ${modes[*]}" == *" proxy-"* || " ${modes[*]}" == *" nginx-"* ]]; then
  needs nginx
  start_upstream
fi

port=$first_port
for mode in "${modes[@]}"; do
  port=$((port + 1))
  ports[$mode]=$port
  paths[$mode]=/
  hosts[$mode]=localhost:8080
  case $mode in
    nginx-*)
      nginx_proxy "$mode" "$port"
      groups[$mode]=$!
      echo >"$folder/$mode"
      wait_for curl -sf "http://127.0.0.1:$port/1k"
      ;;
    *)
      address=() sessions=$people served=$mode
      [[ $mode != proxy-* ]] || address=("http://127.0.0.1:$upstream_port")
      [[ ! $mode =~ ^(guarded)-([0-9]+)$ ]] || { served=${BASH_REMATCH[1]} sessions=${BASH_REMATCH[2]}; }
      start "$core_of_servers" "$folder/$mode.log" "$servers" "$served" "$port" "$folder/$mode" "$sessions" \
        "redis://127.0.0.1:$redis_port/0" "${address[@]}"
      groups[$mode]=$!
      wait_for grep -q ready "$folder/$mode.log"
      ;;
  esac
  case $mode in
    # Strangers, on a public page.
    broker-public) paths[$mode]=/public; echo >"$folder/$mode" ;;
    proxy-* | nginx-*) paths[$mode]=${mode#*-}; paths[$mode]=/${paths[$mode]%-info} ;;
  esac
  answer=$(answer_of "$mode")
  case $mode:$answer in
    bare:"ok nobody" | layered:"ok nobody" | broker-public:"ok nobody" | *:"ok 24828976-"*) ;;
    proxy-*:"ok upstream x"* | nginx-*:"ok upstream x"*) ;;
    *) fail "$mode answers: $answer" ;;
  esac
done

measure "${modes[@]}"
tables "${modes[@]}" <<'END'
guarded bare requests >= 0.93
guarded-20000 bare requests >= 0.86
guarded layered requests
guarded hs256 requests
guarded rs256 requests
guarded es256 requests
broker bare requests >= 0.85
broker hs256 requests >= 1.5
broker broker-public requests
broker-info broker requests
proxy-1k nginx-1k requests >= 0.95
proxy-1k nginx-1k cpu <= 1.2
proxy-1k - user <= 6 µs
nginx-1k - user
proxy-1k-info proxy-1k requests >= 0.95
proxy-100k nginx-100k requests >= 1
END
