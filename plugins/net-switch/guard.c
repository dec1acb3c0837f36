/*
 * Whether a port is who its frame says it is, and says nothing that only a router or a DHCP server has to say. See ether.h.
 */
#include "ether.h"

enum {
    ICMP_REDIRECT = 5,
    ICMP_ROUTER = 9,
    ICMP6_MAX_ERROR = 4,
    ICMP6_ECHO_REPLY = 129,
    ICMP6_ROUTER = 134,
    ICMP6_REDIRECT = 137,
    OPTION_SOURCE = 1, /* of neighbour discovery: a MAC */
    OPTION_TARGET = 2,
};

static const struct ctr_address unspecified = {.family = 6};

static bool
is_mine(const struct ctr_address *address, const struct sw_identity *port)
{
    return sw_same(address, &port->address6) || sw_same(address, &port->link_local);
}

/* Every MAC in the options is the port's. */
static bool
options_are_mine(const struct sw_frame *f, const struct sw_identity *port)
{
    const uint8_t *p = f->payload + 24, *end = f->payload + f->payload_length;
    while (p < end) {
        size_t length = end - p < 2 ? 0 : (size_t) p[1] * 8;
        if (length == 0 || length > (size_t) (end - p)) {
            return false;
        }
        if ((p[0] == OPTION_SOURCE || p[0] == OPTION_TARGET) &&
            (length != 8 || memcmp(p + 2, port->mac, 6) != 0)) {
            return false;
        }
        p += length;
    }
    return true;
}

/* Neighbour discovery: asks in its own name, tells its own addresses only. */
static enum sw_honesty
guard_neighbour(const struct sw_frame *f, const struct sw_identity *port)
{
    if (f->hops != 255 || f->payload[1] != 0 || f->options || !options_are_mine(f, port)) {
        return SW_SPOOFED;
    }
    if (f->icmp_type == SW_ADVERTISE) {
        return is_mine(&f->neighbour, port) && is_mine(&f->source, port) ? SW_HONEST
                                                                         : SW_SPOOFED;
    }
    if (sw_same(&f->source, &unspecified)) { /* is my address anybody's? It is nobody's */
        return is_mine(&f->neighbour, port) ? SW_USELESS : SW_SPOOFED;
    }
    return is_mine(&f->source, port) ? SW_HONEST : SW_SPOOFED;
}

static enum sw_honesty
guard_icmpv6(const struct sw_frame *f, const struct sw_identity *port)
{
    uint8_t type = f->icmp_type;
    if (type == SW_SOLICIT || type == SW_ADVERTISE) {
        return guard_neighbour(f, port);
    }
    if (type == ICMP6_ROUTER || type == ICMP6_REDIRECT) {
        return SW_SPOOFED;
    }
    bool plain = type <= ICMP6_MAX_ERROR || type == SW_ECHO6 || type == ICMP6_ECHO_REPLY;
    if (!plain) {
        return SW_USELESS;
    }
    return is_mine(&f->source, port) ? SW_HONEST : SW_SPOOFED;
}

/* A server's port to a client's is spoofed, the other way round is useless: addresses come from the core. */
static enum sw_honesty
guard_udp(const struct sw_frame *f)
{
    bool four = f->type == SW_TYPE_IPV4;
    uint16_t client = four ? 68 : 546, server = four ? 67 : 547;
    return f->target_port == client                               ? SW_SPOOFED
           : f->target_port == server && f->source_port == client ? SW_USELESS
                                                                  : SW_HONEST;
}

static enum sw_honesty
guard_transport(const struct sw_frame *f)
{
    if (f->later) {
        return SW_HONEST;
    }
    if (f->proto == SW_UDP) {
        return guard_udp(f);
    }
    bool router =
        f->proto == SW_ICMP && (f->icmp_type == ICMP_REDIRECT || f->icmp_type == ICMP_ROUTER);
    return router ? SW_SPOOFED : SW_HONEST;
}

static enum sw_honesty
guard_ipv6(const struct sw_frame *f, const struct sw_identity *port)
{
    if (port->address6.family == 0) {
        return SW_USELESS;
    }
    if (f->proto == SW_ICMPV6 && !f->later) {
        return guard_icmpv6(f, port);
    }
    return is_mine(&f->source, port) ? guard_transport(f) : SW_SPOOFED;
}

enum sw_honesty
sw_guard(const struct sw_frame *f, const struct sw_identity *port)
{
    if (memcmp(f->from, port->mac, 6) != 0) {
        return SW_SPOOFED;
    }
    if (f->type == SW_TYPE_IPV6) {
        return guard_ipv6(f, port);
    }
    if (!sw_same(&f->source, &port->address) ||
        (f->type == SW_TYPE_ARP && memcmp(f->arp_mac, port->mac, 6) != 0)) {
        return SW_SPOOFED;
    }
    return f->type == SW_TYPE_IPV4 ? guard_transport(f) : SW_HONEST;
}
