/*
 * Questions for the resolver by UDP: taken off the wire here, given to the core, and its answers put back on it.
 *
 * An answer may come when the port is gone, or when another has its name: it is told by the port's number, which is never given twice. The core answers
 * each question before close is called, so none of them outlives the switch.
 */
#include "switch-priv.h"
#include <stdlib.h>

struct question {
    struct sw *sw;
    uint64_t serial; /* the port's */
    uint16_t port;   /* the container's UDP port */
};

static void
on_answer(void *arg, const void *bytes, size_t length)
{
    struct question *q = arg;
    struct sw *sw = q->sw;
    struct sw_port *port = sw->ports;
    while (port != NULL && port->serial != q->serial) {
        port = port->next;
    }
    if (port != NULL) {
        port->questions--;
    }
    if (port != NULL && length > 0 && length <= SW_MAX_UDP) {
        memcpy(sw->datagram + SW_ETHER + SW_IPV4 + 8, bytes, length);
        sw_udp_deliver(port, sw->rules.dns, 53, q->port, length);
    }
    free(q);
}

bool
sw_dns_question(struct sw_port *port, const struct sw_frame *f)
{
    struct sw *sw = port->sw;
    if (f->type != SW_TYPE_IPV4 || f->proto != SW_UDP || f->target != sw->rules.dns ||
        f->target_port != 53 || f->fragment || f->options || sw->services == NULL) {
        return false;
    }
    size_t length = sw_get16(f->payload + 4);
    struct question *q = NULL;
    if (length >= 8 && length <= f->payload_length && port->questions < SW_QUESTIONS) {
        q = malloc(sizeof *q);
    }
    if (q == NULL) {
        port->stats.dropped++;
        return true;
    }
    *q = (struct question){.sw = sw, .serial = port->serial, .port = f->source_port};
    port->questions++;
    sw->services->dns_query(sw->services->arg, port->id, f->payload + 8, length - 8, on_answer,
                            q);
    return true;
}
