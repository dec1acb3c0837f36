/*
 * mux: the guest's side of the yamux framing (guest/protocol.h) over the one channel.
 *
 * The host opens all streams. What arrives for a stream is kept in `in` (never more than its window) until its owner takes it.
 * What a stream sends goes into one output queue; when that queue is long, all streams read as "no room" and are told later.
 * A stream lives until both sides have finished, or one has reset it, and its owner has let go.
 */
#ifndef CTR_INIT_MUX_H
#define CTR_INIT_MUX_H

#include "buf.h"
#include "guest/protocol.h"
#include <stdbool.h>

struct stream {
    struct stream *next;
    uint32_t id;
    uint32_t send_window;    /* bytes that the host still takes */
    uint32_t receive_window; /* bytes that the host may still send */
    uint32_t taken;          /* consumed, not yet given back */
    struct buf in;
    bool remote_fin, local_fin, reset;
    unsigned told; /* the round of mux_settle that asked it last */
    void *owner;   /* NULL: nobody yet, or let go */
    void (*readable)(
        struct stream *stream); /* bytes came, or the end of them (remote_fin, reset) */
    void (*writable)(struct stream *stream); /* room again, or reset */
};

/* Takes the fd. `opened` is told of each new stream; `closed` when the channel is over. */
int mux_init(int take_fd, void (*opened)(struct stream *stream),
             void (*closed)(const char *reason));
/* Frees all streams and closes the channel; for tests, ctr-init ends with its machine. */
void mux_finish(void);
struct stream *mux_find(uint32_t id);
/* Nobody owns it any more: finished (or reset, if the host is not done) and freed when possible. */
void mux_release(struct stream *stream);

/* How much can be sent now: 0 when the window or the queue is full, or the stream is over. */
size_t stream_room(const struct stream *stream);
/* A place for a frame's payload of up to n bytes (at most 64 KiB), then its real length. NULL: no memory. */
uint8_t *stream_reserve(struct stream *stream, size_t n);
void stream_commit(struct stream *stream, size_t n);
void stream_finish(struct stream *stream);
/* Drops n bytes of `in` and gives them back to the host's window, now or soon. */
void stream_take(struct stream *stream, size_t n);

/* Once per turn of the loop: tells streams that had no room. Callbacks run from here, never inside a send. */
void mux_settle(void);
/* Asks the host for a sign of life: `done` when the answer came, so that all that was sent before has arrived. */
void mux_flush(void (*done)(void));

#endif
