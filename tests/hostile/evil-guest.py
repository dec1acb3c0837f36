#!/usr/bin/env python3
"""A guest that lies and floods, through a real ctr-net without a VM: run by evil-guest.sh in a network namespace of its own.

"mallory" is a port that does what no honest guest does; "bob" and "carol" are honest and exchange frames meanwhile, and bob asks the resolver. What
counts: no lie reaches anybody, the honest lose no frame, the resolver answers, ctr-net neither ends nor grows."""
import json, os, socket, struct, subprocess, sys, time

BUILD, T = os.environ["BUILD"], sys.argv[1]
FRAMES = int(os.environ.get("EVIL_FRAMES", "200000"))
PLUGIN = os.environ.get("EVIL_PLUGIN", "switch")
failed = []


def check(what, holds, note=""):
    print(("ok   " if holds else "FAIL ") + what + (f" ({note})" if note else ""), flush=True)
    if not holds:
        failed.append(what)


# --- ctr-net ---

NETWORK = {"name": "evil", "id": "e" * 64, "mtu": 1500, "out_mtu": 1500, "subnet": "10.66.0.0", "prefix": 24, "gateway": "10.66.0.1", "dns": "10.66.0.1",
           "host": "10.66.0.254", "internal": False, "isolated": False, "subnet6": "fd66::", "prefix6": 64, "gateway6": "fd66::1", "egress": "open", "allow": []}


def start():
    os.makedirs(f"{T}/run", mode=0o700, exist_ok=True)
    open(f"{T}/resolv.conf", "w").write("nameserver 127.0.0.1\n")
    config = {"plugin": f"{BUILD}/lib/ctr/plugins/net-{PLUGIN}.so", "instance": "default", "options": {}, "socket": f"{T}/run/evil.sock", "run_dir": f"{T}/run",
              "resolv_conf": f"{T}/resolv.conf", "network": NETWORK}
    done = subprocess.run([f"{BUILD}/bin/ctr-net"], input=json.dumps(config), text=True, stdout=subprocess.PIPE, timeout=30)
    answer = json.loads(done.stdout)
    if "ok" not in answer:
        sys.exit(f"ctr-net: {answer}")
    return answer["ok"]["pid"]


def call(op, fd=None, **request):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(f"{T}/run/evil.sock")
        line = json.dumps({"op": op, **request}).encode() + b"\n"
        if fd is None:
            s.sendall(line)
        else:
            socket.send_fds(s, [line], [fd])
        answer = b""
        while not answer.endswith(b"\n"):
            part = s.recv(65536)
            if not part:
                break
            answer += part
    answer = json.loads(answer)
    if "ok" not in answer:
        sys.exit(f"{op}: {answer}")
    return answer["ok"]


def rss(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


# --- frames ---

def ip4(text):
    return socket.inet_pton(socket.AF_INET, text)


def ip6(text):
    return socket.inet_pton(socket.AF_INET6, text)


def total(data):
    data += b"\0" * (len(data) % 2)
    s = sum(struct.unpack(f">{len(data) // 2}H", data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


GATEWAY_MAC = b"\x52\x55" + ip4("10.66.0.1")
ALL = b"\xff" * 6


class Port:
    def __init__(self, name, n):
        self.id, self.n = name, n
        self.mac = bytes([2, 0x42, 10, 66, 0, n])
        self.ip, self.ip6 = ip4(f"10.66.0.{n}"), ip6(f"fd66::{n:x}")
        self.link = ip6("fe80::") [:8] + bytes([0, 0x42, 10, 0xff, 0xfe, 66, 0, n])
        self.s, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for s in (self.s, theirs):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        call("attach", fd=theirs.fileno(), id=name, mac=":".join(f"{b:02x}" for b in self.mac), address=f"10.66.0.{n}", address6=f"fd66::{n:x}", kind=1, host=False)
        theirs.close()

    def next(self, seconds):
        self.s.settimeout(seconds)
        try:
            return self.s.recv(70000)
        except (socket.timeout, TimeoutError, BlockingIOError):
            return None

    def drain(self, seconds=0.3):
        got = []
        while (f := self.next(seconds)) is not None:
            got.append(f)
        return got


def ether(to, source, kind, payload):
    return to + source + struct.pack(">H", kind) + payload


def ipv4(source, target, proto, payload):
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, proto, 0) + source + target
    return head[:10] + struct.pack(">H", total(head)) + head[12:] + payload


def udp(source_port, target_port, data):
    return struct.pack(">HHHH", source_port, target_port, 8 + len(data), 0) + data


def arp(op, mac, ip, target_mac, target):
    return struct.pack(">HHBBH", 1, 0x800, 6, 4, op) + mac + ip + target_mac + target


def ipv6(source, target, proto, payload, hops=64):
    return struct.pack(">IHBB", 6 << 28, len(payload), proto, hops) + source + target + payload


def icmp6(source, target, body):
    pseudo = source + target + struct.pack(">II", len(body), 58)
    return ipv6(source, target, 58, body[:2] + struct.pack(">H", total(pseudo + body)) + body[4:], 255)


def lies(m, bob, carol):
    """(what, frame): none may reach anybody."""
    gateway, gateway6, nodes = ip4("10.66.0.1"), ip6("fd66::1"), ip6("ff02::1")
    group = b"\x33\x33\0\0\0\1"
    opt = lambda kind, mac: bytes([kind, 1]) + mac
    router = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    prefix = struct.pack(">BBBBIII", 3, 4, 64, 0xc0, 7200, 7200, 0) + ip6("fd13::")
    na = lambda about, mac: struct.pack(">BBHI", 136, 0, 0, 0x20000000) + about + opt(2, mac)
    hello = udp(9, 9, b"evil")
    return [
        ("another's MAC", ether(bob.mac, carol.mac, 0x800, ipv4(m.ip, bob.ip, 17, hello))),
        ("another's address", ether(bob.mac, m.mac, 0x800, ipv4(carol.ip, bob.ip, 17, hello))),
        ("the gateway's address", ether(bob.mac, m.mac, 0x800, ipv4(gateway, bob.ip, 17, hello))),
        ("an address from outside", ether(bob.mac, m.mac, 0x800, ipv4(ip4("8.8.8.8"), bob.ip, 17, hello))),
        ("the gateway's MAC", ether(bob.mac, GATEWAY_MAC, 0x800, ipv4(m.ip, bob.ip, 17, hello))),
        ("ARP: gateway is at me, told to bob", ether(bob.mac, m.mac, 0x806, arp(2, m.mac, gateway, bob.mac, bob.ip))),
        ("ARP: gateway is at me, told to all", ether(ALL, m.mac, 0x806, arp(1, m.mac, gateway, ALL, gateway))),
        ("ARP: carol is at me", ether(ALL, m.mac, 0x806, arp(2, m.mac, carol.ip, ALL, carol.ip))),
        ("ARP: I am at carol's", ether(ALL, m.mac, 0x806, arp(2, carol.mac, m.ip, ALL, m.ip))),
        ("DHCP offer", ether(bob.mac, m.mac, 0x800, ipv4(m.ip, bob.ip, 17, udp(67, 68, b"\2" + b"\0" * 240)))),
        ("DHCP offer to all", ether(ALL, m.mac, 0x800, ipv4(m.ip, b"\xff" * 4, 17, udp(67, 68, b"\2" + b"\0" * 240)))),
        ("DHCPv6 reply", ether(bob.mac, m.mac, 0x86dd, ipv6(m.link, bob.link, 17, udp(547, 546, b"\7abc")))),
        ("router advertisement", ether(group, m.mac, 0x86dd, icmp6(m.link, nodes, router + opt(1, m.mac) + prefix))),
        ("router advertisement to bob", ether(bob.mac, m.mac, 0x86dd, icmp6(m.link, bob.ip6, router + prefix))),
        ("router advertisement behind options",
         ether(group, m.mac, 0x86dd, ipv6(m.link, nodes, 60, bytes([58, 0, 1, 4, 0, 0, 0, 0]) + router, 255))),
        ("router advertisement in a fragment",
         ether(group, m.mac, 0x86dd, ipv6(m.link, nodes, 44, struct.pack(">BBHI", 58, 0, 1, 7) + router, 255))),
        ("ND: gateway is at me", ether(bob.mac, m.mac, 0x86dd, icmp6(m.ip6, bob.ip6, na(gateway6, m.mac)))),
        ("ND: gateway says so itself", ether(bob.mac, m.mac, 0x86dd, icmp6(gateway6, bob.ip6, na(gateway6, m.mac)))),
        ("ND: carol is at me", ether(group, m.mac, 0x86dd, icmp6(m.ip6, nodes, na(carol.ip6, m.mac)))),
        ("ND: I am at carol's", ether(group, m.mac, 0x86dd, icmp6(m.ip6, nodes, na(m.ip6, carol.mac)))),
        ("ND: bob's address is taken", ether(group, m.mac, 0x86dd, icmp6(ip6("::"), nodes, struct.pack(">BBHI", 135, 0, 0, 0) + bob.ip6))),
        ("IPv6 from carol", ether(bob.mac, m.mac, 0x86dd, ipv6(carol.ip6, bob.ip6, 17, hello))),
        ("ICMPv6 redirect", ether(bob.mac, m.mac, 0x86dd, icmp6(m.link, bob.ip6, struct.pack(">BBHI", 137, 0, 0, 0) + m.link + gateway6))),
        ("ICMP redirect", ether(bob.mac, m.mac, 0x800, ipv4(m.ip, bob.ip, 1, struct.pack(">BBHI", 5, 1, 0, 0) + m.ip + b"\0" * 28))),
        ("multicast listener report", ether(b"\x33\x33\0\0\0\x16", m.mac, 0x86dd, icmp6(m.link, ip6("ff02::16"), struct.pack(">BBHHH", 143, 0, 0, 0, 0)))),
        ("a VLAN", ether(bob.mac, m.mac, 0x8100, b"\0\1\x08\0" + ipv4(m.ip, bob.ip, 17, hello))),
        ("spanning tree", ether(b"\x01\x80\xc2\0\0\0", m.mac, 38, b"\x42\x42\3" + b"\0" * 35)),
        ("EAPOL", ether(b"\x01\x80\xc2\0\0\3", m.mac, 0x888e, b"\1\1\0\0")),
        ("nothing", b""),
        ("half a header", bob.mac + m.mac + b"\x08\0\x45"),
        ("too long", ether(bob.mac, m.mac, 0x800, ipv4(m.ip, bob.ip, 17, udp(9, 9, b"x" * 9000)))),
    ]


def flood_frames(m, bob):
    """What mallory floods with: lies, questions, refused packets, and honest frames for all and for bob."""
    return [f for _, f in lies(m, bob, bob) if f][:12] + [
        ether(ALL, m.mac, 0x806, arp(1, m.mac, m.ip, b"\0" * 6, ip4("10.66.0.1"))),
        ether(ALL, m.mac, 0x806, arp(1, m.mac, m.ip, b"\0" * 6, bob.ip)),
        ether(ALL, m.mac, 0x800, ipv4(m.ip, b"\xff" * 4, 17, udp(9, 9, b"all"))),
        ether(bob.mac, m.mac, 0x800, ipv4(m.ip, bob.ip, 17, udp(9, 9, b"flood" * 200))),
        ether(bob.mac, m.mac, 0x800, ipv4(m.ip, bob.ip, 17, udp(9, 9, b"flood"))),
        ether(GATEWAY_MAC, m.mac, 0x800, ipv4(m.ip, ip4("127.0.0.1"), 17, udp(9, 9, b"in"))),
        ether(GATEWAY_MAC, m.mac, 0x800, ipv4(m.ip, ip4("10.66.0.1"), 17, udp(9, 53, b"not a question"))),
        ether(GATEWAY_MAC, m.mac, 0x800, ipv4(m.ip, ip4("10.66.0.1"), 6, struct.pack(">HHIIBBHHH", 9, 53, 1, 0, 0x50, 2, 9, 0, 0))),
        ether(GATEWAY_MAC, m.mac, 0x800, ipv4(m.ip, ip4("10.66.0.1"), 1, b"\x08\0\0\0\0\1\0\1")),
        ether(GATEWAY_MAC, m.mac, 0x800, ipv4(m.ip, ip4("10.99.0.9"), 17, udp(9, 9, b"out"))),
    ]


def flood(m, bob, n):
    """In a process of its own; its pid. Never waits for answers; they pile up in its own socket."""
    pid = os.fork()
    if pid == 0:
        frames = flood_frames(m, bob)
        m.s.settimeout(None)
        for i in range(n):
            m.s.send(frames[i % len(frames)])
        os._exit(0)
    return pid


def ended(pid):
    return os.waitpid(pid, os.WNOHANG)[0] == pid


QUESTION = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\5carol\0" + struct.pack(">HH", 1, 1)


def exchange(bob, carol, number):
    """bob sends to carol, carol back, bob asks the resolver; what did not come."""
    lost = []
    mark = struct.pack(">I", number) + b"honest"
    bob.s.send(ether(carol.mac, bob.mac, 0x800, ipv4(bob.ip, carol.ip, 17, udp(7, 7, mark))))
    if not wait(carol, mark):
        lost.append("to carol")
    carol.s.send(ether(bob.mac, carol.mac, 0x86dd, ipv6(carol.ip6, bob.ip6, 17, udp(7, 7, mark))))
    if not wait(bob, mark):
        lost.append("to bob")
    bob.s.send(ether(GATEWAY_MAC, bob.mac, 0x800, ipv4(bob.ip, ip4("10.66.0.1"), 17, udp(5353, 53, struct.pack(">H", number & 0xffff) + QUESTION[2:]))))
    if not wait(bob, struct.pack(">HH", 53, 5353), carol.ip):
        lost.append("the answer")
    return lost


def wait(port, *parts, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        f = port.next(max(0.01, end - time.time()))
        if f is not None and all(p in f for p in parts):
            return True
    return False


def main():
    pid = start()
    mallory, bob, carol = Port("mallory", 6), Port("bob", 7), Port("carol", 8)
    call("zone", zone={"hosts": [{"name": "carol", "addresses": ["10.66.0.8"]}], "ports": {p.id: {"hosts": [], "forward": False} for p in (mallory, bob, carol)}})
    check("bob, carol and the resolver exchange", exchange(bob, carol, 0) == [])
    for what, frame in lies(mallory, bob, carol):
        if frame:
            mallory.s.send(frame)
        came = bob.drain(0.02) + carol.drain(0.02)
        check(f"lie: {what}", came == [], came[0].hex() if came else "")
    stats = call("stats", id="mallory")
    check("lies are counted", stats["spoofed"] >= 20, str(stats))
    mallory.drain()
    # With nothing to do it does nothing.
    ticks = lambda: sum(int(x) for x in open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13])
    time.sleep(1)
    idle = ticks()
    switches = lambda: int([l for l in open(f"/proc/{pid}/status") if l.startswith("voluntary")][0].split()[1])
    slept = switches()
    time.sleep(2)
    check("an idle network does nothing", ticks() == idle and switches() == slept, f"{switches() - slept} wake-ups")
    before, slowest, lost, n = rss(pid), 0.0, [], 0
    began = time.time()
    # The first tenth warms memory up: from then on it stays.
    warm = flood(mallory, bob, FRAMES // 10)
    while not ended(warm):
        lost += exchange(bob, carol, (n := n + 1))
    warmed = rss(pid)
    child = flood(mallory, bob, FRAMES - FRAMES // 10)
    while not ended(child):
        at = time.time()
        lost += exchange(bob, carol, (n := n + 1))
        slowest = max(slowest, time.time() - at)
    took = time.time() - began
    check("the honest lose nothing but time", lost == [], f"{n} exchanges, {len(lost)} lost, slowest {slowest * 1000:.0f} ms, {FRAMES / took:.0f} frames/s")
    check("time is bounded", slowest < 5, f"{slowest:.2f} s")
    after = rss(pid)
    check("memory stays", after <= warmed + 4096, f"{before} KiB before, {warmed} warm, {after} after")
    check("ctr-net is the same", call("info")["pid"] == pid)
    mallory.drain(0.05)
    mallory.s.send(ether(bob.mac, mallory.mac, 0x800, ipv4(mallory.ip, bob.ip, 17, udp(9, 9, b"sorry"))))
    check("mallory, honest again, is heard", wait(bob, b"sorry"))
    call("detach", id="mallory")
    check("bob and carol go on", exchange(bob, carol, n + 1) == [])
    call("stop")
    return 1 if failed else 0


sys.exit(main())
