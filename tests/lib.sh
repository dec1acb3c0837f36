# What shell tests share. Source it: . "$(dirname "$0")/../lib.sh"
#
# A test gets a scratch folder $T (removed at the end), and by `use_profile` an engine of its own in it. `ctr …` is ctrctl with that profile.
# Everything that was started is ended: containers, the daemon, ctr-net, by the pids that they told.

set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$ROOT/build}
BIN=$BUILD/bin
T=$(mktemp -d "${TMPDIR:-/tmp}/ctr-test.XXXXXX")
chmod 755 "$T"
PROFILES=()
PIDS=()

fail() { echo "FAILED: $*" >&2; exit 1; }
skip() { echo "$*"; exit 77; }
need() { for c in "$@"; do command -v "$c" >/dev/null || skip "$c is not installed (tools/install-deps test)"; done; }

# passt_works: it confines itself in a user namespace, which some hosts and every chroot refuse
passt_works() { command -v passt >/dev/null && unshare -U true 2>/dev/null; }

# background COMMAND…: starts it; ended with the test
background() { "$@" & PIDS+=($!); }

finish() {
    local status=$? p
    for p in "${PROFILES[@]:-}"; do
        [ -n "$p" ] || continue
        "$BIN/ctrctl" --profile "$p" ps -aq 2>/dev/null | xargs -r "$BIN/ctrctl" --profile "$p" rm -f >/dev/null 2>&1
        "$BIN/ctrctl" --profile "$p" system stop >/dev/null 2>&1
    done
    # ctr-net outlives the daemon by design: ask each to stop.
    for s in "$T"/*/run/n/*.sock; do
        [ -S "$s" ] && echo '{"op":"stop"}' | timeout 5 socat - "UNIX-CONNECT:$s" >/dev/null 2>&1
    done
    for p in "${PIDS[@]:-}"; do [ -n "$p" ] && kill "$p" 2>/dev/null; done
    wait 2>/dev/null
    if [ $status -ne 0 ] && [ $status -ne 77 ]; then
        for p in "$T"/*/data/ctrd.log; do [ -f "$p" ] && { echo "--- $p"; tail -n 20 "$p"; }; done
    fi
    rm -rf "$T"
    exit $status
}
trap finish EXIT

# use_profile NAME [fake|qemu] [EXTRA INI TEXT]: writes $T/NAME/NAME.ini and makes `ctr` use it
use_profile() {
    local name=$1 vmm=${2:-qemu} extra=${3:-}
    local dir=$T/$name
    mkdir -p "$dir"
    {
        printf '[engine]\ndata = %s\nrun = %s\n' "$dir/data" "$dir/run"
        if [ "$vmm" = fake ]; then
            printf 'plugins = %s\n' "$BUILD/tests/plugins"
            # The fake machine runs processes on the host; nothing is booted.
            printf 'kernel = /dev/null\ninitramfs = /dev/null\n'
        fi
        printf '[vmm]\nplugin = %s\n' "$vmm"
        [ "$vmm" = fake ] && printf '[vmm.fake]\ninit = %s\n' "$BUILD/tests/bin/ctr-init-fake"
        printf '%s\n' "$extra"
        grep -q '^\[storage\]' <<<"$extra" || printf '[storage]\nplugin = erofs\n[storage.erofs]\nsize = 1G\n'
        grep -q '^\[net\]' <<<"$extra" || printf '[net]\nplugin = switch\n'
        grep -q '^\[registry\]' <<<"$extra" || printf '[registry]\nchain = file\n'
    } >"$dir/$name.ini"
    PROFILE=$dir/$name.ini
    PROFILES+=("$PROFILE")
}
# With CTR_VALGRIND each ctrctl, and by it the whole engine (ctrd, ctr-sandbox, ctr-net), runs under valgrind, whose words are in $T/valgrind.PID.
ctr() {
    if [ -n "${CTR_VALGRIND:-}" ]; then
        valgrind -q --vgdb=no --trace-children=yes --trace-children-skip='*/ctr-init-fake' --log-file="$T/valgrind.%p" --leak-check=full \
            --errors-for-leak-kinds=definite --show-leak-kinds=definite "$BIN/ctrctl" --profile "$PROFILE" "$@"
    else
        "$BIN/ctrctl" --profile "$PROFILE" "$@"
    fi
}
# valgrind_clean: nothing was found; lines of --PID-- are about valgrind itself (it does not know pidfd_open)
valgrind_clean() {
    [ -n "${CTR_VALGRIND:-}" ] || return 0
    local log
    for log in "$T"/valgrind.*; do
        if grep -vE '^--[0-9]+--|^==[0-9]+== +(at|by) 0x|^==[0-9]+== *$' "$log" | grep -q .; then
            fail "$log: $(head -n 40 "$log")"
        fi
    done
}

daemon_pid() { ctr system status | awk '/^Pid:/ {print $2}'; }
# sandbox_pid CONTAINER
sandbox_pid() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["pid"])' "$(dirname "$PROFILE")/data/containers/$(ctr inspect --format '{{.Id}}' "$1")/state.json"; }
rss() { awk '/VmRSS/ {print $2}' "/proc/$1/status"; }

# expect WHAT WANTED GOT
expect() { [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"; }
# expect_match WHAT PATTERN TEXT
expect_match() { [[ $3 =~ $2 ]] || fail "$1: wanted a match of '$2', got '$3'"; }
# expect_status WANTED COMMAND…: runs it, output in $T/out and $T/err
expect_status() {
    local wanted=$1 status
    shift
    "$@" >"$T/out" 2>"$T/err"
    status=$?
    [ $status = "$wanted" ] || fail "'$*' ended with $status instead of $wanted: $(head -c 600 "$T/out") $(head -c 600 "$T/err")"
}
# one_line_error PATTERN: the last command ended with one error line on stderr (a pull's progress may stand before it), and it matches
one_line_error() {
    [ "$(grep -cE '^ctrctl: ' <(grep -vE 'is not here yet, pulling|^ctrctl: warning:' "$T/err"))" = 1 ] || fail "not one error line: $(cat "$T/err")"
    expect_match "error text" "$1" "$(tail -n 1 "$T/err")"
}

# wait_for SECONDS COMMAND…: until it succeeds; for things of other programs that announce nothing
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

host_arch() { case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; esac; }
need_vm() {
    local arch=${1:-$(host_arch)} q
    [ $arch = amd64 ] && q=qemu-system-x86_64 || q=qemu-system-aarch64
    need $q
    [ -f "$BUILD/share/ctr/guest/$arch/vmlinux" ] || skip "no $arch kernel (make kernel-fetch GUEST_ARCHES=$arch)"
    [ -f "$BUILD/share/ctr/guest/$arch/initramfs" ] || skip "no $arch initramfs"
}
load_demo() {
    [ -f "$BUILD/demo/index.json" ] || "$ROOT/tools/demo-image" "$BUILD/demo" demo:latest || fail "no demo image"
    ctr load -i "$BUILD/demo" >/dev/null || fail "load of the demo image"
}

# tool_profile NAME [EXTRA INI]: $T/NAME.ini for image-tool, with a data root of its own and the logins of $T/auth.json
tool_profile() {
    cat >"$T/$1.ini" <<INI
[engine]
data = $T/$1
run = $T/run
plugins = $BUILD/tests/plugins:$BUILD/lib/ctr/plugins
platform = linux/amd64
[vmm]
plugin = qemu
[net]
plugin = none
[storage]
plugin = mem
[registry]
chain = file
[registry.file]
path = $T/auth.json
${2:-}
INI
}

# start_registry [CONFIG LINES…]: docker-registry on a free loopback port; sets REGISTRY
start_registry() {
    need docker-registry curl
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    mkdir -p "$T/registry-$port"
    {
        printf 'version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: %s\nhttp:\n  addr: 127.0.0.1:%s\n' "$T/registry-$port" "$port"
        printf '%s\n' "$@"
    } >"$T/registry-$port.yml"
    background docker-registry serve "$T/registry-$port.yml" >"$T/registry-$port.log" 2>&1
    REGISTRY=127.0.0.1:$port
    wait_for 20 curl -so /dev/null "http://$REGISTRY/v2/" || fail "docker-registry did not start: $(cat "$T/registry-$port.log")"
}

# start_hreg: the registry that misbehaves on order; sets HREG. Its requests are lines in $T/hreg.log
start_hreg() {
    need python3
    background python3 -B "$ROOT/tests/hostile/hreg" "$T/hreg.ports" "$T/hreg.log"
    wait_for 20 test -f "$T/hreg.ports" || fail "hreg did not start"
    HREG=127.0.0.1:$(cut -d' ' -f1 "$T/hreg.ports")
}

# layout_from_root ROOTFS LAYOUT TAG ARCH: an OCI layout with one layer, by umoci
layout_from_root() {
    need umoci
    umoci init --layout "$2" && umoci new --image "$2:$3" || fail "umoci"
    umoci config --image "$2:$3" --architecture "$4" --os linux --config.cmd /bin/sh --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin || fail "umoci config"
    umoci insert --image "$2:$3" "$1" / >/dev/null || fail "umoci insert"
}

# --- what holds after every hostile case (CASES.md) ---

# hostile_start: an engine on the fake VMM with a login for hreg, whose secret must never show; what stands around it is noted
hostile_start() {
    start_hreg
    (umask 077; printf '{"auths":{"%s":{"auth":"YWxpY2U6czNjcmV0LXB3"}}}' "$HREG" >"$T/auth.json")
    use_profile hostile fake "$(printf '[storage]\nplugin = ext4\n[storage.ext4]\nsize = 1G\n[registry]\nchain = file\n[registry.file]\npath = %s\n' "$T/auth.json")"
    ctr ps >/dev/null || fail "the engine does not start"
    touch "$T/stamp"
}
# outsiders: what changed since hostile_start that is not the engine's or the test's own
outsiders() {
    find "$T" -newer "$T/stamp" ! -type d ! -path "$T/hostile/*" ! -path "$T/own/*" ! -name out ! -name err ! -name 'hreg.*'
    find /etc /usr/local -xdev -newer "$T/stamp" -type f 2>/dev/null
    find /tmp /var/tmp -maxdepth 1 -name 'evil*' -newer "$T/stamp"
}
# still_holds CASE: the daemon answers; it is not large; nothing outside the data root changed; no secret shows; an honest pull and run follows
still_holds() {
    local pid
    timeout 10 "$BIN/ctrctl" --profile "$PROFILE" ps >/dev/null || fail "$1: the daemon does not answer"
    pid=$(daemon_pid)
    [ "$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status")" -lt 262144 ] || fail "$1: ctrd used $(awk '/^VmHWM/ {print $2}' "/proc/$pid/status") KiB of memory"
    [ -z "$(outsiders)" ] || fail "$1: changed outside the data root: $(outsiders)"
    ! grep -srlE 's3cret|YWxpY2U6|czNjcmV0' "$T/hostile" "$T/out" "$T/err" || fail "$1: a secret was written there"
    ctr rmi -f "$HREG/m" >/dev/null 2>&1
    ctr pull -q "$HREG/m" >/dev/null 2>"$T/hostile/after" || fail "$1: an honest pull afterwards: $(cat "$T/hostile/after")"
    expect "$1: an honest run afterwards" alive "$(ctr run --rm "$HREG/m" echo alive 2>"$T/hostile/after")"
}
