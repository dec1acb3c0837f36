#!/usr/bin/env bash
# Names, asked with dig by machines on real networks (net-switch, net-bridge, net-passt), through a real ctr-net: net-dns-checks.py in a network namespace of its own.
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root, to make network namespaces"
[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
need unshare nsenter ip python3 dig sysctl
export BUILD T ROOT
status=0
for plugin in switch bridge passt; do
    [ -f "$BUILD/lib/ctr/plugins/net-$plugin.so" ] || continue
    [ $plugin != passt ] || passt_works || { echo "net-passt: passt does not run here"; continue; }
    echo "net-$plugin:"
    mkdir -p "$T/$plugin"
    unshare -n python3 -B "$ROOT/tests/conform/net-dns-checks.py" "$T/$plugin" "$plugin" || status=1
done
[ $status = 0 ] || fail "see above"
