#!/usr/bin/env bash
# Containers outlive the daemon: kill -9 of ctrd leaves them running, the next ctrd finds them, their logs, exec and exit codes; idle memory is small.
. "$(dirname "$0")/../lib.sh"
need_vm
use_profile main qemu
load_demo

ctr run -d --name stays demo sh -c 'i=0; trap "exit 5" TERM; while :; do i=$((i+1)); echo tick $i; sleep 0.2; done' >/dev/null || fail "run -d"
ctr run -d --name ends demo sh -c 'sleep 8; exit 6' >/dev/null || fail "run -d"
wait_for 20 sh -c "'$BIN/ctrctl' --profile '$PROFILE' logs stays | grep -q 'tick 3'" || fail "no output"
before=$(ctr inspect --format '{{.State.StartedAt}}' stays)
sandbox=$(sandbox_pid stays)
net=$(pgrep -f "^$BIN/ctr-net" | head -n 1)
pid=$(daemon_pid)
echo "idle RSS: ctrd $(rss "$pid") KiB, ctr-sandbox $(rss "$sandbox") KiB, ctr-net $(rss "$net") KiB"
kill -9 "$pid" || fail "kill of ctrd"
wait_for 10 sh -c "! kill -0 $pid" || fail "ctrd still runs"
kill -0 "$sandbox" || fail "the sandbox died with ctrd"
sleep 8 # "ends" ends while no daemon runs
expect "found again" running "$(ctr inspect --format '{{.State.Status}}' stays)"
expect "not restarted" "$before" "$(ctr inspect --format '{{.State.StartedAt}}' stays)"
expect "same sandbox" "$sandbox" "$(sandbox_pid stays)"
expect "ended while away" 6 "$(ctr wait ends)"
expect "exec" alive "$(ctr exec stays echo alive)"
n=$(ctr logs stays | wc -l)
wait_for 10 sh -c "[ \$('$BIN/ctrctl' --profile '$PROFILE' logs stays | wc -l) -gt $n ]" || fail "the log does not go on"
expect "no line lost" "$(ctr logs stays | head -n 50 | awk '{print $2}' | tr '\n' ' ')" "$(seq 1 50 | head -n "$(ctr logs stays | head -n 50 | wc -l)" | tr '\n' ' ')"
ctr stop stays >/dev/null || fail stop
expect "exit code" 5 "$(ctr wait stays)"
pid=$(daemon_pid)
[ "$(rss "$pid")" -le 20480 ] || fail "ctrd idles at $(rss "$pid") KiB, more than 20 MiB"
[ "$(rss "$net")" -le 15360 ] || fail "ctr-net idles at $(rss "$net") KiB, more than 15 MiB"
ctr run -d --name idle demo sleep 1000 >/dev/null
sandbox=$(sandbox_pid idle)
[ "$(rss "$sandbox")" -le 10240 ] || fail "ctr-sandbox idles at $(rss "$sandbox") KiB, more than 10 MiB"
# A sandbox that is killed costs its own container, which gets its record; its VM does not outlive it.
vmm=$(pgrep -P "$sandbox") || fail "the sandbox has no child"
kill -9 "$sandbox"
expect_match "lost" '^(137|255)$' "$(ctr wait idle)"
expect "state" exited "$(ctr inspect --format '{{.State.Status}}' idle)"
wait_for 10 sh -c "! kill -0 $vmm" || fail "its VM lives on"
