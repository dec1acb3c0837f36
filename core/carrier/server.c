/*
 * ctr-net from its start to its end: configuration, socket, loop. Only this user and root may connect.
 */
#include "core/carrier/carrier-priv.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define MAX_CONFIG (1 << 18)
#define MAX_CONNECTIONS 64
#define START_SECONDS 30
#define MAX_FILES 65536

/* From now on the path is free for another ctr-net. */
static void
stop_listening(struct ctr_server *s)
{
    if (s->fd >= 0) {
        ctr_watch_remove(s->watch);
        (void) unlink(s->path);
        (void) close(s->fd);
    }
    s->fd = -1;
}

void
ctr_server_stop(struct ctr_server *server)
{
    server->stopping = true;
    stop_listening(server);
    ctr_loop_stop(server->loop);
}

static void
on_connection(void *arg, uint32_t events)
{
    struct ctr_server *s = arg;
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
        ctr_connection_add(s, ctr_steal_fd(&fd));
    }
}

static void
on_signal(void *arg, int signal)
{
    ctr_server_stop(arg);
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

/* What serves guests needs little. Native ports may need anything, so they keep what there is. */
static int
give_up(const struct ctr_carrier *c, struct ctr_error *err)
{
    bool spawns = (c->ops.flags & CTR_NET_SPAWNS) != 0 || !ctr_plugin_net_is_12(c->plugin);
    int code = 0;
    if ((c->kinds & ~(uint32_t) (CTR_PORT_DGRAM | CTR_PORT_TAP)) == 0) {
        code = ctr_net_lower((c->kinds & CTR_PORT_TAP) != 0, err);
    }
    return code != 0 ? code : ctr_net_filter(spawns, err);
}

static int
start(struct ctr_server *s, json_t *config, struct ctr_error *err)
{
    s->path = strdup(ctr_json_str(config, "socket", ""));
    if (s->path == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int code = ctr_loop_create(&s->loop, err);
    code = code != 0
               ? code
               : ctr_carrier_init(&s->carrier, s->loop, config, ctr_connections_tell, s, err);
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
    return give_up(&s->carrier, err);
}

static void
finish(struct ctr_server *s)
{
    stop_listening(s);
    ctr_connections_close(s);
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
    struct ctr_server server = {.fd = -1};
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
