/*
 * core/guest: the host's side of the guest channel (guest/PROTOCOL.guest.md).
 *
 * Runs on the loop's thread. Every byte from the guest is hostile: lengths are checked, memory is bounded (one window for each
 * stream, one control message), an offence ends the channel with a reason.
 */
#ifndef CTR_GUEST_H
#define CTR_GUEST_H

#include "core/loop/loop.h"
#include "guest/protocol.h"

struct ctr_guest;
struct ctr_stream;

struct ctr_guest_events {
    /* {"event":…} messages; borrowed. The first is hello, with our protocol version: any other ends the channel. */
    void (*event)(void *arg, const json_t *message);
    /* The channel is over: end of stream (reason "") or an offence. Before it every open request got EPIPE and every open
     * stream its end(reset). No other callback follows. */
    void (*closed)(void *arg, const char *reason);
};

/* Takes the fd. */
int ctr_guest_create(struct ctr_loop *loop, int take_fd, const struct ctr_guest_events *events,
                     void *arg, struct ctr_guest **ret, struct ctr_error *err);
void
ctr_guest_destroy(struct ctr_guest *guest); /* takes NULL; streams are gone, no callbacks */

/* Sends {"id":…} + request (a borrowed object with "op"); reply(arg, ok, error): one of both is NULL; called once, also when the channel closes
 * (error "EPIPE"). */
int ctr_guest_request(struct ctr_guest *guest, const json_t *request,
                      void (*reply)(void *arg, const json_t *ok, const json_t *error),
                      void *arg, struct ctr_error *err);

struct ctr_stream_events {
    /* Bytes from the guest, valid during the call. They count against the stream's window until ctr_stream_taken. */
    void (*data)(void *arg, const void *bytes, size_t length);
    /* The guest will send no more: FIN (reset false) or RST (true: both directions are over). */
    void (*end)(void *arg, bool reset);
    /* The window has room again after ctr_stream_write took less than offered. */
    void (*writable)(void *arg);
};

/* Opens a stream; its number goes into a request. NULL: out of memory or over the cap. */
struct ctr_stream *
ctr_stream_open(struct ctr_guest *guest, const struct ctr_stream_events *events, void *arg);
uint32_t ctr_stream_id(const struct ctr_stream *stream);
/* Takes up to the window's room and a bounded queue; returns how many bytes were taken (0..length). */
size_t ctr_stream_write(struct ctr_stream *stream, const void *bytes, size_t length);
void ctr_stream_taken(struct ctr_stream *stream, size_t length); /* gives window back */
void ctr_stream_finish(struct ctr_stream *stream); /* FIN behind what was written */
void ctr_stream_close(
    struct ctr_stream *stream); /* RST unless both sides finished; frees it; takes NULL */

/* The parser alone, for tests and the fuzz target: feeds bytes, calls frame for every whole header with its payload's pieces. Negative on an offence. */
struct ctr_mux_parser {
    uint8_t header[CTR_YAMUX_HEADER];
    size_t have;
    uint32_t left; /* payload bytes still to come */
    struct ctr_yamux_header current;
};
int ctr_mux_feed(struct ctr_mux_parser *parser, const uint8_t *bytes, size_t length,
                 int (*frame)(void *arg, const struct ctr_yamux_header *header,
                              const uint8_t *payload, size_t n),
                 void *arg);

#endif
