#!/usr/bin/env bash
# storage-erofs boots images of many layers from one disk: 6 and 128, which share their lowest.
. "$(dirname "$0")/../lib.sh"
need_vm
use_profile many qemu $'[storage]\nplugin = erofs\n[storage.erofs]\nsize = 1G'
load_demo
for n in 5 127; do
    python3 -B "$ROOT/tests/vm/stack-layers.py" "$BUILD/demo" "$T/stack$n" $n || fail "stack-layers"
    ctr load -i "$T/stack$n" >/dev/null || fail "load of $((n + 1)) layers"
    out=$(ctr run --rm "stack:$n" sh -c 'cat /stack/top; ls /stack | tr "\n" " "; wc -l </proc/partitions; echo own >/stack/top && cat /stack/top')
    expect "$((n + 1)) layers" "$n
$((n - 1)) $n top 4
own" "$out"
done
expect "layers are kept once" 128 "$(find "$T/many/data/storage" -path '*/layers/*' -type f | wc -l)"
