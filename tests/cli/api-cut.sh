#!/usr/bin/env bash
# Clients that go in the middle of a save, load, import, push, pull or tag list: the work ends within seconds, and no descriptor, thread or
# half image is left.
. "$(dirname "$0")/../lib.sh"
need python3 umoci

use_profile cut fake
load_demo
mkdir -p "$T/root" && head -c 8000000 /dev/urandom >"$T/root/file"
tar c -C "$T/root" . | ctr import - big:1 >/dev/null || fail import
tar cf "$T/root.tar" -C "$T/root" .
# a registry that takes connections and never answers
python3 - "$T/port" <<'PY' &
import os, socket, sys
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(64)
open(sys.argv[1] + ".new", "w").write(str(s.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
held = []
while True:
    held.append(s.accept()[0])
PY
PIDS+=($!)
wait_for 10 test -f "$T/port" || fail "no deaf registry"
DEAF=127.0.0.1:$(cat "$T/port")
ctr tag big:1 "$DEAF/big:1" || fail tag
pid=$(daemon_pid)
state() { echo "$(ls "/proc/$pid/fd" | wc -l) $(ls "/proc/$pid/task" | wc -l)"; }
sleep 0.5
before=$(state)

cat >"$T/cut.py" <<'PY'
import socket, sys, time
path, tar, deaf = sys.argv[1:]
def begin(request, body=b""):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.sendall(request.encode() + b"\r\n" + body)
    return s
some = open(tar, "rb").read()[:3000000]
chunked = "Host: x\r\nTransfer-Encoding: chunked\r\n"
piece = b"%x\r\n" % len(some) + some + b"\r\n"
for i in range(4):
    s = begin("GET /v1.43/images/get?names=big:1 HTTP/1.1\r\nHost: x\r\n")
    s.recv(1000)
    s.close()
    begin("POST /v1.43/images/create?fromSrc=-&repo=half HTTP/1.1\r\n" + chunked, piece).close()
    begin("POST /v1.43/images/load HTTP/1.1\r\n" + chunked, piece[:2000000]).close()
    begin("POST /v1.43/images/load HTTP/1.1\r\n" + chunked).close()
    waiting = [begin("POST /v1.43/images/%s/big/push?tag=1 HTTP/1.1\r\nHost: x\r\n" % deaf), begin("POST /v1.43/images/create?fromImage=%s/big&tag=2 HTTP/1.1\r\nHost: x\r\n" % deaf),
               begin("GET /ctr/v1/registry/tags?reference=%s/big HTTP/1.1\r\nHost: x\r\n" % deaf), begin("POST /ctr/v1/images/verify HTTP/1.1\r\nHost: x\r\n")]
    time.sleep(0.3)
    for s in waiting:
        s.close()
PY
python3 "$T/cut.py" "$T/cut/run/ctr.sock" "$T/root.tar" "$DEAF" || fail "cut.py"
settled() { [ "$(state)" = "$before" ]; }
wait_for 20 settled || fail "descriptors and threads: '$before' before, '$(state)' after: $(ls -l "/proc/$pid/fd")"
expect "images" "$DEAF/big:1 big:1 demo:latest" "$(ctr images --format '{{.Repository}}:{{.Tag}}' | sort | xargs)"
expect_status 0 ctr image verify -q

# Ctrl-C where nothing answers at all
for words in "push $DEAF/big:1" "pull $DEAF/big:2"; do
    "$BIN/ctrctl" --profile "$PROFILE" $words >"$T/out" 2>"$T/err" &
    client=$!
    wait_for 10 grep -q . "$T/err"
    kill -INT $client
    wait $client
    expect "status of '$words' after Ctrl-C" 130 $?
    expect_match "what it says" 'interrupted; ' "$(cat "$T/err")"
done
wait_for 20 settled || fail "after Ctrl-C: '$before' before, '$(state)' after"
exit 0
