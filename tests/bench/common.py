"""What the benches share: timed commands, an engine of its own data root, and looks at processes."""
import json, os, shutil, socket, statistics, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "?")
    return "%s, %d cores, Linux %s" % (model, os.cpu_count(), os.uname().release)


def wall(argv, **kw):
    """Seconds that a command takes; one that fails ends the bench."""
    begin = time.monotonic()
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
    if result.returncode != 0:
        sys.exit("bench: %s ended with %d: %s" % (" ".join(argv), result.returncode, result.stderr.decode()[-400:]))
    return time.monotonic() - begin


def show(name, label_a, times_a, label_b, times_b):
    ratios = [a / b for a, b in zip(times_a, times_b)]
    print("%-22s %-34s %7.1f ms | %-34s %7.1f ms | ratio %.2f (min %.2f, max %.2f)" % (
        name, label_a, statistics.median(times_a) * 1000, label_b, statistics.median(times_b) * 1000,
        statistics.median(ratios), min(ratios), max(ratios)), flush=True)


class Engine:
    def __init__(self, folder, storage, more="", net="switch", keys=""):
        """`keys`: lines of [engine]; `more`: sections."""
        self.folder = folder
        self.ini = os.path.join(folder, "bench.ini")
        with open(self.ini, "w") as f:
            f.write("[engine]\ndata = %s/data\nrun = %s/run\n%s[vmm]\nplugin = qemu\n[storage]\nplugin = %s\n[net]\nplugin = %s\n"
                    "[registry]\nchain = file\n%s" % (folder, folder, keys, storage, net, more))

    def argv(self, *args):
        return [os.path.join(BUILD, "bin/ctrctl"), "--profile", self.ini, *args]

    def out(self, *args):
        return subprocess.run(self.argv(*args), check=True, stdout=subprocess.PIPE).stdout.decode().strip()

    def pid(self):
        return int(next(w for w in self.out("system", "status").replace(":", " ").replace("=", " ").split() if w.isdigit()))

    def carrier(self, op="info", **more):
        """What the default network's ctr-net answers to a request."""
        folder = os.path.join(self.folder, "run/n")
        path = os.path.join(folder, next(s for s in sorted(os.listdir(folder)) if s.startswith("default")))
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(json.dumps(dict(more, op=op)).encode() + b"\n")
            return json.loads(s.makefile().readline())["ok"]

    def close(self):
        for c in self.out("ps", "-aq").split():
            self.out("rm", "-f", c)
        self.out("system", "stop")
        folder = os.path.join(self.folder, "run/n")
        for s in os.listdir(folder) if os.path.isdir(folder) else []:
            subprocess.run(["socat", "-", "UNIX-CONNECT:" + os.path.join(folder, s)], input=b'{"op":"stop"}\n', stdout=subprocess.DEVNULL)


def status_kib(pid, field):
    """VmRSS, VmHWM … of a process."""
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(p) for p in f.read().split()]


def sandbox_of(engine, container):
    with open(os.path.join(engine.folder, "data/containers", container, "state.json")) as f:
        return json.load(f)["pid"]
