#!/usr/bin/env python3
"""Drives a real ctr-net, for the checks of its plugins, which net-*.sh run in a network namespace of their own.

A machine is a network namespace with a tap, whose frames go to and from the port that ctr-net gave (a thread does what QEMU would). "The internet" is a
namespace behind a veth. Each check prints a line; the exit status says whether all held."""
import array, ctypes, fcntl, json, os, re, select, signal, socket, struct, subprocess, sys, tempfile, threading, time

BUILD = os.environ["BUILD"]
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
failed = []


def check(what, holds, note=""):
    print(("ok   " if holds else "FAIL ") + what + (f": {note}" if note and not holds else ""), flush=True)
    if not holds:
        failed.append(what)


def sh(command, ns=None, timeout=20):
    argv = ["bash", "-c", command]
    if ns is not None:
        argv = ["nsenter", f"--net=/proc/{ns}/ns/net"] + argv
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    return done.returncode, (done.stdout + done.stderr).strip()


def namespace():
    """A process that holds a new network namespace; its pid."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        libc.unshare(CLONE_NEWNET)
        os.write(w, b"x")
        os.closerange(0, 1024)
        signal.pause()
        os._exit(0)
    os.read(r, 1)
    os.close(r)
    os.close(w)
    holders.append(pid)
    sh("ip link set lo up", pid)
    return pid


holders = []


def tap_in(ns, name, mac, mtu):
    """A tap's descriptor, made in the namespace."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        fd = os.open(f"/proc/{ns}/ns/net", os.O_RDONLY)
        libc.setns(fd, CLONE_NEWNET)
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1002))
        socket.send_fds(theirs, [b"x"], [tun])
        os._exit(0)
    os.wait()
    tun = socket.recv_fds(ours, 1, 1)[1][0]
    sh(f"ip link set {name} address {mac} mtu {mtu} up", ns)
    return tun


class Machine:
    def __init__(self, port_fd, vnet, mac, address, prefix, gateway, address6=None, gateway6=None, mtu=1500):
        self.ns, self.port, self.head = namespace(), port_fd, b"\0" * 10 if vnet else b""
        self.mac, self.address, self.mtu = mac, address, mtu
        sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0", self.ns)
        self.tap = tap_in(self.ns, "eth0", mac, mtu)
        sh(f"ip addr add {address}/{prefix} dev eth0; ip route add default via {gateway}", self.ns)
        if address6:
            sh(f"ip addr add {address6}/64 dev eth0 nodad; ip route add default via {gateway6}", self.ns)
        self.seen = []  # frames from the network, of late
        self.stop = False
        self.thread = threading.Thread(target=self.pump, daemon=True)
        self.thread.start()

    def end(self):
        self.stop = True
        self.thread.join()
        os.close(self.port)
        os.close(self.tap)

    def pump(self):
        while not self.stop:
            ready, _, _ = select.select([self.port, self.tap], [], [], 0.2)
            for fd in ready:
                try:
                    frame = os.read(fd, 66000)
                    if fd == self.port:
                        frame = frame[len(self.head):]
                        self.seen = self.seen[-200:] + [frame]
                        os.write(self.tap, frame)
                    else:
                        os.write(self.port, self.head + frame)
                except OSError:
                    time.sleep(0.05)

    def send(self, frame):
        os.write(self.port, self.head + frame)

    def saw(self, part, seconds=0.4):
        end = time.time() + seconds
        while time.time() < end:
            if any(part in f for f in list(self.seen)):
                return True
            time.sleep(0.02)
        return False

    def run(self, command, timeout=20):
        return sh(command, self.ns, timeout)

    def pings(self, address, n=1):
        return self.run(f"ping -c {n} -W 2 -i 0.2 {address}")[0] == 0


class Net:
    """One ctr-net."""

    def __init__(self, name, number, folder, plugin="bridge", options=None, **network):
        os.makedirs(f"{folder}/run", 0o700, exist_ok=True)
        self.socket = f"{folder}/run/{name}.sock"
        self.prefix, self.number = 24, number
        base = f"10.77.{number}"
        self.base = base
        self.network = {"name": name, "id": network.pop("id", f"{number:02x}" * 32), "mtu": 1500, "out_mtu": 1500, "subnet": f"{base}.0", "prefix": 24,
                        "gateway": f"{base}.1", "dns": f"{base}.1", "host": f"{base}.254", "internal": False, "isolated": False,
                        "subnet6": f"fd77:0:0:{number}::", "prefix6": 64, "gateway6": f"fd77:0:0:{number}::1", "egress": "open", "allow": []}
        self.network.update(network)
        resolv = f"{folder}/resolv.conf"
        if not os.path.exists(resolv):
            open(resolv, "w").write("nameserver 203.0.113.2\n")
        self.config = {"plugin": f"{BUILD}/lib/ctr/plugins/net-{plugin}.so", "instance": "default", "options": options or {}, "socket": self.socket,
                       "run_dir": f"{folder}/run", "resolv_conf": resolv, "network": self.network}
        self.log = open(f"{folder}/{name}.log", "a")
        self.machines = {}

    def start(self):
        done = subprocess.run([f"{BUILD}/bin/ctr-net"], input=json.dumps(self.config), text=True, stdout=subprocess.PIPE, stderr=self.log, timeout=30)
        answer = json.loads(done.stdout)
        if "ok" in answer:
            self.pid = answer["ok"]["pid"]
        return answer

    def call(self, op, fd=None, **request):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(self.socket)
        line = json.dumps({"op": op, **request}).encode() + b"\n"
        if fd is None:
            s.sendall(line)
        else:
            socket.send_fds(s, [line], [fd])
        answer, got = b"", []
        while not answer.endswith(b"\n"):
            part, fds, _, _ = socket.recv_fds(s, 65536, 1)
            got += fds
            if not part:
                break
            answer += part
        s.close()
        reply = json.loads(answer)
        return (reply, got[0] if got else None)

    def attach(self, name, last, kind=2, fd=None, host=False):
        mac = f"02:42:0a:4d:{self.number:02x}:{last:02x}"
        six = f"fd77:0:0:{self.number}::{last:x}" if self.network["subnet6"] else ""
        request = dict(id=name, mac=mac, address=f"{self.base}.{last}", address6=six, kind=kind, host=host)
        ours = None
        if kind == 1 and fd is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            for s in (ours, theirs):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            fd = theirs.fileno()
            self.kept = os.dup(fd)
        reply, got = self.call("attach", fd, **request)
        if "ok" not in reply or name in self.machines:
            return reply
        port = got if kind == 2 else ours.detach()
        m = Machine(port, kind == 2, mac, f"{self.base}.{last}", self.prefix, f"{self.base}.1", six or None,
                    f"fd77:0:0:{self.number}::1", self.network["mtu"])
        m.address6, m.name = six, name
        self.machines[name] = m
        return m

    def stop(self):
        try:
            self.call("stop")
        except OSError:
            pass
        for _ in range(100):
            if not os.path.exists(f"/proc/{self.pid}") or open(f"/proc/{self.pid}/stat").read().split()[2] == "Z":
                break
            time.sleep(0.05)
        self.end_machines()

    def end_machines(self):
        for m in self.machines.values():
            m.end()
        self.machines = {}

    def zone(self, names):
        ports = {name: {"hosts": [], "forward": not self.network["internal"]} for name in self.machines}
        hosts = [{"name": n, "addresses": a} for n, a in names.items()]
        return self.call("zone", zone={"hosts": hosts, "ports": ports})


# --- what a test of a connection needs ---

SERVER = """
import socket, sys, threading
family, host, port, kind = sys.argv[1:5]
f = socket.AF_INET6 if family == "6" else socket.AF_INET
s = socket.socket(f, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((host, int(port)))
def talk(c, peer):
    c.sendall(peer[0].encode() + b"\\n")
    while True:
        data = c.recv(65536)
        if not data: break
        c.sendall(data)
if kind == "tcp":
    s.listen(16)
    print("ready", flush=True)
    while True:
        c, peer = s.accept()
        threading.Thread(target=talk, args=(c, peer), daemon=True).start()
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(peer[0].encode(), peer)
"""
CLIENT = """
import socket, sys
family, host, port, kind = sys.argv[1:5]
f = socket.AF_INET6 if family == "6" else socket.AF_INET
s = socket.socket(f, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(2)
try:
    s.connect((host, int(port)))
    if kind == "udp": s.send(b"hello")
    print(s.recv(100).decode().strip())
except OSError as e:
    print("error", type(e).__name__, e)
"""
servers = []


def enter(ns):
    return ["nsenter", f"--net=/proc/{ns}/ns/net"] if ns else []


def serve(ns, host, port, kind="tcp"):
    family = "6" if ":" in host else "4"
    p = subprocess.Popen(enter(ns) + ["python3", "-c", SERVER, family, host, str(port), kind], stdout=subprocess.PIPE, text=True)
    servers.append(p)
    p.stdout.readline()
    return p


def ask(ns, host, port, kind="tcp"):
    """The server says whom it sees; "error …" if there was no answer."""
    family = "6" if ":" in host else "4"
    done = subprocess.run(enter(ns) + ["python3", "-c", CLIENT, family, host, str(port), kind], capture_output=True, text=True, timeout=20)
    return done.stdout.strip()


def closed(ns, host, port, kind="tcp"):
    return ask(ns, host, port, kind).startswith("error")


# --- "the internet", and the host's own address towards it ---

OUTSIDE, HOST = "203.0.113.2", "203.0.113.1"
OUTSIDE6, HOST6 = "2001:db8:113::2", "2001:db8:113::1"


def outside(sysctls):
    """A namespace that is all the world behind the host, which is set up by these sysctls."""
    ns = namespace()
    sh(f"""ip link set lo up; sysctl -qw {sysctls}
        ip link add out0 type veth peer name in0 netns {ns}
        ip addr add {HOST}/24 dev out0; ip addr add {HOST6}/64 dev out0 nodad; ip link set out0 up
        ip route add default via {OUTSIDE}; ip -6 route add default via {OUTSIDE6}""")
    sh(f"""ip addr add {OUTSIDE}/24 dev in0; ip addr add {OUTSIDE6}/64 dev in0 nodad; ip link set in0 up
        for a in 169.254.169.254 100.100.100.200 198.51.100.7; do ip addr add $a/32 dev lo; done
        ip route add 10.77.0.0/16 via {HOST}; ip route add fd77::/16 via {HOST6}""", ns)
    return ns


def check_way_out(machines, out):
    serve(out, OUTSIDE, 8080)
    serve(out, OUTSIDE, 8080, "udp")
    serve(out, OUTSIDE6, 8080)
    for m in machines:
        check(f"{m.name} gets out by TCP, as the host", ask(m.ns, OUTSIDE, 8080) == HOST, ask(m.ns, OUTSIDE, 8080))
        check(f"{m.name} gets out by UDP", ask(m.ns, OUTSIDE, 8080, "udp") == HOST, ask(m.ns, OUTSIDE, 8080, "udp"))
        check(f"{m.name} gets out by IPv6", ask(m.ns, OUTSIDE6, 8080) == HOST6, ask(m.ns, OUTSIDE6, 8080))
        check(f"{m.name} pings the outside", m.pings(OUTSIDE) and m.pings(OUTSIDE6))


def check_metadata(m, out):
    """A cloud's metadata is closed, though the way there is open."""
    serve(out, "0.0.0.0", 8090)
    check("198.51.100.7 is open (as a proof of what follows)", ask(m.ns, "198.51.100.7", 8090) == HOST)
    for address in ("169.254.169.254", "100.100.100.200"):
        check(f"metadata at {address} is closed", closed(m.ns, address, 8090))


def check_names(net, m):
    net.zone({"b": ["10.77.1.3", "fd77:0:0:1::3"]})
    check("a name by UDP", m.run("dig +short +time=2 +tries=1 @10.77.1.1 b A")[1] == "10.77.1.3", m.run("dig +time=2 +tries=1 @10.77.1.1 b A")[1])
    check("a name by TCP", m.run("dig +short +tcp +time=2 +tries=1 @10.77.1.1 b AAAA")[1] == "fd77:0:0:1::3")


def run_checks(main):
    """Runs main, ends what it started, and exits."""
    try:
        main()
    finally:
        for p in servers:
            p.kill()
        for pid in holders:
            os.kill(pid, signal.SIGKILL)
    print(f"{len(failed)} failed", flush=True)
    sys.exit(len(failed) > 0)
