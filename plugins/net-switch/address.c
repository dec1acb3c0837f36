/*
 * Addresses, and which of them are closed for every guest. See address.h.
 */
#include "address.h"
#include <arpa/inet.h>
#include <netinet/in.h>

bool
sw_in_net(const struct ctr_address *address, const struct sw_net *net)
{
    uint32_t whole = net->prefix / 8, rest = net->prefix % 8;
    return address->family == net->address.family &&
           memcmp(address->bytes, net->address.bytes, whole) == 0 &&
           (rest == 0 ||
            ((address->bytes[whole] ^ net->address.bytes[whole]) >> (8 - rest)) == 0);
}

bool
sw_is_multicast(const struct ctr_address *address)
{
    return address->family == 4 ? address->bytes[0] >= 224 : address->bytes[0] == 0xff;
}

bool
sw_embedded(const struct ctr_address *address, struct ctr_address *ret)
{
    static const struct sw_net translator = {{6, {0, 0x64, 0xff, 0x9b}}, 96};
    static const struct sw_net tunnel = {{6, {0x20, 0x02}}, 16};
    size_t at = sw_in_net(address, &translator) ? 12 : sw_in_net(address, &tunnel) ? 2 : 0;
    if (at == 0) {
        return false;
    }
    *ret = sw_ipv4(sw_get32(address->bytes + at));
    return true;
}

bool
sw_is_closed(const struct ctr_address *address)
{
    static const struct sw_net closed[] = {
        {{4, {0}}, 8},                   /* this host, for Linux */
        {{4, {127}}, 8},                 /* loopback */
        {{4, {169, 254}}, 16},           /* links, 169.254.169.254 among them */
        {{4, {100, 100, 100, 200}}, 32}, /* a metadata service */
        {{4, {192, 0, 0, 192}}, 32},     /* another */
        {{4, {168, 63, 129, 16}}, 32},   /* another */
        {{4, {224}}, 3},                 /* multicast, reserved, broadcast */
        {{6, {0}}, 64},                  /* ::, ::1, IPv4-compatible, -mapped, -translated */
        {{6, {0, 0x64, 0xff, 0x9b, 0, 1}}, 48}, /* translators of somebody's own */
        {{6, {0x20, 0x01, 0, 0}}, 32},          /* Teredo: an IPv4 address, disguised */
        {{6, {0xfe, 0x80}}, 10},                /* links */
        {{6, {0xfe, 0xc0}}, 10},                /* sites, of old */
        {{6, {0xff}}, 8},                       /* multicast */
        {{6, {0xfd, 0, 0x0e, 0xc2}}, 32},       /* fd00:ec2::254, a metadata service */
        {{6, {0xfd, 0x20, 0, 0xce}}, 32},       /* fd20:ce::254, another */
    };
    struct ctr_address inner;
    if (sw_embedded(address, &inner)) {
        return sw_is_closed(&inner);
    }
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++) {
        if (sw_in_net(address, &closed[i])) {
            return true;
        }
    }
    return false;
}

struct ctr_address
sw_link_local(const uint8_t mac[6])
{
    return (struct ctr_address){
        .family = 6,
        .bytes = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3],
                  mac[4], mac[5]},
    };
}

struct ctr_address
sw_masked(const struct ctr_address *address, uint32_t prefix)
{
    struct ctr_address ret = *address;
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t bits = prefix > i * 8 ? prefix - i * 8 : 0;
        ret.bytes[i] &= (uint8_t) (bits >= 8 ? 0xff : 0xff00U >> bits);
    }
    return ret;
}

socklen_t
sw_to_sockaddr(const struct ctr_address *address, uint16_t port, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof *ret);
    if (address->family == 6) {
        struct sockaddr_in6 *name = (void *) ret;
        name->sin6_family = AF_INET6;
        name->sin6_port = htons(port);
        memcpy(&name->sin6_addr, address->bytes, 16);
        return sizeof *name;
    }
    struct sockaddr_in *name = (void *) ret;
    name->sin_family = AF_INET;
    name->sin_port = htons(port);
    memcpy(&name->sin_addr, address->bytes, 4);
    return sizeof *name;
}

bool
sw_from_sockaddr(const struct sockaddr_storage *name, struct ctr_address *ret_address,
                 uint16_t *ret_port)
{
    const void *any = name;
    if (name->ss_family == AF_INET) {
        const struct sockaddr_in *in = any;
        *ret_address = sw_ipv4(ntohl(in->sin_addr.s_addr));
        *ret_port = ntohs(in->sin_port);
        return true;
    }
    if (name->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = any;
        *ret_address = sw_ipv6(in->sin6_addr.s6_addr);
        *ret_port = ntohs(in->sin6_port);
        return true;
    }
    return false;
}

const char *
sw_show(const struct ctr_address *address, char text[SW_ADDRESS_TEXT])
{
    int family = address->family == 6 ? AF_INET6 : AF_INET;
    return inet_ntop(family, address->bytes, text, SW_ADDRESS_TEXT);
}
