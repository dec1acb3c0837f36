/*
 * Frames from a guest: whatever the bytes are, what the parser says of them stays within the buffer, who is let through speaks for
 * itself only, and what may leave leads to no closed address.
 */
#include "tests/fuzz/frame-net.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static const struct sw_net host_net = {{4, {192, 168, 1, 5}}, 32};

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
    must(!f->later || f->fragment);
    must(f->type != SW_TYPE_IPV6 || f->options == (f->payload != f->packet + SW_IPV6));
}

/* An honest frame says of nothing but the port that it is at the port's MAC. */
static void
check_honest(const struct sw_frame *f, const struct sw_identity *port)
{
    must(memcmp(f->from, port->mac, 6) == 0);
    bool six = f->type == SW_TYPE_IPV6;
    must(six ? sw_same(&f->source, &port->address6) || sw_same(&f->source, &port->link_local)
             : sw_same(&f->source, &port->address));
    if (f->type == SW_TYPE_ARP) {
        must(memcmp(f->arp_mac, port->mac, 6) == 0);
    }
    if (six && f->proto == SW_ICMPV6 && !f->later) {
        must(f->icmp_type != 134 && f->icmp_type != 137 && f->icmp_type != 143);
        must(f->icmp_type != SW_ADVERTISE || sw_same(&f->neighbour, &port->address6) ||
             sw_same(&f->neighbour, &port->link_local));
    }
}

/* A frame that passes can only open a way to an open address. */
static void
check_pass(const struct sw_frame *f, const struct sw_rules *rules)
{
    struct ctr_address inner;
    must(!f->options && !f->fragment && f->type != SW_TYPE_ARP);
    must(f->packet_length <= rules->out_mtu);
    if (f->proto == SW_TCP && !sw_opens(f)) {
        return;
    }
    must(!sw_is_closed(&f->target) && !sw_in_net(&f->target, &host_net));
    must(!sw_embedded(&f->target, &inner) ||
         (!sw_is_closed(&inner) && !sw_in_net(&inner, &rules->net)));
    if (sw_same(&f->target, &rules->host)) {
        must((f->proto == SW_TCP || f->proto == SW_UDP) && f->target_port == 5432);
        return;
    }
    must(!sw_in_net(&f->target, &rules->net) && !sw_in_net(&f->target, &rules->net6));
}

static void
check_refusal(const struct sw_frame *f, const struct sw_rules *rules, enum sw_verdict verdict)
{
    uint8_t reply[SW_ICMP_ERROR];
    struct sw_frame again;
    size_t n = sw_refusal(f, rules, verdict, reply);
    if (n > 0) {
        must(n <= sizeof reply && sw_parse(reply, n, &again));
        must(sw_same(&again.target, &f->source));
        must(again.proto == (f->type == SW_TYPE_IPV6 ? SW_ICMPV6 : SW_ICMP));
    }
}

/* Answers of the network itself are sound frames. */
static void
check_answers(const struct sw_frame *f, const struct sw_rules *rules)
{
    struct sw_frame again;
    bool solicit = f->proto == SW_ICMPV6 && f->icmp_type == SW_SOLICIT && !f->later;
    bool echo = f->proto == SW_ICMP ? f->icmp_type == SW_ECHO
                                    : f->proto == SW_ICMPV6 && f->icmp_type == SW_ECHO6;
    if ((f->type == SW_TYPE_ARP && sw_is_own(rules, &f->target)) ||
        (solicit && sw_is_own(rules, &f->neighbour))) {
        uint8_t reply[SW_NEIGHBOUR];
        size_t n = sw_neighbour_answer(f, rules, reply);
        must(n <= sizeof reply && sw_parse(reply, n, &again));
    } else if (echo && !f->options && !f->fragment) {
        uint8_t *reply = malloc(f->length);
        must(reply != NULL && sw_echo_answer(f, rules, reply) <= f->length);
        free(reply);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const uint16_t host_port = 5432;
    const struct sw_identity port = guest();
    struct sw_rules rules = plain_rules();
    rules.closed = &host_net;
    rules.n_closed = 1;
    rules.host_ports = &host_port;
    rules.n_host_ports = 1;
    struct sw_frame frame;
    if (!sw_parse(bytes, length, &frame)) {
        return 0;
    }
    check_bounds(&frame, bytes, length);
    if (sw_guard(&frame, &port) != SW_HONEST) {
        return 0;
    }
    check_honest(&frame, &port);
    check_answers(&frame, &rules);
    if (frame.type == SW_TYPE_ARP) {
        return 0;
    }
    enum sw_verdict verdict = sw_judge(&frame, &rules, false, 0);
    if (verdict == SW_PASS) {
        check_pass(&frame, &rules);
    } else if (verdict != SW_DROP) {
        check_refusal(&frame, &rules, verdict);
    }
    return 0;
}
