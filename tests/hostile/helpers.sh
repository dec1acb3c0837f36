#!/usr/bin/env bash
# What hostile or broken credential helpers do (CASES.md, R10), end to end: a login that the registry wants is for one origin alone, and each misbehaviour is
# one error line that tells no secret.
. "$(dirname "$0")/../lib.sh"
need python3
TOOL=$BUILD/tests/bin/image-tool
export TOOL_HURRY=1 TOOL_QUIET=1
mkdir -p "$T/p"
(umask 022; mkdir "$T/bin")
background python3 -B "$ROOT/tests/hostile/hreg" "$T/ports" "$T/log"
wait_for 10 test -s "$T/ports" || fail "hreg did not start"
read -r PORT _ <"$T/ports"
REG=127.0.0.1:$PORT
for name in ring liar huge hang trailing none crash; do
    (umask 022; cp "$ROOT/tests/hostile/credential-helper" "$T/bin/docker-credential-$name")
done
# use_helper DOCKER-CONFIG [OPTION LINES…]
use_helper() {
    printf '%s\n' "$1" >"$T/p/config.json"
    shift
    {
        printf '[engine]\ndata = %s\nrun = %s\nplugins = %s\nplatform = linux/amd64\n' "$T/p/data" "$T/p/run" "$BUILD/tests/plugins:$BUILD/lib/ctr/plugins"
        printf '[vmm]\nplugin = qemu\n[net]\nplugin = none\n[storage]\nplugin = mem\n[registry]\nchain = helper, file\n'
        printf '[registry.file]\npath = %s\n[registry.helper]\npath = %s:/usr/bin:/bin\nconfig = %s\n' "$T/p/auth.json" "$T/bin" "$T/p/config.json"
        printf '%s\n' "$@"
    } >"$T/p/p.ini"
    rm -rf "$T/p/data" "$T/bin/heard"
    : >"$T/bin/heard"
}
tool() { timeout -k 5 60 "$TOOL" "$T/p/p.ini" "$@" >"$T/out" 2>&1; }
no_secret() {
    grep -rq -e s3cret -e YWxpY2U6 "$T/out" "$T/p/data" 2>/dev/null && fail "$1: a secret was printed or kept: $(cat "$T/out")"
    [ "$(grep -c '^error' "$T/out")" -le 1 ] || fail "$1: more than one error line"
}
# refused HELPER PATTERN [OPTION LINES…]
refused() {
    local helper=$1 pattern=$2
    shift 2
    use_helper "{\"credsStore\": \"$helper\"}" "$@"
    tool pull "$REG/basic" && fail "$helper: a pull without a login"
    grep -qE "^error.*$REG/basic.*$pattern" "$T/out" || fail "$helper: the error is not about \"$pattern\": $(cat "$T/out")"
    no_secret "$helper"
}
heard() { python3 -c 'import json, sys
for line in open(sys.argv[1]):
    print(json.loads(line)[sys.argv[2]])' "$T/bin/heard" "$1"; }

# --- a good one: login, pull, list, logout ---
use_helper '{"credsStore": "ring"}'
TOOL_PASSWORD=wrong tool login "$REG" alice && fail "a login with a wrong password"
[ -s "$T/bin/heard" ] && grep -q store "$T/bin/heard" && fail "a wrong password was stored"
TOOL_PASSWORD=s3cret-pw tool login "$REG" alice || fail "login: $(cat "$T/out")"
no_secret login
[ -e "$T/p/auth.json" ] && fail "the login went to the file, too"
tool pull "$REG/basic" -- registries "$REG" || fail "pull: $(cat "$T/out")"
grep -q helper "$T/out" || fail "registries: $(cat "$T/out")"
no_secret pull
expect "servers that the helper was told" "$REG" "$(heard input | grep -v Secret | grep . | sort -u)"
expect "what the helper gets as arguments" "['get'] ['list'] ['store']" "$(heard argv | sort -u | xargs -d '\n')"
heard environment | grep -q TOOL_PASSWORD && fail "the helper got our environment"
tool logout "$REG" || fail "logout: $(cat "$T/out")"
tool logout "$REG" && fail "a second logout"
tool pull "$REG/basic" && fail "pull after logout"

# --- an entry is for one origin: nobody is asked about another ---
use_helper '{"credHelpers": {"127.0.0.1": "ring", "0.0.1:'"$PORT"'": "ring", "'"$REG"'0": "ring", "x.'"$REG"'": "ring", "'"$REG"'/path": "ring", "gcr.io": "ring"}}'
tool pull "$REG/basic" && fail "pull with another origin's login"
for host in eu.gcr.io gcr.io.evil gcr.io:444; do tool registries $host || fail "registries $host: $(cat "$T/out")"; done
[ -s "$T/bin/heard" ] && grep -q '"get"' "$T/bin/heard" && fail "a helper was asked about another origin: $(cat "$T/bin/heard")"
use_helper '{"credHelpers": {"'"$REG"'": "ring"}, "credsStore": "liar"}'
TOOL_PASSWORD=s3cret-pw tool login "$REG" alice || fail "login by credHelpers: $(cat "$T/out")"
tool pull "$REG/basic" || fail "pull by credHelpers: $(cat "$T/out")"
expect "helpers that were asked" ring "$(heard helper | sort -u)"

# --- bad ones ---
refused liar 'was asked for .* and answers for "evil.example"'
refused trailing 'not a JSON object'
refused crash 'get. ended with status 139'
refused huge 'printed more than 1048576 bytes'
refused none 'wants a login'
refused absent 'docker-credential-absent is in none of'
for name in ../x ../../bin/true /bin/true 'ring;id' -ring '' ; do
    [ -n "$name" ] || continue
    refused "$name" 'names the helper .* a name is like'
done
[ -s "$T/bin/heard" ] && fail "something was run for a bad name"
refused hang 'not done within 1000 ms' 'timeout = 1'
read -r one two <"$T/bin/hanging"
for pid in $one $two; do
    wait_for 5 eval "! kill -0 $pid" || fail "the helper that hung was not killed (pid $pid)"
done

# A program that others could change is not run.
chmod 777 "$T/bin"
refused ring 'others than root and you can write it'
chmod 755 "$T/bin"
chmod 775 "$T/bin/docker-credential-ring"
refused ring 'others than root and you can write it'
chmod 755 "$T/bin/docker-credential-ring"

# An interrupt ends the wait for a helper.
use_helper '{"credsStore": "hang"}' 'timeout = 20'
rm -f "$T/bin/hanging"
"$TOOL" "$T/p/p.ini" pull "$REG/basic" >"$T/out" 2>&1 &
pid=$!
wait_for 10 test -s "$T/bin/hanging" || fail "the helper was not asked"
before=$(date +%s%N)
kill -INT $pid
wait $pid
took=$((($(date +%s%N) - before) / 1000000))
grep -q cancelled "$T/out" || fail "interrupt: $(cat "$T/out")"
[ $took -lt 3000 ] || fail "interrupt took $took ms"
read -r one two <"$T/bin/hanging"
kill "$one" "$two" 2>/dev/null
echo "all helpers as they must be"
