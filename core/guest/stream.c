/*
 * Streams: windows both ways, the half-closes, and the rules that a hostile guest may break: it never opens a stream, never sends
 * more than its window, never overflows ours. What comes for a stream that is closed here is dropped.
 */
#include "core/guest/guest-priv.h"

/* --- life --- */

struct ctr_stream *
ctr_stream_open(struct ctr_guest *guest, const struct ctr_stream_events *events, void *arg)
{
    if (guest->over || guest->n_streams >= CTR_STREAMS_MAX || guest->next_id > UINT32_MAX - 2) {
        return NULL;
    }
    struct ctr_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    stream->guest = guest;
    stream->id = guest->next_id;
    stream->send_window = stream->receive_window = CTR_YAMUX_WINDOW;
    stream->events = *events;
    stream->arg = arg;
    stream->next = guest->streams;
    guest->streams = stream;
    guest->n_streams++;
    guest->next_id += 2;
    ctr_guest_send(guest, CTR_YAMUX_UPDATE, CTR_YAMUX_SYN, stream->id, 0);
    return stream;
}

uint32_t
ctr_stream_id(const struct ctr_stream *stream)
{
    return stream->id;
}

void
ctr_stream_free(struct ctr_stream *stream)
{
    struct ctr_guest *guest = stream->guest;
    struct ctr_stream **link = &guest->streams;
    while (*link != stream) {
        link = &(*link)->next;
    }
    *link = stream->next;
    guest->n_streams--;
    free(stream);
}

void
ctr_stream_close(struct ctr_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    bool done = stream->reset || (stream->local_fin && stream->remote_fin);
    if (!done && stream->remote_fin) {
        ctr_guest_send(stream->guest, CTR_YAMUX_UPDATE, CTR_YAMUX_FIN, stream->id, 0);
    } else if (!done) {
        ctr_guest_send(stream->guest, CTR_YAMUX_UPDATE, CTR_YAMUX_RST, stream->id, 0);
    }
    ctr_stream_free(stream);
}

/* --- to the guest --- */

static size_t
room_of(const struct ctr_stream *stream)
{
    const struct ctr_guest *guest = stream->guest;
    if (stream->local_fin || stream->reset || guest->over ||
        guest->out.length >= CTR_GUEST_QUEUE) {
        return 0;
    }
    size_t room = CTR_GUEST_QUEUE - guest->out.length;
    room = room < stream->send_window ? room : stream->send_window;
    return room < CTR_YAMUX_MAX_FRAME ? room : CTR_YAMUX_MAX_FRAME;
}

size_t
ctr_stream_write(struct ctr_stream *stream, const void *bytes, size_t length)
{
    struct ctr_guest *guest = stream->guest;
    size_t done = 0, room;
    while (done < length && (room = room_of(stream)) > 0) {
        uint8_t raw[CTR_YAMUX_HEADER];
        size_t n = length - done < room ? length - done : room;
        struct ctr_yamux_header header = {CTR_YAMUX_DATA, 0, stream->id, (uint32_t) n};
        ctr_yamux_encode(&header, raw);
        ctr_guest_queue(guest, raw, sizeof raw);
        ctr_guest_queue(guest, (const char *) bytes + done, n);
        stream->send_window -= (uint32_t) n;
        done += n;
        ctr_guest_flush(guest);
    }
    stream->wants_room = done < length;
    return done;
}

void
ctr_stream_finish(struct ctr_stream *stream)
{
    if (!stream->local_fin && !stream->reset) {
        stream->local_fin = true;
        ctr_guest_send(stream->guest, CTR_YAMUX_UPDATE, CTR_YAMUX_FIN, stream->id, 0);
    }
}

void
ctr_stream_tell_writers(struct ctr_guest *guest)
{
    guest->round++;
    struct ctr_stream *stream = guest->streams;
    while (!guest->dead && !guest->over && stream != NULL) {
        if (stream->round == guest->round || !stream->wants_room || room_of(stream) == 0) {
            stream = stream->next;
            continue;
        }
        stream->round = guest->round;
        stream->wants_room = false;
        if (stream->events.writable != NULL) {
            stream->events.writable(stream->arg);
        }
        stream = guest->dead ? NULL : guest->streams; /* any may be gone */
    }
}

/* --- from the guest --- */

static void
pay(struct ctr_stream *stream)
{
    struct ctr_guest *guest = stream->guest;
    if (stream->owed < CTR_YAMUX_WINDOW / 4 || guest->out.length >= CTR_GUEST_QUEUE ||
        stream->remote_fin || stream->reset || guest->over) {
        return;
    }
    uint32_t delta = stream->owed;
    stream->owed = 0;
    stream->receive_window += delta;
    ctr_guest_send(guest, CTR_YAMUX_UPDATE, 0, stream->id, delta);
}

void
ctr_stream_pay(struct ctr_guest *guest)
{
    for (struct ctr_stream *stream = guest->streams; stream != NULL; stream = stream->next) {
        pay(stream);
    }
}

void
ctr_stream_taken(struct ctr_stream *stream, size_t length)
{
    uint32_t n = length < stream->held ? (uint32_t) length : stream->held;
    stream->held -= n;
    stream->owed += n;
    pay(stream);
}

static int
offend(struct ctr_guest *guest, const char *reason)
{
    ctr_guest_end(guest, reason);
    return -EPROTO;
}

static void
end_stream(struct ctr_stream *stream, bool reset)
{
    stream->remote_fin = true;
    stream->reset = stream->reset || reset;
    if (!stream->told_end) {
        stream->told_end = true;
        if (stream->events.end != NULL) {
            stream->events.end(stream->arg, reset);
        }
    }
}

static int
take_window(struct ctr_guest *guest, uint32_t id, uint32_t delta)
{
    struct ctr_stream *stream = ctr_guest_find(guest, id);
    if (delta > UINT32_MAX - stream->send_window) {
        return offend(guest, "a window overflowed");
    }
    stream->send_window += delta;
    if (stream->wants_room && room_of(stream) > 0) {
        stream->wants_room = false;
        if (stream->events.writable != NULL) {
            stream->events.writable(stream->arg);
        }
    }
    return 0;
}

static int
take_data(struct ctr_guest *guest, struct ctr_stream *stream, const uint8_t *payload, size_t n)
{
    if (stream->remote_fin) {
        return offend(guest, "data came behind a stream's end");
    }
    if (n > stream->receive_window) {
        return offend(guest, "more data came than the window allows");
    }
    stream->receive_window -= (uint32_t) n;
    stream->held += (uint32_t) n;
    stream->events.data(stream->arg, payload, n);
    return 0;
}

int
ctr_stream_frame(struct ctr_guest *guest, const struct ctr_yamux_header *header,
                 const uint8_t *payload, size_t n, uint32_t left)
{
    struct ctr_stream *stream = ctr_guest_find(guest, header->stream);
    if ((header->flags & CTR_YAMUX_SYN) != 0) {
        return offend(guest, "the guest opened a stream");
    }
    if (stream == NULL) {
        return header->stream % 2 == 1 && header->stream < guest->next_id
                   ? 0
                   : offend(guest, "a frame came for a stream that never was");
    }
    int code = 0;
    if (header->type == CTR_YAMUX_UPDATE) {
        code = take_window(guest, header->stream, header->length);
    } else if (n > 0) {
        code = take_data(guest, stream, payload, n);
    }
    if (code < 0 || left > 0 || guest->dead || guest->over) {
        return code;
    }
    stream = ctr_guest_find(guest, header->stream); /* a callback may have closed it */
    if (stream != NULL && (header->flags & (CTR_YAMUX_FIN | CTR_YAMUX_RST)) != 0) {
        end_stream(stream, (header->flags & CTR_YAMUX_RST) != 0);
    }
    return 0;
}
