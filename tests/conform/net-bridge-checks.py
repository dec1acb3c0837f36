#!/usr/bin/env python3
"""What net-bridge lets through and what not; run by net-bridge.sh in a network namespace of its own."""
import os, signal, sys
from netdrive import *

T = sys.argv[1]


def state():
    return sh("nft list ruleset; ip -o link | sed 's/^[0-9]*: //'; ip -o addr | sed 's, tentative,,'; sysctl -a -r 'net.ipv[46].conf.(all|default|lo|out0)' 2>/dev/null")[1]


def changes(before):
    now = state().splitlines()
    return str([x for x in now if x not in before.splitlines()] + [x for x in before.splitlines() if x not in now])


def inside(a, b, c):
    for x, y in ((a, b), (b, a), (a, c), (c, b)):
        check(f"{x.name} pings {y.name}", x.pings(y.address))
        check(f"{x.name} pings {y.name} by IPv6", x.pings(y.address6))
    check("the gateway answers pings", a.pings("10.77.1.1") and a.pings("fd77:0:0:1::1"))
    serve(b.ns, "0.0.0.0", 80)
    serve(b.ns, "::", 81)
    serve(b.ns, "0.0.0.0", 80, "udp")
    check("TCP from a to b", ask(a.ns, b.address, 80) == a.address)
    check("TCP from c to b by IPv6", ask(c.ns, b.address6, 81) == c.address6)
    check("UDP from c to b", ask(c.ns, b.address, 80, "udp") == c.address)


def host_is_closed(a, h, out):
    serve(None, "0.0.0.0", 8000)
    serve(None, "::", 8002)
    serve(None, "127.0.0.1", 8001)
    for address in ("10.77.1.1", "10.77.1.254", HOST, "127.0.0.1"):
        check(f"the host's service at {address} is closed", closed(a.ns, address, 8000))
        check(f"the host's loopback service at {address} is closed", closed(a.ns, address, 8001))
    check("the host's IPv6 is closed", closed(a.ns, "fd77:0:0:1::1", 8002) and closed(a.ns, HOST6, 8002))
    check("a refusal comes at once", "unreach" in ask(a.ns, HOST, 8000).lower() or "route" in ask(a.ns, HOST, 8000).lower(), ask(a.ns, HOST, 8000))
    a.run("ip route add 127.0.0.5 via 10.77.1.1 2>/dev/null; ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via 10.77.1.1; sysctl -qw net.ipv4.conf.all.route_localnet=1")
    check("the host's loopback is closed to packets for it", closed(a.ns, "127.0.0.1", 8001))
    check("h reaches the host's loopback at network.host", ask(h.ns, "10.77.1.254", 8001) == h.address, ask(h.ns, "10.77.1.254", 8001))
    check("and what listens on all addresses", ask(h.ns, "10.77.1.254", 8000) == h.address)
    check("but not the host's other addresses", closed(h.ns, HOST, 8000))
    check_metadata(a, out)


def published(net, a, c, d, out):
    serve(c.ns, "0.0.0.0", 90)
    serve(c.ns, "0.0.0.0", 90, "udp")
    serve(c.ns, "::", 91)
    want = dict(id="c", host_address="0.0.0.0", port=90)
    reply, _ = net.call("publish", proto="tcp", host_port=0, **want)
    port = reply.get("ok", {}).get("host_port", 0)
    check("a free port is picked", port > 0, str(reply))
    check("a client outside reaches it and is seen as itself", ask(out, HOST, port) == OUTSIDE, ask(out, HOST, port))
    check("so does one on the host's loopback", ask(None, "127.0.0.1", port) == "10.77.1.1", ask(None, "127.0.0.1", port))
    check("and on the host's own address", ask(None, HOST, port) == HOST, ask(None, HOST, port))
    check("it is taken", net.call("publish", proto="tcp", host_port=port, **want)[0]["error"]["code"] == -98)
    check("other containers do not reach it", closed(d.ns, HOST, port) and closed(d.ns, "10.77.2.1", port) and closed(a.ns, HOST, port))
    check("udp too", "ok" in net.call("publish", proto="udp", host_port=port, **want)[0] and ask(out, HOST, port, "udp") == OUTSIDE)
    check("udp on the loopback", ask(None, "127.0.0.1", port, "udp") == "10.77.1.1")
    check("IPv6", "ok" in net.call("publish", id="c", proto="tcp", host_address="::", host_port=port, port=91)[0] and ask(out, HOST6, port) == OUTSIDE6,
          ask(out, HOST6, port))
    check("::1 is refused at once", "refused" in ask(None, "::1", port), ask(None, "::1", port))
    serve(None, "127.0.0.1", 9999)
    check("a port of the host's is in use", net.call("publish", proto="tcp", host_port=9999, **want)[0]["error"]["code"] == -98)
    check("one address alone", "ok" in net.call("publish", id="c", proto="tcp", host_address="127.0.0.1", host_port=7777, port=90)[0] and
          ask(None, "127.0.0.1", 7777) == "10.77.1.1" and closed(out, HOST, 7777))
    check("nobody outside gets in but by published ports", closed(out, c.address, 90) and closed(out, c.address6, 91) and not sh(f"ping -c1 -W1 {c.address}", out)[0] == 0)
    check("unpublish", "ok" in net.call("unpublish", proto="tcp", host_port=port, **want)[0] and closed(out, HOST, port) and closed(None, "127.0.0.1", port))
    check("and it is free again", "ok" in net.call("publish", proto="tcp", host_port=port, **want)[0] and ask(out, HOST, port) == OUTSIDE)
    return port


# --- lies ---

def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ipv4(source, target, proto, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0, socket.inet_aton(source), socket.inet_aton(target))
    total = sum(struct.unpack("!10H", head))
    total = (total >> 16) + (total & 0xffff)
    total += total >> 16
    return head[:10] + struct.pack("!H", ~total & 0xffff) + head[12:] + payload


def udp(sport, dport, payload):
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def icmp6(source, target, payload):
    s, t = socket.inet_pton(socket.AF_INET6, source), socket.inet_pton(socket.AF_INET6, target)
    pseudo = s + t + struct.pack("!II", len(payload), 58) + payload
    pseudo += b"\0" * (len(pseudo) % 2)
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    while total >> 16:
        total = (total >> 16) + (total & 0xffff)
    payload = payload[:2] + struct.pack("!H", ~total & 0xffff) + payload[4:]
    return struct.pack("!IHBB", 6 << 28, len(payload), 58, 255) + s + t + payload


def local(m):
    x = mac(m.mac)
    return socket.inet_ntop(socket.AF_INET6, b"\xfe\x80" + b"\0" * 6 + bytes([x[0] ^ 2]) + x[1:3] + b"\xff\xfe" + x[3:])


def lies(net, a, b, c):
    me, to, all_ = mac(a.mac), mac(b.mac), b"\xff" * 6
    own = socket.inet_pton(socket.AF_INET6, b.address6)
    gateway6 = socket.inet_pton(socket.AF_INET6, "fd77:0:0:1::1")

    def arp(sender_mac, sender, target):
        return struct.pack("!HHBBH", 1, 0x800, 6, 4, 2) + sender_mac + socket.inet_aton(sender) + to + socket.inet_aton(target)
    cases = {
        "another MAC": to + mac(c.mac) + b"\x08\0" + ipv4(a.address, b.address, 17, udp(1, 2, b"LIE-mac")),
        "another IPv4 address": to + me + b"\x08\0" + ipv4(c.address, b.address, 17, udp(1, 2, b"LIE-ip4")),
        "ARP for the gateway": all_ + me + b"\x08\x06" + arp(me, "10.77.1.1", b.address) + b"LIE-arp",
        "ARP with another MAC": all_ + me + b"\x08\x06" + arp(mac(c.mac), a.address, b.address) + b"LIE-arp2",
        "a DHCP server": all_ + me + b"\x08\0" + ipv4(a.address, "255.255.255.255", 17, udp(67, 68, b"LIE-dhcp")),
        "a DHCPv6 server": to + me + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 16, 17, 64) + socket.inet_pton(socket.AF_INET6, a.address6) + own + udp(547, 546, b"LIE-dhc6"),
        "a router advertisement": mac("33:33:00:00:00:01") + me + b"\x86\xdd" + icmp6(local(a), "ff02::1", struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"LIE-ra"),
        "an advertisement of the gateway": to + me + b"\x86\xdd" + icmp6(a.address6, b.address6, struct.pack("!BBHI", 136, 0, 0, 0x60000000) + gateway6 + b"\2\1" + me + b"LIE-na"),
        "an ICMPv6 redirect": to + me + b"\x86\xdd" + icmp6(local(a), b.address6, struct.pack("!BBHI", 137, 0, 0, 0) + gateway6 + own + b"LIE-rd"),
        "another IPv6 address": to + me + b"\x86\xdd" + icmp6(c.address6, b.address6, struct.pack("!BBHHH", 128, 0, 0, 1, 1) + b"LIE-ip6"),
        "another's link-local address": to + me + b"\x86\xdd" + icmp6(local(c), b.address6, struct.pack("!BBHHH", 128, 0, 0, 1, 1) + b"LIE-ll"),
        "detection of another's address": mac("33:33:00:00:00:01") + me + b"\x86\xdd" + icmp6("::", "ff02::1", struct.pack("!BBHI", 135, 0, 0, 0) + own + b"LIE-dad"),
        "a VLAN tag": to + me + b"\x81\0\0\1\x08\0" + ipv4(a.address, b.address, 17, udp(1, 2, b"LIE-vlan")),
        "spanning tree": mac("01:80:c2:00:00:00") + me + struct.pack("!H", 38) + b"\x42\x42\x03" + b"\0" * 30 + b"LIE-stp",
    }
    honest = to + me + b"\x08\0" + ipv4(a.address, b.address, 17, udp(1, 2, b"HONEST"))
    a.send(honest)
    check("an honest frame arrives", b.saw(b"HONEST", 2))
    for what, frame in cases.items():
        a.send(frame)
    time.sleep(0.5)
    for what, frame in cases.items():
        mark = re.search(rb"LIE-[a-z0-9]+", frame).group()
        check(f"{what} does not arrive", not any(mark in f for m in (b, c) for f in list(m.seen)))
    stats = net.call("stats", id="a")[0]["ok"]
    check("lies are counted", stats["spoofed"] >= 10 and stats["dropped"] >= stats["spoofed"], str(stats))
    check("so are refusals, frames and bytes", stats["refused"] > 0 and stats["rx_frames"] > 10 and stats["tx_bytes"] > 1000, str(stats))
    check("unicast to b is not shown to c", not any(b"HONEST" in f for f in list(c.seen)))


def captures(net, a, b):
    s = socket.socket(socket.AF_UNIX)
    s.connect(net.socket)
    s.settimeout(5)
    s.sendall(b'{"op":"capture","id":"a","count":4}\n')
    time.sleep(0.3)
    a.pings(b.address, 3)
    data = b""
    try:
        while True:
            part = s.recv(65536)
            if not part:
                break
            data += part
    except OSError:
        pass
    pcap = data[data.index(b"\n") + 1:]
    open(f"{T}/a.pcap", "wb").write(pcap)
    check("a capture of four frames", sh(f"tcpdump -nr {T}/a.pcap 2>/dev/null | wc -l")[1] == "4", sh(f"tcpdump -nr {T}/a.pcap")[1])


def restart(net, a, c, out, port):
    talk = socket.socket()
    go = os.path.join(T, "go")
    holder = subprocess.Popen(enter(a.ns) + ["python3", "-c", f"""
import socket, os, time
s = socket.create_connection(("{OUTSIDE}", 8080), 5); s.settimeout(10); s.recv(100)
print("ready", flush=True)
for i in range(100):
    s.sendall(b"x%03d" % i)
    got = b""
    while len(got) < 4: got += s.recv(4)
    assert got == b"x%03d" % i
    time.sleep(0.05)
print("whole", flush=True)
"""], stdout=subprocess.PIPE, text=True)
    holder.stdout.readline()
    os.kill(net.pid, signal.SIGKILL)
    time.sleep(0.3)
    check("traffic goes on without ctr-net", a.pings("10.77.1.3") and ask(a.ns, OUTSIDE, 8080) == HOST)
    check("it starts again", "ok" in net.start())
    for name, last, host in (("a", 2, False), ("b", 3, False), ("h", 5, True)):
        reply = net.attach(name, last, 2, fd=net.machines[name].port, host=host)
        check(f"{name} is taken back", "ok" in reply, str(reply))
    reply = net.attach("c", 4, 1, fd=net.kept)
    check("c, which has a pump, too", "ok" in reply, str(reply))
    net.zone({"b": ["10.77.1.3"]})
    check("its published port comes back", "ok" in net.call("publish", id="c", proto="tcp", host_address="0.0.0.0", host_port=port, port=90)[0] and
          ask(out, HOST, port) == OUTSIDE)
    check("c is reached", a.pings(c.address) and c.pings(OUTSIDE))
    check("names are answered", a.run("dig +short +time=2 +tries=1 @10.77.1.1 b A")[1] == "10.77.1.3")
    check("the connection was not interrupted", holder.stdout.readline().strip() == "whole")
    check("two cannot serve one network", net.start().get("error", {}).get("code") == -16)


def other_networks(net, a, out):
    internal = Net("inner", 3, T, internal=True)
    check("an internal network starts", "ok" in internal.start())
    i, j = internal.attach("i", 2), internal.attach("j", 3)
    check("inside it they meet", i.pings(j.address) and i.pings(j.address6) and i.pings("10.77.3.1"))
    check("nothing goes out", closed(i.ns, OUTSIDE, 8080) and not i.pings(OUTSIDE) and closed(i.ns, OUTSIDE6, 8080) and not i.pings(a.address))
    check("nothing comes in", not sh(f"ping -c1 -W1 {i.address}", out)[0] == 0 and not a.pings(i.address))
    check("no port is published", internal.call("publish", id="i", proto="tcp", host_address="0.0.0.0", host_port=0, port=80)[0]["error"]["code"] == -95)
    internal.stop()
    alone = Net("alone", 4, T, isolated=True)
    check("an isolated network starts", "ok" in alone.start())
    k, l, n = alone.attach("k", 2), alone.attach("l", 3), alone.attach("n", 4, 1)
    check("there they do not meet", not k.pings(l.address) and not k.pings(l.address6) and not k.pings(n.address) and not n.pings(k.address))
    k.run("ip route add 10.77.4.3/32 via 10.77.4.1")
    check("nor by way of the gateway", not k.pings(l.address))
    check("but they get out", ask(k.ns, OUTSIDE, 8080) == HOST and ask(n.ns, OUTSIDE, 8080) == HOST)
    alone.stop()


def egress(out):
    net = Net("strict", 5, T, egress="deny", allow=[f"{OUTSIDE}:8080", "198.51.100.0/24"])
    check("a network with egress deny starts", "ok" in net.start())
    m = net.attach("m", 2)
    serve(out, OUTSIDE, 8081)
    events = socket.socket(socket.AF_UNIX)
    events.connect(net.socket)
    events.settimeout(5)
    events.sendall(b'{"op":"events"}\n')
    check("what is allowed goes out", ask(m.ns, OUTSIDE, 8080) == HOST, ask(m.ns, OUTSIDE, 8080))
    check("so does a range", ask(m.ns, "198.51.100.7", 8090) == HOST and m.pings("198.51.100.7"))
    check("another port does not", closed(m.ns, OUTSIDE, 8081))
    check("nor does IPv6 or a ping", closed(m.ns, OUTSIDE6, 8080) and not m.pings(OUTSIDE))
    told = b""
    try:
        while b"8081" not in told:
            told += events.recv(65536)
    except OSError:
        pass
    check("refusals are told", b'"refused"' in told and b"8081" in told and OUTSIDE.encode() in told, told.decode()[:300])
    net.stop()


def jumbo():
    net = Net("jumbo", 6, T, mtu=65520)
    check("a network with an MTU of 65520 starts", "ok" in net.start())
    p, q, r = net.attach("p", 2), net.attach("q", 3), net.attach("r", 4, 1)
    check("a frame of 65520 bytes passes", p.run(f"ping -c1 -W2 -M do -s 65492 {q.address}")[0] == 0, p.run(f"ping -c1 -W2 -M do -s 65492 {q.address}")[1])
    check("also by a pump", p.run(f"ping -c1 -W2 -M do -s 65492 {r.address}")[0] == 0 and r.run(f"ping -c1 -W2 -M do -s 65492 {q.address}")[0] == 0)
    check("TCP gets out over 1500", ask(p.ns, OUTSIDE, 8080) == HOST and ask(r.ns, OUTSIDE, 8080) == HOST)
    net.stop()


def leftovers(before):
    old = Net("doomed", 7, T)
    old.start()
    old.attach("m", 2)
    os.kill(old.pid, signal.SIGKILL)
    old.end_machines()
    check("a killed ctr-net leaves bridge and tables", "ctr070707070707" in state())
    new = Net("fresh", 8, T)
    check("the next network starts", "ok" in new.start())
    check("and has removed them", "070707070707" not in state())
    new.stop()
    check("nothing is left", state() == before, changes(before))


def refusals(before):
    net = Net("no", 9, T)
    sh("sysctl -qw net.ipv4.ip_forward=0")
    check("no forwarding: the sysctl is named", "net.ipv4.ip_forward" in net.start().get("error", {}).get("message", ""))
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=0")
    check("for IPv6, too", "net.ipv6.conf.all.forwarding" in net.start().get("error", {}).get("message", ""))
    sh("sysctl -qw net.ipv6.conf.all.forwarding=1")
    sh("nft -f - <<<'table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }'")
    said = net.start().get("error", {}).get("message", "")
    check("a firewall that drops: it says what to do", "nft insert rule ip filter FORWARD iifname 'ctr*' accept" in said, said)
    sh("nft insert rule ip filter FORWARD iifname 'ctr*' accept; nft insert rule ip filter FORWARD oifname 'ctr*' accept")
    answer = net.start()
    check("which is enough", "ok" in answer, str(answer))
    net.stop()
    sh("nft delete table ip filter")
    done = subprocess.run(["setpriv", "--bounding-set=-net_admin", "--inh-caps=-all", f"{BUILD}/bin/ctr-net"], input=json.dumps(net.config), text=True, stdout=subprocess.PIPE)
    said = json.loads(done.stdout)["error"]["message"]
    check("without the right it says what to do", "root or CAP_NET_ADMIN" in said and "switch" in said, said)
    check("nothing is left of these", state() == before, changes(before))


def main():
    out = outside("net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    before = state()
    net = Net("main", 1, T)
    answer = net.start()
    check("ctr-net starts", "ok" in answer, str(answer))
    a, b = net.attach("a", 2), net.attach("b", 3)
    c, h = net.attach("c", 4, 1), net.attach("h", 5, host=True)
    for m in (a, b, c, h):
        check("a port is attached", isinstance(m, Machine), str(m))
    second = Net("second", 2, T)
    check("a second network starts", "ok" in second.start())
    d = second.attach("d", 2)
    status = open(f"/proc/{net.pid}/status").read()
    check("ctr-net is not root", re.search(r"^Uid:\s+65534", status, re.M) is not None)
    inside(a, b, c)
    check_way_out((a, c), out)
    check_names(net, a)
    check("networks do not reach each other", not a.pings(d.address) and not d.pings(a.address) and not d.pings(b.address6) and closed(d.ns, b.address, 80) and
          not a.pings("10.77.2.1"))
    host_is_closed(a, h, out)
    port = published(net, a, c, d, out)
    lies(net, a, b, c)
    captures(net, a, b)
    restart(net, a, c, out, port)
    other_networks(net, a, out)
    egress(out)
    jumbo()
    check("detach", "ok" in net.call("detach", id="c")[0] and closed(out, HOST, port) and not a.pings(c.address))
    check("detach of a tap that is still open cuts it off", "ok" in net.call("detach", id="b")[0] and not a.pings(b.address))
    net.stop()
    second.stop()
    check("after the orderly end all is as before", state() == before, changes(before))
    leftovers(before)
    refusals(before)
    check("no sanitizer had anything to say", sh(f"grep -l Sanitizer {T}/*.log")[0] != 0)


run_checks(main)
