#!/usr/bin/env bash
# Three profiles side by side with three data roots: ext4, erofs, and a storage plugin from outside the tree, built from the installed SDK alone.
. "$(dirname "$0")/../lib.sh"
need_vm
make -s -C "$ROOT" BUILD="$BUILD" install DESTDIR= PREFIX="$T/prefix" >"$T/install.log" 2>&1 || fail "make install: $(tail -n 3 "$T/install.log")"
cp -r "$T/prefix/share/ctr/template" "$T/mine" || fail "no template in the installed SDK"
PKG_CONFIG_PATH=$T/prefix/lib/pkgconfig make -s -C "$T/mine" >"$T/template.log" 2>&1 || fail "building the template: $(tail -n 5 "$T/template.log")"
so=$(ls "$T"/mine/*.so)
name=$(basename "$so" .so); name=${name#storage-}
"$T/prefix/bin/ctr-conform" "$so" "$T/mine/conform.ini" >"$T/conform.log" || fail "ctr-conform: $(grep FAIL "$T/conform.log")"

use_profile one qemu $'[storage]\nplugin = ext4'; one=$PROFILE
use_profile two qemu; two=$PROFILE
use_profile three qemu $'[storage]\nplugin = '"$name"; three=$PROFILE
sed -i "s|^run = .*|&\nplugins = $T/mine|" "$three"
for p in "$one" "$two" "$three"; do
    PROFILE=$p
    load_demo
    ctr run -d --name same demo sh -c '[ -f /kept ] || { echo data >/new; mv /new /kept; }; exec sleep 1000' >/dev/null || fail "run on $p"
done
for p in "$one" "$two" "$three"; do
    PROFILE=$p
    wait_for 20 ctr exec same cat /kept || fail "the container on $p never wrote its file"
    expect "exec on $p" data "$(ctr exec same cat /kept)"
    expect "one container on $p" same "$(ctr ps --format '{{.Names}}')"
    ctr stop -t 1 same >/dev/null && ctr start same >/dev/null || fail "restart on $p"
    expect "kept over a restart on $p" data "$(ctr exec same cat /kept)"
    ctr rm -f same >/dev/null || fail "rm on $p"
done
expect "erofs is an overlay" overlay "$(PROFILE=$two ctr run --rm demo sh -c 'awk "\$2 == \"/\" {print \$3}" /proc/mounts')"
expect "ext4 is a disk" ext4 "$(PROFILE=$one ctr run --rm demo sh -c 'awk "\$2 == \"/\" {print \$3}" /proc/mounts')"
PROFILE=$three expect_match "plugin ls" "$name" "$(PROFILE=$three ctr plugin ls)"
# lab.ini of the tree, with its folders moved
CTR_DATA=$T/lab-data CTR_RUN=$T/lab-run "$BIN/ctrctl" --profile lab load -i "$BUILD/demo" >/dev/null || fail "lab load"
out=$(CTR_DATA=$T/lab-data CTR_RUN=$T/lab-run "$BIN/ctrctl" --profile lab run --rm demo sh -c 'echo lab'); expect "lab.ini" lab "$out"
CTR_DATA=$T/lab-data CTR_RUN=$T/lab-run "$BIN/ctrctl" --profile lab system stop >/dev/null
for s in "$T"/lab-run/n/*.sock; do [ -S "$s" ] && echo '{"op":"stop"}' | timeout 5 socat - "UNIX-CONNECT:$s" >/dev/null; done
exit 0
