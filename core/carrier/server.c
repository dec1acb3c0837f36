/*
 * ctr-net's main loop: a socket that takes one JSON line a request and answers with one line each.
 *
 * A connection that sends half a line and then waits, a line that is too long, or does not take its answers is closed. Only
 * this user and root may connect.
 */
#include "core/carrier/carrier-priv.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SIGPIPE is ignored */
#endif

#define MAX_CONFIG 65536
#define MAX_LINE 65536
#define MAX_CONNECTIONS 64
#define HALF_LINE_MS 10000
#define SEND_BUFFER (1 << 20)
#define START_SECONDS 30
#define MAX_FILES 65536

struct server {
    struct ctr_loop *loop;
    struct ctr_carrier carrier;
    char *path;
    int fd;
    struct ctr_watch *watch;
    struct connection {
        struct connection *next;
        struct server *server;
        int fd;
        struct ctr_watch *watch;
        struct ctr_timer *timer; /* runs while half a line is there */
        struct ctr_buf in;
        bool half;
    } * connections;
    size_t n_connections;
    bool stopping;
};

static void
close_connection(struct connection *c)
{
    struct connection **at = &c->server->connections;
    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    c->server->n_connections--;
    ctr_watch_remove(c->watch);
    ctr_timer_remove(c->timer);
    (void) close(c->fd);
    ctr_buf_clear(&c->in);
    free(c);
}

/* From now on the path is free for another ctr-net. */
static void
stop_listening(struct server *s)
{
    if (s->fd >= 0) {
        ctr_watch_remove(s->watch);
        (void) unlink(s->path);
        (void) close(s->fd);
    }
    s->fd = -1;
}

static void
stop(struct server *s)
{
    s->stopping = true;
    stop_listening(s);
    ctr_loop_stop(s->loop);
}

/* Sends one line, all at once or not at all. */
static int
reply(const struct connection *c, const json_t *json, int fd)
{
    CTR_AUTO(free) char *text = ctr_json_text(json);
    CTR_AUTO(free) char *line = text == NULL ? NULL : ctr_printf("%s\n", text);
    if (line == NULL) {
        return -ENOMEM;
    }
    struct iovec part = {.iov_base = line, .iov_len = strlen(line)};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
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
    return n == (ssize_t) part.iov_len ? 0 : -EPIPE;
}

/* One line; 0, or a negative code when the connection is to be closed. */
static int
serve(struct connection *c, const char *line, size_t length)
{
    struct server *s = c->server;
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(fd) int fd = -1;
    json_t *ok = NULL;
    CTR_AUTO(json) json_t *request = ctr_json_parse(line, length, MAX_LINE, "request", &err);
    if (request != NULL && strcmp(ctr_json_str(request, "op", ""), "stop") == 0) {
        stop(s);
        ok = json_object();
    } else if (request != NULL) {
        ok = ctr_carrier_handle(&s->carrier, request, &fd, &err);
    }
    CTR_AUTO(json)
    json_t *answer = ok != NULL ? json_pack("{s:o}", "ok", ok)
                                : json_pack("{s:{s:i, s:s}}", "error", "code", (int) err.code,
                                            "message", err.msg);
    return reply(c, answer, fd);
}

/* All whole lines that have come. */
static int
serve_lines(struct connection *c)
{
    int code = 0;
    size_t at = 0;
    while (code == 0 && !c->server->stopping) {
        const char *line = c->in.data + at;
        const char *end = c->in.length > at ? memchr(line, '\n', c->in.length - at) : NULL;
        if (end == NULL) {
            break;
        }
        code = serve(c, line, (size_t) (end - line));
        at += (size_t) (end - line) + 1;
    }
    ctr_buf_consume(&c->in, at);
    return code != 0 ? code : c->in.length > MAX_LINE ? -EFBIG : 0;
}

static void
on_half_line(void *arg)
{
    struct connection *c = arg;
    if (c->half) {
        close_connection(c);
    }
}

static void
on_readable(void *arg, uint32_t events)
{
    struct connection *c = arg;
    char chunk[8192];
    ssize_t n = recv(c->fd, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n > 0) {
        ctr_buf_add(&c->in, chunk, (size_t) n);
    }
    if (n <= 0 || c->in.failed || serve_lines(c) != 0) {
        close_connection(c);
        return;
    }
    bool half = c->in.length > 0;
    if (half && !c->half) {
        ctr_timer_set(c->timer, HALF_LINE_MS);
    }
    c->half = half;
}

static void
add_connection(struct server *s, int take_fd)
{
    CTR_AUTO(fd) int fd = take_fd;
    int size = SEND_BUFFER;
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return;
    }
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
    *c = (struct connection){.next = s->connections, .server = s, .fd = ctr_steal_fd(&fd)};
    s->connections = c;
    s->n_connections++;
    c->timer = ctr_timer_add(s->loop, HALF_LINE_MS, on_half_line, c);
    c->watch = ctr_watch_add(s->loop, c->fd, CTR_READABLE, on_readable, c);
    if (c->timer == NULL || c->watch == NULL) {
        close_connection(c);
    }
}

static void
on_connection(void *arg, uint32_t events)
{
    struct server *s = arg;
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(fd) int fd = accept(s->fd, NULL, NULL);
    if (fd < 0) {
        return;
    }
    if (ctr_unix_check_peer(fd, &err) != 0) {
        ctr_log(CTR_LEVEL_WARN, "event=connection-refused error=\"%s\"", err.msg);
        return;
    }
    if (s->n_connections < MAX_CONNECTIONS) {
        add_connection(s, ctr_steal_fd(&fd));
    }
}

static void
on_signal(void *arg, int signal)
{
    stop(arg);
}

/* Answers on standard output and gives that up, and standard input. */
static void
tell_parent(const json_t *answer)
{
    CTR_AUTO(free) char *text = ctr_json_text(answer);
    CTR_AUTO(free) char *line = text == NULL ? NULL : ctr_printf("%s\n", text);
    if (line != NULL) {
        (void) ctr_write_all(STDOUT_FILENO, line, strlen(line));
    }
    CTR_AUTO(fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void) dup2(null, STDIN_FILENO);
        (void) dup2(null, STDOUT_FILENO);
    }
}

static int
refuse(const struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *answer =
        json_pack("{s:{s:i, s:s}}", "error", "code", (int) err->code, "message", err->msg);
    tell_parent(answer);
    return 1;
}

static int
start(struct server *s, const json_t *config, struct ctr_error *err)
{
    s->path = strdup(ctr_json_str(config, "socket", ""));
    if (s->path == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int code = ctr_loop_create(&s->loop, err);
    code = code != 0 ? code : ctr_carrier_init(&s->carrier, s->loop, config, err);
    code = code != 0 ? code : ctr_signal_watch(s->loop, SIGTERM, on_signal, s, err);
    if (code != 0) {
        return code;
    }
    s->fd = ctr_unix_listen(s->path, err);
    if (s->fd < 0) {
        return s->fd;
    }
    (void) fcntl(s->fd, F_SETFL, O_NONBLOCK);
    s->watch = ctr_watch_add(s->loop, s->fd, CTR_READABLE, on_connection, s);
    if (s->watch == NULL) {
        return ctr_fail(err, -errno, "%s: %s", s->path, strerror(errno));
    }
    /* Taps and native ports may need root later on; a switch of sockets does not. */
    bool sockets_only = (s->carrier.kinds & ~(uint32_t) CTR_PORT_DGRAM) == 0;
    return sockets_only ? ctr_net_lower(err) : 0;
}

static void
finish(struct server *s)
{
    stop_listening(s);
    while (s->connections != NULL) {
        close_connection(s->connections);
    }
    ctr_carrier_finish(&s->carrier);
    ctr_loop_destroy(s->loop);
    free(s->path);
}

/* Reads the configuration up to the end of standard input. */
static json_t *
read_config(struct ctr_error *err)
{
    CTR_AUTO(free) char *text = malloc(MAX_CONFIG);
    size_t n = 0;
    if (text == NULL || ctr_read_all(STDIN_FILENO, text, MAX_CONFIG, &n) != 0) {
        (void) ctr_fail(err, -EIO, "the configuration cannot be read");
        return NULL;
    }
    return ctr_json_parse(text, n, MAX_CONFIG - 1, "ctr-net's configuration", err);
}

static void
prepare_process(void)
{
    struct rlimit files;
    (void) signal(SIGPIPE, SIG_IGN);
    (void) signal(SIGHUP, SIG_IGN);
    (void) umask(077);
    (void) alarm(START_SECONDS); /* whoever started it does not wait for ever */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max < MAX_FILES ? files.rlim_max : MAX_FILES;
        (void) setrlimit(RLIMIT_NOFILE, &files);
    }
    if (chdir("/") != 0) {
        ctr_log(CTR_LEVEL_WARN, "event=chdir error=\"%s\"", strerror(errno));
    }
}

int
ctr_net_main(void)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct server server = {.fd = -1};
    ctr_log_init("ctr-net", CTR_LEVEL_INFO);
    prepare_process();
    CTR_AUTO(json) json_t *config = read_config(&err);
    if (config == NULL) {
        return refuse(&err);
    }
    pid_t pid = fork(); /* nobody's child: see spawn.c */
    if (pid != 0) {
        if (pid < 0) {
            (void) ctr_fail(&err, -errno, "ctr-net cannot fork: %s", strerror(errno));
            return refuse(&err);
        }
        return 0;
    }
    (void) alarm(START_SECONDS);
    int status = 0;
    if (start(&server, config, &err) != 0) {
        status = refuse(&err);
    } else {
        CTR_AUTO(json)
        json_t *answer =
            json_pack("{s:{s:I, s:I}}", "ok", "kinds", (json_int_t) server.carrier.kinds, "pid",
                      (json_int_t) getpid());
        tell_parent(answer);
        (void) alarm(0);
        ctr_loop_run(server.loop);
    }
    finish(&server);
    return status;
}
