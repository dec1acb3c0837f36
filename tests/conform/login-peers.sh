#!/usr/bin/env bash
# A login is where skopeo, and with it podman, looks for it, and theirs is found here: registry-file over one auth file, registry-helper over one helper.
. "$(dirname "$0")/../lib.sh"
need python3 skopeo
TOOL=$BUILD/tests/bin/image-tool
background python3 -B "$ROOT/tests/hostile/hreg" "$T/ports" "$T/requests"
wait_for 10 test -s "$T/ports" || fail "hreg did not start"
read -r PORT _ <"$T/ports"
REG=127.0.0.1:$PORT
(umask 022; mkdir "$T/bin"; cp "$ROOT/tests/hostile/credential-helper" "$T/bin/docker-credential-ring")
{
    printf '[engine]\ndata = %s\nrun = %s\nplugins = %s\nplatform = linux/amd64\n' "$T/data" "$T/run" "$BUILD/tests/plugins:$BUILD/lib/ctr/plugins"
    printf '[vmm]\nplugin = qemu\n[net]\nplugin = none\n[storage]\nplugin = mem\n[registry]\nchain = helper, file\n'
    printf '[registry.file]\npath = %s\n[registry.helper]\nconfig = %s\npath = %s\n' "$T/auth.json" "$T/auth.json" "$T/bin:/usr/bin:/bin"
} >"$T/p.ini"
tool() { TOOL_QUIET=1 timeout 60 "$TOOL" "$T/p.ini" "$@" >"$T/out" 2>&1; }
peer() { PATH=$T/bin:$PATH timeout 60 skopeo "$@" >"$T/out" 2>&1; }

round() { # WHERE: both log in, use the other's login, and log out the other's
    TOOL_PASSWORD=s3cret-pw tool login "$REG" alice || fail "$1: login: $(cat "$T/out")"
    peer login --get-login --authfile "$T/auth.json" "$REG" || fail "$1: skopeo does not find our login: $(cat "$T/out")"
    expect "$1: who skopeo thinks it is" alice "$(tail -n 1 "$T/out")"
    peer inspect --raw --tls-verify=false --authfile "$T/auth.json" "docker://$REG/basic" || fail "$1: skopeo with our login: $(cat "$T/out")"
    peer logout --authfile "$T/auth.json" "$REG" || fail "$1: skopeo logout: $(cat "$T/out")"
    tool pull "$REG/basic" && fail "$1: pull after skopeo's logout"
    peer login --tls-verify=false --authfile "$T/auth.json" -u alice -p s3cret-pw "$REG" || fail "$1: skopeo login: $(cat "$T/out")"
    rm -rf "$T/data"
    tool pull "$REG/basic" || fail "$1: pull with skopeo's login: $(cat "$T/out")"
    tool logout "$REG" || fail "$1: logout: $(cat "$T/out")"
    peer login --get-login --authfile "$T/auth.json" "$REG" && fail "$1: skopeo finds a login that is gone: $(cat "$T/out")"
    rm -rf "$T/data"
}
(umask 077; echo '{}' >"$T/auth.json")
round file
grep -q "$REG" "$T/auth.json" && fail "the file still names the registry: $(cat "$T/auth.json")"
echo '{"credHelpers": {"'"$REG"'": "ring"}}' >"$T/auth.json"
round helper
grep -q auths "$T/auth.json" && grep -q YWxpY2U6 "$T/auth.json" && fail "the helper's login is in the file, too"
echo "logins are shared with skopeo"
