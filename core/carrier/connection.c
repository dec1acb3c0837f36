/*
 * A connection to ctr-net: one JSON line a request, one line each as the answer, until it becomes a stream of events or of captured frames.
 *
 * A connection that sends half a line and then waits, sends a line that is too long, or does not take its answers, is closed. Nothing is freed but in
 * its own callbacks: whoever else wants it gone shuts its socket down, which the loop tells.
 */
#include "core/carrier/carrier-priv.h"
#include <fcntl.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SIGPIPE is ignored */
#endif

#define MAX_LINE ((1 << 20) - 1)
#define WAIT_MS 10000
#define SEND_BUFFER (1 << 20)
#define MAX_BACKLOG (1 << 20) /* of what the peer has not taken yet */

enum mode { REQUESTS, EVENTS, CAPTURE };

struct ctr_connection {
    struct ctr_connection *next;
    struct ctr_server *server;
    int fd;
    struct ctr_watch *watch;
    struct ctr_timer *timer; /* runs out on a peer that `waits` */
    bool waits;              /* half a line is there, or an answer that is not taken */
    enum mode mode;
    struct ctr_capture *capture;
    bool ending;            /* shut down once `out` is empty */
    struct ctr_buf in, out; /* what is no whole line yet; what the peer has not taken yet */
    int passed;             /* a descriptor that came, -1: none */
    size_t passed_at;       /* with the line that begins there in `in` */
};

static void
close_connection(struct ctr_connection *c)
{
    struct ctr_connection **at = &c->server->connections;
    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    c->server->n_connections--;
    ctr_capture_free(c->capture);
    ctr_watch_remove(c->watch);
    ctr_timer_remove(c->timer);
    (void) close(c->fd);
    ctr_auto_fd(&c->passed);
    ctr_buf_clear(&c->in);
    ctr_buf_clear(&c->out);
    free(c);
}

void
ctr_connections_close(struct ctr_server *server)
{
    while (server->connections != NULL) {
        close_connection(server->connections);
    }
}

/* --- sending --- */

/* Hands parts to the socket as far as it takes them: bytes taken or a negative code. */
static ssize_t
send_parts(const struct ctr_connection *c, const struct iovec *parts, int n_parts, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = (struct iovec *) (uintptr_t) parts,
                             .msg_iovlen = (size_t) n_parts};
    if (fd >= 0) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    ssize_t n = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    bool later = n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS);
    return n >= 0 ? n : later && fd < 0 ? 0 : -errno;
}

/* All parts, now or as the peer takes them. -ENOBUFS: too much waits for it already, nothing was sent. */
static int
send_all(struct ctr_connection *c, const struct iovec *parts, int n_parts, int fd)
{
    size_t total = 0, sent = 0;
    for (int i = 0; i < n_parts; i++) {
        total += parts[i].iov_len;
    }
    if (c->ending || (c->out.length > 0 && c->out.length + total > MAX_BACKLOG)) {
        return -ENOBUFS;
    }
    if (c->out.length == 0) {
        ssize_t n = send_parts(c, parts, n_parts, fd);
        if (n < 0) {
            return (int) n;
        }
        sent = (size_t) n;
    }
    for (int i = 0; i < n_parts && sent < total; i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        ctr_buf_add(&c->out, (const char *) parts[i].iov_base + skip, parts[i].iov_len - skip);
        sent -= skip;
        total -= skip;
    }
    if (c->out.length > 0) {
        ctr_watch_set(c->watch,
                      c->mode == REQUESTS ? CTR_WRITABLE : CTR_READABLE | CTR_WRITABLE);
    }
    return c->out.failed ? -ENOMEM : 0;
}

static int
send_line(struct ctr_connection *c, const json_t *json, int fd)
{
    CTR_AUTO(free) char *text = ctr_json_text(json);
    if (text == NULL) {
        return -ENOMEM;
    }
    const struct iovec parts[2] = {{.iov_base = text, .iov_len = strlen(text)},
                                   {.iov_base = (char[]){'\n'}, .iov_len = 1}};
    return send_all(c, parts, 2, fd);
}

void
ctr_connections_tell(void *server, const json_t *event)
{
    for (struct ctr_connection *c = ((struct ctr_server *) server)->connections; c != NULL;
         c = c->next) {
        if (c->mode == EVENTS) {
            (void) send_line(c, event, -1);
        }
    }
}

static int
sink_write(void *arg, const struct iovec *parts, int n_parts)
{
    return send_all(arg, parts, n_parts, -1);
}

static void
sink_end(void *arg)
{
    struct ctr_connection *c = arg;
    c->ending = true;
    c->waits = true;
    ctr_timer_set(c->timer, WAIT_MS);
    if (c->out.length == 0) {
        (void) shutdown(c->fd, SHUT_RDWR);
    }
}

/* What waits for the peer. */
static int
flush(struct ctr_connection *c)
{
    struct iovec part = {.iov_base = c->out.data, .iov_len = c->out.length};
    ssize_t n = send_parts(c, &part, 1, -1);
    if (n < 0) {
        return (int) n;
    }
    ctr_buf_consume(&c->out, (size_t) n);
    if (c->out.length == 0) {
        ctr_watch_set(c->watch, CTR_READABLE);
        if (c->ending) {
            (void) shutdown(c->fd, SHUT_RDWR);
        }
    }
    return 0;
}

/* --- requests --- */

/* An answer of these makes the connection a stream. */
static json_t *
begin_stream(struct ctr_connection *c, const char *op, const json_t *request,
             struct ctr_error *err)
{
    const struct ctr_sink sink = {.arg = c, .write = sink_write, .end = sink_end};
    if (strcmp(op, "capture") == 0) {
        c->capture = ctr_carrier_capture(&c->server->carrier, request, &sink, err);
        if (c->capture == NULL) {
            return NULL;
        }
    }
    c->mode = c->capture != NULL ? CAPTURE : EVENTS;
    return json_object();
}

static json_t *
answer_to(struct ctr_connection *c, struct ctr_exchange *exchange)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *op = ctr_json_str(exchange->request, "op", "");
    json_t *ok;
    if (strcmp(op, "stop") == 0) {
        ctr_server_stop(c->server);
        ok = json_object();
    } else if (strcmp(op, "capture") == 0 || strcmp(op, "events") == 0) {
        ok = begin_stream(c, op, exchange->request, &err);
    } else {
        ok = ctr_carrier_handle(&c->server->carrier, exchange, &err);
    }
    return ok != NULL ? json_pack("{s:o}", "ok", ok)
                      : json_pack("{s:{s:i, s:s}}", "error", "code", (int) err.code, "message",
                                  err.msg);
}

/* One line, with the descriptor that came with it; 0, or a negative code when the connection is to be closed. */
static int
serve(struct ctr_connection *c, const char *line, size_t length, int take_fd)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_exchange exchange = {.fd = take_fd, .ret_fd = -1};
    CTR_AUTO(json) json_t *request = ctr_json_parse(line, length, MAX_LINE, "request", &err);
    exchange.request = request;
    CTR_AUTO(json)
    json_t *answer = request != NULL ? answer_to(c, &exchange)
                                     : json_pack("{s:{s:i, s:s}}", "error", "code",
                                                 (int) err.code, "message", err.msg);
    ctr_auto_fd(&exchange.fd); /* nobody's: gone before the answer says so */
    int code = answer == NULL ? -ENOMEM : send_line(c, answer, exchange.ret_fd);
    ctr_auto_fd(&exchange.ret_fd);
    return code == 0 && c->capture != NULL ? ctr_capture_head(c->capture) : code;
}

/* All whole lines that have come, as long as their answers are taken. */
static int
serve_lines(struct ctr_connection *c)
{
    int code = 0;
    size_t at = 0;
    while (code == 0 && !c->server->stopping && c->out.length == 0 && c->mode == REQUESTS) {
        const char *line = c->in.data + at;
        const char *end = c->in.length > at ? memchr(line, '\n', c->in.length - at) : NULL;
        if (end == NULL) {
            break;
        }
        int fd = c->passed_at == at ? ctr_steal_fd(&c->passed) : -1;
        code = serve(c, line, (size_t) (end - line), fd);
        at += (size_t) (end - line) + 1;
    }
    ctr_buf_consume(&c->in, at);
    c->passed_at -= c->passed_at < at ? c->passed_at : at;
    bool waits = c->in.length > 0 || c->out.length > 0;
    if (c->mode == REQUESTS && waits && (!c->waits || at > 0)) {
        ctr_timer_set(c->timer, WAIT_MS);
    }
    c->waits = c->ending || (c->mode == REQUESTS && waits);
    return code != 0 ? code : c->in.length > MAX_LINE ? -EFBIG : 0;
}

/* Descriptors come at most one a line, with its first byte; so it belongs to the last line of what came with it. */
static void
keep_passed(struct ctr_connection *c, int fds[4])
{
    for (size_t i = 1; i < 4; i++) {
        ctr_auto_fd(&fds[i]);
    }
    if (fds[0] >= 0) {
        ctr_auto_fd(&c->passed);
        c->passed = fds[0];
        c->passed_at = c->in.length - 1; /* its end may be there */
        while (c->passed_at > 0 && c->in.data[c->passed_at - 1] != '\n') {
            c->passed_at--;
        }
    }
}

static int
receive(struct ctr_connection *c)
{
    char chunk[32768];
    int fds[4];
    ssize_t n = ctr_recv_fds(c->fd, chunk, sizeof chunk, fds);
    if (n <= 0) {
        return n == 0 ? -EPIPE : n == -EAGAIN ? 0 : (int) n;
    }
    ctr_buf_add(&c->in, chunk, (size_t) n);
    if (c->in.failed || c->mode != REQUESTS) { /* a stream takes nothing any more */
        for (size_t i = 0; i < 4; i++) {
            ctr_auto_fd(&fds[i]);
        }
        return -EPROTO;
    }
    keep_passed(c, fds);
    return serve_lines(c);
}

static void
on_ready(void *arg, uint32_t events)
{
    struct ctr_connection *c = arg;
    int code = 0;
    if ((events & CTR_WRITABLE) != 0 && c->out.length > 0) {
        code = flush(c);
        code = code == 0 && c->out.length == 0 ? serve_lines(c) : code;
    }
    if (code == 0 && (events & CTR_READABLE) != 0) {
        code = receive(c);
    }
    if (code != 0) {
        close_connection(c);
    }
}

static void
on_late(void *arg)
{
    struct ctr_connection *c = arg;
    if (c->waits) {
        close_connection(c);
    }
}

void
ctr_connection_add(struct ctr_server *s, int take_fd)
{
    int size = SEND_BUFFER;
    struct ctr_connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        (void) close(take_fd);
        return;
    }
    (void) setsockopt(take_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void) fcntl(take_fd, F_SETFD, FD_CLOEXEC);
    *c = (struct ctr_connection){
        .next = s->connections, .server = s, .fd = take_fd, .passed = -1};
    s->connections = c;
    s->n_connections++;
    c->timer = ctr_timer_add(s->loop, WAIT_MS, on_late, c);
    c->watch = ctr_watch_add(s->loop, c->fd, CTR_READABLE, on_ready, c);
    if (c->timer == NULL || c->watch == NULL) {
        close_connection(c);
    }
}
