#!/usr/bin/env bash
# Images nobody here made: a Debian minbase (debootstrap) and a busybox, pushed by skopeo to docker-registry on loopback, pulled and run.
. "$(dirname "$0")/../lib.sh"
need_vm
need skopeo umoci debootstrap docker-registry
[ "$(id -u)" = 0 ] || skip "debootstrap needs root"
use_profile main qemu
start_registry

cache=$BUILD/tests/cache
mkdir -p "$cache"
if [ ! -f "$cache/minbase/index.json" ]; then
    debootstrap --variant=minbase bookworm "$T/minbase" >"$T/debootstrap.log" 2>&1 || fail "debootstrap: $(tail -n 3 "$T/debootstrap.log")"
    layout_from_root "$T/minbase" "$T/layout" latest "$(host_arch)"
    mv "$T/layout" "$cache/minbase"
fi
skopeo copy -q --dest-tls-verify=false "oci:$cache/minbase:latest" "docker://$REGISTRY/debian/minbase:bookworm" || fail "skopeo copy"
mkdir -p "$T/bb/bin" && cp "$(command -v busybox)" "$T/bb/bin/" && for a in sh cat ls uname; do ln -s busybox "$T/bb/bin/$a"; done
layout_from_root "$T/bb" "$T/bblayout" latest "$(host_arch)"
skopeo copy -q --dest-tls-verify=false "oci:$T/bblayout:latest" "docker://$REGISTRY/busybox:1" || fail "skopeo copy"

ctr pull "$REGISTRY/debian/minbase:bookworm" >"$T/pull" 2>&1 || fail "pull: $(cat "$T/pull")"
expect_match "pull tells the digest" 'sha256:[0-9a-f]{64}' "$(cat "$T/pull")"
expect_match "Debian runs" '^12' "$(ctr run --rm "$REGISTRY/debian/minbase:bookworm" cat /etc/debian_version)"
out=$(ctr run --rm "$REGISTRY/debian/minbase:bookworm" sh -c 'dpkg -l | grep -c ^ii; stat -c "%a %U" /usr/bin/passwd /tmp; perl -e "print 6*7"')
expect_match "Debian's tools" $'\n4755 root\n1777 root\n42$' "$out"
# run pulls by itself
out=$(ctr run --rm "$REGISTRY/busybox:1" uname -m 2>/dev/null); expect "busybox" "$(uname -m)" "$out"
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$REGISTRY/busybox:1")
ctr pull "$REGISTRY/busybox@$digest" >/dev/null 2>&1 || fail "pull by digest"
expect "skopeo reads our store" "$(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/busybox:1" | sha256sum | cut -c1-64)" \
    "$(skopeo inspect --raw "oci:$T/main/data/images:$REGISTRY/busybox:1" | sha256sum | cut -c1-64)"
# archives
skopeo copy -q "oci:$T/bblayout:latest" "docker-archive:$T/bb.tar:bbarchive:1" && ctr load -i "$T/bb.tar" >/dev/null || fail "load of a docker-archive"
expect "docker-archive runs" hi "$(ctr run --rm bbarchive:1 sh -c 'echo hi')"
skopeo copy -q "oci:$T/bblayout:latest" "oci-archive:$T/bb.oci.tar:ociarchive:1" && ctr load -i "$T/bb.oci.tar" >/dev/null || fail "load of an OCI archive"
ctr tag bbarchive:1 other:2 && expect "tag" hi "$(ctr run --rm other:2 sh -c 'echo hi')"
ctr rmi other:2 bbarchive:1 >/dev/null || fail rmi
expect_match "image is gone" 'no such image|No such image|not found' "$(ctr run --pull never --rm other:2 true 2>&1)"
# what was pulled, pushed under another name, comes back the same, and an imported root filesystem boots
ctr tag "$REGISTRY/busybox:1" "$REGISTRY/again:1" && ctr push -q "$REGISTRY/again:1" >/dev/null || fail push
expect "pushed" "$digest" "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$REGISTRY/again:1")"
tar c -C "$T/bb" . | ctr import -c 'CMD ["/bin/sh", "-c", "echo imported"]' - imported:1 >/dev/null || fail import
expect "an import runs" imported "$(ctr run --rm imported:1)"
ctr save "$REGISTRY/debian/minbase:bookworm" >"$T/debian.tar" && ctr rmi -f "$REGISTRY/debian/minbase:bookworm" >/dev/null && ctr load -q -i "$T/debian.tar" || fail "save and load"
expect_match "Debian out of an archive runs" '^12' "$(ctr run --rm "$REGISTRY/debian/minbase:bookworm" cat /etc/debian_version)"
