#!/usr/bin/env bash
# P2, end to end: a secret is where it must be and nowhere else. Over login, pulls, a push, failing pulls, a running container, and logout, no log, state file,
# output, argument or child's environment has it; for a login in a file, in a keyring, and in ctrd's environment.
. "$(dirname "$0")/../lib.sh"
need python3
SECRET=s3cret-pw
background python3 -B "$ROOT/tests/hostile/hreg" "$T/ports" "$T/requests"
wait_for 10 test -s "$T/ports" || fail "hreg did not start"
read -r PORT _ <"$T/ports"
REG=127.0.0.1:$PORT
(umask 022; mkdir "$T/bin"; cp "$ROOT/tests/hostile/credential-helper" "$T/bin/docker-credential-ring")
printf '%s' $SECRET >"$T/password"
: >"$T/output"

# Looks ten times a second at the arguments and environment of ctr's processes and all that they started; the names in MAY may have it in the environment.
cat >"$T/watch.py" <<'PY'
import os, sys, time
secrets, may, seen_file, stop = [x.encode() for x in sys.argv[1].split(',')], sys.argv[2].split(','), sys.argv[3], sys.argv[4]
seen, names = set(), set()


def name_of(pid):
    return os.path.basename(os.readlink(f'/proc/{pid}/exe').removesuffix(' (deleted)'))


def is_ours(pid):
    while pid > 1:
        if name_of(pid).startswith('ctr'):
            return True
        pid = int(open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[1])
    return False


while not os.path.exists(stop):
    for pid in map(int, filter(str.isdigit, os.listdir('/proc'))):
        try:
            if not is_ours(pid):
                continue
            name = name_of(pid)
            names.add(name)
            for what in ('cmdline', 'environ'):
                text = open(f'/proc/{pid}/{what}', 'rb').read()
                if any(s in text for s in secrets) and not (what == 'environ' and name in may):
                    seen.add(f'{name} {what}')
        except OSError:
            pass
    time.sleep(0.1)
open(seen_file, 'w').write('\n'.join(sorted(seen)) + '\n---\n' + ' '.join(sorted(names)))
PY
# watch NAME MAY: until watched
watch() {
    rm -f "$T/stop"
    python3 -B "$T/watch.py" "$SECRET,YWxpY2U6czNjcmV0LXB3,czNjcmV0LXB3" "$2" "$T/seen-$1" "$T/stop" &
    WATCH=$!
    PIDS+=("$WATCH")
}
watched() {
    touch "$T/stop"
    wait "$WATCH"
    expect "$1: processes with the secret in them" "" "$(sed '/^---$/,$d' "$T/seen-$1" | grep .)"
}
# say COMMAND…: its output is kept for the search
say() { "$@" >"$T/out" 2>&1; local status=$?; { echo "\$ $* ($status)"; cat "$T/out"; } >>"$T/output"; return $status; }
# nowhere NAME ALLOWED-FILE…: no file below the test's folder has it, whole or in base64, but those that must
nowhere() {
    local name=$1 found f
    shift
    printf '%s\n' "$T/requests" "$T/password" "$@" >"$T/allowed"
    found=$(grep -rlaE -e "$SECRET|YWxpY2U6czNjcmV0LXB3|czNjcmV0LXB3" "$T" 2>/dev/null | grep -vxFf "$T/allowed")
    [ -z "$found" ] || { for f in $found; do echo "$f:"; grep -aoE ".{0,60}$SECRET|.{0,60}czNjcmV0LXB3" "$f" | head -n 3; done; fail "$name: the secret is in these files"; }
}
# What fails in one way or another with a login at stake.
failing_pulls() {
    local r
    for r in basic-never token-never token-header token-huge token-plain token-file redirect-401/plain-layers redirect-user/plain-layers redirect-file/plain-layers \
        lost-blob/plain-layers redirect-loop/plain-layers nowhere; do
        say ctr pull "$REG/$r" && fail "$r: must fail"
    done
    true
}
# in_profile CHAIN-TEXT: an engine whose registry chain is that, on the fake VMM
in_profile() { use_profile "$1" fake "$2"; }

# --- in a file ---
watch file none
in_profile file "[registry]
chain = file
[registry.file]
path = $T/auth.json"
say ctr login -u alice --password-stdin "$REG" <"$T/password" || fail "login: $(cat "$T/out")"
say ctr login -u alice --password-stdin "$REG" <<<wrong-pw && fail "login with a wrong password"
expect "mode of the file" 600 "$(stat -c %a "$T/auth.json")"
say ctr pull "$REG/basic" || fail "pull: $(cat "$T/out")"
say ctr pull "$REG/token-login" || fail "pull with a token: $(cat "$T/out")"
say ctr registry ls || fail "registry ls: $(cat "$T/out")"
grep -q "$REG" "$T/out" || fail "registry ls does not show the login: $(cat "$T/out")"
say ctr tag "$REG/basic" "$REG/no-push" && say ctr push "$REG/no-push"
failing_pulls
say ctr info; say ctr system df; say ctr plugin ls
nowhere file "$T/auth.json"
say ctr logout "$REG" || fail "logout: $(cat "$T/out")"
say ctr pull "$REG/basic/plain-layers" && fail "pull after logout"
nowhere "file, after logout"
say ctr system stop
watched file

# --- in a keyring: the helper has it, ctr has not ---
watch helper none
in_profile helper "[registry]
chain = helper
[registry.helper]
helper = ring
path = $T/bin:/usr/bin:/bin"
say ctr login -u alice --password-stdin "$REG" <"$T/password" || fail "login by a helper: $(cat "$T/out")"
say ctr pull "$REG/basic" || fail "pull by a helper: $(cat "$T/out")"
failing_pulls
nowhere helper "$T/bin/heard" "$T/bin/ring/$REG"
say ctr logout "$REG" || fail "logout by a helper: $(cat "$T/out")"
say ctr system stop
rm -f "$T/bin/heard"
watched helper

# --- in ctrd's environment: no child has it ---
export T_USER=alice CTR_T_SECRET=$SECRET # a name that begins like ctr's own
watch env ctrctl,ctrd
in_profile env "[registry]
chain = ci
[registry.ci]
plugin = env
host = $REG
user = T_USER
secret = CTR_T_SECRET"
load_demo
say ctr pull "$REG/basic" || fail "pull with a login from the environment: $(cat "$T/out")"
say ctr run -d --name box demo sh -c 'exec sleep 1000' || fail "run: $(cat "$T/out")"
say ctr login -u alice --password-stdin "$REG" <"$T/password" && fail "a login that nothing keeps"
say ctr plugin ls; say ctr plugin show registry-env; say ctr inspect box; say ctr exec box env
grep -q T_SECRET "$T/out" && fail "exec has ctrd's environment"
failing_pulls
for pid in $(sandbox_pid box) $(pgrep -x -P "$(sandbox_pid box)" .) $(pgrep -x ctr-net); do
    [ -r "/proc/$pid/environ" ] || continue
    grep -qa "$SECRET" "/proc/$pid/environ" 2>/dev/null && fail "process $pid ($(cat "/proc/$pid/comm")) has the secret in its environment"
done
tr '\0' '\n' <"/proc/$(daemon_pid)/environ" | grep -q "$SECRET" || fail "ctrd's environment must have it, or this test shows nothing"
sleep 0.3 # the watcher looks once more
nowhere env
say ctr rm -f box; say ctr system stop
watched env
grep -q ctr-sandbox "$T/seen-env" || fail "the watcher saw no sandbox: $(tail -n 1 "$T/seen-env")"
nowhere end
echo "the secret stayed at home"
