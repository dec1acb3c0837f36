#!/bin/bash
# Networks with ctrctl, on the fake VMM: they are made, shown, joined, left and removed; what is wrong is said in one line.
. "$(dirname "$0")/../lib.sh"

use_profile nets fake
ctr system start >/dev/null || fail "the engine does not start"
load_demo
ctr rm "$(ctr create demo true 2>/dev/null)" >/dev/null || fail "create and rm"

# --- create, ls, inspect
front=$(ctr network create --subnet 10.123.3.0/24 --gateway 10.123.3.9 -l team=a front) || fail "network create"
expect_match "an ID" '^[0-9a-f]{64}$' "$front"
ctr network create --ipv6 --internal back >/dev/null || fail "create with IPv6"
ctr network create --isolated --egress deny --allow api.example.com:443 --allow 192.0.2.0/24 --mtu 9000 jobs >/dev/null || fail "create with rules"
expect "ls" "back default front jobs none" "$(ctr network ls --format '{{.Name}}' | sort | xargs)"
expect "ls -q" "${front:0:12}" "$(ctr network ls -q --filter name=fron)"
expect "ls by label" front "$(ctr network ls --filter label=team=a --format '{{.Name}}')"
expect "ls by type" "back front jobs" "$(ctr network ls --filter type=custom --format '{{.Name}}' | sort | xargs)"
expect "ls by driver" 4 "$(ctr network ls --filter driver=switch -q | wc -l)"
expect "subnet" "front 10.123.3.0/24 switch" "$(ctr network ls --filter name=front --format '{{.Name}} {{.Subnet}} {{.Driver}}')"
expect "inspect" "10.123.3.0/24 10.123.3.9" "$(ctr network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}' front)"
expect "IPv6" "true true" "$(ctr network inspect -f '{{.EnableIPv6}} {{.Internal}}' back)"
expect "rules" 'true deny ["api.example.com:443","192.0.2.0/24"] 9000' "$(ctr network inspect -f '{{.Ctr.Isolated}} {{.Ctr.Egress}} {{json .Ctr.Allow}} {{.Ctr.Mtu}}' jobs)"
expect "by prefix of the ID" front "$(ctr network inspect -f '{{.Name}}' "${front:0:9}")"
expect "docker's name of default" default "$(ctr inspect --type network -f '{{.Name}}' bridge)"

# --- what is wrong with a network
bad() { expect_status 1 ctr network create "$@"; one_line_error "$WANTED"; }
WANTED='front' bad front
WANTED='10.123.3.0/25.*front' bad --subnet 10.123.3.0/25 other
WANTED='pastt' bad --driver pastt other
WANTED='10.1.2.3/24' bad --subnet 10.1.2.3/24 other
WANTED='mtu' bad --mtu 70000 other
WANTED='none' bad none
WANTED='"a/b"' bad a/b
expect_status 1 ctr network inspect nowhere
one_line_error 'network nowhere not found'
expect_status 1 ctr network rm nowhere
one_line_error 'network nowhere not found'
expect_status 0 ctr network rm -f nowhere
expect_status 1 ctr network rm default
one_line_error 'default'
expect "networks after all that" 5 "$(ctr network ls -q | wc -l)"

# --- containers on them
ctr run -d --name web --network front,ip=10.123.3.50,alias=www --network back,alias=inner,mac=06:00:00:00:00:05 -h webby demo sleep 1000 >/dev/null || fail "run on two networks"
of() { ctr inspect -f "{{(index .NetworkSettings.Networks \"$2\").$3}}" "$1"; }
expect "its address" 10.123.3.50 "$(of web front IPAddress)"
expect "its MAC" 02:42:0a:7b:03:32 "$(of web front MacAddress)"
expect "its gateway" 10.123.3.9 "$(of web front Gateway)"
expect_match "an alias" '\[www ' "$(of web front Aliases)"
expect_match "IPv6" '^fd' "$(of web back GlobalIPv6Address)"
inner=$(of web back IPAddress)
ctr run -d --name db --network back demo sleep 1000 >/dev/null || fail "run on back"
expect "members" "db web" "$(ctr network inspect -f '{{range .Containers}}{{.Name}} {{end}}' back | xargs -n1 | sort | xargs)"
expect "ps by network" "db web" "$(ctr ps --filter network=back --format '{{.Names}}' | sort | xargs)"
expect "ps by network, one" web "$(ctr ps --filter network=front --format '{{.Names}}')"

wrong() { expect_status 125 ctr create --name wrong "$@" demo true; one_line_error "$WANTED"; }
WANTED='nowhere' wrong --network nowhere
WANTED='10.123.3.50.*web' wrong --network front,ip=10.123.3.50
WANTED='10.124.0.1.*10.123.3.0/24' wrong --network front,ip=10.124.0.1
WANTED='10.123.3.9' wrong --network front --ip 10.123.3.9
WANTED='06:00:00:00:00:05.*web' wrong --network back,mac=06:00:00:00:00:05
WANTED='publish' wrong --network host
WANTED='publish' wrong --network container:web
expect "containers after all that" "db web" "$(ctr ps -a --format '{{.Names}}' | sort | xargs)"
expect_status 1 ctr network rm back
one_line_error 'network back'

# --- addresses stay
ctr restart -t 0 web >/dev/null || fail restart
expect "back's address after a restart" "$inner" "$(of web back IPAddress)"
ctr stop -t 0 web >/dev/null || fail stop
expect "no address while it is stopped" "" "$(of web back IPAddress)"
ctr run -d --name late --network back demo sleep 1000 >/dev/null || fail "run on back"
[ "$(of late back IPAddress)" != "$inner" ] || fail "a stopped container's address was given away"
ctr start web >/dev/null || fail start
expect "back's address after a stop" "$inner" "$(of web back IPAddress)"

# --- connect and disconnect, running and not; and what events tell of it
timeout 60 "$BIN/ctrctl" --profile "$PROFILE" events -f type=network >"$T/events" &
PIDS+=($!)
wait_for 10 sh -c "'$BIN/ctrctl' --profile '$PROFILE' network create beat; '$BIN/ctrctl' --profile '$PROFILE' network rm beat; grep -q 'network destroy' '$T/events'" || fail "no events: $(cat "$T/events")"
ctr network connect --ip 10.123.3.60 --alias store front db || fail "live connect"
expect "its new address" 10.123.3.60 "$(of db front IPAddress)"
expect_status 1 ctr network connect front db
one_line_error 'db.*front'
ctr network disconnect front db || fail "live disconnect"
expect_status 1 ctr network disconnect front db
one_line_error 'front'
expect "networks of db" back "$(ctr ps --filter name=db --format '{{.Networks}}')"
ctr create --name idle --network none demo true >/dev/null || fail "create without a network"
expect_status 1 ctr network connect front idle
one_line_error 'none'
ctr network disconnect none idle && ctr network connect front idle || fail "connect of one that does not run"
expect "idle's networks" front "$(ctr ps -a --filter name=idle --format '{{.Networks}}')"
wait_for 10 grep -q 'network disconnect .*(.*name=front' "$T/events" || fail "events: $(cat "$T/events")"
expect_match "a line of events" '^20[0-9T:.+-]+ network connect [0-9a-f]{64} \(.*name=front' "$(grep 'network connect' "$T/events" | head -1)"
expect_status 1 ctr network connect front nobody
one_line_error 'nobody'
expect_status 1 ctr network connect nowhere web
one_line_error 'network nowhere not found'

# --- ports
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
ctr network create --ipv6 six >/dev/null || fail "create of six"
ctr run -d --name pub --network six -p 127.0.0.1:$port-$port:80 -p 127.0.0.1::81-82/udp -p '[::1]::83' demo sleep 1000 >/dev/null || fail "run -p"
expect_match "ports" "127.0.0.1:$port->80/tcp" "$(ctr ps --filter name=pub --format '{{.Ports}}')"
expect_match "a range of the container's" '127.0.0.1:[1-9][0-9]*->82/udp' "$(ctr ps --filter name=pub --format '{{.Ports}}')"
expect_match "IPv6" '\[::1\]:[1-9][0-9]*->83/tcp' "$(ctr ps --filter name=pub --format '{{.Ports}}')"
expect_status 125 ctr run --rm --network front -p 127.0.0.1:$port:80 demo true
one_line_error "$port"
expect_status 125 ctr run --rm --network front -p '[::1]::80' demo true
one_line_error 'no IPv6 address on network front'
ctr rm -f pub >/dev/null || fail "rm of pub"

# --- capture: the file is whole at any time
"$BIN/ctrctl" --profile "$PROFILE" network capture back db -w "$T/x.pcap" 2>"$T/err" &
capture=$!
wait_for 10 test -s "$T/x.pcap" || fail "no head of a pcap file: $(cat "$T/err")"
kill -TERM $capture
wait $capture || fail "capture: $(cat "$T/err")"
expect "the file's magic number" 4d3cb2a1 "$(head -c 4 "$T/x.pcap" | od -An -tx1 | tr -d ' ')"
expect_match "frames" '^[0-9]+ frames$' "$(cat "$T/err")"
expect_status 1 ctr network capture back nobody -w "$T/y.pcap"
one_line_error 'nobody'
[ ! -e "$T/y.pcap" ] || fail "a capture that failed left a file"
expect_status 1 ctr network capture nowhere -w -
one_line_error 'network nowhere not found'

# --- completion, and the end
expect_match "names of networks" front "$(ctr __complete network inspect fr)"
expect_match "names of containers behind it" web "$(ctr __complete network connect front we)"
ctr rm -f web db late idle >/dev/null || fail "rm -f"
ctr network rm front >/dev/null || fail "rm of a network"
expect "prune" "back jobs six" "$(ctr network prune -f | tail -n +2 | sort | xargs)"
expect "what is left" "default none" "$(ctr network ls --format '{{.Name}}' | sort | xargs)"
exit 0
