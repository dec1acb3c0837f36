# Sourced by tests/cli/ctrctl-*.sh: puts the built ctrctl into a folder of its own, where its daemon is fake-ctrd.py.
# Gives: $T (the folder), ctl (ctrctl, at most 60 s), expect, same, has, asked. `finish` at the end tells the result.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
BUILD=${BUILD:-$root/build}
case $BUILD in /*) ;; *) BUILD=$root/$BUILD ;; esac
command -v python3 >/dev/null || { echo "python3 is missing"; exit 77; }
T=$(mktemp -d "${TMPDIR:-/tmp}/ctrctl.XXXXXX")
failures=0
mkdir -p "$T/bin" "$T/etc/ctr" "$T/run"
cp "$BUILD/bin/ctrctl" "$T/bin/"
cp "$root"/conf/default.ini "$T/etc/ctr/"
printf '#!/bin/sh\nexec python3 "%s/fake-ctrd.py" "$@"\n' "$here" >"$T/bin/ctrd"
chmod +x "$T/bin/ctrd"
export CTR_DATA=$T/data CTR_RUN=$T/run HOME=$T
unset CTR_PROFILE XDG_CONFIG_HOME

fake_stop() {
    local pid
    [ -f "$CTR_RUN/starts" ] || return 0
    while read -r pid; do kill "$pid" 2>/dev/null; done <"$CTR_RUN/starts"
    rm -f "$CTR_RUN/starts" "$CTR_RUN/ctr.sock"
}
trap 'fake_stop; rm -rf "$T"' EXIT

# Under valgrind (tests/run valgrind) each ctrctl is one that must be clean.
ctl() {
    if [ -n "${CTR_VALGRIND:-}" ]; then
        timeout 120 valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite "$T/bin/ctrctl" "$@"
    else
        timeout 60 "$T/bin/ctrctl" "$@"
    fi
}
fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}
# expect STATUS WORDS…: runs ctrctl; its output is then in $T/out and $T/err.
expect() {
    local want=$1 got
    shift
    ctl "$@" >"$T/out" 2>"$T/err"
    got=$?
    [ "$got" = "$want" ] || fail "ctrctl $*: exit $got instead of $want: $(head -c 600 "$T/err")"
}
# same FILE TEXT: the file's content is the text (and a newline).
same() {
    [ "$(cat "$T/$1")" = "$2" ] || fail "$1 is '$(head -c 600 "$T/$1")' instead of '$2'"
}
has() {
    grep -qF -- "$2" "$T/$1" || fail "$1 lacks '$2': $(head -c 600 "$T/$1")"
}
lacks() {
    ! grep -qF -- "$2" "$T/$1" || fail "$1 has '$2'"
}
# asked PYTHON-EXPRESSION: true for one of the requests r (r["path"], r["query"], r["body"]) since the last `forget`.
forget() { : >"$CTR_RUN/ctr.sock.log"; }
asked() {
    python3 - "$CTR_RUN/ctr.sock.log" "$1" <<'PY' || fail "no request with $1"
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
sys.exit(0 if any(eval(sys.argv[2], {"r": r, "b": r["body"] or {}, "h": (r["body"] or {}).get("HostConfig", {})}) for r in rows) else 1)
PY
}
finish() {
    [ "$failures" = 0 ] || { echo "$failures failures"; exit 1; }
    echo ok
}
