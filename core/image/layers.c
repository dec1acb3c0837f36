/*
 * All layers of an image: the plan, and the threads that carry it out. What happens to one layer is in layer-task.c, the storages that know no
 * layers are in layer-stack.c.
 *
 * Two kinds of workers share nothing but the layers' tails (tail.c). Fetchers never wait for unpackers, so any number of either does
 * the work, one after the other on the caller's thread if no other thread can be had. Three ways to end, decided before they
 * start: layers are only checked against their diff_ids; or each goes into the storage by itself, several at once, and the chain is made
 * of them; or, where the storage knows no layers, all go in order into one key, which is committed.
 */
#include "core/image/layers.h"

#define LAYERS_FETCHERS 4
#define LAYERS_UNPACKERS 3

const char *
layers_chain_id(const struct layers *layers)
{
    return layers->n == 0 ? IMAGE_EMPTY_CHAIN
                          : json_string_value(json_array_get(layers->chains, layers->n - 1));
}

/* The first failure stops all. -ESTALE is only the echo of a download's. */
static void
layers_note(struct layers *layers, int rc, const struct ctr_error *err)
{
    (void) pthread_mutex_lock(&layers->mutex);
    bool first = rc < 0 && rc != -ESTALE && layers->rc == 0;
    layers->stale = layers->stale || rc == -ESTALE;
    if (first) {
        layers->rc = rc;
        layers->err = *err;
    }
    (void) pthread_mutex_unlock(&layers->mutex);
    if (first) {
        (void) op_disk_full(layers->op, rc == -ENOSPC);
        ctr_transfer_cancel(&layers->op->transfer);
    }
}

/* The next one of a kind of work, n: none is left. */
static size_t
layers_next(struct layers *layers, size_t *counter)
{
    (void) pthread_mutex_lock(&layers->mutex);
    size_t i =
        layers->rc < 0 || *counter >= layers->n ? layers->n : layers->order[(*counter)++];
    (void) pthread_mutex_unlock(&layers->mutex);
    return i;
}

/* --- fetching --- */

static void *
fetch_worker(void *arg)
{
    struct layers *layers = arg;
    for (;;) {
        size_t i = layers_next(layers, &layers->next_fetch);
        if (i == layers->n) {
            return NULL;
        }
        struct layer_task *task = &layers->tasks[i];
        if (task->stored || task->present) {
            continue;
        }
        struct fetch_want want = {.digest = task->source.digest,
                                  .size = task->source.size,
                                  .urls = task->urls,
                                  .tail = &task->tail};
        struct ctr_error err = CTR_ERROR_INIT;
        int rc = fetch_blob(layers->op, layers->job->remote, &want, &err);
        if (rc == 0) {
            ctr_transfer_step(&layers->op->transfer, task->source.digest, "Download complete",
                              0, 0);
        }
        layers_note(layers, rc, &err);
    }
}

/* --- workers that unpack --- */

static void
unpack_tasks(struct layers *layers)
{
    for (;;) {
        size_t i = layers_next(layers, &layers->next_unpack);
        if (i == layers->n) {
            return;
        }
        struct layer_task *task = &layers->tasks[i];
        if (task->present) {
            continue;
        }
        struct ctr_error err = CTR_ERROR_INIT;
        int rc = task_unpack(layers, task, &err);
        if (rc == 0) {
            ctr_transfer_step(&layers->op->transfer, task->source.digest, "Pull complete", 0,
                              0);
        }
        layers_note(layers, rc, &err);
    }
}

static void *
unpack_worker(void *arg)
{
    struct layers *layers = arg;
    int rc = 1;
    if (layers->way == WAY_STACK) {
        struct ctr_error err = CTR_ERROR_INIT;
        rc = stack_run(layers, &err);
        layers_note(layers, rc, &err);
    }
    if (rc == 1) {
        unpack_tasks(layers);
    }
    return NULL;
}

/* --- the plan --- */

static int
task_plan_foreign(const struct layers *layers, struct layer_task *task,
                  const json_t *descriptor, struct ctr_error *err)
{
    const json_t *urls = json_object_get(descriptor, "urls");
    const char *url = json_string_value(json_array_get(urls, 0));
    if (!media_is_foreign(task->source.media_type)) {
        return 0;
    }
    if (!layers->job->foreign) {
        return ctr_fail(
            err, -EPERM,
            "layer %s is a foreign one (%s): it is not the registry's and is not "
            "fetched unless asked; pull with --foreign-layers to fetch it from %.200s",
            task->source.digest, task->source.media_type, url != NULL ? url : "the registry");
    }
    task->urls = json_array_size(urls) > 0 ? urls : NULL;
    return 0;
}

/* Leased first: what is there then stays. */
static int
task_lease(const struct layers *layers, const struct layer_task *task, struct ctr_error *err)
{
    int rc = lease_add(layers->op, task->source.digest, err);
    return rc < 0 ? rc : lease_stored(layers->op, task->source.diff_id, err);
}

static int
task_plan(struct layers *layers, size_t i, struct ctr_error *err)
{
    struct ctr_images *images = layers->op->images;
    const json_t *descriptor = json_array_get(layers->job->layers, i);
    const char *diff_id = config_diff_id(layers->job->config, i);
    struct layer_task *task = &layers->tasks[i];
    layer_source_init(&task->source, images, descriptor, diff_id);
    tail_init(&task->tail, task->source.size);
    if (diff_id == NULL) {
        return ctr_fail(err, -EBADMSG, "layer %zu has no diff_id", i + 1);
    }
    int rc = task_lease(layers, task, err);
    uint64_t size = 0;
    char known[72];
    task->stored = ctr_blob_exists(images->store, task->source.digest, &size);
    task->known =
        layer_diff_id(images, task->source.digest, known) == 0 && strcmp(known, diff_id) == 0;
    if (rc == 0 && task->stored && size != task->source.size) {
        rc = ctr_fail(err, -EBADMSG, "layer %s has %llu bytes, not %llu", task->source.digest,
                      (unsigned long long) size, (unsigned long long) task->source.size);
    } else if (rc == 0 && !task->stored && layers->job->remote == NULL) {
        rc = ctr_fail(err, -ENOENT, "layer %s is not in the store; pull the image again",
                      task->source.digest);
    } else if (rc == 0 && !task->stored) {
        rc = task_plan_foreign(layers, task, descriptor, err);
    }
    return rc;
}

static void
task_show(const struct layers *layers, struct layer_task *task)
{
    task->present = task->stored && task->known && layers->way != WAY_STACK &&
                    (layers->way == WAY_CHECK ||
                     json_object_get(layers->have, task->source.diff_id) != NULL);
    if (task->present) {
        ctr_transfer_step(&layers->op->transfer, task->source.digest, "Already exists", 0, 0);
    } else if (!task->stored) {
        ctr_transfer_step(&layers->op->transfer, task->source.digest, "Pulling fs layer", 0, 0);
    }
}

static int
layers_choose_way(struct layers *layers, struct ctr_error *err)
{
    struct ctr_storage *storage = layers->job->storage;
    if (storage == NULL ||
        snapshot_is_ready(layers->op->images, storage, layers_chain_id(layers))) {
        layers->way = WAY_CHECK;
        return 0;
    }
    layers->way = storage_has_layers(storage) ? WAY_EACH : WAY_STACK;
    return layers->way == WAY_EACH ? layers_look(layers, err) : 0;
}

/* Largest first: the longest is not to begin last. */
static void
layers_sort(struct layers *layers)
{
    for (size_t i = 0; i < layers->n; i++) {
        size_t at = i;
        while (layers->way != WAY_STACK && at > 0 &&
               layers->tasks[layers->order[at - 1]].source.size <
                   layers->tasks[i].source.size) {
            layers->order[at] = layers->order[at - 1];
            at--;
        }
        layers->order[at] = i;
    }
}

static int
layers_plan(struct layers *layers, struct ctr_error *err)
{
    layers->n = json_array_size(layers->job->layers);
    layers->chains = config_chains(layers->job->config);
    layers->tasks = calloc(layers->n + 1, sizeof *layers->tasks);
    layers->order = calloc(layers->n + 1, sizeof *layers->order);
    if (layers->chains == NULL || layers->tasks == NULL || layers->order == NULL) {
        layers->n = 0;
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (json_array_size(layers->chains) != layers->n) {
        layers->n = 0;
        return ctr_fail(err, -EBADMSG, "layers and diff_ids differ in number");
    }
    int rc = lease_stored(layers->op, layers_chain_id(layers), err);
    size_t planned = 0;
    while (rc == 0 && planned < layers->n) {
        rc = task_plan(layers, planned++, err);
    }
    layers->n = planned;
    rc = rc < 0 ? rc : layers_choose_way(layers, err);
    for (size_t i = 0; rc == 0 && i < layers->n; i++) {
        task_show(layers, &layers->tasks[i]);
    }
    layers_sort(layers);
    return rc;
}

/* --- the work --- */

static size_t
layers_start(struct layers *layers, void *(*worker)(void *arg), size_t n, pthread_t *ret)
{
    size_t started = 0;
    while (started < n && pthread_create(&ret[started], NULL, worker, layers) == 0) {
        started++;
    }
    return started;
}

/* This thread works too, so that a machine out of threads still pulls. */
static void
layers_work(struct layers *layers)
{
    pthread_t threads[LAYERS_FETCHERS + LAYERS_UNPACKERS];
    size_t fetches = 0, unpacks = layers->way == WAY_STACK;
    for (size_t i = 0; i < layers->n; i++) {
        fetches += !layers->tasks[i].stored;
        unpacks += !layers->tasks[i].present && layers->way != WAY_STACK;
    }
    fetches = fetches < LAYERS_FETCHERS ? fetches : LAYERS_FETCHERS;
    unpacks = unpacks < LAYERS_UNPACKERS ? unpacks : LAYERS_UNPACKERS;
    size_t n = layers_start(layers, fetch_worker, fetches > 0 ? fetches - 1 : 0, threads);
    size_t alone = fetches == 0 && unpacks > 0; /* nothing to fetch: this thread unpacks */
    size_t m = layers_start(layers, unpack_worker, unpacks - alone, threads + n);
    (void) fetch_worker(layers);
    if (layers->way != WAY_STACK || m == 0) {
        (void) unpack_worker(layers);
    }
    for (size_t i = 0; i < n + m; i++) {
        (void) pthread_join(threads[i], NULL);
    }
}

/* All layers are committed: the chain that is made of them. */
static int
layers_chain(struct layers *layers, struct ctr_error *err)
{
    struct ctr_images *images = layers->op->images;
    struct ctr_storage *storage = layers->job->storage;
    const char *chain = layers_chain_id(layers);
    const char *diff_ids[IMAGE_MAX_LAYERS + 1];
    for (size_t i = 0; i < layers->n; i++) {
        diff_ids[i] = layers->tasks[i].source.diff_id;
    }
    struct image_claim claim;
    int rc = claim_take(images, layers->op, &claim, ctr_storage_name(storage), chain, err);
    if (rc < 0) {
        return rc;
    }
    if (!snapshot_is_ready(images, storage, chain)) {
        rc = storage_chain(storage, chain, diff_ids, layers->n, err);
        rc = rc < 0 ? rc
                    : snapshot_record(images, storage, chain, layers->job->manifest, layers->n,
                                      err);
    }
    claim_give(images, &claim);
    return rc;
}

static int
layers_result(struct layers *layers, struct ctr_error *err)
{
    if (layers->rc < 0) {
        return ctr_fail(err, layers->rc, "%s", layers->err.msg);
    }
    if (layers->stale) {
        return ctr_fail(err, -EIO, "a layer's download was lost; try again");
    }
    return layers->way == WAY_EACH ? layers_chain(layers, err) : 0;
}

int
layers_run(struct image_op *op, const struct layers_job *job, struct ctr_error *err)
{
    struct layers layers = {.op = op, .job = job, .err = CTR_ERROR_INIT};
    (void) pthread_mutex_init(&layers.mutex, NULL);
    int rc = layers_plan(&layers, err);
    if (rc == 0) {
        layers_work(&layers);
        rc = layers_result(&layers, err);
    }
    for (size_t i = 0; i < layers.n; i++) {
        tail_finish(&layers.tasks[i].tail);
    }
    (void) pthread_mutex_destroy(&layers.mutex);
    json_decref(layers.chains);
    json_decref(layers.have);
    free(layers.tasks);
    free(layers.order);
    return rc;
}
