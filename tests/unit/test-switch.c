/*
 * net-switch: who may send what to whom, by IPv4, and ports that are published. See tests/switch-net.h.
 */
#include "tests/switch-net.h"

static void
gateway_answers(void **state)
{
    struct net net;
    struct frame f;
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A);
    know_gateway(&net, a, A);
    send_frame(a, ping(GATEWAY, A, GATEWAY));
    expect(&net, a, &f);
    assert_int_equal(f.parsed.proto, SW_ICMP);
    assert_int_equal(f.parsed.payload[0], 0);
    assert_int_equal(source_of(&f), GATEWAY);
    (void) close(a);
    net_down(&net);
}

static void
ports_talk(void **state)
{
    struct net net;
    struct frame f, sent = ping(B, A, B);
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A), b = attach(&net, "b", B), c = attach(&net, "c", C);
    put(a, &sent);
    expect(&net, b, &f);
    assert_int_equal(f.length, sent.length);
    assert_memory_equal(f.bytes, sent.bytes, sent.length);
    send_frame(a, arp(A, A, B)); /* a question goes to the one that it is for */
    expect(&net, b, &f);
    assert_int_equal(source_of(&f), A);
    nothing(&net, c);
    nothing(&net, a);
    assert_int_equal(dropped(&net, "a"), 0);
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_net_stats stats = {.size = sizeof stats};
    assert_int_equal(ops.stats(net.self, "b", &stats, &err), 0);
    assert_int_equal(stats.rx_frames, 2);
    assert_int_equal(stats.rx_bytes, sent.length + SW_ETHER + SW_ARP);
    (void) close(a);
    (void) close(b);
    (void) close(c);
    net_down(&net);
}

static void
spoofed_frames_are_dropped(void **state)
{
    struct net net;
    struct frame f;
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A), b = attach(&net, "b", B);
    send_frame(a, arp(C, A, B)); /* another's MAC */
    send_frame(a, arp(A, C, B)); /* another's address */
    send_frame(a, arp(A, GATEWAY, B));
    f = arp(A, A, B);
    mac_of(C, f.bytes + 22); /* MAC only inside the ARP */
    put(a, &f);
    f = ping(B, C, B);
    put(a, &f);
    mac_of(A, f.bytes + 6); /* own MAC, another's address */
    put(a, &f);
    f = ping(B, A, B);
    mac_of(C, f.bytes + 6);
    put(a, &f);
    nothing(&net, b);
    assert_int_equal(dropped(&net, "a"), 7);
    (void) close(a);
    (void) close(b);
    net_down(&net);
}

static void
other_protocols_are_dropped(void **state)
{
    static const uint16_t types[] = {0x86dd, 0x8100, 0x88f8, 0x0000, 0x05dc, 0x888e};
    struct net net;
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A), b = attach(&net, "b", B);
    for (size_t i = 0; i < CTR_LENGTH(types); i++) {
        struct frame f = ping(B, A, B);
        sw_put16(f.bytes + 12, types[i]);
        put(a, &f);
    }
    struct frame f = ping(B, A, B);
    for (size_t n = 1; n < SW_ETHER + SW_IPV4; n++) { /* cut short */
        assert_int_equal(send(a, f.bytes, n, 0), (ssize_t) n);
    }
    f.length = 1519; /* too long */
    put(a, &f);
    nothing(&net, b);
    assert_int_equal(dropped(&net, "a"), CTR_LENGTH(types) + SW_ETHER + SW_IPV4 - 1 + 1);
    (void) close(a);
    (void) close(b);
    net_down(&net);
}

static void
host_is_closed(void **state)
{
    const uint32_t closed[] = {GATEWAY,    HOST,       0x7f000001, 0x7f000002, 0,
                               0x00000001, 0xa9fea9fe, B,          0x646464c8, own_address()};
    struct net net;
    uint16_t tcp_port, udp_port;
    int listener = host_socket(SOCK_STREAM, 0, &tcp_port);
    int receiver = host_socket(SOCK_DGRAM, 0, &udp_port);
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A);
    know_gateway(&net, a, A);
    for (size_t i = 0; i < CTR_LENGTH(closed); i++) {
        struct tcp t = {
            .from = A, .to = closed[i], .from_port = 1000, .to_port = tcp_port, .seq = 1};
        send_frame(a, tcp(&t, SW_TCP_SYN, ""));
        expect_refused(&net, a);
        send_frame(a, tcp(&t, SW_TCP_SYN | 0x08, "")); /* with PSH */
        expect_refused(&net, a);
        send_frame(a, udp(GATEWAY, A, 1000, closed[i], udp_port, "x"));
        expect_refused(&net, a);
    }
    send_frame(a, udp(GATEWAY, A, 1000, 0xffffffff, udp_port, "x"));
    send_frame(a, udp(GATEWAY, A, 1000, 0xe0000001, udp_port, "x"));
    nothing(&net, a);
    assert_false(wait_for(&net, listener, CTR_READABLE, QUIET_MS));
    assert_false(wait_for(&net, receiver, CTR_READABLE, QUIET_MS));
    (void) close(a);
    (void) close(listener);
    (void) close(receiver);
    net_down(&net);
}

/* What could carry a forbidden header past the checks. */
/* With host_access, this machine's own address is an outside that needs no network. */
static void
outside_answers(void **state)
{
    uint32_t outside = own_address();
    struct net net;
    struct frame f;
    uint16_t tcp_port, udp_port;
    if (outside == 0) {
        skip();
    }
    int listener = host_socket(SOCK_STREAM, outside, &tcp_port);
    int receiver = host_socket(SOCK_DGRAM, outside, &udp_port);
    net_up(&net, false, json_pack("{s:s}", "host_access", "yes"));
    int a = attach(&net, "a", A);
    know_gateway(&net, a, A);

    struct tcp t = {
        .from = A, .to = outside, .from_port = 1000, .to_port = tcp_port, .seq = 100};
    send_frame(a, tcp(&t, SW_TCP_SYN, ""));
    expect_proto(&net, a, SW_TCP, &f);
    assert_int_equal(f.parsed.tcp_flags, SW_TCP_SYN | SW_TCP_ACK);
    t.seq++;
    t.ack = sw_get32(f.parsed.payload + 4) + 1;
    send_frame(a, tcp(&t, SW_TCP_ACK, "hello"));
    assert_true(wait_for(&net, listener, CTR_READABLE, WAIT_MS));
    int server = accept(listener, NULL, NULL);
    assert_true(server >= 0 && wait_for(&net, server, CTR_READABLE, WAIT_MS));
    char text[16] = "";
    assert_int_equal(read(server, text, sizeof text), 5);
    assert_string_equal(text, "hello");

    send_frame(a, udp(GATEWAY, A, 2000, outside, udp_port, "question"));
    assert_true(wait_for(&net, receiver, CTR_READABLE, WAIT_MS));
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    assert_int_equal(
        recvfrom(receiver, text, sizeof text, 0, (struct sockaddr *) &from, &length), 8);
    assert_int_equal(sendto(receiver, "answer", 6, 0, (struct sockaddr *) &from, length), 6);
    expect_proto(&net, a, SW_UDP, &f);
    assert_int_equal(source_of(&f), outside);
    assert_int_equal(f.parsed.target_port, 2000);
    assert_memory_equal(f.parsed.payload + 8, "answer", 6);
    (void) close(server);
    (void) close(a);
    (void) close(listener);
    (void) close(receiver);
    net_down(&net);
}

static void
flows_are_limited(void **state)
{
    uint32_t outside = own_address();
    struct net net;
    struct frame f;
    uint16_t port;
    if (outside == 0) {
        skip();
    }
    int listener = host_socket(SOCK_STREAM, outside, &port);
    net_up(&net, false, json_pack("{s:s, s:s}", "host_access", "yes", "flows", "3"));
    int a = attach(&net, "a", A);
    know_gateway(&net, a, A);
    int b = attach(&net, "b", B);
    know_gateway(&net, b, B);
    struct tcp t = {.from = A, .to = outside, .to_port = port};
    for (uint16_t i = 0; i < 3; i++) {
        t.from_port = (uint16_t) (1000 + i);
        send_frame(a, tcp(&t, SW_TCP_SYN, ""));
        expect_proto(&net, a, SW_TCP, &f);
    }
    t.from_port = 2000;
    uint64_t before = dropped(&net, "a");
    send_frame(a, tcp(&t, SW_TCP_SYN, ""));
    nothing(&net, a);
    assert_int_equal(dropped(&net, "a"), before + 1);
    t.from = B; /* others have their own share */
    send_frame(b, tcp(&t, SW_TCP_SYN, ""));
    expect_proto(&net, b, SW_TCP, &f);
    (void) close(a);
    (void) close(b);
    (void) close(listener);
    net_down(&net);
}

static void
tcp_is_published(void **state)
{
    struct net net;
    struct frame f;
    uint16_t port = 0, again, foreign = 1;
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A);
    know_gateway(&net, a, A);
    assert_int_equal(publish(&net, CTR_PROTO_TCP, 0x7f000001, &port, 80, A), 0);
    assert_int_not_equal(port, 0);
    again = port;
    assert_int_equal(publish(&net, CTR_PROTO_TCP, 0x7f000001, &again, 80, A), -EADDRINUSE);
    assert_int_equal(publish(&net, CTR_PROTO_TCP, 0xc0000201, &foreign, 80, A), -EADDRNOTAVAIL);
    assert_int_equal(publish(&net, CTR_PROTO_TCP, 0, &foreign, 80, B), -ENOENT);

    int client = host_connect(SOCK_STREAM, 0x7f000001, port);
    expect_proto(&net, a, SW_TCP, &f);
    assert_int_equal(f.parsed.tcp_flags, SW_TCP_SYN);
    assert_int_equal(f.parsed.target_port, 80);
    struct tcp t = {
        .from = A,
        .to = source_of(&f),
        .from_port = 80,
        .to_port = f.parsed.source_port,
        .seq = 500,
        .ack = sw_get32(f.parsed.payload + 4) + 1,
    };
    send_frame(a, tcp(&t, SW_TCP_SYN | SW_TCP_ACK, ""));
    expect_proto(&net, a, SW_TCP, &f);
    t.seq++;
    assert_int_equal(write(client, "GET", 3), 3);
    expect_proto(&net, a, SW_TCP, &f);
    assert_memory_equal(f.parsed.payload + 20, "GET", 3);
    t.ack += 3;
    send_frame(a, tcp(&t, SW_TCP_ACK, "HELLO"));
    char text[16];
    assert_true(wait_for(&net, client, CTR_READABLE, WAIT_MS));
    assert_int_equal(read(client, text, sizeof text), 5);

    /* The container goes: its clients learn it, and the host port is free. */
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ops.detach(net.self, "a", &err), 0);
    assert_true(wait_for(&net, client, CTR_READABLE, WAIT_MS));
    assert_int_equal(read(client, text, sizeof text), 0);
    int b = attach(&net, "b", B);
    assert_int_equal(publish(&net, CTR_PROTO_TCP, 0x7f000001, &port, 80, B), 0);
    struct ctr_publish p = {.size = sizeof p,
                            .proto = CTR_PROTO_TCP,
                            .host_address = 0x7f000001,
                            .host_port = port,
                            .address = B};
    assert_int_equal(ops.unpublish(net.self, &p, &err), 0);
    assert_int_equal(ops.unpublish(net.self, &p, &err), -ENOENT);
    (void) close(client);
    (void) close(a);
    (void) close(b);
    net_down(&net);
}

static void
udp_is_published(void **state)
{
    struct net net;
    struct frame f;
    uint16_t port = 0, again, secret_port;
    char text[16];
    int secret = host_socket(SOCK_DGRAM, 0x7f000001, &secret_port);
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A);
    know_gateway(&net, a, A);
    assert_int_equal(publish(&net, CTR_PROTO_UDP, 0, &port, 53, A), 0);
    again = port;
    assert_int_equal(publish(&net, CTR_PROTO_UDP, 0, &again, 53, A), -EADDRINUSE);
    int client = host_connect(SOCK_DGRAM, 0x7f000002, port);
    assert_int_equal(write(client, "question", 8), 8);
    expect_proto(&net, a, SW_UDP, &f);
    assert_int_equal(f.parsed.target_port, 53);
    assert_int_equal(source_of(&f), HOST);
    struct frame asked; /* a neighbour, for the container: it asks for its MAC */
    send_frame(a, arp(A, A, HOST));
    expect(&net, a, &asked);
    assert_int_equal(source_of(&asked), HOST);
    assert_int_equal(
        transport_sum(source_of(&f), A, SW_UDP, f.parsed.payload, f.parsed.payload_length), 0);
    struct frame reply = udp(GATEWAY, A, 53, HOST, f.parsed.source_port, "answer");
    memcpy(reply.bytes, asked.parsed.arp_mac, 6);
    put(a, &reply);
    assert_true(wait_for(&net, client, CTR_READABLE, WAIT_MS));
    assert_int_equal(read(client, text, sizeof text),
                     6); /* from 127.0.0.2, where it was sent */
    /* The published port is no way to others on the host's loopback. */
    send_frame(a, udp(GATEWAY, A, 53, source_of(&f), secret_port, "evil"));
    expect_refused(&net, a);
    send_frame(a, udp(GATEWAY, A, 53, 0x7f000001, secret_port, "evil"));
    expect_refused(&net, a);
    assert_false(wait_for(&net, secret, CTR_READABLE, QUIET_MS));
    /* A long datagram comes in fragments. */
    static char large[4000];
    size_t got = 0;
    assert_int_equal(write(client, large, sizeof large), sizeof large);
    while (got < 8 + sizeof large) {
        expect(&net, a, &f);
        assert_true(f.length <= SW_ETHER + 1500);
        assert_int_equal((sw_get16(f.bytes + 20) & 0x1fff) * 8, got);
        got += f.parsed.payload_length;
    }
    assert_int_equal(sw_get16(f.bytes + 20) & 0x2000, 0);
    (void) close(client);
    (void) close(secret);
    (void) close(a);
    net_down(&net);
}

static void
internal_has_no_way_out(void **state)
{
    struct net net;
    struct frame f;
    uint16_t port = 0;
    net_up(&net, true, NULL);
    int a = attach(&net, "a", A), b = attach(&net, "b", B);
    know_gateway(&net, a, A); /* the resolver is there */
    send_frame(a, udp(GATEWAY, A, 1000, 0x08080808, 53, "x"));
    expect_refused(&net, a);
    send_frame(a, udp(GATEWAY, A, 1000, HOST, 53, "x"));
    expect_refused(&net, a);
    assert_int_equal(stats_of(&net, "a").refused, 2);
    assert_int_equal(publish(&net, CTR_PROTO_TCP, 0, &port, 80, A), -EOPNOTSUPP);
    send_frame(a, ping(B, A, B));
    expect(&net, b, &f);
    (void) close(a);
    (void) close(b);
    net_down(&net);
}

/* B does not read. A's frames to B are bounded, A and C do not notice, and B gets what was kept once it reads. */
static void
slow_vm_harms_nobody(void **state)
{
    struct net net;
    struct frame f, to_b = ping(B, A, B);
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A), b = attach(&net, "b", B), c = attach(&net, "c", C);
    to_b.length = 1514;
    size_t sent = 0;
    while (dropped(&net, "b") == 0) {
        assert_true(sent < 100000);
        for (int i = 0; i < 32; i++) {
            put(a, &to_b);
            sent++;
        }
        send_frame(a, ping(C, A, C)); /* comes last, so all before it was switched */
        expect(&net, c, &f);
    }
    size_t got = 0;
    while (got + dropped(&net, "b") < sent) {
        expect(&net, b, &f);
        got++;
    }
    nothing(&net, b);
    assert_true(got >= 256); /* A has its share of the queue */
    assert_int_equal(got + dropped(&net, "b"), sent);
    (void) close(a);
    (void) close(b);
    (void) close(c);
    net_down(&net);
}

/* C's one frame does not wait behind all that A has sent. */
static void
flood_starves_nobody(void **state)
{
    struct net net;
    struct frame f, to_b = ping(B, A, B);
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A), b = attach(&net, "b", B), c = attach(&net, "c", C);
    for (int i = 0; i < 500; i++) {
        put(a, &to_b);
    }
    send_frame(c, ping(B, C, B));
    int before = 0;
    for (expect(&net, b, &f); source_of(&f) != C; expect(&net, b, &f)) {
        before++;
    }
    assert_true(before <= 64);
    (void) close(a);
    (void) close(b);
    (void) close(c);
    net_down(&net);
}

static void
dead_vm_is_survived(void **state)
{
    struct net net;
    struct frame f;
    struct ctr_error err = CTR_ERROR_INIT;
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A), b = attach(&net, "b", B), c = attach(&net, "c", C);
    (void) close(b);
    for (int i = 0; i < 10; i++) {
        send_frame(a, ping(B, A, B));
    }
    send_frame(a, ping(C, A, C));
    expect(&net, c, &f);
    assert_int_equal(dropped(&net, "b"), 10);
    assert_int_equal(ops.detach(net.self, "b", &err), 0);
    assert_int_equal(ops.detach(net.self, "b", &err), -ENOENT);
    b = attach(&net, "b", B); /* its address is free again */
    send_frame(a, ping(B, A, B));
    expect(&net, b, &f);
    (void) close(a);
    (void) close(b);
    (void) close(c);
    net_down(&net);
}

static void
attach_is_checked(void **state)
{
    struct net net;
    int fd;
    net_up(&net, false, NULL);
    int a = attach(&net, "a", A);
    assert_int_equal(try_attach(&net, "a", B, &fd), -EEXIST);
    assert_int_equal(try_attach(&net, "b", A, &fd), -EADDRINUSE);
    assert_int_equal(try_attach(&net, "b", GATEWAY, &fd), -EINVAL);
    assert_int_equal(try_attach(&net, "b", HOST, &fd), -EINVAL);
    assert_int_equal(try_attach(&net, "b", 0x0a590002, &fd), -EINVAL);
    assert_int_equal(fd, -1);
    (void) close(a);
    net_down(&net);
}

/* --- a VM that acknowledges all, but takes nothing for a while --- */

#define STREAMS 5
#define STREAM (2 << 20)
static struct stream {
    int client;
    size_t sent;
    struct tcp t;
    uint32_t end, taken; /* behind the last byte that was on its way to the VM; that it took */
} streams[STREAMS];

static struct stream *
stream_of(const struct sw_frame *f, size_t *ret_data)
{
    *ret_data = f->payload_length - (size_t) (f->payload[12] >> 4) * 4;
    for (size_t i = 0; i < STREAMS; i++) {
        if (streams[i].t.to_port == f->source_port) {
            return &streams[i];
        }
    }
    return NULL;
}

static void
note_end(void *arg, const char *port, uint32_t from_vm, const void *bytes, size_t length)
{
    struct sw_frame f;
    size_t data;
    if (from_vm == 0 && sw_parse(bytes, length, &f) && f.proto == SW_TCP) {
        struct stream *s = stream_of(&f, &data);
        uint32_t stop = sw_get32(f.payload + 4) + (uint32_t) data;
        if (s != NULL && (int32_t) (stop - s->end) > 0) {
            s->end = stop;
        }
    }
}

static void
offer(struct stream *s)
{
    static const char text[65536];
    ssize_t n = 1;
    while (n > 0 && s->sent < STREAM) {
        size_t left = STREAM - s->sent;
        n = send(s->client, text, left < sizeof text ? left : sizeof text, MSG_DONTWAIT);
        s->sent += n > 0 ? (size_t) n : 0;
    }
}

/* Acknowledges and offers; true if there was something new. */
static bool
acknowledge(int fd, struct stream *s, uint32_t ack)
{
    bool ret = s->t.ack != ack;
    s->t.ack = ack;
    send_frame(fd, tcp(&s->t, SW_TCP_ACK, ""));
    offer(s);
    return ret;
}

static void
open_stream(struct net *net, int fd, uint16_t port, struct stream *s)
{
    static struct frame f;
    *s = (struct stream){.client = host_connect(SOCK_STREAM, 0x7f000001, port)};
    expect_proto(net, fd, SW_TCP, &f);
    s->end = s->taken = sw_get32(f.parsed.payload + 4) + 1;
    s->t = (struct tcp){.from = A,
                        .to = source_of(&f),
                        .from_port = 80,
                        .to_port = f.parsed.source_port,
                        .seq = 500,
                        .ack = s->end};
    send_frame(fd, tcp(&s->t, SW_TCP_SYN | SW_TCP_ACK, ""));
    s->t.seq++;
    expect_proto(net, fd, SW_TCP, &f);
}

/* Takes what is there: no byte is missing. How many came. */
static size_t
take_all(int fd)
{
    static struct frame f;
    size_t data, ret = 0;
    ssize_t n;
    while ((n = recv(fd, f.bytes, sizeof f.bytes, MSG_DONTWAIT)) > 0) {
        if (sw_parse(f.bytes, (size_t) n, &f.parsed) && f.parsed.proto == SW_TCP) {
            struct stream *s = stream_of(&f.parsed, &data);
            assert_non_null(s);
            assert_int_equal(sw_get32(f.parsed.payload + 4), s->taken);
            s->taken += (uint32_t) data;
            ret += data;
        }
    }
    return ret;
}

/* What comes from outside is held back at its senders, not dropped, also where acknowledgements bring it on; and goes on as soon as the VM does. */
static void
slow_vm_loses_nothing(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct net net;
    uint16_t port = 0;
    size_t taken = 0;
    net_up(&net, false, NULL);
    net.services.frame = note_end;
    int a = attach(&net, "a", A);
    know_gateway(&net, a, A);
    assert_int_equal(publish(&net, CTR_PROTO_TCP, 0x7f000001, &port, 80, A), 0);
    for (size_t i = 0; i < STREAMS; i++) {
        open_stream(&net, a, port, &streams[i]);
    }
    assert_int_equal(ops.capture(net.self, "a", 1, &err), 0);
    for (int idle = 0; idle < 20; idle++) {
        for (size_t i = 0; i < STREAMS; i++) {
            idle = acknowledge(a, &streams[i], streams[i].end) ? 0 : idle;
        }
        (void) wait_for(&net, -1, 0, 5);
    }
    assert_int_equal(dropped(&net, "a"), 0);
    while (taken < (size_t) STREAM * STREAMS) {
        assert_true(wait_for(&net, a, CTR_READABLE, 1000));
        taken += take_all(a);
        for (size_t i = 0; i < STREAMS; i++) {
            (void) acknowledge(a, &streams[i], streams[i].taken);
        }
    }
    assert_int_equal(dropped(&net, "a"), 0);
    for (size_t i = 0; i < STREAMS; i++) {
        (void) close(streams[i].client);
    }
    (void) close(a);
    net_down(&net);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gateway_answers),
        cmocka_unit_test(ports_talk),
        cmocka_unit_test(spoofed_frames_are_dropped),
        cmocka_unit_test(other_protocols_are_dropped),
        cmocka_unit_test(host_is_closed),
        cmocka_unit_test(outside_answers),
        cmocka_unit_test(flows_are_limited),
        cmocka_unit_test(tcp_is_published),
        cmocka_unit_test(slow_vm_loses_nothing),
        cmocka_unit_test(udp_is_published),
        cmocka_unit_test(internal_has_no_way_out),
        cmocka_unit_test(slow_vm_harms_nobody),
        cmocka_unit_test(flood_starves_nobody),
        cmocka_unit_test(dead_vm_is_survived),
        cmocka_unit_test(attach_is_checked),
    };
    return cmocka_run_group_tests_name("switch", tests, load, NULL);
}
