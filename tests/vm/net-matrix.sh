#!/usr/bin/env bash
# Three networks, six containers, every pair: those that share a network reach each other by name and by address, v4 and v6, TCP, UDP and ICMP, and no others do. Again
# after kill -9 of ctrd and of every ctr-net, and after a live disconnect and connect. No machine is started anew.
. "$(dirname "$0")/../lib.sh"
need_vm
need gcc umoci python3 socat
use_profile main qemu

# --- an image with one program ---
mkdir -p "$T/root/bin" "$T/root/etc"
gcc -O1 -static -o "$T/root/bin/reach" "$ROOT/tests/vm/reach.c" 2>"$T/gcc" || fail "reach: $(cat "$T/gcc")"
layout_from_root "$T/root" "$T/reach" latest "$(host_arch)"
ctr load -i "$T/reach" >/dev/null || fail "load"

# --- who is on which network ---
declare -A ON=([a1]=red [a2]=red [ab]="red green" [b1]="green" [bc]="green blue" [c1]=blue)
NAMES=(a1 a2 ab b1 bc c1)
for n in red green; do ctr network create --ipv6 $n >/dev/null || fail "network create $n"; done
ctr network create --ipv6 --internal blue >/dev/null || fail "network create blue"

shares() { # shares A B: do they have a network in common?
    local x
    for x in ${ON[$1]}; do [[ " ${ON[$2]} " == *" $x "* ]] && return 0; done
    return 1
}
run_one() {
    local args=() n
    for n in ${ON[$1]}; do args+=(--network "$n"); done
    ctr run -d --name "$1" "${args[@]}" -m 128m reach reach serve >/dev/null || fail "run $1"
}
for c in "${NAMES[@]}"; do run_one "$c"; done

# address CONTAINER FIELD: of each of its networks, NETWORK ADDRESS on a line
addresses() { ctr inspect --format "{{range \$k, \$v := .NetworkSettings.Networks}}{{\$k}} {{\$v.$2}}
{{end}}" "$1" | grep ' [0-9a-f]'; }

# matrix WHAT: asks every container for every other one, by name and by every address, and compares with ON
matrix() {
    local from to line tries got want addr net
    for c in "${NAMES[@]}"; do
        addresses "$c" IPAddress >"$T/v4.$c"
        addresses "$c" GlobalIPv6Address >"$T/v6.$c"
        [ -s "$T/v4.$c" ] && [ -s "$T/v6.$c" ] || fail "$1: $c has no addresses"
    done
    for from in "${NAMES[@]}"; do
        tries=()
        : >"$T/want"
        for to in "${NAMES[@]}"; do
            [ "$from" = "$to" ] && continue
            want=unknown
            shares "$from" "$to" && want=yes
            for kind in tcp4 udp4 icmp4 tcp6 udp6 icmp6; do
                tries+=("$kind/$to")
                echo "$kind/$to $want" >>"$T/want"
                while read -r net addr; do
                    want_address=no
                    [[ " ${ON[$from]} " == *" $net "* ]] && want_address=yes
                    tries+=("$kind/$addr")
                    echo "$kind/$addr $want_address" >>"$T/want"
                done <"$T/v${kind: -1}.$to"
            done
        done
        timeout 120 "$BIN/ctrctl" --profile "$PROFILE" exec "$from" reach try "${tries[@]}" >"$T/got" 2>"$T/err" || fail "$1: exec in $from: $(cat "$T/err")"
        diff <(sort "$T/want") <(tr -d '\r' <"$T/got" | sort) >"$T/diff" || fail "$1: what $from reaches (< wanted, > got): $(cat "$T/diff")"
    done
}
pids() { for c in "${NAMES[@]}"; do sandbox_pid "$c"; done; }
matrix "at the start"
before=$(pids)

# --- kill -9 of ctrd and of every ctr-net ---
net_pids() {
    local s
    for s in "$T"/main/run/n/*.sock; do echo '{"op":"info"}' | timeout 5 socat - "UNIX-CONNECT:$s" | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["ok"]["pid"])'; done
}
kill -9 "$(daemon_pid)"
# shellcheck disable=SC2046
kill -9 $(net_pids)
ctr ps >/dev/null || fail "the daemon does not come back"
matrix "after kill -9 of ctrd and ctr-net"
expect "the same machines" "$before" "$(pids)"

# --- ctr-net alone: back by itself, ctrd is not asked ---
old=$(net_pids)
# shellcheck disable=SC2086
kill -9 $old
all_new() { local new; new=$(net_pids 2>/dev/null) && [ "$(wc -w <<<"$new")" = "$(wc -w <<<"$old")" ] && ! grep -qwFf <(tr ' ' '\n' <<<"$old") <<<"$new"; }
wait_for 5 all_new || fail "ctr-net does not come back"

# --- live: c1 leaves blue and joins red ---
ctr network connect red c1 || fail "connect"
ctr network disconnect blue c1 || fail "disconnect"
ON[c1]=red
matrix "after a live connect and disconnect"
expect "the same machines" "$before" "$(pids)"
