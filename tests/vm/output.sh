#!/usr/bin/env bash
# 1 GB of output arrives whole, and none of our processes grows by it.
. "$(dirname "$0")/../lib.sh"
need_vm
use_profile main qemu
load_demo
peak() { awk '/VmHWM/ {print $2}' "/proc/$1/status" 2>/dev/null || echo 0; }

mkfifo "$T/go"
(ctr run -i --name big demo sh -c 'echo up >&2; read x; dd if=/dev/zero bs=1000000 count=1000 2>/dev/null' <"$T/go" 2>"$T/up" | wc -c >"$T/count") &
reader=$!
exec 9>"$T/go"
wait_for 60 grep -q up "$T/up" || fail "it did not start"
sandbox=$(sandbox_pid big)
ctrd=$(daemon_pid)
before_s=$(rss "$sandbox") before_d=$(rss "$ctrd")
echo go >&9
exec 9>&-
while kill -0 $reader 2>/dev/null; do
    s=$(peak "$sandbox") d=$(peak "$ctrd")
    [ "${s:-0}" -gt 0 ] && last_s=$s
    [ "${d:-0}" -gt 0 ] && last_d=$d
    sleep 0.5
done
expect "bytes" 1000000000 "$(tr -d ' ' <"$T/count")"
echo "ctr-sandbox $before_s -> $last_s KiB, ctrd $before_d -> $last_d KiB"
[ $((last_s - before_s)) -lt 8192 ] || fail "ctr-sandbox grew from $before_s to $last_s KiB"
[ $((last_d - before_d)) -lt 8192 ] || fail "ctrd grew from $before_d to $last_d KiB"
size=$(du -sk "$T/main/data/containers" | cut -f1)
[ "$size" -lt 200000 ] || fail "the log took $size KiB on disk; it is capped at 64 MiB"
