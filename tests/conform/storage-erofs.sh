#!/usr/bin/env bash
# storage-erofs: the storage contract's tests; fsck.erofs and, where it has EROFS, this kernel on each layer and on a chain's whole disk; QEMU
# reads that disk as it is; holes stay holes; damage is told. That trees are right is layers-umoci.sh's.
. "$(dirname "$0")/../lib.sh"
plugin=$BUILD/lib/ctr/plugins/storage-erofs.so tool=$BUILD/tests/bin/storage-tool
export ASAN_OPTIONS=detect_leaks=0
CTR_TEST_STORAGE=$plugin CTR_TEST_STORAGE_OPTIONS=size=256M "$BUILD/tests/unit/test-storage" >"$T/log" 2>&1 || fail "test-storage: $(grep -E 'ERROR|LINE|FAILED' "$T/log")"
need fsck.erofs python3

mkdir -p "$T/base/usr/lib" "$T/base/etc" "$T/upper/etc" "$T/store"
ln -s usr/lib "$T/base/lib"
head -c 3000000 /dev/urandom >"$T/base/usr/lib/big"
truncate -s 64M "$T/base/usr/lib/hole" && printf end >>"$T/base/usr/lib/hole"
for i in $(seq 300); do echo "$i" >"$T/base/etc/f$i"; done
echo new >"$T/upper/etc/f1" && : >"$T/upper/etc/.wh.f2"
tar -C "$T/base" --sparse -cf "$T/base.tar" .
tar -C "$T/upper" -cf "$T/upper.tar" etc
run() { "$tool" "$plugin" "$T/store" size=256M "$@" >"$T/out" 2>"$T/log"; }
run build x "$T/base.tar" "$T/upper.tar" || fail "build: $(cat "$T/log")"
store=$T/store/state

for layer in "$store"/layers/*; do
    fsck.erofs --extract "$layer" >"$T/fsck" 2>&1 || fail "a layer: $(cat "$T/fsck")"
    [ "$(du -k "$layer" | cut -f1)" -lt 6000 ] || fail "a hole was filled: $(du -k "$layer")"
done
run raw x "$T/raw" || fail "raw: $(cat "$T/log")"
fsck.erofs --extract "$T/raw" >"$T/fsck" 2>&1 || fail "the chain: $(cat "$T/fsck")"
if command -v qemu-img >/dev/null; then
    qemu-img convert -f vmdk -O raw "$store"/chains/*.vmdk "$T/qemu" || fail "QEMU does not read the descriptor"
    cmp "$T/raw" "$T/qemu" || fail "QEMU sees another disk than we"
fi
# Layers and the chain as the kernel sees them.
mkdir "$T/mnt"
if [ "$(id -u)" = 0 ] && mount -t erofs -o ro,loop "$T/raw" "$T/mnt" 2>/dev/null; then
    cmp "$T/base/usr/lib/big" "$T/mnt/lib/big" && cmp "$T/base/usr/lib/hole" "$T/mnt/usr/lib/hole" || fail "content"
    expect "an upper layer's file" new "$(cat "$T/mnt/etc/f1")"
    [ ! -e "$T/mnt/etc/f2" ] || fail "a whiteout did nothing"
    umount "$T/mnt"
    for layer in "$store"/layers/*; do
        mount -t erofs -o ro,loop "$layer" "$T/mnt" || fail "the kernel takes no layer"
        [ ! -e "$T/mnt/etc/f2" ] || [ -c "$T/mnt/etc/f2" ] || [ -f "$T/mnt/etc/f300" ] || fail "a whiteout is no device"
        umount "$T/mnt"
    done
else
    echo "no mount of EROFS here"
fi

# A moved folder: the descriptor, whose paths are wrong then, is made anew.
sed -i 's|/state/|/gone/|' "$T/store/state"/chains/*.vmdk
run raw x "$T/raw2" || fail "after a move: $(cat "$T/log")"
cmp "$T/raw" "$T/raw2" || fail "after a move: another disk"

# One flipped bit in the list of entries, its tail, or a chain's: said, by name.
cat >"$T/edit.py" <<'PY'
import sys
path, at = sys.argv[1], int(sys.argv[2])
with open(path, "r+b") as file:
    file.seek(at, 2)
    byte = file.read(1)
    file.seek(at, 2)
    file.write(bytes([byte[0] ^ 1]))
PY
for at in -100 -40 -3; do
    for layer in "$store"/layers/*; do
        python3 "$T/edit.py" "$layer" $at
        run chain y x/1 x/2 && fail "a damaged layer ($at) went into a chain"
        grep -q "^storage-tool: -74: .*$(basename "$layer" | cut -c1-12).* is damaged; remove" "$T/log" || fail "damage at $at: $(cat "$T/log")"
        python3 "$T/edit.py" "$layer" $at
    done
done
chain=$(find "$store/chains" -type f ! -name '*.vmdk')
python3 "$T/edit.py" "$chain" -20
run raw x "$T/raw3" && fail "a damaged chain was used"
grep -q '^storage-tool: -74: .* is damaged; remove' "$T/log" || fail "damaged chain: $(cat "$T/log")"
python3 "$T/edit.py" "$chain" -20
run chain y x/1 x/2 || fail "whole again: $(cat "$T/log")"
expect "nothing half-made" "" "$(find "$store/tmp" -type f)"

# Full disks, failing writes and kills, as storage-full.sh has them for ext4.
CTR_TEST_STORAGE=$plugin CTR_TEST_STORAGE_OPTIONS=size=256M bash "$ROOT/tests/conform/storage-full.sh" || fail "storage-full"
