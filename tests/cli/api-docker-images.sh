#!/usr/bin/env bash
# The docker command against ctrd: login, push, pull, save, load, import, history, prune, system df. Its logins stay its own.
. "$(dirname "$0")/../lib.sh"
need docker docker-registry umoci python3

umask 077
use_profile api fake "[registry]
chain = file
[registry.file]
path = $T/auth.json"
ctr system start >/dev/null || fail "the engine does not start"
export DOCKER_HOST=unix://$T/api/run/ctr.sock DOCKER_CONFIG=$T/docker
mkdir -p "$DOCKER_CONFIG"
load_demo
python3 -W ignore -c 'import crypt
print("ann:" + crypt.crypt("s3cret-pw", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' >"$T/htpasswd"
start_registry "auth: {htpasswd: {realm: test, path: $T/htpasswd}}"
REF=$REGISTRY/team/demo:1

# login, push, pull
docker tag demo "$REF" || fail tag
expect_status 1 docker push "$REF"
expect_match "no login" 'login' "$(cat "$T/err")"
echo wrong >"$T/pw"
expect_status 1 docker login -u ann --password-stdin "$REGISTRY" <"$T/pw"
expect_match "a wrong password" 'refuses this user name or password' "$(cat "$T/err")"
echo s3cret-pw >"$T/pw"
expect_status 0 docker login -u ann --password-stdin "$REGISTRY" <"$T/pw"
expect_match "login" 'Login Succeeded' "$(cat "$T/out")"
expect_status 0 docker push "$REF"
expect_match "push" "1: digest: sha256:[0-9a-f]{64}" "$(cat "$T/out")"
expect_status 0 docker push -q "$REF"
expect "push -q" "$REF" "$(cat "$T/out")"
docker rmi "$REF" demo >/dev/null || fail rmi
expect_status 0 docker pull "$REF"
expect_match "pull" "Downloaded newer image for $REF" "$(cat "$T/out")"
expect_status 0 docker pull -q "$REF"
expect "pull -q" "$REF" "$(cat "$T/out")"
expect "it runs" ran "$(docker run --rm "$REF" echo ran 2>/dev/null)"
[ ! -e "$T/auth.json" ] || fail "docker's login went into ctr's chain: $(cat "$T/auth.json")"
expect_status 1 ctr pull "$REF"
one_line_error login
grep -rq 's3cret' "$T/api/data" && fail "the password is in $(grep -rl s3cret "$T/api/data")"
# a header for another registry is refused, and so is nonsense
curl_auth() { curl -s --unix-socket "$T/api/run/ctr.sock" -X POST -H "X-Registry-Auth: $1" "http://d/v1.43/images/create?fromImage=$REGISTRY/team/demo&tag=1"; }
expect_match "another's" 'is for other:1' "$(curl_auth "$(printf '{"username":"ann","password":"s3cret-pw","serveraddress":"other:1"}' | base64 -w0)")"
expect_match "nonsense" 'X-Registry-Auth' "$(curl_auth '$$$')"
docker logout "$REGISTRY" >/dev/null
expect_status 1 docker pull "$REF"

# save, load, import, history
id=$(docker images -q --no-trunc "$REF")
docker tag "$REF" demo && docker save -o "$T/one.tar" demo || fail save
docker save demo "$REF" >"$T/two.tar" || fail "save of two"
docker rmi "$REF" demo >/dev/null || fail rmi
expect_status 0 docker load -i "$T/two.tar"
expect "load" "Loaded image: $REF Loaded image: demo:latest" "$(sort "$T/out" | xargs)"
expect "same ID" "$id" "$(docker images -q --no-trunc demo)"
docker rmi "$REF" demo >/dev/null
docker load -q <"$T/one.tar" >/dev/null || fail "load from a pipe"
expect_status 1 docker save nosuch -o "$T/none.tar"
expect_match "save of none" 'nosuch' "$(cat "$T/err")"
mkdir -p "$T/root/bin" && cp "$(command -v busybox)" "$T/root/bin/sh" || skip "no busybox"
tar c -C "$T/root" . | docker import -c 'CMD ["/bin/sh", "-c", "echo imported"]' -m 'by hand' - mine:1 >"$T/out" || fail import
expect "import" "$(cat "$T/out")" "$(docker images -q --no-trunc mine:1)"
expect_match "history" 'by hand' "$(docker history mine:1)"
expect "history -q" "$(docker images -q --no-trunc mine:1)" "$(docker history -q --no-trunc mine:1)"

# lists, df, prune
expect "images --filter" mine "$(docker images --filter reference=mine --format '{{.Repository}}')"
docker create --name old demo true >/dev/null
expect_match "system df" 'Images +2 +1 ' "$(docker system df)"
docker system df -v >"$T/out" || fail "system df -v"
expect_status 0 docker image prune -f
expect_match "image prune" 'Total reclaimed space: 0B' "$(cat "$T/out")"
expect_status 0 docker container prune -f
expect_match "container prune" 'Deleted Containers:' "$(cat "$T/out")"
expect_status 0 docker system prune -a -f
expect_match "system prune" 'untagged: ' "$(cat "$T/out")"
expect "images left" "" "$(docker images -aq)"
expect_status 0 docker volume prune -f
expect_status 0 docker network prune -f
exit 0
