/*
 * Checks of net plugins: ports that reach each other or not, lies about the sender, publishing, and since ABI 1.2 the resolver's questions,
 * isolation, rules for the way out, captures, and ports that come back after the plugin's process was gone.
 *
 * Nothing leaves the machine unless [conform] names an address outside that may be tried.
 */
#include "sdk/conform/net.h"
#include <arpa/inet.h>
#include <errno.h>

static const struct ends a_to_b = {.source = A,
                                   .source_mac = A,
                                   .target = B,
                                   .target_mac = B,
                                   .source_port = 4000,
                                   .target_port = 4001};

static void
expect(struct net *net, const struct port *from, const struct port *to, struct frame frame,
       int passes, const char *what)
{
    conform_check(net->kit, port_send(from, &frame), "%s sends %s", from->id, what);
    int got = port_gets(net, to, &frame, passes ? SOON : NEVER);
    conform_check(net->kit, got == passes, passes ? "%s gets it" : "%s never gets it", to->id);
}

static void
spoofing(struct net *net, const struct port *a, const struct port *b)
{
    struct ends mac = a_to_b, address = a_to_b, neighbour = a_to_b;
    mac.source_mac = LIAR;
    address.source = LIAR;
    neighbour.source = B;
    expect(net, a, b, frame_arp(LIAR, A, B), 0, "an ARP request from another MAC");
    expect(net, a, b, frame_arp(A, LIAR, B), 0, "an ARP request of another address");
    expect(net, a, b, frame_udp4(&mac, "x", 1), 0, "a packet from another MAC");
    expect(net, a, b, frame_udp4(&address, "x", 1), 0, "a packet from another IPv4 address");
    expect(net, a, b, frame_udp4(&neighbour, "x", 1), 0, "a packet from b's IPv4 address");
    if (net->is_12) {
        expect(net, a, b, frame_udp6(&address, "x", 1), 0,
               "a packet from another IPv6 address");
    }
    struct frame short_one = frame_arp(A, A, B);
    short_one.length = 7;
    if (net->kind == CTR_PORT_DGRAM) { /* the kernel itself refuses it on a tap */
        expect(net, a, b, short_one, 0, "a frame of 7 bytes");
    }
    if (net->ops.stats != NULL && net->is_12) {
        struct ctr_net_stats stats = {.size = sizeof stats};
        net_done(net, net->ops.stats(net->self, "a", &stats, &net_err), "stats");
        conform_check(net->kit, stats.spoofed > 0 && stats.dropped >= stats.spoofed,
                      "they count what was spoofed: %llu", (unsigned long long) stats.spoofed);
    }
}

static void
exchange(struct net *net, const struct port *a, const struct port *b)
{
    expect(net, a, b, frame_arp(A, A, B), 1, "a broadcast");
    expect(net, a, b, frame_udp4(&a_to_b, "hello", 5), 1, "an IPv4 packet");
    if (net->is_12) {
        expect(net, a, b, frame_udp6(&a_to_b, "hello", 5), 1, "an IPv6 packet");
    }
}

static void
publish_on(struct net *net, struct ctr_publish publish, const char *where)
{
    const struct ctr_net_ops *ops = &net->ops;
    net_done(net, ops->publish(net->self, &publish, &net_err), "publish on %s", where);
    conform_check(net->kit, publish.host_port != 0, "it picked host port %u",
                  publish.host_port);
    struct ctr_publish again = publish;
    conform_check(net->kit, ops->publish(net->self, &again, &net_err) == -EADDRINUSE,
                  "the same port again says EADDRINUSE: %s", net_err.msg);
    net_done(net, ops->unpublish(net->self, &publish, &net_err), "unpublish");
    net_done(net, ops->publish(net->self, &publish, &net_err), "and it is free again");
}

static void
publishing(struct net *net)
{
    struct ctr_publish publish = {.size = sizeof publish, .proto = CTR_PROTO_TCP, .port = 80};
    struct ctr_publish v4 = publish;
    if (net->ops.publish == NULL) {
        return;
    }
    v4.host_address = 0x7f000001;
    v4.address = NET_SUBNET | A;
    publish_on(net, v4, "127.0.0.1");
    if (net->is_12) {
        publish.host_address6 = (struct ctr_address){.family = 6, .bytes = {[15] = 1}};
        publish.address6 = (struct ctr_address){.family = 6, .bytes = {0xfd, 0x63, [15] = A}};
        publish_on(net, publish, "::1");
    }
}

/* --- captures --- */

static int
is_captured(void *arg)
{
    const struct net *net = arg;
    return net->n_from[0] > 0 && net->n_to[1] > 0;
}

static int
not_yet(void *arg)
{
    return 0;
}

static void
capturing(struct net *net, const struct port *a, const char *id)
{
    struct conform *kit = net->kit;
    const char *what = id == NULL ? "all ports" : id;
    struct frame frame = frame_udp4(&a_to_b, "seen", 4);
    memset(net->n_from, 0, sizeof net->n_from);
    memset(net->n_to, 0, sizeof net->n_to);
    net_done(net, net->ops.capture(net->self, id, 1, &net_err), "capture of %s", what);
    (void) port_send(a, &frame);
    (void) conform_host_run(net->host, is_captured, net, id == NULL ? SOON : NEVER);
    conform_check(kit, net->n_from[0] == 1 && net->n_from[1] == 0,
                  "the frame is told once, as it came from a (%d)", net->n_from[0]);
    conform_check(kit, net->n_to[1] == (id == NULL), "and %s as it went to b (%d)",
                  id == NULL ? "once" : "not", net->n_to[1]);
    net_done(net, net->ops.capture(net->self, id, 0, &net_err), "its end");
    (void) port_send(a, &frame);
    (void) conform_host_run(net->host, not_yet, net, NEVER);
    conform_check(kit, net->n_from[0] == 1, "and no more are told");
}

/* --- rules for the way out --- */

static int
is_refused(void *arg)
{
    return ((struct net *) arg)->n_refused > 0;
}

static void
try_out(struct net *net, const struct port *a, uint32_t address, uint16_t port, int passes)
{
    struct ends ends = {.source = A,
                        .source_mac = A,
                        .outside = address,
                        .source_port = 6000,
                        .target_port = port};
    uint8_t mac[6] = {0};
    (void) port_gateway(net, a, mac);
    struct frame syn = frame_tcp(&ends, &(struct segment){.flags = SEGMENT_SYN});
    frame_to(&syn, mac);
    net->n_refused = 0;
    (void) port_send(a, &syn);
    int refused = conform_host_run(net->host, is_refused, net, passes ? NEVER : SOON);
    conform_check(net->kit, refused == !passes, "port %u of an address outside is %s", port,
                  passes ? "not refused" : "refused");
    if (refused && !passes) {
        uint32_t told;
        memcpy(&told, net->refused_address.bytes, sizeof told);
        conform_check(net->kit,
                      net->refused_address.family == 4 && ntohl(told) == address &&
                          net->refused_port == port,
                      "with its address and port");
    }
}

static void
egress(struct net *net)
{
    struct port a;
    char text[1024];
    struct in_addr given = {0};
    struct ctr_net_rule rule = {.size = sizeof rule, .prefix = 32, .port = 443};
    int may_try = inet_pton(AF_INET, conform_setting(net->kit, "outside", "", text), &given);
    uint32_t address = may_try == 1 ? ntohl(given.s_addr) : 0xc0000201; /* 192.0.2.1 */
    if (!net_up(net, &(struct net_wish){.slot = "deny", .egress_deny = 1})) {
        return;
    }
    if (net_done(net, port_up(net, &a, "a", A), "attach")) {
        try_out(net, &a, address, 443, 0);
        rule.address = (struct ctr_address){.family = 4};
        memcpy(rule.address.bytes, &(uint32_t){htonl(address)}, 4);
        net_done(net, net->ops.allow(net->self, &rule, &net_err), "allow");
        if (may_try == 1) {
            try_out(net, &a, address, 443, 1);
        }
        try_out(net, &a, address, 80, 0);
        port_close(&a);
    }
    net_down(net);
}

/* --- other networks, and the same again --- */

static void
isolation(struct net *net)
{
    struct port a, b;
    if (!net_up(net, &(struct net_wish){.slot = "isolated", .isolated = 1})) {
        return;
    }
    if (net_done(net, port_up(net, &a, "a", A), "attach a") &&
        net_done(net, port_up(net, &b, "b", B), "attach b")) {
        expect(net, &a, &b, frame_arp(A, A, B), 0, "a broadcast on an isolated network");
        expect(net, &a, &b, frame_udp4(&a_to_b, "x", 1), 0, "an IPv4 packet");
        expect(net, &a, &b, frame_udp6(&a_to_b, "x", 1), 0, "an IPv6 packet");
        port_close(&a);
        port_close(&b);
    }
    net_down(net);
}

/* ctr-net died and was started again: the machines' ends live on. */
static void
again(struct net *net, struct port *a, struct port *b)
{
    if (!net_up(net, &(struct net_wish){.slot = "again"})) {
        return;
    }
    if (net_done(net, port_again(net, a), "attach a again with its descriptor") &&
        net_done(net, port_again(net, b), "attach b again with its descriptor")) {
        exchange(net, a, b);
    }
    net_down(net);
}

static void
usual(struct net *net, struct port *a, struct port *b)
{
    struct conform *kit = net->kit;
    struct port twice;
    int attached = net_done(net, port_up(net, a, "a", A), "attach a") &&
                   net_done(net, port_up(net, b, "b", B), "attach b");
    if (!attached) {
        return;
    }
    conform_check(kit, port_up(net, &twice, "a", 4) == -EEXIST,
                  "attach of a again says EEXIST");
    exchange(net, a, b);
    spoofing(net, a, b);
    publishing(net);
    if (net->is_12) {
        net_resolver(net, a);
    }
    if (net->ops.capture != NULL) {
        capturing(net, a, NULL);
        capturing(net, a, "a");
    }
    if (net->is_12) {
        net_late_answer(net, a);
    }
    net_done(net, net->ops.detach(net->self, "a", &net_err), "detach");
    conform_check(kit, net->ops.detach(net->self, "a", &net_err) == -ENOENT,
                  "detach again says ENOENT");
}

void
conform_net(struct conform *kit)
{
    struct net net = {.kit = kit, .stream = -1, .is_12 = kit->plugin->abi_minor >= 2};
    const struct ctr_net_ops *given = kit->plugin->ops;
    struct port a = {.fd = -1, .keep = -1}, b = a;
    memcpy(&net.ops, given, given->size < sizeof net.ops ? given->size : sizeof net.ops);
    if (!net_up(&net, &(struct net_wish){.slot = "one"})) {
        return;
    }
    if (net.kind != 0) {
        usual(&net, &a, &b);
    }
    net_down(&net);
    net.ops.close(NULL);
    if (net.kind != 0 && net.is_12) {
        again(&net, &a, &b);
        isolation(&net);
    }
    if (net.kind != 0 && net.ops.allow != NULL) {
        egress(&net);
    }
    port_close(&a);
    port_close(&b);
}
