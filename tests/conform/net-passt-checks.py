#!/usr/bin/env python3
"""What net-passt lets through and what not, and what happens when a passt dies; run by net-passt.sh in a network namespace of its own."""
import os, re, signal, sys, time
from netdrive import *

T = sys.argv[1]
SEEN = "10.77.1.254"  # network.host, as which a client on the host's loopback is seen


def passts(net, m=None):
    """The passt processes of a ctr-net; of one machine."""
    with open(f"/proc/{net.pid}/task/{net.pid}/children") as f:
        pids = [int(p) for p in f.read().split()]
    lines = {p: open(f"/proc/{p}/cmdline").read().split("\0") for p in pids}
    return [p for p, argv in lines.items() if argv[0].endswith("passt") and (m is None or m.address in argv)]


def attach(net, name, last, **more):
    m = net.attach(name, last, kind=1, **more)
    check(f"{name} is attached", isinstance(m, Machine), str(m))
    m.kept = net.kept
    return m


def until(seconds, what):
    end = time.time() + seconds
    while not what() and time.time() < end:
        time.sleep(0.05)
    return what()


def way_out(net, a, b, out):
    check("no passt runs before there is something to carry", passts(net) == [])
    check_way_out((a, b), out)
    check("each machine has a passt of its own", len(passts(net, a)) == 1 and len(passts(net, b)) == 1 and len(passts(net)) == 2)
    status = open(f"/proc/{passts(net, a)[0]}/status").read()
    check("which is nobody's, confined, and gains no rights", all(re.search(p, status, re.M) for p in
          (r"^Uid:\s+65534", r"^CapEff:\s+0+$", r"^Seccomp:\s+2", r"^NoNewPrivs:\s+1")), status)


def neighbours(net, a, b):
    check("a and b meet", a.pings(b.address) and b.pings(a.address6) and a.pings("10.77.1.1"))
    check_names(net, a)


def host_is_closed(a, h, out):
    serve(None, "0.0.0.0", 8000)
    serve(None, "::", 8002)
    serve(None, "127.0.0.1", 8001)
    serve(None, "127.0.0.1", 8001, "udp")
    for address in ("10.77.1.1", SEEN, HOST):
        check(f"the host's service at {address} is closed", closed(a.ns, address, 8000) and closed(a.ns, address, 8001))
    check("the host's IPv6 is closed", closed(a.ns, "fd77:0:0:1::1", 8002) and closed(a.ns, HOST6, 8002) and closed(h.ns, "fd77:0:0:1::1", 8002))
    check("h reaches the host's loopback at network.host", ask(h.ns, SEEN, 8001) == "127.0.0.1", ask(h.ns, SEEN, 8001))
    check("also by UDP", ask(h.ns, SEEN, 8001, "udp") == "127.0.0.1", ask(h.ns, SEEN, 8001, "udp"))
    check("but not the host's other addresses", closed(h.ns, HOST, 8000))
    check_metadata(a, out)
    a.run("ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via 10.77.1.1; sysctl -qw net.ipv4.conf.all.route_localnet=1")
    check("the host's loopback is closed to packets for it", closed(a.ns, "127.0.0.1", 8001))


def unasked(a, out):
    """passt's socket for a port that a guest sent from takes what anybody sends to it."""
    a.run(f"python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"0.0.0.0\", 5555)); s.sendto(b\"hello\", (\"{OUTSIDE}\", 8080)); s.recv(100)'")
    sh(f"python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b\"UNASKED\", (\"{HOST}\", 5555))'", out)
    check("a datagram that nobody asked for does not come in", not a.saw(b"UNASKED"))


def published(net, c, out):
    serve(c.ns, "0.0.0.0", 90)
    serve(c.ns, "0.0.0.0", 90, "udp")
    serve(c.ns, "::", 91)
    want = dict(id="c", host_address="0.0.0.0", port=90)
    reply, _ = net.call("publish", proto="tcp", host_port=0, **want)
    port = reply.get("ok", {}).get("host_port", 0)
    check("a free port is picked", port > 0, str(reply))
    check("a client outside reaches it at once and is seen as itself", ask(out, HOST, port) == OUTSIDE, ask(out, HOST, port))
    check("one on the host's loopback is seen as network.host", ask(None, "127.0.0.1", port) == SEEN, ask(None, "127.0.0.1", port))
    check("it is taken", net.call("publish", proto="tcp", host_port=port, **want)[0]["error"]["code"] == -98)
    check("udp too", "ok" in net.call("publish", proto="udp", host_port=port, **want)[0] and ask(out, HOST, port, "udp") == OUTSIDE)
    reply, _ = net.call("publish", id="c", proto="tcp", host_address="::", host_port=port, port=91)
    check("IPv6, on the same port of the host for another of c", "ok" in reply and ask(out, HOST6, port) == OUTSIDE6, str(reply) + ask(out, HOST6, port))
    check("::1 is seen as the gateway", ask(None, "::1", port) == "fd77:0:0:1::1", ask(None, "::1", port))
    check("and IPv4 goes on", ask(out, HOST, port) == OUTSIDE, ask(out, HOST, port))
    serve(None, "127.0.0.1", 9999)
    check("a port of the host's is in use", net.call("publish", proto="tcp", host_port=9999, **want)[0]["error"]["code"] == -98)
    check("below 1024", "ok" in net.call("publish", proto="tcp", host_port=80, **want)[0] and ask(out, HOST, 80) == OUTSIDE, ask(out, HOST, 80))
    check("one address alone", "ok" in net.call("publish", id="c", proto="tcp", host_address="127.0.0.1", host_port=7777, port=90)[0] and
          ask(None, "127.0.0.1", 7777) == SEEN and closed(out, HOST, 7777))
    check("nobody outside gets in but by published ports", closed(out, HOST, 90) and closed(out, c.address, 90))
    return port


def twins(net, out):
    e = attach(net, "e", 6)
    serve(e.ns, "::", 92) # both families
    for address in ("0.0.0.0", "::"):
        reply, _ = net.call("publish", id="e", proto="tcp", host_address=address, host_port=6060, port=92)
        check(f"port 6060 on {address}", "ok" in reply, str(reply))
    check("is one for passt", len(passts(net, e)) == 1 and ask(out, HOST, 6060) == "::ffff:" + OUTSIDE and ask(out, HOST6, 6060) == OUTSIDE6)
    check("and is given back", "ok" in net.call("detach", id="e")[0] and closed(out, HOST, 6060) and closed(out, HOST6, 6060) and passts(net, e) == [])
    net.machines.pop("e").end()


TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); s.settimeout(3); s.recv(100)
print("ready", flush=True)
for line in sys.stdin:
    s.sendall(line.encode())
    print(s.recv(100).decode().strip(), flush=True)
"""


class Talk:
    """An open connection to one of the servers."""

    def __init__(self, ns, host, port):
        self.p = subprocess.Popen(enter(ns) + ["python3", "-c", TALK, host, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        servers.append(self.p)
        self.opened = self.p.stdout.readline().strip() == "ready"

    def lives(self):
        try:
            self.p.stdin.write("word\n")
            self.p.stdin.flush()
        except OSError:
            return False
        return self.p.stdout.readline().strip() == "word"


def live_publish(net, c, out, port):
    talk = Talk(out, HOST, port)
    away = Talk(c.ns, OUTSIDE, 8080)
    check("connections in and out are open", talk.opened and away.opened and talk.lives() and away.lives())
    before = len(passts(net, c))
    reply, _ = net.call("publish", id="c", proto="tcp", host_address="0.0.0.0", host_port=6161, port=90)
    check("a port published meanwhile works", "ok" in reply and ask(out, HOST, 6161) == OUTSIDE, str(reply))
    check("and hurts none", talk.lives() and away.lives())
    check("by a passt of its own", len(passts(net, c)) == before + 1)
    check("it is taken back alone", "ok" in net.call("unpublish", id="c", proto="tcp", host_address="0.0.0.0", host_port=6161, port=90)[0] and
          closed(out, HOST, 6161) and talk.lives() and away.lives() and len(passts(net, c)) == before)


def a_passt_dies(net, a, b, c, out, port):
    mine, others = Talk(c.ns, OUTSIDE, 8080), Talk(b.ns, OUTSIDE, 8080)
    check("c and b have connections", mine.lives() and others.lives())
    for p in passts(net, c):
        os.kill(p, signal.SIGKILL)
    check("c's passt is started again", until(2, lambda: ask(out, HOST, port) == OUTSIDE), ask(out, HOST, port))
    check("c gets out again", ask(c.ns, OUTSIDE, 8080) == HOST)
    check("b's connection has not noticed", others.lives())
    check("c's is lost", not mine.lives())
    check("c's neighbours are there", a.pings(c.address))


def a_passt_hangs(net, b, out):
    check("b gets out", ask(b.ns, OUTSIDE, 8080) == HOST)
    for p in passts(net, b):
        os.kill(p, signal.SIGSTOP)
    b.run(f"timeout 15 ping -i 0.3 {OUTSIDE} >/dev/null 2>&1 &")
    check("a passt that does nothing is ended and started again", until(15, lambda: ask(b.ns, OUTSIDE, 8080) == HOST), ask(b.ns, OUTSIDE, 8080))


def ctr_net_dies(net, a, c, out, port):
    old = passts(net)
    os.kill(net.pid, signal.SIGKILL)
    check("every passt ends with ctr-net", until(2, lambda: not any(os.path.exists(f"/proc/{p}") and open(f"/proc/{p}/stat").read().split()[2] != "Z" for p in old)))
    check("it starts again", "ok" in net.start())
    for name, last in (("a", 2), ("c", 4)):
        reply = net.attach(name, last, 1, fd=net.machines[name].kept)
        check(f"{name} is taken back", "ok" in reply, str(reply))
    reply, _ = net.call("publish", id="c", proto="tcp", host_address="0.0.0.0", host_port=port, port=90)
    check("its published port comes back", "ok" in reply and ask(out, HOST, port) == OUTSIDE, str(reply))
    check("and its way out", ask(a.ns, OUTSIDE, 8080) == HOST and a.pings(c.address))


def other_networks(out):
    internal = Net("inner", 3, T, plugin="passt", internal=True)
    check("an internal network starts", "ok" in internal.start())
    i, j = attach(internal, "i", 2), attach(internal, "j", 3)
    check("inside it they meet, nothing goes out", i.pings(j.address) and closed(i.ns, OUTSIDE, 8080) and not i.pings(OUTSIDE) and passts(internal) == [])
    internal.stop()
    strict = Net("strict", 5, T, plugin="passt", egress="deny", allow=[f"{OUTSIDE}:8080"], mtu=65520)
    check("a network with egress deny starts", "ok" in strict.start())
    m = attach(strict, "m", 2)
    serve(out, OUTSIDE, 8081)
    check("what is allowed goes out, all else does not", ask(m.ns, OUTSIDE, 8080) == HOST and closed(m.ns, OUTSIDE, 8081) and closed(m.ns, OUTSIDE6, 8080))
    done = m.run(f"""python3 -c '
import socket
s = socket.create_connection(("{OUTSIDE}", 8080), 5); s.settimeout(10); s.recv(100)
data, got = bytes(range(256)) * 40000, b""
import threading
threading.Thread(target=s.sendall, args=(data,), daemon=True).start()
while len(got) < len(data): got += s.recv(1 << 20)
print(got == data)'""", 60)
    check("10 MB go there and back whole at an MTU of 65520", done[1] == "True", done[1])
    strict.stop()


def refusals():
    net = Net("no", 9, T, plugin="passt", options={"binary": "/nowhere/passt"})
    said = net.start().get("error", {}).get("message", "")
    check("a missing passt is named", "/nowhere/passt" in said, said)


def main():
    out = outside('net.ipv4.ping_group_range="0 2147483647"')
    check("the outside is there", until(10, lambda: sh(f"ping -c1 -W1 {OUTSIDE6}")[0] == 0))
    net = Net("main", 1, T, plugin="passt")
    answer = net.start()
    check("ctr-net starts", "ok" in answer, str(answer))
    a, b, c = attach(net, "a", 2), attach(net, "b", 3), attach(net, "c", 4)
    h = attach(net, "h", 5, host=True)
    way_out(net, a, b, out)
    neighbours(net, a, b)
    host_is_closed(a, h, out)
    unasked(a, out)
    port = published(net, c, out)
    twins(net, out)
    live_publish(net, c, out, port)
    a_passt_dies(net, a, b, c, out, port)
    a_passt_hangs(net, b, out)
    ctr_net_dies(net, a, c, out, port)
    check("detach", "ok" in net.call("detach", id="c")[0] and closed(out, HOST, port) and passts(net, c) == [])
    other_networks(out)
    refusals()
    last = passts(net)
    net.stop()
    check("nothing is left", until(2, lambda: not any(os.path.exists(f"/proc/{p}") and open(f"/proc/{p}/stat").read().split()[2] != "Z" for p in last)))


run_checks(main)
