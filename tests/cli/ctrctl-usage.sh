#!/usr/bin/env bash
# valgrind
# ctrctl alone: the grammar of options, what a wrong one says, help for every command.
. "$(dirname "$0")/ctrctl-fake.bash"

expect 1 rnu;                       has err "unknown command 'rnu', the nearest is 'run'"
expect 1 zzzzzz;                    has err "'ctrctl --help' lists all"
expect 1 image lss;                 has err "the nearest is 'ls'"
expect 125 run --rmm busybox;       has err "unknown option --rmm, the nearest is --rm; see 'ctrctl run --help'"
expect 125 run;                     has err "usage: ctrctl run [OPTIONS] IMAGE [COMMAND] [ARG...]"
expect 125 run --name;              has err "--name needs a value"
expect 125 run --pull now busybox;  has err "--pull must be one of always|missing|never"
expect 125 run --rm=perhaps busybox
expect 125 create -Z busybox;       has err "unknown option -Z"
expect 125 exec web;                has err "needs more arguments"
expect 1 ps stray;                  has err "'stray'"
expect 1 stop;                      has err "needs an argument"
expect 1 completion tcsh;           has err "bash, zsh or fish"
expect 125 run -e =x busybox;       has err "has no name"
expect 125 run -m lots busybox;     has err "--memory: 'lots'"
expect 125 run -c zero busybox;     has err "--cpus: 'zero'"
expect 125 run -p 99999:80 busybox; has err "--publish"
expect 125 run -p 8000-8010:80-85 busybox; has err "11 host ports cannot go to 6 container ports"
expect 125 run -p 80:80/sctp busybox; has err "use tcp or udp"
expect 125 run -p ::1:80:80 busybox; has err "IPv6 address in brackets"
expect 125 run --network host busybox; has err "publish its ports with -p"
expect 125 run --network container:web busybox; has err "--add-host host.docker.internal:host-gateway"
expect 125 run --network a,alas=x busybox; has err "the nearest is \"alias\""
expect 125 run --network a --network a busybox; has err "named twice"
expect 125 run --network a --network none busybox; has err "cannot be combined"
expect 125 run --network none --ip 10.0.0.5 busybox; has err "takes no addresses"
expect 125 run --network a,ip=10.0.0.5 --ip 10.0.0.6 busybox; has err "--ip: ip= is there twice"
expect 125 run --ip 10.0.0 busybox; has err "\"10.0.0\" is not an IPv4 address"
expect 125 run --mac-address 01:02 busybox; has err "not a MAC address"
expect 125 run --network-alias "a b" busybox; has err "not a host name"
expect 125 run --dns example.com busybox; has err "'example.com' is not an IP address"
expect 125 run --add-host web busybox; has err "want NAME:ADDRESS"
expect 125 run --add-host web:host busybox; has err "neither an IP address nor host-gateway"
expect 1 network create;            has err "needs an argument"
expect 1 network create a b;        has err "'b'"
expect 1 network create host;       has err "publish its ports with -p"
expect 1 network create --subnet 10.0.0.0 a; has err "not a subnet such as"
expect 1 network create --subnet 10.0.0.0/33 a; has err "not a subnet such as"
expect 1 network create --gateway 10.0.0.1 a; has err "is not an address of a --subnet"
expect 1 network create --egress shut a; has err "--egress must be one of open|deny"
expect 1 network create --allow x:1 a; has err "it goes with --egress deny"
expect 1 network create --egress deny --allow x:y a; has err "port"
expect 1 network create --opt x a;  has err "must be NAME=VALUE"
expect 1 network conect a b;        has err "the nearest is 'connect'"
expect 1 network connect a;         has err "usage: ctrctl network connect [OPTIONS] NETWORK CONTAINER"
expect 1 network capture a;         has err "-w FILE.pcap"
expect 1 network capture a -w x -c none; has err "--count: 'none'"
expect 1 network prune </dev/null;  has err "--force"
expect 1 events --format '{{.Oops';  has err "--format: '}}' expected"
expect 125 run --stop-signal NOPE busybox
expect 125 run --tmpfs relative busybox
expect 1 kill -s NOPE web;          has err "--signal: 'NOPE'"
expect 125 run -it busybox sh </dev/null; has err "not a TTY"
expect 1 pull;                      has err "usage: ctrctl pull [OPTIONS] IMAGE"
expect 1 pull --progress bars x;    has err "--progress must be one of auto|tty|plain|json"
expect 1 pull -q --progress json x; has err "do not go together"
expect 1 pull -a --platform linux/arm64 x; has err "do not go together"
expect 1 psuh x;                    has err "the nearest is 'push'"
expect 1 save;                      has err "needs an argument"
expect 1 save --format zip x;       has err "docker-archive|oci-archive|oci-dir"
expect 1 save --format oci-dir x;   has err "-o FOLDER"
expect 1 login </dev/null;          has err "--username NAME and --password-stdin"
expect 1 login --password-stdin </dev/null; has err "needs --username"
expect 1 login -u ann -p x --password-stdin </dev/null; has err "do not go together"
expect 1 image prune </dev/null;    has err "--force"
expect 1 import http://127.0.0.1/x; has err "curl"
expect 1 system df -v --format x;   has err "do not go together"
# Each of these is one line, and no daemon was started for any.
for words in rnu "run --rmm x" "ps stray"; do
    [ "$(ctl $words 2>&1 | wc -l)" = 1 ] || fail "ctrctl $words: more than one line"
done
[ ! -e "$CTR_RUN/starts" ] || fail "a usage error started the daemon"

# Help: everywhere, the same both ways, never an error.
expect 0 --help;         has out "Usage:  ctrctl [OPTIONS] COMMAND"
expect 0 help
expect 0 --version;      has out "ctrctl "
commands=$(ctl --help | sed -n 's/^  \([a-z]*\)  *[A-Z].*/\1/p')
[ "$(wc -w <<<"$commands")" -ge 25 ] || fail "only these commands: $commands"
for c in $commands; do
    case $c in image | container | network | registry | plugin | system) subs=$(ctl "$c" --help | sed -n 's/^  \([a-z]*\)  *[A-Z].*/\1/p') ;; *) subs= ;; esac
    expect 0 "$c" --help;  has out "Usage:  ctrctl $c"
    for s in $subs; do
        expect 0 "$c" "$s" --help; has out "Usage:  ctrctl $c $s"
    done
    [ "$c" = help ] || { expect 0 help "$c"; has out "Usage:  ctrctl $c"; }
done
[ ! -e "$CTR_RUN/starts" ] || fail "help started the daemon"

# All ways to write an option come out the same. Options end at the image, or at --.
want='b.get("Env") == ["A=1", "B=2"] and b["Tty"] is False and b["OpenStdin"] and b["Cmd"] == ["sh", "-c", "x", "--rm"] and h["AutoRemove"] is False and r["query"]["name"] == "n"'
for style in '-i -e A=1 -e B=2 --name n' '-ieA=1 -e=B=2 --name=n' '--interactive --env A=1 --env=B=2 --name n --rm=false' '-i=true -e A=1 -eB=2 --name n --'; do
    [ -e "$CTR_RUN/ctr.sock.log" ] && forget
    expect 0 create $style busybox:latest sh -c x --rm
    asked "$want"
done
expect 0 rm -f n n
finish
