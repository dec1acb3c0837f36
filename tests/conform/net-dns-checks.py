#!/usr/bin/env python3
"""What machines on a real network see of the resolver; run by net-dns.sh in a network namespace of its own. The host's resolver is dns-serve on loopback."""
import json, os, subprocess, sys, time
from netdrive import *

T, PLUGIN = sys.argv[1:3]
KIND = 2 if PLUGIN == "bridge" else 1
AGAIN = 1.2  # resolv.conf is looked at once a second


class Upstream:
    """A resolver of the host's; `names` is what it knows."""

    def __init__(self, label, names):
        zone = f"{T}/{label}.json"
        hosts = [{"name": n, "addresses": a} for n, a in names.items()]
        json.dump({"hosts": hosts, "ports": {"p": {"forward": False}}}, open(zone, "w"))
        self.process = subprocess.Popen([f"{BUILD}/tests/bin/dns-serve", zone, "/nonexistent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        return json.loads(self.process.stdout.read())


def use(*ports):
    with open(f"{T}/resolv.new", "w") as f:
        f.write("".join(f"nameserver 127.0.0.1:{p}\n" for p in ports))
    os.rename(f"{T}/resolv.new", f"{T}/resolv.conf")


def dig(machine, what, *more):
    return machine.run(f"dig +time=8 +tries=1 @{machine.gateway} {what} {' '.join(more)}")[1]


def short(machine, what, *more):
    return sorted(dig(machine, what, "+short", *more).split())


def status(machine, what, *more):
    text = dig(machine, what, *more)
    return text.split("status: ")[1].split(",")[0] if "status: " in text else text


def start(name, number, **network):
    net = Net(name, number, T, plugin=PLUGIN, **network)
    answer = net.start()
    if "ok" not in answer:
        sys.exit(f"ctr-net: {answer}")
    return net


def machine(net, name, last):
    m = net.attach(name, last, kind=KIND)
    if isinstance(m, dict):
        sys.exit(f"attach: {m}")
    m.gateway = f"{net.base}.1"
    return m


def local_names(net, a):
    many = {f"n{i}": [f"10.77.1.{i % 200 + 10}"] for i in range(300)}
    many["crowd"] = [f"10.77.1.{i}" for i in range(10, 110)]
    net.zone({"b": ["10.77.1.3", "fd77:0:0:1::3"], "pair": ["10.77.1.3", "10.77.1.4"], **many})
    check("A by UDP", short(a, "b A") == ["10.77.1.3"], dig(a, "b A"))
    check("AAAA by TCP", short(a, "b AAAA", "+tcp") == ["fd77:0:0:1::3"], dig(a, "b AAAA", "+tcp"))
    check("names have no case", short(a, "B A") == ["10.77.1.3"])
    check("the other way round", short(a, "-x 10.77.1.3") == ["b."], dig(a, "-x 10.77.1.3"))
    first = {dig(a, "pair A", "+short").split()[0] for _ in range(2)}
    check("two behind one alias are answered in turn", first == {"10.77.1.3", "10.77.1.4"}, str(first))
    check("a known name without that type", status(a, "b MX") == "NOERROR" and short(a, "b MX") == [])
    check("an answer too long for UDP comes by TCP", len(short(a, "crowd A")) == 100, dig(a, "crowd A"))
    check("without TCP it is cut", " tc " in dig(a, "crowd A", "+ignore", "+noedns"))
    check("nobody's address of ours is not asked outside", status(a, "-x 10.77.1.250") == "NXDOMAIN")
    check("localhost is not asked outside", status(a, "localhost A") == "NXDOMAIN")


def outside_names(a, one, two):
    use(one.port)
    time.sleep(AGAIN)
    check("a name of outside", short(a, "api.example.com A") == [OUTSIDE], dig(a, "api.example.com A"))
    check("a name of outside by TCP", short(a, "api.example.com A", "+tcp") == [OUTSIDE])
    check("a long answer of outside", len(short(a, "wide.example.com A")) == 200, dig(a, "wide.example.com A"))
    use(two.port)
    time.sleep(AGAIN)
    check("a changed resolv.conf is followed", short(a, "api.example.com A") == ["198.51.100.7"], dig(a, "api.example.com A"))
    use(1, one.port)
    time.sleep(AGAIN)
    check("a dead first server is passed over", short(a, "api.example.com A") == [OUTSIDE])
    use()
    time.sleep(AGAIN)
    check("without a server: SERVFAIL", status(a, "api.example.com A") == "SERVFAIL")
    use(one.port)
    time.sleep(AGAIN)


def internal(i):
    check("an internal network asks nobody outside", status(i, "api.example.com A") == "REFUSED", dig(i, "api.example.com A"))
    check("and still knows its own", short(i, "b A") == ["10.77.2.3"])


def egress(net, e, out):
    serve(out, "0.0.0.0", 8080)
    check("closed before the name is asked for", closed(e.ns, OUTSIDE, 8080))
    check("a name that is not allowed", status(e, "other.example.com A") == "REFUSED", dig(e, "other.example.com A"))
    check("the allowed name", short(e, "api.example.com A") == [OUTSIDE], dig(e, "api.example.com A"))
    check("opens its address", ask(e.ns, OUTSIDE, 8080) not in ("", None) and not closed(e.ns, OUTSIDE, 8080), str(ask(e.ns, OUTSIDE, 8080)))
    check("and no other", closed(e.ns, "198.51.100.7", 8080))
    refused = net.call("info")[0]["ok"]["refused"]
    check("what was refused is told by name", any(r["name"] == "other.example.com" for r in refused), str(refused))


def main():
    out = outside("net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    wide = [f"198.51.100.{i}" for i in range(1, 201)]
    one = Upstream("one", {"api.example.com": [OUTSIDE], "other.example.com": ["198.51.100.7"], "wide.example.com": wide})
    two = Upstream("two", {"api.example.com": ["198.51.100.7"]})
    use(one.port)
    open_net = start("open", 1)
    a = machine(open_net, "a", 2)
    local_names(open_net, a)
    outside_names(a, one, two)
    inner = start("inner", 2, internal=True)
    i = machine(inner, "i", 2)
    inner.zone({"b": ["10.77.2.3"]})
    internal(i)
    deny = start("deny", 3, egress="deny", allow=["api.example.com:8080"])
    e = machine(deny, "e", 2)
    deny.zone({})
    egress(deny, e, out)
    stats = open_net.call("info")[0]["ok"]["dns"]
    print("     dns:", json.dumps(stats))
    check("counters", stats["local"] >= 10 and stats["forwarded"] >= 5 and stats["failed"] >= 1, str(stats))
    asked = one.close()
    two.close()
    check("the host's resolver saw what it should only", asked["refused"] == 0, str(asked))
    for net in (open_net, inner, deny):
        net.stop()


run_checks(main)
