/*
 * What the network itself answers for: who has which address, and pings of its own addresses.
 *
 * Every address is known here, so a question for a container's goes to that container alone, and one for any other is answered by nobody: a container
 * learns nothing of the others' questions, and cannot flood them with its own.
 */
#include "switch-priv.h"

/* An answer of our own is worth making. */
static bool
spend(struct sw_port *port)
{
    bool ok = sw_spend(&port->answers, SW_ANSWERS_PER_SECOND);
    port->stats.dropped += !ok;
    return ok;
}

static void
answer(struct sw_port *port, const struct sw_frame *frame)
{
    if (spend(port)) {
        uint8_t *reply = sw_hold(port->sw, SW_NEIGHBOUR);
        sw_port_send(port, reply, sw_neighbour_answer(frame, &port->sw->rules, reply));
    }
}

/* To the one that it is for. */
static void
forward(struct sw_port *from, const struct sw_frame *frame, const struct ctr_address *about)
{
    struct sw_port *to = sw_find_address(from->sw, about);
    if (to == NULL || to == from || from->sw->isolated) {
        from->stats.dropped += to != from;
        return;
    }
    sw_port_send(to, frame->bytes, frame->length);
}

bool
sw_own_neighbour(struct sw_port *port, const struct sw_frame *f)
{
    const struct sw_rules *rules = &port->sw->rules;
    bool arp = f->type == SW_TYPE_ARP;
    bool solicit = f->proto == SW_ICMPV6 && f->icmp_type == SW_SOLICIT && !f->later;
    bool advertise = f->proto == SW_ICMPV6 && f->icmp_type == SW_ADVERTISE && !f->later;
    if (!arp && !solicit && !advertise) {
        return false;
    }
    bool asks = solicit || (arp && f->arp_op == 1);
    const struct ctr_address *about = solicit ? &f->neighbour : &f->target;
    if (asks && sw_is_own(rules, about)) {
        answer(port, f);
    } else if (!sw_is_own(rules, about)) {
        forward(port, f, about);
    }
    return true;
}

bool
sw_own_echo(struct sw_port *port, const struct sw_frame *f)
{
    struct sw *sw = port->sw;
    bool echo = (f->proto == SW_ICMP && f->icmp_type == SW_ECHO) ||
                (f->proto == SW_ICMPV6 && f->icmp_type == SW_ECHO6);
    if (!echo || f->options || f->fragment || !sw_is_own(&sw->rules, &f->target)) {
        return false;
    }
    if (spend(port)) {
        uint8_t *reply = sw_hold(sw, f->length);
        sw_port_send(port, reply, sw_echo_answer(f, &sw->rules, reply));
    }
    return true;
}
