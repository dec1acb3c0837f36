/*
 * net-switch over its real sockets, for unit tests: hand-made frames go in at a VM's end, and what comes out at others is looked at.
 *
 * The plugin runs on the real loop in this thread; the core's services are played here, and note what they were asked. "Outside" is this machine's own address on
 * a network, opened by the option host_access; without such an address those tests are skipped. Nothing here waits for time to pass but `nothing`.
 * Header only, so that each user stays one source file.
 */
#ifndef CTR_TESTS_SWITCH_NET_H
#define CTR_TESTS_SWITCH_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/plugin/plugin.h"
#include "plugins/net-switch/packet.h"
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
#define HOST (NET + 254)
#define A (NET + 2)
#define B (NET + 3)
#define C (NET + 4)

static struct ctr_net_ops ops;
static const struct ctr_plugin *plugin;

struct net {
    struct ctr_loop *loop;
    struct ctr_host *host;
    void *self;
    struct ctr_net_services services;
    /* the last question by UDP, the last stream, what was refused and captured */
    char asker[64], question[2048];
    size_t n_questions;
    void (*answer)(void *arg, const void *bytes, size_t length);
    void *answer_arg;
    int stream;
    size_t n_refused, n_captured[2];
    struct ctr_address refused;
    uint16_t refused_port;
};

struct frame {
    uint8_t bytes[65600];
    size_t length;
    struct sw_frame parsed;
};

/* --- a network and its VMs --- */

static inline void
mac_of(uint32_t address, uint8_t ret[6])
{
    ret[0] = 0x02;
    ret[1] = 0x42;
    sw_put32(ret + 2, address);
}

/* --- the core's services --- */

static inline void
on_query(void *arg, const char *port, const void *bytes, size_t length,
         void (*answer)(void *answer_arg, const void *bytes, size_t length), void *answer_arg)
{
    struct net *net = arg;
    if (net->answer != NULL) { /* the one before was forgotten by its test */
        net->answer(net->answer_arg, NULL, 0);
    }
    (void) snprintf(net->asker, sizeof net->asker, "%s", port);
    (void) snprintf(net->question, sizeof net->question, "%.*s", (int) length,
                    (const char *) bytes);
    net->n_questions++;
    net->answer = answer;
    net->answer_arg = answer_arg;
    ctr_loop_stop(net->loop);
}

static inline void
answer(struct net *net, const void *bytes, size_t length)
{
    void (*tell)(void *arg, const void *data, size_t n) = net->answer;
    assert_non_null(tell);
    net->answer = NULL;
    tell(net->answer_arg, bytes, length);
}

static inline void
on_stream(void *arg, const char *port, int32_t take_fd)
{
    struct net *net = arg;
    (void) snprintf(net->asker, sizeof net->asker, "%s", port);
    net->stream = take_fd;
    ctr_loop_stop(net->loop);
}

static inline void
on_refused(void *arg, const char *port, uint32_t proto, const struct ctr_address *address,
           uint16_t target_port)
{
    struct net *net = arg;
    net->n_refused++;
    net->refused = *address;
    net->refused_port = target_port;
}

static inline void
on_frame(void *arg, const char *port, uint32_t from_vm, const void *bytes, size_t length)
{
    struct net *net = arg;
    net->n_captured[from_vm]++;
}

/* --- up and down --- */

static inline struct ctr_network
plain_network(void)
{
    return (struct ctr_network){
        .size = sizeof(struct ctr_network),
        .mtu = 1500,
        .out_mtu = 1500,
        .name = "test",
        .subnet = NET,
        .prefix = 24,
        .gateway = GATEWAY,
        .dns = GATEWAY,
        .host = HOST,
    };
}

static inline void
gateway_mac(uint8_t ret[6])
{
    const struct sw_rules rules = {.gateway = sw_ipv4(GATEWAY)};
    sw_gateway_mac(&rules, ret);
}

static inline void
net_up_as(struct net *net, struct ctr_network network, json_t *take_options)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_options *options;
    *net = (struct net){.stream = -1};
    net->services = (struct ctr_net_services){
        .size = sizeof net->services,
        .arg = net,
        .dns_query = on_query,
        .dns_stream = on_stream,
        .refused = on_refused,
        .frame = on_frame,
    };
    network.services = &net->services;
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

static inline void
net_up(struct net *net, bool internal, json_t *take_options)
{
    struct ctr_network network = plain_network();
    network.internal = internal;
    net_up_as(net, network, take_options);
}

static inline void
net_down(struct net *net)
{
    if (net->answer != NULL) {
        answer(net, NULL, 0);
    }
    ops.close(net->self);
    ctr_host_destroy(net->host);
    ctr_loop_destroy(net->loop);
}

static inline int
attach_spec(struct net *net, struct ctr_port_spec spec, int *ret_fd)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_port port = {.size = sizeof port, .fd = -1};
    int fds[2];
    *ret_fd = -1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    spec.size = sizeof spec;
    spec.kind = CTR_PORT_DGRAM;
    spec.fd = fds[0];
    mac_of(spec.address, spec.mac);
    int code = ops.attach(net->self, &spec, &port, &err);
    assert_int_equal(port.fd, -1);
    if (code != 0) {
        (void) close(fds[0]); /* still ours */
        (void) close(fds[1]);
        return code;
    }
    int size = 1 << 20;
    (void) setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    *ret_fd = fds[1];
    return 0;
}

static inline int
try_attach(struct net *net, const char *id, uint32_t address, int *ret_fd)
{
    return attach_spec(net, (struct ctr_port_spec){.id = id, .address = address}, ret_fd);
}

static inline int
attach(struct net *net, const char *id, uint32_t address)
{
    int fd;
    assert_int_equal(try_attach(net, id, address, &fd), 0);
    return fd;
}

static inline struct ctr_net_stats
stats_of(struct net *net, const char *id)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_net_stats stats = {.size = sizeof stats};
    assert_int_equal(ops.stats(net->self, id, &stats, &err), 0);
    return stats;
}

static inline uint64_t
dropped(struct net *net, const char *id)
{
    return stats_of(net, id).dropped;
}

static inline uint32_t
source_of(const struct frame *f)
{
    return sw_ipv4_value(&f->parsed.source);
}

/* --- running the loop until a descriptor is readable --- */

struct pump {
    struct ctr_loop *loop;
    bool ready;
};

static inline void
on_ready(void *arg, uint32_t events)
{
    struct pump *pump = arg;
    pump->ready = true;
    ctr_loop_stop(pump->loop);
}

static inline void
on_late(void *arg)
{
    ctr_loop_stop(arg);
}

static inline bool
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
static inline bool
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

static inline void
expect(struct net *net, int fd, struct frame *ret)
{
    assert_true(next(net, fd, ret, WAIT_MS));
}

/* The next frame of this protocol; others in between are skipped. */
static inline void
expect_proto(struct net *net, int fd, uint8_t proto, struct frame *ret)
{
    do {
        expect(net, fd, ret);
    } while (ret->parsed.proto != proto);
}

static inline void
nothing(struct net *net, int fd)
{
    struct frame f;
    assert_false(next(net, fd, &f, QUIET_MS));
}

/* --- frames --- */

static inline void
put(int fd, const struct frame *f)
{
    assert_int_equal(send(fd, f->bytes, f->length, 0), (ssize_t) f->length);
}

static inline struct frame
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

/* What is left of the header is filled in: the MACs, and the length. `via`: whose MAC it goes to; a container's, or the way out's. */
static inline struct frame
packet(uint32_t via, uint32_t from, struct sw_header header, const void *payload, size_t n)
{
    uint8_t to_mac[6], from_mac[6];
    gateway_mac(to_mac);
    if (via != GATEWAY) {
        mac_of(via, to_mac);
    }
    mac_of(from, from_mac);
    header.to = to_mac;
    header.from = from_mac;
    header.payload_length = n;
    size_t head = sw_header_length(&header);
    struct frame f = {.length = head + n};
    sw_write_header(&header, f.bytes);
    memcpy(f.bytes + head, payload, n);
    return f;
}

static inline struct frame
ipv4(uint32_t via, uint32_t from, uint32_t to, uint8_t proto, const void *payload, size_t n)
{
    const struct sw_header header = {
        .source = sw_ipv4(from), .target = sw_ipv4(to), .proto = proto};
    return packet(via, from, header, payload, n);
}

static inline struct ctr_address
six(const char *text)
{
    struct ctr_address ret = {.family = 6};
    assert_int_equal(inet_pton(AF_INET6, text, ret.bytes), 1);
    return ret;
}

static inline uint16_t
transport_sum(uint32_t from, uint32_t to, uint8_t proto, const uint8_t *payload, size_t n)
{
    const struct ctr_address source = sw_ipv4(from), target = sw_ipv4(to);
    return sw_sum_finish(sw_sum(sw_sum_pseudo(&source, &target, proto, n), payload, n));
}

static inline struct frame
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

static inline struct frame
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

static inline struct frame
ping(uint32_t via, uint32_t from, uint32_t to)
{
    uint8_t p[16] = {8, 0, 0, 0, 0, 7, 0, 1, 'p', 'i', 'n', 'g'};
    sw_put16(p + 2, sw_sum_finish(sw_sum(0, p, sizeof p)));
    return ipv4(via, from, to, SW_ICMP, p, sizeof p);
}

static inline void
send_frame(int fd, struct frame f)
{
    put(fd, &f);
}

static inline void
expect_refused(struct net *net, int fd)
{
    struct frame f;
    expect(net, fd, &f);
    assert_int_equal(f.parsed.proto, SW_ICMP);
    assert_int_equal(f.parsed.payload[0], 3);
    assert_int_equal(f.parsed.payload[1], 13);
}

static inline void
know_gateway(struct net *net, int fd, uint32_t who)
{
    struct frame f;
    send_frame(fd, arp(who, who, GATEWAY));
    expect(net, fd, &f);
    assert_int_equal(f.parsed.type, SW_TYPE_ARP);
    assert_int_equal(source_of(&f), GATEWAY);
}

/* --- host sockets --- */

static inline int
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

static inline int
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
static inline uint32_t
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

static inline int
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

static inline int
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

/* The pure half of the plugin, for making and reading frames here. */
#include "plugins/net-switch/address.c"
#include "plugins/net-switch/ether.c"
#include "plugins/net-switch/packet.c"

#endif
