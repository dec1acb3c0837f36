#!/usr/bin/env bash
# Pushes to docker-registry, with skopeo as the judge: the digests there are the same, also after a pull back; with a login, over TLS
# with a client certificate, of many platforms, in chunks, and after an interrupt.
. "$(dirname "$0")/../lib.sh"
need python3 skopeo docker-registry openssl umoci
TOOL=$BUILD/tests/bin/image-tool
[ -x "$TOOL" ] || fail "no $TOOL: make test-programs"
MKIMG="python3 -B $ROOT/tests/hostile/mkimg"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
OPEN=127.0.0.1:$(free_port)
LOGIN=127.0.0.1:$(free_port)
TLS=127.0.0.1:$(free_port)
certificate() { # NAME SUBJECT
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$2" -addext subjectAltName=IP:127.0.0.1 \
        -keyout "$T/$1-key.pem" -out "$T/$1.pem" 2>/dev/null || fail "openssl req"
}
certificate server 127.0.0.1
certificate client alice
certificate other mallory
cat "$T/client.pem" "$T/client-key.pem" >"$T/client-both.pem"
python3 -W ignore -c 'import crypt
print("alice:" + crypt.crypt("s3cret-pw", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' >"$T/htpasswd"
registry() { # NAME ADDRESS EXTRA-YAML
    printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/registry-%s}, delete: {enabled: true}}\n%s\n' \
        "$T" "$1" "$3" >"$T/$1.yml"
    background docker-registry serve "$T/$1.yml" >"$T/$1.log" 2>&1
    wait_for 20 bash -c "exec 3<>/dev/tcp/${2%:*}/${2#*:}" || fail "docker-registry $1 did not start: $(tail -n 3 "$T/$1.log")"
}
registry open "$OPEN" "http: {addr: $OPEN}"
registry login "$LOGIN" "http: {addr: $LOGIN}
auth: {htpasswd: {realm: test, path: $T/htpasswd}}"
registry tls "$TLS" "http: {addr: $TLS, tls: {certificate: $T/server.pem, key: $T/server-key.pem, clientcas: [$T/client.pem]}}"

tls() { printf '[registry.host "%s"]\nca = %s\n' "$TLS" "$T/server.pem"; }
tool_profile a "$(tls)
client_cert = $T/client.pem
client_key = $T/client-key.pem
[registry.host \"$OPEN\"]
upload_chunk = 64K"
tool_profile both "$(tls)
client_cert = $T/client-both.pem"
tool_profile none "$(tls)"
tool_profile other "$(tls)
client_cert = $T/other.pem
client_key = $T/other-key.pem"
tool_profile broken "$(tls)
client_cert = $T/htpasswd
client_key = $T/other-key.pem"
tool_profile whole ""
tool_profile back "$(tls)
client_cert = $T/client.pem
client_key = $T/client-key.pem"
P=a
tool() { "$TOOL" "$T/$P.ini" "$@" >"$T/out" 2>&1; }
must() { tool "$@" || { cat "$T/out"; fail "$*"; }; }
must_not() { local want=$1; shift; tool "$@" && fail "must fail: $*"; grep -qE "^error.*($want)" "$T/out" || { cat "$T/out"; fail "not about \"$want\": $*"; }; }
there() { skopeo inspect --tls-verify=false "$@" --format '{{.Digest}}'; }

$MKIMG honest "$T/img"
DIGEST=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifests"][0]["digest"])' "$T/img/index.json")
must load "$T/img"

# --- the same digests there, and back here; in chunks and whole ---
for p in a whole; do
    P=$p
    must load "$T/img"
    must tag img:latest "$OPEN/$p/app:1" -- push "$OPEN/$p/app:1"
    grep -q "Digest: $DIGEST" "$T/out" || fail "$p: another digest: $(cat "$T/out")"
    expect "skopeo's digest" "$DIGEST" "$(there "docker://$OPEN/$p/app:1")"
    skopeo copy -q --src-tls-verify=false "docker://$OPEN/$p/app:1" "dir:$T/dir-$p" || fail "skopeo does not copy what was pushed"
done
grep -qE ': Pushing [0-9]+/[0-9]+' "$T/out" && grep -q ': Pushed' "$T/out" || fail "no progress: $(cat "$T/out")"
must push "$OPEN/whole/app:1"
expect "all there" 4 "$(grep -c 'Layer already exists' "$T/out")"
must tag img:latest "$OPEN/whole/other:1" -- push "$OPEN/whole/other:1"
expect "mounted" 3 "$(grep -c 'Mounted from whole/app' "$T/out")"
expect "skopeo's digest" "$DIGEST" "$(there "docker://$OPEN/whole/other:1")"
P=back
must pull "$OPEN/a/app:1" -- unpack "$OPEN/a/app:1" -- resolve "$OPEN/a/app:1"
grep -q "digest=$DIGEST" "$T/out" || fail "back: another digest: $(cat "$T/out")"
# A blob that was pulled from one repository is mounted into another.
must tag "$OPEN/a/app:1" "$OPEN/third:1" -- push "$OPEN/third:1"
expect "mounted after a pull" 3 "$(grep -c 'Mounted from a/app' "$T/out")"
P=a

# --- an image of docker's types keeps them ---
skopeo copy -q --dest-tls-verify=false --format v2s2 "oci:$T/img:latest" "docker://$OPEN/docker:1" || fail "skopeo push"
must pull "$OPEN/docker:1" -- tag "$OPEN/docker:1" "$OPEN/docker-too:1" -- push "$OPEN/docker-too:1"
expect "docker's types" "$(there "docker://$OPEN/docker:1")" "$(there "docker://$OPEN/docker-too:1")"
must tags "$OPEN/docker"
expect "tags" '["1"]' "$(grep -v '^time=' "$T/out" | tr -d ' \n')"

# --- many platforms: the index with all, or one ---
python3 - "$ROOT/tests/hostile" "$T/multi" <<'PY'
import importlib.machinery, importlib.util, sys
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader('mkimg', sys.argv[1] + '/mkimg')
mkimg = importlib.util.module_from_spec(importlib.util.spec_from_loader('mkimg', loader))
loader.exec_module(mkimg)
image, entries = mkimg.Image(), []
for arch in ('arm64', 'amd64'):
    data = mkimg.text(mkimg.build(image, mkimg.layers_of(arch.encode()), arch))
    entries.append(dict(mediaType=mkimg.MANIFEST, platform={'os': 'linux', 'architecture': arch}, **image.add(data)))
mkimg.layout(image.set_top({'schemaVersion': 2, 'mediaType': mkimg.INDEX, 'manifests': entries}, mkimg.INDEX), sys.argv[2])
PY
INDEX=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifests"][0]["digest"])' "$T/multi/index.json")
must load "$T/multi" -- tag multi:latest "$OPEN/multi:all" -- push "$OPEN/multi:all" all
grep -q "Digest: $INDEX" "$T/out" || fail "multi: another digest: $(cat "$T/out")"
expect "the index there" "$INDEX" "sha256:$(skopeo inspect --tls-verify=false --raw "docker://$OPEN/multi:all" | sha256sum | cut -c1-64)"
skopeo copy -q --all --src-tls-verify=false "docker://$OPEN/multi:all" "dir:$T/dir-multi" || fail "skopeo does not copy the index"
must tag multi:latest "$OPEN/multi:one" -- push "$OPEN/multi:one"
expect_match "one platform" '"config"' "$(skopeo inspect --tls-verify=false --raw "docker://$OPEN/multi:one")"
must push "$OPEN/multi:one" linux/arm64
expect "arm64" arm64 "$(skopeo inspect --tls-verify=false --format '{{.Architecture}}' "docker://$OPEN/multi:one")"
must_not 'not for linux/s390x' push "$OPEN/multi:one" linux/s390x
# Of an index of which only one platform is here: to a registry that has the rest, and to one that has not.
P=back
must pull "$OPEN/multi:all" -- push "$OPEN/multi:all" all
must tag "$OPEN/multi:all" "$OPEN/elsewhere:all"
must_not 'linux/arm64 image is neither whole here nor at the registry; pull it first: ctrctl pull --all-platforms' push "$OPEN/elsewhere:all" all
must push "$OPEN/elsewhere:all"
P=a

# --- logins ---
(umask 077; echo '{}' >"$T/auth.json")
must tag img:latest "$LOGIN/app:1"
must_not 'wants a login.*ctrctl login' push "$LOGIN/app:1"
TOOL_PASSWORD=wrong must_not 'refuses this user name or password' login "$LOGIN" alice
TOOL_PASSWORD=s3cret-pw must login "$LOGIN" alice
must push "$LOGIN/app:1"
expect "with a login" "$DIGEST" "$(there --creds alice:s3cret-pw "docker://$LOGIN/app:1")"
must logout "$LOGIN"
must_not 'wants a login' push "$LOGIN/app:1"
TOOL_PASSWORD=x must login "$OPEN" alice # a registry that wants none takes any

# --- TLS, and who we are by certificate ---
for p in a both; do
    P=$p
    must load "$T/img" -- tag img:latest "$TLS/$p:1" -- push "$TLS/$p:1" -- pull "$TLS/$p:1"
done
mkdir "$T/certs"
cp "$T/server.pem" "$T/certs/ca.crt"; cp "$T/client.pem" "$T/certs/a.cert"; cp "$T/client-key.pem" "$T/certs/a.key"
expect "over TLS" "$DIGEST" "$(skopeo inspect --cert-dir "$T/certs" --format '{{.Digest}}' "docker://$TLS/a:1")"
for p in none other; do P=$p must_not 'given up after|does not speak TLS|certificate' pull "$TLS/a:1"; done
P=broken must_not 'client certificate for 127.0.0.1:[0-9]+ cannot be used.*client_cert' pull "$TLS/a:1"
P=a

# --- an interrupted push goes on ---
head -c 300000000 /dev/urandom >"$T/big"
umoci init --layout "$T/large" 2>/dev/null && umoci new --image "$T/large:1" 2>/dev/null && umoci insert --image "$T/large:1" "$T/big" /big >/dev/null 2>&1 || fail umoci
P=whole
must load "$T/large:1" -- tag large:1 "$OPEN/large:1"
"$TOOL" "$T/whole.ini" push "$OPEN/large:1" >"$T/interrupted" 2>&1 &
pid=$!
wait_for 30 grep -q ': Pushing [1-9]' "$T/interrupted" || fail "nothing is sent: $(cat "$T/interrupted")"
kill -INT $pid
before=$(date +%s%N)
wait $pid && fail "an interrupted push: success"
took=$((($(date +%s%N) - before) / 1000000))
[ $took -lt 3000 ] || fail "an interrupt took $took ms"
grep -q cancelled "$T/interrupted" || fail "interrupted: $(cat "$T/interrupted")"
skopeo inspect --tls-verify=false "docker://$OPEN/large:1" >/dev/null 2>&1 && fail "an interrupted push left a tag"
must push "$OPEN/large:1"
digest=$(sed -n 's/^Digest: //p' "$T/out")
expect "after an interrupt" "$digest" "$(there "docker://$OPEN/large:1")"
grep -rqE 's3cret|YWxpY2U6' "$T/out" "$T"/*.log && fail "a secret was printed"
echo "skopeo agrees"
