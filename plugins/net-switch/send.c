/*
 * What goes to VMs. Frames are gathered for each port, and sent together once the batch that they came in is worked off.
 *
 * What a VM does not take waits in a ring that is bounded in frames and bytes; what does not fit is dropped, as a switch does: a sender cannot be held
 * back without holding back what it sends to others. One sender gets a quarter of the ring at most, so that a flood leaves room for the others' frames; all outside together gets half. A VM that is gone (ECONNREFUSED) costs nothing but its own frames.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sendmmsg */
#endif
#include "switch-priv.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* A frame counts as so many bytes at least, so that many short ones fill a share like few long ones. */
static size_t
weight(size_t length)
{
    return length < SW_QUEUE_BYTES / SW_QUEUE ? SW_QUEUE_BYTES / SW_QUEUE : length;
}

/* What comes from outside was acknowledged there: losing it costs seconds, so it has half the ring, and its reading stops long before (sw_is_behind). */
static size_t
share(unsigned source)
{
    return source == 0 ? SW_QUEUE_BYTES / 2 : SW_QUEUE_BYTES / 4;
}

static void
enqueue(struct sw_port *port, const struct sw_out *out)
{
    size_t length = out->length, n = weight(length);
    unsigned source = out->source;
    bool fits = port->queued < SW_QUEUE && port->queued_bytes + n <= SW_QUEUE_BYTES &&
                port->shares[source] + n <= share(source);
    uint8_t *copy = fits ? malloc(length) : NULL;
    if (copy == NULL) {
        port->stats.dropped++;
        return;
    }
    memcpy(copy, out->bytes, length);
    port->queue[(port->first + port->queued++) % SW_QUEUE] =
        (struct sw_queued){.bytes = copy, .length = length, .source = source};
    port->queued_bytes += n;
    port->shares[source] += n;
    if (port->queued == 1) {
        port->sw->host->watch_set(port->watch, CTR_READABLE | CTR_WRITABLE);
    }
}

static void
dequeue(struct sw_port *port)
{
    struct sw_queued *q = &port->queue[port->first];
    port->queued_bytes -= weight(q->length);
    port->shares[q->source] -= weight(q->length);
    free(q->bytes);
    q->bytes = NULL;
    port->first = (port->first + 1) % SW_QUEUE;
    port->queued--;
}

/* Sends from the first of n frames on; how many went, or a negative code if the first did not. */
static int
send_some(const struct sw_port *port, const struct sw_out *out, size_t n)
{
    int sent;
#ifdef __linux__
    struct iovec parts[SW_BATCH];
    struct mmsghdr messages[SW_BATCH];
    for (size_t i = 0; i < n; i++) {
        parts[i] = (struct iovec){.iov_base = (void *) (uintptr_t) out[i].bytes,
                                  .iov_len = out[i].length};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
    }
    do {
        sent = sendmmsg(port->fd, messages, (unsigned) n, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
#else
    do {
        sent =
            send(port->fd, out->bytes, out->length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 1;
    } while (sent < 0 && errno == EINTR);
#endif
    return sent < 0 ? -errno : sent;
}

static bool
is_slow(int code)
{
    return code == -EAGAIN || code == -EWOULDBLOCK || code == -ENOBUFS;
}

/* Sends what the VM takes; the number of frames that are dealt with, sent or lost. */
static size_t
send_all(struct sw_port *port, const struct sw_out *out, size_t n)
{
    size_t at = 0;
    while (at < n) {
        int sent = send_some(port, out + at, n - at);
        if (is_slow(sent)) {
            break;
        }
        if (sent < 0) {
            port->stats.dropped++;
            at++;
        }
        for (; sent > 0; sent--, at++) {
            port->stats.rx_frames++;
            port->stats.rx_bytes += out[at].length;
        }
    }
    return at;
}

static void
flush_port(struct sw_port *port)
{
    size_t at = port->queued > 0 ? 0 : send_all(port, port->out, port->n_out);
    for (; at < port->n_out; at++) {
        enqueue(port, &port->out[at]);
    }
    port->n_out = 0;
}

void
sw_port_send(struct sw_port *port, const uint8_t *frame, size_t length)
{
    struct sw *sw = port->sw;
    if (port->captured || sw->capture_all) {
        sw->services->frame(sw->services->arg, port->id, 0, frame, length);
    }
    if (port->n_out == SW_BATCH) {
        flush_port(port);
    }
    port->out[port->n_out++] =
        (struct sw_out){.bytes = frame, .length = length, .source = sw->source};
    if (!port->pending) {
        port->pending = true;
        port->next_pending = sw->pending;
        sw->pending = port;
    }
}

uint8_t *
sw_hold(struct sw *sw, size_t length)
{
    if (sw->n_held + length > sw->held_size) {
        sw_flush(sw);
    }
    uint8_t *ret = sw->held + sw->n_held;
    sw->n_held += length;
    return ret;
}

void
sw_flush(struct sw *sw)
{
    while (sw->pending != NULL) {
        struct sw_port *port = sw->pending;
        sw->pending = port->next_pending;
        port->pending = false;
        flush_port(port);
    }
    sw->n_held = 0;
}

void
sw_port_drain(struct sw_port *port)
{
    bool full = sw_is_behind(port);
    while (port->queued > 0) {
        const struct sw_queued *q = &port->queue[port->first];
        const struct sw_out out = {.bytes = q->bytes, .length = q->length};
        if (send_all(port, &out, 1) == 0) {
            break;
        }
        dequeue(port);
    }
    if (port->queued == 0) {
        port->sw->host->watch_set(port->watch, CTR_READABLE);
    }
    if (full && !sw_is_behind(port) && port->sw->uplink != NULL) {
        sw_uplink_resume(port->sw->uplink);
    }
}

void
sw_port_forget(struct sw_port *port)
{
    sw_flush(port->sw);
    while (port->queued > 0) {
        dequeue(port);
    }
}
