/*
 * Checks of the way between containers and the core's resolver, by UDP and by a small TCP of our own.
 */
#include "sdk/conform/net.h"
#include <sys/socket.h>

static const struct ends question_ends = {.source = A,
                                          .source_mac = A,
                                          .target = NET_GATEWAY,
                                          .source_port = 5353,
                                          .target_port = 53};

static int
is_asked(void *arg)
{
    return ((struct net *) arg)->answer != NULL;
}

static int
is_answer(void *arg, const struct frame *frame)
{
    const struct ends ends = {
        .source = NET_GATEWAY, .target = A, .source_port = 53, .target_port = 5353};
    const char *wanted = arg;
    size_t length;
    const uint8_t *payload = frame_read_udp4(frame, &ends, &length);
    return payload != NULL && length == strlen(wanted) && memcmp(payload, wanted, length) == 0;
}

static void
by_udp(struct net *net, const struct port *a)
{
    struct conform *kit = net->kit;
    char wanted[] = "the answer";
    uint8_t mac[6];
    if (!conform_check(kit, port_gateway(net, a, mac), "the gateway answers ARP")) {
        return;
    }
    struct frame question = frame_udp4(&question_ends, "the question", 12);
    frame_to(&question, mac);
    conform_check(kit, port_send(a, &question), "a asks the resolver by UDP");
    if (!conform_check(kit, conform_host_run(net->host, is_asked, net, SOON),
                       "the core gets the question")) {
        return;
    }
    conform_check(kit, strcmp(net->question, "a: the question") == 0,
                  "with the port's name, unchanged: %s", net->question);
    net->answer(net->answer_arg, wanted, strlen(wanted));
    net->answer = NULL;
    conform_check(kit, port_wait(net, a, is_answer, wanted, SOON),
                  "a gets the answer in a sound frame");
}

static const struct ends stream_ends = {.source = A,
                                        .source_mac = A,
                                        .target = NET_GATEWAY,
                                        .source_port = 5454,
                                        .target_port = 53};

static int
is_segment(void *arg, const struct frame *frame)
{
    const struct ends back = {
        .source = NET_GATEWAY, .target = A, .source_port = 53, .target_port = 5454};
    struct segment *wanted = arg, got;
    if (!frame_read_tcp(frame, &back, &got) || (got.flags & wanted->flags) != wanted->flags ||
        got.length != wanted->length ||
        (got.length > 0 && memcmp(got.text, wanted->text, got.length) != 0)) {
        return 0;
    }
    wanted->number = got.number;
    return 1;
}

static int
send_segment(const struct port *a, const uint8_t gateway[6], struct segment segment)
{
    struct frame frame = frame_tcp(&stream_ends, &segment);
    frame_to(&frame, gateway);
    return port_send(a, &frame);
}

static int
is_heard(void *arg)
{
    struct net *net = arg;
    char text[16];
    return net->stream >= 0 && recv(net->stream, text, sizeof text, MSG_DONTWAIT) == 5 &&
           memcmp(text, "hello", 5) == 0;
}

/* A small TCP of our own asks the resolver. */
static void
by_tcp(struct net *net, const struct port *a)
{
    struct conform *kit = net->kit;
    struct segment got = {.flags = SEGMENT_SYN | SEGMENT_ACK};
    uint8_t gateway[6] = {0};
    (void) port_gateway(net, a, gateway);
    (void) send_segment(a, gateway, (struct segment){.flags = SEGMENT_SYN, .number = 1000});
    if (!conform_check(kit, port_wait(net, a, is_segment, &got, SOON),
                       "a opens a TCP connection to the resolver")) {
        return;
    }
    struct segment hello = {
        .flags = SEGMENT_ACK, .number = 1001, .acknowledged = got.number + 1};
    (void) send_segment(a, gateway, hello);
    hello.flags |= SEGMENT_PUSH;
    hello.text = "hello";
    hello.length = 5;
    (void) send_segment(a, gateway, hello);
    if (conform_check(kit, conform_host_run(net->host, is_heard, net, SOON),
                      "the core gets it as a stream, with what a sends")) {
        got = (struct segment){.flags = SEGMENT_ACK, .text = "good day", .length = 8};
        (void) send(net->stream, got.text, got.length, MSG_NOSIGNAL);
        conform_check(kit, port_wait(net, a, is_segment, &got, SOON),
                      "a gets what the core sends");
    }
}

void
net_late_answer(struct net *net, const struct port *a)
{
    uint8_t mac[6] = {0};
    (void) port_gateway(net, a, mac);
    struct frame question = frame_udp4(&question_ends, "late", 4);
    frame_to(&question, mac);
    (void) port_send(a, &question);
    conform_check(net->kit, conform_host_run(net->host, is_asked, net, SOON),
                  "a asks, and goes before the answer comes");
}

void
net_resolver(struct net *net, const struct port *a)
{
    by_udp(net, a);
    by_tcp(net, a);
}
