/*
 * Questions for the resolver by TCP: the least that serves a connection from a container, so that it works alike with every way out and without one.
 *
 * One end of a pair of stream sockets is the core's; what the container sends in order is written to the other, and what comes from there is cut into
 * segments. The link loses nothing but what a slow VM does not take, so this never looks for more than simple: segments out of order are sent again
 * by the container, ours all from the first that is missing, by one timer that runs only while something is unanswered.
 */
#include "switch-priv.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#define PORT 53
#define BUFFER 16384 /* bytes that wait for the container's acknowledgement */
#define RETRY_MS 500
#define TRIES 6
#define LINGER_MS 10000 /* the container has all, but does not close its half */

struct sw_stream {
    struct sw_stream *next;
    struct sw_port *port;
    uint16_t peer; /* the container's TCP port */
    bool open;     /* the container has acknowledged our SYN */
    bool core_done, peer_done, fin_sent;
    uint32_t expected;      /* the container's next byte */
    uint32_t first, unsent; /* our sequence numbers: not acknowledged yet, not sent yet */
    uint32_t window;        /* of the container, from `first` on */
    size_t mss;
    uint8_t bytes[BUFFER]; /* from `first` on */
    size_t length;
    int fd;
    struct ctr_watch *watch;
    struct ctr_timer *timer;
    unsigned tries;
};

static void
send_flags(const struct sw_stream *s, uint32_t sequence, uint8_t flags)
{
    const struct sw_segment segment = {.port = PORT,
                                       .peer = s->peer,
                                       .sequence = sequence,
                                       .acknowledges = s->expected,
                                       .flags = flags};
    sw_send_segment(s->port, &segment);
}

/* --- the life of a connection --- */

static void
end(struct sw_stream *s)
{
    const struct ctr_host *host = s->port->sw->host;
    struct sw_stream **at = &s->port->streams;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    s->port->n_streams--;
    host->watch_remove(s->watch);
    host->timer_remove(s->timer);
    if (s->fd >= 0) {
        (void) close(s->fd);
    }
    free(s);
}

static void
abandon(struct sw_stream *s)
{
    send_flags(s, s->unsent, SW_TCP_RST | SW_TCP_ACK);
    end(s);
}

static size_t
in_flight(const struct sw_stream *s)
{
    return s->unsent - s->first;
}

/* Sends what the window takes; without a window one byte, which the timer repeats. */
static void
push(struct sw_stream *s)
{
    size_t window = s->window == 0 ? 1 : s->window;
    while (in_flight(s) < s->length && in_flight(s) < window) {
        size_t at = in_flight(s), n = s->length - at;
        n = n < s->mss ? n : s->mss;
        n = n < window - at ? n : window - at;
        const struct sw_segment segment = {
            .port = PORT,
            .peer = s->peer,
            .sequence = s->unsent,
            .acknowledges = s->expected,
            .flags = SW_TCP_ACK | SW_TCP_PSH,
            .bytes = s->bytes + at,
            .length = n,
        };
        sw_send_segment(s->port, &segment);
        s->unsent += (uint32_t) n;
    }
    if (s->core_done && in_flight(s) == s->length) {
        send_flags(s, s->unsent, SW_TCP_FIN | SW_TCP_ACK);
        s->unsent++;
        s->fin_sent = true;
    }
    if (in_flight(s) > 0) {
        s->port->sw->host->timer_set(s->timer, (uint64_t) RETRY_MS << s->tries);
    }
}

static void
on_late(void *arg)
{
    struct sw_stream *s = arg;
    struct sw *sw = s->port->sw;
    if (s->open && in_flight(s) == 0 && !s->fin_sent) {
        return; /* all was acknowledged before the time was over */
    }
    if (++s->tries > TRIES || in_flight(s) == 0) {
        abandon(s);
    } else if (!s->open) {
        send_flags(s, s->first, SW_TCP_SYN | SW_TCP_ACK);
        sw->host->timer_set(s->timer, (uint64_t) RETRY_MS << s->tries);
    } else {
        s->unsent = s->first;
        s->fin_sent = false;
        push(s);
    }
    sw_flush(sw);
}

static void
on_core(void *arg, uint32_t events)
{
    struct sw_stream *s = arg;
    struct sw *sw = s->port->sw;
    ssize_t n = recv(s->fd, s->bytes + s->length, BUFFER - s->length, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    s->length += n > 0 ? (size_t) n : 0;
    s->core_done = n <= 0;
    if (s->core_done || s->length == BUFFER) {
        sw->host->watch_set(s->watch, 0);
    }
    push(s);
    sw_flush(sw);
}

static uint32_t
first_number(const struct sw *sw)
{
    return (uint32_t) sw_now_ms() * 250000U + sw->ident * 64000U;
}

static void
begin(struct sw_port *port, const struct sw_frame *f)
{
    const struct ctr_host *host = port->sw->host;
    struct sw_stream *s = port->n_streams < SW_STREAMS ? calloc(1, sizeof *s) : NULL;
    if (s == NULL) {
        sw_reset_stranger(port, f);
        return;
    }
    *s = (struct sw_stream){
        .next = port->streams,
        .port = port,
        .peer = f->source_port,
        .expected = sw_get32(f->payload + 4) + 1,
        .first = first_number(port->sw),
        .window = sw_get16(f->payload + 14),
        .mss = sw_segment_mss(port->sw, f),
        .fd = -1,
    };
    s->unsent = s->first + 1; /* our SYN */
    port->streams = s;
    port->n_streams++;
    s->timer = host->timer_add(host, RETRY_MS, on_late, s);
    if (s->timer == NULL) {
        end(s);
        return;
    }
    send_flags(s, s->first, SW_TCP_SYN | SW_TCP_ACK);
}

/* The container has acknowledged our SYN: the core gets its end. */
static int
establish(struct sw_stream *s)
{
    const struct sw *sw = s->port->sw;
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) {
        return -errno;
    }
    (void) fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    (void) fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    s->fd = fds[0];
    s->watch = sw->host->watch_add(sw->host, s->fd, CTR_READABLE, on_core, s);
    if (s->watch == NULL) {
        (void) close(fds[1]);
        return -ENOMEM;
    }
    s->open = true;
    s->first++;
    s->tries = 0;
    sw->services->dns_stream(sw->services->arg, s->port->id, fds[1]);
    return 0;
}

/* What the container acknowledges leaves the buffer; false if the connection is over with it. */
static bool
acknowledge(struct sw_stream *s, uint32_t number)
{
    uint32_t n = number - s->first;
    if (n == 0 || n > in_flight(s)) {
        return true;
    }
    size_t data = n < s->length ? n : s->length;
    memmove(s->bytes, s->bytes + data, s->length - data);
    s->length -= data;
    s->first = number;
    s->tries = 0;
    if (s->fin_sent && in_flight(s) == 0) {
        if (s->peer_done) {
            return false;
        }
        s->port->sw->host->timer_set(s->timer, LINGER_MS);
    }
    if (!s->core_done && data > 0) {
        s->port->sw->host->watch_set(s->watch, CTR_READABLE);
    }
    return true;
}

/* Takes what is the next of the container's bytes; true if the segment wants an answer. */
static bool
receive(struct sw_stream *s, const struct sw_frame *f)
{
    size_t header = (size_t) (f->payload[12] >> 4) * 4, length = f->payload_length - header;
    bool fin = (f->tcp_flags & SW_TCP_FIN) != 0;
    uint32_t known = s->expected - sw_get32(f->payload + 4);
    if (length == 0 && !fin) {
        return known == 1; /* asks whether we are there */
    }
    if (known > length || s->peer_done) {
        return true; /* known already, or from behind a gap */
    }
    const uint8_t *bytes = f->payload + header + known;
    size_t left = length - known;
    ssize_t n = left == 0 ? 0 : send(s->fd, bytes, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        n = (ssize_t) left; /* the core wants no more: nobody will miss it */
    }
    s->expected += n > 0 ? (uint32_t) n : 0;
    if (fin && (left == 0 || n == (ssize_t) left)) {
        s->expected++;
        s->peer_done = true;
        (void) shutdown(s->fd, SHUT_WR);
    }
    return true;
}

static void
work(struct sw_stream *s, const struct sw_frame *f)
{
    uint32_t number = sw_get32(f->payload + 8);
    if (!s->open && (number != s->unsent || establish(s) != 0)) {
        abandon(s);
        return;
    }
    s->window = sw_get16(f->payload + 14);
    if (!acknowledge(s, number)) {
        end(s);
        return;
    }
    if (receive(s, f)) {
        send_flags(s, s->unsent, SW_TCP_ACK);
    }
    if (s->fin_sent && in_flight(s) == 0 && s->peer_done) {
        end(s);
    } else if (!s->fin_sent) {
        push(s);
    }
}

bool
sw_dns_segment(struct sw_port *port, const struct sw_frame *f)
{
    const struct sw *sw = port->sw;
    if (f->proto != SW_TCP || f->target_port != PORT || f->fragment || f->options ||
        !sw_same(&f->target, &sw->rules.dns) || sw->services == NULL) {
        return false;
    }
    struct sw_stream *s = port->streams;
    while (s != NULL && s->peer != f->source_port) {
        s = s->next;
    }
    if (s == NULL) {
        sw_opens(f) && (f->tcp_flags & SW_TCP_RST) == 0 ? begin(port, f)
                                                        : sw_reset_stranger(port, f);
    } else if ((f->tcp_flags & SW_TCP_RST) != 0) {
        if (sw_get32(f->payload + 4) == s->expected) {
            end(s);
        }
    } else if ((f->tcp_flags & SW_TCP_SYN) != 0) {
        send_flags(s, s->open ? s->unsent : s->first,
                   s->open ? SW_TCP_ACK : SW_TCP_SYN | SW_TCP_ACK);
    } else if ((f->tcp_flags & SW_TCP_ACK) != 0) {
        work(s, f);
    }
    return true;
}

void
sw_dns_forget(struct sw_port *port)
{
    while (port->streams != NULL) {
        end(port->streams);
    }
}
