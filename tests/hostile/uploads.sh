#!/usr/bin/env bash
# What a hostile or broken registry does to a push, to a list of tags, to the list of referrers, and to a login (CASES.md, rows R).
TMPDIR=$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")
. "$(dirname "$0")/../lib.sh"
. "$ROOT/tests/hostile/hreg.bash"
need curl
profile chunks "[registry.host \"$REG\"]
upload_chunk = 100K"
python3 -B "$ROOT/tests/hostile/mkimg" honest "$T/img"
python3 -B "$ROOT/tests/hostile/mkimg" multi-arch "$T/multi"
tool load "$T/img" || fail "load: $(cat "$T/out")"
DIGEST=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifests"][0]["digest"])' "$T/img/index.json")

# push REPOSITORY [again]: from a store that knows of no other repository that has the blobs
push() {
    if [ -z "${2:-}" ]; then fresh; tool load "$T/img" || fail "load: $(cat "$T/out")"; else : >"$T/log"; fi
    tool tag img:latest "$REG/$1" -- push "$REG/$1"
}
# pushed REPOSITORY: and what arrived is what was sent
pushed() {
    push "$@" || complain "$1: must work"
    after "$1"
    grep -q "Digest: $DIGEST" "$T/out" || complain "$1: another digest"
    stays_home "$1"
    arrived "$1" "$T/img"
}
# arrived REPOSITORY LAYOUT: each of its blobs is at the registry, and right
arrived() {
    local blob
    for blob in "$2"/blobs/sha256/*; do
        blob=${blob##*/}
        [ "$(curl -s "http://$REG/look/$1/sha256:$blob" | sha256sum | cut -c1-64)" = "$blob" ] || complain "$1: $blob did not arrive"
    done
}
refused_push() {
    push "$1"; local status=$?
    [ $status = 1 ] || complain "$1: status $status instead of 1"
    [ "$(grep -c '^error' "$T/out")" = 1 ] || complain "$1: not one error line"
    grep -qE "^error.*$REG/$1.*($2)" "$T/out" || complain "$1: the error is not about \"$2\""
    after "$1"
    stays_home "$1"
}

# --- whole ---
for c in up up-503 up-lost up-basic up-token up-expire up-away up-redirect; do pushed $c/app; done
pushed up/app
pushed up/app again
[ "$(sent POST uploads/)" = 0 ] || complain "up again: something was uploaded twice"
pushed up/other again
[ "$(sent POST 'uploads/?mount=')" -ge 2 ] && [ "$(sent PUT uploads/)" = 1 ] || complain "up/other: layers were not mounted: $(cat "$T/log")"
grep -q 'mount=[^"]*from=up/app' "$T/log" || complain "up/other: not from up/app"
# The token for a push is asked to read where a blob may be mounted from; a token service that takes one scope gets one.
tool tag img:latest "$REG/up/app" -- push "$REG/up/app"
pushed up-token/other again
grep -q 'scope=repository%3Aup-token%2Fother%3Apull%2Cpush&scope=repository%3Aup' "$T/log" || complain "up-token: not both scopes: $(cat "$T/log")"
pushed up-narrow/app
refused_push up-405/app 'takes no pushes'
refused_push up-404/app 'created there first'
refused_push up-denied/app 'may not push'
refused_push up-always-503/app 'answered 503'
refused_push up-other-digest/app 'the registry calls it sha256:0000'
refused_push up-other-manifest/app 'the registry calls it sha256:0000'
refused_push up-no-manifest/app 'refuses manifest .*MANIFEST_INVALID'
refused_push up-away-401/app 'credentials are not sent there'
refused_push up-plain/app 'plain http to registry.invalid is refused'
refused_push up-file/app 'neither https nor http'
refused_push up-metadata/app 'link-local'
refused_push up-no-location/app 'where the upload goes on'
refused_push up-redirect-302/app '302 to a PUT'

# --- in chunks ---
pushed up-413/app
[ "$(sent PATCH uploads/)" -ge 4 ] || complain "up-413: no chunks after a 413"
P=chunks
pushed up/chunked-first
for c in up-chunked up-cut up-half up-forget up-413; do pushed $c/chunked; done
[ "$(sent PATCH uploads/)" -ge 4 ] || complain "chunks: too few"
pushed up-cut/again
[ "$(sent GET uploads/)" -ge 1 ] || complain "up-cut: nobody asked how far it got"
pushed up-min/app
[ "$(sent PATCH uploads/)" = 5 ] || complain "up-min: chunks smaller than the registry's least"
refused_push up-lies/app 'says it has 100000000 bytes'
P=p

# --- what is not whole is not pushed ---
tool load "$T/multi" -- tag multi:latest "$REG/up/multi" -- push "$REG/up/multi" all && complain "multi: its third document has no config"
grep -q 'manifest sha256:[0-9a-f]*: a blob in it has no digest or size' "$T/out" || complain "multi: another error"
tool push "$REG/up/multi" linux/arm64 -- push "$REG/up/multi" || complain "multi: one platform must be pushed"
tool push "$REG/up/nothing" && complain "a name that is not here"
grep -q 'no image of this name here' "$T/out" || complain "nothing: another error"
tool push "$REG/up/app@$DIGEST" && complain "a push to a digest"
grep -q 'needs a tag' "$T/out" || complain "digest: another error"

# --- an interrupt ends a push within a second, and the next one goes on ---
: >"$T/log"
fresh
tool load "$T/img" -- tag img:latest "$REG/up-stall/app"
TOOL_HURRY='' "$TOOL" "$T/p/p.ini" push "$REG/up-stall/app" >"$T/out" 2>&1 &
pid=$!
wait_for 20 grep -q '"method": "PUT"' "$T/log" || complain "up-stall: nothing is uploaded"
before=$(date +%s%N)
kill -INT $pid
wait $pid
took=$((($(date +%s%N) - before) / 1000000))
grep -q 'cancelled' "$T/out" || complain "interrupt: no message"
[ $took -lt 3000 ] || complain "interrupt: took $took ms"
refused_push up-stall/app 'given up after 5 tries'

# --- lists of tags ---
tags() { : >"$T/log"; tool tags "$REG/$1"; }
tags tags-honest || complain "tags"
[ "$(tr -d ' \n' <"$T/out")" = '["v0.0","v0.1","v1.0","v1.1","v2.0","v2.1"]' ] || complain "tags: not all pages"
tags tags-basic || complain "tags-basic"
tags tags-null || complain "tags-null"
for c in loop:'round in circles' away:'another host: refused' endless:'more than 200 pages' many:'more than 100000' huge:'larger than 4096 KiB' \
    escape:'no tag' object:'no list in it' html:JSON none:'no such repository'; do
    tags "tags-${c%%:*}" && complain "tags ${c%%:*}: must fail"
    grep -qE "^error.*tags of.*(${c#*:})" "$T/out" || complain "tags ${c%%:*}: another error"
    grep -q $'\x1b' "$T/out" && complain "tags ${c%%:*}: an escape character was printed"
    stays_home "tags ${c%%:*}"
done

# --- referrers: of the registry's own list, or at the tag; whatever goes wrong there, the pull is good ---
referrers() {
    fresh
    tool pull "$REG/$1" || complain "$1: must pull"
    local digest; digest=$(sed -n 's/^Digest: //p' "$T/out")
    tool referrers "$digest"
}
referrers ref || complain "ref: none recorded"
[ "$(grep -c application/x-signature "$T/out")" = 2 ] || complain "ref: not both pages"
grep -q '"more"' "$T/out" && complain "ref: unknown fields were kept"
referrers ref-tag || complain "ref-tag: none recorded"
for c in m ref-bad ref-many ref-500; do referrers $c && complain "$c: something was recorded"; done

# --- logins: an identity token in exchange is kept, and the password is not ---
rm -f "$T/p/auth.json"
export TOOL_PASSWORD=s3cret-pw
fresh
tool login "$MIRROR" alice || complain "login"
grep -q 'Kept by: file' "$T/out" || complain "login: not kept"
grep -q idtok-1 "$T/p/auth.json" || complain "login: the identity token was not kept: $(cat "$T/p/auth.json")"
grep -qE 's3cret|YWxpY2U6' "$T/p/auth.json" && complain "login: the password was kept although there is an identity token"
[ "$(stat -c %a "$T/p/auth.json")" = 600 ] || complain "login: others can read it"
tool registries "$MIRROR" && grep -q "\"host\": \"$MIRROR\"" "$T/out" || complain "registries: not listed"
grep -qE 'idtok|s3cret' "$T/out" && complain "registries: a secret was printed"
pulled_by_identity() { tool pull "$MIRROR/token-identity" || complain "token-identity: must work after the login"; }
pulled_by_identity
TOOL_PASSWORD=wrong tool login "$MIRROR" alice && complain "login: a wrong password"
grep -q 'refuses this user name or password' "$T/out" || complain "login: another error"
grep -q wrong "$T/out" && complain "login: the password was printed"
tool logout "$MIRROR" || complain "logout"
tool logout "$MIRROR" && complain "logout twice"
fresh
tool login "$REG" alice && grep -q 's3cret\|YWxpY2U6' "$T/p/auth.json" || complain "login: the password was not kept"
for h in 'https://' 'a b' '../x' "$REG/x y" ''; do tool login "$h" alice && complain "login at '$h'"; done
tool login 127.0.0.1:1 alice && complain "login where nothing is"
grep -q 'nothing listens' "$T/out" || complain "login: another error"
finish_complaints
