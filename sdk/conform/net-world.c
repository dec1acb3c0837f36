/*
 * A network for the checks: the core's half of it (services that write down what they are told) and its ports, whose VM ends the kit holds.
 */
#include "sdk/conform/net.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/if.h>
#include <linux/if_tun.h>
#endif

struct ctr_error net_err;

/* --- services --- */

static void
on_query(void *arg, const char *port, const void *bytes, size_t length,
         void (*answer)(void *answer_arg, const void *bytes, size_t length), void *answer_arg)
{
    struct net *net = arg;
    net->n_questions++;
    (void) snprintf(net->question, sizeof net->question, "%s: %.*s", port, (int) length,
                    (const char *) bytes);
    if (net->answer != NULL) { /* one at a time is kept for later */
        answer(answer_arg, NULL, 0);
        return;
    }
    net->answer = answer;
    net->answer_arg = answer_arg;
}

static void
on_stream(void *arg, const char *port, int32_t take_fd)
{
    struct net *net = arg;
    if (net->stream >= 0) {
        (void) close(take_fd);
        return;
    }
    net->stream = take_fd;
}

static void
on_refused(void *arg, const char *port, uint32_t proto, const struct ctr_address *address,
           uint16_t target_port)
{
    struct net *net = arg;
    net->n_refused++;
    net->refused_address = *address;
    net->refused_port = target_port;
}

static void
on_frame(void *arg, const char *port, uint32_t from_vm, const void *bytes, size_t length)
{
    struct net *net = arg;
    int which = strcmp(port, "a") == 0 ? 0 : 1;
    int *counts = from_vm != 0 ? net->n_from : net->n_to;
    counts[which] += bytes != NULL && length >= 14;
}

/* --- the network --- */

int
net_done(struct net *net, int code, const char *format, ...)
{
    char what[128];
    va_list args;
    va_start(args, format);
    (void) vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (code == 0) {
        conform_check(net->kit, 1, "%s", what);
    } else {
        conform_check(net->kit, 0, "%s: %s", what, net_err.msg);
    }
    net_err = (struct ctr_error) CTR_ERROR_INIT;
    return code == 0;
}

static struct ctr_address
address6(uint8_t n)
{
    struct ctr_address address = {.family = 6, .bytes = {0xfd, 0x63}};
    address.bytes[15] = n;
    return address;
}

int
net_up(struct net *net, const struct net_wish *wish)
{
    static const char id[] = "c0ff0000000000000000000000000000000000000000000000000000c0ffc0ff";
    net->services = (struct ctr_net_services){
        .size = sizeof net->services,
        .arg = net,
        .dns_query = on_query,
        .dns_stream = on_stream,
        .refused = on_refused,
        .frame = on_frame,
    };
    const struct ctr_network network = {
        .size = sizeof network,
        .mtu = 1500,
        .out_mtu = 1500,
        .name = "conform",
        .id = id,
        .subnet = NET_SUBNET,
        .prefix = NET_PREFIX,
        .gateway = NET_SUBNET | NET_GATEWAY,
        .dns = NET_SUBNET | NET_GATEWAY,
        .host = NET_SUBNET | 254,
        .subnet6 = address6(0),
        .prefix6 = 64,
        .gateway6 = address6(NET_GATEWAY),
        .isolated = (uint32_t) wish->isolated,
        .egress_deny = (uint32_t) wish->egress_deny,
        .services = &net->services,
    };
    net->host = conform_host_create(net->kit, wish->slot, 1);
    if (net->host == NULL || !net_done(net, net->ops.open(net->host, &net->self, &net_err),
                                       "%s: open", wish->slot)) {
        conform_host_destroy(net->host);
        return 0;
    }
    uint32_t kinds = net->ops.port_kinds(net->self);
    net->kind = kinds & CTR_PORT_DGRAM ? CTR_PORT_DGRAM : kinds & CTR_PORT_TAP;
    if (!net_done(net, net->ops.create(net->self, &network, &net_err), "%s: create",
                  wish->slot)) {
        net_down(net);
        return 0;
    }
    return 1;
}

void
net_down(struct net *net)
{
    if (net->answer != NULL) { /* as the core: none is open when close is called */
        net->answer(net->answer_arg, NULL, 0);
        net->answer = NULL;
    }
    if (net->stream >= 0) {
        (void) close(net->stream);
        net->stream = -1;
    }
    net->ops.close(net->self);
    conform_host_destroy(net->host);
    net->self = NULL;
}

/* --- ports --- */

static int
attach(struct net *net, struct port *port, int fd, struct ctr_port *ret)
{
    const struct ctr_port_spec spec = {
        .size = sizeof spec,
        .kind = net->kind,
        .id = port->id,
        .mac = {0x02, 0x42, 10, 99, 0, port->n},
        .address = NET_SUBNET | port->n,
        .address6 = address6(port->n),
        .fd = fd,
    };
    *ret = (struct ctr_port){.size = sizeof *ret, .fd = -1};
    return net->ops.attach(net->self, &spec, ret, &net_err);
}

/* What comes before each frame on a tap. */
static size_t
header_of(int fd)
{
#ifdef __linux__
    struct ifreq request = {0};
    int size = 10;
    if (ioctl(fd, TUNGETIFF, &request) == 0 && (request.ifr_flags & IFF_VNET_HDR) != 0) {
        return ioctl(fd, TUNGETVNETHDRSZ, &size) == 0 ? (size_t) size : 10;
    }
#endif
    return 0;
}

int
port_up(struct net *net, struct port *port, const char *id, uint8_t n)
{
    int pair[2] = {-1, -1}, fd = -1;
    struct ctr_port made;
    *port = (struct port){.id = id, .n = n, .fd = -1, .keep = -1};
    if (net->kind == CTR_PORT_DGRAM && net->is_12) {
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0) {
            return -errno;
        }
        fd = fcntl(pair[1], F_DUPFD_CLOEXEC, 3);
    }
    int code = attach(net, port, fd, &made);
    if (code != 0) {
        (void) close(fd);
        (void) close(pair[0]);
        (void) close(pair[1]);
        return code;
    }
    port->fd = pair[0] >= 0 ? pair[0] : made.fd;
    port->keep = pair[1] >= 0 ? pair[1] : fcntl(made.fd, F_DUPFD_CLOEXEC, 3);
    port->header = net->kind == CTR_PORT_TAP ? header_of(port->fd) : 0;
    if (pair[0] >= 0) {
        conform_check(net->kit, made.fd == -1, "attach of %s took the descriptor it was given",
                      id);
    }
    return 0;
}

int
port_again(struct net *net, struct port *port)
{
    struct ctr_port made;
    int fd = fcntl(port->keep, F_DUPFD_CLOEXEC, 3);
    int code = attach(net, port, fd, &made);
    if (code != 0) {
        (void) close(fd);
    }
    return code;
}

void
port_close(struct port *port)
{
    (void) close(port->fd);
    (void) close(port->keep);
}

int
port_send(const struct port *port, const struct frame *frame)
{
    uint8_t bytes[64 + MAX_FRAME] = {0};
    memcpy(bytes + port->header, frame->bytes, frame->length);
    ssize_t total = (ssize_t) (port->header + frame->length);
    return write(port->fd, bytes, (size_t) total) == total;
}

struct wait {
    const struct port *port;
    int (*is)(void *arg, const struct frame *frame);
    void *arg;
};

static int
arrived(void *arg)
{
    const struct wait *wait = arg;
    uint8_t bytes[64 + MAX_FRAME];
    ssize_t n;
    (void) fcntl(wait->port->fd, F_SETFL, O_NONBLOCK);
    while ((n = read(wait->port->fd, bytes, sizeof bytes)) > 0) {
        struct frame frame = {.length = (size_t) n - wait->port->header};
        if ((size_t) n < wait->port->header || frame.length > MAX_FRAME) {
            continue;
        }
        memcpy(frame.bytes, bytes + wait->port->header, frame.length);
        if (wait->is(wait->arg, &frame)) {
            return 1;
        }
    }
    return 0;
}

int
port_wait(struct net *net, const struct port *port,
          int (*is)(void *arg, const struct frame *frame), void *arg, int ms)
{
    struct wait wait = {.port = port, .is = is, .arg = arg};
    return conform_host_run(net->host, arrived, &wait, ms);
}

static int
is_same(void *arg, const struct frame *frame)
{
    const struct frame *wanted = arg;
    return frame->length >= wanted->length &&
           memcmp(frame->bytes, wanted->bytes, wanted->length) == 0;
}

int
port_gets(struct net *net, const struct port *port, const struct frame *frame, int ms)
{
    struct frame wanted = *frame;
    return port_wait(net, port, is_same, &wanted, ms);
}

static int
is_gateway(void *arg, const struct frame *frame)
{
    return frame_read_arp(frame, NET_GATEWAY, arg);
}

int
port_gateway(struct net *net, const struct port *port, uint8_t ret_mac[6])
{
    struct frame question = frame_arp(port->n, port->n, NET_GATEWAY);
    int found = 0;
    for (int i = 0; i < 4 && !found;
         i++) { /* a port may take its time to be up, as a cable does */
        found = port_send(port, &question) && port_wait(net, port, is_gateway, ret_mac, 1000);
    }
    return found;
}
