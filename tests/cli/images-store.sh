#!/usr/bin/env bash
# valgrind
# The store through ctrctl: save and load in every format, import, history, tree, lists with filters, verify, prune, df.
. "$(dirname "$0")/../lib.sh"
need umoci skopeo python3

use_profile store fake
load_demo
digest=$(ctr images --no-trunc --digests --format '{{.Digest}}' demo)
id=$(ctr images -q --no-trunc demo)

# --- save and load: the same ID and digest come back, whatever the way ---
for format in docker-archive oci-archive; do
    ctr save --format $format -o "$T/$format.tar" demo || fail "save $format"
    ctr save --format $format demo >"$T/piped.tar" || fail "save $format to a pipe"
    expect "files in $format" "$(tar tf "$T/$format.tar" | sort | xargs)" "$(tar tf "$T/piped.tar" | sort | xargs)"
    ctr rmi demo >/dev/null || fail rmi
    expect_status 0 ctr load -i "$T/$format.tar"
    expect "load $format" "Loaded image: demo:latest" "$(cat "$T/out")"
    expect "ID after $format" "$id" "$(ctr images -q --no-trunc demo)"
    expect "digest after $format" "$digest" "$(ctr images --digests --format '{{.Digest}}' demo)"
done
expect "no half files" "docker-archive.tar oci-archive.tar piped.tar" "$(cd "$T" && echo *.tar*)"
expect "skopeo reads it" "$digest" "$(skopeo inspect --format '{{.Digest}}' "oci-archive:$T/oci-archive.tar")"
skopeo inspect "docker-archive:$T/docker-archive.tar" >/dev/null || fail "skopeo reads the docker-archive"
ctr image save --format oci-dir -o "$T/layout" demo || fail "save oci-dir"
expect "skopeo reads the layout" "$digest" "$(skopeo inspect --format '{{.Digest}}' "oci:$T/layout")"
ctr save --format oci-dir -o "$T/layout" demo || fail "save oci-dir into the same layout"
mkdir "$T/other" && touch "$T/other/file"
expect_status 1 ctr save --format oci-dir -o "$T/other" demo
one_line_error 'not empty'
[ -f "$T/other/file" ] || fail "save took a file away"
expect_status 1 ctr save --format oci-dir demo
one_line_error '-o FOLDER'
expect_status 1 ctr save -o "$T/none.tar" demo nosuch
one_line_error 'nosuch'
[ ! -e "$T/none.tar" ] || fail "a failed save left a file"
expect_status 1 ctr save -o "$T/no/such/folder.tar" demo
one_line_error 'No such file'
expect_status 1 sh -c '"$@" >/dev/full' - "$BIN/ctrctl" --profile "$PROFILE" save demo
one_line_error 'No space left'
ctr save demo | head -c 10 >/dev/null
expect "status of a save into a closed pipe" 141 "${PIPESTATUS[0]}"
ctr rmi demo >/dev/null && ctr load -i "$T/layout" >/dev/null || fail "load of the layout"
ctr tag demo two:2 && ctr save demo two:2 | ctr load >"$T/out" || fail "two names"
expect "two names" "Loaded image: demo:latest Loaded image: two:2" "$(sort "$T/out" | xargs)"
expect_status 1 ctr load -i "$T/nosuch.tar"
one_line_error 'no such file'
head -c 5000 "$T/docker-archive.tar" >"$T/cut.tar"
expect_status 1 ctr load -i "$T/cut.tar"
one_line_error .

# --- import ---
mkdir -p "$T/root/bin" && cp "$(command -v busybox)" "$T/root/bin/sh" || skip "no busybox"
tar c -C "$T/root" . | ctr import -c 'CMD ["/bin/sh","-c","echo imported"]' -c 'ENV A=b' -m 'made by hand' - mine:1 >"$T/out" || fail "import: $(cat "$T/out")"
expect "the ID" "$(cat "$T/out")" "$(ctr images -q --no-trunc mine:1)"
expect "changes" '["/bin/sh","-c","echo imported"] A=b' "$(ctr image inspect --format '{{json .Config.Cmd}} {{index .Config.Env 0}}' mine:1)"
expect_match "history" 'made by hand' "$(ctr history mine:1)"
tar c -C "$T/root" . | gzip >"$T/root.tar.gz" && ctr import "$T/root.tar.gz" >"$T/out" || fail "import without a name"
expect_match "its ID" '^sha256:[0-9a-f]{64}$' "$(cat "$T/out")"
expect_status 1 ctr import http://127.0.0.1/x.tar
one_line_error 'curl'
expect_status 1 ctr import -c 'RUN true' "$T/root.tar.gz"
one_line_error 'RUN'
echo nonsense >"$T/nonsense"
expect_status 1 ctr import "$T/nonsense"
one_line_error .

# --- lists ---
expect "dangling" 1 "$(ctr images -q -f dangling=true | wc -l)"
expect "not dangling" "demo mine two" "$(ctr images -f dangling=false --format '{{.Repository}}' | sort | xargs)"
expect "reference" two "$(ctr images -f 'reference=t*:2' --format '{{.Repository}}')"
expect "since" "" "$(ctr images -q -f since=mine:1 -f reference=demo)"
expect_status 1 ctr images -f nosuch=1
one_line_error "invalid filter 'nosuch'"
expect_status 0 ctr history --no-trunc --format json demo
python3 -c 'import json, sys; rows = [json.loads(l) for l in sys.stdin]; assert rows and rows[0]["ID"].startswith("sha256:"), rows' <"$T/out" || fail "history json"
expect "history -q" "${id:7:12}" "$(ctr history -q demo | head -n 1)"
expect_status 1 ctr history nosuch
one_line_error 'No such image'
expect_match "tree" "demo:latest, two:2  sha256:.*└─ sha256:" "$(ctr image tree demo | tr '\n' ' ')"
expect_status 1 ctr image tree nosuch
one_line_error nosuch

# --- df and prune ---
expect_match "df" $'TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE\nImages +3 +0 ' "$(ctr system df)"
ctr create --name keeps mine:1 >/dev/null 2>&1 || fail create
expect_match "df with a container" $'Images +3 +1 .*Containers +1 +0 ' "$(ctr system df | tr '\n' '~' | tr '~' ' ')"
expect_match "df -v" "keeps" "$(ctr system df -v)"
expect "df --format" Images "$(ctr system df --format '{{.Type}}' | head -n 1)"
expect_status 1 ctr image prune </dev/null
one_line_error '--force'
expect_status 0 ctr image prune -f
expect_match "prune" 'deleted: sha256:.*Total reclaimed space: [1-9]' "$(tr '\n' ' ' <"$T/out")"
expect "after prune" "demo mine two" "$(ctr images -a --format '{{.Repository}}' | sort | xargs)"
expect_status 0 ctr image prune -f -a --filter label=nosuch
expect "filtered" "Total reclaimed space: 0B" "$(cat "$T/out")"
expect_status 1 ctr image prune -f --filter nosuch=1
one_line_error 'nosuch'
expect_status 0 ctr image prune -a -f
expect "what a container needs stays" "mine" "$(ctr images --format '{{.Repository}}')"
expect_status 0 ctr container prune -f --filter label=nosuch
expect "no such label" 1 "$(ctr ps -aq | wc -l)"
expect_status 0 ctr system prune -a -f
expect_match "system prune" 'Deleted Containers:.*Deleted Images:.*untagged: .*mine:1.*Total reclaimed space: [1-9]' "$(tr '\n' ' ' <"$T/out")"
expect "nothing is left" "" "$(ctr images -q; ctr ps -aq)"
expect "blobs left" "" "$(ls "$T/store/data/images/blobs/sha256")"

# --- verify ---
load_demo
expect_status 0 ctr image verify
expect_match "all well" 'demo:latest .* ok' "$(cat "$T/out")"
expect_status 0 ctr image verify -q demo
expect quiet "" "$(cat "$T/out" "$T/err")"
layer=$(python3 - "$T/store/data/images" "$digest" <<'PY'
import json, sys
root, digest = sys.argv[1], sys.argv[2]
blob = lambda d: json.load(open(root + "/blobs/" + d.replace(":", "/")))
doc = blob(digest)
while "manifests" in doc:
    doc = blob(doc["manifests"][0]["digest"])
print(doc["layers"][0]["digest"])
PY
)
blob=$T/store/data/images/blobs/${layer/://}
chmod u+w "$blob" && printf x | dd of="$blob" bs=1 seek=100 conv=notrunc status=none || fail "damage"
expect_status 1 ctr image verify demo
expect_match "the table" '1 damaged' "$(cat "$T/out")"
one_line_error '--heal'
[ ! -e "$blob" ] || fail "the damaged blob is still there"
expect_match "df tells" 'Damaged blobs +1 ' "$(ctr system df)"
expect_status 1 ctr image verify nosuch
one_line_error nosuch
load_demo
expect_status 0 ctr image verify
ctr system stop >/dev/null
valgrind_clean
exit 0
