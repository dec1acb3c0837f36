#!/usr/bin/env bash
# Layers whose bytes are broken or far too many, all with the digest that the manifest names (CASES.md L4, L5): an error in bounded time, little memory,
# nothing half-made; by both storage plugins, and then by an engine that must live on. CTR_BOMBS=all adds those that take minutes.
TMPDIR=$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")
. "$(dirname "$0")/../lib.sh"
need python3 zstd
TOOL=$BUILD/tests/bin/image-tool
MKIMG="python3 -B $ROOT/tests/hostile/mkimg"
export TOOL_QUIET=1
CASES="gzip-cut:ends.too.early gzip-crc:gzip.data.is.broken|diff_id|image.config.says gzip-tail:not.gzip|behind.its.end zstd-cut:ends.too.early
zstd-crc:zstd.data.is.broken zstd-tail:not.zstd zstd-is-gzip:not.zstd zstd-window:zstd.data.is.broken|window
tar-cut-short:not.a.valid.tar bomb-pax:not.a.valid.tar bomb-long-name:not.a.valid.tar
bomb-sparse:impossible.file.size bomb-sparse-exact:limit.of"
[ "${CTR_BOMBS:-}" != all ] || CASES="$CASES bomb-entries:limit.of.[14]000000.entries|unpacks.to.more.than|full|No.space"
mkdir -p "$T/own/images" "$T/own/data"

# profile STORAGE: of image-tool; the disk is 1 GiB where it can be
profile() {
    cat >"$T/own/p.ini" <<INI
[engine]
data = $T/own/data/ctr
run = $T/own/run
plugins = $BUILD/lib/ctr/plugins
platform = linux/amd64
max_image = 1G
[vmm]
plugin = qemu
[net]
plugin = none
[storage]
plugin = $1
[registry]
chain = file
[registry.file]
path = $T/own/auth.json
INI
}
# tool ARGS…: its output in $T/out, its memory's peak in $T/rss (KiB)
tool() {
    timeout -k 5 "${CTR_BOMB_SECONDS:-120}" python3 -B -c 'import resource, subprocess, sys
status = subprocess.call(sys.argv[2:], stdout=open(sys.argv[1] + "/out", "w"), stderr=subprocess.STDOUT)
open(sys.argv[1] + "/rss", "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)' "$T" "$TOOL" "$T/own/p.ini" "$@"
}
by_tool() { # CASE PATTERN STORAGE
    local left status
    rm -rf "$T/own/data/ctr"
    tool load "$T/own/images/$1" -- unpack "$1"
    status=$?
    [ $status = 1 ] || fail "$1 $3: status $status: $(tail -n 3 "$T/out")"
    grep -qE "^error.*($2)" "$T/out" || fail "$1 $3: not about \"$2\": $(cat "$T/out")"
    [ "$(cat "$T/rss")" -lt 131072 ] || fail "$1 $3: used $(cat "$T/rss") KiB of memory"
    echo "$1 $3: $(cat "$T/rss") KiB: $(grep ^error "$T/out" | cut -c1-220)"
    # An image that a load has let pass stays, and with it its whole layers, until it is removed.
    ! tool resolve "$1" || tool rmi "$1" force || fail "$1 $3: rmi: $(cat "$T/out")"
    left=$(find "$T/own/data/ctr/images/blobs" "$T/own/data/ctr/storage" -type f -size +0 ! -name lock ! -path '*/blank*' 2>/dev/null)
    [ -z "$left" ] || fail "$1 $3: left behind: $left"
}

if [ "$(id -u)" = 0 ]; then
    mount -t tmpfs -o size=1g none "$T/own/data" || fail "no tmpfs"
    trap 'status=$?; umount "$T/own/data"; (exit $status); finish' EXIT
fi
for c in $CASES; do $MKIMG "${c%%:*}" "$T/own/images/${c%%:*}" || fail "mkimg ${c%%:*}"; done
for storage in ext4 erofs; do
    profile $storage
    for c in $CASES; do by_tool "${c%%:*}" "${c#*:}" $storage; done
    $MKIMG bomb-zeros "$T/own/images/bomb-zeros"
    by_tool bomb-zeros 'unpacks to more than|limit of' $storage
    # Folders nested deeper than any path is long are odd, but right.
    rm -rf "$T/own/data/ctr"
    $MKIMG bomb-deep "$T/own/images/deep" && tool load "$T/own/images/deep" -- unpack deep
    status=$?
    [ $status = 0 ] || fail "deep folders $storage: $(cat "$T/out")"
done
rm -rf "$T/own/data/ctr"

hostile_start
# Zeros are holes: as an image they are harmless, and take no room.
ctr load -i "$T/own/images/bomb-zeros" >/dev/null || fail "load of zeros"
[ "$(du -sm "$T/hostile/data" | cut -f1)" -lt 200 ] || fail "zeros take room: $(du -sm "$T/hostile/data")"
still_holds bomb-zeros
for c in $CASES; do
    expect_status 1 ctr load -i "$T/own/images/${c%%:*}"
    one_line_error "${c#*:}"
    still_holds "${c%%:*}"
done
