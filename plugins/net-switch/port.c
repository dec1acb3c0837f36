/*
 * A port: the network's end of a connected pair of datagram sockets, whose other end is the VM's network card.
 *
 * The core made the pair and keeps a copy of this end, so that the VM does not notice when this process ends and another takes the port over.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* recvmmsg */
#endif
#include "switch-priv.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Receives up to n frames; their number, 0 if there are none, or a negative code. A frame that is too long is one byte longer than the longest. */
static int
receive_some(const struct sw_port *port, size_t n, size_t *lengths)
{
    const struct sw *sw = port->sw;
#ifdef __linux__
    struct iovec parts[SW_BATCH];
    struct mmsghdr messages[SW_BATCH];
    for (size_t i = 0; i < n; i++) {
        parts[i] = (struct iovec){.iov_base = sw->frames + i * sw->frame_size,
                                  .iov_len = sw->frame_size};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
    }
    int got = recvmmsg(port->fd, messages, (unsigned) n, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
        lengths[i] = messages[i].msg_len;
    }
#else
    ssize_t length = recv(port->fd, sw->frames, sw->frame_size, MSG_DONTWAIT);
    int got = length < 0 ? -1 : 1;
    lengths[0] = got < 0 ? 0 : (size_t) length;
#endif
    if (got >= 0) {
        return got;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
}

static void
take(struct sw_port *port, const uint8_t *frame, size_t length)
{
    struct sw *sw = port->sw;
    port->stats.tx_frames++;
    port->stats.tx_bytes += length;
    if (port->captured || sw->capture_all) {
        sw->services->frame(sw->services->arg, port->id, 1, frame, length);
    }
    if (length == sw->frame_size) {
        port->stats.dropped++;
    } else {
        sw_from_port(port, frame, length);
    }
}

/* One turn: the others have theirs before the next. */
static void
receive(struct sw_port *port)
{
    struct sw *sw = port->sw;
    size_t lengths[SW_BATCH];
    int got = receive_some(port, sw->n_frames, lengths);
    sw->source = 1 + (unsigned) (port->serial % (SW_SOURCES - 1));
    if (got < 0) {
        sw->host->watch_set(port->watch, 0); /* the VM is gone: no more of it */
    }
    for (int i = 0; i < got; i++) {
        take(port, sw->frames + (size_t) i * sw->frame_size, lengths[i]);
    }
    sw_flush(sw);
    sw->source = 0;
}

static void
on_ready(void *arg, uint32_t events)
{
    struct sw_port *port = arg;
    if ((events & CTR_WRITABLE) != 0 && port->queued > 0) {
        sw_port_drain(port);
    }
    if ((events & CTR_READABLE) != 0) {
        receive(port);
    }
}

static void
prepare(int fd)
{
    int size = SW_BUFFER;
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int
sw_port_create(struct sw *sw, const struct ctr_port_spec *spec, struct sw_port **ret,
               struct ctr_error *err)
{
    struct sw_port *port = calloc(1, sizeof *port);
    char *id = strdup(spec->id);
    if (port == NULL || id == NULL) {
        free(id);
        free(port);
        return ctr_fail(err, -ENOMEM, "port of %s: out of memory", spec->id);
    }
    *port = (struct sw_port){
        .sw = sw,
        .id = id,
        .serial = ++sw->serial,
        .fd = spec->fd,
        .host = (spec->flags & CTR_PORT_HOST) != 0,
        .who.address = sw_ipv4(spec->address),
        .who.address6 = spec->address6,
        .stats.size = sizeof port->stats,
    };
    memcpy(port->who.mac, spec->mac, sizeof port->who.mac);
    if (spec->address6.family == 6) {
        port->who.link_local = sw_link_local(spec->mac);
    }
    prepare(spec->fd);
    port->watch = sw->host->watch_add(sw->host, port->fd, CTR_READABLE, on_ready, port);
    if (port->watch == NULL) {
        int code = ctr_fail(err, -ENOMEM, "port of %s: it cannot be watched: %s", spec->id,
                            strerror(errno));
        free(id);
        free(port);
        return code;
    }
    *ret = port;
    return 0;
}

void
sw_port_destroy(struct sw_port *port)
{
    if (port == NULL) {
        return;
    }
    sw_port_forget(port);
    port->sw->host->watch_remove(port->watch);
    (void) close(port->fd);
    free(port->id);
    free(port);
}
