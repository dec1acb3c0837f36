#!/bin/bash
# A storage plugin that runs out of disk, or whose writes fail one after the other: each time a clear error, nothing left behind after
# remove, and the next try on a healthy disk works. And one that is killed at each write: the next open leaves all or nothing.
. "$(dirname "$0")/../lib.sh"
need e2fsck
plugin=${CTR_TEST_STORAGE:-$BUILD/lib/ctr/plugins/storage-ext4.so}
options=${CTR_TEST_STORAGE_OPTIONS-size=256M,journal=4M}
tool=$BUILD/tests/bin/storage-tool
export ASAN_OPTIONS=detect_leaks=0

mkdir "$T/tree" "$T/store"
head -c 3000000 /dev/urandom >"$T/tree/big"
for i in $(seq 300); do echo "$i" >"$T/tree/small$i"; done
tar -C "$T/tree" --numeric-owner -cf "$T/layer.tar" .

# No file but the lock is left in the store.
nothing_left() { # WHAT
    local left
    left=$(find "$T/store" -type f ! -name lock -size +0)
    [ -z "$left" ] || fail "$1: left behind: $left"
}
# What is there is whole. Then nothing is there.
check_images() { # WHAT
    local image
    for image in $(find "$T/store" -type f \( -name '*.img' -o -path '*/layers/*' \)); do
        case $image in
        *.img) e2fsck -fn "$image" ;;
        *) ! command -v fsck.erofs || fsck.erofs --extract "$image" ;;
        esac >"$T/fsck" 2>&1 || fail "$1: $(cat "$T/fsck")"
    done
    rm -rf "$T/store/state"
}
one_line_error() { # WHAT
    grep -q '^storage-tool: -[0-9]*: .' "$T/log" || fail "$1: no clear error: $(tail -n 3 "$T/log")"
}

# The image is smaller than the layer.
if [ -z "${CTR_TEST_STORAGE:-}" ]; then
    head -c 80000000 /dev/urandom >"$T/tree/huge"
    tar -C "$T/tree" --numeric-owner -cf "$T/huge.tar" .
    "$tool" "$plugin" "$T/store" size=64M,journal=4M build full "$T/huge.tar" >"$T/log" 2>&1 && fail "80 MB fit into 64 MiB"
    grep -q 'image is full' "$T/log" || fail "full image: $(cat "$T/log")"
    nothing_left "full image"
fi

# The disk is full, at every size up to the one that is enough.
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=64k tmpfs "$T/store" 2>/dev/null; then
    for kib in 64 128 300 600 1000 2000 3000; do
        mount -o "remount,size=${kib}k" "$T/store"
        "$tool" "$plugin" "$T/store" "$options" build full "$T/layer.tar" >"$T/log" 2>&1 && fail "3 MB fit into $kib KiB"
        one_line_error "$kib KiB"
        nothing_left "$kib KiB"
    done
    mount -o remount,size=64m "$T/store"
    "$tool" "$plugin" "$T/store" "$options" build full "$T/layer.tar" >"$T/log" 2>&1 || fail "with space again: $(cat "$T/log")"
    # A container's disk finds no room: its size of a copy, or a few blocks.
    room=$([ -z "${CTR_TEST_STORAGE:-}" ] && echo 6m || echo "$(du -sk "$T/store" | cut -f1)k")
    mount -o "remount,size=$room" "$T/store"
    "$tool" "$plugin" "$T/store" "$options" clone full box >"$T/log" 2>&1 && fail "a clone fits into $room"
    one_line_error "clone"
    [ "$(find "$T/store" -name '*box*')" = "" ] || fail "a half clone was left"
    umount "$T/store"
else
    echo "no tmpfs: not root"
fi

# Each write and sync fails in its turn.
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
    for call in pwrite64 fsync /^rename ftruncate; do
        for when in 1 2 3 4 5 7 9 12 15; do
            strace -f -o "$T/strace" -e "trace=$call" -e "inject=$call:error=EIO:when=$when" \
                "$tool" "$plugin" "$T/store" "$options" build broken "$T/layer.tar" >"$T/log" 2>&1
            status=$?
            [ "$when" != 1 ] || grep -q INJECTED "$T/strace" || fail "$call: nothing was injected"
            [ $status -le 1 ] || fail "$call $when: exit $status: $(tail -n 3 "$T/log")"
            if [ $status = 1 ]; then
                one_line_error "$call $when"
                nothing_left "$call $when"
            else
                check_images "$call $when"
            fi
        done
    done
    for call in openat pwrite64 fsync /^rename; do
        for when in 1 2 3 4 6 8 11 15 20 30; do
            strace -f -o "$T/strace" -e "trace=$call" -e "inject=$call:signal=KILL:when=$when" \
                "$tool" "$plugin" "$T/store" "$options" build killed "$T/layer.tar" >"$T/log" 2>&1
            # the next open sweeps; a snapshot that is there is whole
            "$tool" "$plugin" "$T/store" "$options" remove none >"$T/log" 2>&1 || fail "kill at $call $when: $(cat "$T/log")"
            [ -z "$(find "$T/store" \( -path '*/work/*' -o -path '*/state/tmp/*' \) -type f)" ] || fail "kill at $call $when: not swept"
            check_images "kill at $call $when"
        done
    done
else
    echo "no strace: no injected failures"
fi
"$tool" "$plugin" "$T/store" "$options" build good "$T/layer.tar" >"$T/log" 2>&1 || fail "healthy again: $(cat "$T/log")"
