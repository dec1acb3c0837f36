/*
 * ctrd: the engine of one profile. Options, the socket, the loop; all else is in core/engine and core/api.
 *
 * Without --foreground and without someone who waits on CTR_READY_FD it leaves the terminal: the first process waits until
 * the second one listens and returns its verdict. Memory is kept small from the start: two malloc arenas, small stacks.
 */
#include "core/api/api.h"
#include <fcntl.h>
#include <getopt.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct options {
    const char *profile, *describe_vmm;
    bool foreground, describe;
    int level;
};

struct daemon {
    struct ctr_conf *conf;
    struct ctr_loop *loop;
    struct ctr_engine *engine;
    struct ctr_api *api;
    char *socket; /* the path that is ours to remove; NULL if it was handed over */
};

static const char usage[] =
    "usage: ctrd [--profile NAME|FILE] [--foreground] [--log-level error|warn|info|debug]\n"
    "       ctrd [--profile NAME|FILE] --describe-plugins | --describe-vmm ARCH\n"
    "See ctrd(8).\n";

/* --- options --- */

static int
log_level(const char *text)
{
    static const char *const names[] = {"", "error", "warn", "info", "debug"};
    for (int i = 1; i < (int) CTR_LENGTH(names); i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

/* -1: go on; else the exit status. */
static int
parse_options(int argc, char **argv, struct options *ret)
{
    static const struct option table[] = {{"profile", required_argument, NULL, 'p'},
                                          {"foreground", no_argument, NULL, 'f'},
                                          {"log-level", required_argument, NULL, 'l'},
                                          {"describe-plugins", no_argument, NULL, 'd'},
                                          {"describe-vmm", required_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},
                                          {NULL, 0, NULL, 0}};
    *ret = (struct options){.level = CTR_LEVEL_INFO};
    for (int c; (c = getopt_long(argc, argv, "h", table, NULL)) != -1;) {
        switch (c) {
        case 'p':
            ret->profile = optarg;
            break;
        case 'f':
            ret->foreground = true;
            break;
        case 'd':
            ret->describe = true;
            break;
        case 'v':
            ret->describe_vmm = optarg;
            break;
        case 'l':
            ret->level = log_level(optarg);
            if (ret->level < 0) {
                fprintf(stderr, "ctrd: --log-level: %s is none of error, warn, info, debug\n",
                        optarg);
                return 2;
            }
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        case 'V':
            puts("ctrd " CTR_VERSION);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "ctrd: unexpected argument: %s\n%s", argv[optind], usage);
        return 2;
    }
    return -1;
}

/* --- telling that it is ready --- */

static int
take_ready_fd(void)
{
    const char *text = getenv("CTR_READY_FD");
    int64_t fd = -1;
    if (text == NULL || ctr_parse_int(text, 3, 1 << 20, &fd) < 0 ||
        fcntl((int) fd, F_SETFD, FD_CLOEXEC) < 0) {
        fd = -1;
    }
    (void) unsetenv("CTR_READY_FD");
    return (int) fd;
}

static void
tell_ready(int fd, const struct ctr_error *err)
{
    CTR_AUTO(free) char *message = ctr_printable(err->msg);
    CTR_AUTO(json)
    json_t *json = err->code == 0 ? json_pack("{s:{s:i}}", "ok", "pid", (int) getpid())
                                  : json_pack("{s:{s:s}}", "error", "message",
                                              message == NULL ? "" : message);
    CTR_AUTO(free) char *text = ctr_json_text(json);
    CTR_AUTO(free) char *line = ctr_printf("%s\n", text == NULL ? "{}" : text);
    if (fd >= 0 && line != NULL) {
        (void) ctr_write_all(fd, line, strlen(line));
        (void) close(fd);
    }
}

/* In the first process: passes on what the second one says. */
static void __attribute__((noreturn)) wait_for_child(int fd)
{
    struct ctr_error err = CTR_ERROR_INIT;
    size_t n = 0;
    char bytes[4096];
    (void) ctr_read_all(fd, bytes, sizeof bytes, &n);
    CTR_AUTO(json) json_t *said = ctr_json_parse(bytes, n, sizeof bytes, "ctrd", &err);
    const char *message = ctr_json_str(json_object_get(said, "error"), "message", NULL);
    if (said == NULL) {
        message = "ended before it listened; see ctrd.log in the profile's data folder";
    }
    if (message != NULL) {
        fprintf(stderr, "ctrd: %s\n", message);
    }
    exit(message == NULL ? 0 : 1);
}

/* Leaves the terminal; the log goes to DATA/ctrd.log. */
static int
detach(const struct ctr_conf *conf, int *ret_ready, struct ctr_error *err)
{
    int fds[2];
    CTR_AUTO(free) char *path = ctr_printf("%s/ctrd.log", conf->engine.data);
    if (path == NULL || ctr_mkdirs(conf->engine.data, 0700, err) < 0) {
        return err->code != 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
    }
    CTR_AUTO(fd)
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    CTR_AUTO(fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (log < 0 || null < 0 || pipe2(fds, O_CLOEXEC) < 0) {
        return ctr_fail(err, -errno, "%s: %s", path, strerror(errno));
    }
    pid_t pid = fork();
    if (pid < 0) {
        return ctr_fail(err, -errno, "fork: %s", strerror(errno));
    }
    if (pid > 0) {
        (void) close(fds[1]);
        wait_for_child(fds[0]);
    }
    (void) close(fds[0]);
    (void) setsid();
    if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0) {
        return ctr_fail(err, -errno, "dup: %s", strerror(errno));
    }
    *ret_ready = fds[1];
    return 0;
}

/* --- the socket --- */

/* systemd's socket activation: descriptor 3, meant for this very process. -1: none. */
static int
inherited_socket(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    int64_t n, owner;
    bool mine = pid != NULL && fds != NULL && ctr_parse_int(pid, 1, INT32_MAX, &owner) == 0 &&
                owner == getpid() && ctr_parse_int(fds, 1, 1, &n) == 0;
    (void) unsetenv("LISTEN_PID");
    (void) unsetenv("LISTEN_FDS");
    (void) unsetenv("LISTEN_FDNAMES");
    if (!mine || fcntl(3, F_SETFD, FD_CLOEXEC) < 0) {
        return -1;
    }
    int domain = 0;
    socklen_t length = sizeof domain;
    if (getsockopt(3, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 || domain != AF_UNIX) {
        return -1;
    }
    return 3;
}

static int
listen_on(const struct ctr_conf *conf, int inherited, struct ctr_error *err)
{
    if (inherited >= 0) {
        return inherited;
    }
    CTR_AUTO(free) char *path = ctr_printf("%s/ctr.sock", conf->engine.run);
    return path == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : ctr_unix_listen(path, err);
}

/* --- life --- */

static void
stop_loop(void *arg)
{
    ctr_loop_stop(arg);
}

static void
on_quit(void *arg)
{
    struct daemon *d = arg;
    (void) ctr_loop_post(d->loop, stop_loop, d->loop);
}

static void
on_signal(void *arg, int signal)
{
    struct daemon *d = arg;
    if (signal != SIGHUP) {
        ctr_loop_stop(d->loop);
    }
}

static int
start(struct daemon *d, int inherited, struct ctr_error *err)
{
    CTR_AUTO(free) char *prefix = ctr_prefix_dir();
    CTR_AUTO(free) char *bin = prefix == NULL ? NULL : ctr_printf("%s/bin", prefix);
    if (bin == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (ctr_loop_create(&d->loop, err) < 0 ||
        ctr_engine_create(d->loop, d->conf, bin, &d->engine, err) < 0) {
        return err->code;
    }
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < CTR_LENGTH(signals); i++) {
        if (ctr_signal_watch(d->loop, signals[i], on_signal, d, err) < 0) {
            return err->code;
        }
    }
    int fd = listen_on(d->conf, inherited, err);
    if (fd < 0) {
        return fd;
    }
    d->socket = inherited >= 0 ? NULL : ctr_printf("%s/ctr.sock", d->conf->engine.run);
    return ctr_api_create(d->engine, d->loop, fd, on_quit, d, &d->api, err);
}

static void
finish(struct daemon *d)
{
    /* Connections end at once; whatever hangs in a plugin must not keep the process. */
    (void) alarm(30);
    if (d->engine != NULL) {
        ctr_engine_quit(d->engine);
    }
    if (d->socket != NULL) {
        (void) unlink(
            d->socket); /* still ours: the store's lock keeps the next daemon waiting */
    }
    free(d->socket);
    ctr_api_destroy(d->api);
    ctr_engine_destroy(d->engine);
    ctr_loop_destroy(d->loop);
    ctr_conf_destroy(d->conf);
}

static void
keep_small(void)
{
#ifdef __GLIBC__
    (void) mallopt(M_ARENA_MAX, 2);
    (void) mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    (void) mallopt(M_MMAP_THRESHOLD, 256 * 1024);
#endif
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int
serve(struct daemon *d, bool foreground, struct ctr_error *err)
{
    int ready = take_ready_fd(), inherited = inherited_socket();
    if (!foreground && ready < 0 && inherited < 0 && detach(d->conf, &ready, err) < 0) {
        return err->code;
    }
    (void) signal(SIGPIPE, SIG_IGN);
    (void) umask(077);
    int rc = start(d, inherited, err);
    tell_ready(ready, err);
    if (rc == 0) {
        ctr_log(CTR_LEVEL_INFO, "profile=%s data=%s run=%s version=%s state=ready",
                d->conf->name, d->conf->engine.data, d->conf->engine.run, CTR_VERSION);
        ctr_loop_run(d->loop);
        ctr_log(CTR_LEVEL_INFO, "profile=%s state=ending", d->conf->name);
    }
    return rc;
}

int
main(int argc, char **argv)
{
    struct options options;
    int status = parse_options(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    keep_small();
    ctr_log_init("ctrd", options.level);
    struct daemon d = {0};
    struct ctr_error err = CTR_ERROR_INIT;
    int rc = ctr_conf_load(options.profile, &d.conf, &err);
    if (rc == 0 && options.describe_vmm != NULL) {
        status = ctr_engine_describe_vmm(d.conf, options.describe_vmm);
        ctr_conf_destroy(d.conf);
        return status;
    }
    if (rc == 0 && options.describe) {
        rc = ctr_plugin_describe_all(d.conf, &err);
    } else if (rc == 0) {
        rc = serve(&d, options.foreground, &err);
    } else {
        tell_ready(take_ready_fd(), &err);
    }
    if (rc < 0) {
        ctr_log(CTR_LEVEL_ERROR, "error=\"%s\"", err.msg);
    }
    finish(&d);
    return rc < 0 ? 1 : 0;
}
