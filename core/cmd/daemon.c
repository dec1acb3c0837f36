/*
 * daemon.c: finding the profile's daemon, and starting it when none listens.
 *
 * Two ctrctl at once must not start two daemons: whoever starts one holds RUN/start.lock (flock, so a killed holder frees it) until the daemon has
 * said on CTR_READY_FD that it is ready or why it is not.
 */
#include "core/cmd/cmd.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { CTL_READY_SECONDS = 60, CTL_LOG_KEEP = 8 * 1024 * 1024 };

const struct ctr_conf *
ctl_conf(struct ctl *ctl, struct ctr_error *err)
{
    if (ctl->conf == NULL && ctr_conf_load(ctl->profile, &ctl->conf, err) < 0) {
        return NULL;
    }
    return ctl->conf;
}

char *
ctl_socket_path(const struct ctr_conf *conf)
{
    return ctr_printf("%s/ctr.sock", conf->engine.run);
}

char *
ctl_log_path(const struct ctr_conf *conf)
{
    return ctr_printf("%s/ctrd.log", conf->engine.data);
}

/* A connection to a daemon of this user, or a negative code: -ENOENT or -ECONNREFUSED when none listens. */
static int
connect_running(const char *path, struct ctr_error *err)
{
    int fd = ctr_unix_connect(path, err);
    if (fd < 0) {
        return fd;
    }
    int rc = ctr_unix_check_peer(fd, err);
    if (rc < 0) {
        (void) close(fd);
        return ctr_prefix(err, "%s", path);
    }
    return fd;
}

/* The daemon's log; a long one becomes ctrd.log.1 first. */
static int
open_log(const char *path, struct ctr_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && st.st_size > CTL_LOG_KEEP) {
        CTR_AUTO(free) char *old = ctr_printf("%s.1", path);
        if (old != NULL) {
            (void) rename(path, old);
        }
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 ? fd
                   : ctr_fail(err, -errno, "%s: %s; is the data folder yours?", path,
                              strerror(errno));
}

/* In the child: nothing of ours stays open but the log and the pipe. */
static void
close_others(int ready)
{
    DIR *dir = opendir("/dev/fd");
    if (dir == NULL) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        int64_t fd;
        if (ctr_parse_int(entry->d_name, 3, INT32_MAX, &fd) == 0 && fd != ready) {
            (void) fcntl((int) fd, F_SETFD, FD_CLOEXEC);
        }
    }
    (void) closedir(dir);
}

static void __attribute__((noreturn))
child(const char *program, const char *profile, int log, int ready)
{
    char number[16];
    (void) snprintf(number, sizeof number, "%d", ready);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (setsid() < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) {
        _exit(1);
    }
    close_others(ready);
    sigset_t none;
    sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 1; i < NSIG; i++) {
        (void) signal(i, SIG_DFL);
    }
    (void) umask(077);
    if (chdir("/") < 0 || fcntl(ready, F_SETFD, 0) < 0 ||
        setenv("CTR_READY_FD", number, 1) < 0) {
        _exit(1);
    }
    (void) execl(program, "ctrd", "--profile", profile, (char *) NULL);
    dprintf(ready, "{\"error\":{\"message\":\"%s: cannot be run (errno %d)\"}}\n", program,
            errno);
    _exit(127);
}

/* Waits for the daemon's one line. */
static int
wait_ready(int fd, const char *log, struct ctr_error *err)
{
    struct ctr_buf line = {0};
    int64_t end = ctr_monotonic_ns() + CTL_READY_SECONDS * (int64_t) 1000000000;
    int rc = 0;
    while (rc == 0 && (line.length == 0 || line.data[line.length - 1] != '\n')) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int64_t left = (end - ctr_monotonic_ns()) / 1000000;
        char bytes[512];
        int n = left > 0 ? poll(&wait, 1, (int) left) : 0;
        ssize_t got = n > 0 ? read(fd, bytes, sizeof bytes) : -1;
        if (n == 0) {
            rc = ctr_fail(err, -ETIMEDOUT, "ctrd: not ready after %d s; see %s",
                          CTL_READY_SECONDS, log);
        } else if (got == 0 || line.length > 8192) {
            rc = ctr_fail(err, -ECONNREFUSED, "ctrd: ended before it was ready; see %s", log);
        } else if (got > 0) {
            ctr_buf_add(&line, bytes, (size_t) got);
        }
    }
    if (rc == 0 && !line.failed) {
        CTR_AUTO(json)
        json_t *reply = ctr_json_parse(line.data, line.length, 16384, "ctrd's first line", err);
        const json_t *failed = json_object_get(reply, "error");
        if (reply == NULL) {
            rc = err->code;
        } else if (failed != NULL) {
            rc = ctr_fail(err, -ECONNREFUSED, "ctrd: %s",
                          ctr_json_str(failed, "message", "does not start"));
        }
    }
    ctr_buf_clear(&line);
    return rc;
}

static int
spawn(const struct ctr_conf *conf, struct ctr_error *err)
{
    CTR_AUTO(free) char *prefix = ctr_prefix_dir();
    CTR_AUTO(free) char *program = ctr_printf("%s/bin/ctrd", prefix != NULL ? prefix : "");
    CTR_AUTO(free) char *log_path = ctl_log_path(conf);
    if (program == NULL || log_path == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (access(program, X_OK) < 0) {
        return ctr_fail(err, -errno, "%s: %s; ctrd must be beside ctrctl", program,
                        strerror(errno));
    }
    int rc = ctr_mkdirs(conf->engine.data, 0700, err);
    CTR_AUTO(fd) int log = rc == 0 ? open_log(log_path, err) : rc;
    if (log < 0) {
        return log;
    }
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return ctr_fail(err, -errno, "pipe: %s", strerror(errno));
    }
    pid_t pid = fork();
    if (pid == 0) {
        child(program, conf->file, log, ends[1]);
    }
    (void) close(ends[1]);
    rc = pid > 0 ? wait_ready(ends[0], log_path, err)
                 : ctr_fail(err, -errno, "fork: %s", strerror(errno));
    (void) close(ends[0]);
    return rc;
}

/* Starts the daemon unless another ctrctl has just done so. */
static int
start_daemon(const struct ctr_conf *conf, const char *socket_path, struct ctr_error *err)
{
    int rc = ctr_mkdirs(conf->engine.run, 0700, err);
    CTR_AUTO(free) char *path = ctr_printf("%s/start.lock", conf->engine.run);
    if (rc < 0 || path == NULL) {
        return rc < 0 ? rc : ctr_fail(err, -ENOMEM, "out of memory");
    }
    CTR_AUTO(fd) int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) {
        return ctr_fail(err, -errno, "%s: %s; is the folder yours?", path, strerror(errno));
    }
    while (flock(lock, LOCK_EX) < 0) {
        if (errno != EINTR) {
            return ctr_fail(err, -errno, "%s: %s", path, strerror(errno));
        }
    }
    struct ctr_error none = CTR_ERROR_INIT;
    int fd = connect_running(socket_path, &none);
    if (fd >= 0) {
        return fd;
    }
    rc = spawn(conf, err);
    fd = connect_running(socket_path, rc < 0 ? &none : err);
    return fd >= 0 || rc == 0 ? fd : rc;
}

int
ctl_connect(struct ctl *ctl, bool start, struct ctr_error *err)
{
    const struct ctr_conf *conf = ctl_conf(ctl, err);
    if (conf == NULL) {
        return err->code;
    }
    CTR_AUTO(free) char *path = ctl_socket_path(conf);
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int fd = connect_running(path, err);
    if (fd != -ENOENT && fd != -ECONNREFUSED) {
        return fd;
    }
    if (start) {
        return start_daemon(conf, path, err);
    }
    return ctr_fail(err, -ENOENT, "%s: no daemon listens; 'ctrctl system start' starts it",
                    path);
}
