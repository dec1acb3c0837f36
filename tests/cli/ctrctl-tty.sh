#!/usr/bin/env bash
# ctrctl run -it on a terminal: raw mode and back, the size and its changes, Ctrl-C as a byte, detach keys, progress bars, questions.
. "$(dirname "$0")/ctrctl-fake.bash"
export FAKE_PULL_STEP=0.1
expect 0 system start
cat >"$T/terminals.py" <<'PY'
import fcntl, os, pty, select, signal, struct, subprocess, sys, termios, time
ctrctl, failures = sys.argv[1], []


class Terminal:
    def __init__(self, *words, **env):
        self.parent, child = pty.openpty()
        self.size(30, 100)
        self.before = termios.tcgetattr(child)
        self.child = child
        self.proc = subprocess.Popen([ctrctl, *words], stdin=child, stdout=child, stderr=child, start_new_session=True, env=dict(os.environ, **env),
                                     preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.text = b""

    def size(self, rows, cols):
        fcntl.ioctl(self.parent, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def read_until(self, what, seconds=20):
        end = time.monotonic() + seconds
        while what not in self.text and time.monotonic() < end:
            if select.select([self.parent], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.parent, 65536)
                except OSError:
                    break
        if what not in self.text:
            failures.append("never saw %r in %r" % (what, self.text[-400:]))

    def type(self, data):
        os.write(self.parent, data)

    def end(self, want, what):
        try:
            status = self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            status = "none"
        while select.select([self.parent], [], [], 0.05)[0]:
            self.text += os.read(self.parent, 65536)
        if status != want:
            failures.append("%s: status %s instead of %s: %r" % (what, status, want, self.text[-300:]))
        if termios.tcgetattr(self.child) != self.before:
            failures.append("%s: the terminal's mode is not what it was" % what)


def raw(t):
    return not termios.tcgetattr(t.child)[3] & (termios.ICANON | termios.ECHO)


img = "busybox:latest"
t = Terminal("run", "--rm", "-it", img, "sh", "-c", "stty size; tty; read x; echo got-$x; stty size; exit 9")
t.read_until(b"/dev/pts/")
if b"30 100" not in t.text:
    failures.append("the first size: %r" % t.text)
if not raw(t):
    failures.append("not in raw mode")
t.size(40, 120)
t.proc.send_signal(signal.SIGWINCH)
time.sleep(0.3)
t.type(b"word\r")
t.read_until(b"40 120")
t.read_until(b"got-word")
t.end(9, "run -it")

# Ctrl-C is typed into the container's terminal
# (in a loop: a signal that comes just before a sleep is not noticed before its end)
t = Terminal("run", "--rm", "-it", img, "sh", "-c", "trap 'echo interrupted; exit 0' INT; echo ready; while :; do sleep 1; done")
t.read_until(b"ready")
t.type(b"\x03")
t.read_until(b"interrupted")
t.end(0, "Ctrl-C")

# ctrl-p alone goes through, ctrl-p ctrl-q detaches; attach comes back
t = Terminal("run", "--name", "shell", "-it", img, "sh", "-c", "echo ready; while read x; do echo got-$x; done")
t.read_until(b"ready")
t.type(b"a\r")
t.read_until(b"got-a")
t.type(b"\x10\x11")
t.read_until(b"detached from shell")
t.end(0, "detach")
t = Terminal("attach", "shell")
time.sleep(0.3)
t.type(b"b\r")
t.read_until(b"got-b")
t.type(b"\x04")
t.end(0, "attach")

# exec -it; its size
t = Terminal("run", "-d", "--name", "bg", img, "sleep", "1000")
t.end(0, "run -d")
t = Terminal("exec", "-it", "bg", "sh", "-c", "stty size; read x; exit 6")
t.read_until(b"30 100")
t.type(b"\r")
t.end(6, "exec -it")

# Ended by a signal or the daemon's death, the terminal is put back all the same
t = Terminal("exec", "-it", "bg", "sh", "-c", "echo ready; sleep 100")
t.read_until(b"ready")
t.proc.send_signal(signal.SIGTERM)
t.end(143, "SIGTERM to exec -it")
t = Terminal("run", "--name", "lost", "-it", img, "sh", "-c", "echo ready; sleep 100")
t.read_until(b"ready")
os.kill(int(open(os.environ["CTR_RUN"] + "/starts").read().split()[-1]), signal.SIGKILL)
t.read_until(b"lost the daemon")
t.end(125, "a dead daemon")

# a container's terminal without ours: -t alone works in a pipe
out = subprocess.run([ctrctl, "run", "--rm", "-t", img, "tty"], stdin=subprocess.DEVNULL, capture_output=True)
if out.returncode or not out.stdout.startswith(b"/dev/pts/"):
    failures.append("run -t without a terminal: %r" % out)

# bars: a line for each layer, drawn over; nothing is left of them but their last state
t = Terminal("pull", "bars:1")
t.read_until(b"Downloaded newer image")
if b"[===" not in t.text or b"\x1b[2A" not in t.text or b"kB" not in t.text:
    failures.append("bars: %r" % t.text[:600])
t.end(0, "pull")
# a terminal that gets narrower: no line is longer than it from then on
t = Terminal("pull", "narrow:1")
t.read_until(b"[===")
before = len(t.text)
t.size(30, 24)
t.proc.send_signal(signal.SIGWINCH)
t.read_until(b"Downloaded newer")
after = t.text[t.text.index(b"\x1b[J", before):] if b"\x1b[J" in t.text[before:] else b""
bars = [l for l in after.replace(b"\x1b[K", b"").split(b"\r") if b": Downloadi" in l]
if not bars or any(len(l.rstrip(b"\n")) > 24 for l in bars):
    failures.append("a narrow terminal: %r" % after[:600])
t.end(0, "pull on a narrow terminal")

# Ctrl-C ends a pull at once, says what is next, and the status is that of an interrupt
t = Terminal("pull", "stopped:1")
t.read_until(b"[===")
began = time.monotonic()
t.type(b"\x03")
t.read_until(b"the next pull goes on from there")
t.end(130, "Ctrl-C in a pull")
if time.monotonic() - began > 1:
    failures.append("Ctrl-C took %.1f s" % (time.monotonic() - began))
t = Terminal("run", "--rm", "runs:1", "true")
t.read_until(b"[===")
t.type(b"\x03")
t.end(130, "Ctrl-C in run's pull")

# login asks, and does not show the password; Ctrl-C puts the terminal back
t = Terminal("login", "reg.example:5000")
t.read_until(b"Username: ")
t.type(b"ann\r")
t.read_until(b"Password: ")
if termios.tcgetattr(t.child)[3] & termios.ECHO:
    failures.append("the password is shown while it is typed")
t.type(b"pass word\r")
t.read_until(b"Login Succeeded")
t.end(0, "login")
if b"pass word" in t.text:
    failures.append("the password was shown: %r" % t.text)
t = Terminal("login", "-u", "ann")
t.read_until(b"Password: ")
t.type(b"\x03")
t.end(-signal.SIGINT, "Ctrl-C at the password")
t = Terminal("login", "-u", "ann")
t.read_until(b"Password: ")
t.type(b"wrong\r")
t.read_until(b"refuses this user name or password")
t.end(1, "a wrong password")

# prune asks
for answer, want in ((b"y\r", b"untagged: old:1"), (b"n\r", None), (b"\r", None), (b"\x04", None)):
    t = Terminal("image", "prune")
    t.read_until(b"[y/N] ")
    t.type(answer)
    if want:
        t.read_until(want)
    t.end(0, "prune answered by %r" % answer)
    if not want and b"untagged" in t.text:
        failures.append("prune after %r: %r" % (answer, t.text))
print("\n".join(failures))
sys.exit(bool(failures))
PY
python3 "$T/terminals.py" "$T/bin/ctrctl" >"$T/out" 2>&1 || fail "$(cat "$T/out")"
finish
