#!/usr/bin/env bash
# Documents that contradict themselves or are too much (CASES.md M1, M3-M6, R8), by an engine that lives on: pulled from a registry and loaded from a folder.
TMPDIR=$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")
. "$(dirname "$0")/../lib.sh"
need python3
MKIMG="python3 -B $ROOT/tests/hostile/mkimg"
hostile_start
mkdir -p "$T/own"

# refused CASE PATTERN: pulled and loaded; PULL-ONLY cases are those that a folder cannot say
refused() {
    expect_status 1 ctr pull "$HREG/m/$1"
    one_line_error "$2"
    if [ "${3:-}" != pull-only ]; then
        $MKIMG "$1" "$T/own/$1" || fail "mkimg $1"
        expect_status 1 ctr load -i "$T/own/$1"
        one_line_error "$2"
        rm -rf "$T/own/$1"
    fi
    still_holds "$1"
}
for c in layers-and-manifests says-index fs-layers schema-1 duplicate-keys not-json; do refused $c 'ambiguous|that it says it is|announced|schema|duplicate|JSON'; done
refused other-content-type 'announced|not what its descriptor says'
for c in size-negative size-zero size-huge size-text size-beyond; do refused $c 'size|JSON|integer|large'; done
refused size-more 'bytes'
refused size-less 'bytes'
for c in digest-path digest-upper digest-short digest-md5 digest-sha512 digest-empty digest-slash digest-nul; do refused $c 'digest|sha512|NUL|JSON|zero'; done
refused deep-json 'deep|depth|nest'
refused huge-manifest 'larger than|too large'
refused huge-config 'larger than|too large'
refused many-layers 'layers; at most'
refused million-layers 'larger than' pull-only
refused wide-index 'manifests; at most'
refused nested-index 'nested more than'
refused other-platform 'no linux/' pull-only
refused index-lies-on-platform 'no linux/' pull-only
refused index-lies-on-size 'says|bytes'
# What the honest image left here would not be asked for again.
forget() { ctr rmi -f "$HREG/m" >/dev/null 2>&1; }
for m in endless endless-config endless-manifest huge-error token-huge; do
    forget
    expect_status 1 ctr pull "$HREG/$m"
    one_line_error 'larger than|longer than'
    still_holds $m
done

# A foreign layer's address is never asked, whatever it would answer; the layer is asked of its own registry.
forget
expect_status 1 ctr pull "$HREG/m/foreign-layer"
one_line_error 'has lost blob|foreign'
! grep -q '"away": true' "$T/hreg.log" || fail "a foreign address was asked"
still_holds foreign-layer
# Odd, but right.
for c in repeated-layer multi-arch plain-layers two-gzip-members zstd-layers zero-layers; do
    ctr pull -q "$HREG/m/$c" >/dev/null 2>"$T/err" || fail "$c: $(cat "$T/err")"
    still_holds $c
done
