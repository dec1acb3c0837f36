/*
 * The switch: which frame goes where.
 *
 * Who may speak is judged first (guard.c), then what the network itself answers is taken out, then the rest goes to the port whose MAC it names, or out. What
 * goes to all is limited for each port, since each such frame costs the others one; ARP and neighbour discovery never go to all.
 */
#include "switch-priv.h"

#define FLOODS_PER_SECOND 500

void
sw_refuse(struct sw_port *port, const struct sw_frame *frame, enum sw_verdict verdict)
{
    struct sw *sw = port->sw;
    port->stats.dropped++;
    port->stats.refused++;
    if (sw_spend(&port->answers, SW_ANSWERS_PER_SECOND)) {
        uint8_t *reply = sw_hold(sw, SW_ICMP_ERROR);
        size_t length = sw_refusal(frame, &sw->rules, verdict, reply);
        if (length > 0) {
            sw_port_send(port, reply, length);
        }
    }
}

static void
tell_refused(const struct sw_port *port, const struct sw_frame *f)
{
    const struct ctr_net_services *services = port->sw->services;
    if (port->sw->rules.allowed != NULL && services != NULL && services->refused != NULL) {
        services->refused(services->arg, port->id, f->proto, &f->target, f->target_port);
    }
}

static void
leave(struct sw_port *port, const struct sw_frame *frame)
{
    struct sw *sw = port->sw;
    struct sw_frame trimmed = *frame;
    trimmed.length = SW_ETHER + frame->packet_length;
    if (!sw_uplink_input(sw->uplink, port, &trimmed)) {
        sw_refuse(port, frame, SW_REFUSE);
    }
}

/* To one of the network's own addresses, or through it. */
static void
to_gateway(struct sw_port *port, const struct sw_frame *frame)
{
    struct sw *sw = port->sw;
    if (frame->type == SW_TYPE_ARP || sw_own_echo(port, frame) ||
        sw_dns_question(port, frame) || sw_dns_segment(port, frame) ||
        sw_udp_answer(sw, frame)) {
        return;
    }
    if (!sw->rules.internal) {
        sw_refresh_host(sw);
    }
    enum sw_verdict verdict = sw_judge(frame, &sw->rules, port->host, sw_now_ms());
    switch (verdict) {
    case SW_PASS:
        leave(port, frame);
        break;
    case SW_DROP:
        port->stats.dropped++;
        break;
    case SW_REFUSE:
        tell_refused(port, frame);
        sw_refuse(port, frame, verdict);
        break;
    case SW_TOO_BIG:
        sw_refuse(port, frame, verdict);
        break;
    }
}

static void
to_all(struct sw_port *from, const struct sw_frame *frame)
{
    const struct sw *sw = from->sw;
    if (sw->isolated || !sw_spend(&from->floods, FLOODS_PER_SECOND)) {
        from->stats.dropped++;
        return;
    }
    for (struct sw_port *p = sw->ports; p != NULL; p = p->next) {
        if (p != from) {
            sw_port_send(p, frame->bytes, frame->length);
        }
    }
}

static void
to_port(struct sw_port *from, const struct sw_frame *frame)
{
    struct sw_port *to = sw_find_mac(from->sw, frame->to);
    if (to == NULL || to == from || from->sw->isolated) {
        from->stats.dropped++;
        from->stats.refused += to != NULL && to != from;
        return;
    }
    sw_port_send(to, frame->bytes, frame->length);
}

void
sw_from_port(struct sw_port *port, const uint8_t *bytes, size_t length)
{
    uint8_t gateway[6];
    struct sw_frame frame;
    if (!sw_parse(bytes, length, &frame)) {
        port->stats.dropped++;
        return;
    }
    enum sw_honesty honesty = sw_guard(&frame, &port->who);
    if (honesty != SW_HONEST) {
        port->stats.dropped++;
        port->stats.spoofed += honesty == SW_SPOOFED;
        return;
    }
    sw_gateway_mac(&port->sw->rules, gateway);
    if (sw_own_neighbour(port, &frame)) {
        return;
    }
    if ((frame.to[0] & 1) != 0) {
        to_all(port, &frame);
    } else if (memcmp(frame.to, gateway, 6) == 0) {
        to_gateway(port, &frame);
    } else {
        to_port(port, &frame);
    }
}

/* What only neighbours have to say to each other, and routers: none is behind the uplink. */
static bool
is_chatter(const struct sw_frame *f)
{
    return f->proto == SW_ICMPV6 && f->icmp_type > SW_ECHO6 + 1;
}

void
sw_from_uplink(struct sw *sw, const uint8_t *bytes, size_t length)
{
    struct sw_frame frame;
    if (length > SW_ETHER + sw->mtu || !sw_parse(bytes, length, &frame) ||
        frame.type == SW_TYPE_ARP || is_chatter(&frame)) {
        return;
    }
    struct sw_port *to = sw_find_address(sw, &frame.target);
    if (to == NULL) {
        return;
    }
    /* From outside, though a VM's frame may have brought it on, as an acknowledgement does: else the VM seems less behind than it is. */
    unsigned source = sw->source;
    uint8_t *copy = sw_hold(sw, length);
    memcpy(copy, bytes, length);
    memcpy(copy, to->who.mac, 6);
    sw_gateway_mac(&sw->rules, copy + 6);
    sw->source = 0;
    sw_port_send(to, copy, length);
    sw->source = source;
}
