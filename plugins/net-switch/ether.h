/*
 * Frames: the one parser of what a guest sends, and the rules for what it may send.
 *
 * Pure functions on (buffer, length), no state, fuzzed by tests/fuzz/fuzz-ether.c. Addresses are in host byte order.
 */
#ifndef CTR_SWITCH_ETHER_H
#define CTR_SWITCH_ETHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SW_ETHER 14 /* bytes of an Ethernet header */
#define SW_ARP 28
#define SW_IPV4 20
#define SW_ICMP_ERROR (SW_ETHER + SW_IPV4 + 8 + 60 + 8) /* the longest that sw_refusal makes */

enum {
    SW_TYPE_IPV4 = 0x0800,
    SW_TYPE_ARP = 0x0806,
    SW_ICMP = 1,
    SW_TCP = 6,
    SW_UDP = 17,
    SW_TCP_SYN = 0x02,
    SW_TCP_ACK = 0x10,
};

/* A frame that was taken apart. Pointers go into the caller's buffer. */
struct sw_frame {
    const uint8_t *bytes;
    size_t length;
    const uint8_t *to, *from; /* MAC */
    uint16_t type;
    /* IPv4 */
    uint32_t source, target;
    const uint8_t *packet, *payload; /* IP header; what follows it */
    size_t packet_length, payload_length;
    uint8_t proto;
    bool options, fragment; /* has IP options; is a part of a datagram */
    uint16_t source_port, target_port;
    uint8_t tcp_flags, icmp_type;
    /* ARP */
    uint16_t arp_op;
    const uint8_t *arp_mac;
    uint32_t arp_source, arp_target;
};

/* Takes a frame apart; false if it is neither sound IPv4 nor sound ARP. */
bool sw_parse(const uint8_t *bytes, size_t length, struct sw_frame *ret);

/* True if the frame names only this MAC and this address as its sender. */
bool sw_is_from(const struct sw_frame *frame, const uint8_t mac[6], uint32_t address);

/* What the way out needs to know of its network. */
struct sw_rules {
    uint32_t subnet, mask;
    uint32_t gateway, dns, uplink; /* addresses that libslirp answers at */
    const uint32_t *host;          /* the host's own addresses, closed */
    size_t n_host;
};

enum sw_verdict {
    SW_PASS,
    SW_DROP,   /* silently */
    SW_REFUSE, /* with an ICMP error */
};

/* Whether a guest's frame may go to the way out. */
enum sw_verdict sw_judge(const struct sw_frame *frame, const struct sw_rules *rules);

/* Addresses that are closed for every guest: this host, links, metadata services, multicast, reserved ones. */
bool sw_is_closed(uint32_t address);

/* Writes "administratively prohibited" for a frame into ret (SW_ICMP_ERROR bytes), as sent by the gateway; returns its length. */
size_t sw_refusal(const struct sw_frame *frame, uint32_t gateway, const uint8_t gateway_mac[6],
                  uint8_t *ret);

/* Internet checksum over bytes, on top of `sum` (0 to begin with); not inverted. */
uint32_t sw_sum(uint32_t sum, const uint8_t *bytes, size_t length);
uint16_t sw_sum_finish(uint32_t sum);

/* Writes an Ethernet and an IPv4 header (34 bytes). */
struct sw_header {
    const uint8_t *to, *from;
    uint32_t source, target;
    uint16_t ident, fragment; /* offset in units of 8 bytes, with the flag 0x2000 for more */
    uint8_t proto;
    size_t payload_length;
};
void sw_write_header(const struct sw_header *header, uint8_t *ret);

/* The MAC that libslirp uses for an address. */
void sw_uplink_mac(uint32_t address, uint8_t ret[6]);

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

#endif
