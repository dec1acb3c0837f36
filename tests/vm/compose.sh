#!/usr/bin/env bash
# docker-compose on real machines: two networks, three services, aliases. front reaches back by service name and alias, back reaches db, front does not reach db; again
# after `up` has nothing to do, and after db was taken down and made anew. Then `docker network`.
. "$(dirname "$0")/../lib.sh"
need_vm
need docker-compose docker
use_profile main qemu
load_demo
export DOCKER_HOST=unix://$T/main/run/ctr.sock DOCKER_CONFIG=$T/docker COMPOSE_PROJECT_NAME=shop COMPOSE_HTTP_TIMEOUT=300
mkdir -p "$DOCKER_CONFIG" "$T/shop"
cat >"$T/shop/docker-compose.yml" <<'YML'
version: "2.4"
services:
  front:
    image: demo
    command: ["sh", "-c", "mkdir -p /www && echo front >/www/index.html && exec httpd -f -p 80 -h /www"]
    networks: [outer]
    ports: ["127.0.0.1::80"]
    mem_limit: 128m
  back:
    image: demo
    command: ["sh", "-c", "mkdir -p /www && echo back >/www/index.html && exec httpd -f -p 80 -h /www"]
    networks:
      outer:
        aliases: [api]
      inner:
        ipv4_address: 10.123.9.40
    extra_hosts: ["far:192.0.2.9"]
    mem_limit: 128m
  db:
    image: demo
    command: ["sh", "-c", "mkdir -p /www && echo db >/www/index.html && exec httpd -f -p 80 -h /www"]
    networks:
      inner:
        aliases: [store, ledger.internal]
    mem_limit: 128m
networks:
  outer:
    driver: bridge
    driver_opts: {com.docker.network.driver.mtu: "1400"}
    labels: {tier: outer}
  inner:
    internal: true
    ipam:
      config: [{subnet: 10.123.9.0/24, gateway: 10.123.9.1}]
YML
compose() { (cd "$T/shop" && timeout 400 docker-compose --no-ansi "$@"); }
# gets FROM NAME WANTED: what NAME's server says to FROM; "" for one that it cannot find or reach
gets() { expect "$1 asks $2" "$3" "$(docker exec "shop_$1_1" timeout 5 wget -q -O - "http://$2/" 2>/dev/null)"; }
serves() { wait_for 30 docker exec "$1" wget -q -O - http://127.0.0.1/ || fail "$1 does not serve"; }
reach() {
    local c
    for c in front back db; do serves "shop_${c}_1"; done
    gets front back back
    gets front api back
    gets back front front
    gets back db db
    gets back store db
    gets back ledger.internal db
    gets db back back
    gets front db ""
    gets front store ""
    gets db front ""
    gets front 10.123.9.40 ""
}

compose up -d >"$T/up" 2>&1 || fail "docker-compose up: $(cat "$T/up")"
expect "services" "shop_back_1 shop_db_1 shop_front_1" "$(docker ps --format '{{.Names}}' | sort | xargs)"
expect "networks" "shop_inner shop_outer" "$(docker network ls --filter label=com.docker.compose.project=shop --format '{{.Name}}' | sort | xargs)"
expect "fixed address" 10.123.9.40 "$(docker inspect -f '{{.NetworkSettings.Networks.shop_inner.IPAddress}}' shop_back_1)"
reach
expect_match "extra host" 192.0.2.9 "$(docker exec shop_back_1 cat /etc/hosts)"
expect "the network's mtu" 1400 "$(docker exec shop_front_1 cat /sys/class/net/eth0/mtu)"
port=$(compose port front 80 | tail -n 1)
expect_match "published port" '^127\.0\.0\.1:[0-9]+$' "$port"
expect "from the host" front "$(curl -s --noproxy '*' --max-time 20 "http://$port/")"

# nothing has changed: nothing is made anew
before=$(docker ps -q --no-trunc | sort)
compose up -d >"$T/up" 2>&1 || fail "second up: $(cat "$T/up")"
expect_match "nothing to do" 'up-to-date' "$(cat "$T/up")"
expect "containers" "$before" "$(docker ps -q --no-trunc | sort)"

# one service anew: its name leads to the new one
compose rm -s -f db >"$T/up" 2>&1 || fail "rm db: $(cat "$T/up")"
gets back db ""
compose up -d db >"$T/up" 2>&1 || fail "up db: $(cat "$T/up")"
serves shop_db_1
gets back db db

# docker network, live: front comes onto inner and leaves it
docker network connect --alias guest shop_inner shop_front_1 || fail "network connect"
gets front db db
gets db guest front
docker network disconnect shop_inner shop_front_1 || fail "network disconnect"
gets front db ""
gets db guest ""
expect_status 1 docker network rm shop_inner

compose down >"$T/up" 2>&1 || fail "down: $(cat "$T/up")"
expect "containers left" "" "$(docker ps -aq)"
expect "networks left" "default none" "$(docker network ls --format '{{.Name}}' | sort | xargs)"
