#!/bin/bash
# Hostile and clumsy clients: garbage, huge bodies, half requests, idle connections, clients that vanish. Others are served meanwhile,
# and nothing stays behind.
. "$(dirname "$0")/../lib.sh"
need curl python3

use_profile lim fake
ctr system start >/dev/null || fail "the engine does not start"
load_demo
ctr run -d --name target demo sh -c 'while :; do echo tick; sleep 0.01; done' >/dev/null || fail "run -d"
S=$T/lim/run/ctr.sock
get() { curl -s --max-time 20 -o "$T/body" -w '%{http_code}' --unix-socket "$S" "$@"; }

expect "ping" 200 "$(get http://d/_ping)"
expect "unknown page" 404 "$(get http://d/v1.43/nothing)"
expect "wrong method" 405 "$(get -X DELETE http://d/v1.43/info)"
expect "too new" 400 "$(get http://d/v1.99/info)"
expect_match "too new" 'Maximum supported API version is 1.43' "$(cat "$T/body")"
expect "too old" 400 "$(get http://d/v1.10/info)"
expect "no JSON" 400 "$(get -X POST -d '{' http://d/v1.43/containers/create)"
expect "no object" 400 "$(get -X POST -d '[1]' http://d/v1.43/containers/create)"
expect "duplicate keys" 400 "$(get -X POST -d '{"Image":"a","Image":"b"}' http://d/v1.43/containers/create)"
expect "deep JSON" 400 "$(python3 -c 'print("["*100000)' | get -X POST -d @- http://d/v1.43/containers/create)"
expect "missing image" 404 "$(get -X POST -d '{"Image":"nothing:here"}' http://d/v1.43/containers/create)"
for bad in '{"Image":"demo","HostConfig":{"Binds":["/:/host"]}}' '{"Image":"demo","HostConfig":{"Privileged":true}}' \
    '{"Image":"demo","HostConfig":{"NetworkMode":"host"}}' '{"Image":"demo","HostConfig":{"RestartPolicy":{"Name":"always"}}}' \
    '{"Image":"demo","HostConfig":{"Madeup":1}}' '{"Image":"demo","Env":[1]}' '{"Image":"demo","Env":["=x"]}' '{"Image":7}' \
    '{"Image":"demo","HostConfig":[]}' '{"Image":"demo","Hostname":"a b"}' '{"Image":"demo","Cmd":{"a":1}}' '{"Image":"demo","StopSignal":"NOPE"}' \
    '{"Image":"demo","WorkingDir":"relative"}' '{"Image":"demo","HostConfig":{"Memory":1}}' '{"Image":"demo","HostConfig":{"PortBindings":{"99999/tcp":[{}]}}}'; do
    expect "refused: $bad" 400 "$(get -X POST -d "$bad" http://d/v1.43/containers/create)"
    expect_match "a message" '^\{"message":"[^"]' "$(cat "$T/body")"
done
expect "body of 17 MiB" 413 "$(head -c 17825792 /dev/zero | get -X POST -H 'Expect:' --data-binary @- http://d/v1.43/containers/create)"
expect "attach without upgrade" 400 "$(get -X POST "http://d/v1.43/containers/target/attach?stream=1&stdout=1")"
expect "containers made by all that" 1 "$(ctr ps -aq | wc -l)"

# another user is refused, whatever the modes
if [ "$(id -u)" = 0 ]; then
    mkdir "$T/open" && chmod 711 "$T" "$T/lim" "$T/lim/run" && chmod 666 "$S"
    setpriv --reuid=65534 --regid=65534 --clear-groups curl -s --max-time 5 --unix-socket "$S" http://d/_ping >"$T/out" && fail "another user was served"
    chmod 600 "$S"
fi

daemon=$(python3 -c 'import socket, struct, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
print(struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])' "$S")
threads() { awk '/^Threads/ {print $2}' /proc/"$daemon"/status; }
files() { ls /proc/"$daemon"/fd | wc -l; }
# Connections that are being closed are given their time: what counts is that they go.
settled() { [ "$(threads)" -le "$1" ] && [ "$(files)" -le "$2" ]; }
get http://d/info >/dev/null
sleep 0.2
threads0=$(threads) files0=$(files)

python3 - "$S" <<'PY' || fail "a hostile client kept others out"
import os, socket, subprocess, sys, time
path = sys.argv[1]
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)  # blocks while the backlog is full
    s.settimeout(20)
    return s
def ping():
    s = connect()
    s.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
    answer = s.recv(4096)
    s.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer
def try_send(s, data):
    try:
        s.sendall(data)
    except OSError:
        pass
# garbage
for data in (b"\x00" * 5000, b"GET", b"\xff\xfe\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", os.urandom(20000), b"POST /x HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
             b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\n\r\n"):
    s = connect()
    try_send(s, data)
    s.close()
    ping()
# 400 idle and half-sent requests: the next one is still served
crowd = []
for i in range(400):
    s = connect()
    try_send(s, b"" if i % 2 else b"POST /v1.43/containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 100\r\n\r\n{")
    crowd.append(s)
ping()
for s in crowd:
    s.close()
ping()
# clients that vanish in the middle of a stream
for target in ("attach?stream=1&stdout=1&stderr=1", "wait?condition=next-exit", "logs?follow=1&stdout=1"):
    for i in range(20):
        s = connect()
        method = "GET" if target.startswith("logs") else "POST"
        s.sendall(f"{method} /v1.43/containers/target/{target} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        s.recv(100)
        s.close()
for i in range(20):
    s = connect()
    s.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
    s.recv(10)
    s.close()
ping()
PY
wait_for 30 settled $((threads0 + 1)) $((files0 + 2)) || fail "left behind: $(threads) threads (were $threads0), $(files) descriptors (were $files0)"
ctr rm -f target >/dev/null || fail "rm -f"
expect "the engine still runs a container" ok "$(ctr run --rm demo echo ok)"
exit 0
