#!/usr/bin/env bash
# valgrind
# Images with registries: login with --password-stdin, push, pull, tags, the lists, logout; a registry that wants a login and one that does not.
. "$(dirname "$0")/../lib.sh"
need docker-registry umoci skopeo python3

umask 077
mkdir -p "$T/auth"
use_profile reg fake "[registry]
chain = file
[registry.file]
path = $T/auth/auth.json"
load_demo
python3 -W ignore -c 'import crypt
print("ann:" + crypt.crypt("s3cret pw", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' >"$T/htpasswd"
start_registry
OPEN=$REGISTRY
start_registry "auth: {htpasswd: {realm: test, path: $T/htpasswd}}"
LOCKED=$REGISTRY

# --- no login ---
ctr tag demo "$LOCKED/team/demo:1" || fail tag
expect_status 1 ctr push "$LOCKED/team/demo:1"
one_line_error 'ctrctl login'
expect_status 1 ctr pull "$LOCKED/team/demo:1"
one_line_error "ctrctl login"
expect_status 1 ctr search-tags "$LOCKED/team/demo"
one_line_error 'login'

# --- login ---
expect_status 1 ctr login "$LOCKED" </dev/null
one_line_error 'username NAME and --password-stdin'
expect_status 1 ctr login --password-stdin "$LOCKED" </dev/null
one_line_error 'needs --username'
expect_status 1 ctr login -u ann --password-stdin "$LOCKED" </dev/null
one_line_error 'password is empty'
echo wrong >"$T/pw"
expect_status 1 ctr login -u ann --password-stdin "$LOCKED" <"$T/pw"
one_line_error 'refuses'
expect "nothing was stored" "" "$(cat "$T/auth/auth.json" 2>/dev/null)"
echo 's3cret pw' >"$T/pw"
expect_status 0 ctr login -u ann --password-stdin "$LOCKED" <"$T/pw"
expect "login" "Login Succeeded" "$(cat "$T/out")"
expect "mode of the file" 600 "$(stat -c %a "$T/auth/auth.json")"
expect_status 0 ctr login -u ann -p 's3cret pw' "http://$LOCKED/"
expect_match "warning" 'insecure' "$(cat "$T/err")"
expect_status 0 ctr registry ls
expect_match "registry ls" "file +file +yes +$LOCKED +ann" "$(cat "$T/out")"
expect "who answers" yes "$(ctr registry ls --format '{{.Answers}}' "$LOCKED")"
expect "who answers for another" "" "$(ctr registry ls --format '{{.Answers}}' "$OPEN")"

# --- push ---
expect_status 0 ctr push "$LOCKED/team/demo:1"
expect "the name" "$LOCKED/team/demo:1" "$(cat "$T/out")"
expect_match "layers" 'Pushed' "$(cat "$T/err")"
expect_match "digest" 'digest: sha256:[0-9a-f]{64}' "$(cat "$T/err")"
expect_status 0 ctr push "$LOCKED/team/demo:1"
expect_match "second push" 'Layer already exists' "$(cat "$T/err")"
expect_status 0 ctr push -q "$LOCKED/team/demo:1"
expect "quiet" "$LOCKED/team/demo:1" "$(cat "$T/out" "$T/err")"
ctr tag demo "$LOCKED/other/demo:2" && ctr tag demo "$LOCKED/other/demo:latest" || fail tag
expect_status 0 ctr push "$LOCKED/other/demo:2"
expect_match "mounted" 'Mounted' "$(cat "$T/err")"
expect_status 0 ctr image push --progress json "$LOCKED/other/demo"
python3 -c 'import json, sys; [json.loads(l) for l in sys.stdin]' <"$T/out" || fail "push --progress json: $(cat "$T/out")"
expect "json says nothing else" "" "$(cat "$T/err")"
expect_status 0 ctr search-tags "$LOCKED/other/demo"
expect "tags" "2 latest" "$(sort "$T/out" | xargs)"
pushed=$(skopeo inspect --tls-verify=false --creds 'ann:s3cret pw' --format '{{.Digest}}' "docker://$LOCKED/team/demo:1") || fail "skopeo inspect"
expect "the digest is ours" "demo@$pushed" "$(ctr image inspect --format '{{index .RepoDigests 0}}' demo | sed 's/.*\///')"
expect_status 1 ctr push "no.such/image:1"
one_line_error 'no image of this name'
expect_status 1 ctr push --platform linux/arm64 --all-platforms demo
one_line_error 'do not go together'
expect_status 1 ctr pull -q --progress tty demo
one_line_error 'do not go together'

# --- pull what was pushed ---
ctr rmi "$LOCKED/team/demo:1" "$LOCKED/other/demo:2" "$LOCKED/other/demo:latest" demo >"$T/out" || fail "rmi: $(cat "$T/out")"
expect "images left" "" "$(ctr images -q)"
expect_status 0 ctr pull --progress plain "$LOCKED/team/demo:1"
expect "the name" "$LOCKED/team/demo:1" "$(cat "$T/out")"
expect_match "the digest" "Digest: $pushed" "$(cat "$T/err")"
expect_status 0 ctr pull -q "$LOCKED/team/demo:1"
expect "quiet" "$LOCKED/team/demo:1" "$(cat "$T/out" "$T/err")"
expect_status 0 ctr run --rm --pull always -q "$LOCKED/team/demo:1" echo ran
expect "it runs" ran "$(cat "$T/out")"
expect_status 0 ctr pull --all-platforms "$LOCKED/other/demo@$pushed"
expect "referrers" "[]" "$(ctr image inspect --format '{{json .Ctr.Referrers}}' "$LOCKED/team/demo:1")"

# --- secrets ---
grep -rq -e 's3cret' "$T/reg/data" && fail "the password is in $(grep -rl s3cret "$T/reg/data")"
echo "$(cat "$T/auth/auth.json")" | grep -q 's3cret' && fail "the password stands plain in the file"

# --- logout ---
expect_status 0 ctr logout "$LOCKED"
expect "logout" "Removing login credentials for $LOCKED" "$(cat "$T/out")"
expect_status 0 ctr logout "$LOCKED"
expect "second logout" "Not logged in to $LOCKED" "$(cat "$T/out")"
expect_status 1 ctr pull "$LOCKED/other/demo:2"
one_line_error 'login'
ctr tag "$LOCKED/team/demo:1" "$OPEN/demo:1" && expect_status 0 ctr push "$OPEN/demo:1"
ctr system stop >/dev/null
valgrind_clean
exit 0
