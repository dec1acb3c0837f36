/*
 * Starting a container: disks, network port, sandbox.json, the sandbox process, and waiting for the guest's word.
 *
 * Nothing here is written durably: what a killed daemon must know later is in the container's folder, written by the sandbox
 * (state.json, exit.json), and in the lock that the sandbox holds as long as it lives. A failed start gives back all it took.
 */
#include "core/engine/engine-priv.h"
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>

#define GONE_SECONDS 60

/* --- the process; loop's thread --- */

struct spawn_call {
    struct ctr_launch *launch;
    struct ctr_error err;
};

static int
spawn(struct ctr_launch *launch, struct ctr_error *err)
{
    struct ctr_container *c = launch->container;
    struct ctr_engine *engine = c->engine;
    CTR_AUTO(free) char *program = ctr_printf("%s/ctr-sandbox", engine->bin);
    CTR_AUTO(free) const char **envp = ctr_child_environment();
    if (program == NULL || envp == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int32_t fds[CTR_PENDING_MAX + 2 * CTR_PORTS_MAX + 8] = {-1, -1, launch->log_fd,
                                                            launch->sandbox_control};
    uint32_t n = 4;
    for (size_t i = 0; i < launch->n_ports; i++) { /* as ports_json of machine.c counts them */
        const struct ctr_attachment *port = &launch->ports[i];
        n += port->fd >= 0 ? (fds[n] = port->fd, 1) : 0;
        n += port->keep >= 0 ? (fds[n] = port->keep, 1) : 0;
    }
    for (size_t i = 0; i < launch->n_pending; i++) {
        fds[n++] = launch->pending[i].fd;
    }
    fds[n++] = launch->lock_fd;
    const char *const argv[] = {"ctr-sandbox", c->folder, NULL};
    struct ctr_spawn what = {.size = sizeof what,
                             .file = program,
                             .argv = argv,
                             .envp = envp,
                             .fds = fds,
                             .n_fds = n};
    struct ctr_child *child = ctr_child_spawn(engine->loop, &what, true, NULL, NULL, err);
    if (child == NULL) {
        return ctr_engine_internal(err);
    }
    pid_t pid = ctr_child_pid(child);
    ctr_child_release(child);
    ctr_engine_lock(engine);
    c->pid = pid;
    c->pid_start = ctr_process_start_time(pid);
    c->live = true;
    c->ended = false;
    ctr_engine_unlock(engine);
    int control = ctr_steal_fd(&launch->control);
    if (ctr_link_create(c, control, err) < 0) {
        ctr_sandbox_kill(pid, c->pid_start);
        ctr_engine_lock(engine);
        c->live = false;
        ctr_engine_unlock(engine);
        return err->code;
    }
    return 0;
}

static void
spawn_on_loop(void *arg)
{
    struct spawn_call *call = arg;
    (void) spawn(call->launch, &call->err);
}

/* --- what a launch needs; any thread --- */

static int
open_files(struct ctr_launch *launch, struct ctr_error *err)
{
    struct ctr_container *c = launch->container;
    static const char *const stale[] = {"state.json", "exit.json", "console.ring"};
    for (size_t i = 0; i < CTR_LENGTH(stale); i++) {
        CTR_AUTO(free) char *old = ctr_printf("%s/%s", c->folder, stale[i]);
        if (old == NULL || (unlink(old) < 0 && errno != ENOENT)) {
            return ctr_fail(err, -EIO, "%s/%s: %s", c->folder, stale[i], strerror(errno));
        }
    }
    CTR_AUTO(free) char *log = ctr_printf("%s/sandbox.log", c->folder);
    CTR_AUTO(free) char *lock = ctr_printf("%s/lock", c->folder);
    CTR_AUTO(free) char *sockets = ctr_printf("%s/s", c->engine->conf->engine.run);
    if (log == NULL || lock == NULL || sockets == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (ctr_mkdirs(sockets, 0700, err) < 0) {
        return ctr_engine_internal(err);
    }
    const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    launch->log_fd = open(log, flags | O_TRUNC | O_APPEND, 0600);
    launch->lock_fd = open(lock, flags, 0600);
    if (launch->log_fd < 0 || launch->lock_fd < 0) {
        return ctr_fail(err, -EIO, "%s: %s", c->folder, strerror(errno));
    }
    if (flock(launch->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        return ctr_fail(err, -EIO,
                        "an earlier sandbox of container %.12s is still alive: try again",
                        c->id);
    }
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return ctr_fail(err, -errno, "socket pair: %s", strerror(errno));
    }
    launch->control = pair[0];
    launch->sandbox_control = pair[1];
    return 0;
}

static void
launch_finish(struct ctr_launch *launch)
{
    ctr_auto_fd(&launch->control);
    ctr_auto_fd(&launch->sandbox_control);
    ctr_auto_fd(&launch->log_fd);
    ctr_auto_fd(&launch->lock_fd);
    ctr_attachments_free(launch->ports, launch->n_ports);
    for (size_t i = 0; i < launch->n_pending; i++) {
        (void) close(launch->pending[i].fd);
    }
    free(launch->pending);
    json_decref(launch->disks);
    json_decref(launch->network);
}

static int
launch(struct ctr_container *c, struct ctr_error *err)
{
    struct ctr_engine *engine = c->engine;
    struct ctr_launch launch = {
        .container = c, .control = -1, .sandbox_control = -1, .log_fd = -1, .lock_fd = -1};
    struct ctr_storage *storage =
        ctr_engine_storage(engine, ctr_json_str(c->spec, "storage", ""));
    int rc = storage == NULL
                 ? ctr_fail(err, -EIO, "%s has no storage instance \"%s\" any more",
                            engine->conf->file, ctr_json_str(c->spec, "storage", ""))
                 : 0;
    if (rc == 0) {
        launch.disks = ctr_storage_disks(storage, c->id, err);
        rc = launch.disks == NULL ? ctr_engine_internal(err) : 0;
    }
    rc = rc < 0 ? rc : open_files(&launch, err);
    rc = rc < 0 ? rc : ctr_container_net_up(&launch, err);
    if (rc == 0) {
        ctr_engine_lock(engine);
        launch.pending = ctr_steal(&c->pending);
        launch.n_pending = c->n_pending;
        c->n_pending = 0;
        ctr_engine_unlock(engine);
        rc = ctr_machine_write(engine, &launch, err);
    }
    if (rc == 0) {
        struct spawn_call call = {.launch = &launch, .err = CTR_ERROR_INIT};
        rc = ctr_engine_on_loop(engine, spawn_on_loop, &call, err);
        if (rc == 0 && call.err.code != 0) {
            *err = call.err;
            rc = call.err.code;
        }
    }
    launch_finish(&launch);
    return rc;
}

/* --- the operation --- */

int
ctr_container_wait_gone(struct ctr_container *c, struct ctr_error *err)
{
    int64_t deadline = ctr_monotonic_ns() + GONE_SECONDS * 1000000000ll;
    while (c->live || c->networked) {
        if (!ctr_engine_wait(c->engine, deadline)) {
            return ctr_fail(err, -EIO, "the earlier sandbox of container %.12s does not end",
                            c->id);
        }
    }
    return 0;
}

/* Locked. Waits for the sandbox's first word; a sandbox that never speaks is ended. */
static int
wait_started(struct ctr_container *c, struct ctr_error *err)
{
    struct ctr_engine *engine = c->engine;
    int64_t deadline =
        ctr_monotonic_ns() + (engine->conf->engine.boot_timeout + 30) * 1000000000ll;
    while (c->start_result > 0) {
        if (!ctr_engine_wait(engine, deadline)) {
            bool quit = engine->quit;
            if (!quit) {
                ctr_sandbox_kill(c->pid, c->pid_start);
                (void) ctr_fail(err, -ETIMEDOUT,
                                "the sandbox of container %.12s gave no answer", c->id);
            } else {
                (void) ctr_fail(err, -ECANCELED, "the engine stops");
            }
            return err->code;
        }
    }
    if (c->start_result < 0) {
        return ctr_fail(err, c->start_result, "%s", c->error);
    }
    return 0;
}

/* Locked. Whatever a failed start has taken goes back before the call returns. */
static void
undo_start(struct ctr_container *c)
{
    struct ctr_engine *engine = c->engine;
    struct ctr_error left = CTR_ERROR_INIT;
    ctr_container_close_pending(c);
    if (!c->live && c->networked) {
        ctr_engine_unlock(engine);
        (void) ctr_container_net_down(c, &left);
        ctr_engine_lock(engine);
        c->networked = false;
        ctr_engine_changed(engine);
    }
    if (!engine->quit && ctr_container_wait_gone(c, &left) < 0) {
        ctr_log(CTR_LEVEL_ERROR, "container=%.12s error=\"%s\"", c->id, left.msg);
    }
}

/* Locked, claimed. */
int
ctr_container_start_claimed(struct ctr_container *c, int *ret_exit, struct ctr_error *err)
{
    struct ctr_engine *engine = c->engine;
    if (c->state == CTR_STATE_RUNNING) {
        return ctr_fail(err, -EALREADY, "container %.12s runs already", c->id);
    }
    if (ctr_container_wait_gone(c, err) < 0) {
        return err->code;
    }
    c->start_result = 1;
    c->start_exit = 0;
    c->error[0] = c->reason[0] = '\0';
    c->ended = false;
    ctr_engine_unlock(engine);
    int rc = launch(c, err);
    ctr_engine_lock(engine);
    if (rc == 0) {
        rc = wait_started(c, err);
    }
    if (rc < 0) {
        if (c->error[0] == '\0') {
            ctr_text_copy(c->error, sizeof c->error, err->msg);
        }
        c->exit_code = c->start_exit != 0 ? c->start_exit : 125;
        if (ret_exit != NULL) {
            *ret_exit = c->exit_code;
        }
        undo_start(c);
    }
    c->start_result = 0;
    return rc;
}

int
ctr_engine_container_start(struct ctr_engine *engine, const char *ref, int *ret_exit,
                           struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_container *c = ctr_container_claim(engine, ref, "start", err);
    if (c == NULL) {
        ctr_engine_unlock(engine);
        return err->code;
    }
    int rc = ctr_container_start_claimed(c, ret_exit, err);
    if (rc < 0 && rc != -EALREADY && c->auto_remove && !engine->quit) {
        c->busy = "remove";
        ctr_engine_unlock(engine);
        struct ctr_error left = CTR_ERROR_INIT;
        if (ctr_container_finish_remove(c, &left) < 0) {
            ctr_log(CTR_LEVEL_ERROR, "container=%.12s error=\"%s\"", c->id, left.msg);
        }
        ctr_engine_lock(engine);
    }
    ctr_container_idle(c);
    ctr_container_release(c);
    ctr_engine_unlock(engine);
    return rc;
}
