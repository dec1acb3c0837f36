/*
 * core/guest for itself: the channel and its streams.
 *
 * Callbacks may close any stream or destroy the whole guest. So a guest that is destroyed while `depth` > 0 is only marked
 * (`dead`), and freed when the outermost handler returns; streams are looked up again by number after each callback.
 */
#ifndef CTR_GUEST_PRIV_H
#define CTR_GUEST_PRIV_H

#include "core/guest/guest.h"

#define CTR_GUEST_QUEUE                                                                        \
    (256u * 1024) /* bytes queued for the channel; above it no stream writes */
#define CTR_GUEST_REQUESTS                                                                     \
    (4u * 1024 * 1024) /* bytes of requests that wait for the guest's window */

struct ctr_request {
    struct ctr_request *next;
    json_int_t id;
    void (*reply)(void *arg, const json_t *ok, const json_t *error);
    void *arg;
};

struct ctr_stream {
    struct ctr_stream *next;
    struct ctr_guest *guest;
    uint32_t id;
    uint32_t send_window;    /* the guest still takes */
    uint32_t receive_window; /* the guest may still send */
    uint32_t held;           /* given to data(), not yet taken */
    uint32_t owed;           /* taken, not yet given back to the guest */
    uint32_t round;          /* the last look that told it of room */
    bool wants_room;         /* a write took less than offered */
    bool local_fin, remote_fin, reset, told_end;
    struct ctr_stream_events events;
    void *arg;
};

struct ctr_guest {
    struct ctr_loop *loop;
    struct ctr_watch *watch;
    struct ctr_timer *soon; /* closed() that was found inside a call of the owner */
    int fd;
    struct ctr_guest_events events;
    void *arg;
    struct ctr_mux_parser parser;
    struct ctr_buf out;
    struct ctr_stream *streams; /* stream 1 among them */
    uint32_t n_streams, next_id, round;
    struct ctr_stream *control;
    struct ctr_buf message, requests; /* of the control stream: incoming part, outgoing rest */
    struct ctr_request *waiting;
    json_int_t next_request;
    bool greeted, over, told, dead;
    unsigned depth;
    char reason[128];
};

/* guest.c */
struct ctr_stream *ctr_guest_find(struct ctr_guest *guest, uint32_t id);
/* Queues a frame and writes what the socket takes. */
void ctr_guest_send(struct ctr_guest *guest, uint8_t type, uint16_t flags, uint32_t stream,
                    uint32_t length);
void ctr_guest_queue(struct ctr_guest *guest, const void *bytes, size_t length);
void ctr_guest_flush(struct ctr_guest *guest);
/* The channel is over; the owner is told from the loop. */
void ctr_guest_end(struct ctr_guest *guest, const char *reason);

/* stream.c: one frame of the guest's, piece by piece. Negative: an offence, already told to ctr_guest_end. */
int ctr_stream_frame(struct ctr_guest *guest, const struct ctr_yamux_header *header,
                     const uint8_t *payload, size_t n, uint32_t left);
/* Tells streams that wait for room. */
void ctr_stream_tell_writers(struct ctr_guest *guest);
/* Gives back what windows are owed. */
void ctr_stream_pay(struct ctr_guest *guest);
void ctr_stream_free(struct ctr_stream *stream);

/* control.c */
extern const struct ctr_stream_events ctr_control_events;
/* Every request that still waits gets the error EPIPE. */
void ctr_control_fail_all(struct ctr_guest *guest);

#endif
