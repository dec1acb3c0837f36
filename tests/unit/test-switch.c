/*
 * net-switch over its real sockets: hand-made frames go in at a VM's end, and what comes out at others is looked at.
 *
 * The plugin runs on the real loop in this thread. "Outside" is this machine's own address on a network, opened by the option
 * host_access; without such an address those tests are skipped. Nothing here waits for time to pass but `nothing`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/plugin/plugin.h"
#include "plugins/net-switch/ether.h"
#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <signal.h>
#include <sys/socket.h>

#define WAIT_MS 5000
#define QUIET_MS 100
#define NET 0x0a580000U /* 10.88.0.0/24 */
#define GATEWAY (NET + 1)
#define UPLINK (NET + 254)
#define A (NET + 2)
#define B (NET + 3)
#define C (NET + 4)

static struct ctr_net_ops ops;
static const struct ctr_plugin *plugin;

struct net {
    struct ctr_loop *loop;
    struct ctr_host *host;
    void *self;
};

struct frame {
    uint8_t bytes[4096];
    size_t length;
    struct sw_frame parsed;
};

/* --- a network and its VMs --- */

static void
mac_of(uint32_t address, uint8_t ret[6])
{
    ret[0] = 0x02;
    ret[1] = 0x42;
    sw_put32(ret + 2, address);
}

static void
net_up(struct net *net, bool internal, json_t *take_options)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_options *options;
    struct ctr_network network = {
        .size = sizeof network,
        .mtu = 1500,
        .name = "test",
        .subnet = NET,
        .prefix = 24,
        .gateway = GATEWAY,
        .dns = GATEWAY,
        .internal = internal,
    };
    assert_int_equal(ctr_loop_create(&net->loop, &err), 0);
    assert_int_equal(
        ctr_options_from_json(take_options, plugin->options, plugin->n_options, &options, &err),
        0);
    json_decref(take_options);
    assert_int_equal(ctr_host_create(net->loop, options, "switch", "default", NULL, "/tmp",
                                     &net->host, &err),
                     0);
    assert_int_equal(ops.open(net->host, &net->self, &err), 0);
    assert_int_equal(ops.port_kinds(net->self), CTR_PORT_DGRAM);
    if (ops.create(net->self, &network, &err) != 0) {
        fail_msg("create: %s", err.msg);
    }
}

static void
net_down(struct net *net)
{
    ops.close(net->self);
    ctr_host_destroy(net->host);
    ctr_loop_destroy(net->loop);
}

static int
try_attach(struct net *net, const char *id, uint32_t address, int *ret_fd)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_port port = {.size = sizeof port, .fd = -1};
    struct ctr_port_spec spec = {
        .size = sizeof spec, .kind = CTR_PORT_DGRAM, .id = id, .address = address, .fd = -1};
    mac_of(address, spec.mac);
    int code = ops.attach(net->self, &spec, &port, &err);
    *ret_fd = port.fd;
    return code;
}

static int
attach(struct net *net, const char *id, uint32_t address)
{
    int fd;
    assert_int_equal(try_attach(net, id, address, &fd), 0);
    assert_int_not_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    return fd;
}

static uint64_t
dropped(struct net *net, const char *id)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_net_stats stats = {.size = sizeof stats};
    assert_int_equal(ops.stats(net->self, id, &stats, &err), 0);
    return stats.dropped;
}

/* --- running the loop until a descriptor is readable --- */

struct pump {
    struct ctr_loop *loop;
    bool ready;
};

static void
on_ready(void *arg, uint32_t events)
{
    struct pump *pump = arg;
    pump->ready = true;
    ctr_loop_stop(pump->loop);
}

static void
on_late(void *arg)
{
    ctr_loop_stop(arg);
}

static bool
wait_for(struct net *net, int fd, uint32_t events, uint64_t ms)
{
    struct pump pump = {.loop = net->loop};
    struct ctr_watch *watch =
        fd < 0 ? NULL : ctr_watch_add(net->loop, fd, events, on_ready, &pump);
    struct ctr_timer *timer = ctr_timer_add(net->loop, ms, on_late, net->loop);
    ctr_loop_run(net->loop);
    ctr_watch_remove(watch);
    ctr_timer_remove(timer);
    return pump.ready;
}

/* The next frame at a VM's end; false if none comes. */
static bool
next(struct net *net, int fd, struct frame *ret, uint64_t ms)
{
    if (!wait_for(net, fd, CTR_READABLE, ms)) {
        return false;
    }
    ssize_t n = recv(fd, ret->bytes, sizeof ret->bytes, MSG_DONTWAIT);
    assert_true(n > 0);
    ret->length = (size_t) n;
    assert_true(sw_parse(ret->bytes, ret->length, &ret->parsed));
    return true;
}

static void
expect(struct net *net, int fd, struct frame *ret)
{
    assert_true(next(net, fd, ret, WAIT_MS));
}

/* The next frame of this protocol; others in between are skipped. */
static void
expect_proto(struct net *net, int fd, uint8_t proto, struct frame *ret)
{
    do {
        expect(net, fd, ret);
    } while (ret->parsed.type != SW_TYPE_IPV4 || ret->parsed.proto != proto);
}

static void
nothing(struct net *net, int fd)
{
    struct frame f;
    assert_false(next(net, fd, &f, QUIET_MS));
}

/* --- frames --- */

static void
put(int fd, const struct frame *f)
{
    assert_int_equal(send(fd, f->bytes, f->length, 0), (ssize_t) f->length);
}

static struct frame
arp(uint32_t from, uint32_t claims, uint32_t target)
{
    struct frame f = {.length = SW_ETHER + SW_ARP};
    static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 1};
    memset(f.bytes, 0xff, 6);
    mac_of(from, f.bytes + 6);
    sw_put16(f.bytes + 12, SW_TYPE_ARP);
    memcpy(f.bytes + 14, head, sizeof head);
    mac_of(from, f.bytes + 22);
    sw_put32(f.bytes + 28, claims);
    sw_put32(f.bytes + 38, target);
    return f;
}

/* `via`: whose MAC it goes to; a container's, or the way out's. */
static struct frame
ipv4(uint32_t via, uint32_t from, uint32_t to, uint8_t proto, const void *payload, size_t n)
{
    struct frame f = {.length = SW_ETHER + SW_IPV4 + n};
    uint8_t to_mac[6], from_mac[6];
    via == GATEWAY ? sw_uplink_mac(via, to_mac) : mac_of(via, to_mac);
    mac_of(from, from_mac);
    struct sw_header header = {.to = to_mac,
                               .from = from_mac,
                               .source = from,
                               .target = to,
                               .proto = proto,
                               .payload_length = n};
    sw_write_header(&header, f.bytes);
    memcpy(f.bytes + SW_ETHER + SW_IPV4, payload, n);
    return f;
}

static uint16_t
transport_sum(uint32_t from, uint32_t to, uint8_t proto, const uint8_t *payload, size_t n)
{
    uint8_t pseudo[12] = {[9] = proto};
    sw_put32(pseudo, from);
    sw_put32(pseudo + 4, to);
    sw_put16(pseudo + 10, (uint16_t) n);
    return sw_sum_finish(sw_sum(sw_sum(0, pseudo, 12), payload, n));
}

static struct frame
udp(uint32_t via, uint32_t from, uint16_t from_port, uint32_t to, uint16_t to_port,
    const char *text)
{
    uint8_t p[1024] = {0};
    size_t n = 8 + strlen(text);
    sw_put16(p, from_port);
    sw_put16(p + 2, to_port);
    sw_put16(p + 4, (uint16_t) n);
    memcpy(p + 8, text, strlen(text));
    sw_put16(p + 6, transport_sum(from, to, SW_UDP, p, n));
    return ipv4(via, from, to, SW_UDP, p, n);
}

struct tcp {
    uint32_t from, to;
    uint16_t from_port, to_port;
    uint32_t seq, ack;
};

static struct frame
tcp(const struct tcp *t, uint8_t flags, const char *text)
{
    uint8_t p[1024] = {0};
    size_t n = 20 + strlen(text);
    sw_put16(p, t->from_port);
    sw_put16(p + 2, t->to_port);
    sw_put32(p + 4, t->seq);
    sw_put32(p + 8, t->ack);
    p[12] = 0x50;
    p[13] = flags;
    sw_put16(p + 14, 65535);
    memcpy(p + 20, text, strlen(text));
    sw_put16(p + 16, transport_sum(t->from, t->to, SW_TCP, p, n));
    return ipv4(GATEWAY, t->from, t->to, SW_TCP, p, n);
}

static struct frame
ping(uint32_t via, uint32_t from, uint32_t to)
{
    uint8_t p[16] = {8, 0, 0, 0, 0, 7, 0, 1, 'p', 'i', 'n', 'g'};
    sw_put16(p + 2, sw_sum_finish(sw_sum(0, p, sizeof p)));
    return ipv4(via, from, to, SW_ICMP, p, sizeof p);
}

static void
send_frame(int fd, struct frame f)
{
    put(fd, &f);
}

static void
expect_refused(struct net *net, int fd)
{
    struct frame f;
    expect(net, fd, &f);
    assert_int_equal(f.parsed.proto, SW_ICMP);
    assert_int_equal(f.parsed.payload[0], 3);
    assert_int_equal(f.parsed.payload[1], 13);
}

static void
know_gateway(struct net *net, int fd, uint32_t who)
{
    struct frame f;
    send_frame(fd, arp(who, who, GATEWAY));
    expect(net, fd, &f);
    assert_int_equal(f.parsed.type, SW_TYPE_ARP);
    assert_int_equal(f.parsed.arp_source, GATEWAY);
}

/* --- host sockets --- */

static int
host_socket(int type, uint32_t address, uint16_t *ret_port)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    socklen_t length = sizeof name;
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &name, sizeof name), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &name, &length), 0);
    if (type == SOCK_STREAM) {
        assert_int_equal(listen(fd, 16), 0);
    }
    *ret_port = ntohs(name.sin_port);
    return fd;
}

static int
host_connect(int type, uint32_t address, uint16_t port)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(address), .sin_port = htons(port)};
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *) &name, sizeof name) != 0) {
        assert_int_equal(errno, EINPROGRESS);
    }
    return fd;
}

/* An address of this machine that is not loopback; 0 if it has none. */
static uint32_t
own_address(void)
{
    struct ifaddrs *all;
    uint32_t ret = 0;
    assert_int_equal(getifaddrs(&all), 0);
    for (const struct ifaddrs *i = all; i != NULL && ret == 0; i = i->ifa_next) {
        if (i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET &&
            (i->ifa_flags & IFF_LOOPBACK) == 0) {
            const void *address = i->ifa_addr;
            ret = ntohl(((const struct sockaddr_in *) address)->sin_addr.s_addr);
        }
    }
    freeifaddrs(all);
    return ret;
}

static int
publish(struct net *net, uint32_t proto, uint32_t host, uint16_t *host_port, uint16_t port,
        uint32_t to)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_publish p = {
        .size = sizeof p,
        .proto = proto,
        .host_address = host,
        .host_port = *host_port,
        .port = port,
        .address = to,
    };
    int code = ops.publish(net->self, &p, &err);
    assert_int_equal(code, err.code);
    *host_port = p.host_port;
    return code;
}

/* --- the tests --- */

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
    assert_int_equal(f.parsed.source, GATEWAY);
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
    send_frame(a, arp(A, A, B)); /* broadcast: to all others */
    expect(&net, b, &f);
    assert_int_equal(f.parsed.arp_source, A);
    expect(&net, c, &f);
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
    const uint32_t closed[] = {GATEWAY,    UPLINK,     0x7f000001, 0x7f000002, 0,
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
static void
odd_packets_do_not_leave(void **state)
{
    const struct sw_rules rules = {.subnet = NET,
                                   .mask = 0xffffff00,
                                   .gateway = GATEWAY,
                                   .dns = GATEWAY,
                                   .uplink = UPLINK};
    struct tcp t = {.from = A, .to = 0x08080808, .from_port = 1, .to_port = 80};
    struct frame f = tcp(&t, SW_TCP_SYN, "data that is long enough");
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_judge(&f.parsed, &rules), SW_PASS);
    sw_put16(f.bytes + 20, 0x2000); /* first of several fragments */
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_judge(&f.parsed, &rules), SW_DROP);
    sw_put16(f.bytes + 20, 0x0001); /* a later one */
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_judge(&f.parsed, &rules), SW_DROP);
    sw_put16(f.bytes + 20, 0x8000); /* the reserved bit sends libslirp the same way */
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_judge(&f.parsed, &rules), SW_DROP);
    sw_put16(f.bytes + 20, 0x4000); /* "don't fragment" is not one */
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_judge(&f.parsed, &rules), SW_PASS);
    f.bytes[14] = 0x46; /* options */
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_judge(&f.parsed, &rules), SW_DROP);
    f = udp(GATEWAY, A, 1, 0x08080808, 53, "part of a datagram");
    sw_put16(f.bytes + 20, 0x2000);
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_judge(&f.parsed, &rules), SW_DROP);
    f = ping(GATEWAY, A, 0x08080808);
    f.bytes[23] = 47; /* GRE */
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_judge(&f.parsed, &rules), SW_DROP);
    f = udp(GATEWAY, A, 1, GATEWAY, 53, "dns");
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_judge(&f.parsed, &rules), SW_PASS);
    f = udp(GATEWAY, A, 68, GATEWAY, 67, "dhcp");
    assert_true(sw_parse(f.bytes, f.length, &f.parsed));
    assert_int_equal(sw_judge(&f.parsed, &rules), SW_REFUSE);
}

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
    assert_int_equal(f.parsed.source, outside);
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
    expect(&net, a, &f); /* B's question was for all */
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
        .to = f.parsed.source,
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
    assert_int_equal(f.parsed.source, UPLINK);
    struct frame asked; /* a neighbour, for the container: it asks for its MAC */
    send_frame(a, arp(A, A, UPLINK));
    expect(&net, a, &asked);
    assert_int_equal(asked.parsed.arp_source, UPLINK);
    assert_int_equal(
        transport_sum(f.parsed.source, A, SW_UDP, f.parsed.payload, f.parsed.payload_length),
        0);
    struct frame reply = udp(GATEWAY, A, 53, UPLINK, f.parsed.source_port, "answer");
    memcpy(reply.bytes, asked.parsed.arp_mac, 6);
    put(a, &reply);
    assert_true(wait_for(&net, client, CTR_READABLE, WAIT_MS));
    assert_int_equal(read(client, text, sizeof text),
                     6); /* from 127.0.0.2, where it was sent */
    /* The published port is no way to others on the host's loopback. */
    send_frame(a, udp(GATEWAY, A, 53, f.parsed.source, secret_port, "evil"));
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
    send_frame(a, arp(A, A, GATEWAY));
    expect(&net, b, &f);
    nothing(&net, a);
    send_frame(a, udp(GATEWAY, A, 1000, 0x08080808, 53, "x"));
    nothing(&net, a);
    assert_int_equal(dropped(&net, "a"), 1);
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
    assert_true(got >= 512);
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
    for (expect(&net, b, &f); f.parsed.source != C; expect(&net, b, &f)) {
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
    assert_int_equal(try_attach(&net, "b", UPLINK, &fd), -EINVAL);
    assert_int_equal(try_attach(&net, "b", 0x0a590002, &fd), -EINVAL);
    assert_int_equal(fd, -1);
    (void) close(a);
    net_down(&net);
}

static int
load(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *build = getenv("CTR_TEST_BUILD");
    CTR_AUTO(free)
    char *file =
        ctr_printf("%s/lib/ctr/plugins/net-switch.so", build == NULL ? "build" : build);
    CTR_AUTO(free) char *path = ctr_expand_path(file, NULL);
    (void) signal(SIGPIPE, SIG_IGN);
    if (ctr_plugin_load(path, CTR_KIND_NET, &plugin, &err) != 0) {
        (void) fprintf(stderr, "%s\n", err.msg);
        return -1;
    }
    (void) ctr_plugin_net_ops(plugin, &ops);
    return 0;
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
        cmocka_unit_test(odd_packets_do_not_leave),
        cmocka_unit_test(outside_answers),
        cmocka_unit_test(flows_are_limited),
        cmocka_unit_test(tcp_is_published),
        cmocka_unit_test(udp_is_published),
        cmocka_unit_test(internal_has_no_way_out),
        cmocka_unit_test(slow_vm_harms_nobody),
        cmocka_unit_test(flood_starves_nobody),
        cmocka_unit_test(dead_vm_is_survived),
        cmocka_unit_test(attach_is_checked),
    };
    return cmocka_run_group_tests_name("switch", tests, load, NULL);
}

/* The pure half of the plugin, for making and reading frames here. */
#include "plugins/net-switch/ether.c"
