#!/usr/bin/env bash
# Endpoints of containers on the fake VMM: joined at create, addresses that stay, live connect and disconnect and what the guest is told of them,
# no interface left, ctrd and ctr-net killed at any time, old records, nothing left behind.
. "$(dirname "$0")/../lib.sh"
need socat python3
use_profile nets fake
load_demo
data=$T/nets/data

id_of() { ctr inspect --format '{{.Id}}' "$1"; }
# told CONTAINER EXPRESSION: of the last network that its guest was told, as `n`
told() { grep '^network ' "$data/containers/$(id_of "$1")/console.ring" | tail -n 1 | cut -c9- | python3 -c "import json, sys; n = json.load(sys.stdin); print($2)"; }
macs='" ".join(i["hardware"] for i in n["interfaces"])'
addresses='" ".join(i["address"] for i in n["interfaces"])'
# of CONTAINER EXPRESSION: of docker's networks of the container, as `n`
of() { ctr inspect "$1" | python3 -c "import json, sys; n = json.load(sys.stdin)[0]['NetworkSettings']['Networks']; print($2)"; }
members() { ctr network inspect "$1" | python3 -c 'import json, sys; print(" ".join(sorted(c["Name"] for c in json.load(sys.stdin)[0]["Containers"].values())))'; }
# ctr_net NETWORK: its process's pid
ctr_net() { echo '{"op":"info"}' | timeout 5 socat - "UNIX-CONNECT:$T/nets/run/n/$1.sock" | python3 -c 'import json, sys; print(json.load(sys.stdin)["ok"]["pid"])'; }
ports_of() { echo '{"op":"ports"}' | timeout 5 socat - "UNIX-CONNECT:$T/nets/run/n/$1.sock"; }
gone() { ! grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }
kill_daemon() { local pid; pid=$(daemon_pid) && kill -9 "$pid" && wait_for 10 gone "$pid"; }

for n in a b c d; do ctr network create --subnet "10.91.$(printf '%d' "'$n").0/24" "$n" >/dev/null || fail "network $n"; done
A=10.91.97 B=10.91.98 C=10.91.99

# At create: two networks, an address of its own on one; conflicts by name; nothing left of what failed.
ctr create --name web --network "a,ip=$A.50,alias=www" --network b demo sleep 1000 >/dev/null 2>"$T/err" || fail "create: $(cat "$T/err")"
expect "networks" "a b" "$(of web '" ".join(sorted(n))')"
expect_status 125 ctr create --name other --network "a,ip=$A.50" demo true
one_line_error 'web'
expect "members of a" web "$(members a)"
expect_status 125 ctr create --name other --network nowhere demo true
one_line_error 'nowhere'
expect "no container is left" web "$(ctr ps -a --format '{{.Names}}')"
ctr start web >/dev/null || fail "start"
expect "addresses" "$A.50 $B.2" "$(told web "$addresses")"
expect "two interfaces of its own" "02:42:0a:5b:61:32 02:42:0a:5b:62:02" "$(told web "$macs")"
expect_status 1 ctr network rm a
one_line_error 'web'

# Live: a third and a fourth over the two spare interfaces, no fifth; on one already; then away again.
ctr network connect --alias cc c web || fail "connect c"
expect "three" "$A.50 $B.2 $C.2" "$(told web "$addresses")"
expect "a spare interface" 02:fe:00:00:00:00 "$(told web 'n["interfaces"][2]["hardware"]')"
expect_status 1 ctr network connect c web
one_line_error 'already'
ctr network connect --ip 10.91.100.77 d web || fail "connect d"
expect "its own address" 10.91.100.77 "$(told web 'n["interfaces"][3]["address"]')"
expect_match "the port is there" "$(id_of web)" "$(ports_of d)"
ctr network create e >/dev/null || fail "network e"
expect_status 1 ctr network connect e web
one_line_error 'restart it'
expect "the endpoint is not there" "" "$(members e)"
expect "the guest was told again what holds" 4 "$(told web 'len(n["interfaces"])')"
ctr network disconnect a web || fail "disconnect a"
expect "without a" "$B.2 $C.2 10.91.100.77" "$(told web "$addresses")"
expect_status 1 ctr network disconnect a web
expect "nobody on a" "" "$(members a)"
ctr network connect e web || fail "connect e over what was the interface of a"
expect "boot's interface again" 02:42:0a:5b:61:32 "$(told web 'n["interfaces"][3]["hardware"]')"
ctr network disconnect e web && ctr network rm e || fail "rm e"

# What stays: over stop and start, ctrd's restart, ctrd's kill -9.
before=$(of web 'sorted((k, v["IPAddress"], v["MacAddress"]) for k, v in n.items())')
ctr restart -t 0 web >/dev/null || fail restart
expect "after restart" "$before" "$(of web 'sorted((k, v["IPAddress"], v["MacAddress"]) for k, v in n.items())')"
expect "interfaces of its own" 0 "$(told web 'sum(i["hardware"].startswith("02:fe") for i in n["interfaces"])')"
ctr network connect a web || fail "connect a again"
sandbox=$(sandbox_pid web)
ctr system stop >/dev/null
expect "after ctrd's restart" "a b c d" "$(of web '" ".join(sorted(n))')"
kill_daemon
expect "after ctrd's kill -9" "a b c d" "$(of web '" ".join(sorted(n))')"
expect "the machine ran on" "$sandbox" "$(sandbox_pid web)"
mended() { [ "$(told web 'len(n["interfaces"])')" = 4 ]; }
wait_for 10 mended || fail "the guest was told $(told web "$addresses")"
ctr network disconnect b web || fail "disconnect after ctrd's restart"
expect "three are left" 3 "$(told web 'len(n["interfaces"])')"
ctr network connect b web || fail "connect after ctrd's restart"

# ctr-net is killed: another one has the port again, the machine runs on.
pid=$(ctr_net b)
kill -9 "$pid"
there_again() { local now; now=$(ctr_net b) && [ "$now" != "$pid" ] && [[ $(ports_of b) =~ $(id_of web) ]]; }
wait_for 20 there_again || fail "the port did not come back to b"
expect "the machine ran on" "$sandbox" "$(sandbox_pid web)"

# Both are killed.
pid=$(ctr_net b)
kill_daemon
kill -9 "$pid"
ctr ps >/dev/null || fail "ctrd did not start again"
wait_for 20 there_again || fail "the port did not come back to b after both were killed"

# A rename is followed; stopped ones join and leave, too; --network none stays alone.
ctr rename web www2 || fail rename
expect "renamed" www2 "$(members b)"
ctr stop -t 0 www2 >/dev/null || fail stop
ctr network disconnect d www2 && ctr network connect d www2 || fail "join while stopped"
ctr network disconnect -f d www2 || fail "leave while stopped"
ctr start www2 >/dev/null || fail "start"
expect "what it joined while stopped" 3 "$(told www2 'len(n["interfaces"])')"
ctr run -d --name alone --network none demo sleep 1000 >/dev/null 2>&1 || fail "run none"
expect "no interface" 0 "$(told alone 'len(n["interfaces"])')"
expect_status 1 ctr network connect a alone
one_line_error 'none'
expect "no spare interfaces" 0 "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["spare_ports"])' "$data/containers/$(id_of alone)/sandbox.json")"

# --rm and rm give everything back.
ctr run --rm --network a --network b demo true 2>/dev/null || fail "run --rm"
only() { [ "$(members a)" = www2 ]; }
wait_for 10 only || fail "left on a: $(members a)"
ctr rm -f www2 alone >/dev/null || fail "rm"
for n in a b c d; do expect "nobody on $n" "" "$(members $n)"; done

# The record of an older engine, which knows the network alone.
ctr run -d --name old --network b demo sleep 1000 >/dev/null 2>&1 || fail "run old"
address=$(told old "$addresses")
ctr stop -t 0 old >/dev/null || fail "stop old"
old=$(id_of old)
ctr system stop >/dev/null
python3 - "$data/state.db" "$old" <<'PY' || fail "no record of old"
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
record = json.loads(db.execute("select value from record where tab='container' and key=?", sys.argv[2:]).fetchone()[0])
del record["spec"]["endpoints"]
record["network"] = {"network": "b", "published": []}
db.execute("update record set value=? where tab='container' and key=?", (json.dumps(record), sys.argv[2]))
lease, = db.execute("select key from record where tab='lease' and value like ?", ("%" + sys.argv[2] + "%",)).fetchone()
db.execute("update record set value=? where tab='lease' and key=?", (json.dumps({"container": sys.argv[2]}), lease))
db.commit()
PY
expect "old one's network" old "$(members b)"
ctr start old >/dev/null || fail "start of an old one"
expect "old one's address" "$address" "$(told old 'n["interfaces"][0]["address"]')"

# The end of all.
ctr system stop --all >/dev/null || fail "system stop --all"
no_carriers() { ! pgrep -f "ctr-net.*$T" >/dev/null && ! socat - "UNIX-CONNECT:$T/nets/run/n/b.sock" </dev/null 2>/dev/null; }
wait_for 10 no_carriers || fail "a ctr-net is left"
ctr rm -f old >/dev/null || fail "rm old"
for n in a b c d; do ctr network rm $n >/dev/null || fail "rm $n"; done
valgrind_clean
