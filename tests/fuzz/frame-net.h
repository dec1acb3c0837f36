/*
 * What the fuzz targets of a guest's frames share: net-switch's pure half, as source, and the network and the guest that it judges for.
 */
#ifndef CTR_TESTS_FUZZ_FRAME_NET_H
#define CTR_TESTS_FUZZ_FRAME_NET_H

#include <stdlib.h>

#include "plugins/net-switch/address.c"
#include "plugins/net-switch/allowed.c"
#include "plugins/net-switch/ether.c"
#include "plugins/net-switch/guard.c"
#include "plugins/net-switch/judge.c"
#include "plugins/net-switch/packet.c"

#define NET 0x0a580000U

static inline struct sw_rules
plain_rules(void)
{
    return (struct sw_rules){
        .net = {sw_ipv4(NET), 16},
        .net6 = {{6, {0xfd, 0x58}}, 64},
        .gateway = sw_ipv4(NET + 1),
        .dns = sw_ipv4(NET + 1),
        .host = sw_ipv4(NET + 0xfffe),
        .gateway6 = {6, {0xfd, 0x58, [15] = 1}},
        .out_mtu = 1500,
    };
}

static inline struct sw_identity
guest(void)
{
    struct sw_identity ret = {
        .mac = {2, 0x42, 0x0a, 0x58, 0, 2},
        .address = sw_ipv4(NET + 2),
        .address6 = {6, {0xfd, 0x58, [15] = 2}},
    };
    ret.link_local = sw_link_local(ret.mac);
    return ret;
}

#endif
