/*
 * The channel: bytes of the guest through the parser to the streams, frames of ours to the guest. See guest.h.
 *
 * What waits to be sent is bounded: stream data by CTR_GUEST_QUEUE, requests by CTR_GUEST_REQUESTS, answers to pings and window
 * updates are held back while the queue is long, FIN and RST come at most once per stream.
 */
#include "core/guest/guest-priv.h"

#include <fcntl.h>
#include <sys/socket.h>

#define READ_ROUNDS 8 /* reads per turn of the loop, so that others get theirs */

static void
leave(struct ctr_guest *guest)
{
    if (--guest->depth == 0 && guest->dead) {
        free(guest);
    }
}

struct ctr_stream *
ctr_guest_find(struct ctr_guest *guest, uint32_t id)
{
    struct ctr_stream *stream = guest->streams;
    while (stream != NULL && stream->id != id) {
        stream = stream->next;
    }
    return stream;
}

/* --- the end --- */

static void
close_channel(struct ctr_guest *guest)
{
    ctr_watch_remove(guest->watch);
    guest->watch = NULL;
    if (guest->fd >= 0) {
        (void) close(guest->fd);
        guest->fd = -1;
    }
    ctr_buf_clear(&guest->out);
    ctr_buf_clear(&guest->requests);
    ctr_buf_clear(&guest->message);
}

static struct ctr_stream *
next_to_end(struct ctr_guest *guest)
{
    struct ctr_stream *stream = guest->streams;
    while (stream != NULL && (stream->told_end || stream == guest->control)) {
        stream = stream->next;
    }
    return stream;
}

/* Tells everybody, once: requests, streams, the owner. */
static void
tell_closed(struct ctr_guest *guest)
{
    if (guest->told || guest->dead) {
        return;
    }
    guest->told = true;
    guest->depth++;
    close_channel(guest);
    ctr_control_fail_all(guest);
    struct ctr_stream *stream;
    while (!guest->dead && (stream = next_to_end(guest)) != NULL) {
        stream->told_end = stream->reset = true;
        if (stream->events.end != NULL) {
            stream->events.end(stream->arg, true);
        }
    }
    if (!guest->dead) {
        guest->events.closed(guest->arg, guest->reason);
    }
    leave(guest);
}

static void
on_soon(void *arg)
{
    struct ctr_guest *guest = arg;
    ctr_timer_remove(guest->soon);
    guest->soon = NULL;
    tell_closed(guest);
}

void
ctr_guest_end(struct ctr_guest *guest, const char *reason)
{
    if (guest->over) {
        return;
    }
    guest->over = true;
    (void) snprintf(guest->reason, sizeof guest->reason, "%s", reason);
    if (guest->watch != NULL) {
        ctr_watch_set(guest->watch, 0);
    }
    guest->soon = ctr_timer_add(guest->loop, 0, on_soon, guest);
}

/* --- out --- */

void
ctr_guest_flush(struct ctr_guest *guest)
{
    size_t done = 0;
    while (done < guest->out.length && !guest->over) {
        ssize_t n = send(guest->fd, guest->out.data + done, guest->out.length - done,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            done += (size_t) n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        } else {
            /* The end is told by the reading side, after what the guest has said last. */
            done = guest->out.length;
        }
    }
    ctr_buf_consume(&guest->out, done);
    if (guest->watch != NULL && !guest->over) {
        ctr_watch_set(guest->watch, CTR_READABLE | (guest->out.length > 0 ? CTR_WRITABLE : 0u));
    }
}

void
ctr_guest_queue(struct ctr_guest *guest, const void *bytes, size_t length)
{
    if (guest->over) {
        return;
    }
    ctr_buf_add(&guest->out, bytes, length);
    if (guest->out.failed) {
        ctr_guest_end(guest, "out of memory");
    }
}

void
ctr_guest_send(struct ctr_guest *guest, uint8_t type, uint16_t flags, uint32_t stream,
               uint32_t length)
{
    uint8_t bytes[CTR_YAMUX_HEADER];
    struct ctr_yamux_header header = {type, flags, stream, length};
    ctr_yamux_encode(&header, bytes);
    ctr_guest_queue(guest, bytes, sizeof bytes);
    ctr_guest_flush(guest);
}

/* --- in --- */

static int
on_frame(void *arg, const struct ctr_yamux_header *header, const uint8_t *payload, size_t n)
{
    struct ctr_guest *guest = arg;
    if (guest->over || guest->dead) {
        return -ECANCELED;
    }
    switch (header->type) {
    case CTR_YAMUX_PING:
        if ((header->flags & CTR_YAMUX_SYN) != 0 && guest->out.length < CTR_GUEST_QUEUE) {
            ctr_guest_send(guest, CTR_YAMUX_PING, CTR_YAMUX_ACK, 0, header->length);
        }
        return 0;
    case CTR_YAMUX_GOAWAY:
        ctr_guest_end(guest, "the guest went away");
        return -ECANCELED;
    default:
        return ctr_stream_frame(guest, header, payload, n, guest->parser.left);
    }
}

/* False when there is nothing more to read now. */
static bool
read_some(struct ctr_guest *guest)
{
    static uint8_t bytes[CTR_YAMUX_MAX_FRAME];
    ssize_t n = recv(guest->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return false;
    }
    if (n <= 0) {
        bool cut = guest->parser.have > 0 || guest->parser.left > 0;
        ctr_guest_end(guest, cut ? "the channel ended inside a frame" : "");
        return false;
    }
    int code = ctr_mux_feed(&guest->parser, bytes, (size_t) n, on_frame, guest);
    if (code < 0 && !guest->dead) {
        ctr_guest_end(guest, "a frame's header is malformed");
    }
    return code == 0 && !guest->over && !guest->dead;
}

static void
on_channel(void *arg, uint32_t events)
{
    struct ctr_guest *guest = arg;
    guest->depth++;
    if ((events & CTR_READABLE) != 0) {
        for (int i = 0; i < READ_ROUNDS && !guest->dead && read_some(guest); i++) {
        }
    }
    if (!guest->dead && !guest->over) {
        ctr_guest_flush(guest);
        ctr_stream_pay(guest);
        ctr_stream_tell_writers(guest);
    }
    if (guest->over && guest->soon == NULL) {
        tell_closed(guest); /* no memory for the timer: now, then */
    }
    leave(guest);
}

/* --- life --- */

static int
fail_create(struct ctr_guest *guest, struct ctr_error *err)
{
    ctr_guest_destroy(guest);
    return ctr_fail(err, -ENOMEM, "guest channel: out of memory");
}

int
ctr_guest_create(struct ctr_loop *loop, int take_fd, const struct ctr_guest_events *events,
                 void *arg, struct ctr_guest **ret, struct ctr_error *err)
{
    struct ctr_guest *guest = calloc(1, sizeof *guest);
    if (guest == NULL) {
        (void) close(take_fd);
        return ctr_fail(err, -ENOMEM, "guest channel: out of memory");
    }
    guest->loop = loop;
    guest->fd = take_fd;
    guest->events = *events;
    guest->arg = arg;
    guest->next_id = CTR_CONTROL_STREAM;
    (void) fcntl(take_fd, F_SETFL, fcntl(take_fd, F_GETFL) | O_NONBLOCK);
    guest->watch = ctr_watch_add(loop, take_fd, CTR_READABLE, on_channel, guest);
    if (guest->watch == NULL) {
        return fail_create(guest, err);
    }
    guest->control = ctr_stream_open(guest, &ctr_control_events, guest);
    if (guest->control == NULL) {
        return fail_create(guest, err);
    }
    *ret = guest;
    return 0;
}

static void
forget_requests(struct ctr_guest *guest)
{
    while (guest->waiting != NULL) {
        struct ctr_request *request = guest->waiting;
        guest->waiting = request->next;
        free(request);
    }
}

void
ctr_guest_destroy(struct ctr_guest *guest)
{
    if (guest == NULL || guest->dead) {
        return;
    }
    guest->depth++;
    guest->dead = guest->over = true;
    if (guest->soon != NULL) {
        ctr_timer_remove(guest->soon);
    }
    close_channel(guest);
    forget_requests(guest);
    while (guest->streams != NULL) {
        ctr_stream_free(guest->streams);
    }
    leave(guest);
}
