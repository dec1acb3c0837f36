/*
 * Captures: a packet socket on a port's tap, which sees each frame as the machine sent it, also one that the rules then drop.
 */
#include "bridge-priv.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (4 << 20)

struct br_capture {
    struct br_port *port;
    int fd;
    struct ctr_watch *watch;
};

static void
on_frame(void *arg, uint32_t events)
{
    const struct br_capture *capture = arg;
    const struct br_port *port = capture->port;
    const struct ctr_net_services *services = port->br->services;
    uint8_t *frame = port->br->frame;
    for (int i = 0; i < BR_BATCH; i++) {
        struct sockaddr_ll from;
        socklen_t size = sizeof from;
        ssize_t n = recvfrom(capture->fd, frame, BR_FRAME, MSG_DONTWAIT,
                             (struct sockaddr *) &from, &size);
        if (n < 0) {
            break;
        }
        services->frame(services->arg, port->id, from.sll_pkttype != PACKET_OUTGOING, frame,
                        (size_t) n);
        if (port->capture != capture) {
            break; /* it was ended by that */
        }
    }
}

int
br_capture_start(struct br_port *port, struct ctr_error *err)
{
    const struct ctr_host *host = port->br->host;
    const struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = port->index};
    int size = BUFFER;
    if (port->capture != NULL) {
        return 0;
    }
    struct br_capture *capture = calloc(1, sizeof *capture);
    /* Protocol 0: nothing comes before it is bound to the tap. */
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (capture == NULL || fd < 0 || bind(fd, (const struct sockaddr *) &at, sizeof at) != 0) {
        int code = capture == NULL ? -ENOMEM : -errno;
        if (fd >= 0) {
            (void) close(fd);
        }
        free(capture);
        return ctr_fail(err, code, "capture on tap %s: %s", port->tap, strerror(-code));
    }
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    *capture = (struct br_capture){.port = port, .fd = fd};
    port->capture = capture;
    capture->watch = host->watch_add(host, fd, CTR_READABLE, on_frame, capture);
    if (capture->watch == NULL) {
        br_capture_stop(port);
        return ctr_fail(err, -ENOMEM, "capture on tap %s: cannot be watched", port->tap);
    }
    return 0;
}

void
br_capture_stop(struct br_port *port)
{
    struct br_capture *capture = port->capture;
    if (capture == NULL) {
        return;
    }
    port->capture = NULL;
    port->br->host->watch_remove(capture->watch);
    (void) close(capture->fd);
    free(capture);
}

/* One socket, whether the port's frames are wanted for itself, for all ports, or both. */
static int
follow(struct br_port *port, struct ctr_error *err)
{
    if (port->capture_own || port->br->capture_all) {
        return br_capture_start(port, err);
    }
    br_capture_stop(port);
    return 0;
}

int
br_capture(void *self, const char *id, uint32_t on, struct ctr_error *err)
{
    struct br *br = self;
    struct br_port *port = id == NULL ? NULL : br_find_id(br, id);
    if (id != NULL && port == NULL) {
        return ctr_fail(err, -ENOENT, "%s has no port", id);
    }
    if (port != NULL) {
        port->capture_own = on != 0;
        return follow(port, err);
    }
    int code = 0;
    br->capture_all = on != 0;
    for (port = br->ports; port != NULL && code == 0; port = port->next) {
        code = follow(port, err);
    }
    return code;
}
