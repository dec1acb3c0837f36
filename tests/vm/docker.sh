#!/usr/bin/env bash
# Docker's own client, unchanged, against the socket: ps, run, logs, exec, pull, push, save, load, images, prune, stop, rm.
. "$(dirname "$0")/../lib.sh"
need_vm
need docker skopeo
use_profile main qemu
load_demo
d() { docker -H "unix://$T/main/run/ctr.sock" "$@"; }
export DOCKER_CONFIG=$T/docker; mkdir -p "$DOCKER_CONFIG"

expect_match "version" '1\.4[0-9]' "$(d version --format '{{.Server.APIVersion}}')"
d run --rm demo sh -c 'echo out; echo err >&2; exit 4' >"$T/o" 2>"$T/e"; expect "exit status" 4 $?
expect stdout out "$(cat "$T/o")"
expect_match stderr 'err' "$(cat "$T/e")"
expect "stdin" "$(head -c 3000000 /dev/zero | tr '\0' x | sha256sum)" "$(head -c 3000000 /dev/zero | tr '\0' x | d run --rm -i demo cat | sha256sum)"
d run --rm demo no-such-program 2>/dev/null; expect "127" 127 $?
id=$(d run -d --name box -e A=b demo sh -c 'echo $A; exec sleep 1000') || fail "docker run -d"
expect_match "ps" "box" "$(d ps)"
wait_for 20 sh -c "docker -H 'unix://$T/main/run/ctr.sock' logs box | grep -qx b" || fail "docker logs"
expect "exec" hi "$(d exec box echo hi)"
expect "inspect" true "$(d inspect --format '{{.State.Running}}' box)"
d stop -t 1 box >/dev/null || fail "docker stop"
d rm box >/dev/null || fail "docker rm"
start_registry
skopeo copy -q --dest-tls-verify=false "oci:$BUILD/demo:demo:latest" "docker://$REGISTRY/demo:1" || fail "skopeo copy"
d pull "$REGISTRY/demo:1" >"$T/o" 2>&1 || fail "docker pull: $(cat "$T/o")"
expect_match "images" "$REGISTRY/demo" "$(d images)"
expect "run it" ok "$(d run --rm "$REGISTRY/demo:1" echo ok)"
d tag demo "$REGISTRY/pushed:1" && d push "$REGISTRY/pushed:1" >"$T/o" 2>&1 || fail "docker push: $(cat "$T/o")"
d save -o "$T/saved.tar" "$REGISTRY/pushed:1" || fail "docker save"
d rmi "$REGISTRY/demo:1" "$REGISTRY/pushed:1" >/dev/null || fail "docker rmi"
d load -q -i "$T/saved.tar" >/dev/null || fail "docker load"
expect "what was saved runs" saved "$(d run --rm "$REGISTRY/pushed:1" echo saved)"
expect_match "df" 'Images ' "$(d system df)"
d system prune -a -f >/dev/null || fail "docker system prune"
expect "images after the prune" "" "$(d images -aq)"
expect_match "error text" 'No such container: nothing' "$(d logs nothing 2>&1)"
