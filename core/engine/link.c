/*
 * The control connection to a sandbox: its events, its end, and finding it again after the daemon's own end.
 *
 * On the loop's thread. A sandbox is alive as long as its lock is held (FOLDER/lock, an inherited flock): that is asked at the
 * daemon's start, before any pid. The end of a run is recorded once: by its exit event, or at the end of the connection from
 * exit.json, or as lost where there is none.
 */
#include "core/engine/engine-priv.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>

#define TEARDOWN_MS 40000 /* from the exit event to the end of the process */
#define FIND_AGAIN_MS 5000
#define ENDING_MS 2000

struct ctr_link {
    struct ctr_container *container; /* held */
    int fd;
    struct ctr_watch *watch;
    struct ctr_timer *timer;
    struct ctr_buf in;
};

void
ctr_sandbox_kill(pid_t pid, uint64_t start_time)
{
    if (pid > 1 && start_time != 0 && ctr_process_signal(pid, start_time, SIGKILL) == 0) {
        (void) kill(-pid, SIGKILL); /* its session: the monitor */
    }
}

/* --- ends; locked --- */

void
ctr_container_set_exit(struct ctr_container *c, int code, const char *reason, const char *error,
                       int64_t finished_at)
{
    if (c->ended) {
        return;
    }
    c->ended = true;
    c->state = CTR_STATE_EXITED;
    c->exit_code = code & 0xff;
    c->finished_at = finished_at > 0 ? finished_at : ctr_now_ns();
    c->exits++;
    ctr_text_copy(c->reason, sizeof c->reason, reason);
    ctr_text_copy(c->error, sizeof c->error, error);
    if (c->start_result > 0) {
        c->start_result = -EIO;
    }
    for (struct ctr_exec *exec = c->engine->execs; exec != NULL; exec = exec->next) {
        if (exec->started && !exec->exited && strcmp(exec->container, c->id) == 0) {
            exec->exited = true;
            exec->exit_code = 137;
        }
    }
    ctr_container_event(c, "die");
}

static json_t *
folder_json(const struct ctr_container *c, const char *file)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/%s", c->folder, file);
    struct ctr_error err = CTR_ERROR_INIT;
    return path == NULL || access(path, F_OK) < 0 ? NULL : ctr_read_json(path, 64 * 1024, &err);
}

static void
take_exit_json(struct ctr_container *c, const json_t *exit)
{
    ctr_container_set_exit(c, (int) ctr_json_int(exit, "code", 255),
                           ctr_json_str(exit, "reason", ""), ctr_json_str(exit, "error", ""),
                           ctr_json_int(exit, "finished_at", 0));
}

/* The last line that the sandbox logged, for "why". */
static void
last_words(const struct ctr_container *c, char *ret, size_t size)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/sandbox.log", c->folder);
    CTR_AUTO(fd) int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char tail[400];
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    size_t want = end > (off_t) sizeof tail - 1 ? sizeof tail - 1 : (size_t) end;
    ssize_t n = fd < 0 ? 0 : pread(fd, tail, want, end - (off_t) want);
    while (n > 0 && tail[n - 1] == '\n') {
        n--;
    }
    tail[n < 0 ? 0 : n] = '\0';
    const char *line = strrchr(tail, '\n');
    ctr_text_copy(ret, size, line == NULL ? tail : line + 1);
}

/* The connection is over: whatever has not been said by now is read from disk or was lost. */
static void
record_end(struct ctr_container *c)
{
    if (c->ended) {
        return;
    }
    char words[400], error[500];
    CTR_AUTO(json) json_t *exit = folder_json(c, "exit.json");
    last_words(c, words, sizeof words);
    (void) snprintf(error, sizeof error,
                    "the container's sandbox process ended unexpectedly%s%s",
                    words[0] == '\0' ? "" : ": ", words);
    if (exit != NULL) {
        (void) snprintf(error, sizeof error, "%s", ctr_json_str(exit, "error", ""));
    }
    if (c->start_result > 0) { /* it never ran */
        c->start_result = -EIO;
        c->ended = true;
        ctr_text_copy(c->error, sizeof c->error, error);
    } else if (exit != NULL) {
        take_exit_json(c, exit);
    } else {
        ctr_container_set_exit(c, 255, "vmm-lost", error, 0);
    }
}

/* --- events; loop's thread, locked --- */

static void
on_started(struct ctr_container *c, const json_t *event)
{
    if (c->ended) {
        return;
    }
    bool again = c->state == CTR_STATE_RUNNING;
    c->state = CTR_STATE_RUNNING;
    c->started_at = ctr_json_int(event, "started_at", ctr_now_ns());
    c->reason[0] = c->error[0] = '\0';
    c->exit_code = 0;
    c->hardware = ctr_json_bool(event, "hardware", false);
    ctr_text_copy(c->vmm, sizeof c->vmm, ctr_json_str(event, "vmm", ""));
    ctr_text_copy(c->accel, sizeof c->accel, ctr_json_str(event, "accel", ""));
    if (c->start_result > 0) {
        c->start_result = 0;
    }
    if (!again) {
        ctr_container_event(c, "start");
    }
}

static void
on_failed(struct ctr_container *c, const json_t *event)
{
    const json_t *error = json_object_get(event, "error");
    if (c->start_result <= 0) {
        return; /* found again after a restart: exit.json tells at the end of the connection */
    }
    int exit = (int) ctr_json_int(event, "exit", 125);
    ctr_text_copy(c->error, sizeof c->error,
                  ctr_json_str(error, "message", "the start failed"));
    c->start_exit = exit < 1 || exit > 255 ? 125 : exit;
    c->ended = true;
    c->start_result = c->start_exit == 126 || c->start_exit == 127 ? -EINVAL : -EIO;
    ctr_engine_changed(c->engine);
}

static void
on_exec_exit(struct ctr_container *c, const json_t *event)
{
    const char *id = ctr_json_str(event, "exec", "");
    for (struct ctr_exec *exec = c->engine->execs; exec != NULL; exec = exec->next) {
        if (strcmp(exec->id, id) == 0 && strcmp(exec->container, c->id) == 0) {
            exec->exited = true;
            exec->exit_code = (int) ctr_json_int(event, "code", 255) & 0xff;
        }
    }
    ctr_engine_changed(c->engine);
}

static void
teardown_late(void *arg)
{
    struct ctr_link *link = arg;
    struct ctr_container *c = link->container;
    ctr_log(CTR_LEVEL_WARN, "container=%.12s error=\"its sandbox does not end: killed\"",
            c->id);
    ctr_sandbox_kill(c->pid, c->pid_start);
}

static void
arm_teardown(struct ctr_link *link)
{
    if (link->timer == NULL) {
        link->timer =
            ctr_timer_add(link->container->engine->loop, TEARDOWN_MS, teardown_late, link);
    }
}

static void
on_event(struct ctr_link *link, const char *line, size_t length)
{
    struct ctr_container *c = link->container;
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *event = ctr_json_parse(line, length, CTR_LINE_MAX, "sandbox", &err);
    const char *what = ctr_json_str(event, "event", "");
    if (strcmp(what, "started") == 0) {
        on_started(c, event);
    } else if (strcmp(what, "failed") == 0) {
        on_failed(c, event);
        arm_teardown(link);
    } else if (strcmp(what, "exit") == 0) {
        take_exit_json(c, event);
        arm_teardown(link);
    } else if (strcmp(what, "exec-exit") == 0) {
        on_exec_exit(c, event);
    }
}

static void
link_over(struct ctr_link *link)
{
    struct ctr_container *c = link->container;
    struct ctr_engine *engine = c->engine;
    ctr_engine_lock(engine);
    record_end(c);
    c->live = false;
    c->link = NULL;
    ctr_container_after_end(c);
    ctr_engine_unlock(engine);
    ctr_link_destroy(link);
}

static void
link_readable(void *arg, uint32_t events)
{
    struct ctr_link *link = arg;
    char chunk[4096];
    ssize_t n = recv(link->fd, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n > 0) {
        ctr_buf_add(&link->in, chunk, (size_t) n);
    }
    if (n <= 0 || link->in.failed || link->in.length > CTR_LINE_MAX) {
        link_over(link);
        return;
    }
    ctr_engine_lock(link->container->engine);
    char *end;
    while ((end = memchr(link->in.data, '\n', link->in.length)) != NULL) {
        size_t length = (size_t) (end - link->in.data);
        on_event(link, link->in.data, length);
        ctr_buf_consume(&link->in, length + 1);
        if (link->in.length == 0) {
            break;
        }
    }
    ctr_engine_unlock(link->container->engine);
}

int
ctr_link_create(struct ctr_container *container, int take_fd, struct ctr_error *err)
{
    struct ctr_engine *engine = container->engine;
    struct ctr_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        (void) close(take_fd);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    link->fd = take_fd;
    link->container = container;
    link->watch = ctr_watch_add(engine->loop, take_fd, CTR_READABLE, link_readable, link);
    if (link->watch == NULL) {
        (void) close(take_fd);
        free(link);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    ctr_engine_lock(engine);
    ctr_container_hold(container);
    container->link = link;
    ctr_engine_unlock(engine);
    return 0;
}

void
ctr_link_destroy(struct ctr_link *link)
{
    if (link == NULL) {
        return;
    }
    ctr_watch_remove(link->watch);
    ctr_timer_remove(link->timer);
    (void) close(link->fd);
    ctr_buf_clear(&link->in);
    struct ctr_engine *engine = link->container->engine;
    ctr_engine_lock(engine);
    ctr_container_release(link->container);
    ctr_engine_unlock(engine);
    free(link);
}

/* --- found again --- */

bool
ctr_sandbox_is_alive(const struct ctr_container *c)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/lock", c->folder);
    CTR_AUTO(fd) int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* A sandbox that was started in the daemon's last moment may not listen yet. */
static int
connect_again(struct ctr_container *c, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctr_container_socket(c);
    int64_t deadline = ctr_monotonic_ns() + FIND_AGAIN_MS * 1000000ll;
    for (;;) {
        int fd = path == NULL ? -ENOMEM : ctr_unix_connect(path, err);
        if (fd >= 0 || ctr_monotonic_ns() > deadline || !ctr_sandbox_is_alive(c)) {
            return fd;
        }
        (void) usleep(20000);
    }
}

static int
adopt_living(struct ctr_container *c, const json_t *state, struct ctr_error *err)
{
    static const char hello[] = "{\"op\":\"events\"}\n";
    c->pid = (pid_t) ctr_json_int(state, "pid", 0);
    c->pid_start = (uint64_t) ctr_json_int(state, "start_time", 0);
    int fd = connect_again(c, err);
    if (fd < 0 || ctr_unix_check_peer(fd, err) < 0 ||
        ctr_write_all(fd, hello, sizeof hello - 1) < 0) {
        ctr_sandbox_kill(c->pid, c->pid_start);
        ctr_auto_fd(&fd);
        return -EIO;
    }
    c->live = true;
    c->networked = true;
    int64_t started_at = ctr_json_int(state, "started_at", 0);
    if (started_at > 0) {
        c->state = CTR_STATE_RUNNING;
        c->started_at = started_at;
    }
    ctr_log(CTR_LEVEL_INFO, "container=%.12s found=running pid=%d", c->id, (int) c->pid);
    struct ctr_error why = CTR_ERROR_INIT;
    if (ctr_container_net_adopt(c, &why) < 0) {
        ctr_log(CTR_LEVEL_WARN, "container=%.12s networks=missing error=\"%s\"", c->id,
                why.msg);
    }
    return ctr_link_create(c, fd, err);
}

int
ctr_link_adopt(struct ctr_container *c, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *state = folder_json(c, "state.json");
    if (ctr_sandbox_is_alive(c) && adopt_living(c, state, err) == 0) {
        return 0;
    }
    CTR_AUTO(json) json_t *exit = folder_json(c, "exit.json");
    int64_t started_at = ctr_json_int(state, "started_at", 0);
    int64_t finished_at = ctr_json_int(exit, "finished_at", 0);
    ctr_engine_lock(c->engine);
    bool news = exit != NULL ? finished_at != c->finished_at
                             : c->state == CTR_STATE_RUNNING ||
                                   (started_at > 0 && started_at != c->started_at);
    if (started_at > 0 && news) {
        c->started_at = started_at;
    }
    if (news && exit != NULL) {
        take_exit_json(c, exit);
    } else if (news) {
        ctr_container_set_exit(c, 255, "vmm-lost",
                               "the container's sandbox ended while the engine was away", 0);
    }
    if (news || (c->auto_remove && c->state == CTR_STATE_EXITED)) {
        c->networked = true;
        ctr_container_after_end(c);
    }
    ctr_engine_unlock(c->engine);
    return 0;
}

/* --- requests --- */

/* A sandbox that does not answer may just be ending: then that is what is wrong. */
static int
explain(struct ctr_container *c, int code, struct ctr_error *err)
{
    struct ctr_engine *engine = c->engine;
    int64_t deadline = ctr_monotonic_ns() + ENDING_MS * 1000000ll;
    ctr_engine_lock(engine);
    while (c->state == CTR_STATE_RUNNING && !c->removed && ctr_engine_wait(engine, deadline)) {
    }
    bool over = c->state != CTR_STATE_RUNNING || c->removed;
    ctr_engine_unlock(engine);
    if (over) {
        return ctr_fail(err, -ESRCH, "container %s is not running", c->id);
    }
    err->code = code;
    return ctr_prefix(err, "the sandbox of container %.12s cannot be reached", c->id);
}

/* ret_fd NULL: no descriptor is expected. */
static int
call(struct ctr_container *container, const json_t *request, json_t **ret_ok, int *ret_fd,
     struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctr_container_socket(container);
    CTR_AUTO(fd) int fd = path == NULL ? -1 : ctr_unix_connect(path, err);
    if (fd < 0 || ctr_unix_check_peer(fd, err) < 0) {
        return explain(container, -EIO, err);
    }
    CTR_AUTO(json) json_t *reply = ctr_unix_call(fd, request, 30000, ret_fd, err);
    if (reply == NULL) {
        bool lost = err->code == -ECONNRESET || err->code == -EPIPE;
        return lost ? explain(container, -EIO, err) : err->code;
    }
    if (ret_ok != NULL) {
        *ret_ok = json_incref(json_object_get(reply, "ok"));
    }
    return ctr_steal_fd(&fd);
}

int
ctr_sandbox_call(struct ctr_container *container, const json_t *request, json_t **ret_ok,
                 struct ctr_error *err)
{
    return call(container, request, ret_ok, NULL, err);
}

int
ctr_sandbox_take(struct ctr_container *container, const json_t *request, int *ret_fd,
                 struct ctr_error *err)
{
    int got = -1;
    CTR_AUTO(fd) int fd = call(container, request, NULL, &got, err);
    if (fd >= 0 && got < 0) {
        return ctr_fail(err, -EPROTO, "the sandbox of container %.12s gave no descriptor",
                        container->id);
    }
    *ret_fd = fd < 0 ? *ret_fd : got;
    return fd < 0 ? fd : 0;
}

int
ctr_sandbox_do(struct ctr_container *container, const json_t *request, json_t **ret_ok,
               struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = call(container, request, ret_ok, NULL, err);
    return fd < 0 ? fd : 0;
}
