#!/usr/bin/env bash
# Power cuts during pull, load, tag, rmi, create and rm in a VM (CASES.md C2), by tests/hostile/pcut. CTR_CUTS is how many in all; from 40 on
# also with a filesystem that commits each second instead of when asked, and with more operations.
. "$(dirname "$0")/../lib.sh"
[ "$(host_arch)" = amd64 ] || skip "the rig's VM is amd64"
need_vm
need python3 mke2fs e2fsck fsck.erofs socat busybox cpio
[ "$(id -u)" = 0 ] || skip "mounting the disks after a cut needs root"
qemu-img --help | grep -q blklogwrites || skip "this QEMU has no blklogwrites"
truncate -s 1M "$T/probe" && mke2fs -q -F "$T/probe" && mkdir "$T/probed" && mount -o loop "$T/probe" "$T/probed" 2>/dev/null || skip "no loop mounts here"
umount "$T/probed"
export BUILD CTR_CUT_ROUNDS=1
start_hreg
cuts=${CTR_CUTS:-12}
# Neither ordered data nor ext4's help for renames: only what was synced is on the disk.
commits=300
[ "$cuts" -ge 40 ] && commits="300 1" CTR_CUT_ROUNDS=4
n=0
for commit in $commits; do
    for storage in ext4 erofs; do
        n=$((n + 1))
        mkdir "$T/$n"
        "$ROOT/tests/hostile/pcut" "$T/$n" "${HREG#*:}" $storage "commit=$commit,data=writeback,noauto_da_alloc" \
            $((cuts / 2 / $(wc -w <<<"$commits"))) || bad=yes
        rm -rf "${T:?}/$n"
    done
done
[ -z "${bad:-}" ] || fail "a power cut left a bad state"
