/*
 * Frames: the one parser of what a guest sends, and who may send what.
 *
 * Pure functions on (buffer, length), no state, fuzzed by tests/fuzz/fuzz-ether.c.
 */
#ifndef CTR_SWITCH_ETHER_H
#define CTR_SWITCH_ETHER_H

#include "address.h"

#define SW_ETHER 14 /* bytes of an Ethernet header */
#define SW_ARP 28
#define SW_IPV4 20
#define SW_IPV6 40

enum {
    SW_TYPE_IPV4 = 0x0800,
    SW_TYPE_ARP = 0x0806,
    SW_TYPE_IPV6 = 0x86dd,
    SW_ICMP = 1,
    SW_TCP = 6,
    SW_UDP = 17,
    SW_ICMPV6 = 58,
    SW_TCP_FIN = 0x01,
    SW_TCP_SYN = 0x02,
    SW_TCP_RST = 0x04,
    SW_TCP_PSH = 0x08,
    SW_TCP_ACK = 0x10,
    SW_ECHO = 8,      /* ICMP types */
    SW_ECHO6 = 128,   /* ICMPv6 types */
    SW_SOLICIT = 135, /* neighbour discovery */
    SW_ADVERTISE = 136,
};

/* A frame that was taken apart. Pointers go into the caller's buffer. */
struct sw_frame {
    const uint8_t *bytes;
    size_t length;
    const uint8_t *to, *from; /* MAC */
    uint16_t type;
    struct ctr_address source,
        target; /* of the packet; in ARP, whose MAC is told and whose is asked */
    /* IP */
    const uint8_t *packet, *payload; /* IP header; what follows all headers of it */
    size_t packet_length, payload_length;
    uint8_t proto, hops;
    bool options; /* has IPv4 options or IPv6 extension headers, fragment headers among them */
    bool fragment,
        later; /* is a part of a datagram; not the first one: nothing below is known */
    uint16_t source_port, target_port;
    uint8_t tcp_flags, icmp_type;
    struct ctr_address neighbour; /* that is asked for, or tells, in neighbour discovery */
    /* ARP */
    uint16_t arp_op;
    const uint8_t *arp_mac;
};

/* Takes a frame apart; false if it is not sound IPv4, IPv6 or ARP. */
bool sw_parse(const uint8_t *bytes, size_t length, struct sw_frame *ret);

/* A frame that opens a TCP connection. */
static inline bool
sw_opens(const struct sw_frame *f)
{
    return f->proto == SW_TCP && (f->tcp_flags & (SW_TCP_SYN | SW_TCP_ACK)) == SW_TCP_SYN;
}

/* --- guard.c --- */

/* Who a port is. */
struct sw_identity {
    uint8_t mac[6];
    struct ctr_address address, address6, link_local; /* the last two with family 0: no IPv6 */
};

enum sw_honesty {
    SW_HONEST,
    SW_USELESS, /* what no container needs to send: DHCP, multicast group reports, questions for routers */
    SW_SPOOFED, /* names another as its sender, or speaks as only a router does */
};

enum sw_honesty sw_guard(const struct sw_frame *frame, const struct sw_identity *port);

#endif
