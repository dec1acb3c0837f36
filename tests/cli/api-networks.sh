#!/bin/bash
# Networks through the docker command and docker's Python library, on the fake VMM: the documents, status codes and messages that they rely on.
. "$(dirname "$0")/../lib.sh"
need docker

use_profile api fake
ctr system start >/dev/null || fail "the engine does not start"
export DOCKER_HOST=unix://$T/api/run/ctr.sock
export DOCKER_CONFIG=$T/docker
mkdir -p "$DOCKER_CONFIG"
load_demo

# --- the docker command
front=$(docker network create --subnet 10.123.5.0/24 --gateway 10.123.5.1 --label a=b front) || fail "network create"
docker network create -d bridge --internal --ipv6 -o com.docker.network.driver.mtu=1400 back >/dev/null || fail "network create with options"
expect "ls" "back default front none" "$(docker network ls --format '{{.Name}}' | sort | xargs)"
expect "drivers" "bridge bridge bridge null" "$(docker network ls --format '{{.Driver}}' | sort | xargs)"
expect "label filter" front "$(docker network ls --filter label=a --format '{{.Name}}')"
expect "dangling" "back front" "$(docker network ls --filter dangling=true --format '{{.Name}}' | sort | xargs)"
expect "inspect" "front local bridge false 10.123.5.0/24 10.123.5.1" \
    "$(docker network inspect -f '{{.Name}} {{.Scope}} {{.Driver}} {{.EnableIPv6}}{{range .IPAM.Config}} {{.Subnet}} {{.Gateway}}{{end}}' front)"
expect "options" 'map[com.docker.network.driver.mtu:1400] true true' "$(docker network inspect -f '{{.Options}} {{.Internal}} {{.EnableIPv6}}' back)"
expect "by ID" front "$(docker network inspect -f '{{.Name}}' "${front:0:12}")"
expect "bridge" default "$(docker network inspect -f '{{.Name}}' bridge)"
expect_status 1 docker network create front
expect_match "name taken" 'front' "$(cat "$T/err")"
expect_status 1 docker network create --subnet 10.123.5.128/25 other
expect_match "overlap" 'front' "$(cat "$T/err")"
expect_status 1 docker network create -d macvlan other
expect_match "driver" 'macvlan is not supported' "$(cat "$T/err")"
expect_status 1 docker network rm nowhere
expect_match "unknown" 'network nowhere not found|No such network: nowhere' "$(cat "$T/err")"

docker run -d --name web --network front --ip 10.123.5.40 --network-alias www --add-host other:192.0.2.7 --dns 192.0.2.53 --dns-search example.com demo sleep 1000 >/dev/null || fail "run"
expect "address" "10.123.5.40 24 10.123.5.1" "$(docker inspect -f '{{with .NetworkSettings.Networks.front}}{{.IPAddress}} {{.IPPrefixLen}} {{.Gateway}}{{end}}' web)"
expect "asked for" 10.123.5.40 "$(docker inspect -f '{{.NetworkSettings.Networks.front.IPAMConfig.IPv4Address}}' web)"
expect "HostConfig" "front [192.0.2.53] [example.com] [other:192.0.2.7]" "$(docker inspect -f '{{with .HostConfig}}{{.NetworkMode}} {{.Dns}} {{.DnsSearch}} {{.ExtraHosts}}{{end}}' web)"
docker network connect --alias inner back web || fail "network connect"
expect "two networks" "back front" "$(docker inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{end}}' web | xargs)"
expect "members" "web 10.123.5.40/24" "$(docker network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}' front)"
expect "ps by network" web "$(docker ps --filter network=back --format '{{.Names}}')"
expect_status 1 docker network rm back
expect_match "in use" 'back' "$(cat "$T/err")"
expect_status 125 docker run --rm --network front --ip 10.123.5.40 demo true
expect_match "address taken, by whom" '10.123.5.40.*web' "$(cat "$T/err")"
expect_status 125 docker run --rm --network host demo true
expect_match "host" 'publish its ports with -p' "$(cat "$T/err")"
docker network disconnect back web || fail "network disconnect"
expect_status 1 docker network disconnect back web
docker network disconnect -f front web || fail "network disconnect -f"
docker rm -f web >/dev/null
timeout 30 docker events --filter type=network --format '{{.Action}} {{.Actor.Attributes.name}}' >"$T/events" &
PIDS+=($!)
wait_for 20 sh -c "docker network create beat && docker network rm beat && grep -q 'destroy beat' '$T/events'" || fail "events: $(cat "$T/events")"
expect "prune" "back front" "$(docker network prune -f | grep -v '^Deleted' | sort | xargs)"

# --- status codes
status() { curl -s -o "$T/body" -w '%{http_code}' --unix-socket "$T/api/run/ctr.sock" -X "$1" -H 'Content-Type: application/json' ${3:+-d "$3"} "http://ctr/v1.43$2"; }
expect "create" 201 "$(status POST /networks/create '{"Name":"n","CheckDuplicate":true}')"
expect "name taken" 409 "$(status POST /networks/create '{"Name":"n"}')"
expect "no name" 400 "$(status POST /networks/create '{}')"
expect "no object" 400 "$(status POST /networks/create '[]')"
expect "swarm" 400 "$(status POST /networks/create '{"Name":"s","Driver":"overlay"}')"
expect "unknown" 404 "$(status GET /networks/nowhere)"
expect "bad filter" 400 "$(status GET '/networks?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D')"
expect "bad type" 400 "$(status GET '/networks?filters=%7B%22type%22%3A%5B%22x%22%5D%7D')"
expect "connect nobody" 404 "$(status POST /networks/n/connect '{"Container":"nobody"}')"
expect "connect nothing" 400 "$(status POST /networks/n/connect '{}')"
docker create --name c --network n demo true >/dev/null || fail create
expect "twice" 403 "$(status POST /networks/n/connect '{"Container":"c"}')"
expect "in use" 403 "$(status DELETE /networks/n)"
expect "builtin" 403 "$(status DELETE /networks/bridge)"
expect "disconnect" 200 "$(status POST /networks/n/disconnect '{"Container":"c"}')"
expect "not on it" 404 "$(status POST /networks/n/disconnect '{"Container":"c"}')"
expect "no such address" 400 "$(status POST /networks/n/connect '{"Container":"c","EndpointConfig":{"IPAMConfig":{"IPv4Address":"x"}}}')"
docker rm c >/dev/null
expect "delete" 204 "$(status DELETE /networks/n)"

# --- docker's Python library
python3 -c 'import docker' 2>/dev/null || { echo "docker's Python library is not installed: its part is left out"; exit 0; }
python3 - <<'PY' || fail "docker's Python library"
import docker
from docker.types import EndpointConfig, IPAMConfig, IPAMPool
c = docker.from_env()
pool = IPAMPool(subnet="10.123.6.0/24", gateway="10.123.6.1")
front = c.networks.create("front", driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels={"x": "y"}, check_duplicate=True)
back = c.networks.create("back", internal=True, attachable=True)
assert {n.name for n in c.networks.list(filters={"type": "custom"})} == {"front", "back"}
assert [n.name for n in c.networks.list(names=["fron"])] == ["front"]
assert [n.id for n in c.networks.list(ids=[back.id])] == [back.id]
assert front.attrs["IPAM"]["Config"] == [{"Subnet": "10.123.6.0/24", "Gateway": "10.123.6.1"}], front.attrs

web = c.containers.create("demo", ["sleep", "1000"], name="web", network="front", dns=["192.0.2.53"], extra_hosts={"h": "192.0.2.1"},
                          ports={"80/tcp": ("127.0.0.1", None), "81/udp": None})
back.connect(web, aliases=["inner"], ipv4_address=None)
web.start()
web.reload()
nets = web.attrs["NetworkSettings"]["Networks"]
assert set(nets) == {"front", "back"}, nets
assert "inner" in nets["back"]["Aliases"] and nets["front"]["IPAddress"].startswith("10.123.6."), nets
assert nets["front"]["NetworkID"] == front.id
assert web.attrs["NetworkSettings"]["Ports"]["80/tcp"][0]["HostIp"] == "127.0.0.1", web.attrs["NetworkSettings"]["Ports"]
front.reload()
assert [x.name for x in front.containers] == ["web"]
try:
    front.remove()
    raise SystemExit("a network in use was removed")
except docker.errors.APIError as e:
    assert e.response.status_code == 403, e
back.disconnect(web)
front.disconnect(web, force=True)
web.reload()
assert web.attrs["NetworkSettings"]["Networks"] == {}, web.attrs["NetworkSettings"]
web.remove(force=True)

# the low-level client, with two endpoints at once
api = c.api
config = api.create_networking_config({
    "front": api.create_endpoint_config(aliases=["a1"], ipv4_address="10.123.6.77"),
    "back": api.create_endpoint_config(aliases=["b1"])})
two = api.create_container("demo", ["true"], name="two", networking_config=config, host_config=api.create_host_config(network_mode="front"))
got = api.inspect_container(two["Id"])["NetworkSettings"]["Networks"]
assert set(got) == {"front", "back"} and got["front"]["IPAMConfig"]["IPv4Address"] == "10.123.6.77", got
api.remove_container("two")
assert set(c.networks.prune()["NetworksDeleted"]) == {"front", "back"}
try:
    c.networks.get("front")
    raise SystemExit("front is still there")
except docker.errors.NotFound:
    pass
PY
exit 0
