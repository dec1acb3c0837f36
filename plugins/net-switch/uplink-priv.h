/*
 * The way out: libslirp as one more neighbour on the switch. Nothing outside of uplink*.c knows of it.
 *
 * Each connection belongs to the port that opened it (or was opened to), so that one guest can't use up all descriptors.
 */
#ifndef CTR_SWITCH_UPLINK_H
#define CTR_SWITCH_UPLINK_H

#include "switch-priv.h"
#include <libslirp.h>

struct sw_fd {
    struct ctr_watch *watch;
    struct sw_uplink *uplink;
    int fd;
    uint32_t want, ready, set;  /* enum ctr_watch_events: asked for, noted, told to the watch */
    uint32_t generation;        /* of the fill that asked */
    bool fired;                 /* since the watch was last told */
    bool flow, listener;        /* a connection; a published port */
    bool stream;                /* a connection by TCP */
    struct sw_port *owner;      /* of a flow, may be NULL */
    struct ctr_address address; /* of a listener's container */
};

struct sw_uplink {
    struct sw *sw;
    Slirp *slirp;
    struct sw_fd **fds; /* by descriptor */
    size_t n_fds;
    uint32_t generation;
    size_t flows, max_flows, streams;
    struct sw_port *current; /* whose frame or connection libslirp looks at */
    int found;               /* a listener that was not known yet */
    struct ctr_timer *tick, *soon;
    bool soon_armed;
    uint64_t stepped_ms;
};

/* --- uplink-poll.c --- */
struct sw_fd *sw_uplink_fd(const struct sw_uplink *up, int fd); /* NULL: not known */
struct sw_fd *sw_uplink_add_fd(struct sw_uplink *up, int fd);   /* NULL: out of memory */
void sw_uplink_forget_fd(struct sw_uplink *up, int fd);
/* Makes the timers. 0 or -ENOMEM. */
int sw_uplink_poll_init(struct sw_uplink *up);
void sw_uplink_poll_finish(struct sw_uplink *up);
/* Asks libslirp what it waits for. */
void sw_uplink_fill(struct sw_uplink *up);
/* Hands all noted events over, at once or soon. */
void sw_uplink_step(struct sw_uplink *up);
void sw_uplink_schedule(struct sw_uplink *up);

#endif
