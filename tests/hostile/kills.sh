#!/usr/bin/env bash
# A pull and an unpack killed at every write, sync, rename and removal, and on a disk that fills up (CASES.md C1, C4): afterwards the
# store opens, its blobs are whole, and the same commands work.
. "$(dirname "$0")/../lib.sh"
need python3 strace
TOOL=$BUILD/tests/bin/image-tool
[ -x "$TOOL" ] || fail "no $TOOL: make test-programs"
strace -qq -o /dev/null true || skip "strace may not trace here"
export TOOL_QUIET=1
mkdir -p "$T/p" "$T/data"
cat >"$T/p/p.ini" <<INI
[engine]
data = $T/data/ctr
run = $T/p/run
plugins = $BUILD/tests/plugins:$BUILD/lib/ctr/plugins
platform = linux/amd64
[vmm]
plugin = qemu
[net]
plugin = none
[storage]
plugin = mem
[registry]
chain = file
[registry.file]
path = $T/p/auth.json
INI
(umask 077; echo '{"auths":{}}' >"$T/p/auth.json")
background python3 -B "$ROOT/tests/hostile/hreg" "$T/ports" "$T/log"
for _ in $(seq 100); do [ -f "$T/ports" ] && break; sleep 0.1; done
read -r port _ <"$T/ports" || fail "hreg did not start"
REF=127.0.0.1:$port/m
tool() { "$TOOL" "$T/p/p.ini" "$@" >"$T/out" 2>&1; }
whole() {
    local f
    for f in "$T"/data/ctr/images/blobs/sha256/*; do
        [ -f "$f" ] && [ "$(sha256sum <"$f" | cut -c1-64)" != "$(basename "$f")" ] && fail "$1: blob $f is wrong"
    done
}
again() {
    tool images || { cat "$T/out"; fail "$1: the store does not open"; }
    whole "$1"
    tool pull "$REF" -- unpack "$REF" -- clone "$REF" k -- rmi "$REF" force || { cat "$T/out"; fail "$1: does not work afterwards"; }
}

killed=0
for call in fsync fdatasync renameat rename unlinkat unlink mkdir pwrite64 ftruncate; do
    for n in $(seq "${CTR_KILLS:-15}"); do
        rm -rf "$T/data/ctr"
        strace -f -qq -o /dev/null -e trace=$call -e inject=$call:signal=KILL:when=$n \
            "$TOOL" "$T/p/p.ini" pull "$REF" -- unpack "$REF" >/dev/null 2>&1
        status=$?
        again "killed at $call $n"
        [ $status = 0 ] && break
        killed=$((killed + 1))
    done
done 2>/dev/null
[ $killed -ge 20 ] || fail "only $killed kills: the calls have other names here?"

if [ "$(id -u)" = 0 ] && rm -rf "$T/data/ctr" && mount -t tmpfs -o size=64k none "$T/data" 2>/dev/null; then
    full=0
    for size in 64k 200k 400k 600k 800k nr_inodes=8 nr_inodes=12 nr_inodes=14 nr_inodes=16 nr_inodes=18; do
        umount "$T/data"
        mount -t tmpfs -o "$(case $size in nr*) echo size=40m,$size ;; *) echo size=$size ;; esac)" none "$T/data"
        if ! tool pull "$REF"; then
            full=$((full + 1))
            grep -qE '^error.*(No space left|unable to open database)' "$T/out" || { cat "$T/out"; umount "$T/data"; fail "$size: not the error that it should be"; }
            ls "$T/data/ctr/images/ingest" 2>/dev/null | grep -q . && { umount "$T/data"; fail "$size: half a blob is left"; }
        fi
        mount -o remount,size=40m,nr_inodes=10000 "$T/data"
        again "disk full at $size"
    done
    umount "$T/data"
    [ $full -ge 6 ] || fail "the disk was full only $full times"
fi
echo "killed $killed times"
