#!/usr/bin/env bash
# Two containers reach each other; a published port answers the host; the host's loopback stays closed; addresses stay.
. "$(dirname "$0")/../lib.sh"
need_vm
need curl python3 gcc umoci
use_profile main qemu
load_demo
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

port=$(free_port)
ctr run -d --name server -p "127.0.0.1:$port:80" demo sh -c 'echo from-server >/tmp/index.html; httpd -p 80 -h /tmp; while :; do echo tcp-hello | nc -l -p 7000; done' >/dev/null || fail "server"
address=$(ctr inspect --format '{{.NetworkSettings.IPAddress}}' server)
expect_match "address" '^10\.88\.' "$address"
wait_for 20 curl -sf -m 5 "http://127.0.0.1:$port/" || fail "the published port does not answer"
expect "published port" from-server "$(curl -s -m 10 "http://127.0.0.1:$port/")"
out=$(ctr run --rm demo sh -c "ping -c 2 -W 5 $address >/dev/null && echo ping; nc -w 5 $address 7000 </dev/null; wget -q -O - http://$address/")
expect "container to container" $'ping\ntcp-hello\nfrom-server' "$out"

# A listener on the host's 127.0.0.1 and on no other address is out of reach, by any address that leads to the host.
lport=$(free_port)
mkdir -p "$T/www" && echo secret >"$T/www/index.html"
background python3 -m http.server -b 127.0.0.1 -d "$T/www" "$lport" >/dev/null 2>&1
wait_for 10 curl -sf "http://127.0.0.1:$lport/" || fail "the listener did not start"
gateway=$(ctr inspect --format '{{.NetworkSettings.Gateway}}' server)
for target in "$gateway" 127.0.0.1 169.254.169.254; do
    out=$(ctr run --rm demo sh -c "timeout 5 wget -q -O - http://$target:$lport/ 2>/dev/null || echo closed")
    expect "$target from a container" closed "$out"
done
# … but for a container that asked for it
out=$(ctr run --rm --add-host host.docker.internal:host-gateway demo sh -c "timeout 10 wget -q -O - http://host.docker.internal:$lport/")
expect "host-gateway" secret "$out"
# nothing goes out of a network that denies it but what is allowed, and what was refused is told
ctr network create --egress deny --allow "$gateway/32:$lport" shut >/dev/null || fail "network create --egress deny"
out=$(ctr run --rm --name refused --network shut demo sh -c 'timeout 5 wget -q -O - http://198.51.100.7/ 2>/dev/null || echo closed; nslookup example.org 2>&1 | grep -o REFUSED | head -n 1')
expect "egress deny" $'closed\nREFUSED' "$out"
expect_match "what was refused is told" '198\.51\.100\.7.*"port":80' "$(ctr network inspect --format '{{json .Ctr}}' shut)"
# UDP publish
uport=$(free_port)
mkdir -p "$T/udp/bin" && gcc -static -Os -o "$T/udp/bin/udp-echo" "$ROOT/tests/vm/udp-echo.c" || fail "udp-echo"
layout_from_root "$T/udp" "$T/udplayout" latest "$(host_arch)"
ctr load -i "$T/udplayout" >/dev/null && ctr run -d --name udp -p "127.0.0.1:$uport:5000/udp" udplayout /bin/udp-echo >/dev/null || fail "udp"
ok=
for _ in 1 2 3 4 5 6 7 8 9 10; do
    ok=$(python3 - "$uport" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.sendto(b"echo", ("127.0.0.1", int(sys.argv[1])))
try: print(s.recv(100).decode())
except OSError: pass
PY
)
    [ "$ok" = echo ] && break
done
expect "published UDP port" echo "$ok"
# errors
expect_status 125 ctr run --rm -p "127.0.0.1:$port:80" demo true; one_line_error 'already|in use'
expect_status 125 ctr run --rm -p 80:99999 demo true; one_line_error '99999'
expect_status 125 ctr run --rm --network nowhere demo true; one_line_error 'nowhere'
# the address stays over a restart
ctr stop -t 1 server >/dev/null; ctr start server >/dev/null || fail "start again"
expect "address after restart" "$address" "$(ctr inspect --format '{{.NetworkSettings.IPAddress}}' server)"
wait_for 20 curl -sf -m 5 "http://127.0.0.1:$port/" || fail "the published port does not answer after a restart"
