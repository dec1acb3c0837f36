/*
 * Judging what goes out. See judge.h.
 *
 * A frame goes out only if the whole of what libslirp will look at was looked at here: no IP options or extension headers, no fragments (a
 * fuzzer made libslirp 4.7's reassembly write where it should not), no header that is cut short. The network's own addresses are answered before this, so
 * what still goes to them can belong to a published connection only.
 */
#include "judge.h"

enum {
    UDP_BOOTP = 67, /* libslirp has servers of its own at the host's address */
    UDP_TFTP = 69,
};

bool
sw_is_own(const struct sw_rules *rules, const struct ctr_address *address)
{
    return sw_same(address, &rules->gateway) || sw_same(address, &rules->dns) ||
           sw_same(address, &rules->host) ||
           (rules->gateway6.family == 6 && sw_same(address, &rules->gateway6));
}

static bool
is_transport(const struct sw_frame *f)
{
    return f->proto == SW_TCP || f->proto == SW_UDP ||
           (f->proto == SW_ICMP && f->icmp_type == SW_ECHO) ||
           (f->proto == SW_ICMPV6 && f->icmp_type == SW_ECHO6);
}

/* To the host's own services. */
static enum sw_verdict
judge_host(const struct sw_frame *f, const struct sw_rules *rules, bool host)
{
    bool server =
        f->proto == SW_UDP && (f->target_port == UDP_BOOTP || f->target_port == UDP_TFTP);
    bool open = host;
    for (size_t i = 0; i < rules->n_host_ports; i++) {
        open = open || rules->host_ports[i] == f->target_port;
    }
    bool known = f->proto == SW_TCP || f->proto == SW_UDP;
    return open && known && !server ? SW_PASS : SW_REFUSE;
}

static bool
is_closed(const struct sw_rules *rules, const struct ctr_address *address)
{
    struct ctr_address inner;
    if (sw_embedded(address, &inner) && is_closed(rules, &inner)) {
        return true;
    }
    for (size_t i = 0; i < rules->n_closed; i++) {
        if (sw_in_net(address, &rules->closed[i])) {
            return true;
        }
    }
    return sw_is_closed(address) || sw_in_net(address, &rules->net) ||
           (rules->net6.address.family == 6 && sw_in_net(address, &rules->net6));
}

static enum sw_verdict
judge_target(const struct sw_frame *f, const struct sw_rules *rules, bool host, uint64_t now_ms)
{
    if (sw_is_multicast(&f->target)) {
        return SW_DROP;
    }
    if (sw_same(&f->target, &rules->host) && !rules->internal) {
        return judge_host(f, rules, host);
    }
    if (rules->internal || is_closed(rules, &f->target)) {
        return SW_REFUSE;
    }
    bool allowed = rules->allowed == NULL ||
                   sw_allowed_has(rules->allowed, &f->target, f->target_port, now_ms);
    return allowed ? SW_PASS : SW_REFUSE;
}

enum sw_verdict
sw_judge(const struct sw_frame *f, const struct sw_rules *rules, bool host, uint64_t now_ms)
{
    bool link = f->source.family == 6 && sw_is_closed(&f->source); /* does not lead back */
    if (f->options || f->fragment || link || !is_transport(f)) {
        return SW_DROP;
    }
    if (f->proto == SW_UDP && sw_get16(f->payload + 4) != f->payload_length) {
        return SW_DROP;
    }
    /* A connection is opened by a bare SYN alone; anything else belongs to one that is open, or is answered by a reset. It ends at
     * the way out, which makes segments of its own: they may be of any length here. */
    if (f->proto == SW_TCP && !sw_opens(f)) {
        return rules->internal ? SW_DROP : SW_PASS;
    }
    enum sw_verdict verdict = judge_target(f, rules, host, now_ms);
    return verdict == SW_PASS && f->packet_length > rules->out_mtu ? SW_TOO_BIG : verdict;
}
