/*
 * Questions over TCP (RFC 7766): a two-byte length before each message, many questions on one connection, answers in whatever order they come.
 *
 * A connection ends when nothing whole came in, and nothing went out, for a while: a half question does not prolong it. Connections are bounded for each port and
 * in all, and so is what waits on one: beyond that we stop reading until something is through.
 */
#include "core/dns/dns-priv.h"
#include <sys/socket.h>

#define MAX_STREAMS 64
#define MAX_PORT_STREAMS 8
#define MAX_PENDING 32
#define MAX_OUT (256 * 1024) /* more than one whole answer, so that each fits */

struct ctr_dns_stream {
    struct ctr_dns_stream *next;
    struct ctr_dns *dns; /* NULL: closed, only answers are still to come */
    struct ctr_dns_port *port;
    int fd;
    struct ctr_watch *watch;
    struct ctr_timer *timer;
    struct ctr_buf in, out;
    unsigned pending; /* questions without an answer */
    bool ended;       /* the client sends no more */
    bool busy;        /* inside read_questions: answers do not free it */
};

static void
free_if_done(struct ctr_dns_stream *stream)
{
    if (stream->dns == NULL && stream->pending == 0 && !stream->busy) {
        free(stream);
    }
}

static void
close_stream(struct ctr_dns_stream *stream)
{
    struct ctr_dns_stream **at = &stream->dns->streams;
    while (*at != stream) {
        at = &(*at)->next;
    }
    *at = stream->next;
    stream->dns->n_streams--;
    stream->port->streams--;
    stream->dns = NULL;
    ctr_watch_remove(stream->watch);
    ctr_timer_remove(stream->timer);
    (void) close(stream->fd);
    ctr_buf_clear(&stream->in);
    ctr_buf_clear(&stream->out);
    free_if_done(stream);
}

static void
on_idle(void *arg)
{
    close_stream(arg);
}

static bool
has_room(const struct ctr_dns_stream *stream)
{
    return stream->pending < MAX_PENDING && stream->out.length < MAX_OUT;
}

static bool
may_read(const struct ctr_dns_stream *stream)
{
    return !stream->ended && has_room(stream);
}

/* Sends what is there. False: the connection is broken. */
static bool
flush(struct ctr_dns_stream *stream)
{
    while (stream->out.length > 0) {
        ssize_t n = send(stream->fd, stream->out.data, stream->out.length, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        ctr_buf_consume(&stream->out, (size_t) n);
        ctr_timer_set(stream->timer, stream->dns->times.idle_ms);
    }
    return true;
}

static void
on_answer(void *arg, const void *bytes, size_t length)
{
    struct ctr_dns_stream *stream = arg;
    stream->pending--;
    if (stream->dns == NULL) {
        free_if_done(stream);
        return;
    }
    if (length > 0) {
        uint8_t head[2] = {(uint8_t) (length >> 8), (uint8_t) length};
        ctr_buf_add(&stream->out, head, sizeof head);
        ctr_buf_add(&stream->out, bytes, length);
    }
    if (!stream->busy) {
        ctr_watch_set(stream->watch, CTR_WRITABLE | CTR_READABLE);
    }
}

/* Asks what is whole in the buffer. False: this is no DNS. */
static bool
ask_questions(struct ctr_dns_stream *stream)
{
    while (stream->in.length >= 2 && has_room(stream)) {
        const uint8_t *in = (const uint8_t *) stream->in.data;
        size_t length = ctr_dns_u16(in);
        if (length < CTR_DNS_HEADER || length > CTR_DNS_QUERY_MAX) {
            return false;
        }
        if (stream->in.length < 2 + length) {
            break;
        }
        stream->pending++;
        ctr_timer_set(stream->timer, stream->dns->times.idle_ms);
        ctr_dns_ask(stream->dns, stream->port->id, in + 2, length, true, on_answer, stream);
        ctr_buf_consume(&stream->in, 2 + length);
    }
    return !stream->in.failed && !stream->out.failed;
}

/* False: the connection is broken. */
static bool
receive(struct ctr_dns_stream *stream)
{
    uint8_t bytes[CTR_DNS_QUERY_MAX];
    if (!may_read(stream) || stream->in.length >= 2 + CTR_DNS_QUERY_MAX) {
        return true;
    }
    ssize_t n = recv(stream->fd, bytes, sizeof bytes, 0);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    ctr_buf_add(&stream->in, bytes, (size_t) n);
    stream->ended = n == 0;
    return true;
}

static void
on_ready(void *arg, uint32_t events)
{
    struct ctr_dns_stream *stream = arg;
    stream->busy = true;
    bool alive = receive(stream) && ask_questions(stream) && flush(stream);
    stream->busy = false;
    bool through = stream->ended && stream->pending == 0 && stream->out.length == 0;
    if (!alive || through) {
        close_stream(stream);
        return;
    }
    ctr_watch_set(stream->watch, (may_read(stream) ? CTR_READABLE : 0U) |
                                     (stream->out.length > 0 ? CTR_WRITABLE : 0U));
}

static struct ctr_dns_stream *
open_stream(struct ctr_dns *dns, struct ctr_dns_port *port, int fd)
{
    struct ctr_dns_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    *stream = (struct ctr_dns_stream){.dns = dns, .port = port, .fd = fd};
    stream->watch = ctr_watch_add(dns->loop, fd, CTR_READABLE, on_ready, stream);
    stream->timer = ctr_timer_add(dns->loop, dns->times.idle_ms, on_idle, stream);
    if (stream->watch == NULL || stream->timer == NULL) {
        ctr_watch_remove(stream->watch);
        ctr_timer_remove(stream->timer);
        free(stream);
        return NULL;
    }
    stream->next = dns->streams;
    dns->streams = stream;
    dns->n_streams++;
    port->streams++;
    return stream;
}

void
ctr_dns_stream(struct ctr_dns *dns, const char *id, int take_fd)
{
    struct ctr_dns_port *port = ctr_dns_ports_find(&dns->ports, id);
    bool room =
        port != NULL && port->streams < MAX_PORT_STREAMS && dns->n_streams < MAX_STREAMS;
    if (!room || open_stream(dns, port, take_fd) == NULL) {
        dns->refused++;
        (void) close(take_fd);
    }
}

void
ctr_dns_streams_close(struct ctr_dns *dns)
{
    while (dns->streams != NULL) {
        close_stream(dns->streams);
    }
}
