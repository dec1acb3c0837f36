#!/bin/bash
# A full disk: the operation fails with one line, nothing half-made stays, running containers live, and with space again all works.
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || skip "mounting a tmpfs needs root"

mkdir "$T/full"
mount -t tmpfs -o size=48m,mode=755 none "$T/full" || skip "no tmpfs can be mounted here"
unmount() { umount -l "$T/full"; }
trap 'status=$?; (exit $status); finish_full' EXIT
finish_full() {
    local status=$?
    "$BIN/ctrctl" --profile "$PROFILE" ps -aq 2>/dev/null | xargs -r "$BIN/ctrctl" --profile "$PROFILE" rm -f >/dev/null 2>&1
    "$BIN/ctrctl" --profile "$PROFILE" system stop --all >/dev/null 2>&1
    unmount
    (exit $status)
    finish
}

use_profile full fake
ctr system start >/dev/null || fail "the engine does not start"
load_demo
ctr run -d --name lives demo sh -c 'while [ ! -e '"$T"'/go ]; do sleep 0.05; done; echo done; exit 3' >/dev/null || fail "run -d"
before=$(ls "$T/full/data/containers" | wc -l)

ctr create --name idle demo true >/dev/null || fail create
before=$((before + 1))

dd if=/dev/zero of="$T/full/filler" bs=4k 2>/dev/null # until nothing is left
for i in 1 2 3; do
    expect_status 125 ctr run --rm demo true
    one_line_error 'o space left|disk is full'
done
expect "ps answers" "idle lives" "$(ctr ps -a --format '{{.Names}}' | sort | xargs)"
expect "folders" "$before" "$(ls "$T/full/data/containers" | wc -l)"
expect "disks" 2 "$(ls "$T/full/data/storage/default/clones" | wc -l)"
ctr rm idle >/dev/null || fail "rm on a full disk"
expect "disks after rm" 1 "$(ls "$T/full/data/storage/default/clones" | wc -l)"

rm "$T/full/filler"
expect "with space again" ok "$(ctr run --rm demo echo ok)"
touch "$T/go"
expect "the one that ran" 3 "$(ctr wait lives)"
expect "its log" done "$(ctr logs lives)"
ctr rm lives >/dev/null || fail rm
exit 0
