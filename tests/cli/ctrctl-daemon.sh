#!/usr/bin/env bash
# How ctrctl finds, starts and stops its daemon, and what it does when that misbehaves.
. "$(dirname "$0")/ctrctl-fake.bash"

expect 3 system status;          has out "not running"
expect 0 system stop;            has out "does not run"
expect 0 version;                has out "The daemon does not run"
expect 0 __complete rm "";       same out ""
[ ! -e "$CTR_RUN/starts" ] || fail "a question started the daemon"

# Ten at once start one daemon.
for i in 1 2 3 4 5 6 7 8 9 10; do ctl ps >"$T/ps.$i" 2>&1 & done
wait
[ "$(wc -l <"$CTR_RUN/starts")" = 1 ] || fail "$(wc -l <"$CTR_RUN/starts") daemons were started"
for i in 1 2 3 4 5 6 7 8 9 10; do grep -q 'CONTAINER ID' "$T/ps.$i" || fail "ps $i: $(cat "$T/ps.$i")"; done
[ "$(stat -c %a "$CTR_DATA")" = 700 ] || fail "the data folder's mode"
pid=$(cat "$CTR_RUN/starts")
expect 0 system status;          has out "$pid"
expect 0 system status --format '{{.Socket}}'; same out "$CTR_RUN/ctr.sock"
# It is detached and has none of our descriptors: only 0, 1, 2 and its own.
[ "$(ps -o sid= -p "$pid" | tr -d ' ')" = "$pid" ] || fail "not a session of its own"
fake_stop
exec 9>"$T/ours"
expect 0 system start
[ ! -e "/proc/$(tail -n 1 "$CTR_RUN/starts")/fd/9" ] || fail "our descriptor 9 went to the daemon"
exec 9>&-
expect 0 run -d --name stays busybox:latest sleep 100
expect 0 system stop;            has out "1 container goes on running"
expect 3 system status
rm -f "$CTR_RUN/starts"

# It says why it does not start, and its log is kept.
export FAKE_REFUSE="the profile is no good; look at line 7"
expect 1 ps;                     has err "ctrctl: ctrd: the profile is no good; look at line 7"
unset FAKE_REFUSE
printf '#!/bin/sh\necho some trouble >&2\nexit 1\n' >"$T/bin/ctrd.bad"; chmod +x "$T/bin/ctrd.bad"
mv "$T/bin/ctrd" "$T/bin/ctrd.good"; mv "$T/bin/ctrd.bad" "$T/bin/ctrd"
expect 1 ps;                     has err "ended before it was ready"; has err "$CTR_DATA/ctrd.log"
expect 0 system logs;            has out "some trouble"
expect 0 system logs -n 1;       same out "some trouble"
rm "$T/bin/ctrd"
expect 1 ps;                     has err "bin/ctrd"
expect 125 run busybox true
mv "$T/bin/ctrd.good" "$T/bin/ctrd"

# Profiles
expect 1 --profile nosuch ps;    has err "nosuch"
expect 1 ps --profile "$T/no.ini"
printf '[engine]\nmemry = 1\n' >"$T/bad.ini"
expect 1 --profile "$T/bad.ini" ps; has err "memory"

# Replies that are no replies: an error in one line, at once, and never a crash.
for mode in garbage bighead cut; do
    fake_stop
    export FAKE_MODE=$mode
    expect 1 ps
    [ "$(wc -l <"$T/err")" = 1 ] || fail "$mode: $(cat "$T/err")"
    expect 125 run busybox:latest true
done
fake_stop
export FAKE_MODE=badframe
expect 125 run busybox:latest echo x; has err "bad frame"
fake_stop
export FAKE_MODE=evilnames
expect 0 run -d --name evil busybox:latest sleep 100
expect 0 ps
! grep -q $'\e' "$T/out" || fail "an escape sequence reached the table"
! ctl ps --format json | grep -q $'\e' || fail "an escape sequence reached the JSON"
expect 0 rm -f evil
finish
