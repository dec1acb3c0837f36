#!/usr/bin/env bash
# net-bridge in a network namespace of its own: the conformance kit, then what a bridge must and must not let through (net-bridge-checks.py).
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root, to make network namespaces"
[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
need unshare nsenter nft ip python3 ping sysctl
[ -f "$BUILD/lib/ctr/plugins/net-bridge.so" ] || skip "net-bridge was not built (libnftables-dev)"
export BUILD T ROOT
unshare -n bash -ec '
    ip link set lo up
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip link add out0 type veth peer name lost0; ip link set lost0 up; ip addr add 192.0.2.2/24 dev out0; ip link set out0 up # what goes out there is lost
    printf "[options]\n[conform]\noutside = 192.0.2.1\n" >"$T/kit.ini"
    "$BUILD/bin/ctr-conform" "$BUILD/lib/ctr/plugins/net-bridge.so" "$T/kit.ini" >"$T/kit.log" 2>&1 || { grep -v "^ok" "$T/kit.log"; exit 1; }
    [ -z "$(nft list ruleset)" ] || { echo "the kit left rules"; nft list ruleset; exit 1; }
    [ "$(ip -o link | wc -l)" = 3 ] || { echo "the kit left links"; ip link; exit 1; }
' || fail "the conformance kit"
unshare -n python3 -B "$ROOT/tests/conform/net-bridge-checks.py" "$T" || fail "see above"
