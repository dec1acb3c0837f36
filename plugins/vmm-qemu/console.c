/*
 * The guest's serial console goes into two files that never hold more than the bound: the guest may print for ever. What does
 * not fit on the disk is dropped.
 */
#include "qemu-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int
open_ring(struct console *console)
{
    console->out =
        open(console->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    console->size = 0;
    return console->out < 0 ? -errno : 0;
}

static void
turn_over(struct console *console)
{
    if (console->out >= 0) {
        (void) close(console->out);
    }
    (void) rename(console->path, console->old);
    (void) open_ring(console);
}

static void
ring_write(struct console *console, const char *bytes, size_t length)
{
    if (console->size + length > console->half) {
        turn_over(console);
    }
    while (length > 0 && console->out >= 0) {
        ssize_t n = write(console->out, bytes, length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        console->size += (uint64_t) n;
        bytes += n;
        length -= (size_t) n;
    }
}

/* One block. False: nothing more for now. */
static bool
pump(struct console *console)
{
    char block[2048];
    ssize_t n = read(console->in, block, sizeof block);
    if (n < 0) {
        return errno == EINTR;
    }
    if (n == 0) {
        if (console->watch != NULL) {
            console->host->watch_set(console->watch, 0);
        }
        return false;
    }
    ring_write(console, block, (size_t) n);
    return true;
}

static void
on_readable(void *arg, uint32_t events)
{
    (void) events;
    (void) pump(arg);
}

int
console_start(struct console *console, const struct ctr_host *host, int take_fd,
              const char *path, uint64_t bytes, struct ctr_error *err)
{
    *console = (struct console){
        .host = host, .in = take_fd, .out = -1, .half = bytes / 2 < 2048 ? 2048 : bytes / 2};
    if (asprintf(&console->path, "%s", path) < 0 || asprintf(&console->old, "%s.1", path) < 0) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    (void) unlink(console->old);
    int code = open_ring(console);
    if (code < 0) {
        return ctr_fail(err, code, "console %s: %s", path, strerror(-code));
    }
    console->watch = host->watch_add(host, take_fd, CTR_READABLE, on_readable, console);
    return console->watch == NULL ? ctr_fail(err, -errno, "console %s: cannot watch it", path)
                                  : 0;
}

void
console_drain(struct console *console)
{
    for (int i = 0; i < 1024 && console->in >= 0 && pump(console); i++) {
    }
}

void
console_finish(struct console *console)
{
    if (console->host == NULL) {
        return;
    }
    console->host->watch_remove(console->watch);
    if (console->in >= 0) {
        (void) close(console->in);
    }
    if (console->out >= 0) {
        (void) close(console->out);
    }
    free(console->path);
    free(console->old);
    *console = (struct console){.in = -1, .out = -1};
}
