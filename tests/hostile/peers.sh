#!/usr/bin/env bash
# The image room against programs of others: images made by mkimg and pushed by skopeo to docker-registry, open, with a login and with
# TLS; archives written by skopeo; the store read by skopeo.
. "$(dirname "$0")/../lib.sh"
need python3 skopeo docker-registry openssl zstd gzip
TOOL=$BUILD/tests/bin/image-tool
[ -x "$TOOL" ] || fail "no $TOOL: make test-programs"
export TOOL_QUIET=1
MKIMG="python3 -B $ROOT/tests/hostile/mkimg"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
OPEN=127.0.0.1:$(free_port)
LOGIN=127.0.0.1:$(free_port)
TLS=127.0.0.1:$(free_port)
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hreg -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null || fail "openssl req"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout "$T/other-key.pem" -out "$T/other.pem" 2>/dev/null
python3 -W ignore -c 'import crypt
print("alice:" + crypt.crypt("s3cret-pw", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' >"$T/htpasswd"
registry() { # NAME ADDRESS EXTRA-YAML
    printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/registry}}\n%s\n' "$T" "$3" >"$T/$1.yml"
    background docker-registry serve "$T/$1.yml" >"$T/$1.log" 2>&1
    for _ in $(seq 100); do (exec 3<>"/dev/tcp/${2%:*}/${2#*:}") 2>/dev/null && return; sleep 0.1; done
    fail "docker-registry $1 did not start: $(tail -n 3 "$T/$1.log")"
}
registry open "$OPEN" "http: {addr: $OPEN}"
registry login "$LOGIN" "http: {addr: $LOGIN}
auth: {htpasswd: {realm: test, path: $T/htpasswd}}"
registry tls "$TLS" "http: {addr: $TLS, tls: {certificate: $T/cert.pem, key: $T/key.pem}}"

tool_profile a "[registry.host \"$TLS\"]
ca = $T/cert.pem"
tool_profile b "[registry.host \"$TLS\"]
ca = $T/other.pem"
(umask 077; printf '{"auths":{"%s":{"auth":"YWxpY2U6czNjcmV0LXB3"}}}' "$LOGIN" >"$T/auth.json")
tool() { "$TOOL" "$T/$P.ini" "$@" >"$T/out" 2>&1; }
must() { tool "$@" || { cat "$T/out"; fail "$*"; }; }
must_not() { local want=$1; shift; tool "$@" && fail "must fail: $*"; grep -qE "^error.*($want)" "$T/out" || { cat "$T/out"; fail "not about \"$want\": $*"; }; }
P=a

# --- push, pull, the same digest, and skopeo reads the store ---
$MKIMG honest "$T/img"
$MKIMG multi-arch "$T/multi"
push() { skopeo copy -q --dest-tls-verify=false "${@:3}" "oci:$1" "docker://$OPEN/$2" || fail "skopeo push $2"; }
push "$T/img:latest" app:oci
push "$T/img:latest" app:docker --format v2s2
digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$OPEN/app:oci")
for tag in oci docker; do
    must pull "$OPEN/app:$tag" -- unpack "$OPEN/app:$tag"
done
must pull "$OPEN/app:oci"
grep -q "Digest: $digest" "$T/out" || fail "another digest than skopeo's: $(cat "$T/out")"
must pull "$OPEN/app@$digest" -- resolve "$OPEN/app@$digest"
[ "$(skopeo inspect --format '{{.Digest}}' "oci:$T/a/images:$OPEN/app:oci")" = "$digest" ] || fail "skopeo does not read the store"
skopeo copy -q "oci:$T/a/images:$OPEN/app:oci" "dir:$T/out-dir" || fail "skopeo does not copy from the store"
must_not '404 MANIFEST_UNKNOWN.*check the name' pull "$OPEN/app:none"
must_not '404 NAME_UNKNOWN|404 MANIFEST_UNKNOWN' pull "$OPEN/nothing"
must_not 'no linux/arm64 image: there is linux/amd64' pull "$OPEN/app:oci" linux/arm64

# --- logins ---
must pull "$LOGIN/app:oci"
printf '{"auths":{"%s":{"auth":"YWxpY2U6d3Jvbmc="}}}' "$LOGIN" >"$T/auth.json"
must_not 'access denied \(401 UNAUTHORIZED\)' pull "$LOGIN/app:docker"
printf '{"auths":{"%s":{"auth":"YWxpY2U6czNjcmV0LXB3"}}}' "$OPEN" >"$T/auth.json"
must_not 'wants a login' pull "$LOGIN/app:docker"
grep -q s3cret "$T/out" && fail "a secret was printed"

# --- TLS: only with the right CA, and never in the clear ---
must pull "$TLS/app:oci"
P=b
must_not 'certificate of 127.0.0.1 is not trusted.*ca = FILE' pull "$TLS/app:oci"
must_not 'nothing listens at 127.0.0.1:1' pull 127.0.0.1:1/x

# --- archives of skopeo's, in every wrapping ---
skopeo copy -q "oci:$T/img:latest" "oci-archive:$T/oci.tar:team/oci:1" || fail "skopeo oci-archive"
skopeo copy -q "oci:$T/img:latest" "docker-archive:$T/docker.tar:team/docker:2" || fail "skopeo docker-archive"
gzip -k "$T/oci.tar" "$T/docker.tar"
zstd -q "$T/oci.tar" "$T/docker.tar"
for f in oci.tar oci.tar.gz oci.tar.zst docker.tar docker.tar.gz docker.tar.zst; do
    rm -rf "$T/b"
    must load "$T/$f"
    case $f in oci*) name=team/oci:1 ;; *) name=team/docker:2 ;; esac
    grep -q "Loaded image: $name" "$T/out" || fail "load $f: $(cat "$T/out")"
    must unpack $name -- rmi $name
    ls "$T"/b/images/blobs/sha256 | grep -q . && fail "load $f: blobs are left after rmi"
done
must load "$T/multi" -- resolve multi linux/arm64 -- resolve multi linux/amd64
head -c 300000 "$T/oci.tar" >"$T/cut.tar"
head -c 60000 "$T/docker.tar.gz" >"$T/cut.tar.gz"
for f in cut.tar cut.tar.gz key.pem; do
    rm -rf "$T/b"
    must_not 'load archive' load "$T/$f"
    ls "$T"/b/images/blobs/sha256 "$T"/b/images/ingest | grep -qE '^(new|sha|[0-9a-f]{64})' && fail "load $f: something is left"
done
# Names in archives that climb, link or are no files.
python3 - "$T" <<'PY'
import io, sys, tarfile
def make(name, *infos):
    with tarfile.open(f'{sys.argv[1]}/{name}.tar', 'w') as tar:
        for info in infos:
            tar.addfile(info, io.BytesIO(b'x' * info.size))
def entry(name, kind=tarfile.REGTYPE, target='', size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info
make('up', entry('../../evil.json', size=5))
make('absolute', entry('/tmp/evil.tar', size=5))
make('symlink', entry('blobs', tarfile.SYMTYPE, '/tmp'))
make('hardlink', entry('index.json', tarfile.LNKTYPE, 'manifest.json'))
make('device', entry('x.tar', tarfile.CHRTYPE))
make('link-out', entry('a/layer.tar', tarfile.SYMTYPE, '../../../etc/passwd'))
make('bad-blob', entry('blobs/sha256/../../x', size=5))
make('named-blob', entry('blobs/sha256/xyz', size=5))
make('twice', entry('a.json', size=5), entry('a.json', size=6))
PY
for f in up:refused absolute:refused symlink:refused hardlink:refused device:refused link-out:refused bad-blob:refused named-blob:named \
    twice:'two files'; do
    must_not "${f#*:}" load "$T/${f%%:*}.tar"
done
for e in /evil.json /tmp/evil.tar /tmp/evil.json; do [ -e $e ] && fail "$e was written"; done
echo "all peers agree"
