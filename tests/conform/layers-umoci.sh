#!/bin/bash
# Odd and hostile stacks of layers, by both storage plugins and by `umoci unpack`: equal trees, or refusals (same-trees.py says what may differ).
# CTR_ODD=N makes N random ones, from number CTR_ODD_FIRST on.
. "$(dirname "$0")/../lib.sh"
need umoci python3 e2fsck
[ "$(id -u)" = 0 ] || skip "umoci needs root to unpack owners and devices"
mkdir "$T/cases" "$T/scratch"
python3 -B "$ROOT/tests/conform/odd-layers.py" "$T/cases" || fail "odd-layers.py"
python3 -B "$ROOT/tests/conform/random-layers.py" "${CTR_ODD_FIRST:-0}" "${CTR_ODD:-200}" "$T/cases" || fail "random-layers.py"
python3 -B "$ROOT/tests/conform/same-trees.py" "$BUILD" "$T/scratch" "$T/cases" storage-ext4:size=128M,journal=4M storage-erofs:size=128M || fail "trees differ"
