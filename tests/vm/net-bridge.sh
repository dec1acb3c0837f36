#!/usr/bin/env bash
# Real machines on net-bridge, in a network namespace of the test's own, with "the internet" in a second one: containers reach each other and the outside, a port
# is published, networks and an isolated one keep apart, egress deny holds, and a ctr-net that is killed interrupts no connection. At the end nothing is left.
[ "$(id -u)" = 0 ] || { echo "needs root, to make network namespaces"; exit 77; }
[ -n "${CTR_OWN_NET:-}" ] || exec env CTR_OWN_NET=1 unshare -n bash "$0"
. "$(dirname "$0")/../lib.sh"
need_vm
need nft ip nsenter python3 curl socat
[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
[ -f "$BUILD/lib/ctr/plugins/net-bridge.so" ] || skip "net-bridge was not built (libnftables-dev)"

# --- the host's way out: out0, and a namespace behind it ---
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
background unshare -n sleep 3600
internet=$!
wait_for 10 test -e "/proc/$internet/ns/net"
outside() { nsenter --net="/proc/$internet/ns/net" "$@"; }
wait_for 10 eval '[ "$(readlink /proc/$internet/ns/net)" != "$(readlink /proc/self/ns/net)" ]'
ip link add out0 type veth peer name in0 netns $internet
ip addr add 203.0.113.1/24 dev out0
ip link set out0 up
ip route add default via 203.0.113.2
outside ip link set lo up
outside ip addr add 203.0.113.2/24 dev in0
outside ip link set in0 up
outside ip route add 10.0.0.0/8 via 203.0.113.1 # a neighbour who would like to get in
background nsenter --net="/proc/$internet/ns/net" python3 -c "
import socketserver, threading
class H(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(4096)
        self.request.sendall(b'HTTP/1.0 200 OK\r\n\r\n' + self.client_address[0].encode() + b'\n')
for port in (8080, 8081):
    threading.Thread(target=socketserver.ThreadingTCPServer(('203.0.113.2', port), H).serve_forever).start()
"
wait_for 10 curl -sf -m 2 http://203.0.113.2:8080/ || fail "the outside does not answer"
state() { nft list ruleset; ip -o link | sed 's/^[0-9]*: //'; ip -o -4 addr; }
state >"$T/before"

use_profile main qemu "$(printf '[net]\nplugin = bridge\n')"
load_demo
ctr network create apart >/dev/null || fail "network create"
ctr run -d --name web -p 8088:80 demo sh -c 'mkdir /w; echo from-web >/w/index.html; httpd -p 80 -h /w; exec sleep 10000' >/dev/null || fail "web"
ctr run -d --name peer demo sleep 10000 >/dev/null || fail "peer"
ctr run -d --name far --network apart demo sh -c 'mkdir /w; echo from-far >/w/index.html; httpd -p 80 -h /w; exec sleep 10000'  >/dev/null || fail "far"
address() { ctr inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }
web=$(address web)
# get FROM URL: what the container gets, or "closed"
get() { ctr exec "$1" sh -c "timeout 5 wget -q -O - $2 2>/dev/null || echo closed"; }

wait_for 30 curl -sf -m 5 http://127.0.0.1:8088/ || fail "the published port does not answer on the loopback"
expect "a container by its address" from-web "$(get peer "http://$web/")"
expect "a container by its name" from-web "$(get peer http://web/)"
expect "the outside, as the host" 203.0.113.1 "$(get peer http://203.0.113.2:8080/)"
expect "the published port from outside" from-web "$(outside curl -s -m 10 http://203.0.113.1:8088/)"
expect "no way in but by published ports" closed "$(outside curl -sf -m 3 "http://$web/" || echo closed)"
expect "another network" closed "$(get far "http://$web/")"
expect "another network's published port" closed "$(get far http://203.0.113.1:8088/)"
expect "the host" closed "$(get peer http://203.0.113.1:8088/)"
expect "metadata" closed "$(get peer http://169.254.169.254/)"
expect_match "the tap" '^ctp' "$(ip -o link show type tun | awk '{print $2}' | head -n 1)"
# A spare interface of the running machine: its frames go by way of ctr-net.
ctr network connect apart peer || fail "network connect"
expect "a network that was joined while running" from-far "$(get peer http://far/)"
expect "and the one before" from-web "$(get peer http://web/)"
ctr network disconnect apart peer || fail "network disconnect"
expect "left again" closed "$(get peer http://far/)"

# --- isolated; egress ---
ctr network create --isolated alone >/dev/null && ctr network create --egress deny --allow 203.0.113.2:8080 strict >/dev/null || fail "network create"
ctr rm -f -t 0 far >/dev/null 2>&1 || ctr rm -f far >/dev/null
ctr run -d --name i1 --network alone demo sh -c 'mkdir /w; echo i1 >/w/index.html; httpd -p 80 -h /w; exec sleep 10000' >/dev/null || fail "i1"
expect "isolated" closed "$(ctr run --rm --network alone demo sh -c "timeout 5 wget -q -O - http://$(address i1)/ 2>/dev/null || echo closed")"
expect "egress deny" $'203.0.113.1\nclosed' "$(ctr run --rm --network strict demo sh -c 'for p in 8080 8081; do timeout 5 wget -q -O - http://203.0.113.2:$p/ 2>/dev/null || echo closed; done')"
ctr rm -f i1 >/dev/null

# --- kill -9 of ctr-net: a connection goes on, and all is as before within 2 s ---
background nsenter --net="/proc/$internet/ns/net" socat -t 60 TCP-LISTEN:9000,bind=203.0.113.2 SYSTEM:'read a; sleep 3; echo still-there'
net_pid() { echo '{"op":"info"}' | socat -t 5 - "UNIX-CONNECT:$T/main/run/n/default.sock" 2>/dev/null | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p'; }
pid=$(net_pid)
[ -n "$pid" ] || fail "ctr-net does not answer"
(ctr exec peer sh -c 'sleep 2; (echo go; sleep 6) | nc 203.0.113.2 9000' >"$T/held") &
holder=$!
wait_for 10 eval 'outside ss -Htn state established sport = :9000 | grep -q .' || fail "no connection"
kill -9 "$pid"
back() { [ -n "$(net_pid)" ] && [ "$(net_pid)" != "$pid" ]; }
wait_for 10 back || fail "ctr-net was not started again"
wait $holder
expect "the connection goes on" still-there "$(cat "$T/held")"
expect "a container by its name, after that" from-web "$(get peer http://web/)"
wait_for 10 outside curl -sf -m 2 http://203.0.113.1:8088/ || fail "the published port did not come back"

# --- the end ---
ctr rm -f web peer >/dev/null || fail "rm"
ctr network rm apart alone strict >/dev/null || fail "network rm"
ctr system stop >/dev/null
for s in "$T"/main/run/n/*.sock; do [ -S "$s" ] && echo '{"op":"stop"}' | socat -t 5 - "UNIX-CONNECT:$s" >/dev/null; done
wait_for 10 eval 'state | cmp -s - "$T/before"' || fail "left behind: $(state | diff "$T/before" -)"
