#!/usr/bin/env bash
# `run` on a real VM behaves as docker's users expect: output, exit status, streams, options.
. "$(dirname "$0")/../lib.sh"
need_vm
use_profile main qemu
load_demo

out=$(ctr run --rm demo sh -c 'uname -s; id -u; pwd; echo $0') || fail "plain run"
expect "first run" $'Linux\n0\n/\nsh' "$out"
[ "$(ctr run --rm demo uname -r)" != "$(uname -r)" ] || fail "the container has the host's kernel"

# streams apart, exit status
ctr run --rm demo sh -c 'echo out; echo err >&2; exit 7' >"$T/o" 2>"$T/e"; expect "exit status" 7 $?
expect stdout out "$(cat "$T/o")"
expect_match stderr 'err$' "$(cat "$T/e")"
ctr run --rm demo sh -c 'sh -c "kill -9 \$\$"; exit $?' 2>/dev/null; expect "a child killed by a signal" 137 $?
expect_status 127 ctr run --rm demo no-such-program
expect_status 126 ctr run --rm demo /etc/motd
expect_status 125 ctr run --rm --no-such-option demo true

# options
out=$(printf 'FROM_FILE=2\n' >"$T/envs"; ctr run --rm -e A=1 --env-file "$T/envs" -w /tmp -u nobody --hostname box --tmpfs /scratch:size=1m demo \
    sh -c 'echo $A $FROM_FILE $(pwd) $(id -u) $(hostname); grep -c " /scratch " /proc/mounts; cat /etc/hostname')
expect options $'1 2 /tmp 65534 box\n1\nbox' "$out"
out=$(ctr run --rm --read-only demo sh -c 'touch /x 2>&1 || echo refused'); expect_match read-only refused "$out"
out=$(ctr run --rm -c 2 -m 512m demo sh -c 'nproc; awk "/MemTotal/ {print (\$2 > 400000)}" /proc/meminfo'); expect "cpus and memory" $'2\n1' "$out"
out=$(ctr run --rm --entrypoint /bin/echo demo hello); expect entrypoint hello "$out"
out=$(ctr run --rm --network none demo sh -c 'ls /sys/class/net'); expect "no network" lo "$out"

# the container's view of isolation
out=$(ctr run --rm demo sh -c 'echo $$; ls /proc | grep -c "^[0-9]*$"; grep Seccomp: /proc/self/status; grep CapEff /proc/self/status; ls /proc/kcore -l | cut -c1')
expect_match "pid 1, seccomp, capabilities" $'^1\n.*Seccomp:\t2.*00000000a80425fb' "$out"

# stdin: a pipe of 100 MB gives the same bytes
head -c 100000000 /dev/urandom >"$T/big"
got=$(ctr run --rm -i demo cat <"$T/big" | sha256sum)
expect "100 MB through cat" "$(sha256sum <"$T/big")" "$got"

# detached, names, logs, exec, stop, wait, rm
id=$(ctr run -d --name web -l kind=test demo sh -c 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done') || fail "run -d"
[ ${#id} = 64 ] || fail "id has ${#id} characters"
wait_for 20 sh -c "'$BIN/ctrctl' --profile '$PROFILE' logs web | grep -q ready" || fail "logs never said ready"
expect "exec" "web-exec" "$(ctr exec -e X=web-exec web sh -c 'echo $X')"
ctr exec web sh -c 'exit 9'; expect "exec's status" 9 $?
expect "exec stdin" "abc" "$(printf abc | ctr exec -i web cat)"
expect "ps" web "$(ctr ps --format '{{.Names}}')"
expect_match "conflict" 'already in use' "$(ctr run -d --name web demo true 2>&1)"
ctr stop web >/dev/null || fail stop
expect "wait after stop" 3 "$(ctr wait web)"
expect_match "last log line" 'bye' "$(ctr logs web)"
ctr start web >/dev/null || fail "start again"
expect "state" running "$(ctr inspect --format '{{.State.Status}}' web)"
ctr kill -s KILL web >/dev/null; expect "killed" 137 "$(ctr wait web)"
ctr rm web >/dev/null || fail rm
expect "nothing left" "" "$(ctr ps -aq)"
# a file written by one run is there at the next start, and in no other container
id=$(ctr create demo sh -c 'cat /mark 2>/dev/null; echo kept >/mark')
ctr start -a "$id" >/dev/null; expect "the disk stays" kept "$(ctr start -a "$id")"
expect "others have their own" "none" "$(ctr run --rm demo sh -c 'cat /mark 2>/dev/null || echo none')"
