/*
 * A resolver on a loop of its own for tests, questions to it, and a server on loopback that answers the way the test says.
 */
#ifndef DNS_FIXTURE_H
#define DNS_FIXTURE_H

#include "core/dns/dns-priv.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#define GUARD_MS 60000

/* One question that a test asked, and what came. */
struct asked {
    struct fixture *f;
    int answers; /* calls */
    ldns_pkt *pkt;
    size_t length;
};

struct fixture {
    struct ctr_loop *loop;
    struct ctr_dns *dns;
    char folder[64], conf[96];
    int waiting; /* answers until the loop stops */
    bool paused;
    /* What the hooks were told. */
    char may_name[CTR_DNS_TEXT], name[CTR_DNS_TEXT], port[65];
    bool may;
    int resolved;
    struct ctr_address addresses[64];
    size_t n;
    uint32_t ttl;
};

static inline bool
on_may_ask(void *arg, const char *port, const char *name)
{
    struct fixture *f = arg;
    (void) snprintf(f->may_name, sizeof f->may_name, "%s", name);
    return f->may;
}

static inline void
on_resolved(void *arg, const char *port, const char *name, const struct ctr_address *addresses,
            size_t n, uint32_t ttl)
{
    struct fixture *f = arg;
    (void) snprintf(f->name, sizeof f->name, "%s", name);
    (void) snprintf(f->port, sizeof f->port, "%s", port);
    assert_true(n > 0 && n <= CTR_LENGTH(f->addresses));
    memcpy(f->addresses, addresses, n * sizeof *addresses);
    f->n = n;
    f->ttl = ttl;
    f->resolved++;
}

static inline void
write_conf(struct fixture *f, const char *text)
{
    assert_int_equal(ctr_write_file(f->conf, text, strlen(text), NULL), 0);
}

static inline int
fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct ctr_dns_hooks hooks = {f, on_may_ask, on_resolved};
    f->may = true;
    (void) snprintf(f->folder, sizeof f->folder, "/tmp/ctr-dns-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void) snprintf(f->conf, sizeof f->conf, "%s/resolv.conf", f->folder);
    assert_int_equal(ctr_loop_create(&f->loop, NULL), 0);
    assert_int_equal(ctr_dns_create(f->loop, f->conf, &hooks, &f->dns, NULL), 0);
    f->dns->times = (struct ctr_dns_times){
        .datagram_ms = 500, .connection_ms = 500, .question_ms = 1200, .idle_ms = 1500};
    *state = f;
    return 0;
}

static inline int
fixture_teardown(void **state)
{
    struct fixture *f = *state;
    ctr_dns_destroy(f->dns);
    ctr_loop_destroy(f->loop);
    assert_int_equal(ctr_remove_tree(f->folder, NULL), 0);
    free(f);
    return 0;
}

static inline int
set_zone(struct fixture *f, const char *text, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *zone = json_loads(text, 0, NULL);
    assert_non_null(zone);
    return ctr_dns_set_zone(f->dns, zone, err);
}

/* --- questions --- */

static inline void
on_asked(void *arg, const void *bytes, size_t length)
{
    struct asked *asked = arg;
    asked->answers++;
    asked->length = length;
    if (length > 0) {
        assert_true(ctr_dns_wire_ok(bytes, length));
        assert_int_equal(ldns_wire2pkt(&asked->pkt, bytes, length), LDNS_STATUS_OK);
    }
    if (--asked->f->waiting == 0) {
        ctr_loop_stop(asked->f->loop);
    }
}

static inline void
on_guard(void *arg)
{
    fail_msg("the loop waits for ever");
}

/* Runs the loop until no answer is awaited. */
static inline void
run_loop(struct fixture *f)
{
    struct ctr_timer *guard = ctr_timer_add(f->loop, GUARD_MS, on_guard, f);
    while (f->waiting > 0) {
        ctr_loop_run(f->loop);
    }
    ctr_timer_remove(guard);
}

static inline void
on_pause(void *arg)
{
    struct fixture *f = arg;
    f->paused = true;
    ctr_loop_stop(f->loop);
}

static inline void
run_for(struct fixture *f, uint64_t ms)
{
    struct ctr_timer *timer = ctr_timer_add(f->loop, ms, on_pause, f);
    for (f->paused = false; !f->paused;) {
        ctr_loop_run(f->loop);
    }
    ctr_timer_remove(timer);
}

/* A question's bytes; udp_size 0: no EDNS. The caller frees. */
static inline uint8_t *
question_bytes(const char *name, ldns_rr_type type, uint16_t id, uint16_t udp_size,
               size_t *ret_length)
{
    uint8_t *bytes = NULL;
    ldns_pkt *pkt =
        ldns_pkt_query_new(ldns_dname_new_frm_str(name), type, LDNS_RR_CLASS_IN, LDNS_RD);
    assert_non_null(pkt);
    ldns_pkt_set_id(pkt, id);
    if (udp_size != 0) {
        ldns_pkt_set_edns_udp_size(pkt, udp_size);
    }
    assert_int_equal(ldns_pkt2wire(&bytes, pkt, ret_length), LDNS_STATUS_OK);
    ldns_pkt_free(pkt);
    return bytes;
}

static inline void
ask_bytes(struct fixture *f, const char *port, const void *bytes, size_t length,
          struct asked *ret)
{
    *ret = (struct asked){.f = f};
    f->waiting++;
    ctr_dns_query(f->dns, port, bytes, length, on_asked, ret);
}

static inline void
ask(struct fixture *f, const char *port, const char *name, ldns_rr_type type, struct asked *ret)
{
    size_t length;
    CTR_AUTO(free) uint8_t *bytes = question_bytes(name, type, 4711, 0, &length);
    ask_bytes(f, port, bytes, length, ret);
}

/* Asks and waits. */
static inline void
resolve(struct fixture *f, const char *port, const char *name, ldns_rr_type type,
        struct asked *ret)
{
    ask(f, port, name, type, ret);
    run_loop(f);
    assert_int_equal(ret->answers, 1);
}

static inline void
forget(struct asked *asked)
{
    ldns_pkt_free(asked->pkt);
    asked->pkt = NULL;
}

static inline size_t
count(const ldns_pkt *pkt)
{
    return ldns_rr_list_rr_count(ldns_pkt_answer(pkt));
}

/* The answer's RR number i as text: "web.	5	IN	A	10.0.0.2". */
static inline void
expect_rr(const ldns_pkt *pkt, size_t i, const char *wanted)
{
    char *text;
    assert_true(i < count(pkt));
    text = ldns_rr2str(ldns_rr_list_rr(ldns_pkt_answer(pkt), i));
    text[strcspn(text, "\n")] = '\0';
    assert_string_equal(text, wanted);
    free(text);
}

/* The whole answer is one RR, or with wanted NULL none; and it has that code. */
static inline void
expect(struct fixture *f, const char *port, const char *name, ldns_rr_type type, int rcode,
       const char *wanted)
{
    struct asked asked;
    resolve(f, port, name, type, &asked);
    assert_non_null(asked.pkt);
    assert_int_equal(ldns_pkt_get_rcode(asked.pkt), rcode);
    assert_int_equal(ldns_pkt_id(asked.pkt), 4711);
    assert_int_equal(count(asked.pkt), wanted == NULL ? 0 : 1);
    if (wanted != NULL) {
        expect_rr(asked.pkt, 0, wanted);
    }
    forget(&asked);
}

/* --- a server --- */

struct server {
    struct fixture *f;
    int fd, listener, accepted;
    struct ctr_watch *watch, *accepting, *reading;
    uint16_t port;
    int datagrams, streams; /* how many came */
    void (*datagram)(struct server *server, ldns_pkt *query, const struct sockaddr_in *from);
    void (*stream)(struct server *server, int fd, const uint8_t *bytes,
                   size_t length); /* fd is the callee's */
    int state;                     /* the test's own */
    ldns_pkt *kept;                /* a query that is answered later */
    struct sockaddr_in kept_from;
};

static inline void
on_server_datagram(void *arg, uint32_t events)
{
    struct server *server = arg;
    uint8_t bytes[4096];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ldns_pkt *query;
    ssize_t n =
        recvfrom(server->fd, bytes, sizeof bytes, 0, (struct sockaddr *) &from, &length);
    if (n < 0) {
        return;
    }
    assert_true(ctr_dns_wire_ok(bytes, (size_t) n));
    assert_int_equal(ldns_wire2pkt(&query, bytes, (size_t) n), LDNS_STATUS_OK);
    server->datagrams++;
    if (server->datagram != NULL) {
        server->datagram(server, query, &from);
    }
    ldns_pkt_free(query);
}

static inline void
on_server_readable(void *arg, uint32_t events)
{
    struct server *server = arg;
    uint8_t bytes[4096];
    ssize_t n = recv(server->accepted, bytes, sizeof bytes, 0);
    ctr_watch_remove(server->reading);
    server->reading = NULL;
    assert_true(n > 0);
    server->stream(server, server->accepted, bytes, (size_t) n);
}

static inline void
on_server_stream(void *arg, uint32_t events)
{
    struct server *server = arg;
    server->accepted = accept(server->listener, NULL, NULL);
    assert_true(server->accepted >= 0);
    server->streams++;
    ctr_watch_remove(server->reading);
    server->reading = ctr_watch_add(server->f->loop, server->accepted, CTR_READABLE,
                                    on_server_readable, server);
}

/* UDP and TCP on one port of loopback. */
static inline void
server_start(struct server *server, struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *server = (struct server){.f = f};
    server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *) &address, length), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *) &address, &length), 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *) &address, length), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    server->port = ntohs(address.sin_port);
    server->watch =
        ctr_watch_add(f->loop, server->fd, CTR_READABLE, on_server_datagram, server);
    server->accepting =
        ctr_watch_add(f->loop, server->listener, CTR_READABLE, on_server_stream, server);
}

static inline void
server_stop(struct server *server)
{
    ctr_watch_remove(server->watch);
    ctr_watch_remove(server->accepting);
    ctr_watch_remove(server->reading);
    (void) close(server->fd);
    (void) close(server->listener);
    ldns_pkt_free(server->kept);
}

/* The query with flags for an answer and these RRs, NULL at the end. */
static inline ldns_pkt *
answer_to(const ldns_pkt *query, ...)
{
    va_list texts;
    const char *text;
    ldns_pkt *pkt = ldns_pkt_clone(query);
    ldns_pkt_set_qr(pkt, true);
    ldns_pkt_set_ra(pkt, true);
    va_start(texts, query);
    while ((text = va_arg(texts, const char *)) != NULL) {
        ldns_rr *rr;
        assert_int_equal(ldns_rr_new_frm_str(&rr, text, 60, NULL, NULL), LDNS_STATUS_OK);
        assert_true(ldns_pkt_push_rr(pkt, LDNS_SECTION_ANSWER, rr));
    }
    va_end(texts);
    return pkt;
}

static inline void
server_send(struct server *server, ldns_pkt *take_answer, const struct sockaddr_in *to)
{
    uint8_t *bytes;
    size_t length;
    assert_int_equal(ldns_pkt2wire(&bytes, take_answer, &length), LDNS_STATUS_OK);
    assert_int_equal(
        sendto(server->fd, bytes, length, 0, (const struct sockaddr *) to, sizeof *to),
        (ssize_t) length);
    free(bytes);
    ldns_pkt_free(take_answer);
}

#endif
