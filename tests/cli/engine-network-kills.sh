#!/usr/bin/env bash
# kill -9 of ctrd at any moment of a live connect or disconnect: when it is back the container is on the network or not, never by half: the record,
# the port at ctr-net and what the guest was told say the same; and a retry works. CTR_KILLS: how often.
. "$(dirname "$0")/../lib.sh"
need socat python3
use_profile kills fake
load_demo
kills=${CTR_KILLS:-10}
data=$T/kills/data

told() { grep '^network ' "$console" | tail -n 1 | cut -c9- | python3 -c 'import json, sys; print(" ".join(i["address"] for i in json.load(sys.stdin)["interfaces"]))'; }
member() { ctr network inspect b | python3 -c 'import json, sys; print(" ".join(c["IPv4Address"].split("/")[0] for c in json.load(sys.stdin)[0]["Containers"].values()))'; }
port() { echo '{"op":"ports"}' | timeout 5 socat - "UNIX-CONNECT:$T/kills/run/n/b.sock" 2>/dev/null | python3 -c 'import json, sys; print(" ".join(p["address"] for p in json.load(sys.stdin)["ok"]["ports"].values()))'; }
# agree: all three name the same addresses on b
agree() {
    local m p t
    m=$(member) && p=$(port) && t=$(told | tr ' ' '\n' | grep '^10\.92\.2\.' | tr '\n' ' ')
    [ "$m" = "$p" ] && [ "$m" = "${t% }" ]
}
gone() { ! grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }

ctr network create --subnet 10.92.1.0/24 a >/dev/null && ctr network create --subnet 10.92.2.0/24 b >/dev/null || fail "networks"
ctr run -d --name web --network a demo sleep 1000 >/dev/null 2>&1 || fail run
id=$(ctr inspect --format '{{.Id}}' web)
console=$data/containers/$id/console.ring
sandbox=$(sandbox_pid web)
ctr network connect b web && ctr network disconnect b web || fail "warm up"
on=0 off=0
for ((i = 0; i < kills; i++)); do
    pid=$(daemon_pid)
    [ "$(member)" = "" ] && op=connect || op=disconnect
    ctr network $op b web >/dev/null 2>&1 &
    sleep "0.$(printf '%03d' $((RANDOM % 40)))"
    kill -9 "$pid"
    wait $!
    wait_for 10 gone "$pid" || fail "ctrd does not end"
    ctr ps >/dev/null || fail "ctrd does not start again"
    wait_for 20 agree || fail "$i: after kill -9 in $op: record '$(member)', port '$(port)', guest '$(told)'"
    [ "$(member)" = "" ] && off=$((off + 1)) || on=$((on + 1))
    expect "the machine ran on" "$sandbox" "$(sandbox_pid web)"
    # What was asked for, again.
    if [ $op = connect ] && [ "$(member)" = "" ]; then
        ctr network connect b web || fail "retry of connect"
    elif [ $op = disconnect ] && [ "$(member)" != "" ]; then
        ctr network disconnect b web || fail "retry of disconnect"
    fi
    wait_for 20 agree || fail "$i: after the retry: record '$(member)', port '$(port)', guest '$(told)'"
done
echo "$kills kills: $on on, $off off"
