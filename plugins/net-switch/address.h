/*
 * IP addresses of both families: the same 20 bytes everywhere, what is not used is zero, so that two are equal if their bytes are.
 */
#ifndef CTR_SWITCH_ADDRESS_H
#define CTR_SWITCH_ADDRESS_H

#include <ctr/address.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/* An address and how many of its first bits count. */
struct sw_net {
    struct ctr_address address;
    uint32_t prefix;
};

static inline uint16_t
sw_get16(const uint8_t *p)
{
    return (uint16_t) (p[0] << 8 | p[1]);
}
static inline uint32_t
sw_get32(const uint8_t *p)
{
    return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}
static inline void
sw_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t) (v >> 8);
    p[1] = (uint8_t) v;
}
static inline void
sw_put32(uint8_t *p, uint32_t v)
{
    sw_put16(p, (uint16_t) (v >> 16));
    sw_put16(p + 2, (uint16_t) v);
}

/* An IPv4 address in host byte order, and back. */
static inline struct ctr_address
sw_ipv4(uint32_t value)
{
    struct ctr_address ret = {.family = 4};
    sw_put32(ret.bytes, value);
    return ret;
}
static inline uint32_t
sw_ipv4_value(const struct ctr_address *address)
{
    return sw_get32(address->bytes);
}
static inline struct ctr_address
sw_ipv6(const uint8_t bytes[16])
{
    struct ctr_address ret = {.family = 6};
    memcpy(ret.bytes, bytes, 16);
    return ret;
}
static inline bool
sw_same(const struct ctr_address *a, const struct ctr_address *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool sw_in_net(const struct ctr_address *address, const struct sw_net *net);
/* 224.0.0.0/4 and what is above, ff00::/8. */
bool sw_is_multicast(const struct ctr_address *address);
/* Addresses that are closed for every guest: this host, links, metadata services, multicast, reserved ones; also IPv4 ones within IPv6 ones. */
bool sw_is_closed(const struct ctr_address *address);
/* The IPv4 address that an IPv6 address leads to by a translator (64:ff9b::/96) or a tunnel (2002::/16). */
bool sw_embedded(const struct ctr_address *address, struct ctr_address *ret);
/* fe80:: with the MAC in it. */
struct ctr_address sw_link_local(const uint8_t mac[6]);
/* The last `32 or 128 - prefix` bits become zero. */
struct ctr_address sw_masked(const struct ctr_address *address, uint32_t prefix);

/* From and to what the operating system takes; the length, and false if it is neither family. */
socklen_t
sw_to_sockaddr(const struct ctr_address *address, uint16_t port, struct sockaddr_storage *ret);
bool sw_from_sockaddr(const struct sockaddr_storage *name, struct ctr_address *ret_address,
                      uint16_t *ret_port);
#define SW_ADDRESS_TEXT 46 /* INET6_ADDRSTRLEN */
const char *sw_show(const struct ctr_address *address, char text[SW_ADDRESS_TEXT]);

#endif
