/*
 * The engine's life: opening everything in order, the lock and its condition, and work for the loop's thread.
 *
 * The order of opening is the order of dependence: the store first, since its lock keeps a second daemon away; storage and
 * registry plugins next, since they are loaded into this process; containers last, which may at once be found running.
 */
#include "core/engine/engine-priv.h"
#include <fcntl.h>

void
ctr_engine_lock(struct ctr_engine *engine)
{
    pthread_mutex_lock(&engine->lock);
}

void
ctr_engine_unlock(struct ctr_engine *engine)
{
    pthread_mutex_unlock(&engine->lock);
}

void
ctr_engine_changed(struct ctr_engine *engine)
{
    pthread_cond_broadcast(&engine->changed);
    for (struct ctr_waiter *waiter = engine->waiters; waiter != NULL; waiter = waiter->next) {
        (void) !write(waiter->fds[1], "", 1); /* full: it is readable already */
    }
}

bool
ctr_engine_wait(struct ctr_engine *engine, int64_t deadline)
{
    int64_t left = deadline - ctr_monotonic_ns();
    if (left <= 0 || engine->quit) {
        return false;
    }
    /* The wall clock may jump: never sleep longer than a second at a time on it. */
    int64_t until = ctr_now_ns() + (left < 1000000000 ? left : 1000000000);
    struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    (void) pthread_cond_timedwait(&engine->changed, &engine->lock, &at);
    return true;
}

struct on_loop {
    struct ctr_engine *engine;
    void (*fn)(void *arg);
    void *arg;
    bool done;
};

static void
run_on_loop(void *arg)
{
    struct on_loop *call = arg;
    call->fn(call->arg);
    struct ctr_engine *engine = call->engine;
    ctr_engine_lock(engine);
    call->done = true; /* from the unlock on, `call` is no more */
    pthread_cond_broadcast(&engine->changed);
    ctr_engine_unlock(engine);
}

int
ctr_engine_on_loop(struct ctr_engine *engine, void (*fn)(void *arg), void *arg,
                   struct ctr_error *err)
{
    if (pthread_equal(pthread_self(), engine->loop_thread)) {
        fn(arg);
        return 0;
    }
    struct on_loop call = {.engine = engine, .fn = fn, .arg = arg};
    if (ctr_loop_post(engine->loop, run_on_loop, &call) < 0) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    ctr_engine_lock(engine);
    while (!call.done) {
        pthread_cond_wait(&engine->changed, &engine->lock);
    }
    ctr_engine_unlock(engine);
    return 0;
}

int
ctr_engine_internal(struct ctr_error *err)
{
    switch (err->code) {
    case -ESRCH: /* a process that is not there any more: a conflict with the container's state */
        err->code = -EBUSY;
        break;
    case -ENOENT:
    case -EEXIST:
    case -EBUSY:
    case -EINVAL:
    case -EALREADY:
    case -EPERM:
    case -EACCES:
        err->code = -EIO;
        break;
    default:
        break;
    }
    return err->code;
}

static int
open_storages(struct ctr_engine *engine, struct ctr_error *err)
{
    const struct ctr_conf *conf = engine->conf;
    engine->storages = calloc(conf->n_instances + 1, sizeof *engine->storages);
    if (engine->storages == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < conf->n_instances; i++) {
        if (conf->instances[i].kind != CTR_KIND_STORAGE) {
            continue;
        }
        struct ctr_storage **slot = &engine->storages[engine->n_storages];
        if (ctr_storage_open(conf, &conf->instances[i], conf->engine.data, slot, err) < 0) {
            return ctr_prefix(err, "storage %s", conf->instances[i].name);
        }
        engine->n_storages++;
    }
    return 0;
}

static bool
is_known(struct ctr_engine *engine, const char *id)
{
    struct ctr_container *known = engine->containers;
    while (known != NULL && strcmp(known->id, id) != 0) {
        known = known->next;
    }
    return known != NULL;
}

/* ID.gone is a container that was being removed when the daemon was killed: with its record still there it is put back, else
 * the rest of it goes. Any other folder without a record is left alone: the record may be what was lost. */
static void
sweep_folders(struct ctr_engine *engine, const char *root)
{
    CTR_AUTO(dir) DIR *dir = opendir(root);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char id[65];
        if (strlen(entry->d_name) < 64 || !ctr_is_hex(entry->d_name, 64)) {
            continue;
        }
        (void) snprintf(id, sizeof id, "%.64s", entry->d_name);
        bool gone = strcmp(entry->d_name + 64, ".gone") == 0;
        if (gone && is_known(engine, id)) {
            CTR_AUTO(free) char *from = ctr_printf("%s/%s", root, entry->d_name);
            CTR_AUTO(free) char *to = ctr_printf("%s/%s", root, id);
            if (from != NULL && to != NULL) {
                (void) rename(from, to);
            }
        } else if (gone) {
            ctr_log(CTR_LEVEL_INFO, "container=%.12s swept=yes", id);
            ctr_container_dispose(engine, id);
        } else if (!is_known(engine, id)) {
            ctr_log(CTR_LEVEL_WARN, "folder=%s/%s error=\"no record of it, left alone\"", root,
                    entry->d_name);
        }
    }
}

struct restore {
    struct ctr_engine *engine;
    struct ctr_container **unfinished;
    size_t n_unfinished;
};

static int
restore_one(void *arg, const char *id, const json_t *record)
{
    struct restore *restore = arg;
    struct ctr_container *container = ctr_container_from_record(restore->engine, id, record);
    if (container == NULL) {
        /* Never deleted because it is unreadable: it stays in the table for a later version to read. */
        ctr_log(CTR_LEVEL_ERROR, "container=%.12s error=\"unreadable record, left alone\"", id);
        return 0;
    }
    if (strcmp(ctr_json_str(record, "phase", "ready"), "ready") != 0) {
        void *grown = realloc(restore->unfinished,
                              (restore->n_unfinished + 1) * sizeof *restore->unfinished);
        if (grown == NULL) {
            return -ENOMEM;
        }
        restore->unfinished = grown;
        restore->unfinished[restore->n_unfinished++] = container;
    }
    ctr_container_insert(container);
    return 0;
}

static int
restore_containers(struct ctr_engine *engine, struct ctr_error *err)
{
    CTR_AUTO(free) char *root = ctr_printf("%s/containers", engine->conf->engine.data);
    if (root == NULL || ctr_mkdirs(root, 0700, err) < 0) {
        return root == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : err->code;
    }
    struct restore restore = {.engine = engine};
    int rc = ctr_record_each(engine->store, "container", restore_one, &restore, err);
    CTR_AUTO(free) struct ctr_container **unfinished = restore.unfinished;
    if (rc < 0) {
        return rc;
    }
    sweep_folders(engine, root);
    for (size_t i = 0; i < restore.n_unfinished; i++) {
        struct ctr_error left = CTR_ERROR_INIT;
        if (ctr_container_finish_remove(unfinished[i], &left) < 0) {
            ctr_log(CTR_LEVEL_WARN, "container=%.12s error=\"%s\"", unfinished[i]->id,
                    left.msg);
        }
    }
    for (struct ctr_container *next, *c = engine->containers; c != NULL; c = next) {
        next = c->next;
        struct ctr_error left = CTR_ERROR_INIT;
        if (ctr_container_migrate(c, &left) < 0 || ctr_link_adopt(c, &left) < 0) {
            ctr_log(CTR_LEVEL_ERROR, "container=%.12s error=\"%s\"", c->id, left.msg);
        }
    }
    return 0;
}

static int
open_all(struct ctr_engine *engine, struct ctr_error *err)
{
    const struct ctr_conf *conf = engine->conf;
    struct ctr_nets_hooks hooks = ctr_engine_net_hooks(engine);
    if (ctr_platform_parse(conf->engine.platform, &engine->platform, err) < 0 ||
        ctr_mkdirs(conf->engine.data, 0700, err) < 0 ||
        ctr_mkdirs(conf->engine.run, 0700, err) < 0 ||
        ctr_store_open(conf->engine.data, &engine->store, err) < 0) {
        return err->code;
    }
    if (ctr_engine_plugins_load(engine, err) < 0 || open_storages(engine, err) < 0 ||
        ctr_chain_open(conf, &engine->chain, err) < 0 ||
        ctr_images_create(engine->store, conf, engine->chain, &engine->images, err) < 0 ||
        ctr_nets_create(engine->store, conf, &hooks, &engine->nets, err) < 0) {
        return err->code;
    }
    if (ctr_janitor_start(engine, err) < 0) {
        return err->code;
    }
    return restore_containers(engine, err) < 0 ? err->code : ctr_mender_start(engine, err);
}

int
ctr_engine_create(struct ctr_loop *loop, const struct ctr_conf *conf, const char *bin,
                  struct ctr_engine **ret, struct ctr_error *err)
{
    struct ctr_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    engine->conf = conf;
    engine->loop = loop;
    engine->loop_thread = pthread_self();
    pthread_mutex_init(&engine->lock, NULL);
    pthread_mutex_init(&engine->probe_lock, NULL);
    pthread_mutex_init(&engine->record_lock, NULL);
    pthread_cond_init(&engine->changed, NULL);
    engine->bin = strdup(bin);
    if (engine->bin == NULL) {
        ctr_engine_destroy(engine);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (open_all(engine, err) < 0) {
        ctr_engine_destroy(engine);
        return err->code;
    }
    *ret = engine;
    return 0;
}

void
ctr_engine_quit(struct ctr_engine *engine)
{
    ctr_engine_lock(engine);
    engine->quit = true;
    ctr_engine_changed(engine);
    ctr_engine_unlock(engine);
}

static void
destroy_tables(struct ctr_engine *engine)
{
    while (engine->containers != NULL) {
        ctr_container_drop(engine->containers);
    }
    while (engine->execs != NULL) {
        struct ctr_exec *exec = engine->execs;
        engine->execs = exec->next;
        json_decref(exec->spec);
        free(exec);
    }
    for (size_t i = 0; i < CTR_EVENTS_KEPT; i++) {
        json_decref(engine->events[i]);
    }
    for (size_t i = 0; i < CTR_LENGTH(engine->probes); i++) {
        json_decref(engine->probes[i].info);
    }
}

void
ctr_engine_destroy(struct ctr_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    ctr_engine_quit(engine);
    ctr_mender_stop(engine);
    ctr_janitor_stop(engine);
    for (struct ctr_container *c = engine->containers; c != NULL; c = c->next) {
        struct ctr_link *link = c->link; /* nobody else is left to touch it */
        c->link = NULL;
        ctr_link_destroy(link);
    }
    ctr_engine_lock(engine);
    destroy_tables(engine);
    ctr_engine_unlock(engine);
    ctr_nets_destroy(engine->nets);
    ctr_images_destroy(engine->images);
    ctr_chain_close(engine->chain);
    for (size_t i = 0; i < engine->n_storages; i++) {
        ctr_storage_close(engine->storages[i]);
    }
    ctr_store_close(engine->store);
    free(engine->storages);
    json_decref(engine->plugins);
    free(engine->bin);
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->record_lock);
    pthread_mutex_destroy(&engine->probe_lock);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

struct ctr_storage *
ctr_engine_storage(struct ctr_engine *engine, const char *name)
{
    const char *wanted = name == NULL || *name == '\0' ? "default" : name;
    for (size_t i = 0; i < engine->n_storages; i++) {
        if (strcmp(ctr_storage_name(engine->storages[i]), wanted) == 0) {
            return engine->storages[i];
        }
    }
    return NULL;
}
