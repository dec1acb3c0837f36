#!/usr/bin/env bash
# Signals of ctrctl run reach the process; a closed standard output ends it quietly; three interrupts are not needed for that.
. "$(dirname "$0")/ctrctl-fake.bash"
img=busybox:latest
expect 0 system start

# Waits until the file has the text.
await() {
    for _ in $(seq 400); do grep -qF -- "$2" "$T/$1" 2>/dev/null && return 0; sleep 0.02; done
    fail "$1 never had '$2': $(head -c 300 "$T/$1")"
}
for sig in TERM INT HUP USR1 QUIT; do
    rm -f "$T/out"
    "$T/bin/ctrctl" run --rm $img python3 -uc "
import signal, sys, time
def got(n, f):
    print('got', n)
    sys.exit(40)
signal.signal(signal.SIG$sig, got)
print('ready')
while True: time.sleep(0.05)" >"$T/out" 2>"$T/err" &
    pid=$!
    await out ready
    kill -"$sig" $pid
    wait $pid
    status=$?
    [ $status = 40 ] || fail "SIG$sig: exit $status"
    has out "got $(kill -l $sig)"
    same err ""
done
# One that kills it: 128 + n.
rm -f "$T/out"
"$T/bin/ctrctl" run --rm $img sh -c 'echo ready; exec sleep 100' >"$T/out" 2>"$T/err" &
pid=$!
await out ready
kill -TERM $pid
wait $pid
[ $? = 143 ] || fail "a killed process: $?"
# --sig-proxy=false: ctrctl alone ends, the container goes on.
rm -f "$T/out"
"$T/bin/ctrctl" run --name alone --sig-proxy=false $img sh -c 'echo ready; exec sleep 100' >"$T/out" 2>"$T/err" &
pid=$!
await out ready
kill -TERM $pid
wait $pid
[ $? = 143 ] || fail "without proxy: $?"
expect 0 ps --format '{{.Names}}'; same out alone
expect 0 rm -f alone

# While the machine boots, one interrupt ends it all, and nothing is left.
fake_stop
export FAKE_MODE=slowboot
expect 0 system start
for sig in INT TERM; do
    rm -f "$T/cid"
    forget
    "$T/bin/ctrctl" run --cidfile "$T/cid" $img true >"$T/out" 2>"$T/err" &
    pid=$!
    for _ in $(seq 400); do grep -q '/start' "$CTR_RUN/ctr.sock.log" && break; sleep 0.02; done
    kill -$sig $pid
    wait $pid
    [ $? = $((128 + $(kill -l $sig))) ] || fail "SIG$sig while it boots"
    same out ""
    expect 0 ps -aq; same out ""
done
fake_stop
export FAKE_MODE=honest
expect 0 system start

# Nobody reads: no complaint, status of SIGPIPE, and a container of --rm does not live on.
{ "$T/bin/ctrctl" run --rm $img yes 2>"$T/err"; echo $? >"$T/status"; } | head -n 1 >/dev/null
same status 141; same err ""
expect 0 ps -aq; same out ""
ctl run --rm $img echo x >&- 2>"$T/err"; [ $? = 0 ] || fail "closed standard output"; same err ""
ctl run --rm $img sh -c 'echo x >&2' 2>&- >"$T/out"; [ $? = 0 ] || fail "closed standard error"
if [ -e /dev/full ]; then
    ctl ps >/dev/full 2>"$T/err"; [ $? = 1 ] || fail "a full disk behind ps"; has err "No space left"
    ctl run --rm $img echo x >/dev/full 2>"$T/err"; [ $? = 125 ] || fail "a full disk behind run"; has err "No space left"
fi
ctl logs nosuch 2>/dev/null | head -c 1 >/dev/null

# A stalled reader of output does not stall input: 3 MB go in while nothing of 1 MB is read.
cat /dev/null >"$T/count"
export COUNT=$T/count
{
    head -c 3000000 /dev/zero | "$T/bin/ctrctl" run --rm -i -e COUNT $img sh -c 'head -c 1000000 /dev/zero & wc -c >$COUNT; wait'
} | {
    await count 3000000
    wc -c >"$T/out"
}
same count 3000000; same out 1000000

# A gigabyte of output does not make it grow.
"$T/bin/ctrctl" run --rm $img head -c 1000000000 /dev/zero 2>"$T/err" >/dev/null &
pid=$!
peak=0
while kill -0 $pid 2>/dev/null; do
    now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null)
    [ "${now:-0}" -gt "$peak" ] && peak=$now
    sleep 0.05
done
wait $pid
[ -n "${CTR_ASAN:-}" ] || grep -q asan "$T/bin/ctrctl" || [ "$peak" -lt 16384 ] || fail "its memory grew to $peak KiB"
finish
