#!/usr/bin/env bash
# Who comes at once (CASES.md C7): eight pulls of one image, pulls against rmi, prune, save and create, many creates of one name, images that share
# layers. One download, one winner, nothing dangling; and the daemon has no more descriptors and hardly more memory after many cycles.
# CTR_CYCLES is how many of these, CTR_RACES how many rounds of the race.
. "$(dirname "$0")/../lib.sh"
need python3 e2fsck fsck.erofs
export BUILD
start_hreg
REF=$HREG/m
requests() { grep -c "\"path\": \"[^\"]*$1" "$T/hreg.log"; }
allowed='[Nn]o such image|not found|is not here|no such container|[Nn]o such container|is used by|in use|must be forced|being (removed|created)|Conflict|was removed|has lost|not there'

# may LABEL COMMAND…: it may lose, but only so
may() {
    local label=$1 out
    shift
    out=$(ctr "$@" 2>&1 >/dev/null) || grep -qE "$allowed" <<<"$out" || echo "$label: $out" >>"$T/strange"
}
whole() {
    "$ROOT/tests/hostile/check-store" "$T/$STORAGE/data" >"$T/faults" || fail "$STORAGE, $1: $(cat "$T/faults")"
}
fds() { ls "/proc/$1/fd" | wc -l; }

for STORAGE in ext4 erofs; do
    use_profile $STORAGE fake "$(printf '[storage]\nplugin = %s\n[storage.%s]\nsize = 64M\n%s\n[net]\nplugin = none' $STORAGE $STORAGE "$([ $STORAGE = ext4 ] && echo 'journal = 4M')")"
    sed -i "s,^plugins = .*,plugins = $BUILD/tests/plugins:$BUILD/lib/ctr/plugins," "$PROFILE"
    ctr system start >/dev/null || fail "the engine does not start"
    pid=$(daemon_pid)

    : >"$T/hreg.log"
    clients=()
    for i in 1 2 3 4 5 6 7 8; do ctr pull -q "$REF" >"$T/pull$i" 2>&1 & clients+=($!); done
    for p in "${clients[@]}"; do wait "$p" || fail "one of eight pulls failed: $(cat "$T"/pull?)"; done
    expect "blobs fetched by eight pulls of one image" 4 "$(requests blobs/)"

    clients=()
    for i in $(seq 50); do ctr create --name same "$REF" true >"$T/create$i" 2>&1 & clients+=($!); done
    won=0
    for p in "${clients[@]}"; do wait "$p" && won=$((won + 1)); done
    expect "creates of one name that won" 1 "$won"
    expect "losers were told" 49 "$(grep -lE 'Conflict.*already in use' "$T"/create* | wc -l)"
    ctr rm same >/dev/null || fail "rm same"

    # Two images of the same layers, compressed in two ways, and everything that can happen to them.
    : >"$T/strange"
    clients=()
    for round in $(seq "${CTR_RACES:-4}"); do
        for image in honest two-gzip-members; do
            may pull pull -q "$REF/$image" & clients+=($!)
            may create create --pull never --name "c$image$round" "$REF/$image" true & clients+=($!)
            may save save -o "$T/save.$image.$round" "$REF/$image" & clients+=($!)
            may rmi rmi "$REF/$image" & clients+=($!)
        done
        may prune image prune -a -f & clients+=($!)
        may rm rm "chonest$((round - 1))" & clients+=($!)
        may rmi rmi -f "$REF/two-gzip-members" & clients+=($!)
        [ $((round % 2)) = 0 ] && { for p in "${clients[@]}"; do wait "$p"; done; clients=(); }
    done
    for p in "${clients[@]}"; do wait "$p"; done
    [ ! -s "$T/strange" ] || fail "$STORAGE: in the race: $(cat "$T/strange")"
    expect "the daemon lives" "$pid" "$(daemon_pid)"
    whole "after the race"
    for image in honest two-gzip-members; do
        ctr pull -q "$REF/$image" >/dev/null 2>&1 || fail "pull of $image after the race"
        ctr create --name "after-$image" "$REF/$image" true >/dev/null 2>&1 || fail "create of $image after the race"
    done
    whole "after all of it again"
    ctr rm $(ctr ps -aq) >/dev/null && ctr rmi -f "$REF" "$REF/honest" "$REF/two-gzip-members" >/dev/null 2>&1
    ctr image prune -a -f >/dev/null || fail "prune"
    expect "images left" "" "$(ctr images -q)"
    left=$(cd "$T/$STORAGE/data" && find images/blobs/sha256 storage -type f ! -name lock ! -name 'blank-*')
    expect "files left" "" "$left"

    cycles=${CTR_CYCLES:-24}
    for i in $(seq "$cycles"); do
        [ "$i" = $((cycles / 3)) ] && { rss_before=$(rss "$pid"); fds_before=$(fds "$pid"); }
        ctr pull -q "$REF" >/dev/null 2>&1 && ctr create --name x "$REF" true >/dev/null 2>&1 && ctr rm x >/dev/null && ctr rmi "$REF" >/dev/null || fail "cycle $i"
    done
    rss_after=$(rss "$pid") fds_after=$(fds "$pid")
    echo "$STORAGE: $cycles cycles of pull, create, rm, rmi: RSS $rss_before to $rss_after KiB, descriptors $fds_before to $fds_after"
    [ "$fds_after" -le $((fds_before + 1)) ] || fail "descriptors grow"
    case $(nm "$BIN/ctrd" 2>/dev/null | grep -cE '__(a|t)san_init') in
    0) [ $((rss_after - rss_before)) -le 2048 ] || fail "memory grows" ;;
    esac
    ctr system stop >/dev/null || fail "system stop"
    grep -A 30 -E 'WARNING: ThreadSanitizer|ERROR: AddressSanitizer|runtime error' "$T/$STORAGE/data/ctrd.log" && fail "$STORAGE: a sanitizer spoke"
done
true
