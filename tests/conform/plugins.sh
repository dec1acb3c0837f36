#!/usr/bin/env bash
# Every plugin of the tree passes the SDK's conformance kit.
. "$(dirname "$0")/../lib.sh"
bad=0 n=0
for so in "$BUILD"/lib/ctr/plugins/*.so "$BUILD"/tests/plugins/storage-mem.so "$BUILD"/tests/plugins/storage-mem-layers.so; do
    [ -f "$so" ] || fail "$so was not built"
    name=$(basename "$so" .so)
    case $name in
    storage-mem*) printf '[options]\n' ;;
    storage-*) printf '[options]\nsize = 256M\n' ;;
    registry-file) echo '{}' >"$T/config.json"; printf '[options]\npath = %s\n' "$T/config.json" ;;
    registry-helper)
        (umask 022; mkdir "$T/bin"; cp "$ROOT/tests/hostile/credential-helper" "$T/bin/docker-credential-ring")
        printf '[options]\nhelper = ring\npath = %s:/usr/bin:/bin\n' "$T/bin" ;;
    registry-env)
        export CONFORM_USER=alice CONFORM_TOKEN=token-of-env
        printf '[options]\nhost = ghcr.io\nuser = CONFORM_USER\nsecret = CONFORM_TOKEN\n[conform]\nhost = ghcr.io\nuser = alice\nsecret = token-of-env\n' ;;
    net-*) [ "$(id -u)" != 0 ] || printf '[conform]\noutside = 203.0.113.9\n' ;; # a network of its own, see below
    *) printf '[options]\n' ;;
    esac >"$T/$name.ini"
    case $name in
    net-bridge) continue ;; # net-bridge.sh does, in a network namespace
    net-passt) passt_works || { echo "$name: passt does not run here"; continue; } ;;
    vmm-qemu) command -v qemu-system-x86_64 >/dev/null || { echo "$name: no QEMU here"; continue; } ;;
    esac
    apart=()
    case $name:$(id -u) in
    net-*:0) apart=(unshare -n sh -c 'ip link set lo up && ip link add out0 type veth peer name out1 && ip address add 203.0.113.2/24 dev out0 && ip link set out0 up && ip link set out1 up && sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 && exec "$@"' -) ;;
    esac
    if "${apart[@]}" "$BIN/ctr-conform" "$so" "$T/$name.ini" >"$T/$name.log" 2>&1; then
        n=$((n + 1))
        tail -n 1 "$T/$name.log" | sed "s/^/$name: /; s/ (what.*//"
    else
        bad=1
        echo "$name:"
        grep -v '^ok' "$T/$name.log"
    fi
    rm -rf "$(sed -n 's/.*left is in \(.*\))$/\1/p' "$T/$name.log")"
done
[ $bad = 0 ] && [ $n -ge 5 ] || fail "$n plugins passed"
