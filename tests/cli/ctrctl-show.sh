#!/usr/bin/env bash
# valgrind
# What lists and documents look like, and completion.
. "$(dirname "$0")/ctrctl-fake.bash"

expect 0 run -d --name web -l k=v busybox:latest sleep 1000
id=$(cat "$T/out")
expect 0 ps;                                 has out "CONTAINER ID   IMAGE            COMMAND        CREATED"; has out "0.0.0.0:8080->80/tcp   web"
expect 0 ps -q;                              same out "${id:0:12}"
expect 0 ps -q --no-trunc;                   same out "$id"
expect 0 ps --format '{{.Names}}';           same out web
expect 0 ps --format '{{.Names}}\t{{.State}}'; same out $'web\trunning'
expect 0 ps --format 'table {{.Names}}\t{{.Labels}}'; same out $'NAMES     LABELS\nweb       k=v'
expect 0 ps --format json
python3 -c 'import json, sys; row = json.load(sys.stdin); assert row["Names"] == "web" and row["ID"] == sys.argv[1][:12], row' "$id" <"$T/out" || fail "ps --format json"
expect 1 ps --format '{{.Nmaes}}';           has err "there is no field .Nmaes"; has err ".Names"
expect 1 ps --format '{{.Names';             has err "--format"
expect 1 ps -f nonsense;                     has err "KEY=VALUE"
forget; expect 0 ps -a -f status=exited -f status=created -f name=x
asked 'r["query"].get("filters") == "{\"status\":[\"exited\",\"created\"],\"name\":[\"x\"]}"'
expect 0 container ls -q;                    same out "${id:0:12}"

expect 0 images;                             has out "REPOSITORY   TAG       IMAGE ID       CREATED"; has out "4.26MB"
expect 0 image ls 'busy*' --format '{{.Repository}}:{{.Tag}} {{.Size}}'; same out "busybox:latest 4.26MB"
expect 0 images nothing -q;                  same out ""
expect 0 images -q --no-trunc;               has out "sha256:abab"
expect 0 tag busybox:latest other/name:2
expect 0 rmi other/name:2;                   same out "Untagged: other/name:2"
expect 1 rmi other/name:2;                   has err "No such image"

expect 0 inspect web -f '{{.State.Status}} {{json .Config.Tty}}'; same out "running false"
expect 0 inspect web
python3 -c 'import json, sys; d = json.load(sys.stdin); assert len(d) == 1 and d[0]["Id"] == sys.argv[1]' "$id" <"$T/out" || fail "inspect"
expect 1 inspect web nosuch;                 has err "nosuch: no such container, image or network"; has out "$id"
expect 1 inspect --type image web
expect 0 image inspect busybox:latest -f '{{index .RepoTags 0}}'; same out busybox:latest

expect 0 plugin ls;                          has out "refused: ABI 9, this is 1"
expect 0 plugin show storage-ext4;           has out "Options, in the profile's section [storage.ext4]"
expect 1 plugin show nosuch;                 has err "ctrctl plugin ls"
expect 0 info;                               has out "Isolation:"
expect 0 info -f '{{.Ctr.profile}}';         same out fake
expect 0 version -f '{{.Server.Version}}';   same out fake
expect 0 stop web
expect 0 wait web;                           same out 143
expect 0 rename web renamed
expect 0 ps -a --format '{{.Names}}';        same out renamed

expect 0 image prune -f;                     has out "deleted: sha256:cdcd"; has out "Total reclaimed space: 4.26MB"
forget; expect 0 image prune -a -f --filter label=x
asked 'r["query"].get("filters") == "{\"label\":[\"x\"],\"dangling\":[\"false\"]}"'
expect 0 system prune -f;                    has out "untagged: old:1"
forget; printf 'pass word\r\n' | ctl login -u ann --password-stdin reg:5000 >"$T/out" 2>"$T/err"; same out "Login Succeeded"; same err ""
asked 'b == {"host": "reg:5000", "user": "ann", "secret": "pass word"}'
expect 0 login -u ann -p pw;                 same out "Login Succeeded"; has err "WARNING"
expect 0 pull --progress json many:1
python3 -c 'import json, sys; [json.loads(l) for l in sys.stdin]' <"$T/out" || fail "pull --progress json"; same err ""
expect 0 pull --progress plain many:1;       same out many:1; has err "aaaaaaaaaaaa: Downloading"
[ "$(grep -c "aaaaaaaaaaaa: Downloading" "$T/err")" = 1 ] || fail "plain: more than one line for a status"
expect 0 pull --progress tty many:1;         has err "Total:"
expect 0 pull -q many:1;                     same out many:1; same err ""

# completion: from the tables, and from the daemon
words() { ctl __complete "$@" | cut -f1 | tr '\n' ' '; }
[ "$(words "")" != "" ] || fail "no commands"
[ "$(words ru)" = "run " ] || fail "ru: $(words ru)"
[ "$(words system st)" = "start status stop " ] || fail "system st: $(words system st)"
[ "$(words run --pl)" = "--platform " ] || fail "run --pl: $(words run --pl)"
[ "$(words run --pull "")" = "always missing never " ] || fail "run --pull: $(words run --pull "")"
[ "$(words rm re)" = "renamed " ] || fail "rm re: $(words rm re)"
[ "$(words --profile default rm "")" = "renamed " ] || fail "a profile first: $(words --profile default rm "")"
[ "$(words stop "")" = "" ] || fail "stop offers one that does not run"
[ "$(words run -it busy)" = "busybox:latest " ] || fail "run -it busy: $(words run -it busy)"
[ "$(words run busybox:latest "")" = ":file " ] || fail "behind the image"
[ "$(words run --env-file "")" = ":file " ] || fail "a file"
[ "$(words kill -s KI)" = "KILL " ] || fail "kill -s KI: $(words kill -s KI)"
[ "$(words pull --progress "")" = "auto tty plain json " ] || fail "pull --progress: $(words pull --progress "")"
[ "$(words registry "")" = "login logout ls " ] || fail "registry: $(words registry "")"
[ "$(words completion "")" = "bash zsh fish " ] || fail "completion"
[ "$(words nosuch "")" = "" ] || fail "nosuch"
[ "$(words rm renamed --forc)" = "--force " ] || fail "rm renamed --forc"
for shell in bash zsh fish; do expect 0 completion $shell; has out __complete; done
# the bash script, in a bash
cat >"$T/try.bash" <<'TRY'
PATH=$T/bin:$PATH
source <(ctrctl completion bash)
try() {
    COMP_LINE=$1 COMP_POINT=${#1}
    read -r -a COMP_WORDS <<<"$1"
    [[ $1 == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _ctrctl 2>/dev/null
    echo "${COMPREPLY[*]}"
}
try "ctrctl sys"
try "ctrctl rm "
try "ctrctl run busybox:la"
TRY
T=$T bash "$T/try.bash" >"$T/out"
same out $'system\nrenamed\nlatest'
# and the others, where these shells are
export PATH=$T/bin:$PATH
if command -v fish >/dev/null; then
    fish -c 'ctrctl completion fish | source; complete -C "ctrctl rm "; complete -C "ctrctl run --pull al"' >"$T/out" 2>&1
    same out $'renamed\nalways'
fi
if command -v zsh >/dev/null; then
    zsh -f -c 'compdef() { :; }
        source <(ctrctl completion zsh)
        compadd() { print -rl -- $names; }
        words=(ctrctl rm ""); CURRENT=3; _ctrctl
        words=(ctrctl run --pull al); CURRENT=4; _ctrctl' >"$T/out" 2>&1
    same out $'renamed\nalways'
fi
finish
