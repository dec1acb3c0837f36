/*
 * One attached client: a stream socket that carries the process's stdin one way and its output the other.
 *
 * Output that the socket does not take at once is queued as the frames that will be sent; small pieces of the same stream
 * join the last frame while it is unsent. `done` counts what was sent of each stream: the process gives the guest
 * back what all its clients are done with, so the queue is bounded by the guest's windows. Input is read only while the
 * guest's stream has room. A half-close by the peer ends the process's stdin where that was asked for (stdin_once). On its
 * way out the socket is shut down and drained, so that the peer reads an end, not a reset.
 */
#include "core/sandbox/sandbox-priv.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define BLOCK 65536
#define HEAD 8
#define FRAME_MAX 65536
#define KEEP (128 * 1024) /* an empty queue keeps at most this much memory */

struct ctr_client {
    struct ctr_client *next;
    struct ctr_process *process;
    int fd; /* -1: held */
    struct ctr_watch *watch;
    bool in, out, err;
    bool in_over; /* nothing more comes from the peer */
    bool ending;  /* nothing more goes to it but the queue */
    char *greeting;
    size_t greeted;
    struct ctr_buf queue;
    size_t head;         /* bytes of the queue that were sent */
    size_t last;         /* where its last frame begins; SIZE_MAX: none */
    size_t frame_left;   /* unsent bytes of the frame at `head`, 0 between frames */
    size_t frame_length; /* its payload */
    int frame_stream;
    uint64_t done[3];
    struct ctr_buf unread; /* input that the guest's window had no room for */
};

static void
unlink_client(struct ctr_client *client)
{
    for (struct ctr_client **p = &client->process->clients; *p != NULL; p = &(*p)->next) {
        if (*p == client) {
            *p = client->next;
            return;
        }
    }
}

void
ctr_client_close(int fd)
{
    char rest[4096];
    if (fd >= 0) {
        (void) shutdown(fd, SHUT_RDWR);
        while (recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0) {
        }
        (void) close(fd);
    }
}

void
ctr_client_destroy(struct ctr_client *client)
{
    if (client == NULL) {
        return;
    }
    struct ctr_process *process = client->process;
    unlink_client(client);
    process->held = process->held == client ? NULL : process->held;
    ctr_watch_remove(client->watch);
    ctr_client_close(client->fd);
    ctr_buf_clear(&client->queue);
    ctr_buf_clear(&client->unread);
    free(client->greeting);
    free(client);
    ctr_process_progress(process);
    ctr_sandbox_sweep(process->sandbox);
}

/* --- output --- */

/* n more bytes of the queue are sent: whole frames count as done. */
static void
account(struct ctr_client *client, size_t n)
{
    if (client->process->tty) {
        client->head += n;
        client->done[1] += n;
        return;
    }
    while (n > 0) {
        if (client->frame_left == 0) {
            const uint8_t *h = (const uint8_t *) client->queue.data + client->head;
            client->frame_stream = h[0];
            client->frame_length =
                (size_t) h[4] << 24 | (size_t) h[5] << 16 | (size_t) h[6] << 8 | h[7];
            client->frame_left = HEAD + client->frame_length;
        }
        size_t part = n < client->frame_left ? n : client->frame_left;
        client->head += part;
        client->frame_left -= part;
        n -= part;
        if (client->frame_left == 0) {
            client->done[client->frame_stream] += client->frame_length;
        }
    }
}

static void
compact(struct ctr_client *client)
{
    if (client->head == client->queue.length) {
        if (client->queue.capacity > KEEP) {
            ctr_buf_clear(&client->queue);
        }
        client->queue.length = 0;
        client->last = SIZE_MAX;
    } else if (client->head > FRAME_MAX && client->head > client->queue.length / 2) {
        ctr_buf_consume(&client->queue, client->head);
        client->last = client->last < client->head ? SIZE_MAX : client->last - client->head;
    } else {
        return;
    }
    client->head = 0;
}

static void
watch_what_is_needed(struct ctr_client *client)
{
    bool read = !client->in_over && client->unread.length == 0;
    ctr_watch_set(client->watch, (read ? (uint32_t) CTR_READABLE : 0u) |
                                     (ctr_client_idle(client) ? 0u : (uint32_t) CTR_WRITABLE));
}

/* Sends what the socket takes: bytes, 0 when it is full, negative when the peer is gone. */
static ssize_t
send_some(int fd, const struct iovec *parts, size_t n_parts)
{
    struct msghdr message = {.msg_iov = (struct iovec *) parts, .msg_iovlen = n_parts};
    ssize_t n;
    do {
        n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : n;
}

static ssize_t
send_queue(struct ctr_client *client)
{
    if (client->greeting != NULL) {
        struct iovec part = {client->greeting + client->greeted,
                             strlen(client->greeting) - client->greeted};
        ssize_t n = send_some(client->fd, &part, 1);
        client->greeted += n > 0 ? (size_t) n : 0;
        if (n <= 0 || (size_t) n < part.iov_len) {
            return n < 0 ? n : 0;
        }
        free(ctr_steal(&client->greeting));
    }
    if (client->head == client->queue.length) {
        return 0;
    }
    struct iovec part = {client->queue.data + client->head,
                         client->queue.length - client->head};
    ssize_t n = send_some(client->fd, &part, 1);
    if (n > 0) {
        account(client, (size_t) n);
        compact(client);
    }
    return n;
}

static bool
finished(const struct ctr_client *client)
{
    bool mute = client->in_over && client->unread.length == 0 && !client->out && !client->err;
    return ctr_client_idle(client) && (client->ending || mute);
}

/* Writes what the socket takes. False: the client is gone and freed. */
static bool
flush(struct ctr_client *client)
{
    if (client->fd < 0) {
        return true;
    }
    ssize_t n = send_queue(client);
    if (n > 0) {
        ctr_process_progress(client->process);
    }
    if (n < 0 || client->queue.failed || finished(client)) {
        ctr_client_destroy(client);
        return false;
    }
    if (n > 0 && ctr_client_idle(client)) {
        ctr_sandbox_sweep(client->process->sandbox);
    }
    watch_what_is_needed(client);
    return true;
}

static void
frame_head(uint8_t head[HEAD], int which, size_t length)
{
    memset(head, 0, HEAD);
    head[0] = (uint8_t) which;
    for (int i = 0; i < 4; i++) {
        head[4 + i] = (uint8_t) (length >> (24 - 8 * i));
    }
}

static void
enqueue(struct ctr_client *client, int which, const void *bytes, size_t length)
{
    uint8_t *last = client->last == SIZE_MAX || client->last < client->head
                        ? NULL
                        : (uint8_t *) client->queue.data + client->last;
    size_t have = client->queue.length - client->last - HEAD;
    if (client->process->tty) {
        ctr_buf_add(&client->queue, bytes, length);
    } else if (last != NULL && last[0] == which && have + length <= FRAME_MAX) {
        frame_head(last, which, have + length);
        ctr_buf_add(&client->queue, bytes, length);
    } else {
        uint8_t head[HEAD];
        frame_head(head, which, length);
        client->last = client->queue.length;
        ctr_buf_add(&client->queue, head, sizeof head);
        ctr_buf_add(&client->queue, bytes, length);
    }
}

void
ctr_client_push(struct ctr_client *client, int which, const void *bytes, size_t length)
{
    if (client->fd < 0 || !ctr_client_idle(client)) {
        enqueue(client, which, bytes, length);
        return;
    }
    uint8_t head[HEAD];
    frame_head(head, which, length);
    struct iovec parts[2] = {{head, sizeof head}, {(void *) bytes, length}};
    bool raw = client->process->tty;
    size_t whole = length + (raw ? 0 : HEAD);
    ssize_t n = send_some(client->fd, parts + (raw ? 1 : 0), raw ? 1 : 2);
    if (n == (ssize_t) whole) {
        client->done[which] += length;
        return;
    }
    if (n >= 0) {
        enqueue(client, which, bytes, length);
    }
    if (n < 0 || client->queue.failed) {
        ctr_client_destroy(client);
        return;
    }
    account(client, (size_t) n);
    watch_what_is_needed(client);
}

void
ctr_client_end(struct ctr_client *client)
{
    client->ending = true;
    (void) flush(client);
}

/* --- input --- */

/* Hands input to the guest; what does not fit is kept; without a reader it is thrown away. */
static void
feed(struct ctr_client *client, const char *bytes, size_t length)
{
    struct ctr_process_stream *in = &client->process->in;
    if (!client->in || in->stream == NULL || in->ended) {
        return;
    }
    size_t taken = ctr_stream_write(in->stream, bytes, length);
    if (taken < length) {
        ctr_buf_add(&client->unread, bytes + taken, length - taken);
    }
}

static void
finish_input(struct ctr_client *client)
{
    struct ctr_process *process = client->process;
    if (client->in && client->unread.length == 0 && process->stdin_once &&
        process->in.stream != NULL && !process->in.ended) {
        process->in.ended = true;
        ctr_stream_finish(process->in.stream);
    }
}

static void
read_input(struct ctr_client *client)
{
    char block[BLOCK];
    ssize_t n = recv(client->fd, block, sizeof block, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    if (n > 0) {
        feed(client, block, (size_t) n);
        return;
    }
    client->in_over = true;
    finish_input(client);
}

static void
on_ready(void *arg, uint32_t events)
{
    struct ctr_client *client = arg;
    if ((events & CTR_READABLE) != 0 && !client->in_over && client->unread.length == 0) {
        read_input(client);
        if (client->in_over && client->unread.length == 0 && ctr_client_hung_up(client)) {
            ctr_client_destroy(client);
            return;
        }
    }
    (void) flush(client);
}

void
ctr_client_writable(struct ctr_client *client)
{
    if (client->unread.length > 0) {
        struct ctr_buf unread = client->unread;
        client->unread = (struct ctr_buf){0};
        feed(client, unread.data, unread.length);
        ctr_buf_clear(&unread);
    }
    if (client->in_over) {
        finish_input(client);
    }
    (void) flush(client);
}

/* --- the rest --- */

bool
ctr_client_wants(const struct ctr_client *client, int which)
{
    return which == 1 ? client->out : client->err;
}

uint64_t
ctr_client_done(const struct ctr_client *client, int which)
{
    return client->done[which];
}

bool
ctr_client_idle(const struct ctr_client *client)
{
    return client->greeting == NULL && client->head == client->queue.length;
}

bool
ctr_client_hung_up(const struct ctr_client *client)
{
    struct pollfd poll_fd = {.fd = client->fd};
    return client->fd >= 0 && poll(&poll_fd, 1, 0) > 0 &&
           (poll_fd.revents & (POLLHUP | POLLERR)) != 0;
}

struct ctr_client *
ctr_client_next(const struct ctr_client *client)
{
    return client->next;
}

struct ctr_client *
ctr_client_create(struct ctr_process *process, int take_fd, const struct ctr_spec_attach *wants)
{
    struct ctr_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        ctr_auto_fd(&take_fd);
        return NULL;
    }
    client->fd = -1;
    client->process = process;
    client->last = SIZE_MAX;
    client->in = wants->in;
    client->out = wants->out || (process->tty && wants->err);
    client->err = wants->err;
    client->done[1] = process->out.total;
    client->done[2] = process->err.total;
    client->ending = process->told;
    client->next = process->clients;
    process->clients = client;
    if (take_fd >= 0) {
        ctr_client_open(client, take_fd, NULL, NULL, 0);
    }
    return client;
}

void
ctr_client_open(struct ctr_client *client, int take_fd, const char *greeting, const char *early,
                size_t n_early)
{
    client->fd = take_fd;
    client->process->held = client->process->held == client ? NULL : client->process->held;
    (void) fcntl(take_fd, F_SETFL, fcntl(take_fd, F_GETFL) | O_NONBLOCK);
    client->greeting = greeting != NULL ? ctr_printf("%s", greeting) : NULL;
    client->watch =
        ctr_watch_add(client->process->sandbox->loop, take_fd, CTR_READABLE, on_ready, client);
    if (client->watch == NULL || (greeting != NULL && client->greeting == NULL)) {
        ctr_client_destroy(client);
        return;
    }
    if (n_early > 0) {
        feed(client, early, n_early);
    }
    (void) flush(client);
}
