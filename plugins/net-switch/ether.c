/*
 * Parsing and judging frames. See ether.h.
 *
 * A frame goes out only if the whole of what libslirp will look at was looked at here: no IP options, no fragments (a
 * fuzzer made libslirp 4.7's reassembly write where it should not), no header that is cut short. Towards the network's own addresses only DNS, ping and answers on open TCP connections pass.
 */
#include "ether.h"
#include <string.h>

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
    f->arp_source = sw_get32(arp + 14);
    f->arp_target = sw_get32(arp + 24);
    return f->arp_op == 1 || f->arp_op == 2;
}

/* Ports and flags; false if the header is cut short. A later fragment has none. */
static bool
parse_transport(struct sw_frame *f)
{
    static const uint8_t least[256] = {[SW_ICMP] = 8, [SW_TCP] = 20, [SW_UDP] = 8};
    if (f->payload_length < least[f->proto]) {
        return false;
    }
    if (f->proto == SW_TCP || f->proto == SW_UDP) {
        f->source_port = sw_get16(f->payload);
        f->target_port = sw_get16(f->payload + 2);
    }
    f->tcp_flags = f->proto == SW_TCP ? f->payload[13] : 0;
    f->icmp_type = f->proto == SW_ICMP ? f->payload[0] : 0;
    return true;
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
    f->proto = ip[9];
    f->source = sw_get32(ip + 12);
    f->target = sw_get32(ip + 16);
    return (fragment & 0x1fff) != 0 || parse_transport(f);
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
    default:
        return false;
    }
}

bool
sw_is_from(const struct sw_frame *frame, const uint8_t mac[6], uint32_t address)
{
    if (memcmp(frame->from, mac, 6) != 0) {
        return false;
    }
    if (frame->type == SW_TYPE_ARP) {
        return memcmp(frame->arp_mac, mac, 6) == 0 && frame->arp_source == address;
    }
    return frame->source == address;
}

bool
sw_is_closed(uint32_t address)
{
    static const struct {
        uint32_t net;
        int bits;
    } closed[] = {
        {0x00000000, 8},  /* 0/8 is this host for Linux */
        {0x7f000000, 8},  /* loopback */
        {0xa9fe0000, 16}, /* link-local, 169.254.169.254 among it */
        {0x646464c8, 32}, /* 100.100.100.200, a metadata service */
        {0xc00000c0, 32}, /* 192.0.0.192, another */
        {0xa83f8110, 32}, /* 168.63.129.16, another */
        {0xe0000000, 3},  /* multicast, reserved, broadcast */
    };
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++) {
        if (((address ^ closed[i].net) >> (32 - closed[i].bits)) == 0) {
            return true;
        }
    }
    return false;
}

static bool
is_own(const struct sw_rules *rules, uint32_t address)
{
    return address == rules->gateway || address == rules->dns || address == rules->uplink;
}

static bool
is_host(const struct sw_rules *rules, uint32_t address)
{
    for (size_t i = 0; i < rules->n_host; i++) {
        if (rules->host[i] == address) {
            return true;
        }
    }
    return false;
}

/* To one of libslirp's own addresses. */
static enum sw_verdict
judge_own(const struct sw_frame *f, const struct sw_rules *rules)
{
    bool dns = f->target == rules->dns && f->target_port == 53;
    if (f->proto == SW_ICMP) {
        return f->icmp_type == 8 ? SW_PASS : SW_DROP;
    }
    return dns ? SW_PASS : SW_REFUSE;
}

enum sw_verdict
sw_judge(const struct sw_frame *f, const struct sw_rules *rules)
{
    if (f->type == SW_TYPE_ARP) {
        return is_own(rules, f->arp_target) ? SW_PASS : SW_DROP;
    }
    bool known = f->proto == SW_TCP || f->proto == SW_UDP || f->proto == SW_ICMP;
    if (f->options || f->fragment || !known) {
        return SW_DROP;
    }
    /* libslirp opens a connection for a bare SYN alone; anything else belongs to one that is open, or is answered by a reset. */
    bool opens = (f->tcp_flags & (SW_TCP_SYN | SW_TCP_ACK)) == SW_TCP_SYN;
    if (f->proto == SW_TCP && !opens) {
        return SW_PASS;
    }
    if (is_own(rules, f->target)) {
        return judge_own(f, rules);
    }
    if (sw_is_closed(f->target) || (f->target & rules->mask) == rules->subnet ||
        is_host(rules, f->target)) {
        return (f->target >> 28) >= 14 ? SW_DROP : SW_REFUSE;
    }
    return SW_PASS;
}

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

void
sw_write_header(const struct sw_header *h, uint8_t *ret)
{
    memcpy(ret, h->to, 6);
    memcpy(ret + 6, h->from, 6);
    sw_put16(ret + 12, SW_TYPE_IPV4);
    uint8_t *ip = ret + SW_ETHER;
    memset(ip, 0, SW_IPV4);
    ip[0] = 0x45;
    sw_put16(ip + 2, (uint16_t) (SW_IPV4 + h->payload_length));
    sw_put16(ip + 4, h->ident);
    sw_put16(ip + 6, h->fragment);
    ip[8] = 64;
    ip[9] = h->proto;
    sw_put32(ip + 12, h->source);
    sw_put32(ip + 16, h->target);
    sw_put16(ip + 10, sw_sum_finish(sw_sum(0, ip, SW_IPV4)));
}

size_t
sw_refusal(const struct sw_frame *frame, uint32_t gateway, const uint8_t gateway_mac[6],
           uint8_t *ret)
{
    size_t quote = (size_t) (frame->payload - frame->packet) + 8;
    quote = quote < frame->packet_length ? quote : frame->packet_length;
    struct sw_header header = {
        .to = frame->from,
        .from = gateway_mac,
        .source = gateway,
        .target = frame->source,
        .proto = SW_ICMP,
        .payload_length = 8 + quote,
    };
    sw_write_header(&header, ret);
    uint8_t *icmp = ret + SW_ETHER + SW_IPV4;
    memset(icmp, 0, 8);
    icmp[0] = 3;  /* unreachable */
    icmp[1] = 13; /* by rule */
    memcpy(icmp + 8, frame->packet, quote);
    sw_put16(icmp + 2, sw_sum_finish(sw_sum(0, icmp, 8 + quote)));
    return SW_ETHER + SW_IPV4 + 8 + quote;
}

void
sw_uplink_mac(uint32_t address, uint8_t ret[6])
{
    ret[0] = 0x52;
    ret[1] = 0x55;
    sw_put32(ret + 2, address);
}
