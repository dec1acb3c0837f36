/*
 * Waiting for things to happen: waiters with a descriptor to poll beside a client's socket, and the ring of recent events.
 *
 * Every change of the tables writes a byte to each waiter's pipe; the reader then checks its condition under the lock. A
 * reader that falls behind the ring by more than its length loses the oldest events, never memory.
 */
#include "core/engine/engine-priv.h"
#include <fcntl.h>
#include <sys/socket.h>

void
ctr_engine_tell(struct ctr_engine *engine, json_t *take_event)
{
    if (take_event == NULL) {
        return;
    }
    json_t **slot = &engine->events[engine->n_events % CTR_EVENTS_KEPT];
    json_decref(*slot);
    *slot = take_event;
    engine->n_events++;
    ctr_engine_changed(engine);
}

void
ctr_engine_event(struct ctr_engine *engine, const char *type, const char *action,
                 const char *id, const char *name, const char *image, int exit_code)
{
    ctr_engine_tell(engine,
                    json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:I}", "type", type, "action", action,
                              "id", id, "name", name, "image", image, "exit_code", exit_code,
                              "time", (json_int_t) ctr_now_ns()));
}

void
ctr_container_event(struct ctr_container *container, const char *action)
{
    ctr_engine_event(container->engine, "container", action, container->id, container->name,
                     ctr_json_str(container->image, "reference", ""), container->exit_code);
}

static int
waiter_new(struct ctr_engine *engine, enum ctr_waiter_kind kind, struct ctr_waiter **ret,
           struct ctr_error *err)
{
    struct ctr_waiter *waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (pipe2(waiter->fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        int code = -errno;
        free(waiter);
        return ctr_fail(err, code, "pipe: %s", strerror(-code));
    }
    waiter->engine = engine;
    waiter->kind = kind;
    *ret = waiter;
    return 0;
}

static void
waiter_insert(struct ctr_waiter *waiter)
{
    struct ctr_engine *engine = waiter->engine;
    waiter->next = engine->waiters;
    engine->waiters = waiter;
    if (waiter->container != NULL) {
        waiter->exits = waiter->container->exits;
    }
    waiter->cursor = engine->n_events;
}

int
ctr_engine_wait_begin(struct ctr_engine *engine, const char *ref,
                      enum ctr_wait_condition condition, struct ctr_waiter **ret,
                      struct ctr_error *err)
{
    struct ctr_waiter *waiter = NULL;
    if (waiter_new(engine, CTR_WAITER_CONTAINER, &waiter, err) < 0) {
        return err->code;
    }
    waiter->condition = condition;
    ctr_engine_lock(engine);
    waiter->container = ctr_container_find(engine, ref, err);
    if (waiter->container != NULL) {
        waiter_insert(waiter);
    }
    ctr_engine_unlock(engine);
    if (waiter->container == NULL) {
        ctr_waiter_end(waiter);
        return err->code;
    }
    *ret = waiter;
    return 0;
}

int
ctr_engine_events(struct ctr_engine *engine, struct ctr_waiter **ret, struct ctr_error *err)
{
    if (waiter_new(engine, CTR_WAITER_EVENTS, ret, err) < 0) {
        return err->code;
    }
    ctr_engine_lock(engine);
    waiter_insert(*ret);
    ctr_engine_unlock(engine);
    return 0;
}

int
ctr_engine_container_logs(struct ctr_engine *engine, const char *ref, int64_t tail,
                          struct ctr_log_reader **ret_reader, struct ctr_waiter **ret_waiter,
                          bool *ret_tty, struct ctr_error *err)
{
    struct ctr_waiter *waiter = NULL;
    if (ctr_engine_wait_begin(engine, ref, CTR_WAIT_NOT_RUNNING, &waiter, err) < 0) {
        return err->code;
    }
    waiter->kind = CTR_WAITER_LOGS;
    if (ctr_log_open(waiter->container->folder, tail, ret_reader, err) < 0) {
        ctr_waiter_end(waiter);
        return ctr_engine_internal(err);
    }
    *ret_waiter = waiter;
    *ret_tty = waiter->container->tty;
    return 0;
}

int
ctr_waiter_fd(const struct ctr_waiter *waiter)
{
    return waiter->fds[0];
}

static void
drain(struct ctr_waiter *waiter)
{
    char bytes[256];
    while (read(waiter->fds[0], bytes, sizeof bytes) == sizeof bytes) {
    }
}

static bool
holds(const struct ctr_waiter *waiter)
{
    const struct ctr_container *c = waiter->container;
    if (waiter->kind == CTR_WAITER_LOGS) {
        return c->removed || (c->state != CTR_STATE_RUNNING && !c->live);
    }
    switch (waiter->condition) {
    case CTR_WAIT_NOT_RUNNING:
        return c->removed || c->state != CTR_STATE_RUNNING;
    case CTR_WAIT_NEXT_EXIT:
        return c->removed || c->exits != waiter->exits;
    case CTR_WAIT_REMOVED:
        return c->removed;
    }
    return true;
}

int
ctr_waiter_check(struct ctr_waiter *waiter, int *ret_code, const char **ret_error)
{
    struct ctr_engine *engine = waiter->engine;
    ctr_engine_lock(engine);
    drain(waiter);
    int rc = 0;
    if (holds(waiter)) {
        rc = 1;
        *ret_code = waiter->container->exit_code;
        /* Only what the exit code does not tell: the machine's own troubles. */
        const struct ctr_container *c = waiter->container;
        bool ordinary = c->state != CTR_STATE_EXITED || strcmp(c->reason, "exited") == 0 ||
                        strcmp(c->reason, "killed") == 0 || strcmp(c->reason, "oom") == 0;
        (void) snprintf(waiter->error, sizeof waiter->error, "%s", ordinary ? "" : c->error);
        *ret_error = waiter->error;
    } else if (engine->quit) {
        rc = -ECANCELED;
    }
    ctr_engine_unlock(engine);
    return rc;
}

json_t *
ctr_waiter_event(struct ctr_waiter *waiter, bool *ret_end)
{
    struct ctr_engine *engine = waiter->engine;
    json_t *event = NULL;
    ctr_engine_lock(engine);
    if (waiter->cursor + CTR_EVENTS_KEPT < engine->n_events) {
        waiter->cursor = engine->n_events - CTR_EVENTS_KEPT;
    }
    if (waiter->cursor < engine->n_events) {
        event = json_incref(engine->events[waiter->cursor++ % CTR_EVENTS_KEPT]);
    } else {
        drain(waiter);
    }
    *ret_end = engine->quit;
    ctr_engine_unlock(engine);
    return event;
}

void
ctr_waiter_end(struct ctr_waiter *waiter)
{
    if (waiter == NULL) {
        return;
    }
    struct ctr_engine *engine = waiter->engine;
    ctr_engine_lock(engine);
    for (struct ctr_waiter **at = &engine->waiters; *at != NULL; at = &(*at)->next) {
        if (*at == waiter) {
            *at = waiter->next;
            break;
        }
    }
    ctr_container_release(waiter->container);
    ctr_engine_unlock(engine);
    (void) close(waiter->fds[0]);
    (void) close(waiter->fds[1]);
    free(waiter);
}
