#!/usr/bin/env bash
# A terminal in a real VM: its size, a change of it, Ctrl-C to the program in front, the exit status, and detach and attach again.
. "$(dirname "$0")/../lib.sh"
need_vm
need python3
use_profile main qemu
load_demo
cat >"$T/terminal.py" <<'PY'
import fcntl, os, pty, select, struct, sys, termios, time

ctrctl = sys.argv[1:]


class Terminal:
    def __init__(self, *words):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(ctrctl[0], [*ctrctl, *words])
        self.size(30, 100)
        self.text = b""

    def size(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def type(self, data):
        os.write(self.fd, data)

    def until(self, what, seconds=60):
        end = time.monotonic() + seconds
        while what not in self.text:
            if time.monotonic() > end or not select.select([self.fd], [], [], end - time.monotonic())[0]:
                sys.exit("never saw %r in %r" % (what, self.text[-500:]))
            try:
                self.text += os.read(self.fd, 65536)
            except OSError:
                sys.exit("ended without %r: %r" % (what, self.text[-500:]))
        self.text = self.text.split(what, 1)[1]

    def status(self):
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


t = Terminal("run", "-it", "--name", "term", "demo", "sh")
t.until(b"# ")
t.type(b"tty; stty size\n")
t.until(b"/dev/pts/")
t.until(b"30 100")
t.size(41, 121)
t.type(b"sleep 0.5; stty size\n")
t.until(b"41 121")
t.type(b"sh -c 'echo sta\"\"rted; exec sleep 1000'\n")
t.until(b"started")
t.type(b"\x03")
t.type(b"echo was-$?\n")
t.until(b"was-130")
t.type(b"\x10\x11")
if t.status() != 0:
    sys.exit("detach did not end with 0")
t = Terminal("attach", "term")
t.until(b"# ")  # the terminal is smaller again: the shell draws its line anew
t.type(b"echo back-$((6*7))\n")
t.until(b"back-42")
t.type(b"exit 7\n")
if t.status() != 7:
    sys.exit("the exit status is not the shell's")
PY
python3 "$T/terminal.py" "$BIN/ctrctl" --profile "$PROFILE" || fail "see above"
expect "status" 7 "$(ctr wait term)"
