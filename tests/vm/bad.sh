#!/usr/bin/env bash
# What goes wrong says what, where and what to do, in one line; nothing half-made is left; the next correct command works.
. "$(dirname "$0")/../lib.sh"
need_vm
use_profile main qemu
load_demo
clean() { # nothing half-made
    expect "containers left" "" "$(ctr ps -aq)"
    expect "folders left" "" "$(ls "$T/main/data/containers" 2>/dev/null)"
}
works() { clean; expect "the next run works" ok "$(ctr run --rm demo echo ok 2>/dev/null)"; }
works

expect_status 125 ctr run --rm --pull never no-such-image true; one_line_error 'no-such-image'; works
expect_status 1 ctr pull -q 127.0.0.1:1/x:y; one_line_error '127.0.0.1:1'; works
expect_status 125 ctr run --rm --kernel /nonexistent/kernel demo true; one_line_error '/nonexistent/kernel'; works
expect_status 125 ctr run --rm --pull never --platform linux/s390x demo true; one_line_error 's390x'; works
# a kernel that panics: no initramfs content that it could run
head -c 100000 /dev/zero >"$T/notakernel"
expect_status 125 ctr run --rm --kernel "$T/notakernel" demo true; one_line_error '.'; works
sed "s|^run = .*|&\ninitramfs = $T/empty-initramfs|; s|/main/|/panic/|g" "$PROFILE" >"$T/panic.ini"
mkdir -p "$T/panic"; printf '' | cpio -o -H newc >"$T/empty-initramfs" 2>/dev/null
main=$PROFILE
PROFILE=$T/panic.ini; PROFILES+=("$PROFILE")
load_demo
expect_status 125 ctr run --rm demo true; one_line_error '[Pp]anic'
PROFILE=$main

# a profile with a typo
sed 's/^\[vmm\]/[vmm]\nplugn = x/; s|/main/|/typo/|g' "$main" >"$T/typo.ini"
expect_status 1 "$BIN/ctrctl" --profile "$T/typo.ini" ps; one_line_error 'typo.ini:[0-9]+:.*plugn.*plugin'
sed 's/^size = 1G/size = banana/; s|/main/|/typo/|g' "$main" >"$T/typo.ini"
expect_status 1 "$BIN/ctrctl" --profile "$T/typo.ini" ps; one_line_error 'typo.ini:[0-9]+:.*banana'
expect_status 1 "$BIN/ctrctl" --profile nowhere ps; one_line_error 'nowhere'
# a plugin of another ABI, one that others can write
mkdir -p "$T/plugins"; cp "$BUILD/tests/plugins-broken/storage-abi.so" "$T/plugins/" || fail "no plugin of another ABI"
sed "s|^run = .*|&\nplugins = $T/plugins|; s|/main/|/abi/|g" "$main" >"$T/abi.ini"
PROFILES+=("$T/abi.ini")
"$BIN/ctrctl" --profile "$T/abi.ini" plugin ls >"$T/out" 2>&1
expect_match "plugin ls shows the refused one and why" 'ABI' "$(cat "$T/out")"
# QEMU missing
sed "s|^plugin = qemu|plugin = qemu\n[vmm.qemu]\nbinary = /nonexistent/qemu|; s|/main/|/noqemu/|g" "$main" >"$T/noqemu.ini"
PROFILE=$T/noqemu.ini; PROFILES+=("$PROFILE")
mkdir -p "$T/noqemu"
ctr load -i "$BUILD/demo" >/dev/null 2>&1
expect_status 125 ctr run --rm demo true; one_line_error '/nonexistent/qemu'
PROFILE=$main
works

# a full disk: the data root on a small tmpfs of its own
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$T/full/data" && mount -t tmpfs -o size=24m,mode=700 tmpfs "$T/full/data" || fail "tmpfs"
    use_profile full qemu
    head -c 60000000 /dev/urandom >"$T/noise"; mkdir -p "$T/fat/bin"; cp "$T/noise" "$T/fat/noise"; cp "$(command -v busybox)" "$T/fat/bin/sh"
    need umoci
    layout_from_root "$T/fat" "$T/fatlayout" latest "$(host_arch)"
    expect_status 1 ctr load -i "$T/fatlayout"; one_line_error 'No space left|full'
    load_demo
    expect "after the full disk" ok "$(ctr run --rm demo echo ok 2>/dev/null)"
    "$BIN/ctrctl" --profile "$PROFILE" system stop >/dev/null
    for s in "$T"/full/run/n/*.sock; do [ -S "$s" ] && echo '{"op":"stop"}' | timeout 5 socat - "UNIX-CONNECT:$s" >/dev/null; done
    umount "$T/full/data" || umount -l "$T/full/data"
fi
exit 0
