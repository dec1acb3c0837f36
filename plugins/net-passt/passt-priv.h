/*
 * net-passt: net-switch's switch, with passt as the way out. A passt process serves one machine, so each port has its own:
 *
 *     port ── uplink.c: which one takes a frame, which answers are let in ─┬─ way (process.c, stream.c) ── passt: the way out, and ports published so far
 *                                                                          └─ way ─────────────────────── passt: ports published later
 *
 * passt is told its ports at its start only. One that has carried a connection is left alone: ports that come later get a process of their own.
 * Nothing of net-switch knows of this but the sw_uplink_ calls.
 */
#ifndef CTR_PASST_PRIV_H
#define CTR_PASST_PRIV_H

#include "../net-switch/switch-priv.h"

#define WAY_BUFFER (4 << 20) /* bytes asked for the socket to passt, each way */
#define WAY_QUEUE (1 << 20)  /* bytes that wait for passt */
#define WAY_READ (256 << 10) /* bytes taken from passt at once */
#define WAY_TURNS 8          /* before others have theirs */
#define FLOW_SETS 512        /* of 4 remembered flows, for each port */

struct guest;

/* One passt. */
struct way {
    struct way *next; /* of the same guest */
    struct guest *guest;
    const struct sw_published **ports; /* that it listens on */
    size_t n_ports;
    bool ready, used;        /* since its start: it listens; it carried something */
    struct ctr_child *child; /* NULL: it does not run */
    int fd, errors;          /* our end of its socket; of a pipe on its standard error */
    struct ctr_watch *watch;
    struct ctr_timer *again; /* starts it again */
    uint64_t started_ms, not_before_ms;
    uint32_t failures; /* starts in a row that did not last */
    uint8_t *in,
        *out; /* what came, up to a whole frame; frames that wait, the first `sent` bytes of them gone */
    size_t n_in, n_out, sent;
    uint64_t checked_ms, moved_ms; /* stuck.c: last looked at, last seen at work */
    int waiting; /* bytes, as the kernel counts, that passt had not taken then */
};

/* Who talks to whom: what the other side of a port may send to it. */
struct flow {
    struct ctr_address remote; /* family 0: free */
    uint16_t remote_port, port;
    uint32_t proto;
    struct way *way;
    uint64_t used_ms;
};

/* A port of the switch that has to do with the outside. */
struct guest {
    struct sw_uplink *up;
    struct guest *next;
    struct sw_port *port;
    struct way *ways; /* the first is the way out */
    struct flow *flows;
};

struct sw_uplink {
    struct sw *sw;
    struct guest *guests; /* the one used last comes first */
    char *binary;
    uint8_t changed[SW_ETHER + SW_MAX_MTU]; /* a frame that local_leave has turned back */
};

/* --- process.c: passt's life --- */
/* The program's path, or NULL with err. */
char *passt_find(const struct ctr_host *host, struct ctr_error *err);
struct way *way_create(struct guest *guest); /* NULL: out of memory */
void way_destroy(struct way *way);           /* takes NULL */
/* Starts it. It takes frames at once, and works on them when it is ready. */
int way_start(struct way *way, struct ctr_error *err);
/* Ends it now, and with it what it listens on and all that it carries. */
void way_stop(struct way *way);
/* Starts it after `ms`, if it does not run then. */
void way_start_later(struct way *way, uint64_t ms);
/* Waits until it listens: 0, or a negative code when it ended or takes too long. */
int way_wait(struct way *way, struct ctr_error *err);

/* --- command.c --- */
/* passt's arguments, for `fd` as its socket, to be freed by passt_command_free; NULL: out of memory. */
char **passt_command(const struct way *way, int fd);
void passt_command_free(char **argv);

/* --- stream.c: frames over its socket --- */
/* Sends a frame, or queues it; false: dropped. A passt that is stuck is ended. */
bool way_send(struct way *way, const uint8_t *frame, size_t length);
void way_ready(void *arg, uint32_t events); /* a watch's callback */
/* Takes what has come; false: no more of it. */
bool way_read(struct way *way);
/* Reads on what waits for a port that takes frames again. */
void way_resume(struct way *way);

/* --- stuck.c --- */
/* True if it has not moved for seconds although it was given frames all the time. */
bool way_is_stuck(struct way *way);

/* --- uplink.c --- */
/* A frame that passt sent. */
void guest_from_way(struct way *way, uint8_t *frame, size_t length);

/* --- flows.c --- */
/* The flow of these ends, made if it is not there (the oldest in its set goes), or NULL. */
struct flow *flow_find(struct guest *guest, uint32_t proto, uint16_t port,
                       const struct ctr_address *remote, uint16_t remote_port, bool make);
void flows_forget(struct guest *guest, const struct way *way);

/* --- handshake.c --- */
/* Acknowledges a guest's SYN,ACK in the name of the other side. */
void handshake_finish(struct guest *guest, const struct sw_frame *frame);

/* --- local.c: clients on the host itself that came by IPv6 --- */
/* How passt names them: a link-local address, as the gateway's. */
#define PASST_LOCAL6 "fe80::1"
/* Gives such a client the gateway's address, and the answer passt's name for it. True if there was something to change; the frame is valid in any case. */
bool local_come(const struct guest *guest, uint8_t *frame, size_t length);
bool local_leave(const struct guest *guest, const struct sw_frame *frame, uint8_t *ret);

#endif
