#!/usr/bin/env bash
# valgrind
# ctrctl run against a fake daemon: exit status, streams, what it asks for, images, the ID file.
. "$(dirname "$0")/ctrctl-fake.bash"
img=busybox:latest

expect 7 run --rm $img sh -c 'echo out; echo err >&2; exit 7'; same out out; same err err
expect 127 run --rm $img nosuchprogram;   has err "executable file not found"
expect 126 run --rm $img /etc;            has err "permission denied"
expect 143 run --rm $img sh -c 'kill -TERM $$'
expect 0 run --rm $img true;              same out ""; same err ""
expect 0 ps -aq;                          same out ""

# Standard input of any size, with a half-close at its end; without -i nothing is passed on.
head -c 20000000 /dev/urandom >"$T/data.bin"
expect 0 run --rm -i $img sh -c 'sha256sum; echo done' <"$T/data.bin"
has out "$(sha256sum <"$T/data.bin")"; has out done
sum=$(ctl run --rm -i $img cat <"$T/data.bin" | sha256sum)
[ "$sum" = "$(sha256sum <"$T/data.bin")" ] || fail "cat gave other bytes"
expect 0 run --rm $img sh -c 'sleep 0.1' <"$T/data.bin"
expect 3 run --rm -i $img sh -c 'head -c 10 >/dev/null; exit 3' < <(cat /dev/zero)

# What is asked for.
printf '# a comment\nFROM_FILE=1\n\nHOME\nUNSET_ANYWHERE\n' >"$T/env"
forget
expect 0 run --rm -e A=b -e HOME --env-file "$T/env" -w /w -u 1:2 --entrypoint sh --hostname h -c 1.5 -m 512m -p 127.0.0.1:8080:80 -p 53:53/udp \
    --network none --platform linux/amd64 -l x=y -l z --read-only --tmpfs /t:size=1m --stop-signal INT --storage fast --name n $img -c true
asked 'b.get("Env") == ["FROM_FILE=1", "HOME=" + __import__("os").environ["HOME"], "A=b", "HOME=" + __import__("os").environ["HOME"]]'
asked 'b.get("WorkingDir") == "/w" and b["User"] == "1:2" and b["Entrypoint"] == ["sh"] and b["Cmd"] == ["-c", "true"] and b["Hostname"] == "h"'
asked 'h.get("NanoCpus") == 1500000000 and h["Memory"] == 512 << 20 and h["NetworkMode"] == "none" and h["ReadonlyRootfs"] and h["AutoRemove"]'
asked 'h.get("PortBindings") == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "53"}]} or h.get("PortBindings") == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "53/udp": [{"HostIp": "", "HostPort": "53"}]}'
asked 'b.get("Labels") == {"x": "y", "z": ""} and h["Tmpfs"] == {"/t": "size=1m"} and b["StopSignal"] == "INT" and r["query"]["platform"] == "linux/amd64"'
asked '"/wait" in r["path"] and r["query"]["condition"] == "removed"'
expect 125 run --env-file "$T/none" $img;  has err "--env-file"

# Images: what is missing is pulled, never and always mean it, a path is loaded first.
expect 0 run --rm fresh:1 echo ran;        same out ran; has err "aaaaaaaaaaaa: Downloading"; lacks err $'\e['
expect 0 run --rm fresh:1 echo ran;        same err ""
expect 0 run --rm --pull always -q fresh:1 true; same err ""
expect 125 run --rm --pull never absent:1; has err "No such image: absent:1"
expect 125 run --rm missing/img;           has err "manifest for missing/img not found"
mkdir -p "$T/layout"
forget
expect 0 run --rm "oci:$T/layout:v1" true; asked 'r["path"] == "/ctr/v1/images/load" and r["query"]["path"].endswith("/layout:v1")'
asked 'b.get("Image") == "demo:latest"'
(cd "$T" && expect 0 run --rm ./layout true)
expect 125 run --rm oci:/nowhere;          has err "/nowhere"

# The ID: -d, and the ID file, which must be new and does not stay after a failure.
expect 0 run -d --cidfile "$T/cid" --name bg $img sleep 100
grep -qE '^[0-9a-f]{64}$' "$T/out" || fail "no ID"
[ "$(cat "$T/cid")" = "$(cat "$T/out")" ] || fail "the ID file differs"
expect 125 run --cidfile "$T/cid" $img true; has err "exists already"
expect 125 run --cidfile "$T/cid2" --pull never absent:1; [ ! -e "$T/cid2" ] || fail "an ID file without a container"
expect 3 exec bg sh -c 'exit 3'
expect 0 exec -i bg cat <"$T/env";         cmp -s "$T/out" "$T/env" || fail "exec -i cat"
expect 127 exec bg nosuchprogram
expect 125 exec nosuch true;               has err "No such container"
expect 0 stop -t 1 bg;                     same out bg
expect 0 rm bg

# created, then started and followed
expect 0 create -i --name job $img sh -c 'cat; exit 5'
expect 5 start -ai job < <(echo in);       same out in
expect 0 logs job;                         same out in
expect 0 rm job
expect 1 rm job;                           has err "No such container"
expect 0 rm -f job

# load: an archive from standard input or a file
head -c 100000 "$T/data.bin" >"$T/a.tar"
expect 0 load <"$T/a.tar";                 same out "Loaded image: tar100000:latest"
expect 0 load -i "$T/a.tar";               same out "Loaded image: tar100000:latest"
expect 1 load -i "$T/none";                has err "no such file"
finish
