/*
 * fuzz-frames: the bytes of a hostile guest. The parser gets them whole and in odd pieces and must see the same frames; then a whole
 * channel gets them, with streams open and a request under way, and must tell its end exactly once.
 */
#include "core/guest/guest.h"
#include <fcntl.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void
need(bool good)
{
    if (!good) {
        abort();
    }
}

/* --- the parser alone --- */

struct trace {
    uint64_t hash;
    size_t payload;
};

static int
on_frame(void *arg, const struct ctr_yamux_header *header, const uint8_t *payload, size_t n)
{
    struct trace *trace = arg;
    if (n == 0) {
        trace->hash = trace->hash * 31 + header->type + header->flags * 7u +
                      header->stream * 13u + header->length;
    }
    for (size_t i = 0; i < n; i++) {
        trace->hash = trace->hash * 31 + payload[i];
    }
    trace->payload += n;
    return 0;
}

static int
parse(const uint8_t *bytes, size_t length, size_t piece, struct trace *trace)
{
    struct ctr_mux_parser parser = {0};
    for (size_t done = 0; done < length;) {
        size_t n = length - done < piece ? length - done : piece;
        int code = ctr_mux_feed(&parser, bytes + done, n, on_frame, trace);
        if (code < 0) {
            return code;
        }
        done += n;
    }
    return 0;
}

/* --- a whole channel --- */

struct box {
    struct ctr_loop *loop;
    struct ctr_stream *streams[2];
    unsigned replies, closed, ends;
    size_t held;
};

static void
on_event(void *arg, const json_t *message)
{
    need(json_is_object(message));
}

static void
on_closed(void *arg, const char *reason)
{
    struct box *box = arg;
    box->closed++;
    ctr_loop_stop(box->loop);
}

static void
on_reply(void *arg, const json_t *ok, const json_t *error)
{
    struct box *box = arg;
    need((ok == NULL) != (error == NULL));
    box->replies++;
}

static void
on_data(void *arg, const void *data, size_t n)
{
    struct box *box = arg;
    box->held += n;
    need(box->held <= 2 * CTR_YAMUX_WINDOW); /* nothing is given back */
}

static void
on_end(void *arg, bool reset)
{
    struct box *box = arg;
    box->ends++;
}

static void
try_channel(const uint8_t *bytes, size_t length)
{
    static const struct ctr_guest_events events = {on_event, on_closed};
    static const struct ctr_stream_events stream_events = {.data = on_data, .end = on_end};
    struct box box = {0};
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_guest *guest = NULL;
    int pair[2];
    need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    need(ctr_loop_create(&box.loop, &err) == 0);
    need(ctr_guest_create(box.loop, pair[0], &events, &box, &guest, &err) == 0);
    for (int i = 0; i < 2; i++) {
        box.streams[i] = ctr_stream_open(guest, &stream_events, &box);
        need(box.streams[i] != NULL);
    }
    json_t *request = json_pack("{s:s}", "op", "ping");
    need(ctr_guest_request(guest, request, on_reply, &box, &err) == 0);
    json_decref(request);
    (void) ctr_stream_write(box.streams[0], "hello", 5);
    need(write(pair[1], bytes, length) == (ssize_t) length);
    (void) shutdown(pair[1], SHUT_WR);
    ctr_loop_run(box.loop);
    need(box.closed == 1 && box.replies == 1 && box.ends == 2);
    ctr_guest_destroy(guest);
    ctr_loop_destroy(box.loop);
    (void) close(pair[1]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct trace whole = {0}, pieces = {0}, single = {0};
    if (length > 100 * 1024) {
        return 0;
    }
    int code = parse(bytes, length, SIZE_MAX, &whole);
    need(parse(bytes, length, 7, &pieces) == code);
    need(parse(bytes, length, 1, &single) == code);
    need(whole.hash == pieces.hash && whole.payload == pieces.payload &&
         whole.hash == single.hash && whole.payload == single.payload);
    try_channel(bytes, length);
    return 0;
}
