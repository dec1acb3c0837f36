#!/bin/bash
# The docker command against ctrd, on the fake VMM: what it needs to run, watch and remove containers.
. "$(dirname "$0")/../lib.sh"
need docker umoci skopeo

use_profile api fake
ctr system start >/dev/null || fail "the engine does not start"
export DOCKER_HOST=unix://$T/api/run/ctr.sock
export DOCKER_CONFIG=$T/docker
mkdir -p "$DOCKER_CONFIG"
load_demo

# the first run warns of emulation, the second does not
expect_status 0 docker run --rm demo echo first
expect "output" first "$(cat "$T/out")"
expect_match "warning" 'not a security boundary' "$(cat "$T/err")"
expect_status 0 docker run --rm demo echo second
expect "stderr of the second run" "" "$(cat "$T/err")"

# exit codes, streams kept apart
expect_status 3 docker run --rm demo sh -c 'echo out; echo err >&2; exit 3'
expect stdout out "$(cat "$T/out")"
expect stderr err "$(cat "$T/err")"
expect_status 127 docker run --rm demo /no/such/program
expect_status 126 docker run --rm --entrypoint /etc demo
expect "containers left by --rm" "" "$(docker ps -aq)"

# stdin of any size, byte for byte; and one that nobody reads
head -c 30000000 /dev/urandom >"$T/random"
docker run --rm -i demo cat <"$T/random" >"$T/back" || fail "cat through docker run -i"
cmp "$T/random" "$T/back" || fail "bytes differ"
expect_status 0 docker run --rm -i demo true <"$T/random"

# detached, names, logs, exec, stop, start
id=$(docker run -d --name web -l a=b -e X=y demo sh -c 'echo $X; echo $HOSTNAME; exec sleep 1000') || fail "run -d"
expect "ps" "web demo" "$(docker ps --format '{{.Names}} {{.Image}}')"
expect "label filter" web "$(docker ps --filter label=a=b --format '{{.Names}}')"
expect "label filter, none" "" "$(docker ps -q --filter label=a=c)"
wait_for 10 sh -c "docker logs web | grep -q ${id:0:12}" || fail "HOSTNAME is not in the log"
expect "first log line" y "$(docker logs web | head -1)"
expect "tail" 1 "$(docker logs --tail 1 web | wc -l)"
expect_match "timestamps" '^20[0-9][0-9]-[0-9-]+T[0-9:.]+Z y$' "$(docker logs -t web | head -1)"
expect_status 5 docker exec web sh -c 'echo in; exit 5'
expect "exec's output" in "$(cat "$T/out")"
expect "exec -i" through "$(echo through | docker exec -i web cat)"
expect_status 127 docker exec web /no/such/program
expect_status 1 docker rm web
expect_match "rm of a running one" 'container is running' "$(cat "$T/err")"
expect_status 125 docker run --name web demo true
expect_match "conflict" 'Conflict. The container name "/web" is already in use' "$(cat "$T/err")"
docker rename web www || fail rename
expect "prefix" "$id" "$(docker inspect --format '{{.Id}}' "${id:0:7}")"
docker stop -t 5 www >/dev/null || fail stop
expect "state after stop" exited "$(docker inspect --format '{{.State.Status}}' www)"
docker start www >/dev/null || fail start
docker kill www >/dev/null || fail kill
expect "exit code of kill" 137 "$(docker wait www)"
docker restart www >/dev/null || fail restart
docker rm -f www >/dev/null || fail "rm -f"

# wait, start -a, attach
docker create --name job demo sh -c 'echo work; exit 9' >/dev/null
expect_status 9 docker start -a job
expect "start -a" work "$(cat "$T/out")"
expect "wait" 9 "$(docker wait job)"
docker rm job >/dev/null

# logs -f ends with the container
docker run -d --name lines demo sh -c 'for i in 1 2 3; do echo line $i; sleep 0.1; done' >/dev/null
expect "logs -f" "line 1 line 2 line 3" "$(timeout 20 docker logs -f lines | xargs)"
docker rm lines >/dev/null

# events
timeout 20 docker events --filter type=container --filter event=die --format '{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}' >"$T/events" &
events=$!
wait_for 10 sh -c "docker run --rm --name eventful demo sh -c 'exit 4'; grep -q 'eventful 4' '$T/events'" || fail "no event: $(cat "$T/events")"
kill $events

# images
docker tag demo other:tag || fail tag
expect "tags" 2 "$(docker images -q | wc -l)"
docker rmi other:tag >/dev/null || fail rmi
docker create --name user demo true >/dev/null
expect_status 1 docker rmi demo
expect_match "image in use" 'container' "$(cat "$T/err")"
docker rm user >/dev/null
docker inspect demo >/dev/null || fail "inspect of an image"
docker rmi demo >/dev/null || fail "rmi of the last name"
expect "images left" "" "$(docker images -q)"

# a terminal
load_demo
python3 - "$T/tty" <<'PY' || fail "docker run -t"
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execvp("docker", ["docker", "run", "--rm", "-it", "demo", "sh", "-c", "test -t 0 && test -t 1 && echo is-a-tty; exit 7"])
out = b""
try:
    while True:
        piece = os.read(fd, 4096)
        if not piece:
            break
        out += piece
except OSError:
    pass
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(0 if status == 7 and b"is-a-tty\r\n" in out else print(status, out) or 1)
PY
exit 0
