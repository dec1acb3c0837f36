/*
 * Raw streams to processes: attach and exec, and what goes with them (resize, stats).
 *
 * The bytes never pass through the engine: a call returns a connection to the sandbox that its caller splices. Who attaches
 * before the start gets one end of a socket pair; the other end is handed to the sandbox when it is started.
 */
#include "core/engine/engine-priv.h"
#include <sys/socket.h>

/* Locked. */
static int
add_pending(struct ctr_container *c, bool in, bool out, bool errors, int *ret_fd,
            struct ctr_error *err)
{
    if (c->n_pending >= CTR_PENDING_MAX) {
        return ctr_fail(err, -EBUSY, "%d clients wait for the start of container %.12s already",
                        CTR_PENDING_MAX, c->id);
    }
    struct ctr_pending *grown = realloc(c->pending, (c->n_pending + 1) * sizeof *c->pending);
    if (grown == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    c->pending = grown;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return ctr_fail(err, -errno, "socket pair: %s", strerror(errno));
    }
    c->pending[c->n_pending++] =
        (struct ctr_pending){.fd = pair[0], .in = in, .out = out, .err = errors};
    *ret_fd = pair[1];
    return 0;
}

int
ctr_engine_container_attach(struct ctr_engine *engine, const char *ref, bool in, bool out,
                            bool errors, int *ret_fd, bool *ret_tty, struct ctr_error *err)
{
    ctr_engine_lock(engine);
    /* Whatever runs on it is waited for: a start hands its list of clients over only once. */
    struct ctr_container *c = ctr_container_claim(engine, ref, "attach", err);
    if (c == NULL) {
        ctr_engine_unlock(engine);
        return err->code;
    }
    int rc;
    *ret_tty = c->tty;
    in = in && ctr_json_bool(c->spec, "open_stdin", false);
    if (c->state != CTR_STATE_RUNNING) {
        rc = add_pending(c, in, out, errors, ret_fd, err);
    } else {
        ctr_engine_unlock(engine);
        CTR_AUTO(json)
        json_t *request = json_pack("{s:s,s:b,s:b,s:b}", "op", "attach", "stdin", in, "stdout",
                                    out, "stderr", errors);
        rc = ctr_sandbox_call(c, request, NULL, err);
        if (rc >= 0) {
            *ret_fd = rc;
            rc = 0;
        } else {
            rc = ctr_engine_internal(err);
        }
        ctr_engine_lock(engine);
    }
    if (rc == 0) {
        ctr_container_event(c, "attach");
    }
    ctr_container_idle(c);
    ctr_container_release(c);
    ctr_engine_unlock(engine);
    return rc;
}

/* A running container, held; not locked. */
static struct ctr_container *
running(struct ctr_engine *engine, const char *ref, struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_container *c = ctr_container_find(engine, ref, err);
    if (c != NULL && c->state != CTR_STATE_RUNNING) {
        (void) ctr_fail(err, -EBUSY, "container %s is not running", c->id);
        ctr_container_release(c);
        c = NULL;
    }
    ctr_engine_unlock(engine);
    return c;
}

static void
let_go(struct ctr_container *c)
{
    struct ctr_engine *engine = c->engine;
    ctr_engine_lock(engine);
    ctr_container_release(c);
    ctr_engine_unlock(engine);
}

/* Sends a request whose answer is all that is wanted. */
static int
simple_call(struct ctr_engine *engine, const char *ref, json_t *take_request, json_t **ret_ok,
            struct ctr_error *err)
{
    CTR_AUTO(json) json_t *request = take_request;
    struct ctr_container *c = running(engine, ref, err);
    if (c == NULL) {
        return err->code;
    }
    int fd = ctr_sandbox_call(c, request, ret_ok, err);
    let_go(c);
    if (fd < 0) {
        return ctr_engine_internal(err);
    }
    (void) close(fd);
    return 0;
}

int
ctr_engine_container_resize(struct ctr_engine *engine, const char *ref, int rows, int cols,
                            struct ctr_error *err)
{
    return simple_call(
        engine, ref,
        json_pack("{s:s,s:s,s:i,s:i}", "op", "resize", "exec", "", "rows", rows, "cols", cols),
        NULL, err);
}

json_t *
ctr_engine_container_stats(struct ctr_engine *engine, const char *ref, struct ctr_error *err)
{
    json_t *ok = NULL;
    char id[65];
    if (simple_call(engine, ref, json_pack("{s:s}", "op", "stats"), &ok, err) < 0 ||
        ctr_container_id(engine, ref, id, err) < 0) {
        json_decref(ok);
        return NULL;
    }
    struct ctr_error none = CTR_ERROR_INIT; /* that there are no counters is no failure */
    json_t *networks = ctr_nets_stats(engine->nets, id, &none);
    (void) json_object_set_new(ok, "networks", networks == NULL ? json_object() : networks);
    return ok;
}

/* --- exec --- */

/* Forgets the oldest one that has ended, when there are too many. Locked. */
static bool
make_room(struct ctr_engine *engine)
{
    struct ctr_exec **oldest = NULL;
    for (struct ctr_exec **at = &engine->execs; *at != NULL; at = &(*at)->next) {
        if ((*at)->exited || !(*at)->started) {
            oldest = at; /* new ones stand at the front */
        }
    }
    if (engine->n_execs < CTR_EXECS_MAX) {
        return true;
    }
    if (oldest == NULL) {
        return false;
    }
    struct ctr_exec *exec = *oldest;
    *oldest = exec->next;
    engine->n_execs--;
    json_decref(exec->spec);
    free(exec);
    return true;
}

static int
check_exec_spec(const json_t *spec, struct ctr_error *err)
{
    CTR_AUTO(free) const char **args = ctr_json_argv(json_object_get(spec, "args"));
    CTR_AUTO(free) const char **env = ctr_json_argv(json_object_get(spec, "env"));
    if (args == NULL || env == NULL) {
        return ctr_fail(err, -EINVAL, "Cmd and Env must be lists of strings");
    }
    if (args[0] == NULL || *args[0] == '\0') {
        return ctr_fail(err, -EINVAL, "No exec command specified");
    }
    for (size_t i = 0; env[i] != NULL; i++) {
        if (*env[i] == '=' || *env[i] == '\0') {
            return ctr_fail(err, -EINVAL, "environment has a variable without a name: %.80s",
                            env[i]);
        }
    }
    const char *cwd = ctr_json_str(spec, "working_dir", "");
    if (*cwd != '\0' && *cwd != '/') {
        return ctr_fail(
            err, -EINVAL,
            "the working directory '%.200s' is invalid, it needs to be an absolute path", cwd);
    }
    return 0;
}

int
ctr_engine_exec_create(struct ctr_engine *engine, const char *ref, const json_t *spec,
                       char ret_id[65], struct ctr_error *err)
{
    if (check_exec_spec(spec, err) < 0) {
        return err->code;
    }
    struct ctr_container *c = running(engine, ref, err);
    if (c == NULL) {
        return err->code;
    }
    struct ctr_exec *exec = calloc(1, sizeof *exec);
    json_t *copy = json_deep_copy(spec);
    ctr_engine_lock(engine);
    int rc = 0;
    if (exec == NULL || copy == NULL || ctr_random_id(exec->id) < 0) {
        rc = ctr_fail(err, -ENOMEM, "out of memory");
    } else if (!make_room(engine)) {
        rc = ctr_fail(err, -ENOSPC, "%d execs run already", CTR_EXECS_MAX);
    } else {
        memcpy(exec->container, c->id, sizeof exec->container);
        memcpy(ret_id, exec->id, 65);
        exec->spec = ctr_steal(&copy);
        exec->tty = ctr_json_bool(spec, "tty", false);
        exec->next = engine->execs;
        engine->execs = ctr_steal(&exec);
        engine->n_execs++;
        ctr_container_event(c, "exec_create");
    }
    ctr_container_release(c);
    ctr_engine_unlock(engine);
    json_decref(copy);
    free(exec);
    return rc;
}

/* Locked. */
static struct ctr_exec *
find_exec(struct ctr_engine *engine, const char *id, struct ctr_error *err)
{
    struct ctr_exec *exec = engine->execs;
    while (exec != NULL && strcmp(exec->id, id) != 0) {
        exec = exec->next;
    }
    if (exec == NULL) {
        (void) ctr_fail(err, -ENOENT, "No such exec instance: %.80s", id);
    }
    return exec;
}

static json_t *
exec_request(struct ctr_container *c, const struct ctr_exec *exec, bool detach, int rows,
             int cols)
{
    const json_t *spec = exec->spec;
    CTR_AUTO(json) json_t *env = ctr_spec_env(c->spec, exec->tty, json_object_get(spec, "env"));
    const char *cwd = ctr_json_str(spec, "working_dir", "");
    const char *user = ctr_json_str(spec, "user", "");
    if (env == NULL) {
        return NULL;
    }
    CTR_AUTO(json)
    json_t *process =
        json_pack("{s:O,s:O,s:s,s:s,s:b,s:i,s:i}", "args", json_object_get(spec, "args"), "env",
                  env, "cwd", *cwd != '\0' ? cwd : ctr_json_str(c->spec, "working_dir", "/"),
                  "user", *user != '\0' ? user : ctr_json_str(c->spec, "user", ""), "tty",
                  exec->tty, "rows", rows > 0 ? rows : 24, "cols", cols > 0 ? cols : 80);
    if (process == NULL) {
        return NULL;
    }
    return json_pack("{s:s,s:s,s:O,s:b,s:b,s:b}", "op", "exec", "exec", exec->id, "process",
                     process, "stdin", !detach && ctr_json_bool(spec, "in", false), "stdout",
                     !detach && ctr_json_bool(spec, "out", false), "stderr",
                     !detach && ctr_json_bool(spec, "err", false));
}

/* Marks it started, so that it runs once, and makes its request. */
static struct ctr_container *
begin_exec(struct ctr_engine *engine, const char *id, bool detach, int rows, int cols,
           json_t **ret_request, bool *ret_tty, struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_exec *exec = find_exec(engine, id, err);
    struct ctr_container *c = NULL;
    if (exec != NULL && exec->started) {
        (void) ctr_fail(err, -EBUSY, "exec %.12s has run already", id);
    } else if (exec != NULL) {
        c = ctr_container_find(engine, exec->container, err);
    }
    if (c != NULL && c->state != CTR_STATE_RUNNING) {
        (void) ctr_fail(err, -EBUSY, "container %s is not running", c->id);
        ctr_container_release(c);
        c = NULL;
    }
    if (c != NULL) {
        *ret_tty = exec->tty;
        *ret_request = exec_request(c, exec, detach, rows, cols);
        exec->started = true;
    }
    ctr_engine_unlock(engine);
    return c;
}

static void
end_exec(struct ctr_engine *engine, const char *id, int pid, int code)
{
    struct ctr_error none = CTR_ERROR_INIT;
    ctr_engine_lock(engine);
    struct ctr_exec *exec = find_exec(engine, id, &none);
    if (exec != NULL && code >= 0 && !exec->exited) {
        exec->exited = true;
        exec->exit_code = code;
    } else if (exec != NULL) {
        exec->pid = pid;
    }
    ctr_engine_changed(engine);
    ctr_engine_unlock(engine);
}

int
ctr_engine_exec_start(struct ctr_engine *engine, const char *id, bool detach, int rows,
                      int cols, int *ret_fd, bool *ret_tty, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *request = NULL;
    CTR_AUTO(json) json_t *ok = NULL;
    struct ctr_container *c =
        begin_exec(engine, id, detach, rows, cols, &request, ret_tty, err);
    if (c == NULL) {
        return err->code;
    }
    int fd = request == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                             : ctr_sandbox_call(c, request, &ok, err);
    let_go(c);
    if (fd < 0) {
        bool program = fd == -ENOENT || fd == -EACCES || fd == -ENOEXEC || fd == -EISDIR;
        end_exec(engine, id, 0, fd == -ENOENT ? 127 : program ? 126 : 125);
        err->code = program || fd == -EINVAL ? -EINVAL : ctr_engine_internal(err);
        return err->code;
    }
    end_exec(engine, id, (int) ctr_json_int(ok, "pid", 0), -1);
    if (detach) {
        (void) close(fd);
        fd = -1;
    }
    *ret_fd = fd;
    return 0;
}

void
ctr_engine_exec_settle(struct ctr_engine *engine, const char *id)
{
    struct ctr_error none = CTR_ERROR_INIT;
    int64_t deadline = ctr_monotonic_ns() + 5 * 1000000000ll;
    ctr_engine_lock(engine);
    for (struct ctr_exec *exec;
         (exec = find_exec(engine, id, &none)) != NULL && !exec->exited;) {
        if (!ctr_engine_wait(engine, deadline)) {
            break;
        }
    }
    ctr_engine_unlock(engine);
}

int
ctr_engine_exec_resize(struct ctr_engine *engine, const char *id, int rows, int cols,
                       struct ctr_error *err)
{
    char container[65] = "";
    ctr_engine_lock(engine);
    struct ctr_exec *exec = find_exec(engine, id, err);
    if (exec != NULL) {
        memcpy(container, exec->container, sizeof container);
    }
    ctr_engine_unlock(engine);
    if (container[0] == '\0') {
        return err->code;
    }
    return simple_call(
        engine, container,
        json_pack("{s:s,s:s,s:i,s:i}", "op", "resize", "exec", id, "rows", rows, "cols", cols),
        NULL, err);
}

json_t *
ctr_engine_exec_inspect(struct ctr_engine *engine, const char *id, struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_exec *exec = find_exec(engine, id, err);
    json_t *json = exec == NULL
                       ? NULL
                       : json_pack("{s:s,s:s,s:O,s:b,s:i}", "id", exec->id, "container",
                                   exec->container, "spec", exec->spec, "running",
                                   exec->started && !exec->exited, "pid", exec->pid);
    if (json != NULL && exec->exited) {
        (void) json_object_set_new(json, "exit_code", json_integer(exec->exit_code));
    }
    ctr_engine_unlock(engine);
    return json;
}
