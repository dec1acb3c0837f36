/*
 * Ending and removing: stop, kill, restart, rm. A stop always ends: the sandbox escalates from the signal to SIGKILL to the
 * machine's end, and where the sandbox itself is silent, its process is ended by its identity.
 *
 * rm renames the folder to ID.gone and takes the record away: from then on the container is gone. Disk, addresses and the folder
 * follow; a folder of that name tells the next start that a kill came in between.
 */
#include "core/engine/engine-priv.h"
#include <signal.h>

#define STOP_SLACK 30 /* seconds that the sandbox's own escalation takes at most */
#define TIMEOUT_MAX 86400

/* Locked: finds it, waits for the end of a start that is under way. Held. */
static struct ctr_container *
find_settled(struct ctr_engine *engine, const char *ref, struct ctr_error *err)
{
    struct ctr_container *c = ctr_container_find(engine, ref, err);
    int64_t deadline = ctr_monotonic_ns() + 180ll * 1000000000;
    while (c != NULL && c->busy != NULL && strcmp(c->busy, "start") == 0 &&
           c->state != CTR_STATE_RUNNING && ctr_engine_wait(engine, deadline)) {
    }
    return c;
}

/* Locked. False when the time is over. */
static bool
wait_exit(struct ctr_container *c, unsigned exits, int64_t seconds)
{
    int64_t deadline = ctr_monotonic_ns() + seconds * 1000000000ll;
    while (c->exits == exits && !c->removed) {
        if (!ctr_engine_wait(c->engine, deadline)) {
            return false;
        }
    }
    return true;
}

static int
call_op(struct ctr_container *c, json_t *take_request)
{
    CTR_AUTO(json) json_t *request = take_request;
    struct ctr_error err = CTR_ERROR_INIT;
    int fd = request == NULL ? -ENOMEM : ctr_sandbox_call(c, request, NULL, &err);
    if (fd < 0) {
        ctr_log(CTR_LEVEL_WARN, "container=%.12s error=\"%s\"", c->id, err.msg);
        return -1;
    }
    (void) close(fd);
    return 0;
}

/* Locked, running: ends it for certain. `request` asks the sandbox, `seconds` is how long its answer may take. */
static int
end_run(struct ctr_container *c, json_t *take_request, int64_t seconds, struct ctr_error *err)
{
    struct ctr_engine *engine = c->engine;
    unsigned exits = c->exits;
    ctr_engine_unlock(engine);
    int rc = call_op(c, take_request);
    ctr_engine_lock(engine);
    if (wait_exit(c, exits, rc < 0 ? 1 : seconds)) {
        return 0;
    }
    if (engine->quit) {
        return ctr_fail(err, -ECANCELED, "the engine stops");
    }
    ctr_engine_unlock(engine);
    rc = call_op(c, json_pack("{s:s}", "op", "kill"));
    ctr_engine_lock(engine);
    if (wait_exit(c, exits, rc < 0 ? 1 : 10)) {
        return 0;
    }
    ctr_sandbox_kill(c->pid, c->pid_start);
    if (wait_exit(c, exits, 10)) {
        return 0;
    }
    return ctr_fail(err, -ETIMEDOUT,
                    "container %.12s does not end: its process %d cannot be killed", c->id,
                    (int) c->pid);
}

/* Locked, running. */
static int
stop_running(struct ctr_container *c, int signal, int64_t timeout, struct ctr_error *err)
{
    if (timeout == CTR_TIMEOUT_DEFAULT) {
        timeout = ctr_json_int(c->spec, "stop_timeout", 10);
    }
    if (timeout < 0 || timeout > TIMEOUT_MAX) {
        timeout = TIMEOUT_MAX;
    }
    if (signal == 0) {
        signal = ctr_signal_number(ctr_json_str(c->spec, "stop_signal", "TERM"));
    }
    return end_run(c,
                   json_pack("{s:s,s:i,s:I}", "op", "stop", "signal", signal, "timeout",
                             (json_int_t) timeout),
                   timeout + STOP_SLACK, err);
}

int
ctr_engine_container_stop(struct ctr_engine *engine, const char *ref, int signal,
                          int64_t timeout, struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_container *c = find_settled(engine, ref, err);
    int rc = c == NULL ? err->code : 0;
    if (rc == 0 && c->state != CTR_STATE_RUNNING) {
        rc = ctr_fail(err, -EALREADY, "container %.12s does not run", c->id);
    } else if (rc == 0) {
        rc = stop_running(c, signal, timeout, err);
        if (rc == 0) {
            ctr_container_event(c, "stop");
        }
    }
    ctr_container_release(c);
    ctr_engine_unlock(engine);
    return rc;
}

int
ctr_engine_container_kill(struct ctr_engine *engine, const char *ref, int signal,
                          struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_container *c = find_settled(engine, ref, err);
    int rc = c == NULL ? err->code : 0;
    if (rc == 0 && c->state != CTR_STATE_RUNNING) {
        rc = ctr_fail(err, -EBUSY, "cannot kill container: %s: container %s is not running",
                      ref, c->id);
    } else if (rc == 0 && signal == SIGKILL) {
        rc = stop_running(c, SIGKILL, 0, err);
    } else if (rc == 0) {
        ctr_engine_unlock(engine);
        CTR_AUTO(json)
        json_t *request =
            json_pack("{s:s,s:s,s:i}", "op", "signal", "exec", "", "signal", signal);
        int fd = ctr_sandbox_call(c, request, NULL, err);
        rc = fd < 0 ? ctr_engine_internal(err) : 0;
        ctr_auto_fd(&fd);
        ctr_engine_lock(engine);
        if (rc == -EBUSY || (rc < 0 && c->state != CTR_STATE_RUNNING)) { /* it ended just now */
            rc = ctr_fail(err, -EBUSY, "cannot kill container: %s: container %s is not running",
                          ref, c->id);
        }
    }
    if (rc == 0) {
        ctr_container_event(c, "kill");
    }
    ctr_container_release(c);
    ctr_engine_unlock(engine);
    return rc;
}

int
ctr_engine_container_restart(struct ctr_engine *engine, const char *ref, int signal,
                             int64_t timeout, struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_container *c = ctr_container_claim(engine, ref, "restart", err);
    if (c == NULL) {
        ctr_engine_unlock(engine);
        return err->code;
    }
    int rc = c->state == CTR_STATE_RUNNING ? stop_running(c, signal, timeout, err) : 0;
    if (rc == 0) {
        rc = ctr_container_start_claimed(c, NULL, err);
    }
    ctr_container_idle(c);
    ctr_container_release(c);
    ctr_engine_unlock(engine);
    return rc;
}

/* --- removing --- */

static bool
dispose_disk(struct ctr_engine *engine, const char *id, struct ctr_error *err)
{
    for (size_t i = 0; i < engine->n_storages; i++) {
        if (ctr_storage_remove(engine->storages[i], id, err) < 0) {
            (void) ctr_prefix(err, "storage %s", ctr_storage_name(engine->storages[i]));
            return false;
        }
    }
    return true;
}

void
ctr_container_dispose(struct ctr_engine *engine, const char *id)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *socket = ctr_printf("%s/s/%.16s.sock", engine->conf->engine.run, id);
    CTR_AUTO(free) char *folder = ctr_printf("%s/containers/%s", engine->conf->engine.data, id);
    CTR_AUTO(free) char *gone = folder == NULL ? NULL : ctr_printf("%s.gone", folder);
    if (socket == NULL || gone == NULL) {
        return; /* the next start's sweep does it */
    }
    (void) unlink(socket);
    if (!dispose_disk(engine, id, &err) || ctr_nets_leave(engine->nets, NULL, id, &err) < 0 ||
        ctr_remove_tree(folder, &err) < 0 || ctr_remove_tree(gone, &err) < 0) {
        ctr_log(CTR_LEVEL_ERROR,
                "container=%.12s error=\"%s\" next=\"tried again at the next start\"", id,
                err.msg);
    }
}

static void
drop_execs(struct ctr_container *c)
{
    struct ctr_engine *engine = c->engine;
    for (struct ctr_exec **at = &engine->execs; *at != NULL;) {
        struct ctr_exec *exec = *at;
        if (strcmp(exec->container, c->id) == 0) {
            *at = exec->next;
            engine->n_execs--;
            json_decref(exec->spec);
            free(exec);
        } else {
            at = &exec->next;
        }
    }
}

static int
forget_record(struct ctr_container *c, struct ctr_error *err)
{
    struct ctr_engine *engine = c->engine;
    pthread_mutex_lock(&engine->record_lock);
    int rc = ctr_record_remove(engine->store, "container", c->id, err);
    c->forgotten = rc == 0;
    pthread_mutex_unlock(&engine->record_lock);
    return rc;
}

/* From here on it is gone; what is left of it is known by its folder's name. */
static int
forget(struct ctr_container *c, struct ctr_error *err)
{
    CTR_AUTO(free) char *gone = ctr_printf("%s.gone", c->folder);
    CTR_AUTO(free) char *root = ctr_printf("%s/containers", c->engine->conf->engine.data);
    if (gone == NULL || root == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (rename(c->folder, gone) < 0 && errno != ENOENT) {
        return ctr_fail(err, -errno, "%s: %s", c->folder, strerror(errno));
    }
    int rc = ctr_sync_dir(root, err);
    rc = rc < 0 ? rc : forget_record(c, err);
    if ((rc == -ENOSPC || rc == -EDQUOT) && dispose_disk(c->engine, c->id, err)) {
        /* On a full disk even forgetting needs room: what is to go anyway makes it. */
        rc = forget_record(c, err);
    }
    if (rc < 0) {
        (void) rename(gone, c->folder);
    }
    return rc;
}

int
ctr_container_finish_remove(struct ctr_container *c, struct ctr_error *err)
{
    struct ctr_engine *engine = c->engine;
    const char *storage = ctr_json_str(c->spec, "storage", "");
    int rc = 0;
    if (ctr_engine_storage(engine, storage) == NULL) {
        rc = ctr_fail(err, -EIO,
                      "container %.12s has its disk in storage \"%s\", which %s no longer has: "
                      "put the section back, then remove the container",
                      c->id, storage, engine->conf->file);
    } else if (forget(c, err) < 0) {
        rc = ctr_engine_internal(err);
    }
    ctr_engine_lock(engine);
    ctr_container_hold(c);
    if (rc < 0) {
        c->auto_remove =
            false; /* no second try by itself before the next start of the daemon */
    } else {
        ctr_container_close_pending(c);
        drop_execs(c);
        ctr_container_event(c, "destroy");
        ctr_container_drop(c);
    }
    ctr_container_idle(c);
    ctr_engine_unlock(engine);
    if (rc == 0) {
        ctr_container_dispose(engine, c->id);
    }
    ctr_engine_lock(engine);
    ctr_container_release(c);
    ctr_engine_unlock(engine);
    return rc;
}

/* A removed image leaves behind what its last container's disk stood on: that goes with the container. */
static void
collect_image(struct ctr_engine *engine, const char *image_id)
{
    struct ctr_image image = {0};
    struct ctr_error err = CTR_ERROR_INIT;
    if (ctr_image_resolve(engine->images, image_id, NULL, &image, &err) == 0) {
        ctr_image_finish(&image);
    } else if (err.code == -ENOENT && ctr_images_collect(engine->images, engine->storages,
                                                         engine->n_storages, &err) < 0) {
        ctr_log(CTR_LEVEL_WARN, "image=%s error=\"%s\"", image_id, err.msg);
    }
}

int
ctr_engine_container_remove(struct ctr_engine *engine, const char *ref, bool force,
                            struct ctr_error *err)
{
    ctr_engine_lock(engine);
    struct ctr_container *c = ctr_container_claim(engine, ref, "remove", err);
    if (c == NULL) {
        ctr_engine_unlock(engine);
        return err->code;
    }
    int rc = 0;
    if (c->state == CTR_STATE_RUNNING && !force) {
        rc = ctr_fail(
            err, -EBUSY,
            "cannot remove container \"/%s\": container is running: stop the container "
            "before removing or force remove",
            c->name);
    } else if (c->state == CTR_STATE_RUNNING) {
        rc = end_run(c, json_pack("{s:s}", "op", "kill"), 10, err);
    }
    rc = rc < 0 ? rc : ctr_container_wait_gone(c, err);
    if (rc < 0) {
        ctr_container_idle(c);
    } else {
        ctr_engine_unlock(engine);
        rc = ctr_container_finish_remove(c, err);
        if (rc == 0) {
            collect_image(engine, ctr_json_str(c->image, "id", ""));
        }
        ctr_engine_lock(engine);
    }
    ctr_container_release(c);
    ctr_engine_unlock(engine);
    return rc;
}

static struct ctr_container *
any_running(struct ctr_engine *engine)
{
    struct ctr_container *c = engine->containers;
    while (c != NULL && c->state != CTR_STATE_RUNNING) {
        c = c->next;
    }
    if (c != NULL) {
        ctr_container_hold(c);
    }
    return c;
}

int
ctr_engine_stop_all(struct ctr_engine *engine, struct ctr_error *err)
{
    struct ctr_error net = CTR_ERROR_INIT;
    int rc = 0;
    ctr_engine_lock(engine);
    for (struct ctr_container *c; rc == 0 && (c = any_running(engine)) != NULL;) {
        rc = stop_running(c, 0, CTR_TIMEOUT_DEFAULT, err);
        rc = rc < 0 ? rc : ctr_container_wait_gone(c, err);
        ctr_container_release(c);
    }
    ctr_engine_unlock(engine);
    if (rc == 0 && ctr_nets_stop(engine->nets, NULL, &net) < 0) {
        ctr_log(CTR_LEVEL_WARN, "networks error=\"%s\"", net.msg);
    }
    return rc;
}
