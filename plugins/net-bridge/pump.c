/*
 * A port that is no tap for its machine: frames go between a tap of ours and the descriptor that the machine's frames come from.
 *
 * When one side takes no more, the other is not read until it does: the kernel's queue of the tap then decides what is dropped, as a
 * network card's would.
 */
#include "bridge-priv.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_BUFFER (1 << 20)

struct br_pump {
    struct br_port *port;
    int tap, fd;
    struct ctr_watch *tap_watch, *fd_watch;
    bool waits; /* for the machine to take `held` */
    uint8_t *held;
    size_t held_length;
    uint64_t dropped;
};

static size_t
largest(const struct br_pump *pump)
{
    return pump->port->br->mtu + 14 + 4;
}

static void
wait_for_machine(struct br_pump *pump, bool on)
{
    const struct ctr_host *host = pump->port->br->host;
    pump->waits = on;
    host->watch_set(pump->tap_watch, on ? 0 : CTR_READABLE);
    host->watch_set(pump->fd_watch, on ? CTR_READABLE | CTR_WRITABLE : CTR_READABLE);
}

/* false: it takes no more now. */
static bool
to_machine(struct br_pump *pump, const uint8_t *bytes, size_t length)
{
    if (send(pump->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        return true;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
        return false;
    }
    pump->dropped++; /* no machine there, or a frame that it cannot take */
    return true;
}

static void
on_tap(void *arg, uint32_t events)
{
    struct br_pump *pump = arg;
    for (int i = 0; i < BR_BATCH && !pump->waits; i++) {
        ssize_t n = read(pump->tap, pump->held, BR_FRAME);
        if (n <= 0) {
            if (n == 0 || (errno != EAGAIN && errno != EINTR)) { /* somebody deleted the tap */
                pump->port->br->host->watch_set(pump->tap_watch, 0);
            }
            break;
        }
        if (!to_machine(pump, pump->held, (size_t) n)) {
            pump->held_length = (size_t) n;
            wait_for_machine(pump, true);
        }
    }
}

static void
from_machine(struct br_pump *pump)
{
    uint8_t *frame = pump->port->br->frame;
    for (int i = 0; i < BR_BATCH; i++) {
        ssize_t n = recv(pump->fd, frame, BR_FRAME, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0) {
            break;
        }
        if (n < 14 || (size_t) n > largest(pump) || write(pump->tap, frame, (size_t) n) != n) {
            pump->dropped++;
        }
    }
}

static void
on_machine(void *arg, uint32_t events)
{
    struct br_pump *pump = arg;
    if ((events & CTR_WRITABLE) != 0 && pump->waits &&
        to_machine(pump, pump->held, pump->held_length)) {
        wait_for_machine(pump, false);
    }
    if ((events & CTR_READABLE) != 0) {
        from_machine(pump);
    }
}

int
br_pump_create(struct br_port *port, int tap, int fd, struct ctr_error *err)
{
    const struct ctr_host *host = port->br->host;
    int size = SOCKET_BUFFER;
    struct br_pump *pump = calloc(1, sizeof *pump);
    if (pump == NULL) {
        return ctr_fail(err, -ENOMEM, "port of %s: out of memory", port->id);
    }
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    *pump = (struct br_pump){.port = port, .tap = tap, .fd = fd, .held = malloc(BR_FRAME)};
    pump->tap_watch = host->watch_add(host, tap, CTR_READABLE, on_tap, pump);
    pump->fd_watch = host->watch_add(host, fd, CTR_READABLE, on_machine, pump);
    if (pump->held == NULL || pump->tap_watch == NULL || pump->fd_watch == NULL) {
        pump->tap = pump->fd = -1;
        br_pump_destroy(pump);
        return ctr_fail(err, -ENOMEM, "port of %s: cannot be watched", port->id);
    }
    port->pump = pump;
    return 0;
}

void
br_pump_destroy(struct br_pump *pump)
{
    if (pump == NULL) {
        return;
    }
    const struct ctr_host *host = pump->port->br->host;
    host->watch_remove(pump->tap_watch);
    host->watch_remove(pump->fd_watch);
    if (pump->tap >= 0) {
        (void) close(pump->tap);
        (void) close(pump->fd);
    }
    free(pump->held);
    free(pump);
}

uint64_t
br_pump_dropped(const struct br_pump *pump)
{
    return pump == NULL ? 0 : pump->dropped;
}
