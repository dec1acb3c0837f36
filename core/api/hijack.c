/*
 * Upgraded connections: bytes between a client and a sandbox's raw stream, both ways, with half-closes.
 *
 * The client's half-close ends the process's stdin and no more; its full close, seen as POLLHUP, ends the stream. The end of
 * the stream ends the connection. A full buffer in one direction never stops the other.
 */
#include "core/api/api-priv.h"
#include <poll.h>
#include <sys/socket.h>

#define PIECE (32u * 1024)
#define LINGER_MS 3000

/* One direction. */
struct pump {
    int from, to;
    char *bytes;
    size_t start, end;
    bool eof;    /* `from` has ended */
    bool closed; /* and `to` has been told */
    bool broken; /* `to` takes no more */
};

static bool
has_bytes(const struct pump *pump)
{
    return pump->start < pump->end;
}

static void
pump_read(struct pump *pump)
{
    ssize_t n = recv(pump->from, pump->bytes, PIECE, MSG_DONTWAIT);
    if (n > 0) {
        pump->start = 0;
        pump->end = pump->broken ? 0 : (size_t) n;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        pump->eof = true;
    }
}

static void
pump_write(struct pump *pump)
{
    ssize_t n = send(pump->to, pump->bytes + pump->start, pump->end - pump->start,
                     MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        pump->start += (size_t) n;
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        pump->broken = true;
        pump->start = pump->end = 0;
    }
}

/* The end of `from` is passed on behind its last byte. */
static void
pump_step(struct pump *pump, bool readable, bool writable)
{
    if (has_bytes(pump) && (writable || pump->broken)) {
        pump_write(pump);
    } else if (!has_bytes(pump) && !pump->eof && readable) {
        pump_read(pump);
        if (has_bytes(pump)) {
            pump_write(pump);
        }
    }
    if (pump->eof && !has_bytes(pump) && !pump->closed) {
        pump->closed = true;
        (void) shutdown(pump->to, SHUT_WR);
    }
}

static void
pump_break(struct pump *pump)
{
    pump->broken = true;
    pump->start = pump->end = 0;
}

/* What to wait for; a side that hung up reports it for ever and is left out while there is nothing to do with it. */
static int
wait_for_work(const struct pump *in, const struct pump *out, bool gone, bool hung,
              struct pollfd fds[2])
{
    fds[0] = (struct pollfd){.fd = in->from};
    fds[1] = (struct pollfd){.fd = out->from};
    fds[0].events =
        (short) ((!has_bytes(in) && !in->eof ? POLLIN : 0) | (has_bytes(out) ? POLLOUT : 0));
    fds[1].events =
        (short) ((!has_bytes(out) && !out->eof ? POLLIN : 0) | (has_bytes(in) ? POLLOUT : 0));
    if (gone && (has_bytes(in) || in->eof)) {
        fds[0].fd = -1;
    }
    if (out->eof || (hung && has_bytes(out))) {
        fds[1].fd = -1;
    }
    return poll(fds, 2, gone ? LINGER_MS : -1);
}

static void
splice_loop(struct pump *in, struct pump *out)
{
    const short over = POLLHUP | POLLERR | POLLNVAL;
    bool gone = false, hung = false; /* client, sandbox */
    while (!out->eof || has_bytes(out)) {
        struct pollfd fds[2];
        int n = wait_for_work(in, out, gone, hung, fds);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return; /* a client that is gone, and a process that reads nothing */
        }
        gone = gone || (fds[0].revents & over) != 0 || out->broken;
        hung = hung || (fds[1].revents & over) != 0;
        if (gone) {
            pump_break(out);
        }
        if (hung) {
            pump_break(in);
        }
        pump_step(out, (fds[1].revents & (POLLIN | over)) != 0,
                  (fds[0].revents & POLLOUT) != 0);
        pump_step(in, (fds[0].revents & (POLLIN | over)) != 0, (fds[1].revents & POLLOUT) != 0);
        if (gone && in->eof && !has_bytes(in)) {
            return; /* nobody reads any more, and all that was sent has gone through */
        }
    }
}

void
api_splice(int client, int stream, const char *extra, size_t n)
{
    struct pump in = {.from = client, .to = stream, .bytes = malloc(PIECE)};
    struct pump out = {.from = stream, .to = client, .bytes = malloc(PIECE)};
    if (in.bytes != NULL && out.bytes != NULL && n <= PIECE) {
        memcpy(in.bytes, extra, n);
        in.end = n;
        out.closed = true; /* the end is told by api_splice_finish */
        splice_loop(&in, &out);
    }
    free(in.bytes);
    free(out.bytes);
}

void
api_splice_finish(int client)
{
    char dropped[4096];
    int64_t deadline = ctr_monotonic_ns() + LINGER_MS * 1000000ll;
    if (shutdown(client, SHUT_WR) < 0) {
        return;
    }
    /* A close with unread bytes would make the client's last read a reset instead of an end. */
    for (;;) {
        struct pollfd fd = {.fd = client, .events = POLLIN};
        int64_t left = (deadline - ctr_monotonic_ns()) / 1000000;
        if (left <= 0 || poll(&fd, 1, (int) left) <= 0) {
            return;
        }
        ssize_t n = recv(client, dropped, sizeof dropped, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            return;
        }
    }
}
