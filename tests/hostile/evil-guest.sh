#!/usr/bin/env bash
# A guest that spoofs and floods hurts nobody but itself: evil-guest.py against a real ctr-net. EVIL_FRAMES says how many frames it floods with (1000000 for the
# whole test), EVIL_PLUGIN with which plugin.
. "$(dirname "$0")/../lib.sh"
need python3 unshare
[ "$(id -u)" = 0 ] || skip "needs root, to make a network namespace"
export BUILD
unshare -n bash -c 'ip link set lo up; exec timeout 300 python3 -B "$1" "$2"' - "$ROOT/tests/hostile/evil-guest.py" "$T" || fail "see above"
