#!/usr/bin/env bash
# Pulls through a proxy: by the environment, by the profile, around it by no_proxy, and what neither proxy nor registry may learn of the other's login.
# registry.test is a name that the proxy alone knows.
TMPDIR=$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")
. "$(dirname "$0")/../lib.sh"
. "$ROOT/tests/hostile/hreg.bash"
need openssl docker-registry skopeo
unset http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY all_proxy

# proxy NAME UPSTREAM-PORT [LOGIN]: its port in $T/NAME.port
proxy() {
    background python3 -B "$ROOT/tests/hostile/proxy" "$T/$1.port" "$T/$1.log" "${@:2}"
    wait_for 20 test -f "$T/$1.port" || fail "the proxy does not start"
    : >"$T/$1.log"
}
proxy open "$HOME_PORT"
proxy login "$HOME_PORT" pat:pr0xy-pw
OPEN=127.0.0.1:$(cat "$T/open.port") LOGIN=127.0.0.1:$(cat "$T/login.port")
NAME=registry.test:$HOME_PORT
host_of() { printf '[registry.host "%s"]\nplain_http = yes\n%s' "$NAME" "${1:-}"; }
profile p "$(host_of)"
profile key "$(host_of "proxy = http://$OPEN")"
profile secret "$(host_of "proxy = http://pat:pr0xy-pw@$LOGIN")"
profile wrong "$(host_of "proxy = http://pat:wr0ng-pw@$LOGIN")"
profile gone "$(host_of "proxy = http://127.0.0.1:1")"
profile loopback "[registry.host \"$REG\"]
proxy = http://$OPEN"
(umask 077; printf '{"auths":{"%s":{"auth":"YWxpY2U6czNjcmV0LXB3"},"%s":{"auth":"YWxpY2U6czNjcmV0LXB3"}}}' "$NAME" "$REG" >"$T/p/auth.json")
again() { fresh; : >"$T/open.log"; : >"$T/login.log"; }
by_proxy() { [ -s "$T/$1.log" ] || complain "$2: not through the proxy"; }
past_proxy() { [ ! -s "$T/open.log" ] || complain "$1: through the proxy: $(head -n 2 "$T/open.log")"; }
# quiet WHAT: the proxy's login stands in nothing that was printed or kept, and never reached the registry
quiet() {
    after "$1"
    grep -rqE 'pr0xy-pw|wr0ng-pw|cGF0On' "$T/out" "$T/log" "$T/p/data" && complain "$1: the proxy's login was told: $(grep -hE 'pr0xy-pw|wr0ng-pw|cGF0On' "$T/out" "$T/log")"
}

# --- by the environment ---
again; tool pull "$NAME/m" && complain "registry.test is known without a proxy"
again; http_proxy=http://$OPEN tool pull "$NAME/basic" || complain "http_proxy: must work"
by_proxy open http_proxy; quiet http_proxy
again; http_proxy=http://pat:pr0xy-pw@$LOGIN tool pull "$NAME/m" || complain "http_proxy with a login: must work"
by_proxy login "http_proxy with a login"; quiet "http_proxy with a login"
again; http_proxy=http://$OPEN no_proxy=registry.test tool pull "$NAME/m" && complain "no_proxy: must fail, as nothing else knows the name"
past_proxy no_proxy
again; http_proxy=http://$OPEN https_proxy=http://$OPEN tool pull "$REG/m" || complain "loopback: must work"
past_proxy loopback

# --- by the profile, which knows better than the environment ---
P=key; again; no_proxy=registry.test http_proxy=http://127.0.0.1:1 tool pull "$NAME/m" || complain "proxy key: must work"
by_proxy open "proxy key"
P=secret; again; tool pull "$NAME/m" || complain "proxy key with a login: must work"
by_proxy login "proxy key with a login"; quiet "proxy key with a login"
P=wrong; again; tool pull "$NAME/m" && complain "a wrong proxy login"
grep -qi 'proxy' "$T/out" || complain "a wrong proxy login: the error does not say so"
quiet "a wrong proxy login"
P=gone; again; tool pull "$NAME/m" && complain "a proxy that is not there"
quiet "a proxy that is not there"
P=loopback; again; tool pull "$REG/m" || complain "loopback with a proxy key: must work"
past_proxy "loopback with a proxy key"

# --- https: the proxy sees CONNECT, and no login of the registry ---
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry.test -addext subjectAltName=DNS:registry.test \
    -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null || fail "openssl req"
python3 -W ignore -c 'import crypt
print("alice:" + crypt.crypt("s3cret-pw", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))' >"$T/htpasswd"
start_registry "  tls: {certificate: $T/cert.pem, key: $T/key.pem}" "auth: {htpasswd: {realm: test, path: $T/htpasswd}}"
port=${REGISTRY#*:}
proxy tls "$port" pat:pr0xy-pw
python3 -B "$ROOT/tests/hostile/mkimg" honest "$T/img"
skopeo copy -q --dest-tls-verify=false --dest-creds alice:s3cret-pw "oci:$T/img:latest" "docker://$REGISTRY/app" || fail "skopeo push"
profile tls "[registry.host \"registry.test:$port\"]
ca = $T/cert.pem"
printf '{"auths":{"registry.test:%s":{"auth":"YWxpY2U6czNjcmV0LXB3"}}}' "$port" >"$T/p/auth.json"
P=tls; again; : >"$T/tls.log"
https_proxy=http://pat:pr0xy-pw@127.0.0.1:$(cat "$T/tls.port") tool pull "registry.test:$port/app" || complain "https by CONNECT: must work"
by_proxy tls https; quiet https
grep -q '"CONNECT"' "$T/tls.log" && ! grep -qv '"CONNECT"' "$T/tls.log" || complain "https: not by CONNECT alone"
grep -qE 'YWxpY2U6|s3cret' "$T/tls.log" && complain "https: the registry's login was told to the proxy"
finish_complaints
