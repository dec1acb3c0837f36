#!/usr/bin/env bash
# On a filesystem with reflinks (a btrfs of the test's own) a container's disk shares the image's blocks, whatever the image's size.
. "$(dirname "$0")/../lib.sh"
need mkfs.btrfs
[ "$(id -u)" = 0 ] || skip "mounting a btrfs needs root"
truncate -s 2G "$T/btrfs.img" && mkfs.btrfs -q "$T/btrfs.img" >/dev/null 2>&1 || fail "mkfs.btrfs"
mkdir "$T/mnt"
mount -o loop "$T/btrfs.img" "$T/mnt" 2>/dev/null || skip "this kernel mounts no btrfs from a file"
trap 'status=$?; umount "$T/mnt"; (exit $status); finish' EXIT
tool=$BUILD/tests/bin/storage-tool
plugin=$BUILD/lib/ctr/plugins/storage-ext4.so
used() { sync -f "$T/mnt"; df --output=used -k "$T/mnt" | tail -n 1; }

mkdir "$T/tree" "$T/mnt/store"
head -c 300000000 /dev/urandom >"$T/tree/big"
tar -C "$T/tree" -cf "$T/big.tar" .
rm "$T/tree/big"; echo small >"$T/tree/small"
tar -C "$T/tree" -cf "$T/small.tar" .
"$tool" "$plugin" "$T/mnt/store" size=1G,journal=4M build big "$T/big.tar" >"$T/log" 2>&1 || fail "build: $(cat "$T/log")"
"$tool" "$plugin" "$T/mnt/store" size=1G,journal=4M build small "$T/small.tar" >>"$T/log" 2>&1 || fail "build: $(cat "$T/log")"
before=$(used)
for i in 1 2 3 4 5; do
    "$tool" "$plugin" "$T/mnt/store" size=1G,journal=4M clone big "c$i" >>"$T/log" 2>&1 || fail "clone: $(cat "$T/log")"
done
"$tool" "$plugin" "$T/mnt/store" size=1G,journal=4M clone small s1 >>"$T/log" 2>&1 || fail "clone: $(cat "$T/log")"
grew=$(($(used) - before))
echo "five clones of 300 MB took $grew KiB; times: $(grep -i clone "$T/log" | tr '\n' ' ')"
[ "$grew" -lt 20000 ] || fail "five clones of 300 MB took $grew KiB of disk"
path() { "$tool" "$plugin" "$T/mnt/store" size=1G,journal=4M disks "$1" 2>/dev/null | grep -o '/[^ ]*' | head -n 1; }
cmp "$(path c1)" "$(path c5)" || fail "the clones differ"
cmp -s "$(path c1)" "$(path s1)" && fail "a clone of another image is the same"
exit 0
