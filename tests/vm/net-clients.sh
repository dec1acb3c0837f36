#!/usr/bin/env bash
# Clients that nobody here made, from Debian's packages in an image of debootstrap's: dig, curl, iperf3, getent and ping, between containers on a network with IPv6.
. "$(dirname "$0")/../lib.sh"
need_vm
need debootstrap umoci python3
[ "$(id -u)" = 0 ] || skip "debootstrap needs root"
use_profile main qemu

cache=$BUILD/tests/cache
mkdir -p "$cache"
if [ ! -f "$cache/clients/index.json" ]; then
    debootstrap --variant=minbase --include=iperf3,bind9-dnsutils,curl,iputils-ping,busybox-static bookworm "$T/clients" >"$T/debootstrap.log" 2>&1 || fail "debootstrap: $(tail -n 3 "$T/debootstrap.log")"
    rm -rf "$T/clients/var/cache/apt" "$T/clients/var/lib/apt/lists"
    layout_from_root "$T/clients" "$T/layout" latest "$(host_arch)"
    mv "$T/layout" "$cache/clients"
fi
ctr load -i "$cache/clients" >/dev/null || fail "load"
ctr network create --ipv6 --label use=clients lan >/dev/null || fail "network create"

start() { ctr run -d --network "lan,alias=$2" --name "$1" -m 256m clients sh -c "$3" >/dev/null || fail "run $1"; }
start web1 web 'echo one >/tmp/index.html; exec busybox httpd -f -p [::]:80 -h /tmp'
start web2 web 'echo two >/tmp/index.html; exec busybox httpd -f -p [::]:80 -h /tmp'
start perf perf 'exec iperf3 -s'
ctr run -d --network lan --name client --dns-search corp.example --add-host pinned:192.0.2.7 clients sleep infinity >/dev/null || fail "run client"
in_client() { timeout 60 "$BIN/ctrctl" --profile "$PROFILE" exec client "$@"; }
address() { ctr inspect --format "{{.NetworkSettings.Networks.lan.$2}}" "$1" | grep .; }
for c in web1 web2 perf client; do address $c IPAddress >/dev/null && address $c GlobalIPv6Address >/dev/null || fail "$c has no addresses: $(ctr logs $c 2>&1)"; done

# dig: A, AAAA, PTR, TCP, EDNS, NODATA and NXDOMAIN
expect "dig A" "$(address perf IPAddress)" "$(in_client dig +short perf)"
expect "dig AAAA" "$(address perf GlobalIPv6Address)" "$(in_client dig +short AAAA perf)"
expect "dig by TCP" "$(address perf IPAddress)" "$(in_client dig +tcp +short PERF)"
expect_match "dig -x" '^perf' "$(in_client dig +short -x "$(address perf IPAddress)")"
expect "both behind one alias" "$(printf '%s\n' "$(address web1 IPAddress)" "$(address web2 IPAddress)" | sort)" "$(in_client dig +short web | sort)"
first() { in_client dig +short web | head -n 1; }
[ "$(for _ in 1 2 3 4; do first; done | sort -u | wc -l)" = 2 ] || fail "one alias is not answered in turn"
out=$(in_client dig +bufsize=1232 perf)
expect_match "EDNS" 'EDNS: version: 0' "$out"
out=$(in_client dig TXT perf); expect_match "NODATA" 'NOERROR.*ANSWER: 0|status: NOERROR' "$out"
out=$(in_client dig MX perf); expect_match "no answer section" 'ANSWER: 0' "$out"
expect_match "a name of localhost" 127.0.0.1 "$(in_client getent ahosts localhost)"
# curl by name, v4 and v6
wait_for 30 in_client curl -sf -m 5 http://web1/ || fail "web1 does not answer"
wait_for 30 in_client curl -sf -m 5 http://web2/ || fail "web2 does not answer"
expect "curl -4" one "$(in_client curl -4 -s http://web1/)"
expect "curl -6" two "$(in_client curl -6 -s http://web2/)"
[ "$(for _ in 1 2 3 4 5 6 7 8; do in_client curl -4 -s http://web/; done | sort -u | wc -l)" = 2 ] || fail "curl reaches only one of the two behind the alias"
# names of files
expect_match "resolv.conf" "search corp.example" "$(in_client cat /etc/resolv.conf)"
expect_match "hosts" '192\.0\.2\.7[[:space:]]+pinned' "$(in_client cat /etc/hosts)"
expect "getent" "192.0.2.7" "$(in_client getent hosts pinned | awk '{print $1}')"
in_client ping -c 2 -W 5 web1 >/dev/null || fail "ping"
in_client ping -6 -c 2 -W 5 web1 >/dev/null || fail "ping -6"
# iperf3, both ways and UDP
for mode in "" -R -6 "-u -b 20M"; do
    # shellcheck disable=SC2086
    in_client iperf3 -c perf -t 2 -J $mode >"$T/iperf" 2>&1 || fail "iperf3 $mode: $(tail -n 5 "$T/iperf")"
    python3 -c 'import json, sys; end = json.load(open(sys.argv[1]))["end"]; sys.exit((end.get("sum_received") or end["sum"])["bytes"] < 1 << 20)' "$T/iperf" || fail "iperf3 $mode moved nothing"
done
# a renamed container's name follows, a stopped one's goes
ctr rename perf measure || fail "rename"
expect "the new name" "$(address measure IPAddress)" "$(in_client dig +short measure)"
ctr stop -t 1 web2 >/dev/null || fail "stop"
expect "the one that still runs" "$(address web1 IPAddress)" "$(in_client dig +short web)"
