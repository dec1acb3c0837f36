#!/usr/bin/env bash
# Real machines on net-passt, in a network namespace of the test's own, with "the internet" in a second one: out and in by IPv4 and IPv6, the source address is kept, what
# is closed stays closed, host-gateway opens the host's loopback to one container, and a passt that is killed comes back and hurts its own container only.
[ "$(id -u)" = 0 ] || { echo "needs root, to make network namespaces"; exit 77; }
[ -n "${CTR_OWN_NET:-}" ] || exec env CTR_OWN_NET=1 unshare -n bash "$0"
. "$(dirname "$0")/../lib.sh"
need_vm
need passt ip nsenter python3 curl socat gcc umoci
[ -f "$BUILD/lib/ctr/plugins/net-passt.so" ] || skip "net-passt was not built"
passt_works || skip "passt needs user namespaces, which are not allowed here"

ip link set lo up
background unshare -n sleep 3600
internet=$!
wait_for 10 eval '[ "$(readlink /proc/$internet/ns/net)" != "$(readlink /proc/self/ns/net)" ]' || fail "no namespace"
outside() { nsenter --net="/proc/$internet/ns/net" "$@"; }
ip link add out0 type veth peer name in0 netns $internet
ip addr add 203.0.113.1/24 dev out0 && ip addr add 2001:db8:113::1/64 dev out0 nodad
ip link set out0 up
ip route add default via 203.0.113.2 && ip route add default via 2001:db8:113::2 || fail "routes"
outside ip link set lo up
outside ip addr add 203.0.113.2/24 dev in0 && outside ip addr add 2001:db8:113::2/64 dev in0 nodad
outside ip link set in0 up
cat >"$T/who.py" <<'PY'
# Answers each request with the client's address.
import http.server, socket, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.client_address[0].encode() + b"\n"
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
class S(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
S((sys.argv[1], int(sys.argv[2])), H).serve_forever()
PY
background outside python3 "$T/who.py" 203.0.113.2 8080
background outside python3 "$T/who.py" 2001:db8:113::2 8080
background python3 "$T/who.py" 127.0.0.1 8000
wait_for 20 curl -sf -m 2 http://203.0.113.2:8080/ && wait_for 20 curl -sf -m 2 'http://[2001:db8:113::2]:8080/' || fail "the outside does not answer"

use_profile main qemu "$(printf '[net]\nplugin = passt\n')"
"$ROOT/tools/demo-image" "$T/layout" demo:latest >/dev/null || fail "no demo image"
gcc -O1 -static -o "$T/ask" "$ROOT/tests/vm/ask.c" || fail "ask"
umoci insert --image "$T/layout:demo:latest" "$T/ask" /bin/ask >/dev/null && ctr load -i "$T/layout" >/dev/null || fail "load"
ctr network create --driver passt --ipv6 lan >/dev/null || fail "network create"
# httpd of busybox tells a script who asks
serve='mkdir -p /w/cgi-bin; printf "#!/bin/sh\necho; echo \$REMOTE_ADDR\n" >/w/cgi-bin/who; chmod +x /w/cgi-bin/who; httpd -p 80 -h /w; exec sleep 10000'
ctr run -d --name web --network lan -p 8088:80 -p '[::]:8088:80' demo sh -c "$serve" >/dev/null || fail "web"
ctr run -d --name peer --network lan --add-host box:host-gateway demo sleep 10000 >/dev/null || fail "peer"
# get FROM ADDRESS PORT [PATH]: what the container gets, or "closed"
get() { ctr exec "$1" ask "${@:2}"; }
who() { curl -g -s -m 10 "$1/cgi-bin/who"; }

wait_for 30 outside curl -sf -m 5 http://203.0.113.1:8088/cgi-bin/who || fail "the published port does not answer"
expect "the source address is kept" 203.0.113.2 "$(outside curl -s -m 10 http://203.0.113.1:8088/cgi-bin/who | tr -d '[]' | sed 's/^::ffff://')"
expect "by IPv6, too" 2001:db8:113::2 "$(outside curl -g -s -m 10 'http://[2001:db8:113::1]:8088/cgi-bin/who' | tr -d '[]')"
who http://127.0.0.1:8088 >/dev/null || fail "the published port on the loopback"
address=$(ctr inspect --format '{{.NetworkSettings.Networks.lan.IPAddress}}' web)
box=$(ctr exec peer sed -n 's/[[:space:]].*box.*//p' /etc/hosts | head -n 1)
expect "the outside, as the host" 203.0.113.1 "$(get web 203.0.113.2 8080)"
expect "by IPv6" 2001:db8:113::1 "$(get web 2001:db8:113::2 8080)"
[ "$(get peer "$address" 80 /cgi-bin/who)" != closed ] || fail "a container by its address"
expect "the host" closed "$(get web 203.0.113.1 8088)"
expect "metadata" closed "$(get web 169.254.169.254 80)"
expect "host-gateway" 127.0.0.1 "$(get peer "$box" 8000)"
expect "not for others" closed "$(get web "$box" 8000)"

# --- a passt is killed ---
passts() { pgrep -P "$(echo '{"op":"info"}' | socat -t 5 - "UNIX-CONNECT:$T/main/run/n/lan.sock" | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')" passt; }
for p in $(passts); do
    tr '\0' ' ' <"/proc/$p/cmdline" | grep -q -- "-a $address " && kill -9 "$p"
done
wait_for 5 outside curl -sf -m 2 http://203.0.113.1:8088/cgi-bin/who || fail "the published port did not come back"
expect "its way out is there again" 203.0.113.1 "$(get web 203.0.113.2 8080)"
[ "$(get peer "$address" 80 /cgi-bin/who)" != closed ] || fail "its neighbours"
ctr rm -f web >/dev/null || fail "rm"
outside curl -sf -m 2 http://203.0.113.1:8088/ && fail "the port is still published"
exit 0
