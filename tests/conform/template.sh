#!/usr/bin/env bash
# A stranger's afternoon: the SDK installed into a scratch prefix, the template copied out, built and checked with nothing else of the tree.
. "$(dirname "$0")/../lib.sh"
nm "$BUILD/lib/libctr-layer.a" 2>/dev/null | grep -q __asan && skip "the SDK here is built with sanitizers, a stranger's is not"
make -s -C "$ROOT" BUILD="$BUILD" install DESTDIR= PREFIX="$T/prefix" >"$T/log" 2>&1 || fail "make install: $(tail -n 3 "$T/log")"
cp -r "$T/prefix/share/ctr/template" "$T/mine" || fail "the SDK holds no template"
export PKG_CONFIG_PATH=$T/prefix/lib/pkgconfig
make -s -C "$T/mine" CFLAGS="-O1 -g -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers" >"$T/log" 2>&1 || fail "build: $(cat "$T/log")"
make -s -C "$T/mine" check >"$T/log" 2>&1 || fail "check: $(grep -v '^ok' "$T/log")"
lines=$(grep -c . "$T/mine/mini.c")
[ "$lines" -lt 150 ] || fail "the template has $lines lines; it should be under 150"
nm -D --undefined-only "$T/mine/storage-mini.so" | grep ' ctr_' && fail "it wants something of the core"
tail -n 1 "$T/log"
