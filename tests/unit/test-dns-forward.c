/*
 * Questions for the outside: servers on loopback that are right, late, wrong, cut, endless, dead or silent; what the hooks are told; what is bounded.
 */
#include "dns-fixture.h"

#define A LDNS_RR_TYPE_A
#define NOERROR LDNS_RCODE_NOERROR
#define NXDOMAIN LDNS_RCODE_NXDOMAIN
#define SERVFAIL LDNS_RCODE_SERVFAIL
#define REFUSED LDNS_RCODE_REFUSED
#define FORMERR LDNS_RCODE_FORMERR
#define ANSWER "example.com.\t60\tIN\tA\t192.0.2.1"

static int
setup(void **state)
{
    fixture_setup(state);
    return set_zone(*state, "{\"ports\":{\"p\":{},\"q\":{}}}", NULL);
}

/* Writes resolv.conf with these servers; 0: none. */
static void
use_servers(struct fixture *f, uint16_t first, uint16_t second)
{
    char text[128];
    int n = snprintf(text, sizeof text, "search example.com\nnameserver 127.0.0.1:%u\n", first);
    if (second != 0) {
        (void) snprintf(text + n, sizeof text - (size_t) n, "nameserver 127.0.0.1:%u\n",
                        second);
    }
    write_conf(f, text);
}

/* As if the second were over. */
static void
look_again(struct fixture *f)
{
    f->dns->conf.looked = 1;
}

static void
start(struct server *server, struct fixture *f,
      void (*datagram)(struct server *server, ldns_pkt *query, const struct sockaddr_in *from))
{
    server_start(server, f);
    server->datagram = datagram;
    use_servers(f, server->port, 0);
}

static void
give_answer(struct server *server, ldns_pkt *query, const struct sockaddr_in *from)
{
    server_send(server, answer_to(query, ANSWER, NULL), from);
}

/* --- what is passed on, and what is told --- */

static void
test_answer(void **state)
{
    struct fixture *f = *state;
    struct server server;
    struct asked asked;
    char text[CTR_ADDRESS_TEXT];
    start(&server, f, give_answer);
    resolve(f, "p", "EXample.com", A, &asked);
    assert_int_equal(ldns_pkt_id(asked.pkt), 4711);
    assert_int_equal(ldns_pkt_get_rcode(asked.pkt), NOERROR);
    assert_true(ldns_pkt_ra(asked.pkt) && !ldns_pkt_aa(asked.pkt));
    assert_false(ldns_pkt_edns(asked.pkt)); /* the client had none, whatever we had */
    char *question =
        ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(asked.pkt), 0)));
    assert_string_equal(question, "EXample.com.");
    free(question);
    assert_int_equal(count(asked.pkt), 1);
    forget(&asked);
    assert_string_equal(f->may_name, "example.com");
    assert_int_equal(f->resolved, 1);
    assert_string_equal(f->name, "example.com");
    assert_string_equal(f->port, "p");
    assert_int_equal(f->n, 1);
    assert_int_equal(f->ttl, 60);
    assert_string_equal(ctr_address_format(&f->addresses[0], text), "192.0.2.1");
    f->may = false;
    expect(f, "p", "example.com", A, REFUSED, NULL);
    assert_int_equal(server.datagrams, 1);
    server_stop(&server);
}

static void
give_chain(struct server *server, ldns_pkt *query, const struct sockaddr_in *from)
{
    static const char *const loops[] = {"a. 9 IN CNAME b.", "b. 9 IN CNAME a.",
                                        "c. 9 IN A 192.0.2.9"};
    if (server->state == 0) {
        /* In no order, with what is not asked for. */
        server_send(
            server,
            answer_to(query, "end.example. 40 IN A 192.0.2.1",
                      "b.example. 30 IN CNAME END.example.", "other.example. 1 IN A 192.0.2.66",
                      "Example.COM. 50 IN CNAME b.example.", "end.example. 45 IN A 192.0.2.2",
                      "b.example. 2 CH A 192.0.2.67", NULL),
            from);
    } else {
        server_send(server, answer_to(query, loops[0], loops[1], loops[2], NULL), from);
    }
}

static void
test_chain(void **state)
{
    struct fixture *f = *state;
    struct server server;
    struct asked asked;
    start(&server, f, give_chain);
    resolve(f, "p", "example.com", A, &asked);
    assert_int_equal(count(asked.pkt), 6);
    forget(&asked);
    assert_int_equal(f->n, 2);
    assert_int_equal(f->ttl, 30);
    assert_int_equal(ctr_address_ipv4(&f->addresses[0]), 0xc0000201);
    assert_int_equal(ctr_address_ipv4(&f->addresses[1]), 0xc0000202);
    server.state = 1;
    resolve(f, "p", "a", A, &asked);
    assert_int_equal(count(asked.pkt), 3);
    forget(&asked);
    assert_int_equal(f->resolved, 1);
    server_stop(&server);
}

static void
give_code(struct server *server, ldns_pkt *query, const struct sockaddr_in *from)
{
    ldns_pkt *answer = answer_to(query, NULL);
    ldns_pkt_set_rcode(answer, (uint8_t) server->state);
    server_send(server, answer, from);
}

static void
test_codes(void **state)
{
    struct fixture *f = *state;
    struct server server;
    start(&server, f, give_code);
    server.state = NXDOMAIN;
    expect(f, "p", "example.com", A, NXDOMAIN, NULL);
    assert_int_equal(server.datagrams, 1);
    server.state = REFUSED;
    expect(f, "p", "example.com", A, REFUSED, NULL);
    assert_int_equal(f->resolved, 0);
    server_stop(&server);
}

/* Knows no EDNS: an error without even the question. */
static void
give_no_edns(struct server *server, ldns_pkt *query, const struct sockaddr_in *from)
{
    if (!ldns_pkt_edns(query)) {
        give_answer(server, query, from);
        return;
    }
    uint8_t header[CTR_DNS_HEADER] = {0, 0, 0x80, FORMERR};
    header[0] = (uint8_t) (ldns_pkt_id(query) >> 8);
    header[1] = (uint8_t) ldns_pkt_id(query);
    assert_int_equal(sendto(server->fd, header, sizeof header, 0,
                            (const struct sockaddr *) from, sizeof *from),
                     sizeof header);
}

static void
test_no_edns(void **state)
{
    struct fixture *f = *state;
    struct server server;
    start(&server, f, give_no_edns);
    expect(f, "p", "example.com", A, NOERROR, ANSWER);
    assert_int_equal(server.datagrams, 2);
    server_stop(&server);
}

/* --- those who lie --- */

/* Wrong ID, wrong question, wrong type, a question, bytes; then the right one. */
static void
give_wrong(struct server *server, ldns_pkt *query, const struct sockaddr_in *from)
{
    static const char bad[] = "192.0.2.66 example.com. 60 IN A";
    ldns_pkt *wrong = answer_to(query, "example.com. 60 IN A 192.0.2.66", NULL);
    ldns_pkt_set_id(wrong, (uint16_t) (ldns_pkt_id(query) ^ 1));
    server_send(server, wrong, from);
    ldns_pkt *other =
        ldns_pkt_query_new(ldns_dname_new_frm_str("example.net"), A, LDNS_RR_CLASS_IN, LDNS_RD);
    ldns_pkt_set_id(other, ldns_pkt_id(query));
    server_send(server, answer_to(other, "example.com. 60 IN A 192.0.2.66", NULL), from);
    ldns_pkt_free(other);
    other = ldns_pkt_query_new(ldns_dname_new_frm_str("example.com"), LDNS_RR_TYPE_TXT,
                               LDNS_RR_CLASS_IN, LDNS_RD);
    ldns_pkt_set_id(other, ldns_pkt_id(query));
    server_send(server, answer_to(other, "example.com. 60 IN A 192.0.2.66", NULL), from);
    ldns_pkt_free(other);
    server_send(server, ldns_pkt_clone(query), from);
    (void) sendto(server->fd, bad, sizeof bad, 0, (const struct sockaddr *) from, sizeof *from);
    /* From another port: the kernel drops it. */
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), own = server->fd;
    server->fd = fd;
    server_send(server, answer_to(query, "example.com. 60 IN A 192.0.2.66", NULL), from);
    server->fd = own;
    (void) close(fd);
    give_answer(server, query, from);
}

static void
test_wrong_answers(void **state)
{
    struct fixture *f = *state;
    struct server server;
    start(&server, f, give_wrong);
    expect(f, "p", "example.com", A, NOERROR, ANSWER);
    assert_int_equal(f->resolved, 1);
    assert_int_equal(server.datagrams, 1);
    server_stop(&server);
}

/* Guesses IDs as fast as it can; only the next try, with another ID and port, is answered. */
static void
give_flood(struct server *server, ldns_pkt *query, const struct sockaddr_in *from)
{
    if (server->datagrams > 1) {
        give_answer(server, query, from);
        return;
    }
    for (uint16_t i = 1; i <= 100; i++) {
        ldns_pkt *wrong = answer_to(query, "example.com. 60 IN A 192.0.2.66", NULL);
        ldns_pkt_set_id(wrong, (uint16_t) (ldns_pkt_id(query) + i));
        server_send(server, wrong, from);
    }
    server_send(server, answer_to(query, "example.com. 60 IN A 192.0.2.66", NULL), from);
}

static void
test_flood(void **state)
{
    struct fixture *f = *state;
    struct server server;
    start(&server, f, give_flood);
    expect(f, "p", "example.com", A, NOERROR, ANSWER);
    assert_int_equal(server.datagrams, 2);
    server_stop(&server);
}

/* Answers the first try only after the second, from another port, has come. */
static void
give_late(struct server *server, ldns_pkt *query, const struct sockaddr_in *from)
{
    if (server->datagrams == 1) {
        server->kept = ldns_pkt_clone(query);
        server->kept_from = *from;
        return;
    }
    assert_int_not_equal(from->sin_port, server->kept_from.sin_port);
    server_send(server, answer_to(server->kept, "example.com. 60 IN A 192.0.2.66", NULL),
                &server->kept_from);
    server_send(server, answer_to(server->kept, "example.com. 60 IN A 192.0.2.66", NULL), from);
    give_answer(server, query, from);
}

static void
test_late(void **state)
{
    struct fixture *f = *state;
    struct server server;
    start(&server, f, give_late);
    expect(f, "p", "example.com", A, NOERROR, ANSWER);
    assert_int_equal(server.datagrams, 2);
    server_stop(&server);
}

/* --- TCP --- */

static void
give_cut(struct server *server, ldns_pkt *query, const struct sockaddr_in *from)
{
    ldns_pkt *answer = answer_to(query, NULL);
    ldns_pkt_set_tc(answer, true);
    server_send(server, answer, from);
}

/* An answer over TCP that is sent in two pieces. */
struct pieces {
    struct ctr_timer *timer;
    int fd;
    size_t length;
    uint8_t bytes[4096];
};

static void
send_rest(void *arg)
{
    struct pieces *pieces = arg;
    assert_int_equal(ctr_write_all(pieces->fd, pieces->bytes + 1, pieces->length - 1), 0);
    (void) close(pieces->fd);
    ctr_timer_remove(pieces->timer);
    free(pieces);
}

static void
stream_answer(struct server *server, int fd, const uint8_t *bytes, size_t length)
{
    ldns_pkt *query;
    uint8_t *wire;
    size_t n;
    struct pieces *pieces = calloc(1, sizeof *pieces);
    assert_true(length > 2 && length == 2U + ctr_dns_u16(bytes));
    assert_int_equal(ldns_wire2pkt(&query, bytes + 2, length - 2), LDNS_STATUS_OK);
    ldns_pkt *answer = answer_to(query, NULL);
    for (int i = 0; i < 60; i++) {
        ldns_rr *rr;
        CTR_AUTO(free) char *text = ctr_printf("example.com. 60 IN A 192.0.2.%d", i);
        assert_int_equal(ldns_rr_new_frm_str(&rr, text, 60, NULL, NULL), LDNS_STATUS_OK);
        ldns_pkt_push_rr(answer, LDNS_SECTION_ANSWER, rr);
    }
    assert_int_equal(ldns_pkt2wire(&wire, answer, &n), LDNS_STATUS_OK);
    assert_true(n + 2 <= sizeof pieces->bytes);
    pieces->bytes[0] = (uint8_t) (n >> 8);
    pieces->bytes[1] = (uint8_t) n;
    memcpy(pieces->bytes + 2, wire, n);
    pieces->length = n + 2;
    pieces->fd = fd;
    assert_int_equal(ctr_write_all(fd, pieces->bytes, 1), 0);
    pieces->timer = ctr_timer_add(server->f->loop, 20, send_rest, pieces);
    ldns_pkt_free(query);
    ldns_pkt_free(answer);
    free(wire);
}

static void
test_cut(void **state)
{
    struct fixture *f = *state;
    struct server server;
    struct asked asked;
    size_t length;
    CTR_AUTO(free) uint8_t *bytes = question_bytes("example.com", A, 7, 1232, &length);
    start(&server, f, give_cut);
    server.stream = stream_answer;
    ask_bytes(f, "p", bytes, length, &asked);
    run_loop(f);
    assert_int_equal(count(asked.pkt), 60);
    assert_false(ldns_pkt_tc(asked.pkt));
    assert_int_equal(f->n, 60);
    forget(&asked);
    /* A client with no room is told so. */
    ask(f, "p", "example.com", A, &asked);
    run_loop(f);
    assert_true(ldns_pkt_tc(asked.pkt));
    assert_true(asked.length <= 512 && count(asked.pkt) < 60);
    assert_int_equal(f->n, 60);
    forget(&asked);
    assert_int_equal(server.streams, 2);
    server_stop(&server);
}

/* Promises 65,535 bytes and never comes to an end. */
static int endless[3];

static void
stream_endless(struct server *server, int fd, const uint8_t *bytes, size_t length)
{
    assert_int_equal(ctr_write_all(fd, "\377\377endless", 9), 0);
    assert_true(server->state < 3);
    endless[server->state++] = fd;
}

static void
stream_end(struct server *server, int fd, const uint8_t *bytes, size_t length)
{
    (void) close(fd);
}

static void
test_endless(void **state)
{
    struct fixture *f = *state;
    struct server server;
    struct asked asked;
    start(&server, f, give_cut);
    server.stream = stream_endless;
    ask(f, "p", "example.com", A, &asked);
    run_loop(f);
    assert_int_equal(ldns_pkt_get_rcode(asked.pkt), SERVFAIL);
    forget(&asked);
    assert_in_range(server.streams, 2, 3);
    for (int i = 0; i < server.state; i++) {
        (void) close(endless[i]);
    }
    server.stream = stream_end;
    ask(f, "p", "example.com", A, &asked);
    run_loop(f);
    assert_int_equal(ldns_pkt_get_rcode(asked.pkt), SERVFAIL);
    forget(&asked);
    server_stop(&server);
}

/* --- which servers --- */

static void
test_no_server(void **state)
{
    struct fixture *f = *state;
    struct server server;
    expect(f, "p", "example.com", A, SERVFAIL, NULL); /* no file */
    start(&server, f, give_answer);
    run_for(f, 1100);
    expect(f, "p", "example.com", A, NOERROR, ANSWER);
    write_conf(f, "# nobody\n");
    look_again(f);
    expect(f, "p", "example.com", A, SERVFAIL, NULL);
    server_stop(&server);
}

static void
test_conf_changes(void **state)
{
    struct fixture *f = *state;
    struct server one, two;
    server_start(&two, f);
    start(&one, f, give_answer);
    two.datagram = give_code;
    two.state = NXDOMAIN;
    expect(f, "p", "example.com", A, NOERROR, ANSWER);
    use_servers(f, two.port, 0);
    look_again(f);
    expect(f, "p", "example.com", A, NXDOMAIN, NULL);
    assert_int_equal(one.datagrams, 1);
    server_stop(&one);
    server_stop(&two);
}

static void
test_second_server(void **state)
{
    struct fixture *f = *state;
    struct server silent, good;
    server_start(&silent, f);
    start(&good, f, give_answer);
    use_servers(f, silent.port, good.port);
    expect(f, "p", "example.com", A, NOERROR, ANSWER);
    assert_int_equal(silent.datagrams, 1);
    /* Who was silent is not waited for each time. */
    expect(f, "p", "example.net", A, NOERROR, ANSWER);
    assert_int_equal(silent.datagrams, 1);
    assert_int_equal(good.datagrams, 2);
    server_stop(&silent);
    server_stop(&good);
}

static void
test_dead_server(void **state)
{
    struct fixture *f = *state;
    struct server dead, failing, good;
    server_start(&dead, f);
    server_stop(&dead);
    server_start(&failing, f);
    failing.datagram = give_code;
    failing.state = SERVFAIL;
    start(&good, f, give_answer);
    use_servers(f, dead.port, good.port);
    expect(f, "p", "example.com", A, NOERROR, ANSWER);
    use_servers(f, failing.port, good.port);
    look_again(f);
    expect(f, "p", "example.com", A, NOERROR, ANSWER);
    assert_int_equal(failing.datagrams, 1);
    use_servers(f, failing.port, dead.port);
    look_again(f);
    expect(f, "p", "example.com", A, SERVFAIL, NULL);
    server_stop(&failing);
    server_stop(&good);
}

static void
test_own_server(void **state)
{
    struct fixture *f = *state;
    struct server host, own;
    server_start(&own, f);
    start(&host, f, give_answer);
    own.datagram = give_code;
    own.state = NXDOMAIN;
    CTR_AUTO(free)
    char *zone = ctr_printf(
        "{\"ports\":{\"p\":{\"dns\":[\"127.0.0.1:%u\"]},\"q\":{},\"r\":{\"forward\":false}}}",
        own.port);
    assert_int_equal(set_zone(f, zone, NULL), 0);
    expect(f, "p", "example.com", A, NXDOMAIN, NULL);
    expect(f, "q", "example.com", A, NOERROR, ANSWER);
    expect(f, "r", "example.com", A, REFUSED, NULL);
    assert_int_equal(own.datagrams + host.datagrams, 2);
    server_stop(&host);
    server_stop(&own);
}

/* --- many, and an end meanwhile --- */

static void
keep_query(struct server *server, ldns_pkt *query, const struct sockaddr_in *from)
{
    ldns_pkt_free(server->kept);
    server->kept = ldns_pkt_clone(query);
    server->kept_from = *from;
}

static void
test_joined(void **state)
{
    struct fixture *f = *state;
    struct server server;
    struct asked asked[4];
    start(&server, f, keep_query);
    for (size_t i = 0; i < 3; i++) {
        ask(f, "p", i == 1 ? "EXAMPLE.com" : "example.com", A, &asked[i]);
    }
    ask(f, "q", "example.com", A, &asked[3]); /* another port asks for itself */
    run_for(f, 50);
    assert_int_equal(server.datagrams, 2);
    server.datagram = give_answer;
    run_loop(f);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(asked[i].answers, 1);
        assert_int_equal(count(asked[i].pkt), 1);
        forget(&asked[i]);
    }
    server_stop(&server);
}

static void
test_bounded(void **state)
{
    struct fixture *f = *state;
    struct server server;
    static struct asked asked[200], other;
    start(&server, f, keep_query);
    for (int i = 0; i < 200; i++) {
        CTR_AUTO(free) char *name = ctr_printf("n%d.example.com", i);
        ask(f, "p", name, A, &asked[i]);
    }
    assert_int_equal(f->dns->n_open, 128);
    assert_int_equal(f->waiting, 128);
    assert_int_equal(ldns_pkt_get_rcode(asked[199].pkt), SERVFAIL);
    ask(f, "q", "example.com", A, &other); /* the others' places are theirs */
    assert_int_equal(f->dns->n_open, 129);
    ctr_dns_destroy(f->dns);
    f->dns = NULL;
    assert_int_equal(f->waiting, 0);
    assert_true(other.answers == 1 && other.length == 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(asked[i].answers, 1);
        assert_true(i >= 128 || asked[i].length == 0);
        forget(&asked[i]);
    }
    server_stop(&server);
}

/* The port is gone while its question is open: it is answered all the same, but no rule is made. */
static void
test_forgotten(void **state)
{
    struct fixture *f = *state;
    struct server server;
    struct asked asked;
    start(&server, f, keep_query);
    ask(f, "p", "example.com", A, &asked);
    run_for(f, 20);
    assert_int_equal(server.datagrams, 1);
    assert_int_equal(set_zone(f, "{\"ports\":{\"q\":{}}}", NULL), 0);
    give_answer(&server, server.kept, &server.kept_from);
    run_loop(f);
    assert_int_equal(count(asked.pkt), 1);
    assert_int_equal(f->resolved, 0);
    forget(&asked);
    expect(f, "p", "example.com", A, REFUSED, NULL);
    assert_int_equal(set_zone(f, "{}", NULL), 0);
    assert_int_equal(f->dns->ports.n, 0);
    server_stop(&server);
}

/* A client that asked by TCP and left, and the resolver that ends, with the answer still open. */
static void
test_stream_gone(void **state)
{
    struct fixture *f = *state;
    struct server server;
    size_t length;
    CTR_AUTO(free) uint8_t *bytes = question_bytes("example.com", A, 7, 0, &length);
    uint8_t head[2] = {0, (uint8_t) length};
    start(&server, f, keep_query);
    for (int i = 0; i < 2; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        ctr_dns_stream(f->dns, "p", pair[1]);
        assert_int_equal(ctr_write_all(pair[0], head, 2), 0);
        assert_int_equal(ctr_write_all(pair[0], bytes, length), 0);
        run_for(f, 20);
        assert_int_equal(f->dns->n_open, 1);
        if (i == 1) {
            ctr_dns_destroy(f->dns);
            f->dns = NULL;
        }
        (void) close(pair[0]);
        if (i == 0) {
            run_for(f, 20);
            give_answer(&server, server.kept, &server.kept_from);
            run_for(f, 20);
            assert_true(f->dns->n_open == 0 && f->dns->n_streams == 0);
        }
    }
    server_stop(&server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answer),      TEST(test_chain),         TEST(test_codes),
        TEST(test_no_edns),     TEST(test_wrong_answers), TEST(test_flood),
        TEST(test_late),        TEST(test_cut),           TEST(test_endless),
        TEST(test_no_server),   TEST(test_conf_changes),  TEST(test_second_server),
        TEST(test_dead_server), TEST(test_own_server),    TEST(test_joined),
        TEST(test_bounded),     TEST(test_forgotten),     TEST(test_stream_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
