#!/bin/bash
# What is missing is said in one line that names what, where and what to do; nothing half-made is left; the next correct command works.
. "$(dirname "$0")/../lib.sh"

leftovers() {
    wait_for 10 sh -c "[ -z \"\$(ls '$T/$1/data/containers')\" ]" # --rm tells its end before the last file is gone
    expect "containers left" "" "$(ctr ps -aq)"
    expect "folders left" "" "$(ls "$T/$1/data/containers")"
    expect "disks left" 0 "$(ls "$T/$1/data/storage/default/clones" 2>/dev/null | wc -l)"
}

# The first create says that the fake machine is no security boundary.
hear_warning() { ctr rm "$(ctr create demo true 2>/dev/null)" >/dev/null || fail "create and rm"; }

# The same for the daemon's own errors.
one_line() {
    expect "lines of stderr" 1 "$(wc -l <"$T/err")"
    expect_match "error text" "$1" "$(cat "$T/err")"
}

# a typo in the profile: the daemon does not start, and says where
use_profile typo fake
sed -i 's/^init =/inti =/' "$PROFILE"
expect_status 1 "$BIN/ctrd" --profile "$PROFILE"
one_line "$PROFILE:[0-9]+.*inti.*init"

# a plugin that does not exist
use_profile noplug fake
sed -i 's/^plugin = fake/plugin = fakke/' "$PROFILE"
expect_status 1 "$BIN/ctrd" --profile "$PROFILE"
one_line 'fakke'

# a wrong option
expect_status 2 "$BIN/ctrd" --log-level loud
one_line 'log-level'

# no kernel
use_profile nokernel fake
sed -i "s|^kernel = .*|kernel = $T/no-kernel|" "$PROFILE"
ctr system start >/dev/null || fail "the engine does not start"
load_demo
expect_status 125 ctr run --rm demo true
one_line_error "$T/no-kernel"
leftovers nokernel
cp /dev/null "$T/no-kernel"
expect "after it was put there" ok "$(ctr run --rm demo echo ok)"
expect_status 125 ctr run --rm --kernel "$T/other" demo true
one_line_error "$T/other"
leftovers nokernel

# a machine that cannot be started, one that panics, one that is lost
use_profile nostart fake
sed -i '/^\[vmm.fake\]/r '<(echo 'fail_start = yes') "$PROFILE"
ctr system start >/dev/null || fail "the engine does not start"
load_demo
hear_warning
expect_status 125 ctr run --rm demo true
one_line_error 'told not to start'
wait_for 10 sh -c "[ -z \"\$('$BIN/ctrctl' --profile '$PROFILE' ps -aq)\" ]" || fail "--rm of a failed start"
leftovers nostart

use_profile panics fake
sed -i '/^\[vmm.fake\]/r '<(echo 'panic = yes') "$PROFILE"
ctr system start >/dev/null || fail "the engine does not start"
load_demo
hear_warning
expect_status 125 ctr run --rm demo true
one_line_error 'panic'
wait_for 10 sh -c "[ -z \"\$('$BIN/ctrctl' --profile '$PROFILE' ps -aq)\" ]" || fail "--rm after a panic"
leftovers panics

use_profile dies fake
sed -i '/^\[vmm.fake\]/r '<(echo 'die_after_ms = 300') "$PROFILE"
ctr system start >/dev/null || fail "the engine does not start"
load_demo
ctr run -d --name d demo sleep 100 >/dev/null || fail "run -d"
expect "exit code of a lost machine" 255 "$(ctr wait d)"
expect "its reason" vmm-lost "$(ctr inspect -f '{{.Ctr.Reason}}' d)"
ctr rm d >/dev/null || fail "rm of a lost one"
leftovers dies

# two daemons on one data folder
use_profile twice fake
ctr system start >/dev/null || fail "the engine does not start"
expect_status 1 env CTR_RUN="$T/twice/run2" "$BIN/ctrd" --profile "$PROFILE"
one_line "$T/twice/data"

# the socket is handed over (systemd's way)
use_profile act fake
python3 - "$BIN/ctrd" "$PROFILE" "$T/act.sock" <<'PY' || fail "socket activation"
import os, socket, sys
program, profile, path = sys.argv[1:]
s = socket.socket(socket.AF_UNIX)
s.bind(path)
s.listen(8)
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(r)
    os.dup2(s.fileno(), 3) if s.fileno() != 3 else None
    os.set_inheritable(3, True)
    os.set_inheritable(w, True)
    env = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", CTR_READY_FD=str(w))
    os.execve(program, ["ctrd", "--profile", profile], env)
os.close(w)
line = os.read(r, 1000)
assert b'"ok"' in line, line
c = socket.socket(socket.AF_UNIX)
c.connect(path)
c.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
assert c.recv(1000).startswith(b"HTTP/1.1 200")
c.sendall(b"POST /ctr/v1/system/stop HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
assert b"204" in c.recv(1000)
assert os.waitpid(pid, 0)[1] == 0
PY
exit 0
