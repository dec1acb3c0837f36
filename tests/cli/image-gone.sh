#!/usr/bin/env bash
# A removed image whose snapshot a container's disk stands on: the snapshot stays as long as the container, and goes with it.
. "$(dirname "$0")/../lib.sh"
use_profile gone fake $'[storage]\nplugin = erofs\n[storage.erofs]\nsize = 1G'
load_demo
chains() { ls "$T/gone/data/storage/default/chains"; }
ctr create --name a demo true >/dev/null 2>&1 || fail create
[ -n "$(chains)" ] || fail "no snapshot after create"
expect_match "rmi" 'Deleted' "$(ctr rmi -f demo)"
[ -n "$(chains)" ] || fail "the snapshot went while a container's disk stands on it"
ctr rm a >/dev/null || fail rm
expect "snapshots left" "" "$(chains)"
expect "blobs left" "" "$(ls "$T/gone/data/images/blobs/sha256")"
