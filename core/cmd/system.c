/*
 * system.c: the daemon itself: system start, stop, status, logs; and its log.
 */
#include "core/cmd/show.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/inotify.h>
#include <sys/syscall.h>
#endif

enum { CTL_NOT_RUNNING = 3, CTL_STOP_MS = 60000 };

/* The pid at the other end of the socket; 0 if the system does not tell. */
static pid_t
peer_pid(int fd)
{
#if defined(SO_PEERCRED)
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) {
        return peer.pid;
    }
#elif defined(LOCAL_PEERPID)
    pid_t pid;
    socklen_t length = sizeof pid;
    if (getsockopt(fd, 0, LOCAL_PEERPID, &pid, &length) == 0) {
        return pid;
    }
#endif
    return 0;
}

/* --- start --- */

static int
start_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int fd = ctl_connect(ctl, false, &err);
    bool running = fd >= 0;
    if (!running && err.code == -ENOENT) {
        err = (struct ctr_error) CTR_ERROR_INIT;
        fd = ctl_connect(ctl, true, &err);
    }
    if (fd < 0) {
        return ctl_error(ctl, &err);
    }
    printf("The daemon of profile %s %s, pid %d\n", ctl->conf->name,
           running ? "runs already" : "runs", (int) peer_pid(fd));
    (void) close(fd);
    return 0;
}
const struct ctl_command ctl_system_start = {
    .operands = "",
    .summary = "Start the profile's daemon, unless it runs",
    .text = "Other commands start it when they need it.",
    .examples = "ctrctl system start\nctrctl --profile lab system start",
    .run = start_main,
};

/* --- stop --- */

/* Waits until the process is gone: its end of the connection closes, and then the process itself. */
static int
wait_gone(int socket, int pidfd, struct ctr_error *err)
{
    struct pollfd wait = {.fd = pidfd >= 0 ? pidfd : socket, .events = POLLIN};
    int ready;
    do {
        ready = poll(&wait, 1, CTL_STOP_MS);
    } while (ready < 0 && errno == EINTR);
    return ready > 0 ? 0
                     : ctr_fail(err, -ETIMEDOUT,
                                "system stop: the daemon has not ended after "
                                "%d s; see 'ctrctl system logs'",
                                CTL_STOP_MS / 1000);
}

static int
stop_daemon(struct ctl *ctl, int fd, bool all, struct ctr_error *err)
{
    int pidfd = -1;
#ifdef SYS_pidfd_open
    pid_t pid = peer_pid(fd);
    pidfd = pid > 0 ? (int) syscall(SYS_pidfd_open, pid, 0) : -1;
#endif
    CTR_AUTO(free) char *path = ctl_url("/ctr/v1/system/stop?all=%d", all);
    int rc = ctl_call(ctl, "POST", path, NULL, NULL, err);
    rc = rc == 0 ? wait_gone(fd, pidfd, err) : rc;
    if (pidfd >= 0) {
        (void) close(pidfd);
    }
    return rc;
}

static int
stop_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(fd) int fd = ctl_connect(ctl, false, &err);
    if (fd < 0 && err.code == -ENOENT && ctl->conf != NULL) {
        printf("The daemon of profile %s does not run\n", ctl->conf->name);
        return 0;
    }
    CTR_AUTO(json) json_t *info = NULL;
    bool all = ctl_flag(ctl, "all");
    if (fd < 0 || ctl_call(ctl, "GET", CTL_API "/info", NULL, &info, &err) < 0 ||
        stop_daemon(ctl, fd, all, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    long long running = (long long) ctr_json_int(info, "ContainersRunning", 0);
    printf("The daemon of profile %s has ended", ctl->conf->name);
    if (running > 0) {
        printf("; %lld container%s %s", running, running == 1 ? "" : "s",
               all            ? "stopped"
               : running == 1 ? "goes on running"
                              : "go on running");
    }
    printf("\n");
    return 0;
}

static const struct ctl_option stop_options[] = {
    {"all", 'a', NULL, "Stop all containers and the networks' processes first"},
    {NULL},
};
const struct ctl_command ctl_system_stop = {
    .operands = "",
    .summary = "Stop the daemon; containers go on running",
    .text = "The next daemon finds the containers again, with their logs and exit codes.",
    .examples = "ctrctl system stop\nctrctl system stop --all",
    .options = stop_options,
    .run = stop_main,
};

/* --- status --- */

static json_t *
status_of(struct ctl *ctl, int fd, struct ctr_error *err)
{
    const struct ctr_conf *conf = ctl->conf;
    CTR_AUTO(free) char *socket_path = ctl_socket_path(conf);
    CTR_AUTO(free) char *log = ctl_log_path(conf);
    json_t *status =
        json_pack("{s:b,s:s,s:s,s:s,s:s,s:s}", "Running", fd >= 0, "Profile", conf->name,
                  "File", conf->file, "Socket", socket_path != NULL ? socket_path : "", "Data",
                  conf->engine.data, "Log", log != NULL ? log : "");
    CTR_AUTO(json) json_t *info = NULL;
    if (status == NULL || fd < 0) {
        return status;
    }
    if (ctl_call(ctl, "GET", CTL_API "/info", NULL, &info, err) < 0) {
        json_decref(status);
        return NULL;
    }
    (void) json_object_set_new(status, "Pid", json_integer(peer_pid(fd)));
    (void) json_object_set_new(status, "Containers",
                               json_integer(ctr_json_int(info, "Containers", 0)));
    (void) json_object_set_new(status, "ContainersRunning",
                               json_integer(ctr_json_int(info, "ContainersRunning", 0)));
    return status;
}

static void
print_status(const json_t *status)
{
    bool running = ctr_json_bool(status, "Running", false);
    static const char *const keys[] = {"Profile", "File", "Socket", "Data", "Log"};
    printf("%-12s %s\n", "Daemon:", running ? "running" : "not running");
    if (running) {
        printf("%-12s %lld\n", "Pid:", (long long) ctr_json_int(status, "Pid", 0));
        printf("%-12s %lld, %lld running\n",
               "Containers:", (long long) ctr_json_int(status, "Containers", 0),
               (long long) ctr_json_int(status, "ContainersRunning", 0));
    }
    for (size_t i = 0; i < CTR_LENGTH(keys); i++) {
        CTR_AUTO(free) char *safe = ctr_printable(ctr_json_str(status, keys[i], ""));
        CTR_AUTO(free) char *label = ctr_printf("%s:", keys[i]);
        printf("%-12s %s\n", label != NULL ? label : "", safe != NULL ? safe : "");
    }
}

static int
status_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(fd) int fd = ctl_connect(ctl, false, &err);
    if (fd < 0 && (err.code != -ENOENT || ctl->conf == NULL)) {
        return ctl_error(ctl, &err);
    }
    err = (struct ctr_error) CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *status = status_of(ctl, fd, &err);
    if (status == NULL) {
        return ctl_error(ctl, &err);
    }
    const char *format = ctl_value(ctl, "format");
    if (format == NULL) {
        print_status(status);
    } else if (ctl_show_document(status, format, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    return fd >= 0 ? 0 : CTL_NOT_RUNNING;
}

static const struct ctl_option status_options[] = {
    {"format", 0, "FORMAT", "json, or a template: '{{.Socket}}'"},
    {NULL},
};
const struct ctl_command ctl_system_status = {
    .operands = "",
    .summary = "Tell whether the daemon runs, and where its socket, data and log are",
    .text = "Never starts it. The exit status is 0 if it runs and 3 if not.",
    .examples = "ctrctl system status\nctrctl system status --format '{{.Socket}}'",
    .options = status_options,
    .run = status_main,
};

/* --- logs --- */

/* Where the last n lines begin. */
static int64_t
tail_offset(int fd, int64_t size, int64_t lines)
{
    char bytes[8192];
    int64_t at = size, found = 0;
    while (at > 0 && lines >= 0) {
        int64_t from = at > (int64_t) sizeof bytes ? at - (int64_t) sizeof bytes : 0;
        ssize_t n = pread(fd, bytes, (size_t) (at - from), from);
        if (n <= 0) {
            break;
        }
        for (ssize_t i = n - 1; i >= 0; i--) {
            if (bytes[i] == '\n' && from + i + 1 < size && ++found >= lines) {
                return from + i + 1;
            }
        }
        at = from;
    }
    return lines == 0 ? size : 0;
}

static int
copy_rest(int fd, bool escape, struct ctr_error *err)
{
    char bytes[16384];
    for (;;) {
        ssize_t n = read(fd, bytes, sizeof bytes - 1);
        if (n <= 0) {
            return n < 0 ? ctr_fail(err, -errno, "system logs: %s", strerror(errno)) : 0;
        }
        for (ssize_t i = 0; escape && i < n; i++) {
            unsigned char c = (unsigned char) bytes[i];
            bytes[i] = (char) ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? '?' : c);
        }
        int rc = ctr_write_all(1, bytes, (size_t) n);
        if (rc < 0) {
            return ctr_fail(err, rc, "standard output: %s", strerror(-rc));
        }
    }
}

/* Blocks until the file at path may have grown. */
static int
wait_more(int watch, struct ctr_error *err)
{
#ifdef __linux__
    char events[4096];
    return read(watch, events, sizeof events) > 0 || errno == EINTR
               ? 0
               : ctr_fail(err, -errno, "system logs: %s", strerror(errno));
#else
    (void) watch;
    (void) poll(NULL, 0, 500);
    return 0;
#endif
}

static int
show_log(const char *path, int64_t lines, bool follow, struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return ctr_fail(err, -errno,
                        "%s: %s; the daemon of this profile was never started by "
                        "ctrctl",
                        path, strerror(errno));
    }
    CTR_AUTO(fd) int watch = -1;
#ifdef __linux__
    watch = inotify_init1(IN_CLOEXEC);
    if (follow && (watch < 0 || inotify_add_watch(watch, path, IN_MODIFY) < 0)) {
        return ctr_fail(err, -errno, "%s: %s", path, strerror(errno));
    }
#endif
    struct stat st;
    if (lines >= 0 && fstat(fd, &st) == 0) {
        (void) lseek(fd, tail_offset(fd, st.st_size, lines), SEEK_SET);
    }
    int rc = copy_rest(fd, isatty(1), err);
    while (rc == 0 && follow) {
        rc = wait_more(watch, err);
        rc = rc == 0 ? copy_rest(fd, isatty(1), err) : rc;
    }
    return rc;
}

static int
logs_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *tail = ctl_value(ctl, "tail");
    int64_t lines = -1;
    if (tail != NULL && strcmp(tail, "all") != 0 &&
        ctr_parse_int(tail, 0, INT32_MAX, &lines) < 0) {
        ctr_fail(&err, -EINVAL, "--tail: '%s' must be a number of lines or all", tail);
        return ctl_error(ctl, &err);
    }
    const struct ctr_conf *conf = ctl_conf(ctl, &err);
    CTR_AUTO(free) char *path = conf != NULL ? ctl_log_path(conf) : NULL;
    if (path == NULL || show_log(path, lines, ctl_flag(ctl, "follow"), &err) < 0) {
        return ctl_error(ctl, &err);
    }
    return 0;
}

static const struct ctl_option logs_options[] = {
    {"follow", 'f', NULL, "Go on with what is still to come"},
    {"tail", 'n', "LINES", "Only the last lines (default all)"},
    {NULL},
};
const struct ctl_command ctl_system_logs = {
    .operands = "",
    .summary = "Show the daemon's log",
    .examples = "ctrctl system logs -f\nctrctl system logs -n 20",
    .options = logs_options,
    .run = logs_main,
};
