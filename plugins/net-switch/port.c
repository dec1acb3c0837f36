/*
 * A port: one end of a connected pair of datagram sockets, whose other end is the VM's network card.
 *
 * What the VM does not take waits in a bounded ring; what does not fit is dropped, as a switch does. A VM that is gone
 * (ECONNREFUSED) costs nothing but its own frames: the port stays until it is detached.
 */
#include "switch-priv.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

static void
drop(struct sw_port *port)
{
    port->stats.dropped++;
}

/* Sends at once: 0, -EAGAIN if the VM is slow, or another code. */
static int
send_now(struct sw_port *port, const uint8_t *frame, size_t length)
{
    ssize_t n;
    do {
        n = send(port->fd, frame, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    port->stats.rx_frames++;
    port->stats.rx_bytes += length;
    return 0;
}

static void
enqueue(struct sw_port *port, const uint8_t *frame, size_t length)
{
    uint8_t *copy = port->queued < SW_QUEUE ? malloc(length) : NULL;
    if (copy == NULL) {
        drop(port);
        return;
    }
    memcpy(copy, frame, length);
    port->queue[(port->first + port->queued++) % SW_QUEUE] =
        (struct sw_queued){.bytes = copy, .length = length};
    if (port->queued == 1) {
        port->sw->host->watch_set(port->watch, CTR_READABLE | CTR_WRITABLE);
    }
}

void
sw_port_send(struct sw_port *port, const uint8_t *frame, size_t length)
{
    int code = port->queued == 0 ? send_now(port, frame, length) : -EAGAIN;
    if (code == -EAGAIN || code == -EWOULDBLOCK) {
        enqueue(port, frame, length);
    } else if (code != 0) {
        drop(port);
    }
}

static void
dequeue(struct sw_port *port)
{
    free(port->queue[port->first].bytes);
    port->queue[port->first].bytes = NULL;
    port->first = (port->first + 1) % SW_QUEUE;
    port->queued--;
}

static void
flush(struct sw_port *port)
{
    while (port->queued > 0) {
        const struct sw_queued *q = &port->queue[port->first];
        int code = send_now(port, q->bytes, q->length);
        if (code == -EAGAIN || code == -EWOULDBLOCK) {
            return;
        }
        if (code != 0) {
            drop(port);
        }
        dequeue(port);
    }
    port->sw->host->watch_set(port->watch, CTR_READABLE);
}

static void
receive(struct sw_port *port)
{
    size_t most = SW_ETHER + 4 + port->sw->mtu;
    for (int i = 0; i < SW_BATCH; i++) {
        ssize_t n = recv(port->fd, port->sw->frame, most + 1, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            port->sw->host->watch_set(port->watch, 0); /* the VM is gone: no more of it */
        }
        if (n < 0) {
            return;
        }
        port->stats.tx_frames++;
        port->stats.tx_bytes += (uint64_t) n;
        if ((size_t) n > most) {
            drop(port);
            continue;
        }
        sw_from_port(port, port->sw->frame, (size_t) n);
    }
}

static void
on_ready(void *arg, uint32_t events)
{
    struct sw_port *port = arg;
    if ((events & CTR_WRITABLE) != 0 && port->queued > 0) {
        flush(port);
    }
    if ((events & CTR_READABLE) != 0) {
        receive(port);
    }
}

static void
enlarge(int fd)
{
    if (fd < 0) {
        return;
    }
    int size = SW_BUFFER;
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int
sw_port_create(struct sw *sw, const struct ctr_port_spec *spec, int *ret_fd,
               struct sw_port **ret, struct ctr_error *err)
{
    int fds[2] = {spec->fd, -1}, code;
    struct sw_port *port = calloc(1, sizeof *port);
    char *id = strdup(spec->id);
    if (port == NULL || id == NULL) {
        code = ctr_fail(err, -ENOMEM, "port of %s: out of memory", spec->id);
        goto fail_memory;
    }
    if (spec->fd < 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) != 0) {
        code =
            ctr_fail(err, -errno, "port of %s: no socket pair: %s", spec->id, strerror(errno));
        goto fail_memory;
    }
    enlarge(fds[0]);
    enlarge(fds[1]);
    *port = (struct sw_port){
        .sw = sw, .id = id, .serial = ++sw->serial, .address = spec->address, .fd = fds[0]};
    port->stats.size = sizeof port->stats;
    memcpy(port->mac, spec->mac, sizeof port->mac);
    port->watch = sw->host->watch_add(sw->host, port->fd, CTR_READABLE, on_ready, port);
    if (port->watch == NULL) {
        code = ctr_fail(err, -ENOMEM, "port of %s: it cannot be watched: %s", spec->id,
                        strerror(errno));
        goto fail_watch;
    }
    *ret = port;
    *ret_fd = fds[1];
    return 0;

fail_watch:
    if (spec->fd < 0) {
        (void) close(fds[0]);
        (void) close(fds[1]);
    }
fail_memory:
    free(id);
    free(port);
    return code;
}

void
sw_port_destroy(struct sw_port *port)
{
    if (port == NULL) {
        return;
    }
    port->sw->host->watch_remove(port->watch);
    (void) close(port->fd);
    while (port->queued > 0) {
        dequeue(port);
    }
    free(port->id);
    free(port);
}
