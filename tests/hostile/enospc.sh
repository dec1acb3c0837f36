#!/usr/bin/env bash
# A disk that fills up, or runs out of inodes, at each stage of pull, unpack, clone and create, in both storages (CASES.md C4): a clear error,
# no half thing left, the daemon lives, and with space again the same commands work.
. "$(dirname "$0")/../lib.sh"
need python3 e2fsck fsck.erofs
[ "$(id -u)" = 0 ] || skip "small filesystems need root"
TOOL=$BUILD/tests/bin/image-tool
[ -x "$TOOL" ] || fail "no $TOOL: make test-programs"
export BUILD TOOL_QUIET=1 TOOL_INTO=1
mkdir "$T/small" "$T/p"
mount -t tmpfs -o size=64k none "$T/small" 2>/dev/null || skip "tmpfs may not be mounted here"
trap 'umount -l "$T/small"; finish' EXIT
(umask 077; echo '{"auths":{}}' >"$T/p/auth.json")
start_hreg
REF=$HREG/m

use_storage() {
    use_profile "$1" fake "$(printf '[storage]\nplugin = %s\n[storage.%s]\nsize = 64M\n%s\n[net]\nplugin = none' "$1" "$1" "$([ "$1" = ext4 ] && echo 'journal = 4M')")"
    sed -i "s,^data = .*,data = $2," "$PROFILE"
    sed -i "s,^plugins = .*,plugins = $BUILD/tests/plugins:$BUILD/lib/ctr/plugins," "$PROFILE"
}
tool() { "$TOOL" "$PROFILE" "$@" >"$T/out" 2>&1; }
everything() { tool pull "$REF" -- unpack "$REF" -- clone "$REF" k; }
clear_error() { # WHAT: one error line that names the reason
    grep -qE '^(error|ctrctl).*(No space left on device|disk is full|database or disk is full)' "$T/out" || fail "$1: not the error that it should be: $(cat "$T/out")"
}
nothing_half() { # WHAT
    local left
    left=$(cd "$T/small" && find . -type f \( -name 'new-*' -o -name '.tmp-*' -o -path '*/work/*' -o -path '*/tmp/*' \))
    [ -z "$left" ] || fail "$1: left behind: $left"
}
small() { umount "$T/small" && mount -t tmpfs -o "$1" none "$T/small" || fail "mount $1"; }
room() { mount -o remount,size=200m,nr_inodes=20000 "$T/small" || fail remount; }
whole() { "$ROOT/tests/hostile/check-store" "$T/small/data" "$T/$STORAGE-reference" || fail "$1"; }
works_again() { # WHAT
    room
    tool drop none || fail "$1: the store does not open: $(cat "$T/out")"
    whole "$1, with space again"
    everything || fail "$1: does not work with space again: $(cat "$T/out")"
    whole "$1, repeated"
    tool drop k -- rmi "$REF" -- collect || fail "$1: rmi: $(cat "$T/out")"
}

for STORAGE in ext4 erofs; do
    use_storage $STORAGE "$T/$STORAGE-reference"
    everything || fail "in peace: $(cat "$T/out")"
    sed -i "s,^data = .*,data = $T/small/data," "$PROFILE"
    stages=
    # Each size a quarter more than the last, until all fits; then the same with inodes.
    size=90 inodes=4 full=0
    while small "size=${size}k" && ! everything; do
        full=$((full + 1))
        clear_error "$STORAGE, $size KiB"
        nothing_half "$STORAGE, $size KiB"
        stages+=" $(sed -n 's/^error [-0-9]*: \([a-z]*\).*/\1/p' "$T/out")"
        works_again "$STORAGE, $size KiB"
        size=$((size * 5 / 4))
    done
    while small "size=40m,nr_inodes=$inodes" && ! everything; do
        full=$((full + 1))
        clear_error "$STORAGE, $inodes inodes"
        nothing_half "$STORAGE, $inodes inodes"
        works_again "$STORAGE, $inodes inodes"
        inodes=$((inodes + 2))
    done
    echo "$STORAGE: full $full times, enough are $size KiB or $inodes inodes; failed in$(tr ' ' '\n' <<<"$stages" | sed '/^$/d' | sort | uniq -c | tr -s '\n ' ' ')"
    [ $full -ge 12 ] || fail "the disk was full only $full times"

    # The same under a daemon, which goes on.
    small size=40m
    ctr pull -q "$REF" >/dev/null 2>&1 && ctr create --name stays "$REF" true >/dev/null 2>&1 || fail "create in peace"
    pid=$(daemon_pid)
    for free in 0 8 40 100 300 500 700; do
        for image in plain-layers two-gzip-members; do
            avail=$(df --output=avail -k "$T/small" | tail -n 1)
            head -c $(((avail - free) * 1024)) /dev/zero >"$T/small/filler"
            if ! { ctr pull -q "$REF/$image" && ctr create --name c "$REF/$image" true; } >"$T/out" 2>&1; then
                clear_error "ctrd, $free KiB free"
            fi
            expect "ctrd answers" stays "$(ctr ps -a --format '{{.Names}}' | grep -v '^c$')"
            rm "$T/small/filler"
            { ctr pull -q "$REF/$image"; ctr ps -a | grep -q ' c$' || ctr create --name c "$REF/$image" true; } >"$T/out" 2>&1 || fail "with space again: $(cat "$T/out")"
            ctr rm c >/dev/null && ctr rmi "$REF/$image" >/dev/null || fail "rm and rmi"
        done
    done
    expect "the daemon lives" "$pid" "$(daemon_pid)"
    ctr rm stays >/dev/null && ctr system stop >/dev/null
    whole "$STORAGE, after all"
done
