#!/bin/bash
# Containers outlive the daemon: kill -9 of ctrd, and what it finds when it is back.
. "$(dirname "$0")/../lib.sh"
need curl python3

use_profile re fake
ctr system start >/dev/null || fail "the engine does not start"
load_demo
S=$T/re/run/ctr.sock
daemon_pid() {
    python3 -c 'import socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
print(struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])' "$S"
}
kill_daemon() {
    local pid
    pid=$(daemon_pid) || fail "no daemon to kill"
    kill -9 "$pid"
    wait_for 10 sh -c "! kill -0 $pid" || fail "the daemon does not die"
}
folder() { curl -s --unix-socket "$S" "http://ctr/ctr/v1/containers/$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["folder"])'; }

ctr run -d --name lives demo sh -c 'echo before; while [ ! -e '"$T"'/go ]; do sleep 0.05; done; echo after; exit 6' >/dev/null || fail "run -d"
ctr run -d --name ends demo sh -c 'while [ ! -e '"$T"'/end ]; do sleep 0.05; done; exit 8' >/dev/null || fail "run -d"
ctr run -d --rm --name passes demo sh -c 'while [ ! -e '"$T"'/end ]; do sleep 0.05; done' >/dev/null || fail "run -d --rm"
ctr run -d --name lost demo sleep 1000 >/dev/null || fail "run -d"
ctr create --name idle demo true >/dev/null || fail create
ends=$(folder ends) lost=$(folder lost)

kill_daemon
touch "$T/end"
wait_for 20 test -s "$ends/exit.json" || fail "no exit record while the daemon is away"
kill -9 "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["pid"])' "$lost/state.json")"
mkdir -p "$T/re/data/containers/$(printf 'a%.0s' $(seq 64)).gone" # what a kill in the middle of an rm leaves
mkdir -p "$T/re/data/containers/$(printf 'b%.0s' $(seq 64))"      # its record is unreadable or lost: never deleted for that

ctr system start >/dev/null || fail "the engine does not start again"
expect "found running" running "$(ctr inspect -f '{{.State.Status}}' lives)"
expect "created stays created" created "$(ctr inspect -f '{{.State.Status}}' idle)"
expect "ended meanwhile" "exited 8" "$(ctr inspect -f '{{.State.Status}} {{.State.ExitCode}}' ends)"
expect "lost" "exited 255" "$(ctr inspect -f '{{.State.Status}} {{.State.ExitCode}}' lost)"
expect "reason" vmm-lost "$(ctr inspect -f '{{.Ctr.Reason}}' lost)"
[ -e "$T/re/data/containers/$(printf 'a%.0s' $(seq 64)).gone" ] && fail "what was half removed was left"
rmdir "$T/re/data/containers/$(printf 'b%.0s' $(seq 64))" || fail "a folder was deleted because its record is missing"
wait_for 10 sh -c "! '$BIN/ctrctl' --profile '$PROFILE' inspect passes" || fail "--rm was forgotten"

# streams, exec and the exit code of a container that was found again
expect "exec" here "$(ctr exec lives echo here)"
touch "$T/go"
expect "wait" 6 "$(ctr wait lives)"
expect "log" "before after" "$(ctr logs lives | xargs)"

# the lost one starts again
ctr start lost >/dev/null || fail "start of the lost one"
expect "runs again" running "$(ctr inspect -f '{{.State.Status}}' lost)"
ctr rm -f lost lives ends idle >/dev/null || fail rm
expect "containers left" "" "$(ctr ps -aq)"
expect "folders left" "" "$(ls "$T/re/data/containers")"

# kill -9 in the middle of many creates and removes: afterwards every container is whole, and nothing else is there
for i in $(seq 6); do
    (for k in 1 2 3 4; do ctr create --name "c$i-$k" demo true; ctr rm "c$i-$k"; ctr create --name "d$i-$k" demo true; done) >/dev/null 2>&1 &
done
sleep 0.3
kill_daemon
wait
ctr system start >/dev/null || fail "the engine does not start after a kill in the middle"
for id in $(ctr ps -aq); do
    ctr start "$id" >/dev/null || fail "a container that was reported does not start"
done
expect "folders" "$(ctr ps -aq | wc -l)" "$(ls "$T/re/data/containers" | wc -l)"
ctr ps -aq | xargs -r "$BIN/ctrctl" --profile "$PROFILE" rm -f >/dev/null || fail "rm of all"
expect "disks left" 0 "$(ls "$T"/re/data/storage/default/clones 2>/dev/null | wc -l)"
exit 0
