#!/usr/bin/env bash
# What a hostile or broken registry does to a pull (CASES.md, rows R and M, L4): each case is one line of what must come out of it.
# Uses image-tool, the image room on a command line, against hreg. The limits are short ones (TOOL_HURRY).
TMPDIR=$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")
. "$(dirname "$0")/../lib.sh"
. "$ROOT/tests/hostile/hreg.bash"

# refused REPOSITORY REGEX: a pull fails with one line that fits, and records nothing
refused() {
    fresh
    tool pull "$REG/$1"; local status=$?
    [ $status = 1 ] || complain "$1: status $status instead of 1"
    [ "$(grep -c '^error' "$T/out")" = 1 ] || complain "$1: not one error line"
    grep -qE "^error.*$REG/$1.*($2)" "$T/out" || complain "$1: the error is not about \"$2\""
    after "$1"
    grep -q ref.name "$T/p/data/images/index.json" 2>/dev/null && complain "$1: it was recorded"
}
# pulled REPOSITORY: a pull and an unpack work
pulled() {
    fresh
    tool pull "$REG/$1" -- unpack "$REG/$1" || complain "$1: must work"
    after "$1"
}

# --- good ones, also after misbehaviour that goes away ---
for c in m m/plain-layers m/zero-layers m/multi-arch m/two-gzip-members cut-once cut-no-range retry-1 retry-date retry-negative \
    retry-huge retry-garbage token token-login token-twice token-post token-issued token-scope token-short basic redirect-relative; do
    pulled $c
done
pulled cut-once/honest
[ "$(grep -c '"range": "bytes=' "$T/log")" -ge 1 ] || complain "cut-once: nothing was resumed"
pulled token-short
[ "$(requests token/)" -ge 2 ] || complain "token-short: no token was renewed"
pulled token-scope
grep -q 'scope=repository%3Amore%3Apull' "$T/log" || complain "token-scope: the scope that the registry named was not asked for"
pulled token-twice
[ "$(requests token/)" -ge 2 ] || complain "token-twice: no new token was asked for"

# --- bodies ---
refused flip 'hash to'
# Each of its two layers is wrong once, and a pull ends at the first that is.
tool pull "$REG/flip" || # The first wrong layer stops a pull before it has asked for all: each next pull meets fewer first times.
for _ in 1 2 3 4; do tool pull "$REG/flip" && break; done || complain "flip: the next pull must fetch anew"
[ -d "$T/p/data/images/blobs" ] && tool resolve "$REG/flip" || complain "flip: the next pull must fetch anew"
refused flip-always 'hash to'
refused flip-manifest 'hash to|announced'
refused cut-always 'given up after 5 tries|ended after'
[ "$(requests blobs/)" -le 16 ] || complain "cut-always: more than 5 tries of a layer"
refused wrong-range 'another range|given up'
refused no-length 'ended after'
refused endless 'longer than'
refused endless-config 'longer than|larger than'
refused endless-manifest 'larger than'
refused stall 'given up after 5 tries'
refused drip 'given up after 5 tries|too slow|ended after'
refused lost-blob 'has lost blob'
refused huge-error 'larger than 1024 KiB'
refused always-500 'answered 500 UNKNOWN'
[ "$(requests manifests/)" = 5 ] || complain "always-500: $(requests manifests/) tries instead of 5"
refused always-429 'rate of requests.*0 of 100 requests left.*wait 77 seconds'
refused nowhere 'no such repository or tag \(404 NAME_UNKNOWN\)'
refused m:none 'no such repository or tag \(404 MANIFEST_UNKNOWN\)'

# --- logins ---
refused token-never 'access denied'
[ "$(requests token/)" = 1 ] || complain "token-never: asked for $(requests token/) tokens"
refused basic-never 'access denied'
[ "$(requests manifests/)" = 2 ] || complain "basic-never: $(requests manifests/) requests instead of 2"
refused token-huge 'larger than 1024 KiB'
refused token-header 'no token in it'
refused token-plain 'plain http'
refused token-file 'neither https nor http'
fresh
printf '{"auths":{}}' >"$T/p/auth.json"
refused basic "wants a login"
refused token-login 'refused the credentials|access denied'
printf '{"auths":{"%s":{"auth":"AA==","identitytoken":"idtok-1"}}}' "$REG" >"$T/p/auth.json"
pulled token-identity
grep -q '"grant_type": \["refresh_token"\]' "$T/log" || complain "token-identity: the identity token was not exchanged"
refused basic 'wants a login'
printf '{"auths":{"%s":{"auth":"AA==","identitytoken":"idtok-2"}}}' "$REG" >"$T/p/auth.json"
refused token-identity 'refused the credentials'
printf '{"auths":{"%s":{"auth":"YWxpY2U6czNjcmV0LXB3"},"127.0.0.2:%s":{"auth":"Ym9iOmI="}}}' "$REG" "$AWAY_PORT" >"$T/p/auth.json"

# --- redirects: the login stays at home ---
for c in redirect-away redirect-port redirect-back; do pulled $c; stays_home $c; done
refused redirect-401 'credentials are not sent there'; stays_home redirect-401
refused redirect-file 'neither https nor http'
refused redirect-metadata '169.254.169.254 is a link-local address: refused'
refused redirect-metadata-https 'link-local'
refused redirect-mapped 'link-local'
refused redirect-plain 'plain http to registry.invalid is refused'
refused redirect-user 'user name or password'
refused redirect-loop 'more than 10 times'
[ "$(requests manifests/)" -le 2 ] || complain "redirect-loop: too many requests"

# --- up to date: one request ---
pulled m/honest
: >"$T/log"
tool pull "$REG/m/honest" || complain "m: must pull twice"
[ "$(wc -l <"$T/log")" = 1 ] && [ "$(sent HEAD manifests/latest)" = 1 ] || complain "up to date: more than one HEAD: $(cat "$T/log")"

# --- mirrors: asked first, trusted with nothing ---
# mirrored ORDER REPOSITORY: a pull by way of a mirror that behaves so
mirrored() {
    profile mirror "[registry.host \"$REG\"]
mirrors = $MIRROR/$1"
    fresh
    P=mirror
    tool pull "$REG/$2" -- unpack "$REG/$2" || complain "mirror $1: must work"
    after "mirror $1"
    P=p
    stays_home "mirror $1"
}
from_home() { grep '"mirror": false' "$T/log" | grep -c "\"path\": \"/v2/[^\"]*$1"; }
mirrored m m/honest
[ "$(from_home .)" -le 4 ] && [ "$(from_home blobs/)" = 0 ] || complain "mirror m: the registry was asked for what the mirror has"
for c in flip-always flip-manifest cut-always always-500 always-429 lost-blob basic-never token-never wrong-range endless huge-error nowhere \
    endless-manifest redirect-file; do
    mirrored $c m/honest
done
mirrored basic basic/honest # the registry's login is not the mirror's
profile mirror "[registry.host \"$REG\"]
mirrors = 127.0.0.1:1, http://registry.invalid https://127.0.0.1:$AWAY_PORT $MIRROR/m"
fresh
P=mirror
tool pull "$REG/m/honest" || complain "mirrors: the one that works must be found"
[ "$(from_home blobs/)" = 0 ] || complain "mirrors: the registry was asked for blobs"
P=p

# --- documents ---
for c in layers-and-manifests:ambiguous says-index:announced other-content-type:announced fs-layers:ambiguous schema-1:schema.1 \
    duplicate-keys:duplicate not-json:JSON deep-json:'deep|depth|nest' artifact:'not a container image' encrypted-layer:'no layer' \
    size-negative:size size-zero:size size-more:'bytes instead of' size-less:'bytes instead of' size-huge:size size-text:size \
    size-beyond:'size|JSON|integer|large' digest-path:digest digest-upper:digest digest-short:digest digest-md5:digest digest-sha512:digest \
    digest-empty:digest digest-slash:digest digest-nul:'digest|NUL|JSON|zero' many-layers:'layers; at most' \
    wide-index:'manifests; at most' nested-index:'nested more than' other-platform:'no linux/amd64' \
    index-lies-on-platform:'no linux/amd64' index-lies-on-size:'the index says' foreign-layer:'is a foreign one' \
    wrong-diff-id:'the image config says' too-few-diff-ids:'2 diff_ids for 3 layers' config-is-list:'no JSON object' \
    env-is-number:'no list of texts' gzip-cut:'ends too early' gzip-crc:'gzip data is broken' gzip-tail:'not gzip|behind its end' \
    gzip-is-tar:'not gzip' gzip-is-zlib:'not gzip'; do
    refused "m/${c%%:*}" "${c#*:}"
done
[ -e /tmp/evil ] && complain "digest-path: a file was written outside"
# A tar that is cut is for the storage plugin to refuse; nothing half-made stays.
fresh
tool pull "$REG/m/tar-cut" -- unpack "$REG/m/tar-cut" && complain "tar-cut: must not unpack"
after tar-cut
ls "$T"/p/data/storage/default/ 2>/dev/null | grep -q . && complain "tar-cut: half a snapshot is left"

# --- the same as layouts ---
for c in wrong-diff-id layers-and-manifests digest-path artifact gzip-crc size-more; do
    fresh
    python3 -B "$ROOT/tests/hostile/mkimg" $c "$T/layout-$c"
    tool load "$T/layout-$c" && complain "load $c: must be refused"
    grep -q '^error.*load' "$T/out" || complain "load $c: no error line"
    after "load $c"
    ls "$T"/p/data/images/blobs/sha256 | grep -q . && complain "load $c: blobs are left"
done
fresh
python3 -B "$ROOT/tests/hostile/mkimg" multi-arch "$T/layout-good"
tool load "$T/layout-good" -- resolve layout-good linux/arm64 -- resolve layout-good -- unpack layout-good || complain "load multi-arch: must work"

# --- at once: one download for eight pulls; pulls, unpacks and removals at the same time leave nothing half ---
fresh
tool pulls "$REG/m" 8 -- unpack "$REG/m" || complain "8 pulls at once: must work"
after "8 pulls"
[ "$(requests blobs/)" = 4 ] || complain "8 pulls at once: $(requests blobs/) blob requests instead of 4"
fresh
tool churn "$REG/m" 6 || complain "churn: must work"
after churn
tool pull "$REG/m" -- unpack "$REG/m" -- rmi "$REG/m" || complain "after churn: must work"
ls "$T"/p/data/images/blobs/sha256 "$T"/p/data/storage/default | grep -qE 'chain|key|^[0-9a-f]{64}' && complain "churn: something is left"

# --- a kill at any time leaves whole blobs, and the next pull succeeds ---
fresh
for delay in 0.02 0.04 0.06 0.08 0.1 0.15; do
    "$TOOL" "$T/p/p.ini" pull "$REG/m" >/dev/null 2>&1 &
    pid=$!
    sleep $delay
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    tool images || complain "kill after $delay: the store does not open"
    after "kill after $delay"
    rm -f "$T"/p/data/state.db*
done
tool pull "$REG/m" -- unpack "$REG/m" || complain "a pull after kills must work"

# --- an interrupt ends a pull within a second, and the next one goes on ---
fresh
TOOL_HURRY='' "$TOOL" "$T/p/p.ini" pull "$REG/drip" >"$T/out" 2>&1 &
pid=$!
for _ in $(seq 100); do [ "$(requests blobs/)" -ge 2 ] && break; sleep 0.1; done
before=$(date +%s%N)
kill -INT $pid
wait $pid
took=$((($(date +%s%N) - before) / 1000000))
grep -q 'cancelled' "$T/out" || complain "interrupt: no message"
# The promise is a second; a loaded machine gets some more.
[ $took -lt 3000 ] || complain "interrupt: took $took ms"
tool pull "$REG/m" || complain "a pull after an interrupt must work"

finish_complaints
