/* mux.c: frames in, frames out. See mux.h. */
#include "mux.h"
#include "loop.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define QUEUE_LONG (256u * 1024) /* above it no stream has room */

static struct {
    struct watch watch;
    struct buf out;
    struct stream *streams;
    unsigned count;
    uint8_t header[CTR_YAMUX_HEADER];
    size_t have;
    uint32_t left; /* payload of the current frame still to come */
    struct ctr_yamux_header frame;
    bool heard, over, pressed; /* pressed: a stream was refused room */
    void (*opened)(struct stream *);
    void (*closed)(const char *);
    void (*flushed)(void);
} mux;

static void channel_ready(struct watch *watch, uint32_t events);

int
mux_init(int take_fd, void (*opened)(struct stream *), void (*closed)(const char *))
{
    mux.watch = (struct watch){.fd = take_fd, .ready = channel_ready};
    mux.opened = opened;
    mux.closed = closed;
    /* Edge-triggered: a port whose host is not there yet reports a hang-up all the time. */
    return watch_set(&mux.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

static void
end(const char *reason)
{
    if (!mux.over) {
        mux.over = true;
        mux.closed(reason);
    }
}

/* --- out --- */

static void write_out(void);

static void
send_frame(uint8_t type, uint16_t flags, uint32_t stream, uint32_t length)
{
    uint8_t bytes[CTR_YAMUX_HEADER];
    struct ctr_yamux_header header = {type, flags, stream, length};
    ctr_yamux_encode(&header, bytes);
    if (buf_add(&mux.out, bytes, sizeof bytes) < 0) {
        end("out of memory");
        return;
    }
    write_out();
}

/* Tells each stream once that there is room again. A callback may free any stream, so each look starts at the head. */
static void
tell_writers(void)
{
    static unsigned round;
    round++;
    mux.pressed = false;
    struct stream *stream = mux.streams;
    while (stream != NULL && !mux.pressed && !mux.over) {
        if (stream->told == round || stream->writable == NULL || stream->send_window == 0) {
            stream->told = round;
            stream = stream->next;
            continue;
        }
        stream->told = round;
        stream->writable(stream);
        stream = mux.streams;
    }
}

void
mux_settle(void)
{
    while (mux.pressed && !mux.over && mux.out.length < QUEUE_LONG / 2) {
        tell_writers();
    }
}

static void
write_out(void)
{
    while (mux.out.length > 0 && !mux.over) {
        ssize_t n = write(mux.watch.fd, buf_front(&mux.out), mux.out.length);
        if (n > 0) {
            buf_consume(&mux.out, (size_t) n);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n == 0 || errno == EAGAIN) {
            return;
        } else {
            end("the host closed the channel");
            return;
        }
    }
}

size_t
stream_room(const struct stream *stream)
{
    if (stream->reset || stream->local_fin || mux.over) {
        return 0;
    }
    if (mux.out.length >= QUEUE_LONG) {
        mux.pressed = true;
        return 0;
    }
    return stream->send_window < CTR_YAMUX_MAX_FRAME ? stream->send_window
                                                     : CTR_YAMUX_MAX_FRAME;
}

uint8_t *
stream_reserve(struct stream *stream, size_t n)
{
    uint8_t *room = buf_reserve(&mux.out, CTR_YAMUX_HEADER + n);
    return room == NULL ? NULL : room + CTR_YAMUX_HEADER;
}

void
stream_commit(struct stream *stream, size_t n)
{
    uint8_t *room = buf_reserve(&mux.out, CTR_YAMUX_HEADER + n);
    struct ctr_yamux_header header = {CTR_YAMUX_DATA, 0, stream->id, (uint32_t) n};
    ctr_yamux_encode(&header, room);
    buf_grow(&mux.out, CTR_YAMUX_HEADER + n);
    stream->send_window -= (uint32_t) n;
    write_out();
}

void
stream_finish(struct stream *stream)
{
    if (!stream->local_fin && !stream->reset) {
        stream->local_fin = true;
        send_frame(CTR_YAMUX_UPDATE, CTR_YAMUX_FIN, stream->id, 0);
    }
}

void
stream_take(struct stream *stream, size_t n)
{
    buf_consume(&stream->in, n);
    stream->taken += (uint32_t) n;
    bool low = stream->taken >= CTR_YAMUX_WINDOW / 4;
    if (low && !stream->remote_fin && !stream->reset) {
        uint32_t delta = stream->taken;
        stream->receive_window += delta;
        stream->taken = 0;
        send_frame(CTR_YAMUX_UPDATE, 0, stream->id, delta);
    }
}

void
mux_flush(void (*done)(void))
{
    mux.flushed = done;
    send_frame(CTR_YAMUX_PING, CTR_YAMUX_SYN, 0, 1);
}

/* --- streams --- */

struct stream *
mux_find(uint32_t id)
{
    struct stream *stream = mux.streams;
    while (stream != NULL && stream->id != id) {
        stream = stream->next;
    }
    return stream;
}

static void
forget(struct stream *stream)
{
    struct stream **link = &mux.streams;
    while (*link != stream) {
        link = &(*link)->next;
    }
    *link = stream->next;
    mux.count--;
    buf_free(&stream->in);
    free(stream);
}

void
mux_finish(void)
{
    while (mux.streams != NULL) {
        forget(mux.streams);
    }
    watch_close(&mux.watch);
    buf_free(&mux.out);
    memset(&mux, 0, sizeof mux);
    mux.watch.fd = -1;
}

void
mux_release(struct stream *stream)
{
    stream->owner = NULL;
    stream->readable = stream->writable = NULL;
    if (stream->in.length > 0) {
        stream_take(stream, stream->in.length);
    }
    if (stream->reset || (stream->remote_fin && stream->local_fin)) {
        forget(stream);
    } else if (stream->remote_fin) {
        stream_finish(stream);
        forget(stream);
    } else if (!stream->local_fin) {
        send_frame(CTR_YAMUX_UPDATE, CTR_YAMUX_RST, stream->id, 0);
        forget(stream);
    } /* else: the host still has to finish */
}

static struct stream *
open_stream(uint32_t id)
{
    struct stream *stream = NULL;
    if (id % 2 == 1 && mux.count < CTR_STREAMS_MAX && mux_find(id) == NULL) {
        stream = calloc(1, sizeof *stream);
    }
    if (stream == NULL) {
        send_frame(CTR_YAMUX_UPDATE, CTR_YAMUX_RST, id, 0);
        return NULL;
    }
    stream->id = id;
    stream->send_window = stream->receive_window = CTR_YAMUX_WINDOW;
    stream->next = mux.streams;
    mux.streams = stream;
    mux.count++;
    send_frame(CTR_YAMUX_UPDATE, CTR_YAMUX_ACK, id, 0);
    mux.opened(stream);
    return mux_find(id);
}

/* --- in --- */

/* FIN and RST of the frame that has just ended. */
static void
end_of_frame(struct stream *stream)
{
    bool owned = stream->owner != NULL;
    if ((mux.frame.flags & CTR_YAMUX_RST) != 0) {
        stream->reset = true;
    } else if ((mux.frame.flags & CTR_YAMUX_FIN) != 0) {
        stream->remote_fin = true;
    } else {
        return;
    }
    if (owned) {
        if (stream->reset && stream->writable != NULL) {
            uint32_t id = stream->id;
            stream->writable(stream);
            stream = mux_find(id);
        }
        if (stream != NULL && stream->readable != NULL) {
            stream->readable(stream);
        }
    } else if (stream->reset || stream->local_fin) {
        forget(stream);
    }
}

static void
take_update(struct stream *stream)
{
    if (mux.frame.length > UINT32_MAX - stream->send_window) {
        end("a window overflowed");
        return;
    }
    bool was_shut = stream->send_window == 0;
    stream->send_window += mux.frame.length;
    uint32_t id = stream->id;
    if (was_shut && stream->send_window > 0 && stream->writable != NULL) {
        stream->writable(stream);
        stream = mux_find(id);
    }
    if (stream != NULL) {
        end_of_frame(stream);
    }
}

/* A whole header is there. */
static void
start_frame(void)
{
    struct ctr_yamux_header *frame = &mux.frame;
    if (frame->type == CTR_YAMUX_PING) {
        if ((frame->flags & CTR_YAMUX_SYN) != 0) {
            send_frame(CTR_YAMUX_PING, CTR_YAMUX_ACK, 0, frame->length);
        } else if (mux.flushed != NULL) {
            void (*flushed)(void) = mux.flushed;
            mux.flushed = NULL;
            flushed();
        }
        return;
    }
    if (frame->type == CTR_YAMUX_GOAWAY) {
        end("the host went away");
        return;
    }
    struct stream *stream = mux_find(frame->stream);
    if ((frame->flags & CTR_YAMUX_SYN) != 0) {
        stream = open_stream(frame->stream);
    }
    if (frame->type == CTR_YAMUX_DATA) {
        mux.left = frame->length;
        if (stream != NULL && frame->length > stream->receive_window) {
            end("the host sent more than the window");
        } else if (stream != NULL) {
            stream->receive_window -= frame->length;
            if (frame->length == 0) {
                end_of_frame(stream);
            }
        }
    } else if (stream != NULL) {
        take_update(stream);
    }
}

static void
take_payload(const uint8_t *bytes, size_t n)
{
    struct stream *stream = mux_find(mux.frame.stream);
    mux.left -= (uint32_t) n;
    if (stream == NULL) {
        return;
    }
    if (stream->local_fin && stream->owner == NULL) {
        stream->taken += (uint32_t) n; /* nobody will ever read it */
        stream_take(stream, 0);
    } else if (buf_add(&stream->in, bytes, n) < 0) {
        end("out of memory");
        return;
    } else if (stream->readable != NULL) {
        stream->readable(stream);
    }
    stream = mux.left == 0 ? mux_find(mux.frame.stream) : NULL;
    if (stream != NULL) {
        end_of_frame(stream);
    }
}

static void
take_bytes(const uint8_t *bytes, size_t n)
{
    while (n > 0 && !mux.over) {
        if (mux.left > 0) {
            size_t part = n < mux.left ? n : mux.left;
            take_payload(bytes, part);
            bytes += part;
            n -= part;
            continue;
        }
        mux.header[mux.have++] = *bytes++;
        n--;
        if (mux.have == CTR_YAMUX_HEADER) {
            mux.have = 0;
            if (ctr_yamux_decode(mux.header, &mux.frame) < 0) {
                end("a frame is malformed");
                return;
            }
            start_frame();
        }
    }
}

static void
channel_ready(struct watch *watch, uint32_t events)
{
    static uint8_t bytes[128 * 1024];
    while (!mux.over) {
        ssize_t n = read(watch->fd, bytes, sizeof bytes);
        if (n > 0) {
            mux.heard = true;
            take_bytes(bytes, (size_t) n);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (n == 0 && !mux.heard && (events & EPOLLRDHUP) == 0) {
            break; /* a port whose host has not connected yet */
        } else {
            end("the host closed the channel");
        }
    }
    write_out();
}
