/*
 * One question to one server: by UDP from a socket of its own (a fresh ID and a fresh port for each), and once more by TCP when the answer came cut.
 *
 * The socket is connected, so that the kernel takes only what comes from the server's address and port; ID and question are held against ours here. What does
 * not fit is passed over, up to a limit: whoever guesses gets no more tries than that.
 */
#include "core/dns/dns-priv.h"
#include <sys/socket.h>

#define MAX_WRONG 64
#define DATAGRAM_MAX 4096 /* some servers send more than we said */

struct ctr_dns_exchange {
    struct ctr_dns *dns;
    const struct ctr_dns_question *question;
    const union ctr_dns_server *server;
    ldns_buffer *ask;
    uint16_t id;
    int fd;
    struct ctr_watch *watch;
    struct ctr_timer *timer;
    unsigned wrong;
    size_t sent;       /* over TCP, of the length and `ask` */
    struct ctr_buf in; /* over TCP, the length first */
    void (*done)(void *arg, ldns_pkt *take_answer);
    void *arg;
};

/* --- answers --- */

static bool
same_question(const struct ctr_dns_question *question, const uint8_t *bytes, size_t length)
{
    struct ctr_dns_name name;
    size_t at = CTR_DNS_HEADER;
    return ctr_dns_name_read(bytes, length, &at, &name) == 0 && length - at >= 4 &&
           ctr_dns_name_equal(&name, &question->name) &&
           ctr_dns_u16(bytes + at) == question->type &&
           ctr_dns_u16(bytes + at + 2) == LDNS_RR_CLASS_IN;
}

ldns_pkt *
ctr_dns_answer_read(const struct ctr_dns_question *question, uint16_t id, const uint8_t *bytes,
                    size_t length)
{
    ldns_pkt *pkt = NULL;
    if (!ctr_dns_wire_ok(bytes, length) || ctr_dns_u16(bytes) != id || !LDNS_QR_WIRE(bytes) ||
        LDNS_OPCODE_WIRE(bytes) != LDNS_PACKET_QUERY) {
        return NULL;
    }
    /* A server that knows no EDNS may not even have found the question. */
    bool none = LDNS_QDCOUNT(bytes) == 0 && LDNS_RCODE_WIRE(bytes) == LDNS_RCODE_FORMERR;
    if (!none && (LDNS_QDCOUNT(bytes) != 1 || !same_question(question, bytes, length))) {
        return NULL;
    }
    return ldns_wire2pkt(&pkt, bytes, length) == LDNS_STATUS_OK ? pkt : NULL;
}

static void
finish(struct ctr_dns_exchange *x, ldns_pkt *take_answer)
{
    x->done(x->arg, take_answer);
}

static void
on_timeout(void *arg)
{
    finish(arg, NULL);
}

static void
close_socket(struct ctr_dns_exchange *x)
{
    ctr_watch_remove(x->watch);
    x->watch = NULL;
    if (x->fd >= 0) {
        (void) close(x->fd);
        x->fd = -1;
    }
}

/* Connects a new socket; a stream's connection is then under way. */
static int
open_socket(struct ctr_dns_exchange *x, int type, uint32_t events,
            void (*cb)(void *arg, uint32_t events))
{
    int family = x->server->any.sa_family;
    socklen_t length = family == AF_INET ? sizeof x->server->v4 : sizeof x->server->v6;
    close_socket(x);
    x->fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (x->fd < 0 || (connect(x->fd, &x->server->any, length) != 0 && errno != EINPROGRESS)) {
        return -errno;
    }
    x->watch = ctr_watch_add(x->dns->loop, x->fd, events, cb, x);
    return x->watch == NULL ? -errno : 0;
}

/* --- by TCP --- */

/* -EAGAIN: the rest follows. */
static int
send_ask(struct ctr_dns_exchange *x)
{
    size_t length = ldns_buffer_position(x->ask);
    uint8_t message[2 + CTR_DNS_UDP_PLAIN] = {(uint8_t) (length >> 8), (uint8_t) length};
    memcpy(message + 2, ldns_buffer_begin(x->ask), length);
    while (x->sent < 2 + length) {
        ssize_t n = send(x->fd, message + x->sent, 2 + length - x->sent, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EINTR ? -EAGAIN : -errno;
        }
        x->sent += (size_t) n;
    }
    return 0;
}

/* Whole: 0. -EAGAIN: the rest follows. */
static int
receive_answer(struct ctr_dns_exchange *x)
{
    uint8_t bytes[4096];
    for (;;) {
        const uint8_t *in = (const uint8_t *) x->in.data;
        size_t want = x->in.length < 2 ? 2 : 2U + ctr_dns_u16(in);
        if (x->in.length >= 2 && x->in.length == want) {
            return 0;
        }
        size_t left = want - x->in.length;
        ssize_t n = recv(x->fd, bytes, left < sizeof bytes ? left : sizeof bytes, 0);
        if (n <= 0) {
            return n == 0 ? -ECONNRESET : errno == EINTR ? -EAGAIN : -errno;
        }
        ctr_buf_add(&x->in, bytes, (size_t) n);
        if (x->in.failed) {
            return -ENOMEM;
        }
    }
}

static void
on_stream(void *arg, uint32_t events)
{
    struct ctr_dns_exchange *x = arg;
    int code = send_ask(x);
    if (code == 0) {
        ctr_watch_set(x->watch, CTR_READABLE);
        code = receive_answer(x);
    }
    if (code == -EAGAIN) {
        return;
    }
    finish(x, code != 0
                  ? NULL
                  : ctr_dns_answer_read(x->question, x->id, (const uint8_t *) x->in.data + 2,
                                        x->in.length - 2));
}

static void
start_stream(struct ctr_dns_exchange *x)
{
    if (open_socket(x, SOCK_STREAM, CTR_WRITABLE, on_stream) != 0) {
        finish(x, NULL);
        return;
    }
    ctr_timer_set(x->timer, x->dns->times.connection_ms);
}

/* --- by UDP --- */

/* False: nothing (more) to read now, or the exchange has ended. */
static bool
receive_datagram(struct ctr_dns_exchange *x)
{
    uint8_t bytes[DATAGRAM_MAX];
    ssize_t n = recv(x->fd, bytes, sizeof bytes, MSG_TRUNC);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            finish(x, NULL); /* nobody listens there, or no way leads there */
        }
        return false;
    }
    ldns_pkt *answer = (size_t) n > sizeof bytes
                           ? NULL
                           : ctr_dns_answer_read(x->question, x->id, bytes, (size_t) n);
    if (answer == NULL) {
        if (++x->wrong < MAX_WRONG) {
            return true;
        }
        finish(x, NULL);
    } else if (ldns_pkt_tc(answer)) {
        ldns_pkt_free(answer);
        start_stream(x);
    } else {
        finish(x, answer);
    }
    return false;
}

static void
on_datagram(void *arg, uint32_t events)
{
    for (int n = 0; n < 16 && receive_datagram(arg); n++) {
    }
}

static int
start_datagram(struct ctr_dns_exchange *x)
{
    int code = open_socket(x, SOCK_DGRAM, CTR_READABLE, on_datagram);
    size_t length = ldns_buffer_position(x->ask);
    if (code == 0 && send(x->fd, ldns_buffer_begin(x->ask), length, MSG_NOSIGNAL) < 0) {
        code = -errno;
    }
    return code;
}

struct ctr_dns_exchange *
ctr_dns_exchange_start(struct ctr_dns *dns, const struct ctr_dns_question *question,
                       const union ctr_dns_server *server, bool edns,
                       void (*done)(void *arg, ldns_pkt *take_answer), void *arg)
{
    struct ctr_dns_exchange *x = calloc(1, sizeof *x);
    if (x == NULL) {
        return NULL;
    }
    *x = (struct ctr_dns_exchange){
        .dns = dns,
        .question = question,
        .server = server,
        .fd = -1,
        .done = done,
        .arg = arg,
    };
    if (ctr_random(&x->id, sizeof x->id) == 0) {
        x->ask = ctr_dns_ask_make(question, x->id, edns);
        x->timer = ctr_timer_add(dns->loop, dns->times.datagram_ms, on_timeout, x);
    }
    if (x->ask == NULL || x->timer == NULL || start_datagram(x) != 0) {
        ctr_dns_exchange_destroy(x);
        return NULL;
    }
    return x;
}

void
ctr_dns_exchange_destroy(struct ctr_dns_exchange *x)
{
    if (x == NULL) {
        return;
    }
    close_socket(x);
    ctr_timer_remove(x->timer);
    ldns_buffer_free(x->ask);
    ctr_buf_clear(&x->in);
    free(x);
}
