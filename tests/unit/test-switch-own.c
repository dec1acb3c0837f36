/*
 * net-switch: what the network itself answers (IPv6's neighbours, pings, the resolver by UDP and TCP), networks that are isolated, deny their way out, or have a
 * large MTU, the way to the host, ports by IPv6, and ports that come back after a restart.
 */
#include "tests/switch-net.h"

#include <arpa/inet.h>

static struct ctr_network
dual_network(void)
{
    struct ctr_network n = plain_network();
    n.subnet6 = six("fd58::");
    n.prefix6 = 64;
    n.gateway6 = six("fd58::1");
    return n;
}

/* `last` byte of fd58:: for the port with the IPv4 address. */
static struct ctr_address
address6(uint32_t address)
{
    struct ctr_address ret = six("fd58::");
    ret.bytes[15] = (uint8_t) address;
    return ret;
}

static int
attach6(struct net *net, const char *id, uint32_t address)
{
    int fd;
    const struct ctr_port_spec spec = {
        .id = id, .address = address, .address6 = address6(address)};
    assert_int_equal(attach_spec(net, spec, &fd), 0);
    return fd;
}

/* A frame by IPv6 with its checksum filled in at `at` of the payload. */
static struct frame
ipv6(uint32_t via, uint32_t from, struct ctr_address to, uint8_t proto, uint8_t *payload,
     size_t n, size_t at)
{
    const struct sw_header header = {.source = address6(from), .target = to, .proto = proto};
    sw_put16(payload + at, 0);
    uint32_t sum = sw_sum_pseudo(&header.source, &to, proto, n);
    sw_put16(payload + at, sw_sum_finish(sw_sum(sum, payload, n)));
    return packet(via, from, header, payload, n);
}

static struct frame
solicit(uint32_t from, struct ctr_address about)
{
    uint8_t p[32] = {SW_SOLICIT, [24] = 1, 1};
    struct ctr_address group = six("ff02::1:ff00:0");
    memcpy(group.bytes + 13, about.bytes + 13, 3);
    memcpy(p + 8, about.bytes, 16);
    mac_of(from, p + 26);
    struct frame f = ipv6(B, from, group, SW_ICMPV6, p, sizeof p, 2);
    memcpy(f.bytes, "\x33\x33", 2);
    memcpy(f.bytes + 2, group.bytes + 12, 4);
    return f;
}

static struct frame
echo6(uint32_t via, uint32_t from, struct ctr_address to)
{
    uint8_t p[16] = {SW_ECHO6, [5] = 7, 'p', 'i', 'n', 'g'};
    return ipv6(via, from, to, SW_ICMPV6, p, sizeof p, 2);
}

static struct frame
tcp6(uint32_t from, struct ctr_address to, uint16_t from_port, uint16_t to_port, uint32_t seq,
     uint32_t ack, uint8_t flags, const char *text)
{
    uint8_t p[256] = {[12] = 0x50, [13] = flags, [14] = 0xff};
    sw_put16(p, from_port);
    sw_put16(p + 2, to_port);
    sw_put32(p + 4, seq);
    sw_put32(p + 8, ack);
    memcpy(p + 20, text, strlen(text));
    return ipv6(GATEWAY, from, to, SW_TCP, p, 20 + strlen(text), 16);
}

static bool
sum_is_right(const struct frame *f)
{
    const struct sw_frame *p = &f->parsed;
    uint32_t sum = sw_sum_pseudo(&p->source, &p->target, p->proto, p->payload_length);
    return sw_sum_finish(sw_sum(sum, p->payload, p->payload_length)) == 0;
}

static void
neighbours_are_known(void **state)
{
    struct net net;
    struct frame f;
    const struct ctr_address gateway = six("fd58::1"), b6 = address6(B);
    net_up_as(&net, dual_network(), NULL);
    int a = attach6(&net, "a", A), b = attach6(&net, "b", B), c = attach6(&net, "c", C);
    send_frame(a, solicit(A, gateway));
    expect(&net, a, &f);
    assert_int_equal(f.parsed.icmp_type, SW_ADVERTISE);
    assert_true(sw_same(&f.parsed.neighbour, &gateway) && sum_is_right(&f));
    send_frame(a, echo6(GATEWAY, A, gateway));
    expect(&net, a, &f);
    assert_int_equal(f.parsed.icmp_type, SW_ECHO6 + 1);
    assert_true(sw_same(&f.parsed.source, &gateway) && sum_is_right(&f));
    send_frame(a, solicit(A, b6)); /* to B alone */
    expect(&net, b, &f);
    assert_int_equal(f.parsed.icmp_type, SW_SOLICIT);
    send_frame(a, echo6(B, A, b6));
    expect(&net, b, &f);
    assert_int_equal(f.parsed.icmp_type, SW_ECHO6);
    uint8_t router[16] = {134};
    struct frame ra = ipv6(B, A, six("ff02::1"), SW_ICMPV6, router, sizeof router, 2);
    memcpy(ra.bytes, "\x33\x33\0\0\0\1", 6);
    put(a, &ra);
    nothing(&net, b);
    nothing(&net, c);
    assert_int_equal(stats_of(&net, "a").spoofed, 1);
    /* No pings leave by IPv6 here: the container is told at once. */
    send_frame(a, echo6(GATEWAY, A, six("2001:db8::1")));
    expect(&net, a, &f);
    assert_int_equal(f.parsed.icmp_type, 1);
    (void) close(a);
    (void) close(b);
    (void) close(c);
    net_down(&net);
}

static void
resolver_is_asked_by_udp(void **state)
{
    static uint8_t large[3000];
    struct net net;
    struct frame f;
    struct ctr_error err = CTR_ERROR_INIT;
    net_up(&net, true, NULL); /* an internal network has one too */
    int a = attach(&net, "a", A);
    send_frame(a, udp(GATEWAY, A, 5353, GATEWAY, 53, "who is web?"));
    wait_for(&net, -1, 0, WAIT_MS);
    assert_string_equal(net.asker, "a");
    assert_string_equal(net.question, "who is web?");
    answer(&net, "me", 2);
    expect(&net, a, &f);
    assert_int_equal(source_of(&f), GATEWAY);
    assert_int_equal(f.parsed.source_port, 53);
    assert_int_equal(f.parsed.target_port, 5353);
    assert_memory_equal(f.parsed.payload + 8, "me", 2);
    assert_true(sum_is_right(&f));
    send_frame(a, udp(GATEWAY, A, 5353, GATEWAY, 53, "all of it"));
    wait_for(&net, -1, 0, WAIT_MS);
    answer(&net, large, sizeof large);
    for (size_t got = 0; got < 8 + sizeof large; got += f.parsed.payload_length) {
        expect(&net, a, &f);
        assert_true(f.length <= SW_ETHER + 1500);
        assert_int_equal((sw_get16(f.bytes + 20) & 0x1fff) * 8, got);
    }
    /* No answer, and one for a port that has gone: nothing happens. */
    send_frame(a, udp(GATEWAY, A, 5353, GATEWAY, 53, "nobody?"));
    wait_for(&net, -1, 0, WAIT_MS);
    answer(&net, NULL, 0);
    send_frame(a, udp(GATEWAY, A, 5353, GATEWAY, 53, "late?"));
    wait_for(&net, -1, 0, WAIT_MS);
    assert_int_equal(ops.detach(net.self, "a", &err), 0);
    int again = attach(&net, "a", A);
    answer(&net, "late", 4);
    nothing(&net, again);
    (void) close(a);
    (void) close(again);
    net_down(&net);
}

static void
questions_are_bounded(void **state)
{
    struct net net;
    struct frame f;
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A);
    const struct frame question = udp(GATEWAY, A, 1, GATEWAY, 53, "?");
    void (*held[300])(void *, const void *, size_t);
    void *args[300];
    size_t n = 0;
    for (int i = 0; i < 300; i++) { /* none of which is answered */
        put(a, &question);
        wait_for(&net, -1, 0, 20);
        if (net.answer != NULL) {
            held[n] = net.answer;
            args[n++] = net.answer_arg;
            net.answer = NULL;
        } else {
            break;
        }
    }
    assert_int_equal(n, 256);
    send_frame(a, ping(GATEWAY, A, GATEWAY)); /* all else goes on */
    expect(&net, a, &f);
    while (n-- > 0) {
        held[n](args[n], NULL, 0);
    }
    (void) close(a);
    net_down(&net);
}

/* Opens a connection to the resolver; returns the core's end. */
static int
open_stream(struct net *net, int fd, struct tcp *t)
{
    struct frame f;
    send_frame(fd, tcp(t, SW_TCP_SYN, ""));
    expect_proto(net, fd, SW_TCP, &f);
    assert_int_equal(f.parsed.tcp_flags, SW_TCP_SYN | SW_TCP_ACK);
    assert_true(sum_is_right(&f));
    t->seq++;
    t->ack = sw_get32(f.parsed.payload + 4) + 1;
    send_frame(fd, tcp(t, SW_TCP_ACK, ""));
    wait_for(net, -1, 0, WAIT_MS);
    assert_true(net->stream >= 0);
    return net->stream;
}

static void
resolver_is_asked_by_tcp(void **state)
{
    struct net net;
    struct frame f;
    char text[64];
    net_up(&net, true, NULL);
    int a = attach(&net, "a", A);
    struct tcp t = {.from = A, .to = GATEWAY, .from_port = 900, .to_port = 53, .seq = 7};
    int core = open_stream(&net, a, &t);
    assert_string_equal(net.asker, "a");
    send_frame(a, tcp(&t, SW_TCP_ACK | SW_TCP_PSH, "question"));
    assert_true(wait_for(&net, core, CTR_READABLE, WAIT_MS));
    assert_int_equal(read(core, text, sizeof text), 8);
    expect_proto(&net, a, SW_TCP, &f);
    t.seq += 8;
    assert_int_equal(sw_get32(f.parsed.payload + 8), t.seq);
    send_frame(a, tcp(&t, SW_TCP_ACK, "")); /* known; then a gap: the same number is told */
    t.seq += 100;
    send_frame(a, tcp(&t, SW_TCP_ACK, "later"));
    t.seq -= 100;
    expect_proto(&net, a, SW_TCP, &f);
    assert_int_equal(sw_get32(f.parsed.payload + 8), t.seq);
    /* A long answer, of which the first piece is lost. */
    static char large[12000];
    memset(large, 'x', sizeof large);
    assert_int_equal(write(core, large, sizeof large), sizeof large);
    (void) close(core);
    expect_proto(&net, a, SW_TCP, &f);
    assert_int_equal(sw_get32(f.parsed.payload + 4), t.ack);
    size_t got = 0;
    bool fin = false;
    while (!fin) {
        expect_proto(&net, a, SW_TCP, &f);
        size_t n = f.parsed.payload_length - 20;
        if (sw_get32(f.parsed.payload + 4) != t.ack) {
            continue; /* from behind the gap */
        }
        got += n;
        t.ack += (uint32_t) n;
        fin = (f.parsed.tcp_flags & SW_TCP_FIN) != 0;
        t.ack += fin;
        send_frame(a, tcp(&t, SW_TCP_ACK, ""));
    }
    assert_int_equal(got, sizeof large);
    send_frame(a, tcp(&t, SW_TCP_FIN | SW_TCP_ACK, ""));
    expect_proto(&net, a, SW_TCP, &f);
    assert_int_equal(sw_get32(f.parsed.payload + 8), t.seq + 1);
    t.seq++;
    send_frame(a, tcp(&t, SW_TCP_ACK, "")); /* it is over: whoever goes on is a stranger */
    expect_proto(&net, a, SW_TCP, &f);
    assert_int_equal(f.parsed.tcp_flags & SW_TCP_RST, SW_TCP_RST);
    (void) close(a);
    net_down(&net);
}

static void
streams_end_with_their_port(void **state)
{
    struct net net;
    struct frame f;
    struct ctr_error err = CTR_ERROR_INIT;
    char text[8];
    int cores[16];
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A);
    for (uint16_t i = 0; i < CTR_LENGTH(cores); i++) {
        struct tcp t = {
            .from = A, .to = GATEWAY, .from_port = (uint16_t) (900 + i), .to_port = 53};
        cores[i] = open_stream(&net, a, &t);
        net.stream = -1;
    }
    struct tcp more = {.from = A, .to = GATEWAY, .from_port = 100, .to_port = 53};
    send_frame(a, tcp(&more, SW_TCP_SYN, ""));
    expect_proto(&net, a, SW_TCP, &f);
    assert_int_equal(f.parsed.tcp_flags, SW_TCP_RST | SW_TCP_ACK);
    assert_int_equal(ops.detach(net.self, "a", &err), 0);
    for (size_t i = 0; i < CTR_LENGTH(cores); i++) {
        assert_true(wait_for(&net, cores[i], CTR_READABLE, WAIT_MS));
        assert_int_equal(read(cores[i], text, sizeof text), 0);
        (void) close(cores[i]);
    }
    (void) close(a);
    net_down(&net);
}

static void
isolated_ports_are_alone(void **state)
{
    struct ctr_network network = dual_network();
    struct net net;
    struct frame f;
    network.isolated = 1;
    net_up_as(&net, network, NULL);
    int a = attach6(&net, "a", A), b = attach6(&net, "b", B);
    know_gateway(&net, a, A);
    send_frame(a, arp(A, A, B));
    send_frame(a, ping(B, A, B));
    send_frame(a, udp(GATEWAY, A, 1, 0xffffffff, 9, "to all"));
    send_frame(a, solicit(A, address6(B)));
    send_frame(a, echo6(B, A, address6(B)));
    struct frame all = ping(B, A, 0xffffffff);
    memset(all.bytes, 0xff, 6);
    put(a, &all);
    nothing(&net, b);
    send_frame(a, ping(GATEWAY, A, B)); /* nor by way of the gateway */
    expect_refused(&net, a);
    send_frame(a, ping(GATEWAY, A, GATEWAY));
    expect(&net, a, &f);
    assert_int_equal(f.parsed.payload[0], 0);
    (void) close(a);
    (void) close(b);
    net_down(&net);
}

/* The host's own loopback: by network.host alone, and for those who may. */
static void
host_is_reached(void **state)
{
    struct net net;
    struct frame f;
    uint16_t tcp_port, open_port, udp_port;
    char text[16];
    int fd, listener = host_socket(SOCK_STREAM, 0x7f000001, &tcp_port);
    int opened = host_socket(SOCK_STREAM, 0x7f000001, &open_port);
    int receiver = host_socket(SOCK_DGRAM, 0x7f000001, &udp_port);
    char list[32];
    (void) snprintf(list, sizeof list, "1, %u", open_port);
    net_up_as(&net, dual_network(), json_pack("{s:s}", "host_ports", list));
    const struct ctr_port_spec spec = {
        .id = "a", .address = A, .address6 = address6(A), .flags = CTR_PORT_HOST};
    assert_int_equal(attach_spec(&net, spec, &fd), 0);
    int a = fd, b = attach6(&net, "b", B);
    /* B may not, but for the profile's port; A may. */
    struct tcp t = {.from = B, .to = HOST, .from_port = 1000, .to_port = tcp_port, .seq = 1};
    send_frame(b, tcp(&t, SW_TCP_SYN, ""));
    expect_refused(&net, b);
    send_frame(b, udp(GATEWAY, B, 1, HOST, udp_port, "x"));
    expect_refused(&net, b);
    t.to_port = open_port;
    send_frame(b, tcp(&t, SW_TCP_SYN, ""));
    expect_proto(&net, b, SW_TCP, &f);
    assert_int_equal(f.parsed.tcp_flags, SW_TCP_SYN | SW_TCP_ACK);
    assert_int_equal(source_of(&f), HOST);
    t.from = A;
    t.to_port = tcp_port;
    send_frame(a, tcp(&t, SW_TCP_SYN, ""));
    expect_proto(&net, a, SW_TCP, &f);
    assert_int_equal(f.parsed.tcp_flags, SW_TCP_SYN | SW_TCP_ACK);
    send_frame(a, udp(GATEWAY, A, 1, HOST, udp_port, "hello"));
    assert_true(wait_for(&net, receiver, CTR_READABLE, WAIT_MS));
    assert_int_equal(recv(receiver, text, sizeof text, MSG_DONTWAIT), 5);
    /* Every other way to the loopback is closed, for A too. */
    const uint32_t ways[] = {GATEWAY, 0x7f000001, 0, NET + 255, NET};
    const char *const ways6[] = {"fd58::1", "::1", "::ffff:127.0.0.1", "fd58::99", "fd58::"};
    for (size_t i = 0; i < CTR_LENGTH(ways); i++) {
        t.to = ways[i];
        send_frame(a, tcp(&t, SW_TCP_SYN, ""));
        expect_refused(&net, a);
        send_frame(a, udp(GATEWAY, A, 1, ways[i], udp_port, "evil"));
        expect_refused(&net, a);
    }
    for (size_t i = 0; i < CTR_LENGTH(ways6); i++) {
        send_frame(a, tcp6(A, six(ways6[i]), 1, tcp_port, 1, 0, SW_TCP_SYN, ""));
        expect(&net, a, &f);
        assert_int_equal(f.parsed.icmp_type, 1);
    }
    send_frame(a, tcp6(A, six("ff02::1"), 1, tcp_port, 1, 0, SW_TCP_SYN, ""));
    send_frame(a, udp(GATEWAY, A, 1, 0xffffffff, udp_port, "evil"));
    nothing(&net, a);
    assert_false(wait_for(&net, receiver, CTR_READABLE, QUIET_MS));
    assert_true(accept(listener, NULL, NULL) >= 0); /* A's own; and nobody else's */
    assert_int_equal(accept(listener, NULL, NULL), -1);
    (void) close(a);
    (void) close(b);
    (void) close(listener);
    (void) close(opened);
    (void) close(receiver);
    net_down(&net);
}

static void
denied_is_told(void **state)
{
    struct ctr_network network = plain_network();
    struct net net;
    struct ctr_error err = CTR_ERROR_INIT;
    uint32_t outside = own_address();
    uint16_t port;
    struct frame f;
    if (outside == 0) {
        skip();
    }
    network.egress_deny = 1;
    int listener = host_socket(SOCK_STREAM, outside, &port);
    net_up_as(&net, network, json_pack("{s:s}", "host_access", "yes"));
    int a = attach(&net, "a", A);
    struct tcp t = {.from = A, .to = outside, .from_port = 9, .to_port = port, .seq = 1};
    send_frame(a, tcp(&t, SW_TCP_SYN, ""));
    expect_refused(&net, a);
    assert_int_equal(net.n_refused, 1);
    assert_int_equal(sw_ipv4_value(&net.refused), outside);
    assert_int_equal(net.refused_port, port);
    assert_int_equal(stats_of(&net, "a").refused, 1);
    const struct ctr_net_rule rule = {.size = sizeof rule,
                                      .prefix = 32,
                                      .address = sw_ipv4(outside),
                                      .seconds = 60,
                                      .port = port};
    assert_int_equal(ops.allow(net.self, &rule, &err), 0);
    send_frame(a, tcp(&t, SW_TCP_SYN, ""));
    expect_proto(&net, a, SW_TCP, &f);
    assert_int_equal(f.parsed.tcp_flags, SW_TCP_SYN | SW_TCP_ACK);
    assert_int_equal(net.n_refused, 1);
    (void) close(a);
    (void) close(listener);
    net_down(&net);
}

static void
large_frames_pass_between_ports(void **state)
{
    static uint8_t payload[65500];
    struct ctr_network network = plain_network();
    struct net net;
    static struct frame f, large;
    network.mtu = 65520;
    net_up_as(&net, network, NULL);
    int a = attach(&net, "a", A), b = attach(&net, "b", B);
    sw_put16(payload + 4, sizeof payload);
    large = ipv4(B, A, B, SW_UDP, payload, sizeof payload);
    for (int i = 0; i < 40; i++) {
        put(a, &large);
        expect(&net, b, &f);
        assert_int_equal(f.length, large.length);
    }
    large = ipv4(GATEWAY, A, 0x08080808, SW_UDP, payload, sizeof payload);
    put(a, &large);
    expect(&net, a, &f);
    assert_int_equal(f.parsed.payload[1], 4); /* fragmentation needed */
    assert_int_equal(sw_get16(f.parsed.payload + 6), 1500);
    (void) close(a);
    (void) close(b);
    net_down(&net);
}

static void
frames_are_captured(void **state)
{
    struct net net;
    struct frame f;
    struct ctr_error err = CTR_ERROR_INIT;
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A), b = attach(&net, "b", B);
    assert_int_equal(ops.capture(net.self, "b", 1, &err), 0);
    send_frame(a, ping(B, A, B));
    expect(&net, b, &f);
    assert_int_equal(net.n_captured[0], 1);
    assert_int_equal(net.n_captured[1], 0);
    assert_int_equal(ops.capture(net.self, NULL, 1, &err), 0);
    send_frame(a, ping(B, A, B));
    expect(&net, b, &f);
    assert_int_equal(net.n_captured[0], 2);
    assert_int_equal(net.n_captured[1], 1);
    assert_int_equal(ops.capture(net.self, NULL, 0, &err), 0);
    assert_int_equal(ops.capture(net.self, "b", 0, &err), 0);
    assert_int_equal(ops.capture(net.self, "c", 1, &err), -ENOENT);
    send_frame(a, ping(B, A, B));
    expect(&net, b, &f);
    assert_int_equal(net.n_captured[0] + net.n_captured[1], 3);
    (void) close(a);
    (void) close(b);
    net_down(&net);
}

static int
publish6(struct net *net, uint32_t proto, struct ctr_address host, uint16_t *host_port,
         struct ctr_address to)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_publish p = {
        .size = sizeof p,
        .proto = proto,
        .host_port = *host_port,
        .port = 80,
        .host_address6 = host,
        .address6 = to,
    };
    int code = ops.publish(net->self, &p, &err);
    *host_port = p.host_port;
    return code;
}

static int
connect6(int type, uint16_t port)
{
    int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in6 name = {
        .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = htons(port)};
    if (connect(fd, (struct sockaddr *) &name, sizeof name) != 0) {
        assert_int_equal(errno, EINPROGRESS);
    }
    return fd;
}

static void
ports_are_published_by_ipv6(void **state)
{
    const struct ctr_address any = six("::"), local = six("::1"), gateway = six("fd58::1");
    struct net net;
    struct frame f;
    uint16_t tcp_port = 0, udp_port = 0, none = 0;
    char text[16];
    net_up_as(&net, dual_network(), NULL);
    int a = attach6(&net, "a", A);
    if (publish6(&net, CTR_PROTO_TCP, local, &tcp_port, address6(A)) != 0) {
        net_down(&net);
        skip(); /* this machine has no IPv6 */
    }
    assert_int_equal(publish6(&net, CTR_PROTO_UDP, any, &udp_port, address6(A)), 0);
    assert_int_equal(publish6(&net, CTR_PROTO_TCP, any, &none, sw_ipv4(A)), -EAFNOSUPPORT);
    assert_int_equal(publish6(&net, 132, any, &none, address6(A)), -EPROTONOSUPPORT);
    int again = host_socket(SOCK_STREAM, 0x7f000001, &none); /* IPv4 ports are not among them */
    int client = connect6(SOCK_STREAM, tcp_port);
    expect_proto(&net, a, SW_TCP, &f);
    assert_int_equal(f.parsed.target_port, 80);
    assert_true(sw_same(&f.parsed.source, &gateway) && sum_is_right(&f));
    uint32_t ack = sw_get32(f.parsed.payload + 4) + 1;
    uint16_t peer = f.parsed.source_port;
    send_frame(a, tcp6(A, gateway, 80, peer, 500, ack, SW_TCP_SYN | SW_TCP_ACK, ""));
    expect_proto(&net, a, SW_TCP, &f);
    send_frame(a, tcp6(A, gateway, 80, peer, 501, ack, SW_TCP_ACK, "HELLO"));
    assert_true(wait_for(&net, client, CTR_READABLE, WAIT_MS));
    assert_int_equal(read(client, text, sizeof text), 5);
    int asker = connect6(SOCK_DGRAM, udp_port);
    assert_int_equal(write(asker, "question", 8), 8);
    expect_proto(&net, a, SW_UDP, &f);
    assert_true(sw_same(&f.parsed.source, &gateway) && sum_is_right(&f));
    uint8_t p[14] = {0, 80, [5] = 14};
    memcpy(p + 8, "answer", 6);
    sw_put16(p + 2, f.parsed.source_port);
    send_frame(a, ipv6(GATEWAY, A, gateway, SW_UDP, p, sizeof p, 6));
    assert_true(wait_for(&net, asker, CTR_READABLE, WAIT_MS));
    assert_int_equal(read(asker, text, sizeof text), 6);
    (void) close(client);
    (void) close(asker);
    (void) close(again);
    (void) close(a);
    net_down(&net);
}

/* ctr-net ends and comes again: the VM's end of the pair never notices. */
static void
ports_come_back(void **state)
{
    struct net net;
    struct frame f;
    struct ctr_error err = CTR_ERROR_INIT;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    struct ctr_port port = {.size = sizeof port, .fd = -1};
    struct ctr_port_spec spec = {
        .size = sizeof spec, .kind = CTR_PORT_DGRAM, .id = "a", .address = A};
    mac_of(A, spec.mac);
    for (int i = 0; i < 3; i++) {
        net_up(&net, false, NULL);
        spec.fd = dup(fds[0]); /* the sandbox keeps the other */
        assert_int_equal(ops.attach(net.self, &spec, &port, &err), 0);
        send_frame(fds[1], ping(GATEWAY, A, GATEWAY));
        expect(&net, fds[1], &f);
        net_down(&net);
        send_frame(fds[1], ping(GATEWAY, A, GATEWAY)); /* waits for the next one */
        if (i < 2) {
            continue;
        }
        net_up(&net, false, NULL);
        spec.fd = dup(fds[0]);
        assert_int_equal(ops.attach(net.self, &spec, &port, &err), 0);
        expect(&net, fds[1], &f);
        net_down(&net);
    }
    (void) close(fds[0]);
    (void) close(fds[1]);
}

static void
networks_are_checked(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct net net;
    int fd;
    net_up_as(&net, dual_network(), NULL);
    const struct ctr_address foreign = six("fd59::2"), gateway = six("fd58::1");
    struct ctr_port_spec spec = {.id = "a", .address = A, .address6 = foreign};
    assert_int_equal(attach_spec(&net, spec, &fd), -EINVAL);
    spec.address6 = gateway;
    assert_int_equal(attach_spec(&net, spec, &fd), -EINVAL);
    int a = attach6(&net, "a", A);
    spec = (struct ctr_port_spec){.id = "b", .address = B, .address6 = address6(A)};
    assert_int_equal(attach_spec(&net, spec, &fd), -EADDRINUSE);
    spec = (struct ctr_port_spec){
        .size = sizeof spec, .kind = CTR_PORT_DGRAM, .id = "b", .address = B, .fd = -1};
    struct ctr_port port = {.size = sizeof port};
    assert_int_equal(ops.attach(net.self, &spec, &port, &err), -EOPNOTSUPP);
    (void) close(a);
    net_down(&net);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_are_known),
        cmocka_unit_test(resolver_is_asked_by_udp),
        cmocka_unit_test(questions_are_bounded),
        cmocka_unit_test(resolver_is_asked_by_tcp),
        cmocka_unit_test(streams_end_with_their_port),
        cmocka_unit_test(isolated_ports_are_alone),
        cmocka_unit_test(host_is_reached),
        cmocka_unit_test(denied_is_told),
        cmocka_unit_test(large_frames_pass_between_ports),
        cmocka_unit_test(frames_are_captured),
        cmocka_unit_test(ports_are_published_by_ipv6),
        cmocka_unit_test(ports_come_back),
        cmocka_unit_test(networks_are_checked),
    };
    return cmocka_run_group_tests_name("switch-own", tests, load, NULL);
}
