/*
 * Questions for the resolver by UDP: taken off the wire here, given to the core, and its answers put back on it.
 *
 * An answer may come when the port is gone, or when another has its name: it is told by the port's number, which is never given twice. The core answers
 * each question before close is called, so none of them outlives the switch.
 */
#include "switch-priv.h"
#include <stdlib.h>

#define PORT 53

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
    struct sw_port *port = sw_find_serial(sw, q->serial);
    if (port != NULL) {
        port->questions--;
    }
    if (port != NULL && length > 0 && length <= SW_MAX_UDP) {
        const struct sw_datagram answer = {
            .source = sw->rules.dns,
            .target = port->who.address,
            .source_port = PORT,
            .target_port = q->port,
            .bytes = bytes,
            .length = length,
        };
        sw_send_datagram(port, &answer);
        sw_flush(sw);
    }
    free(q);
}

bool
sw_dns_question(struct sw_port *port, const struct sw_frame *f)
{
    struct sw *sw = port->sw;
    if (f->proto != SW_UDP || f->target_port != PORT || f->fragment || f->options ||
        !sw_same(&f->target, &sw->rules.dns) || sw->services == NULL) {
        return false;
    }
    struct question *q = port->questions < SW_QUESTIONS ? malloc(sizeof *q) : NULL;
    if (q == NULL) {
        port->stats.dropped++;
        return true;
    }
    *q = (struct question){.sw = sw, .serial = port->serial, .port = f->source_port};
    port->questions++;
    sw->services->dns_query(sw->services->arg, port->id, f->payload + 8,
                            sw_get16(f->payload + 4) - 8U, on_answer, q);
    return true;
}
