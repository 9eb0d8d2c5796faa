# Functions that run.sh and peers.sh share: servers on a core of their own, rounds in which they take turns, and tables of
# their requests, their CPU time and the ratios that are claimed. Sourced at the root of the repository.

rounds=${ROUNDS:-4}
seconds=${SECONDS_EACH:-5}
warm_up=${WARM_UP:-2}
connections=${CONNECTIONS:-64}
core_of_servers=${CORE_OF_SERVERS:-0}
core_of_load=${CORE_OF_LOAD:-1}
first_port=${FIRST_PORT:-18600}
profile=${PROFILE:-bench}
redis_port=$first_port
upstream_port=$((first_port + 90))

fail() { echo "$0: $*" >&2; exit 1; }

# needs PROGRAM…: each of them is installed.
needs() {
  local program
  for program in "$@"; do command -v "$program" >/dev/null || fail "please install $program"; done
}

folder=$(mktemp -d)
# Readable for whatever user a server takes.
chmod 755 "$folder"
# The process groups that were started: a server may have several processes.
started=()
finish() {
  local group
  for group in "${started[@]}"; do kill -- "-$group" 2>/dev/null || true; done
  wait
  rm -rf "$folder"
}
trap finish EXIT

# start CORE LOG COMMAND…: a process group of its own on one core; its number is $!.
start() {
  local core=$1 log=$2
  shift 2
  setsid taskset -c "$core" "$@" >>"$log" 2>&1 </dev/null &
  started+=($!)
}

wait_for() {
  for _ in $(seq 1200); do
    ! "$@" >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  fail "never came true: $*"
}

# executables BENCH: builds a benchmark, and prints NAME=PATH of it and of the broker. Cargo names programs after their
# content; this is where it says how.
executables() {
  cargo bench --locked --profile "$profile" --no-run --bench "$1" --message-format=json |
    sed -n 's|.*"name":"\([a-z]*\)".*"executable":"\([^"]*\)".*|\1=\2|p'
}

start_redis() {
  start "$core_of_load" "$folder/redis.log" redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no
  wait_for redis-cli -p "$redis_port" ping
}

# nginx_on NAME CORE SERVER: one nginx of one process, for the length of the measurement.
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
  start "$2" "$folder/nginx-$1.log" nginx -p "$folder/nginx-$1.d" -c "$folder/nginx-$1.conf"
}

# The upstream of all proxies: files of 1 kB and 100 kB.
start_upstream() {
  local size
  mkdir "$folder/files"
  chmod 755 "$folder/files"
  for size in 1 100; do
    { printf 'ok upstream '; head -c $((size * 1024 - 12)) /dev/zero | tr '\0' x; } >"$folder/files/${size}k"
  done
  nginx_on upstream "$core_of_load" "server { listen 127.0.0.1:$upstream_port; root $folder/files; }"
  wait_for curl -sf "http://127.0.0.1:$upstream_port/1k"
}

# nginx_proxy NAME PORT: nginx in front of the upstream, which asks nobody who they are.
nginx_proxy() {
  nginx_on "$1" "$core_of_servers" "upstream back { server 127.0.0.1:$upstream_port; keepalive 128; keepalive_requests 100000000; }
    server { listen 127.0.0.1:$2; location / {
      proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection \"\"; } }"
}

# cpu_times GROUP: user and system time of all processes of a group so far, in ticks; of those that ended, too.
cpu_times() {
  cat /proc/[0-9]*/stat 2>/dev/null | sed 's/^.*) //' |
    awk -v group="$1" '$3 == group { user += $12 + $14; kernel += $13 + $15 } END { print user + 0, kernel + 0 }'
}

# load NAME SECONDS: requests, microseconds, refusals, broken connections and bytes. Of each name: its port, the path that is
# asked for, the host that it is asked by; a file of its name holds a cookie a line.
declare -A groups ports paths hosts
load() {
  taskset -c "$core_of_load" wrk -t1 -c"$connections" -d"$2s" -s benches/rotate.lua "http://127.0.0.1:${ports[$1]}" \
    -- "$folder/$1" "${paths[$1]}" "${hosts[$1]}" | sed -n 's/^RESULT //p'
}

# answer_of NAME: the first 100 bytes of what its first cookie gets. curl minds that nobody reads on.
answer_of() {
  { curl -s -H "Host: ${hosts[$1]}" -H "Cookie: $(head -n 1 "$folder/$1")" "http://127.0.0.1:${ports[$1]}${paths[$1]}" ||
    true; } | head -c 100
}

# lines_of NAME: how long its log is.
lines_of() { wc -l <"$folder/$1.log"; }

# measure NAME…: so many rounds in which they take turns.
measure() {
  local round name lines requests microseconds refused broken bytes least user system user_after system_after
  for round in $(seq "$rounds"); do
    for name in "$@"; do
      # A log of a line a request would fill the disk.
      : >"$folder/$name.log"
      load "$name" "$warm_up" >/dev/null
      lines=$(lines_of "$name")
      read -r user system <<<"$(cpu_times "${groups[$name]}")"
      read -r requests microseconds refused broken bytes <<<"$(load "$name" "$seconds")"
      read -r user_after system_after <<<"$(cpu_times "${groups[$name]}")"
      if ((refused > 0 || broken > 0 || requests == 0)); then
        fail "$name: $refused refusals, $broken broken connections, $requests requests"
      fi
      # A redirect to a login is a success to wrk, but shorter than a page.
      least=0
      [[ ! ${paths[$name]} =~ ^/([0-9]+)k$ ]] || least=$((BASH_REMATCH[1] * 1024))
      ((bytes >= requests * least)) || fail "$name: only $bytes bytes in $requests answers"
      ((user_after + system_after > 0)) || fail "$name: no process of its group ${groups[$name]} was found"
      echo "$round $name $requests $microseconds $((user_after - user)) $((system_after - system))" \
        "$(($(lines_of "$name") - lines))" | tee -a "$folder/results" >&2
      : >"$folder/$name.log"
    done
  done
}

# tables NAME…: what was measured, to the first of them; then the claims, a line each on standard input: a name, what it is
# divided by (- for nothing), what of them (requests, cpu or user), and the target. Claims of what was not measured are
# left out.
tables() {
  awk -v tick="$(getconf CLK_TCK)" -v order="$*" '
  function median(list, count,   i, j, swap) {
    for (i = 2; i <= count; i++)
      for (j = i; j > 1 && list[j - 1] > list[j]; j--) { swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap }
    return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
  }
  # The median over the rounds of `name` by `other`; `lowest` and `highest` are set on the way.
  function ratio(what, name, other,   i, list, divisor) {
    for (i = 1; i <= rounds; i++) {
      divisor = other == "-" ? 1 : values[what, i, other]
      # Shorter than a tick.
      list[i] = divisor ? values[what, i, name] / divisor : 0
    }
    middle = median(list, rounds); lowest = list[1]; highest = list[rounds]
    return middle
  }
  function measured(name) { return ("requests" SUBSEP 1 SUBSEP name) in values }
  FNR == NR {
    rounds = $1
    values["requests", $1, $2] = $3 / $4 * 1e6
    values["user", $1, $2] = $5 / tick * 1e6 / $3
    values["system", $1, $2] = $6 / tick * 1e6 / $3
    values["lines", $1, $2] = $7 / $3
    values["cpu", $1, $2] = ($5 + $6) / tick * 1e6 / $3
    next
  }
  { claims[++claimed] = $0 }
  END {
    count = split(order, names, " ")
    first = names[1]
    print "| mode | requests/s | [lowest..highest] | user | system | CPU per request | requests/s to " first " | CPU to " first " |"
    print "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for (i = 1; i <= count; i++) {
      name = names[i]
      printf "| %s | %d ", name, ratio("requests", name, "-")
      printf "| [%d..%d] ", lowest, highest
      printf "| %.2f µs | %.2f µs ", ratio("user", name, "-"), ratio("system", name, "-")
      printf "| %.2f µs ", ratio("cpu", name, "-")
      printf "| %.2f | %.2f |\n", ratio("requests", name, first), ratio("cpu", name, first)
    }
    titles["requests"] = "requests/s"; titles["cpu"] = "CPU per request"; titles["user"] = "user time per request"
    print "\n| claim | measured | [lowest..highest] | target |\n| --- | ---: | ---: | ---: |"
    for (i = 1; i <= claimed; i++) {
      split(claims[i], claim, " ")
      name = claim[1]; other = claim[2]; what = claim[3]
      target = claims[i]; sub(/^[^ ]+ [^ ]+ [^ ]+ ?/, "", target)
      if (!measured(name) || (other != "-" && !measured(other))) continue
      unit = other == "-" ? " µs" : ""
      printf "| %s%s, %s | %.2f%s ", name, other == "-" ? "" : " / " other, titles[what], ratio(what, name, other), unit
      printf "| [%.2f..%.2f] | %s |\n", lowest, highest, target
    }
    # A log whose reader is slow loses lines, which would make it cheap.
    for (i = 1; i <= count; i++)
      if (names[i] ~ /-info$/)
        printf "\n%s: %.0f %% of the requests are in its log [%.0f..%.0f].\n", names[i],
          100 * ratio("lines", names[i], "-"), 100 * lowest, 100 * highest
  }' "$folder/results" -
}
