# What scenarios against hreg share: a profile, hreg itself, and image-tool with short limits (TOOL_HURRY). Sourced after lib.sh.
need python3
TOOL=$BUILD/tests/bin/image-tool
[ -x "$TOOL" ] || fail "no $TOOL: make test-programs"
export TOOL_HURRY=1 TOOL_QUIET=1

background python3 -B "$ROOT/tests/hostile/hreg" "$T/ports" "$T/log"
for _ in $(seq 100); do [ -f "$T/ports" ] && break; sleep 0.1; done
read -r HOME_PORT AWAY_PORT MIRROR_PORT <"$T/ports" || fail "hreg did not start"
REG=127.0.0.1:$HOME_PORT
MIRROR=127.0.0.1:$MIRROR_PORT
mkdir -p "$T/p"
# profile NAME [EXTRA INI TEXT]
profile() {
    cat >"$T/p/$1.ini" <<INI
[engine]
data = $T/p/data
run = $T/p/run
plugins = $BUILD/tests/plugins:$BUILD/lib/ctr/plugins
platform = linux/amd64
max_image = 64M
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
${2:-}
INI
}
profile p
P=p
(umask 077; printf '{"auths":{"%s":{"auth":"YWxpY2U6czNjcmV0LXB3"}}}' "$REG" >"$T/p/auth.json")

sanitized=$(nm "$TOOL" 2>/dev/null | grep -cE '__(a|t)san_init')

bad=0
complain() { echo "FAILED: $*" >&2; [ -s "$T/out" ] && sed 's/^/    | /' "$T/out" >&2; bad=$((bad + 1)); }
# tool ARGS…: output in $T/out, memory used in $T/rss (KiB); its status is the tool's
tool() {
    timeout -k 5 60 python3 -S -B -c 'import resource, subprocess, sys
status = subprocess.call(sys.argv[2:], stdout=open(sys.argv[1] + "/out", "w"), stderr=subprocess.STDOUT)
open(sys.argv[1] + "/rss", "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)' "$T" "$TOOL" "$T/p/$P.ini" "$@"
}
fresh() { rm -rf "$T/p/data"; : >"$T/log"; }
# What holds after each case: memory, no secret in what was printed, blobs that are what their names say, one error line.
after() {
    local rss f
    read -r rss <"$T/rss" || rss=0
    [ "$sanitized" != 0 ] || [ "$rss" -lt 131072 ] || complain "$1: used $rss KiB of memory"
    grep -q -e s3cret -e YWxpY2U6 "$T/out" && complain "$1: a secret was printed"
    grep -q $'\x1b' "$T/out" && complain "$1: an escape character was printed"
    for f in "$T"/p/data/images/blobs/sha256/*; do
        [ -f "$f" ] && [ "$(sha256sum <"$f" | cut -c1-64)" != "$(basename "$f")" ] && complain "$1: blob $f is wrong"
    done
}
requests() { grep -c "\"path\": \"[^\"]*$1" "$T/log"; }
# sent METHOD PATTERN: how many requests of this method
sent() { grep "\"method\": \"$1\"" "$T/log" | grep -c "\"path\": \"[^\"]*$2"; }
# stays_home WHAT: the login was sent nowhere but to hreg's home, and nothing at all to the other host
stays_home() {
    python3 - "$T/log" <<'PY' || complain "$1: a login left home"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
away = [l for l in lines if l['away'] or l.get('mirror') and (l['authorization'] or '').startswith('Basic')]
back = [l for l in lines if not l['away'] and l['path'].startswith('/v2/m/')]
sys.exit(any(l['authorization'] or l['cookie'] for l in away + back))
PY
}
finish_complaints() { [ $bad = 0 ] || fail "$bad complaints"; echo "all cases as they must be"; }
