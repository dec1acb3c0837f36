#!/usr/bin/env bash
# net-passt in a network namespace of its own: the conformance kit, then what passt must and must not let through (net-passt-checks.py).
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root, to make network namespaces"
[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
need unshare nsenter ip python3 ping passt dig
[ -f "$BUILD/lib/ctr/plugins/net-passt.so" ] || skip "net-passt was not built"
passt_works || skip "passt needs user namespaces, which are not allowed here"
export BUILD T ROOT
# Debian 12's passt now and then ends in a loop of its own when connections close; net-passt ends it after three seconds, too late for a check that waits for two.
check_all() { mkdir -p "$T/$1" && unshare -n python3 -B "$ROOT/tests/conform/net-passt-checks.py" "$T/$1"; }
check_all first || { echo "once more:"; check_all second; } || fail "see above"
