/*
 * Taking frames apart. See ether.h.
 *
 * IPv6's extension headers are followed to their end, so that nothing hides behind them; those that could lead a packet elsewhere or cannot be looked behind
 * (routing, authentication) make it unsound. A first fragment must hold all headers.
 */
#include "ether.h"

#define MAX_EXTENSIONS 8

enum extension {
    HOP_BY_HOP = 0,
    ROUTING = 43,
    FRAGMENT = 44,
    AUTHENTICATION = 51,
    DESTINATION = 60,
    MOBILITY = 135,
    HOST_IDENTITY = 139,
    SHIM = 140,
};

static bool
parse_arp(struct sw_frame *f)
{
    const uint8_t *arp = f->bytes + SW_ETHER;
    if (f->length < SW_ETHER + SW_ARP || sw_get16(arp) != 1 ||
        sw_get16(arp + 2) != SW_TYPE_IPV4 || arp[4] != 6 || arp[5] != 4) {
        return false;
    }
    f->arp_op = sw_get16(arp + 6);
    f->arp_mac = arp + 8;
    f->source = sw_ipv4(sw_get32(arp + 14));
    f->target = sw_ipv4(sw_get32(arp + 24));
    return f->arp_op == 1 || f->arp_op == 2;
}

static bool
parse_neighbour(struct sw_frame *f)
{
    if (f->payload_length < 24) {
        return false;
    }
    f->neighbour = sw_ipv6(f->payload + 8);
    return true;
}

/* Ports, flags and types; false if a header is cut short. */
static bool
parse_transport(struct sw_frame *f)
{
    static const uint8_t least[256] = {
        [SW_ICMP] = 8, [SW_TCP] = 20, [SW_UDP] = 8, [SW_ICMPV6] = 8};
    if (f->payload_length < least[f->proto]) {
        return false;
    }
    if (f->proto == SW_TCP || f->proto == SW_UDP) {
        f->source_port = sw_get16(f->payload);
        f->target_port = sw_get16(f->payload + 2);
    }
    if (f->proto == SW_TCP) {
        size_t header = (size_t) (f->payload[12] >> 4) * 4;
        f->tcp_flags = f->payload[13];
        return header >= 20 && header <= f->payload_length;
    }
    if (f->proto == SW_UDP) {
        size_t length = sw_get16(f->payload + 4);
        return length >= 8 && (f->fragment || length <= f->payload_length);
    }
    if (f->proto == SW_ICMP || f->proto == SW_ICMPV6) {
        f->icmp_type = f->payload[0];
    }
    bool neighbour = f->icmp_type == SW_SOLICIT || f->icmp_type == SW_ADVERTISE;
    return f->proto != SW_ICMPV6 || !neighbour || parse_neighbour(f);
}

static bool
parse_ipv4(struct sw_frame *f)
{
    const uint8_t *ip = f->bytes + SW_ETHER;
    size_t room = f->length - SW_ETHER;
    if (room < SW_IPV4 || ip[0] >> 4 != 4) {
        return false;
    }
    size_t header = (size_t) (ip[0] & 15) * 4, total = sw_get16(ip + 2);
    if (header < SW_IPV4 || total < header || total > room) {
        return false;
    }
    uint16_t fragment = sw_get16(ip + 6);
    f->packet = ip;
    f->packet_length = total;
    f->payload = ip + header;
    f->payload_length = total - header;
    f->options = header > SW_IPV4;
    f->fragment = (fragment & 0xbfff) != 0; /* all but "don't fragment" */
    f->later = (fragment & 0x1fff) != 0;
    f->proto = ip[9];
    f->hops = ip[8];
    f->source = sw_ipv4(sw_get32(ip + 12));
    f->target = sw_ipv4(sw_get32(ip + 16));
    return f->proto != SW_ICMPV6 && (f->later || parse_transport(f));
}

/* Follows extension headers from f->payload on; sets proto and payload. */
static bool
skip_extensions(struct sw_frame *f)
{
    for (int i = 0; i < MAX_EXTENSIONS && !f->later; i++) {
        switch (f->proto) {
        case HOP_BY_HOP:
        case DESTINATION:
        case FRAGMENT:
            break;
        case ROUTING:
        case AUTHENTICATION:
        case MOBILITY:
        case HOST_IDENTITY:
        case SHIM:
        case SW_ICMP:
            return false;
        default:
            return true;
        }
        const uint8_t *p = f->payload;
        if (f->payload_length < 8 || (f->proto == HOP_BY_HOP && i > 0)) {
            return false;
        }
        size_t length = f->proto == FRAGMENT ? 8 : ((size_t) p[1] + 1) * 8;
        if (length > f->payload_length) {
            return false;
        }
        if (f->proto == FRAGMENT) {
            if (f->fragment) {
                return false;
            }
            f->fragment = true;
            f->later = (sw_get16(p + 2) & 0xfff8) != 0;
        }
        f->options = true;
        f->proto = p[0];
        f->payload += length;
        f->payload_length -= length;
    }
    return f->later;
}

static bool
parse_ipv6(struct sw_frame *f)
{
    const uint8_t *ip = f->bytes + SW_ETHER;
    size_t room = f->length - SW_ETHER;
    if (room < SW_IPV6 || ip[0] >> 4 != 6 || sw_get16(ip + 4) > room - SW_IPV6) {
        return false;
    }
    f->packet = ip;
    f->payload = ip + SW_IPV6;
    f->payload_length = sw_get16(ip + 4);
    f->packet_length = SW_IPV6 + f->payload_length;
    f->proto = ip[6];
    f->hops = ip[7];
    f->source = sw_ipv6(ip + 8);
    f->target = sw_ipv6(ip + 24);
    return !sw_is_multicast(&f->source) && skip_extensions(f) &&
           (f->later || parse_transport(f));
}

bool
sw_parse(const uint8_t *bytes, size_t length, struct sw_frame *ret)
{
    if (length < SW_ETHER) {
        return false;
    }
    *ret = (struct sw_frame){
        .bytes = bytes,
        .length = length,
        .to = bytes,
        .from = bytes + 6,
        .type = sw_get16(bytes + 12),
    };
    switch (ret->type) {
    case SW_TYPE_ARP:
        return parse_arp(ret);
    case SW_TYPE_IPV4:
        return parse_ipv4(ret);
    case SW_TYPE_IPV6:
        return parse_ipv6(ret);
    default:
        return false;
    }
}
