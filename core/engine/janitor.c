/*
 * What follows the end of a sandbox: its network ports go back, the end is written into the record, and --rm removes.
 *
 * One thread of its own, since each step may block and nobody waits for it. Waiters have been told of the exit before: the
 * sandbox's own exit.json is the durable word, the record only repeats it.
 */
#include "core/engine/engine-priv.h"

#define JANITOR_STACK (512u * 1024)
#define SETTLE_MS 5000

void
ctr_container_after_end(struct ctr_container *container)
{
    struct ctr_engine *engine = container->engine;
    if (container->queued) {
        return;
    }
    container->queued = true;
    container->queue_next = NULL;
    ctr_container_hold(container);
    struct ctr_container **at = &engine->queue;
    while (*at != NULL) {
        at = &(*at)->queue_next;
    }
    *at = container;
    ctr_engine_changed(engine);
}

/* A sandbox whose connection has ended is about to exit; one that is not will be ended. */
static void
settle(struct ctr_container *c)
{
    int64_t deadline = ctr_monotonic_ns() + SETTLE_MS * 1000000ll;
    while (!c->live && c->pid != 0 && ctr_sandbox_is_alive(c)) {
        if (ctr_monotonic_ns() > deadline) {
            ctr_sandbox_kill(c->pid, c->pid_start);
            break;
        }
        (void) usleep(2000);
    }
}

/* Not locked. */
static void
tidy(struct ctr_container *c)
{
    struct ctr_engine *engine = c->engine;
    struct ctr_error err = CTR_ERROR_INIT;
    settle(c);
    if (c->networked && ctr_container_net_down(c, &err) < 0) {
        ctr_log(CTR_LEVEL_WARN, "container=%.12s error=\"%s\"", c->id, err.msg);
    }
    ctr_engine_lock(engine);
    c->networked = c->live && c->networked;
    c->pid = c->live ? c->pid : 0;
    bool removable = c->auto_remove && c->ready && c->busy == NULL && !c->removed && !c->live &&
                     c->state == CTR_STATE_EXITED;
    bool save = !c->removed && c->ready && (c->busy == NULL || strcmp(c->busy, "remove") != 0);
    if (removable) {
        c->busy = "remove";
    }
    ctr_engine_changed(engine);
    ctr_engine_unlock(engine);
    int rc = 0;
    if (removable) {
        rc = ctr_container_finish_remove(c, &err);
    } else if (save) {
        rc = ctr_container_save(c, "ready", &err);
    }
    if (rc < 0) {
        ctr_log(CTR_LEVEL_ERROR, "container=%.12s error=\"%s\"", c->id, err.msg);
    }
}

static void *
janitor(void *arg)
{
    struct ctr_engine *engine = arg;
    ctr_engine_lock(engine);
    for (;;) {
        while (engine->queue == NULL && !engine->quit) {
            pthread_cond_wait(&engine->changed, &engine->lock);
        }
        struct ctr_container *c = engine->queue;
        if (c == NULL) {
            break;
        }
        engine->queue = c->queue_next;
        c->queued = false;
        ctr_engine_unlock(engine);
        tidy(c);
        ctr_engine_lock(engine);
        ctr_container_release(c);
    }
    ctr_engine_unlock(engine);
    return NULL;
}

int
ctr_janitor_start(struct ctr_engine *engine, struct ctr_error *err)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, JANITOR_STACK);
    int rc = pthread_create(&engine->janitor, &attributes, janitor, engine);
    pthread_attr_destroy(&attributes);
    if (rc != 0) {
        return ctr_fail(err, -rc, "thread: %s", strerror(rc));
    }
    engine->has_janitor = true;
    return 0;
}

void
ctr_janitor_stop(struct ctr_engine *engine)
{
    if (engine->has_janitor) {
        pthread_join(engine->janitor, NULL);
        engine->has_janitor = false;
    }
}
