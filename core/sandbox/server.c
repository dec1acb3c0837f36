/*
 * The control socket: JSON lines. At most 256 connections, 1 MiB a line, 10 s for a half-sent one. {"op":"events"} makes a
 * connection a subscriber; attach and exec turn it into a raw stream (client.c); all other requests get an
 * answer and may follow one another. A subscriber that does not read is dropped once 1 MiB waits for it.
 */
#include "core/sandbox/sandbox-priv.h"

#include <fcntl.h>
#include <sys/socket.h>

struct ctr_sandbox *
ctr_conn_sandbox(struct ctr_conn *conn)
{
    return conn->sandbox;
}

static void
disconnect(struct ctr_conn *conn)
{
    ctr_watch_remove(conn->watch);
    ctr_timer_remove(conn->timer);
    ctr_auto_fd(&conn->fd);
    conn->watch = NULL;
    conn->timer = NULL;
    conn->fd = -1;
    if (conn->process != NULL) {
        conn->process->waiting = NULL;
        conn->process = NULL;
    }
}

static void
conn_destroy(struct ctr_conn *conn)
{
    struct ctr_server *server = &conn->sandbox->server;
    for (struct ctr_conn **p = &server->conns; *p != NULL; p = &(*p)->next) {
        if (*p == conn) {
            *p = conn->next;
            server->n_conns--;
            break;
        }
    }
    disconnect(conn);
    ctr_buf_clear(&conn->in);
    ctr_buf_clear(&conn->out);
    ctr_sandbox_sweep(conn->sandbox);
    free(conn);
}

/* The peer is gone. While the guest still owes an answer the object stays. */
static void
lose(struct ctr_conn *conn)
{
    if (!conn->waiting || conn->process != NULL) {
        conn_destroy(conn);
        return;
    }
    conn->lost = true;
    disconnect(conn);
}

bool
ctr_conn_answered(struct ctr_conn *conn)
{
    conn->waiting = false;
    if (conn->lost) {
        conn_destroy(conn);
        return false;
    }
    return true;
}

void
ctr_conn_wait(struct ctr_conn *conn, struct ctr_process *process)
{
    conn->waiting = true;
    conn->process = process;
    ctr_timer_remove(conn->timer);
    conn->timer = NULL;
}

static void
watch_what_is_needed(struct ctr_conn *conn)
{
    uint32_t read = conn->waiting ? 0u : (uint32_t) CTR_READABLE;
    ctr_watch_set(conn->watch, read | (conn->out.length > 0 ? (uint32_t) CTR_WRITABLE : 0u));
}

/* False: the connection is gone. */
static bool
conn_flush(struct ctr_conn *conn)
{
    size_t sent = 0;
    bool broken = conn->out.failed;
    while (sent < conn->out.length) {
        ssize_t n = send(conn->fd, conn->out.data + sent, conn->out.length - sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            broken = broken || (errno != EAGAIN && errno != EWOULDBLOCK);
            break;
        }
        sent += (size_t) n;
    }
    ctr_buf_consume(&conn->out, sent);
    if (broken || conn->out.length > CTR_SUBSCRIBER_MAX) {
        lose(conn);
        return false;
    }
    if (sent > 0 && conn->out.length == 0) {
        ctr_sandbox_sweep(conn->sandbox);
    }
    watch_what_is_needed(conn);
    return true;
}

bool
ctr_conn_send(struct ctr_conn *conn, const json_t *json)
{
    CTR_AUTO(free) char *text = ctr_json_text(json);
    if (text == NULL) {
        conn->out.failed = true;
    } else {
        ctr_buf_puts(&conn->out, text);
        ctr_buf_puts(&conn->out, "\n");
    }
    return conn_flush(conn);
}

static void
on_deadline(void *arg)
{
    lose(arg);
}

static void
set_deadline(struct ctr_conn *conn, uint64_t ms)
{
    if (conn->timer == NULL) {
        conn->timer = ctr_timer_add(conn->sandbox->loop, ms, on_deadline, conn);
    } else {
        ctr_timer_set(conn->timer, ms);
    }
}

void
ctr_conn_reply(struct ctr_conn *conn, json_t *take_reply)
{
    CTR_AUTO(json)
    json_t *reply = take_reply != NULL ? take_reply : json_pack("{s:{}}", "ok");
    conn->waiting = false;
    conn->process = NULL;
    set_deadline(conn, CTR_IDLE_MS);
    (void) ctr_conn_send(conn, reply);
}

void
ctr_conn_fail(struct ctr_conn *conn, const char *code, const char *message)
{
    ctr_conn_reply(conn, ctr_error_json(code, message));
}

/* The descriptor travels with the first byte, so nothing may wait before it. */
void
ctr_conn_reply_fd(struct ctr_conn *conn, int fd)
{
    static const char ok[] = "{\"ok\":{}}\n";
    if (conn->out.length > 0) {
        ctr_conn_fail(conn, "EAGAIN", "read the earlier answers first");
        return;
    }
    if (ctr_send_fds(conn->fd, ok, 1, &fd, 1) < 0) {
        lose(conn);
        return;
    }
    set_deadline(conn, CTR_IDLE_MS);
    ctr_buf_puts(&conn->out, ok + 1);
    (void) conn_flush(conn);
}

void
ctr_conn_become_client(struct ctr_conn *conn, struct ctr_client *client, json_t *take_ok)
{
    CTR_AUTO(json) json_t *ok = take_ok;
    CTR_AUTO(free) char *text = ctr_json_text(ok);
    CTR_AUTO(free) char *line = text == NULL ? NULL : ctr_printf("%s\n", text);
    struct ctr_buf early = conn->in;
    conn->in = (struct ctr_buf){0};
    ctr_watch_remove(conn->watch);
    conn->watch = NULL;
    conn->process = NULL;
    int fd = ctr_steal_fd(&conn->fd);
    conn_destroy(conn);
    ctr_client_open(client, fd, line == NULL ? "\n" : line, early.data, early.length);
    ctr_buf_clear(&early);
}

/* --- requests --- */

/* Takes one line off the buffer and acts on it. False: none is whole, or the connection is gone or changed. */
static bool
next_request(struct ctr_conn *conn)
{
    char *end = conn->in.length == 0 ? NULL : memchr(conn->in.data, '\n', conn->in.length);
    if (end == NULL || conn->waiting) {
        return false;
    }
    size_t length = (size_t) (end - conn->in.data);
    CTR_AUTO(free) char *line = malloc(length + 1);
    if (line == NULL) {
        conn_destroy(conn);
        return false;
    }
    memcpy(line, conn->in.data, length);
    line[length] = '\0';
    ctr_buf_consume(&conn->in, length + 1);
    ctr_control_dispatch(conn, line, length);
    return true;
}

static bool
is_open(const struct ctr_server *server, const struct ctr_conn *conn)
{
    for (const struct ctr_conn *c = server->conns; c != NULL; c = c->next) {
        if (c == conn) {
            return !c->lost;
        }
    }
    return false;
}

static void
handle_lines(struct ctr_conn *conn)
{
    struct ctr_server *server = &conn->sandbox->server;
    while (next_request(conn)) {
        if (!is_open(server, conn)) {
            return;
        }
    }
    if (!is_open(server, conn)) {
        return;
    }
    if (conn->in.length > CTR_LINE_MAX || conn->in.failed) {
        ctr_buf_clear(&conn->in);
        ctr_conn_fail(conn, "EMSGSIZE", "a request line is longer than 1 MiB");
        if (is_open(server, conn)) {
            lose(conn);
        }
        return;
    }
    if (conn->in.length > 0 && !conn->waiting && !conn->subscriber) {
        set_deadline(conn, CTR_REQUEST_MS);
    }
    watch_what_is_needed(conn);
}

static void
on_conn(void *arg, uint32_t events)
{
    struct ctr_conn *conn = arg;
    if ((events & CTR_WRITABLE) != 0 && !conn_flush(conn)) {
        return;
    }
    if ((events & CTR_READABLE) == 0) {
        return;
    }
    char block[16384];
    ssize_t n = recv(conn->fd, block, sizeof block, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        lose(conn);
        return;
    }
    bool first = conn->in.length == 0;
    ctr_buf_add(&conn->in, block, (size_t) n);
    if (first || memchr(block, '\n', (size_t) n) != NULL || conn->in.length > CTR_LINE_MAX ||
        conn->in.failed) {
        handle_lines(conn);
    }
}

/* --- connections --- */

static struct ctr_conn *
conn_create(struct ctr_sandbox *sandbox, int take_fd)
{
    struct ctr_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL) {
        (void) close(take_fd);
        return NULL;
    }
    (void) fcntl(take_fd, F_SETFL, fcntl(take_fd, F_GETFL) | O_NONBLOCK);
    conn->sandbox = sandbox;
    conn->fd = take_fd;
    conn->next = sandbox->server.conns;
    sandbox->server.conns = conn;
    sandbox->server.n_conns++;
    conn->watch = ctr_watch_add(sandbox->loop, take_fd, CTR_READABLE, on_conn, conn);
    if (conn->watch == NULL) {
        conn_destroy(conn);
        return NULL;
    }
    return conn;
}

static size_t
count_clients(const struct ctr_sandbox *sandbox, bool reap)
{
    size_t n = 0;
    struct ctr_process *lists[] = {sandbox->init, sandbox->execs};
    for (size_t i = 0; i < CTR_LENGTH(lists); i++) {
        for (struct ctr_process *p = lists[i]; p != NULL; p = p->next) {
            struct ctr_client *next;
            for (struct ctr_client *c = p->clients; c != NULL; c = next) {
                next = ctr_client_next(c);
                if (reap && ctr_client_hung_up(c)) {
                    ctr_client_destroy(c);
                } else {
                    n++;
                }
            }
        }
    }
    return n;
}

/* Out of descriptors: the reserved one takes the caller off the queue, else it would be offered for ever. */
static void
turn_away(struct ctr_server *server)
{
    ctr_auto_fd(&server->reserve);
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    ctr_auto_fd(&fd);
    server->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
on_accept(void *arg, uint32_t events)
{
    struct ctr_sandbox *sandbox = arg;
    struct ctr_server *server = &sandbox->server;
    (void) events;
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE) {
            turn_away(server);
        }
        return;
    }
    if (server->n_conns + count_clients(sandbox, false) >= CTR_CONNECTIONS_MAX &&
        server->n_conns + count_clients(sandbox, true) >= CTR_CONNECTIONS_MAX) {
        static const char full[] = "{\"error\":{\"code\":\"EAGAIN\",\"message\":\"too many "
                                   "connections to this container (256)\"}}\n";
        (void) send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void) close(fd);
        return;
    }
    if (ctr_unix_check_peer(fd, NULL) < 0) {
        (void) close(fd);
        return;
    }
    struct ctr_conn *conn = conn_create(sandbox, fd);
    if (conn != NULL) {
        set_deadline(conn, CTR_REQUEST_MS);
    }
}

int
ctr_server_start(struct ctr_sandbox *sandbox, const char *path, struct ctr_error *err)
{
    struct ctr_server *server = &sandbox->server;
    server->fd = ctr_unix_listen(path, err);
    if (server->fd < 0) {
        return server->fd;
    }
    (void) fcntl(server->fd, F_SETFL, fcntl(server->fd, F_GETFL) | O_NONBLOCK);
    server->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    server->watch = ctr_watch_add(sandbox->loop, server->fd, CTR_READABLE, on_accept, sandbox);
    return server->watch == NULL ? ctr_fail(err, -ENOMEM, "socket %s: cannot watch it", path)
                                 : 0;
}

void
ctr_server_adopt(struct ctr_sandbox *sandbox, int take_fd)
{
    struct ctr_conn *conn = conn_create(sandbox, take_fd);
    if (conn != NULL) {
        ctr_control_subscribe(conn);
    }
}

void
ctr_server_tell(struct ctr_sandbox *sandbox, const json_t *event)
{
    struct ctr_conn *next;
    for (struct ctr_conn *c = sandbox->server.conns; c != NULL; c = next) {
        next = c->next;
        if (c->subscriber && !c->lost) {
            (void) ctr_conn_send(c, event);
        }
    }
}

bool
ctr_server_idle(const struct ctr_sandbox *sandbox)
{
    for (const struct ctr_conn *c = sandbox->server.conns; c != NULL; c = c->next) {
        if (c->out.length > 0) {
            return false;
        }
    }
    return true;
}

void
ctr_server_finish(struct ctr_sandbox *sandbox)
{
    struct ctr_server *server = &sandbox->server;
    while (server->conns != NULL) {
        conn_destroy(server->conns);
    }
    ctr_watch_remove(server->watch);
    if (server->fd >= 0) {
        (void) unlink(sandbox->spec.socket);
        (void) close(server->fd);
        ctr_auto_fd(&server->reserve);
    }
    *server = (struct ctr_server){.fd = -1, .reserve = -1};
}
