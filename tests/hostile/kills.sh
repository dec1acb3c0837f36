#!/usr/bin/env bash
# SIGKILL at the system calls of pull, load, tag, rmi, clone, and of ctrd's create and rm (CASES.md C1), by tests/hostile/kill-points.
# CTR_KILLS is how many kills in all, half of them for each storage plugin.
. "$(dirname "$0")/../lib.sh"
need python3 strace e2fsck fsck.erofs
[ -x "$BUILD/tests/bin/image-tool" ] || fail "no image-tool: make test-programs"
strace -qq -o /dev/null true || skip "strace may not trace here"
export BUILD
start_hreg
for storage in ext4 erofs; do
    mkdir "$T/$storage"
    "$ROOT/tests/hostile/kill-points" "$T/$storage" "$HREG/m" $storage $((${CTR_KILLS:-40} / 2)) || bad=yes
done
[ -z "${bad:-}" ] || fail "a kill left a bad state"
