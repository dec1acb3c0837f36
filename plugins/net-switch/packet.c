/*
 * Making packets. See packet.h.
 */
#include "packet.h"

enum {
    MORE_FRAGMENTS = 0x2000,
    FRAGMENT_HEADER = 44,
    QUOTE = 8,         /* bytes of a refused IPv4 packet's payload */
    MAX_QUOTE6 = 1232, /* of an IPv6 packet: the error fits the least MTU */
};

uint32_t
sw_sum(uint32_t sum, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i + 1 < length; i += 2) {
        sum += sw_get16(bytes + i);
    }
    return (length & 1) != 0 ? sum + ((uint32_t) bytes[length - 1] << 8) : sum;
}

uint16_t
sw_sum_finish(uint32_t sum)
{
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t) ~sum;
}

uint32_t
sw_sum_pseudo(const struct ctr_address *source, const struct ctr_address *target, uint8_t proto,
              size_t length)
{
    size_t n = source->family == 6 ? 16 : 4;
    uint32_t sum = sw_sum(proto, source->bytes, n);
    return sw_sum(sum, target->bytes, n) + (uint32_t) (length >> 16) +
           (uint32_t) (length & 0xffff);
}

size_t
sw_header_length(const struct sw_header *h)
{
    bool piece = h->more || h->offset > 0;
    return SW_ETHER + (h->source.family == 4 ? SW_IPV4 : piece ? SW_IPV6 + 8 : SW_IPV6);
}

static void
write_ipv4(const struct sw_header *h, uint8_t *ip)
{
    memset(ip, 0, SW_IPV4);
    ip[0] = 0x45;
    sw_put16(ip + 2, (uint16_t) (SW_IPV4 + h->payload_length));
    sw_put16(ip + 4, h->ident);
    sw_put16(ip + 6, (uint16_t) (h->offset / 8 | (h->more ? MORE_FRAGMENTS : 0)));
    ip[8] = 64;
    ip[9] = h->proto;
    memcpy(ip + 12, h->source.bytes, 4);
    memcpy(ip + 16, h->target.bytes, 4);
    sw_put16(ip + 10, sw_sum_finish(sw_sum(0, ip, SW_IPV4)));
}

static void
write_ipv6(const struct sw_header *h, uint8_t *ip)
{
    size_t extra = sw_header_length(h) - SW_ETHER - SW_IPV6;
    sw_put32(ip, 0x60000000);
    sw_put16(ip + 4, (uint16_t) (h->payload_length + extra));
    ip[6] = extra > 0 ? FRAGMENT_HEADER : h->proto;
    ip[7] = h->proto == SW_ICMPV6 ? 255 : 64;
    memcpy(ip + 8, h->source.bytes, 16);
    memcpy(ip + 24, h->target.bytes, 16);
    if (extra > 0) {
        uint8_t *f = ip + SW_IPV6;
        f[0] = h->proto;
        f[1] = 0;
        sw_put16(f + 2, (uint16_t) (h->offset | (h->more ? 1 : 0)));
        sw_put32(f + 4, h->ident);
    }
}

void
sw_write_header(const struct sw_header *h, uint8_t *ret)
{
    bool four = h->source.family == 4;
    memcpy(ret, h->to, 6);
    memcpy(ret + 6, h->from, 6);
    sw_put16(ret + 12, four ? SW_TYPE_IPV4 : SW_TYPE_IPV6);
    four ? write_ipv4(h, ret + SW_ETHER) : write_ipv6(h, ret + SW_ETHER);
}

void
sw_gateway_mac(const struct sw_rules *rules, uint8_t ret[6])
{
    ret[0] = 0x52;
    ret[1] = 0x55;
    memcpy(ret + 2, rules->gateway.bytes, 4);
}

static size_t
answer_arp(const struct sw_frame *q, const uint8_t mac[6], uint8_t *ret)
{
    static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 2};
    memcpy(ret, q->from, 6);
    memcpy(ret + 6, mac, 6);
    sw_put16(ret + 12, SW_TYPE_ARP);
    uint8_t *arp = ret + SW_ETHER;
    memcpy(arp, head, sizeof head);
    memcpy(arp + 8, mac, 6);
    memcpy(arp + 14, q->target.bytes, 4);
    memcpy(arp + 18, q->arp_mac, 6);
    memcpy(arp + 24, q->source.bytes, 4);
    return SW_ETHER + SW_ARP;
}

/* Fills the checksum of an ICMP or ICMPv6 message in, and the headers before it; the frame's length. */
static size_t
finish_icmp(struct sw_header *header, uint8_t *ret)
{
    size_t at = sw_header_length(header), length = header->payload_length;
    uint32_t sum = header->proto == SW_ICMP
                       ? 0
                       : sw_sum_pseudo(&header->source, &header->target, header->proto, length);
    sw_put16(ret + at + 2, 0);
    sw_put16(ret + at + 2, sw_sum_finish(sw_sum(sum, ret + at, length)));
    sw_write_header(header, ret);
    return at + length;
}

static size_t
answer_solicitation(const struct sw_frame *q, const uint8_t mac[6], uint8_t *ret)
{
    struct sw_header header = {
        .to = q->from,
        .from = mac,
        .source = q->neighbour,
        .target = q->source,
        .proto = SW_ICMPV6,
        .payload_length = 32,
    };
    uint8_t *icmp = ret + sw_header_length(&header);
    memset(icmp, 0, 32);
    icmp[0] = SW_ADVERTISE;
    icmp[4] = 0xe0; /* a router's, asked for, better than what you knew */
    memcpy(icmp + 8, q->neighbour.bytes, 16);
    icmp[24] = 2; /* my MAC */
    icmp[25] = 1;
    memcpy(icmp + 26, mac, 6);
    return finish_icmp(&header, ret);
}

size_t
sw_neighbour_answer(const struct sw_frame *q, const struct sw_rules *rules, uint8_t *ret)
{
    uint8_t mac[6];
    sw_gateway_mac(rules, mac);
    return q->type == SW_TYPE_ARP ? answer_arp(q, mac, ret) : answer_solicitation(q, mac, ret);
}

size_t
sw_echo_answer(const struct sw_frame *q, const struct sw_rules *rules, uint8_t *ret)
{
    uint8_t mac[6];
    struct sw_header header = {
        .to = q->from,
        .from = mac,
        .source = q->target,
        .target = q->source,
        .proto = q->proto,
        .payload_length = q->payload_length,
    };
    sw_gateway_mac(rules, mac);
    uint8_t *icmp = ret + sw_header_length(&header);
    memcpy(icmp, q->payload, q->payload_length);
    icmp[0] = q->proto == SW_ICMP ? 0 : 129;
    return finish_icmp(&header, ret);
}

/* Never an error about an error, about part of a datagram, or to more than one. */
static bool
may_have_error(const struct sw_frame *f)
{
    if (f->later || sw_is_multicast(&f->target) || (f->to[0] & 1) != 0) {
        return false;
    }
    return f->proto == SW_ICMP     ? f->icmp_type == SW_ECHO
           : f->proto == SW_ICMPV6 ? f->icmp_type == SW_ECHO6
                                   : true;
}

size_t
sw_refusal(const struct sw_frame *f, const struct sw_rules *rules, enum sw_verdict verdict,
           uint8_t *ret)
{
    bool four = f->type == SW_TYPE_IPV4, big = verdict == SW_TOO_BIG;
    size_t quote = four ? (size_t) (f->payload - f->packet) + QUOTE : MAX_QUOTE6;
    uint8_t mac[6];
    if (!may_have_error(f)) {
        return 0;
    }
    quote = quote < f->packet_length ? quote : f->packet_length;
    sw_gateway_mac(rules, mac);
    struct sw_header header = {
        .to = f->from,
        .from = mac,
        .source = four ? rules->gateway : rules->gateway6,
        .target = f->source,
        .proto = four ? SW_ICMP : SW_ICMPV6,
        .payload_length = 8 + quote,
    };
    uint8_t *icmp = ret + sw_header_length(&header);
    memset(icmp, 0, 8);
    icmp[0] = four ? 3 : big ? 2 : 1;                /* unreachable; too big */
    icmp[1] = four ? (big ? 4 : 13) : (big ? 0 : 1); /* fragmentation needed; by rule */
    if (big) {
        four ? sw_put16(icmp + 6, (uint16_t) rules->out_mtu)
             : sw_put32(icmp + 4, rules->out_mtu);
    }
    memcpy(icmp + 8, f->packet, quote);
    return finish_icmp(&header, ret);
}
