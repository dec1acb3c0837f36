#!/usr/bin/env bash
# Images out of the store and back: what is saved keeps its digests with ourselves, skopeo (oci-archive, docker-archive, oci) and podman load; archives of theirs come in.
# Also what save, import, verify and prune do about damage.
. "$(dirname "$0")/../lib.sh"
need python3 skopeo docker-registry zstd gzip xz tar
TOOL=$BUILD/tests/bin/image-tool
[ -x "$TOOL" ] || fail "no $TOOL: make test-programs"
export TOOL_QUIET=1
MKIMG="python3 -B $ROOT/tests/hostile/mkimg"
start_registry
(umask 077; echo "{}" >"$T/auth.json")
tool_profile a
tool_profile b
P=a
tool() { "$TOOL" "$T/$P.ini" "$@" >"$T/out" 2>"$T/err"; }
must() { tool "$@" || { cat "$T/out" "$T/err"; fail "$*"; }; }
must_not() { local want=$1; shift; tool "$@" && fail "must fail: $*"; grep -qE "^error.*($want)" "$T/err" || { cat "$T/err"; fail "not about \"$want\": $*"; }; }
# seen NAME FIELD: of a resolved image, in the store at work
seen() { must resolve "$1"; sed -n "s/.* $2=\([^ ]*\).*/\1/p" <<<" $(cat "$T/out")"; }
same() { # NAME DIGEST ID
    expect "digest of $1" "$2" "$(seen "$1" digest)"
    expect "ID of $1" "$3" "$(seen "$1" id)"
}
pod() { podman --root "$T/pod" --runroot "$T/podrun" --storage-driver vfs --tmpdir "$T/podtmp" "$@" 2>"$T/err"; }

# --- images of each kind in the store: OCI, docker schema 2, an index, a manifest list, no layers, plain layers ---
for c in honest plain-layers zero-layers multi-arch; do $MKIMG $c "$T/$c"; done
python3 - "$T/multi-arch" <<'PY'
# Without the attestation that is not in the layout: an index of which all is there.
import hashlib, json, os, sys
os.chdir(sys.argv[1])
top = json.load(open('index.json'))
index = json.load(open('blobs/sha256/' + top['manifests'][0]['digest'][7:]))
index['manifests'] = [m for m in index['manifests'] if m['platform']['os'] != 'unknown']
data = json.dumps(index).encode()
name = hashlib.sha256(data).hexdigest()
open('blobs/sha256/' + name, 'wb').write(data)
top['manifests'][0].update(digest='sha256:' + name, size=len(data))
json.dump(top, open('index.json', 'w'))
PY
push() { skopeo copy -q --dest-tls-verify=false "${@:3}" "oci:$T/$1:latest" "docker://$REGISTRY/$2" || fail "skopeo push $2"; }
push honest app:oci
push honest app:docker --format v2s2
push multi-arch many:oci --all
push multi-arch many:docker --all --format v2s2
push plain-layers app:plain
push zero-layers app:zero
for name in app:oci app:docker app:plain app:zero; do must pull "$REGISTRY/$name" -- tag "$REGISTRY/$name" "$name"; done
for name in many:oci many:docker; do
    must pull "$REGISTRY/$name" linux/amd64 -- pull "$REGISTRY/$name" linux/arm64 -- tag "$REGISTRY/$name" "$name"
done
declare -A digest id
for name in app:oci app:docker app:plain app:zero many:oci many:docker; do
    digest[$name]=$(seen $name digest) id[$name]=$(seen $name id)
    expect "$name from the registry" "$(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/$name" | sha256sum | cut -d' ' -f1)" "${digest[$name]#sha256:}"
done

# --- every format, back into a store of ours ---
all="app:oci app:docker app:plain app:zero many:oci many:docker"
for format in oci-archive docker-archive oci-dir; do
    for name in $all; do
        rm -rf "$T/b" "$T/one"
        P=a must save $format - "$T/one" $name
        P=b
        must load "$T/one"
        same $name "${digest[$name]}" "${id[$name]}"
        must verify
        P=a
    done
    rm -rf "$T/b" "$T/all"
    P=a must save $format - "$T/all" $all
    P=b
    must load "$T/all"
    for name in $all; do same $name "${digest[$name]}" "${id[$name]}"; done
    P=a
done
P=a
rm -rf "$T/all"
"$TOOL" "$T/a.ini" save oci-archive - - $all >"$T/piped" || fail "save into a pipe"
must save oci-archive - "$T/all" $all
cmp "$T/piped" "$T/all" || fail "a pipe and a file differ"

# --- skopeo reads what we write, with the same digests ---
raw() { skopeo inspect --raw "$1" | sha256sum | cut -d' ' -f1; }
for name in app:oci app:docker app:plain many:oci many:docker; do
    rm -rf "$T/one" "$T/one-dir" "$T/one-docker"
    must save oci-archive - "$T/one" $name -- save oci-dir - "$T/one-dir" $name -- save docker-archive - "$T/one-docker" $name
    expect "skopeo oci-archive $name" "${digest[$name]#sha256:}" "$(raw "oci-archive:$T/one")"
    expect "skopeo oci $name" "${digest[$name]#sha256:}" "$(raw "oci:$T/one-dir")"
    config=$(skopeo inspect --config --raw "docker-archive:$T/one-docker:$name" | sha256sum | cut -d' ' -f1)
    expect "skopeo docker-archive $name" "${id[$name]#sha256:}" "$config"
    skopeo copy -q "docker-archive:$T/one-docker:$name" "dir:$T/x-${name/:/-}" || fail "skopeo copy docker-archive $name"
    case $name in
    many:oci)
        skopeo copy -q --all --dest-tls-verify=false "oci-archive:$T/one" "docker://$REGISTRY/back:$name" 2>/dev/null ||
            skopeo copy -q --all --dest-tls-verify=false "oci-archive:$T/one" "docker://$REGISTRY/back:many" || fail "skopeo copy --all"
        expect "pushed index" "${digest[$name]#sha256:}" "$(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/back:many" | sha256sum | cut -d' ' -f1)" ;;
    esac
done
must save oci-dir - "$T/layout" $all
expect "skopeo oci by tag" "${digest[app:oci]#sha256:}" "$(raw "oci:$T/layout:oci")"
expect "skopeo oci by name" "${digest[many:oci]#sha256:}" "$(raw "oci:$T/layout:docker.io/library/many:oci")"

# --- podman loads them: the image's ID is its config's digest ---
podman_agrees() {
    for name in app:oci app:docker many:oci; do
        for format in oci-archive docker-archive; do
            rm -f "$T/one"
            must save $format - "$T/one" $name
            pod load -q -i "$T/one" >"$T/out" || fail "podman load $format $name: $(cat "$T/err")"
            expect "podman's ID, $format $name" "${id[$name]#sha256:}" "$(pod images --no-trunc --format '{{.ID}}' docker.io/library/$name | sed s/sha256://)"
            pod rmi -f docker.io/library/$name >/dev/null
        done
    done
    # and what podman and skopeo save comes in
    must save docker-archive - "$T/one" app:oci
    pod load -q -i "$T/one" >/dev/null
    for format in oci-archive docker-archive; do
        rm -rf "$T/b" "$T/theirs"
        pod save -q --format $format -o "$T/theirs" docker.io/library/app:oci >/dev/null || fail "podman save $format: $(cat "$T/err")"
        P=b must load "$T/theirs"
        P=b
        expect "ID of podman's $format" "${id[app:oci]}" "$(seen app:oci id)"
        P=a
    done
}
# Where podman takes nothing from skopeo either (it wants a root that is a mount), it is no judge.
podman_works() {
    command -v podman >/dev/null && skopeo copy -q "oci:$T/honest:latest" "docker-archive:$T/control:control:latest" &&
        pod load -q -i "$T/control" >/dev/null && pod rmi -a -f >/dev/null
}
if podman_works; then podman_agrees; else echo "podman does not load archives here: left out"; fi

# --- a platform, and an index that is not whole ---
rm -rf "$T/b" "$T/one"
must save oci-archive linux/arm64 "$T/one" many:oci
must_not 'not for linux/s390x' save oci-archive linux/s390x "$T/none" many:oci
P=b must load "$T/one" -- resolve many:oci linux/arm64
rm -rf "$T/b" "$T/one"
P=b must pull "$REGISTRY/many:oci" -- save oci-archive - "$T/one" "$REGISTRY/many:oci"
expect "the one platform that is there" 1 "$(tar xOf "$T/one" index.json | python3 -c 'import json, sys
m = json.load(sys.stdin)["manifests"]; print(len([x for x in m if x["platform"]["architecture"] == "amd64"]))')"
expect "skopeo takes it" 1 "$(skopeo inspect "oci-archive:$T/one" | grep -c '"Architecture": "amd64"')"

# --- docker's client makes and reads these through our API; here its load format: an archive without our OCI part ---
mkdir "$T/plain" && must save docker-archive - "$T/one" app:oci
tar xf "$T/one" -C "$T/plain" && (cd "$T/plain" && tar cf "$T/old.tar" manifest.json blobs)
rm -rf "$T/b"
P=b must load "$T/old.tar"
P=b
expect "ID by manifest.json alone" "${id[app:oci]}" "$(seen app:oci id)"

# --- import: umoci and tar know what is in it ---
P=b
rm -rf "$T/b"
mkdir -p "$T/root/etc" && echo hello >"$T/root/etc/motd"
tar cf "$T/root.tar" -C "$T/root" . && gzip -k "$T/root.tar" && zstd -q "$T/root.tar" && xz -k "$T/root.tar"
for f in root.tar root.tar.gz root.tar.zst; do
    must import "$T/$f" "made:${f##*.}" 'ENV A="1 2"' 'CMD ["/bin/true"]' 'EXPOSE 80-81' 'LABEL a=b'
    must unpack "made:${f##*.}" -- history "made:${f##*.}"
    skopeo inspect --config "oci:$T/b/images:docker.io/library/made:${f##*.}" | grep -q '"A=1 2"' || fail "skopeo does not see the config of $f"
done
"$TOOL" "$T/b.ini" import - made:piped <"$T/root.tar.gz" >"$T/out" || fail "import from a pipe"
must_not 'packed with xz' import "$T/root.tar.xz" made:xz
must_not 'no tar' import "$ROOT/README.md" made:text
must_not '"RUN" is not known' import "$T/root.tar" made:run 'RUN true'
must_not 'too early|ends' import <(head -c 100 "$T/root.tar.gz") made:cut
must prune all
expect "blobs left" "" "$(ls "$T/b/images/blobs/sha256")"

# --- damage: verify finds it, sets it aside, heals it by the registry; save refuses it ---
rm -rf "$T/b"
must pull "$REGISTRY/app:oci" -- pull "$REGISTRY/many:oci" linux/arm64 -- pull "$REGISTRY/many:oci" -- load "$T/all"
layer=$(ls -S "$T/b/images/blobs/sha256" | head -n 1)
printf '\377' | dd of="$T/b/images/blobs/sha256/$layer" bs=1 seek=50 conv=notrunc 2>/dev/null
must_not "$layer is damaged on disk and was set aside" save oci-archive - "$T/none" $all
[ -f "$T/b/images/damaged/$layer" ] || fail "the damaged blob was not set aside"
config=${id[app:oci]#sha256:}
printf 'x' >>"$T/b/images/blobs/sha256/$config"
rm "$T/b/images/blobs/sha256/${digest[many:oci]#sha256:}"
must verify
grep -q "\"sha256:$layer\"" "$T/out" || fail "verify does not name the missing layer"
grep -q "\"sha256:$config\"" "$T/out" || fail "verify does not name the damaged config"
must verify heal
python3 - "$T/out" "$REGISTRY" <<'PY' || fail "heal: $(cat "$T/out")"
import json, sys
entries = [e for e in json.load(open(sys.argv[1])) if e['missing'] + e['damaged']]
assert entries
for e in entries:
    # Names of the registry heal; those that only an archive brought are told why not.
    assert e.get('healed') if e['reference'].startswith(sys.argv[2]) else (e.get('healed') or e.get('error')), e
PY
must verify
grep -qE '"sha256:' <(python3 -c 'import json, sys; print([e["missing"] + e["damaged"] for e in json.load(open(sys.argv[1]))])' "$T/out") && fail "still damaged after heal: $(cat "$T/out")"
must images -- save oci-archive - "$T/again" $all
cmp "$T/again" "$T/all" || fail "the healed store saves other bytes"
expect "names after heal" "" "$(must images; grep -o '@sha256[^"]*' "$T/out")"

# --- who is it that fills the disk ---
must df
python3 -c 'import json, sys
u = json.load(open(sys.argv[1]))
assert u["blobs"]["bytes"] > 0 and u["damaged"] > 0 and len(u["images"]) == 4 and u["reclaimable"] == 0, u
assert all(i["size"] == i["shared"] + i["unique"] for i in u["images"])' "$T/out" || fail "df"
must tree app:oci
grep -q '"shared_with"' "$T/out" || fail "tree"
must prune all
expect "blobs after prune" "" "$(ls "$T/b/images/blobs/sha256")"
echo "all digests kept"
