/*
 * net-switch's pure half: what a frame is, who may send it, and what may go out.
 */
#include "tests/switch-net.h"

#include "plugins/net-switch/allowed.c"
#include "plugins/net-switch/guard.c"
#include "plugins/net-switch/judge.c"
#include <arpa/inet.h>

static const uint16_t host_ports[] = {5432};
static const struct sw_net lan_address = {{4, {192, 168, 1, 5}}, 32};

static struct sw_rules
rules_here(void)
{
    return (struct sw_rules){
        .net = {sw_ipv4(NET), 24},
        .net6 = {six("fd58::"), 64},
        .gateway = sw_ipv4(GATEWAY),
        .gateway6 = six("fd58::1"),
        .dns = sw_ipv4(GATEWAY),
        .host = sw_ipv4(HOST),
        .out_mtu = 1500,
        .closed = &lan_address,
        .n_closed = 1,
        .host_ports = host_ports,
        .n_host_ports = 1,
    };
}

static struct sw_identity
me(void)
{
    struct sw_identity ret = {.address = sw_ipv4(A), .address6 = six("fd58::2")};
    mac_of(A, ret.mac);
    ret.link_local = sw_link_local(ret.mac);
    return ret;
}

/* An IPv6 frame of A's to the gateway's MAC. */
static struct frame
frame6(const char *from, const char *to, uint8_t proto, const void *payload, size_t n)
{
    const struct sw_header header = {.source = six(from), .target = six(to), .proto = proto};
    return packet(GATEWAY, A, header, payload, n);
}

static struct frame
syn6(const char *from, const char *to, uint16_t port)
{
    uint8_t p[20] = {[12] = 0x50, [13] = SW_TCP_SYN};
    sw_put16(p + 2, port);
    return frame6(from, to, SW_TCP, p, sizeof p);
}

static struct frame
icmp6(const char *from, const char *to, uint8_t type, const char *about)
{
    uint8_t p[24] = {type};
    struct ctr_address address = six(about);
    memcpy(p + 8, address.bytes, 16);
    return frame6(from, to, SW_ICMPV6, p, sizeof p);
}

static enum sw_verdict
judged_for(struct frame *f, const struct sw_rules *rules, bool host)
{
    assert_true(sw_parse(f->bytes, f->length, &f->parsed));
    return sw_judge(&f->parsed, rules, host, 1000);
}

static enum sw_verdict
judged(struct frame f)
{
    const struct sw_rules rules = rules_here();
    return judged_for(&f, &rules, false);
}

static enum sw_honesty
guarded(struct frame f)
{
    const struct sw_identity port = me();
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    return sw_guard(&f.parsed, &port);
}

static bool
parses(const struct frame *f)
{
    struct sw_frame parsed;
    return sw_parse(f->bytes, f->length, &parsed);
}

static void
odd_packets_do_not_leave(void **state)
{
    struct tcp t = {.from = A, .to = 0x08080808, .from_port = 1, .to_port = 80};
    struct frame f = tcp(&t, SW_TCP_SYN, "data that is long enough");
    assert_int_equal(judged(f), SW_PASS);
    sw_put16(f.bytes + 20, 0x2000); /* first of several fragments */
    assert_int_equal(judged(f), SW_DROP);
    sw_put16(f.bytes + 20, 0x0001); /* a later one */
    assert_int_equal(judged(f), SW_DROP);
    sw_put16(f.bytes + 20, 0x8000); /* the reserved bit sends libslirp the same way */
    assert_int_equal(judged(f), SW_DROP);
    sw_put16(f.bytes + 20, 0x4000); /* "don't fragment" is not one */
    assert_int_equal(judged(f), SW_PASS);
    struct frame options = f;
    options.bytes[14] = 0x46;
    options.bytes[SW_ETHER + 24 + 12] = 0x50;
    assert_int_equal(judged(options), SW_DROP);
    f.bytes[SW_ETHER + SW_IPV4 + 12] = 0xf0; /* a TCP header that is longer than the packet */
    assert_false(parses(&f));
    f = udp(GATEWAY, A, 1, 0x08080808, 53, "part of a datagram");
    sw_put16(f.bytes + 20, 0x2000);
    assert_int_equal(judged(f), SW_DROP);
    f = udp(GATEWAY, A, 1, 0x08080808, 53, "more than it says");
    sw_put16(f.bytes + SW_ETHER + SW_IPV4 + 4, 9);
    assert_int_equal(judged(f), SW_DROP);
    f = ping(GATEWAY, A, 0x08080808);
    assert_int_equal(judged(f), SW_PASS);
    f.bytes[34] = 13; /* asks for the time */
    assert_int_equal(judged(f), SW_DROP);
    f.bytes[23] = 47; /* GRE */
    assert_int_equal(judged(f), SW_DROP);
}

static void
closed_addresses_stay_closed(void **state)
{
    static const char *const closed4[] = {
        "127.0.0.1",     "0.0.0.0",   "169.254.169.254", "100.100.100.200", "192.0.0.192",
        "168.63.129.16", "10.88.0.1", "10.88.0.77",      "10.88.0.254",     "192.168.1.5",
    };
    static const char *const closed6[] = {
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "fe80::1",
        "fec0::1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "fd58::1",
        "fd58::99",
        "fd00:ec2::254",
        "2002:7f00:1::1",
        "2002:c0a8:105::1",
        "2001::1",
        "64:ff9b::a58:3",
        "64:ff9b::c0a8:105",
        "fd20:ce::254",
    };
    for (size_t i = 0; i < CTR_LENGTH(closed4); i++) {
        struct in_addr in;
        assert_int_equal(inet_pton(AF_INET, closed4[i], &in), 1);
        struct tcp t = {.from = A, .to = ntohl(in.s_addr), .from_port = 1, .to_port = 80};
        assert_int_equal(judged(tcp(&t, SW_TCP_SYN, "")), SW_REFUSE);
        assert_int_equal(judged(udp(GATEWAY, A, 1, t.to, 80, "x")), SW_REFUSE);
    }
    for (size_t i = 0; i < CTR_LENGTH(closed6); i++) {
        if (judged(syn6("fd58::2", closed6[i], 80)) != SW_REFUSE) {
            fail_msg("%s is open", closed6[i]);
        }
    }
    assert_int_equal(judged(syn6("fd58::2", "ff02::1", 80)), SW_DROP);
    assert_int_equal(judged(udp(GATEWAY, A, 1, 0xffffffff, 80, "x")), SW_DROP);
    assert_int_equal(judged(syn6("fd58::2", "2001:db8::1", 80)), SW_PASS);
    assert_int_equal(judged(syn6("fd58::2", "64:ff9b::808:808", 80)), SW_PASS);
    assert_int_equal(judged(syn6("fd58::2", "fd99::1", 80)), SW_PASS); /* a LAN's */
    assert_int_equal(judged(syn6("fe80::42:aff:fe58:2", "2001:db8::1", 80)), SW_DROP);
}

static void
host_is_for_those_who_may(void **state)
{
    const struct sw_rules rules = rules_here();
    struct tcp t = {.from = A, .to = HOST, .from_port = 1, .to_port = 80};
    struct frame f = tcp(&t, SW_TCP_SYN, "");
    assert_int_equal(judged_for(&f, &rules, false), SW_REFUSE);
    assert_int_equal(judged_for(&f, &rules, true), SW_PASS);
    t.to_port = 5432; /* of the profile */
    f = tcp(&t, SW_TCP_SYN, "");
    assert_int_equal(judged_for(&f, &rules, false), SW_PASS);
    f = udp(GATEWAY, A, 1, HOST, 69, "libslirp's own servers");
    assert_int_equal(judged_for(&f, &rules, true), SW_REFUSE);
    f = udp(GATEWAY, A, 1, HOST, 67, "libslirp's own servers");
    assert_int_equal(judged_for(&f, &rules, true), SW_REFUSE);
    f = udp(GATEWAY, A, 1, HOST, 70, "x");
    assert_int_equal(judged_for(&f, &rules, true), SW_PASS);
    struct sw_rules internal = rules;
    internal.internal = true;
    assert_int_equal(judged_for(&f, &internal, true), SW_REFUSE);
}

static void
rules_open_what_they_name(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct sw_rules rules = rules_here();
    assert_int_equal(sw_allowed_create(&rules.allowed, &err), 0);
    const struct sw_net one = {sw_ipv4(0x08080808), 32}, range = {sw_ipv4(0x09010203), 8},
                        one6 = {six("2001:db8::1"), 128}, loopback = {sw_ipv4(0x7f000001), 32},
                        all = {sw_ipv4(0), 0};
    struct tcp t = {.from = A, .to = 0x08080808, .from_port = 1, .to_port = 443};
    struct frame https = tcp(&t, SW_TCP_SYN, ""), data = tcp(&t, SW_TCP_ACK, "x");
    t.to_port = 80;
    struct frame http = tcp(&t, SW_TCP_SYN, "");
    struct frame echo = ping(GATEWAY, A, 0x08080808);
    assert_int_equal(judged_for(&https, &rules, false), SW_REFUSE);
    assert_int_equal(sw_allowed_add(rules.allowed, &one, 443, 1001, 500, &err), 0);
    assert_int_equal(judged_for(&https, &rules, false), SW_PASS);
    assert_int_equal(judged_for(&http, &rules, false), SW_REFUSE);
    assert_int_equal(judged_for(&echo, &rules, false), SW_REFUSE);
    /* Its time: over, prolonged, never shortened. What is open goes on. */
    assert_int_equal(sw_judge(&https.parsed, &rules, false, 1001), SW_REFUSE);
    assert_int_equal(judged_for(&data, &rules, false), SW_PASS);
    assert_int_equal(sw_allowed_add(rules.allowed, &one, 443, 3000, 500, &err), 0);
    assert_int_equal(sw_allowed_add(rules.allowed, &one, 443, 2000, 500, &err), 0);
    assert_int_equal(sw_judge(&https.parsed, &rules, false, 2999), SW_PASS);
    assert_int_equal(sw_allowed_add(rules.allowed, &one, 443, 0, 500, &err), 0);
    assert_int_equal(sw_allowed_add(rules.allowed, &one, 443, 600, 500, &err), 0);
    assert_int_equal(sw_judge(&https.parsed, &rules, false, 1u << 30), SW_PASS);
    assert_int_equal(sw_allowed_count(rules.allowed), 1);
    /* All ports, echo among them; a range; IPv6. */
    assert_int_equal(sw_allowed_add(rules.allowed, &one, 0, 0, 500, &err), 0);
    assert_int_equal(judged_for(&http, &rules, false), SW_PASS);
    assert_int_equal(judged_for(&echo, &rules, false), SW_PASS);
    assert_int_equal(sw_allowed_add(rules.allowed, &range, 53, 0, 500, &err), 0);
    struct frame ranged = udp(GATEWAY, A, 1, 0x09ffffff, 53, "x");
    assert_int_equal(judged_for(&ranged, &rules, false), SW_PASS);
    struct frame six_syn = syn6("fd58::2", "2001:db8::1", 80);
    assert_int_equal(judged_for(&six_syn, &rules, false), SW_REFUSE);
    assert_int_equal(sw_allowed_add(rules.allowed, &one6, 80, 0, 500, &err), 0);
    assert_int_equal(judged_for(&six_syn, &rules, false), SW_PASS);
    /* What is closed stays closed, whatever a rule says. */
    assert_int_equal(sw_allowed_add(rules.allowed, &loopback, 0, 0, 500, &err), 0);
    assert_int_equal(sw_allowed_add(rules.allowed, &all, 0, 0, 500, &err), 0);
    t.to = 0x7f000001;
    struct frame evil = tcp(&t, SW_TCP_SYN, "");
    assert_int_equal(judged_for(&evil, &rules, false), SW_REFUSE);
    sw_allowed_destroy(rules.allowed);
}

/* However many names are asked for, the table is bounded, and old rules make room. */
static void
rules_are_bounded(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct sw_allowed *allowed = NULL;
    int code = 0;
    assert_int_equal(sw_allowed_create(&allowed, &err), 0);
    for (uint32_t i = 0; i < 65536 && code == 0; i++) {
        const struct sw_net net = {sw_ipv4(0x08000000 + i), 32};
        code = sw_allowed_add(allowed, &net, 443, 1000, 0, &err);
    }
    assert_int_equal(code, 0);
    const struct sw_net more = {sw_ipv4(0x09000000), 32};
    assert_int_equal(sw_allowed_add(allowed, &more, 443, 1000, 999, &err), -ENOSPC);
    assert_int_equal(sw_allowed_add(allowed, &more, 443, 2000, 1000, &err), 0);
    assert_int_equal(sw_allowed_count(allowed), 1);
    sw_allowed_destroy(allowed);
}

static void
large_packets_are_told(void **state)
{
    struct sw_rules rules = rules_here();
    uint8_t reply[SW_ICMP_ERROR], large[2000] = {0};
    struct sw_frame parsed;
    sw_put16(large + 4, sizeof large);
    struct frame f = ipv4(GATEWAY, A, 0x08080808, SW_UDP, large, sizeof large);
    assert_int_equal(judged_for(&f, &rules, false), SW_TOO_BIG);
    size_t n = sw_refusal(&f.parsed, &rules, SW_TOO_BIG, reply);
    assert_true(sw_parse(reply, n, &parsed));
    assert_int_equal(parsed.payload[0], 3);
    assert_int_equal(parsed.payload[1], 4);
    assert_int_equal(sw_get16(parsed.payload + 6), 1500);
    f = frame6("fd58::2", "2001:db8::1", SW_UDP, large, sizeof large);
    assert_int_equal(judged_for(&f, &rules, false), SW_TOO_BIG);
    n = sw_refusal(&f.parsed, &rules, SW_TOO_BIG, reply);
    assert_true(n <= SW_ETHER + 1280 && sw_parse(reply, n, &parsed));
    assert_int_equal(parsed.payload[0], 2);
    assert_int_equal(sw_get32(parsed.payload + 4), 1500);
    uint32_t sum =
        sw_sum_pseudo(&parsed.source, &parsed.target, SW_ICMPV6, parsed.payload_length);
    assert_int_equal(sw_sum_finish(sw_sum(sum, parsed.payload, parsed.payload_length)), 0);
}

static struct frame
with_hops(struct frame f, uint8_t hops)
{
    f.bytes[SW_ETHER + 7] = hops;
    return f;
}

static void
neighbours_are_guarded(void **state)
{
    static const char own[] = "fd58::2", link[] = "fe80::42:aff:fe58:2", all[] = "ff02::1";
    struct frame f = icmp6(own, "ff02::1:ff00:3", SW_SOLICIT, "fd58::3");
    assert_int_equal(guarded(f), SW_HONEST);
    assert_int_equal(guarded(with_hops(f, 64)), SW_SPOOFED); /* from afar */
    assert_int_equal(guarded(icmp6(link, all, SW_SOLICIT, "fd58::3")), SW_HONEST);
    assert_int_equal(guarded(icmp6("fd58::3", all, SW_SOLICIT, "fd58::1")), SW_SPOOFED);
    assert_int_equal(guarded(icmp6("fe80::1", all, SW_SOLICIT, "fd58::1")), SW_SPOOFED);
    assert_int_equal(guarded(icmp6("::", all, SW_SOLICIT, own)), SW_USELESS);
    assert_int_equal(guarded(icmp6("::", all, SW_SOLICIT, "fd58::3")), SW_SPOOFED);
    assert_int_equal(guarded(icmp6(own, all, SW_ADVERTISE, own)), SW_HONEST);
    assert_int_equal(guarded(icmp6(own, all, SW_ADVERTISE, link)), SW_HONEST);
    assert_int_equal(guarded(icmp6(own, all, SW_ADVERTISE, "fd58::1")), SW_SPOOFED);
    assert_int_equal(guarded(icmp6(own, all, SW_ADVERTISE, "fd58::3")), SW_SPOOFED);
    assert_int_equal(guarded(icmp6("::", all, SW_ADVERTISE, own)), SW_SPOOFED);
    assert_int_equal(guarded(icmp6(link, all, 134, "::")), SW_SPOOFED);      /* a router */
    assert_int_equal(guarded(icmp6(link, own, 137, "fd58::1")), SW_SPOOFED); /* redirects */
    assert_int_equal(guarded(icmp6(link, all, 133, "::")), SW_USELESS);
    assert_int_equal(guarded(icmp6(link, "ff02::16", 143, "::")), SW_USELESS);
    assert_int_equal(guarded(icmp6(own, "fd58::3", SW_ECHO6, "::")), SW_HONEST);
    assert_int_equal(guarded(icmp6("::", "fd58::3", SW_ECHO6, "::")), SW_SPOOFED);
    /* MACs inside. */
    uint8_t p[32] = {SW_SOLICIT, [24] = 1, 1, 2, 0x42, 10, 88, 0, 3};
    assert_int_equal(guarded(frame6(own, all, SW_ICMPV6, p, sizeof p)), SW_SPOOFED);
    p[31] = 2;
    assert_int_equal(guarded(frame6(own, all, SW_ICMPV6, p, sizeof p)), SW_HONEST);
    p[25] = 0; /* an option of no length */
    assert_int_equal(guarded(frame6(own, all, SW_ICMPV6, p, sizeof p)), SW_SPOOFED);
}

static void
nothing_hides_behind_headers(void **state)
{
    static const char own[] = "fd58::2", all[] = "ff02::1";
    uint8_t p[64] = {58, 0, 1, 4, 0, 0, 0, 0, 134}; /* options, then a router's word */
    assert_int_equal(guarded(frame6(own, all, 60, p, 32)), SW_SPOOFED);
    p[0] = 60;
    p[8] = 58;
    p[16] = 134;
    assert_int_equal(guarded(frame6(own, all, 0, p, 40)), SW_SPOOFED);
    struct frame f = frame6(own, all, 60, p, 12); /* cut short */
    assert_false(parses(&f));
    f = frame6(own, "2001:db8::1", 43, p, 40); /* a route of one's own */
    assert_false(parses(&f));
    for (size_t i = 0; i < sizeof p; i += 8) {
        p[i] = 60; /* without an end */
        p[i + 1] = 0;
    }
    f = frame6(own, all, 60, p, sizeof p);
    assert_false(parses(&f));
    /* Fragments: the first must say what it is, none leaves. */
    uint8_t first[] = {SW_UDP, 0, 0, 1, 0, 0, 0, 7, 0, 9, 0, 9, 0, 100, 0, 0};
    f = frame6(own, "2001:db8::1", 44, first, sizeof first);
    assert_int_equal(guarded(f), SW_HONEST);
    assert_int_equal(judged(f), SW_DROP);
    f = frame6(own, "2001:db8::1", 44, first, 12);
    assert_false(parses(&f));
    uint8_t router[32] = {58, 0, 0, 1, 0, 0, 0, 7, 134};
    assert_int_equal(guarded(frame6(own, all, 44, router, sizeof router)), SW_SPOOFED);
    router[3] = 8; /* a later one */
    assert_int_equal(guarded(frame6(own, all, 44, router, sizeof router)), SW_HONEST);
    assert_int_equal(guarded(frame6("fd58::3", all, 44, router, sizeof router)), SW_SPOOFED);
}

static void
servers_are_guarded(void **state)
{
    uint8_t p[8] = {0, 0, 0, 0, 0, 8};
    assert_int_equal(guarded(udp(B, A, 67, B, 68, "an offer")), SW_SPOOFED);
    assert_int_equal(guarded(udp(B, A, 6767, B, 68, "an offer")), SW_SPOOFED);
    assert_int_equal(guarded(udp(B, A, 68, 0xffffffff, 67, "who am I")), SW_USELESS);
    sw_put16(p, 547);
    sw_put16(p + 2, 546);
    assert_int_equal(guarded(frame6("fd58::2", "fd58::3", SW_UDP, p, 8)), SW_SPOOFED);
    struct frame redirect = ping(B, A, B);
    redirect.bytes[34] = 5;
    assert_int_equal(guarded(redirect), SW_SPOOFED);
    struct sw_identity four = me();
    four.address6 = four.link_local = (struct ctr_address){0};
    struct frame f = syn6("fd58::2", "2001:db8::1", 80);
    assert_true(parses(&f) && sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_guard(&f.parsed, &four), SW_USELESS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_packets_do_not_leave),
        cmocka_unit_test(closed_addresses_stay_closed),
        cmocka_unit_test(host_is_for_those_who_may),
        cmocka_unit_test(rules_open_what_they_name),
        cmocka_unit_test(rules_are_bounded),
        cmocka_unit_test(large_packets_are_told),
        cmocka_unit_test(neighbours_are_guarded),
        cmocka_unit_test(nothing_hides_behind_headers),
        cmocka_unit_test(servers_are_guarded),
    };
    return cmocka_run_group_tests_name("switch-judge", tests, NULL, NULL);
}
