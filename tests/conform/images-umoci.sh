#!/bin/bash
# Real root filesystems, by both storage plugins and by `umoci unpack`: a busybox and a Debian minbase in three layers.
# CTR_DEBIAN is a root made by debootstrap before (else it is made here, which needs the network).
. "$(dirname "$0")/../lib.sh"
need umoci python3 e2fsck busybox tar
[ "$(id -u)" = 0 ] || skip "umoci needs root to unpack owners and devices"
mkdir -p "$T/cases/busybox" "$T/scratch" "$T/box"/{bin,dev,etc,tmp}

cp "$(command -v busybox)" "$T/box/bin/busybox"
for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$T/box/bin/$applet"; done
chmod 1777 "$T/box/tmp"
mknod "$T/box/dev/null" c 1 3
tar -C "$T/box" --numeric-owner --xattrs -cf "$T/cases/busybox/1.tar" .

# Three layers: all but /usr/share; /usr/share; a change of it as a package manager makes it.
debian() { # ROOT
    local layers=$T/cases/debian
    mkdir "$layers"
    tar -C "$1" --numeric-owner --xattrs --xattrs-include='*' --exclude=./usr/share -cf "$layers/1.tar" . &&
        tar -C "$1" --numeric-owner --xattrs --xattrs-include='*' -cf "$layers/2.tar" ./usr/share &&
        mkdir -p "$T/change/usr/share/doc" "$T/change/lib/modules" "$T/change/etc" &&
        touch "$T/change/usr/share/doc/.wh.bash" "$T/change/usr/share/.wh.man" "$T/change/etc/.wh.motd" &&
        echo module >"$T/change/lib/modules/x" && ln "$T/change/lib/modules/x" "$T/change/lib/modules/y" &&
        tar -C "$T/change" --numeric-owner -cf "$layers/3.tar" .
}
missing=
root=${CTR_DEBIAN:-$T/debian}
if [ -d "$root" ] || timeout 400 debootstrap --variant=minbase bookworm "$root" >"$T/debootstrap.log" 2>&1; then
    debian "$root" || fail "Debian's layers"
else
    missing="no Debian: $(tail -n 1 "$T/debootstrap.log")"
fi
python3 -B "$ROOT/tests/conform/same-trees.py" "$BUILD" "$T/scratch" "$T/cases" storage-ext4:size=1G storage-erofs:size=128M || fail "trees differ"
[ -z "$missing" ] || skip "$missing"
