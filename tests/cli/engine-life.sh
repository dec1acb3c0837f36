#!/usr/bin/env bash
# valgrind
# One life of an engine on the fake VMM: start, load, run, detached, exec, logs, stop, a failing start, rmi, restart of the daemon, stop.
. "$(dirname "$0")/../lib.sh"
use_profile life fake
load_demo
expect "run" hello "$(ctr run --rm demo echo hello 2>/dev/null)"
ctr run --rm demo sh -c 'exit 3' 2>/dev/null; expect "status" 3 $?
expect "stdin" abc "$(printf abc | ctr run --rm -i demo cat 2>/dev/null)"
expect_status 127 ctr run --rm demo no-such-program
ctr run -d --name box -p 127.0.0.1::80 demo sh -c 'echo ready; exec sleep 1000' >/dev/null 2>&1 || fail "run -d"
wait_for 60 sh -c "'$BIN/ctrctl' --profile '$PROFILE' logs box | grep -q ready" || fail "no log"
expect "exec" in-box "$(ctr exec box echo in-box)"
expect "ps" box "$(ctr ps --format '{{.Names}}')"
expect_match "inspect" '"Running": *true' "$(ctr inspect box)"
ctr system stop >/dev/null || fail "system stop"
expect "found again" box "$(ctr ps --format '{{.Names}}')"
ctr stop -t 1 box >/dev/null || fail stop
expect "code" 137 "$(ctr wait box | sed 's/143/137/')"
ctr rm box >/dev/null || fail rm
ctr images >/dev/null && ctr plugin ls >/dev/null && ctr info >/dev/null || fail "images, plugin ls, info"
no_container() { [ -z "$(ctr ps -aq)" ]; }
wait_for 20 no_container || fail "containers left: $(ctr ps -a)"
ctr rmi demo >/dev/null || fail "rmi: $(ctr ps -a)"
expect "nothing left" "" "$(ctr ps -aq)$(ctr images -q)"
ctr system stop >/dev/null
for s in "$T"/life/run/n/*.sock; do echo '{"op":"stop"}' | timeout 20 socat - "UNIX-CONNECT:$s" >/dev/null; done
valgrind_clean
