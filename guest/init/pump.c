/* pump.c: see pump.h. A step's last act may be `done`, which may free the pump. */
#include "pump.h"
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

static void
out_ready(struct watch *watch, uint32_t events)
{
    pump_out_step((struct pump *) watch);
}

static void
in_ready(struct watch *watch, uint32_t events)
{
    pump_in_step((struct pump *) watch);
}

int
pump_start_out(struct pump *pump, int take_fd)
{
    pump->watch = (struct watch){.fd = take_fd, .ready = out_ready};
    return watch_set(&pump->watch, EPOLLIN);
}

int
pump_start_in(struct pump *pump, int take_fd)
{
    /* Nothing is watched until a write came short; EPOLLERR of an idle pipe is no business of ours. */
    pump->watch = (struct watch){.fd = take_fd, .ready = in_ready};
    return 0;
}

void
pump_drain(struct pump *pump)
{
    pump->draining = true;
    if (pump->watch.fd >= 0) {
        pump_out_step(pump);
    }
}

static void
finish(struct pump *pump)
{
    watch_close(&pump->watch);
    pump->done(pump);
}

/* Output that nobody wants is read and thrown away, so that the process is not held. */
static ssize_t
discard(int fd)
{
    static char bytes[64 * 1024];
    return read(fd, bytes, sizeof bytes);
}

static ssize_t
carry(struct pump *pump, size_t room)
{
    uint8_t *place = stream_reserve(pump->stream, room);
    if (place == NULL) {
        errno = ENOMEM;
        return -1;
    }
    ssize_t n = read(pump->watch.fd, place, room);
    if (n > 0) {
        stream_commit(pump->stream, (size_t) n);
    }
    return n;
}

void
pump_out_step(struct pump *pump)
{
    if (pump->watch.fd < 0) {
        return;
    }
    /* A few rounds only: other descriptors wait too. */
    for (int round = 0; round < 8 || pump->draining; round++) {
        bool unwanted = pump->stream->reset;
        size_t room = stream_room(pump->stream);
        if (!unwanted && room == 0) {
            (void) watch_set(&pump->watch, 0);
            return;
        }
        ssize_t n = unwanted ? discard(pump->watch.fd) : carry(pump, room);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN && !pump->draining) {
            break;
        }
        if (n <= 0) { /* the end; EIO is a terminal's */
            finish(pump);
            return;
        }
    }
    (void) watch_set(&pump->watch, EPOLLIN);
}

void
pump_in_step(struct pump *pump)
{
    struct stream *stream = pump->stream;
    while (pump->watch.fd >= 0 && stream->in.length > 0) {
        ssize_t n = write(pump->watch.fd, buf_front(&stream->in), stream->in.length);
        if (n > 0) {
            stream_take(stream, (size_t) n);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            (void) watch_set(&pump->watch, EPOLLOUT);
            return;
        } else { /* the process reads no more */
            stream_take(stream, stream->in.length);
            finish(pump);
            return;
        }
    }
    (void) watch_set(&pump->watch, 0);
    if (stream->remote_fin || stream->reset) {
        finish(pump);
    }
}
