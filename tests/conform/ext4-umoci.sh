#!/bin/bash
# Odd layers, by storage-ext4 and by `umoci unpack`: the trees must be equal, or ours is a refusal by name that leaves nothing behind.
# Every image must pass e2fsck.
. "$(dirname "$0")/../lib.sh"
set -o pipefail
need umoci python3 e2fsck
[ "$(id -u)" = 0 ] || skip "umoci needs root to unpack owners and devices"
plugin=${CTR_TEST_STORAGE:-$BUILD/lib/ctr/plugins/storage-ext4.so}
tool=$BUILD/tests/bin/storage-tool dump=$BUILD/tests/bin/ext4-dump
export ASAN_OPTIONS=detect_leaks=0

# Directories that no layer names get another time from umoci (now) than from us (the entry's): leave their times out.
without_time() { sed -E 's/^(.*\/ d [0-9]+ [0-9:]+) [-0-9.]+/\1/'; }

compare() { # CASE
    local dir=$T/cases/$1 theirs=yes status layout=$T/layout image tars=()
    for tar in $(seq 1 "$(find "$dir" -name '*.tar' | wc -l)"); do tars+=("$dir/$tar.tar"); done
    rm -rf "$layout" "$T/bundle" "$T/store"
    mkdir "$T/store"
    umoci init --layout "$layout" && umoci new --image "$layout:t" || fail "umoci init"
    for tar in "${tars[@]}"; do
        umoci raw add-layer --image "$layout:t" "$tar" 2>/dev/null || fail "umoci add-layer $1"
    done
    umoci unpack --image "$layout:t" "$T/bundle" >"$T/umoci.log" 2>&1 || theirs=no
    "$tool" "$plugin" "$T/store" "size=256M,journal=4M" build "$1" "${tars[@]}" >"$T/tool.out" 2>"$T/tool.log"
    status=$?
    if [ $status -ne 0 ]; then
        grep -q 'storage-tool: -[0-9]*: layer entry' "$T/tool.log" || fail "$1: $(tail -n 3 "$T/tool.log")"
        [ -z "$(find "$T/store" -name '*.img')" ] || fail "$1: something half-made was left"
        echo "refused  $1 (umoci: $theirs): $(sed -n 's/^storage-tool: //p' "$T/tool.log")"
        return
    fi
    image=$(find "$T/store" -name '*.img')
    e2fsck -fn "$image" >"$T/fsck.log" 2>&1 || fail "$1: e2fsck: $(cat "$T/fsck.log")"
    "$dump" "$image" | without_time >"$T/ours.txt" || fail "$1: dump"
    if [ $theirs = no ]; then
        echo "only us  $1: umoci: $(tail -n 1 "$T/umoci.log")"
        return
    fi
    "$dump" -d "$T/bundle/rootfs" | without_time >"$T/theirs.txt" || fail "$1: dump of umoci's"
    if ! diff "$T/theirs.txt" "$T/ours.txt" >"$T/diff.txt"; then
        echo "DIFFERS  $1: $(head -n 6 "$T/diff.txt")"
        different=$((different + 1))
        return
    fi
    echo "equal    $1"
}

different=0
mkdir "$T/cases"
python3 "$ROOT/tests/conform/odd-layers.py" "$T/cases" || fail "odd-layers.py"
for dir in "$T"/cases/*/; do compare "$(basename "$dir")"; done
[ $different = 0 ] || fail "$different trees differ from umoci's"
