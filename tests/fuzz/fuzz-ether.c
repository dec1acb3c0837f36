/*
 * Frames from a guest: whatever the bytes are, what the parser says of them stays within the buffer, and what may leave leads to no
 * closed address.
 */
#include <stdlib.h>

#include "plugins/net-switch/ether.c"

#define NET 0x0a580000U

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void
must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void
check_bounds(const struct sw_frame *f, const uint8_t *bytes, size_t length)
{
    if (f->type == SW_TYPE_ARP) {
        must(f->arp_mac >= bytes && f->arp_mac + 6 <= bytes + length);
        return;
    }
    must(f->packet == bytes + SW_ETHER && f->packet_length <= length - SW_ETHER);
    must(f->payload >= f->packet + SW_IPV4);
    must(f->payload + f->payload_length == f->packet + f->packet_length);
}

/* A frame that passes can only open a way to an open address. */
static void
check_pass(const struct sw_frame *f, const struct sw_rules *rules)
{
    bool own = f->target == rules->gateway || f->target == rules->uplink;
    if (f->type == SW_TYPE_ARP) {
        must(f->arp_target == rules->gateway || f->arp_target == rules->uplink);
        return;
    }
    must(!f->options && !f->fragment);
    must(f->proto == SW_TCP || f->proto == SW_UDP || f->proto == SW_ICMP);
    if (f->proto == SW_TCP) {
        if ((f->tcp_flags & SW_TCP_SYN) == 0 || (f->tcp_flags & SW_TCP_ACK) != 0) {
            return;
        }
    }
    must(!sw_is_closed(f->target) && f->target != rules->host[0]);
    must(own ? f->proto == SW_ICMP || f->target_port == 53
             : (f->target & rules->mask) != rules->subnet);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const uint8_t mac[6] = {2, 0x42, 0x0a, 0x58, 0, 2};
    const uint32_t host = 0xc0a80105;
    const struct sw_rules rules = {
        .subnet = NET,
        .mask = 0xffff0000,
        .gateway = NET + 1,
        .dns = NET + 1,
        .uplink = NET + 0xfffe,
        .host = &host,
        .n_host = 1,
    };
    uint8_t refusal[SW_ICMP_ERROR];
    struct sw_frame frame;
    if (!sw_parse(bytes, length, &frame)) {
        return 0;
    }
    check_bounds(&frame, bytes, length);
    (void) sw_is_from(&frame, mac, NET + 2);
    enum sw_verdict verdict = sw_judge(&frame, &rules);
    if (verdict == SW_PASS) {
        check_pass(&frame, &rules);
    } else if (verdict == SW_REFUSE) {
        size_t n = sw_refusal(&frame, rules.gateway, mac, refusal);
        struct sw_frame again;
        must(n <= sizeof refusal && sw_parse(refusal, n, &again));
        must(again.target == frame.source && again.proto == SW_ICMP);
    }
    return 0;
}
