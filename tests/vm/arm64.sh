#!/usr/bin/env bash
# The same for arm64 by qemu-system-aarch64: a Debian minbase and a busybox of that architecture, pulled from docker-registry and run.
. "$(dirname "$0")/../lib.sh"
need_vm arm64
need skopeo umoci debootstrap docker-registry
[ "$(id -u)" = 0 ] || skip "debootstrap needs root"
use_profile main qemu
start_registry
cache=$BUILD/tests/cache
mkdir -p "$cache"
if [ ! -f "$cache/minbase-arm64/index.json" ] || [ ! -f "$cache/busybox-arm64/index.json" ]; then
    # The first stage unpacks; its packages' scripts would need an arm64 host.
    debootstrap --foreign --arch=arm64 --variant=minbase --include=busybox-static bookworm "$T/minbase" >"$T/debootstrap.log" 2>&1 || fail "debootstrap: $(tail -n 3 "$T/debootstrap.log")"
    # Its /proc is a link to the host's until the second stage; a container wants a folder there.
    [ -L "$T/minbase/proc" ] && rm "$T/minbase/proc" && mkdir "$T/minbase/proc"
    dpkg -x "$T"/minbase/var/cache/apt/archives/busybox-static_*_arm64.deb "$T/deb" || fail "busybox-static for arm64"
    rm -f "$T"/minbase/var/cache/apt/archives/*.deb
    mkdir -p "$T/bb/bin" && cp "$T/deb/bin/busybox" "$T/bb/bin/" && for a in sh cat ls uname; do ln -s busybox "$T/bb/bin/$a"; done
    layout_from_root "$T/minbase" "$T/layout" latest arm64
    layout_from_root "$T/bb" "$T/bblayout" latest arm64
    rm -rf "$cache/minbase-arm64" "$cache/busybox-arm64"
    mv "$T/layout" "$cache/minbase-arm64"
    mv "$T/bblayout" "$cache/busybox-arm64"
fi
skopeo copy -q --dest-tls-verify=false "oci:$cache/minbase-arm64:latest" "docker://$REGISTRY/debian/minbase:bookworm" || fail "skopeo copy"
out=$(ctr run --rm --platform linux/arm64 "$REGISTRY/debian/minbase:bookworm" sh -c 'uname -m; cat /etc/debian_version; ls -l /usr/bin/dpkg >/dev/null && echo dpkg' 2>/dev/null)
expect_match "Debian on arm64" $'^aarch64\n12[.0-9]*\ndpkg$' "$out"
skopeo copy -q --dest-tls-verify=false "oci:$cache/busybox-arm64:latest" "docker://$REGISTRY/busybox:1" || fail "skopeo copy"
expect "busybox on arm64" aarch64 "$(ctr run --rm --platform linux/arm64 "$REGISTRY/busybox:1" uname -m 2>/dev/null)"
id=$(ctr run -d --platform linux/arm64 "$REGISTRY/debian/minbase:bookworm" sleep 1000) || fail "run -d"
expect "exec" aarch64 "$(ctr exec "$id" uname -m)"
ctr rm -f "$id" >/dev/null
# a platform that the image does not have is refused by name
expect_status 125 ctr run --rm --platform linux/amd64 "$REGISTRY/debian/minbase:bookworm" true; one_line_error 'arm64|amd64'
