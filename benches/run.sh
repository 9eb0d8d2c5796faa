#!/usr/bin/env bash
# Measures what the guard costs, against no guard and against JWTs, and prints Markdown.
#
#   benches/run.sh                              four rounds of five seconds for each mode
#   benches/run.sh logins [SECONDS [AT_A_TIME]]     what a login costs, instead
#   benches/run.sh proxy                        what the reverse proxy costs, against nginx that asks nobody, instead
#   ROUNDS=8 SECONDS_EACH=10 MODES="bare guarded hs256" benches/run.sh
#   PROFILE=dev benches/run.sh                  an unoptimized build: shows that it runs, not how fast
#
# Needs two idle cores, wrk, redis-server and curl; for the proxies nginx, which is their upstream, too. The servers have
# core 0 to themselves; load, Redis and the upstream core 1.
# What sessions occupy and how long they outlive their end: cargo bench --bench memory, cargo bench --bench revocation.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-4}
seconds=${SECONDS_EACH:-5}
warm_up=${WARM_UP:-2}
people=${PEOPLE:-10000}
proxies="proxy-1k nginx-1k proxy-100k nginx-100k"
if [ "${1:-}" = proxy ]; then
  # With many connections it is the core that limits, with one the way there and back.
  for connections in 64 1; do
    echo -e "\n$connections connection(s) at a time:\n"
    MODES=${MODES:-$proxies} CONNECTIONS=$connections "$0"
  done
  exit
fi
connections=${CONNECTIONS:-64}
read -ra modes <<<"${MODES:-bare layered guarded guarded-uncached hs256 rs256 es256 broker broker-public}"
core_of_servers=${CORE_OF_SERVERS:-0}
core_of_load=${CORE_OF_LOAD:-1}
first_port=${FIRST_PORT:-18600}
profile=${PROFILE:-bench}

for program in wrk redis-server redis-cli curl taskset; do
  command -v "$program" >/dev/null || { echo "benches/run.sh: please install $program" >&2; exit 1; }
done
if [ "${1:-}" = logins ]; then
  # It puts the broker on the other core by itself.
  program=$(cargo bench --locked --profile "$profile" --no-run --bench logins --message-format=json |
    sed -n 's|.*"executable":"\([^"]*/logins-[^"]*\)".*|\1|p')
  taskset -c "$core_of_load" "$program" "${2:-20}" "${3:-8}" "$core_of_servers"
  exit
fi

# Cargo names the program after its content; this is where it says how.
servers=${SERVERS:-$(cargo bench --locked --profile "$profile" --no-run --bench servers --message-format=json |
  sed -n 's|.*"executable":"\([^"]*/servers-[^"]*\)".*|\1|p')}

folder=$(mktemp -d)
started=()
finish() {
  ((${#started[@]} == 0)) || kill "${started[@]}" 2>/dev/null || true
  wait
  rm -rf "$folder"
}
trap finish EXIT

wait_for() {
  for _ in $(seq 1200); do
    ! "$@" >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  echo "benches/run.sh: never came true: $*" >&2
  return 1
}

taskset -c "$core_of_load" redis-server --port "$first_port" --bind 127.0.0.1 --save '' --appendonly no >"$folder/redis" &
started+=($!)
wait_for redis-cli -p "$first_port" ping

# nginx NAME CORE SERVER: one nginx of one process, for the length of the measurement.
nginx_on() {
  mkdir "$folder/nginx-$1.d"
  cat >"$folder/nginx-$1.conf" <<END
daemon off;
master_process off;
pid $folder/nginx-$1.d/pid;
error_log stderr;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  keepalive_requests 100000000;
  client_body_temp_path $folder/nginx-$1.d/body;
  proxy_temp_path $folder/nginx-$1.d/proxy;
  fastcgi_temp_path $folder/nginx-$1.d/fastcgi;
  uwsgi_temp_path $folder/nginx-$1.d/uwsgi;
  scgi_temp_path $folder/nginx-$1.d/scgi;
  $3
}
END
  taskset -c "$2" nginx -p "$folder/nginx-$1.d" -c "$folder/nginx-$1.conf" >"$folder/nginx-$1.log" 2>&1 &
  started+=($!)
}

# The upstream of all proxies: files of 1 kB and 100 kB.
upstream=$((first_port + 90))
if [[ " ${modes[*]}" == *" proxy-"* || " ${modes[*]}" == *" nginx-"* ]]; then
  command -v nginx >/dev/null || { echo "benches/run.sh: please install nginx" >&2; exit 1; }
  mkdir "$folder/files"
  # Readable for whatever user nginx takes.
  chmod 755 "$folder" "$folder/files"
  for size in 1 100; do
    { printf 'ok upstream '; head -c $((size * 1024 - 12)) /dev/zero | tr '\0' x; } >"$folder/files/${size}k"
  done
  nginx_on upstream "$core_of_load" "server { listen 127.0.0.1:$upstream; root $folder/files; }"
  wait_for curl -sf "http://127.0.0.1:$upstream/1k"
fi

declare -A pids ports paths
port=$first_port
for mode in "${modes[@]}"; do
  port=$((port + 1))
  ports[$mode]=$port
  paths[$mode]=/
  case $mode in
    nginx-*)
      nginx_on "$mode" "$core_of_servers" "upstream back { server 127.0.0.1:$upstream; keepalive 128; keepalive_requests 100000000; }
        server { listen 127.0.0.1:$port; location / {
          proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection \"\"; } }"
      pids[$mode]=$!
      echo >"$folder/$mode"
      wait_for curl -sf "http://127.0.0.1:$port/1k"
      ;;
    *)
      address=()
      [[ $mode != proxy-* ]] || address=("http://127.0.0.1:$upstream")
      taskset -c "$core_of_servers" "$servers" "$mode" "$port" "$folder/$mode" "$people" \
        "redis://127.0.0.1:$first_port/0" "${address[@]}" >"$folder/$mode.log" &
      pids[$mode]=$!
      started+=($!)
      wait_for grep -q ready "$folder/$mode.log"
      ;;
  esac
  case $mode in
    # Strangers, on a public page.
    broker-public) paths[$mode]=/public; echo >"$folder/$mode" ;;
    proxy-* | nginx-*) paths[$mode]=/${mode#*-} ;;
  esac
  # All of it would be much; curl minds that nobody reads on.
  answer=$({ curl -s -H 'Host: localhost:8080' -H "Cookie: $(head -n 1 "$folder/$mode")" \
    "http://127.0.0.1:$port${paths[$mode]}" || true; } | head -c 100)
  case $mode:$answer in
    bare:"ok nobody" | layered:"ok nobody" | broker-public:"ok nobody" | *:"ok 24828976-"*) ;;
    proxy-*:"ok upstream x"* | nginx-*:"ok upstream x"*) ;;
    *) echo "benches/run.sh: $mode answers: $answer" >&2; exit 1 ;;
  esac
done

# User and system time of a process so far, in ticks.
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }
load() {
  taskset -c "$core_of_load" wrk -t1 -c"$connections" -d"$2s" -s benches/rotate.lua "http://127.0.0.1:${ports[$1]}" \
    -- "$folder/$1" "${paths[$1]}" | sed -n 's/^RESULT //p'
}

for round in $(seq "$rounds"); do
  for mode in "${modes[@]}"; do
    load "$mode" "$warm_up" >/dev/null
    before=$(ticks "${pids[$mode]}")
    read -r requests microseconds refused broken <<<"$(load "$mode" "$seconds")"
    after=$(ticks "${pids[$mode]}")
    if ((refused > 0 || broken > 0 || requests == 0)); then
      echo "benches/run.sh: $mode: $refused refusals, $broken broken connections, $requests requests" >&2
      exit 1
    fi
    echo "$round $mode $requests $microseconds $((after - before))" | tee -a "$folder/results" >&2
  done
done

awk -v tick="$(getconf CLK_TCK)" -v order="${modes[*]}" '
  function median(list, count,   i, j, swap) {
    for (i = 2; i <= count; i++)
      for (j = i; j > 1 && list[j - 1] > list[j]; j--) { swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap }
    return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
  }
  # The median over the rounds of `mode` by `other`; `lowest` and `highest` are set on the way.
  function ratio(values, mode, other,   i, list) {
    for (i = 1; i <= rounds; i++) list[i] = values[i, mode] / (other ? values[i, other] : 1)
    middle = median(list, rounds); lowest = list[1]; highest = list[rounds]
    return middle
  }
  function claim(mode, other, target,   rate) {
    if (!(("1" SUBSEP mode) in rates) || !(("1" SUBSEP other) in rates)) return
    rate = sprintf("%.2f [%.2f..%.2f]", ratio(rates, mode, other), lowest, highest)
    printf "| %s / %s | %s | %.2f [%.2f..%.2f] | %s |\n", mode, other, rate, ratio(costs, other, mode), lowest, highest, target
  }
  { rounds = $1; rates[$1, $2] = $3 / $4 * 1e6; costs[$1, $2] = $5 / tick * 1e6 / $3 }
  END {
    count = split(order, modes, " ")
    has_bare = ("1" SUBSEP "bare") in rates
    print "| mode | requests/s | [lowest..highest] | CPU per request | requests/s to bare | CPU to bare |"
    print "| --- | ---: | ---: | ---: | ---: | ---: |"
    for (i = 1; i <= count; i++) {
      mode = modes[i]
      printf "| %s | %d ", mode, ratio(rates, mode, "")
      printf "| [%d..%d] | %.2f µs ", lowest, highest, ratio(costs, mode, "")
      if (has_bare) printf "| %.2f | %.2f |\n", ratio(rates, mode, "bare"), ratio(costs, mode, "bare")
      else print "| - | - |"
    }
    print "\n| claim | by requests/s | by CPU per request | target |\n| --- | ---: | ---: | ---: |"
    claim("guarded", "bare", ">= 0.90")
    claim("guarded", "layered", "")
    claim("guarded", "hs256", ">= 2.5")
    claim("guarded", "rs256", "")
    claim("guarded", "es256", "")
    claim("broker", "broker-public", "")
    claim("proxy-1k", "nginx-1k", ">= 0.95")
    claim("proxy-100k", "nginx-100k", ">= 1")
  }' "$folder/results"
