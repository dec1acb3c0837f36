/*
 * Frames to and from passt: a stream socket, each frame after its length in 4 bytes, most significant first.
 *
 * passt expects a length in one piece, so each frame is sent by a call of its own. What passt does not take waits in a bounded queue; what does not fit is dropped. What
 * passt sends for a machine that is behind with its frames is left in the socket.
 */
#include "passt-priv.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PREFIX 4
#define LARGEST (SW_ETHER + 65535)

/* How much of the two parts went, or a negative code. */
static ssize_t
send_parts(const struct way *way, const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b)
{
    struct iovec parts[2] = {
        {.iov_base = (void *) (uintptr_t) a, .iov_len = n_a},
        {.iov_base = (void *) (uintptr_t) b, .iov_len = n_b},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n;
    do {
        n = sendmsg(way->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void
watch(const struct way *way, uint32_t events)
{
    way->guest->up->sw->host->watch_set(way->watch, events);
}

static bool
is_behind(const struct way *way)
{
    return sw_is_behind(way->guest->port);
}

static void
watch_again(const struct way *way)
{
    watch(way, (is_behind(way) ? 0U : (uint32_t) CTR_READABLE) |
                   (way->n_out > 0 ? (uint32_t) CTR_WRITABLE : 0U));
}

bool
way_send(struct way *way, const uint8_t *frame, size_t length)
{
    uint8_t prefix[PREFIX];
    size_t whole = PREFIX + length;
    if (way_is_stuck(way)) { /* its exit is told apart, and it is started again then */
        (void) way->guest->up->sw->host->child_kill(way->child, 9);
        return false;
    }
    sw_put32(prefix, (uint32_t) length);
    ssize_t n = way->n_out > 0 ? -EAGAIN : send_parts(way, prefix, PREFIX, frame, length);
    if (n == (ssize_t) whole) {
        return true;
    }
    if ((n < 0 && n != -EAGAIN) || way->n_out + whole > WAY_QUEUE) {
        return false;
    }
    memcpy(way->out + way->n_out, prefix, PREFIX);
    memcpy(way->out + way->n_out + PREFIX, frame, length);
    if (way->n_out == 0) {
        way->sent = n < 0 ? 0 : (size_t) n;
    }
    way->n_out += whole;
    watch_again(way);
    return true;
}

/* Sends what waits, frame by frame. */
static void
flush(struct way *way)
{
    size_t at = 0;
    while (at < way->n_out) {
        size_t whole = PREFIX + sw_get32(way->out + at);
        ssize_t n = send_parts(way, way->out + at + way->sent, whole - way->sent, NULL, 0);
        if (n < 0) {
            break;
        }
        way->sent += (size_t) n;
        if (way->sent < whole) {
            break;
        }
        way->sent = 0;
        at += whole;
    }
    memmove(way->out, way->out + at, way->n_out - at);
    way->n_out -= at;
}

/* The whole frames that have come; false if this is no passt. */
static bool
take_frames(struct way *way)
{
    size_t at = 0;
    while (way->n_in - at >= PREFIX) {
        size_t length = sw_get32(way->in + at);
        if (length < SW_ETHER || length > LARGEST) {
            return false;
        }
        if (way->n_in - at < PREFIX + length) {
            break;
        }
        guest_from_way(way, way->in + at + PREFIX, length);
        at += PREFIX + length;
    }
    memmove(way->in, way->in + at, way->n_in - at);
    way->n_in -= at;
    return true;
}

bool
way_read(struct way *way)
{
    for (int i = 0; i < WAY_TURNS && !is_behind(way); i++) {
        ssize_t n = recv(way->fd, way->in + way->n_in, WAY_READ - way->n_in, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        }
        way->n_in += (size_t) n;
        way->moved_ms = sw_now_ms();
        bool good = take_frames(way);
        sw_flush(way->guest->up->sw);
        if (!good) {
            return false;
        }
    }
    return true;
}

void
way_ready(void *arg, uint32_t events)
{
    struct way *way = arg;
    if ((events & CTR_WRITABLE) != 0 && way->n_out > 0) {
        flush(way);
    }
    if (!way_read(way)) {
        /* It is gone, or does not speak passt's language; its exit is told apart, and it is started again then. */
        watch(way, 0);
        (void) way->guest->up->sw->host->child_kill(way->child, 9);
        return;
    }
    watch_again(way);
}

void
way_resume(struct way *way)
{
    if (way->child != NULL) {
        watch_again(way);
    }
}
