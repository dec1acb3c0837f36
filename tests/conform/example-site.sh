#!/usr/bin/env bash
# The registry plugin of the SDK's examples, as a site would use it: built from a scratch prefix alone, checked by the kit, and then a pull from a registry
# whose tokens come from the site's own service.
. "$(dirname "$0")/../lib.sh"
need python3 curl
nm "$BUILD/lib/libctr-command.a" 2>/dev/null | grep -q __asan && skip "the SDK here is built with sanitizers, a site's is not"
make -s -C "$ROOT" BUILD="$BUILD" install DESTDIR= PREFIX="$T/prefix" >"$T/log" 2>&1 || fail "make install: $(tail -n 3 "$T/log")"
cp -r "$T/prefix/share/ctr/examples/registry-site" "$T/mine" || fail "the SDK holds no example"
export PKG_CONFIG_PATH=$T/prefix/lib/pkgconfig
make -s -C "$T/mine" CFLAGS="-O1 -g -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers" >"$T/log" 2>&1 || fail "build: $(cat "$T/log")"
make -s -C "$T/mine" check >"$T/log" 2>&1 || fail "check: $(grep -v '^ok' "$T/log")"
tail -n 1 "$T/log" | sed 's/ (what.*//'
lines=$(wc -l <"$T/mine/site.c")
[ "$lines" -lt 200 ] || fail "the example has $lines lines; it should be under 200"
nm -D --undefined-only "$T/mine/registry-site.so" | grep ' ctr_' && fail "it wants something of the core"

# A registry that wants its tokens from a login, and a site whose command has one.
background python3 -B "$ROOT/tests/hostile/hreg" "$T/ports" "$T/requests"
wait_for 10 test -s "$T/ports" || fail "hreg did not start"
read -r port _ <"$T/ports"
cat >"$T/site-token" <<SH
#!/bin/sh
printf '%s\n' "\$*" >>$T/asked
[ "\$1" = token ] || { echo '{}'; exit; }
exec curl -sfS -H @$T/login "http://127.0.0.1:$port/token/login?service=\$7"
SH
chmod 755 "$T/site-token"
(umask 077; echo 'Authorization: Basic YWxpY2U6czNjcmV0LXB3' >"$T/login")
cat >"$T/p.ini" <<INI
[engine]
data = $T/data
run = $T/run
plugins = $T/mine:$BUILD/tests/plugins:$BUILD/lib/ctr/plugins
platform = linux/amd64
[vmm]
plugin = qemu
[net]
plugin = none
[storage]
plugin = mem
[registry]
chain = site
[registry.site]
command = $T/site-token
hosts = 127.0.0.1:$port
INI
tool() { TOOL_QUIET=1 timeout 60 "$BUILD/tests/bin/image-tool" "$T/p.ini" "$@" >"$T/out" 2>&1; }
tool pull "127.0.0.1:$port/token-login" || fail "pull: $(cat "$T/out")"
grep -q "^token 127.0.0.1:$port token-login pull http" "$T/asked" || fail "the site was not asked for the token: $(cat "$T/asked")"
# The site says no: an error that names the instance and the command, and nothing of what it printed.
printf '#!/bin/sh\necho canary-site; exit 3\n' >"$T/site-token"
rm -rf "$T/data"
tool pull "127.0.0.1:$port/token-login" && fail "a pull without a token"
grep -q "registry site: $T/site-token get ended with status 3" "$T/out" || fail "error text: $(cat "$T/out")"
grep -rq canary-site "$T/out" "$T/data" && fail "what the command printed was shown"
# {}: the registry's own service is asked, without a login.
printf '#!/bin/sh\necho "{}"\n' >"$T/site-token"
tool pull "127.0.0.1:$port/token" || fail "pull with the registry's own tokens: $(cat "$T/out")"
