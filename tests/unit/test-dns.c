/*
 * The resolver without the outside: names, addresses as text, bad questions, answers that do not fit, TCP. What is asked outside is in test-dns-forward.c.
 */
#include "dns-fixture.h"
#include "fail-alloc.h"

#define A LDNS_RR_TYPE_A
#define AAAA LDNS_RR_TYPE_AAAA
#define PTR LDNS_RR_TYPE_PTR
#define NOERROR LDNS_RCODE_NOERROR
#define NXDOMAIN LDNS_RCODE_NXDOMAIN
#define REFUSED LDNS_RCODE_REFUSED
#define FORMERR LDNS_RCODE_FORMERR

static const char zone[] =
    "{\"hosts\":[{\"name\":\"Web\",\"addresses\":[\"10.88.0.2\",\"fd00::2\"]},"
    "{\"name\":\"0123456789ab\",\"addresses\":[\"10.88.0.2\",\"fd00::2\"]},"
    "{\"name\":\"v4.only\",\"addresses\":[\"10.88.0.3\"]},"
    "{\"name\":\"none\",\"addresses\":[]},"
    "{\"name\":\"many\",\"addresses\":[\"10.88.0.5\"]},{\"name\":\"many\",\"addresses\":[\"10."
    "88.0.6\",\"10.88.0.5\"]},"
    "{\"name\":\"many\",\"addresses\":[\"10.88.0.7\"]},"
    "{\"name\":\"a..b\",\"addresses\":[\"10.88.0.8\"]},"
    "{\"name\":\"a123456789b123456789c123456789d123456789e123456789f123456789g123\","
    "\"addresses\":[\"10.88.0.9\"]}],"
    "\"ports\":{\"p\":{\"forward\":false},"
    "\"q\":{\"forward\":false,\"hosts\":[{\"name\":\"web\",\"addresses\":[\"192.0.2.9\"]},{"
    "\"name\":\"own\",\"addresses\":[\"192.0.2.10\"]}],"
    "\"elsewhere\":[{\"name\":\"v4.only\",\"addresses\":[\"192.0.2.11\"]},{\"name\":\"far\","
    "\"addresses\":[\"192.0.2.12\"]}]}}}";

static int
setup(void **state)
{
    fixture_setup(state);
    return set_zone(*state, zone, NULL);
}

static void
test_names(void **state)
{
    struct fixture *f = *state;
    expect(f, "p", "web", A, NOERROR, "web.\t5\tIN\tA\t10.88.0.2");
    expect(f, "p", "wEB", AAAA, NOERROR, "wEB.\t5\tIN\tAAAA\tfd00::2");
    expect(f, "p", "0123456789AB", A, NOERROR, "0123456789AB.\t5\tIN\tA\t10.88.0.2");
    expect(f, "p", "v4.only", A, NOERROR, "v4.only.\t5\tIN\tA\t10.88.0.3");
    /* Not there, not ours, not here. */
    expect(f, "p", "own", A, REFUSED, NULL);
    expect(f, "p", "only", A, REFUSED, NULL);
    expect(f, "x", "web", A, REFUSED, NULL);
}

static void
test_own_names_first(void **state)
{
    struct fixture *f = *state;
    expect(f, "q", "web", A, NOERROR, "web.\t5\tIN\tA\t192.0.2.9");
    expect(f, "q", "web", AAAA, NOERROR, NULL);
    expect(f, "q", "own", A, NOERROR, "own.\t5\tIN\tA\t192.0.2.10");
    expect(f, "q", "v4.only", A, NOERROR, "v4.only.\t5\tIN\tA\t10.88.0.3");
    expect(f, "q", "far", A, NOERROR, "far.\t5\tIN\tA\t192.0.2.12");
    expect(f, "q", "12.2.0.192.in-addr.arpa", PTR, NOERROR,
           "12.2.0.192.in-addr.arpa.\t5\tIN\tPTR\tfar.");
    expect(f, "p", "far", A, REFUSED, NULL);
}

static void
test_no_data(void **state)
{
    static const ldns_rr_type types[] = {AAAA, LDNS_RR_TYPE_MX, LDNS_RR_TYPE_HTTPS, PTR};
    struct fixture *f = *state;
    for (size_t i = 0; i < CTR_LENGTH(types); i++) {
        struct asked asked;
        resolve(f, "p", "v4.only", types[i], &asked);
        assert_int_equal(ldns_pkt_get_rcode(asked.pkt), NOERROR);
        assert_true(ldns_pkt_aa(asked.pkt) && ldns_pkt_ra(asked.pkt) && ldns_pkt_rd(asked.pkt));
        assert_int_equal(count(asked.pkt), 0);
        ldns_rr_list *authority = ldns_pkt_authority(asked.pkt);
        assert_int_equal(ldns_rr_list_rr_count(authority), 1);
        char *text = ldns_rr2str(ldns_rr_list_rr(authority, 0));
        assert_string_equal(
            text, "v4.only.\t5\tIN\tSOA\tv4.only. nobody.invalid. 1 3600 1200 604800 5\n");
        free(text);
        forget(&asked);
    }
    expect(f, "p", "none", A, NOERROR, NULL);
}

static void
test_in_turn(void **state)
{
    struct fixture *f = *state;
    int first[3] = {0};
    for (int i = 0; i < 9; i++) {
        struct asked asked;
        resolve(f, "p", "many", A, &asked);
        assert_int_equal(count(asked.pkt), 3);
        uint8_t *a =
            ldns_rdf_data(ldns_rr_rdf(ldns_rr_list_rr(ldns_pkt_answer(asked.pkt), 0), 0));
        assert_in_range(a[3], 5, 7);
        first[a[3] - 5]++;
        forget(&asked);
        /* A question for the other family in between must not disturb it. */
        expect(f, "p", "many", AAAA, NOERROR, NULL);
    }
    assert_true(first[0] == 3 && first[1] == 3 && first[2] == 3);
}

static void
test_reverse(void **state)
{
    struct fixture *f = *state;
    char v6[] = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.D.F.ip6.arpa",
         wanted[160];
    expect(f, "p", "2.0.88.10.in-addr.arpa", PTR, NOERROR,
           "2.0.88.10.in-addr.arpa.\t5\tIN\tPTR\tweb.");
    (void) snprintf(wanted, sizeof wanted, "%s.\t5\tIN\tPTR\tweb.", v6);
    expect(f, "p", v6, PTR, NOERROR, wanted);
    expect(f, "p", "2.0.88.10.in-addr.arpa", A, NOERROR, NULL);
}

static void
test_stays_inside(void **state)
{
    static const char *const inside[] = {
        "localhost",
        "a.LocalHost",
        "9.0.88.10.in-addr.arpa",
        "88.10.in-addr.arpa",
        "lb._dns-sd._udp.0.0.88.10.in-addr.arpa",
        "256.88.10.in-addr.arpa",
        "1.0.0.127.in-addr.arpa",
        "254.169.in-addr.arpa",
        "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
        "0.8.e.f.ip6.arpa",
    };
    static const char *const outside[] = {
        "localhost.example.com",
        "notlocalhost",
        "10.in-addr.arpa",
        "9.0.87.10.in-addr.arpa",
        "x.in-addr.arpa",
        "in-addr.arpa",

        "arpa",
        "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
        "0.0.d.f.ip6.arpa",
        "e.f.ip6.arpa",
        ".",
    };
    struct fixture *f = *state;
    struct ctr_address prefix;
    int length;
    assert_int_equal(ctr_prefix_parse("10.88.0.0/16", &prefix, &length), 0);
    assert_int_equal(ctr_dns_add_prefix(f->dns, &prefix, length, NULL), 0);
    assert_int_equal(ctr_prefix_parse("fd00::/64", &prefix, &length), 0);
    assert_int_equal(ctr_dns_add_prefix(f->dns, &prefix, length, NULL), 0);
    for (size_t i = 0; i < CTR_LENGTH(inside); i++) {
        expect(f, "p", inside[i], PTR, NXDOMAIN, NULL);
    }
    for (size_t i = 0; i < CTR_LENGTH(outside); i++) {
        expect(f, "p", outside[i], PTR, REFUSED, NULL);
    }
}

static void
test_bad_zones(void **state)
{
    static const char *const bad[] = {
        "[]",
        "{\"hosts\":{}}",
        "{\"ports\":[]}",
        "{\"hosts\":[{\"name\":\"web\",\"addresses\":[\"10.0.0\"]}]}",
        "{\"hosts\":[{\"name\":\"web\",\"addresses\":[\"10.0.0.1\",7]}]}",
        "{\"ports\":{\"p\":{\"dns\":[\"example.com\"]}}}",
        "{\"ports\":{\"n\":{},\"p\":{\"hosts\":[{\"name\":\"web\",\"addresses\":[\"\"]}]}}}",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        assert_int_equal(set_zone(f, bad[i], &err), -EINVAL);
        assert_true(ctr_starts_with(err.msg, "DNS zone: "));
    }
    expect(f, "p", "web", A, NOERROR, "web.\t5\tIN\tA\t10.88.0.2");
    expect(f, "n", "web", A, REFUSED, NULL);
    assert_int_equal(set_zone(f, "{}", NULL), 0);
    expect(f, "p", "web", A, REFUSED, NULL);
}

/* Without memory the old names stay, and nothing is lost. */
static void
test_zone_memory(void **state)
{
#if FAIL_ALLOC_WORKS
    struct fixture *f = *state;
    CTR_AUTO(json) json_t *again = json_loads(zone, 0, NULL);
    bool hit = true;
    if (!fail_alloc_works()) {
        skip();
    }
    /* The same zone takes the same memory. */
    assert_int_equal(ctr_dns_set_zone(f->dns, again, NULL), 0);
    long n = 0, before = fail_alloc_live;
    for (; hit; n++) {
        struct ctr_error err = CTR_ERROR_INIT;
        fail_alloc_after(n);
        int code = ctr_dns_set_zone(f->dns, again, &err);
        hit = fail_alloc_hit();
        assert_int_equal(code, hit ? -ENOMEM : 0);
        assert_int_equal(fail_alloc_live, before);
    }
    assert_true(n > 30);
    expect(f, "p", "web", A, NOERROR, "web.\t5\tIN\tA\t10.88.0.2");
#else
    skip();
#endif
}

/* A question with one byte or number changed. */
static void
expect_changed(struct fixture *f, size_t at, uint8_t value, int rcode)
{
    struct asked asked;
    size_t length;
    CTR_AUTO(free) uint8_t *bytes = question_bytes("web", A, 7, 1232, &length);
    bytes[at] = value;
    ask_bytes(f, "p", bytes, length, &asked);
    assert_int_equal(asked.answers, 1);
    assert_non_null(asked.pkt);
    assert_int_equal(ldns_pkt_id(asked.pkt), 7);
    assert_int_equal(ldns_pkt_get_rcode(asked.pkt), rcode & 15);
    assert_int_equal(ldns_pkt_edns_extended_rcode(asked.pkt), rcode >> 4);
    forget(&asked);
}

static void
test_bad_questions(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    size_t length;
    CTR_AUTO(free) uint8_t *bytes = question_bytes("web", A, 7, 0, &length);
    /* 12 header, 5 name, 4 type and class; then OPT: name, type at 22, size, extended code, version at 27. */
    expect_changed(f, 2, 0x29, LDNS_RCODE_NOTIMPL); /* UPDATE */
    expect_changed(f, 5, 0, FORMERR);
    expect_changed(f, 5, 2, FORMERR);
    expect_changed(f, 7, 1, FORMERR);
    expect_changed(f, 9, 1, FORMERR);
    expect_changed(f, 11, 0, FORMERR);
    expect_changed(f, 11, 2, FORMERR);
    expect_changed(f, 12, 0xc0, FORMERR);
    expect_changed(f, 12, 64, FORMERR);
    expect_changed(f, 18, LDNS_RR_TYPE_AXFR, REFUSED);
    expect_changed(f, 20, LDNS_RR_CLASS_CH, REFUSED);
    expect_changed(f, 27, 1, 16); /* BADVERS */
    /* Too short, or an answer: nothing comes back. */
    for (size_t n = 0; n < length; n++) {
        ask_bytes(f, "p", bytes, n, &asked);
        assert_int_equal(asked.answers, 1);
        assert_int_equal(asked.pkt == NULL, n < CTR_DNS_HEADER);
        forget(&asked);
    }
    bytes[2] |= 0x80;
    ask_bytes(f, "p", bytes, length, &asked);
    assert_true(asked.answers == 1 && asked.length == 0);
}

static void
test_pointers(void **state)
{
    struct ctr_dns_name name;
    uint8_t bytes[CTR_DNS_HEADER + 600] = {0};
    size_t at;
    /* To itself, forwards, into the header, half a pointer. */
    static const uint8_t bad[][3] = {
        {0xc0, 12, 0}, {0xc0, 13, 0}, {0xc0, 4, 0}, {0xc0, 0, 0}, {1, 'a', 0xc0}};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        memcpy(bytes + 12, bad[i], 3);
        at = 12;
        assert_int_equal(ctr_dns_name_read(bytes, 15, &at, &name), -EBADMSG);
        assert_int_equal(at, 12);
    }
    /* A label before a pointer back to it. */
    memcpy(bytes + 12, "\001a\300\014", 4);
    at = 12;
    assert_int_equal(ctr_dns_name_read(bytes, 16, &at, &name), -EBADMSG);
    /* A chain of pointers that is too long. */
    bytes[12] = 0;
    for (size_t i = 0; i < 200; i++) {
        bytes[13 + 2 * i] = 0xc0;
        bytes[14 + 2 * i] = (uint8_t) (i == 0 ? 12 : 11 + 2 * i);
        if (11 + 2 * i > 255) {
            bytes[13 + 2 * i] = 0xc1;
        }
    }
    at = 13 + 2 * 126;
    assert_int_equal(ctr_dns_name_read(bytes, sizeof bytes, &at, &name), 0);
    assert_int_equal(at, 13 + 2 * 127);
    at = 13 + 2 * 127;
    assert_int_equal(ctr_dns_name_read(bytes, sizeof bytes, &at, &name), -EBADMSG);
}

static void
test_names_as_text(void **state)
{
    static const char *const bad[] = {
        "",   ".",   "a..b",
        ".a", "a..", "a123456789b123456789c123456789d123456789e123456789f123456789g123"};
    struct ctr_dns_name name, again;
    char text[CTR_DNS_TEXT], longest[260];
    uint8_t odd[] = {3, 'a', '.', 'B', 1, '\\', 1, 0xff, 0};
    size_t at = 0;
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_int_equal(ctr_dns_name_parse(bad[i], &name), -EINVAL);
    }
    assert_int_equal(ctr_dns_name_parse("API.example.com.", &name), 0);
    assert_string_equal(ctr_dns_name_text(&name, text), "api.example.com");
    assert_int_equal(ctr_dns_name_read(odd, sizeof odd, &at, &name), 0);
    assert_string_equal(ctr_dns_name_text(&name, text), "a\\046b.\\092.\\255");
    /* 126 labels of one letter and one of two are 255 bytes; the next byte is too many. */
    for (int i = 0; i < 253; i++) {
        longest[i] = i % 2 == 0 ? 'a' : '.';
    }
    longest[253] = '\0';
    assert_int_equal(ctr_dns_name_parse(longest, &again), 0);
    assert_int_equal(again.length, 255);
    assert_string_equal(ctr_dns_name_text(&again, text), longest);
    longest[253] = 'a';
    longest[254] = '\0';
    assert_int_equal(ctr_dns_name_parse(longest, &again), -EINVAL);
}

static void
test_servers_as_text(void **state)
{
    static const char *const bad[] = {"",
                                      "example.com",
                                      "10.0.0",
                                      "10.0.0.1:",
                                      "10.0.0.1:0",
                                      "10.0.0.1:65536",
                                      "[::1",
                                      "[::1]5",
                                      "[::1]:",
                                      "[10.0.0.1]:53",
                                      "fe80::1%nosuchif",
                                      "10.0.0.1:53:53",
                                      "[::1]:53x",
                                      "::1]"};
    union ctr_dns_server s;
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_int_equal(ctr_dns_server_parse(bad[i], &s), -EINVAL);
    }
    assert_int_equal(ctr_dns_server_parse("192.0.2.1", &s), 0);
    assert_true(s.v4.sin_family == AF_INET && ntohs(s.v4.sin_port) == 53 &&
                ntohl(s.v4.sin_addr.s_addr) == 0xc0000201);
    assert_int_equal(ctr_dns_server_parse("127.0.0.1:5353", &s), 0);
    assert_true(s.v4.sin_family == AF_INET && ntohs(s.v4.sin_port) == 5353);
    assert_int_equal(ctr_dns_server_parse("2001:db8::1", &s), 0);
    assert_true(s.v6.sin6_family == AF_INET6 && ntohs(s.v6.sin6_port) == 53);
    assert_int_equal(ctr_dns_server_parse("[::1]", &s), 0);
    assert_int_equal(ctr_dns_server_parse("[::1]:54", &s), 0);
    assert_true(s.v6.sin6_family == AF_INET6 && ntohs(s.v6.sin6_port) == 54);
    assert_int_equal(ctr_dns_server_parse("fe80::1%lo", &s), 0);
    assert_int_equal(s.v6.sin6_scope_id, 1);
}

static void
test_resolv_conf(void **state)
{
    struct ctr_dns_servers s;
    ctr_dns_conf_parse("# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.1\n "
                       "nameserver 192.0.2.8\n;nameserver 192.0.2.9\n"
                       "nameserverx 192.0.2.9\nnameserver\nnameserver \nnameserver "
                       "nonsense\noptions ndots:1\r\nnameserver\t2001:db8::1 # ours\r\n"
                       "nameserver 192.0.2.3\nnameserver 192.0.2.4",
                       &s);
    assert_int_equal(s.n, 3);
    assert_int_equal(ntohl(s.at[0].v4.sin_addr.s_addr), 0xc0000201);
    assert_int_equal(s.at[1].any.sa_family, AF_INET6);
    assert_int_equal(ntohl(s.at[2].v4.sin_addr.s_addr), 0xc0000203);
    ctr_dns_conf_parse("", &s);
    assert_int_equal(s.n, 0);
}

/* A name with n addresses. */
static void
set_large(struct fixture *f, int n)
{
    CTR_AUTO(json) json_t *addresses = json_array();
    for (int i = 0; i < n; i++) {
        CTR_AUTO(free) char *text = ctr_printf("10.1.%d.%d", i / 256, i % 256);
        json_array_append_new(addresses, json_string(text));
    }
    CTR_AUTO(json)
    json_t *large = json_pack("{s:[{s:s,s:O}],s:{s:{}}}", "hosts", "name", "large", "addresses",
                              addresses, "ports", "p");
    assert_int_equal(ctr_dns_set_zone(f->dns, large, NULL), 0);
}

static void
expect_size(struct fixture *f, uint16_t udp_size, size_t limit, size_t wanted, bool tc)
{
    struct asked asked;
    size_t length;
    CTR_AUTO(free) uint8_t *bytes = question_bytes("large", A, 7, udp_size, &length);
    ask_bytes(f, "p", bytes, length, &asked);
    assert_true(asked.length <= limit);
    assert_int_equal(count(asked.pkt), wanted);
    assert_int_equal(ldns_pkt_tc(asked.pkt), tc);
    assert_int_equal(ldns_pkt_edns(asked.pkt), udp_size != 0);
    assert_int_equal(ldns_pkt_edns_udp_size(asked.pkt), udp_size == 0 ? 0 : CTR_DNS_UDP_MAX);
    forget(&asked);
}

static void
test_truncation(void **state)
{
    struct fixture *f = *state;
    /* Header 12, question 11, each address 16, OPT 11. */
    set_large(f, 30);
    expect_size(f, 0, 512, 30, false);
    set_large(f, 31);
    expect_size(f, 0, 512, 30, true);
    expect_size(f, 100, 512, 29, true);
    expect_size(f, 600, 600, 31, false);
    set_large(f, 200);
    expect_size(f, 700, 700, (700 - 34) / 16, true);
    expect_size(f, 65535, CTR_DNS_UDP_MAX, (CTR_DNS_UDP_MAX - 34) / 16, true);
}

/* --- TCP --- */

struct stream {
    struct fixture *f;
    int fd;
    struct ctr_watch *watch;
    struct ctr_buf in;
    int answers, wanted; /* the loop stops at the end, or when so many are there */
    size_t last;         /* bytes of the last answer */
    uint32_t ids;        /* set of the low IDs that came */
    bool ended;
};

static void
on_stream_bytes(void *arg, uint32_t events)
{
    struct stream *s = arg;
    char bytes[65536];
    ssize_t n = recv(s->fd, bytes, sizeof bytes, 0);
    if (n <= 0) {
        s->ended = n == 0 || errno == ECONNRESET || errno == EPIPE;
        ctr_watch_set(s->watch, 0);
        ctr_loop_stop(s->f->loop);
        return;
    }
    ctr_buf_add(&s->in, bytes, (size_t) n);
    while (s->in.length >= 2) {
        const uint8_t *in = (const uint8_t *) s->in.data;
        size_t length = ctr_dns_u16(in);
        if (s->in.length < 2 + length) {
            break;
        }
        assert_true(ctr_dns_wire_ok(in + 2, length));
        s->ids |= 1U << (ctr_dns_u16(in + 2) & 31);
        s->last = length;
        s->answers++;
        ctr_buf_consume(&s->in, 2 + length);
    }
    if (s->answers >= s->wanted) {
        ctr_loop_stop(s->f->loop);
    }
}

static void
stream_open(struct stream *s, struct fixture *f, const char *port)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    *s = (struct stream){.f = f, .fd = pair[0], .wanted = 1};
    s->watch = ctr_watch_add(f->loop, pair[0], CTR_READABLE, on_stream_bytes, s);
    ctr_dns_stream(f->dns, port, pair[1]);
}

static void
stream_close(struct stream *s)
{
    ctr_watch_remove(s->watch);
    (void) close(s->fd);
    ctr_buf_clear(&s->in);
}

static void
stream_ask(struct stream *s, const char *name, uint16_t id)
{
    size_t length;
    CTR_AUTO(free) uint8_t *bytes = question_bytes(name, A, id, 0, &length);
    uint8_t head[2] = {(uint8_t) (length >> 8), (uint8_t) length};
    assert_int_equal(ctr_write_all(s->fd, head, 2), 0);
    assert_int_equal(ctr_write_all(s->fd, bytes, length), 0);
}

static void
test_stream(void **state)
{
    struct fixture *f = *state;
    struct stream s;
    stream_open(&s, f, "p");
    stream_ask(&s, "web", 0);
    ctr_loop_run(f->loop);
    assert_int_equal(s.answers, 1);
    /* Many at once, then an end: all are answered, then the end comes back. */
    s.wanted = 1000;
    for (uint16_t id = 0; id < 100; id++) {
        stream_ask(&s, id % 2 == 0 ? "web" : "unknown", id);
    }
    assert_int_equal(shutdown(s.fd, SHUT_WR), 0);
    while (!s.ended) {
        ctr_loop_run(f->loop);
    }
    assert_int_equal(s.answers, 101);
    assert_int_equal(s.ids, UINT32_MAX);
    assert_int_equal(f->dns->n_streams, 0);
    stream_close(&s);
}

static void
test_stream_bytewise(void **state)
{
    struct fixture *f = *state;
    struct stream s;
    size_t length;
    CTR_AUTO(free) uint8_t *bytes = question_bytes("large", A, 3, 0, &length);
    uint8_t head[2] = {0, (uint8_t) length};
    set_large(f, 4000);
    stream_open(&s, f, "p");
    assert_int_equal(ctr_write_all(s.fd, head, 1), 0);
    run_for(f, 5);
    assert_int_equal(ctr_write_all(s.fd, head + 1, 1), 0);
    for (size_t i = 0; i < length; i++) {
        run_for(f, 1);
        assert_int_equal(ctr_write_all(s.fd, bytes + i, 1), 0);
    }
    ctr_loop_run(f->loop);
    assert_int_equal(s.answers, 1);
    assert_int_equal(s.last, 12 + 11 + 4000 * 16);
    stream_close(&s);
}

static void
test_stream_nonsense(void **state)
{
    static const uint8_t bad[][4] = {
        {0, 0, 0, 0}, {0, 11, 0, 0}, {0x10, 1, 0, 0}, {0xff, 0xff, 0, 0}};
    struct fixture *f = *state;
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        struct stream s;
        stream_open(&s, f, "p");
        assert_int_equal(ctr_write_all(s.fd, bad[i], 4), 0);
        ctr_loop_run(f->loop);
        assert_true(s.ended);
        stream_close(&s);
    }
}

/* One port has at most 8; half a question ends by time although more bytes of it keep coming. */
static void
test_stream_limits(void **state)
{
    struct fixture *f = *state;
    struct stream s[9], stranger;
    for (size_t i = 0; i < 9; i++) {
        stream_open(&s[i], f, "p");
    }
    ctr_loop_run(f->loop);
    assert_true(s[8].ended && !s[7].ended);
    stream_open(&stranger, f, "x");
    ctr_loop_run(f->loop);
    assert_true(stranger.ended);
    assert_int_equal(ctr_write_all(s[0].fd, "\004\000", 2), 0);
    for (int i = 0; i < 200 && !s[0].ended; i++) {
        run_for(f, 50);
        assert_int_equal(
            s[0].ended || send(s[0].fd, "x", 1, MSG_NOSIGNAL) == 1 || errno == EPIPE, 1);
    }
    assert_true(s[0].ended);
    for (size_t i = 0; i < 9; i++) {
        stream_close(&s[i]);
    }
    stream_close(&stranger);
}

static void
test_stats(void **state)
{
    struct fixture *f = *state;
    expect(f, "p", "web", A, NOERROR, "web.\t5\tIN\tA\t10.88.0.2");
    expect(f, "p", "example.com", A, REFUSED, NULL);
    expect_changed(f, 5, 0, FORMERR);
    CTR_AUTO(json) json_t *stats = ctr_dns_stats(f->dns);
    assert_int_equal(ctr_json_int(stats, "queries", 0), 3);
    assert_int_equal(ctr_json_int(stats, "local", 0), 1);
    assert_int_equal(ctr_json_int(stats, "refused", 0), 1);
    assert_int_equal(ctr_json_int(stats, "failed", 0), 1);
    assert_int_equal(ctr_json_int(stats, "forwarded", -1), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_own_names_first),
        TEST(test_no_data),
        TEST(test_in_turn),
        TEST(test_reverse),
        TEST(test_stays_inside),
        TEST(test_bad_zones),
        TEST(test_zone_memory),
        TEST(test_bad_questions),
        cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_names_as_text),
        cmocka_unit_test(test_servers_as_text),
        cmocka_unit_test(test_resolv_conf),
        TEST(test_truncation),
        TEST(test_stream),
        TEST(test_stream_bytewise),
        TEST(test_stream_nonsense),
        TEST(test_stream_limits),
        TEST(test_stats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
