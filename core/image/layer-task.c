/* One layer of an image: checked against its diff_id, and put by itself into a storage that takes layers so. */
#include "core/image/layers.h"

int
task_open(struct layers *layers, struct layer_task *task, struct tail_reader *ret,
          struct ctr_error *err)
{
    if (task->stored) {
        CTR_AUTO(fd) int fd = -1;
        int rc = ctr_blob_open(layers->op->images->store, task->source.digest, &fd, NULL, err);
        rc = rc < 0 ? rc : tail_begin(&task->tail, TAIL_STORED, fd, task->source.size, err);
        if (rc < 0) {
            return rc;
        }
    }
    return tail_open(&task->tail, layers->op, ret, err);
}

/* --- checking --- */

static int
task_check(struct layers *layers, struct layer_task *task, struct tail_reader *reader,
           struct ctr_error *err)
{
    struct ctr_images *images = layers->op->images;
    struct image_claim claim;
    char known[72];
    int rc = claim_take(images, layers->op, &claim, "diff_id", task->source.digest, err);
    if (rc < 0) {
        return rc;
    }
    bool done = layer_diff_id(images, task->source.digest, known) == 0 &&
                strcmp(known, task->source.diff_id) == 0;
    if (!done) {
        rc = layer_follow(reader, &task->source, NULL, NULL, "Verifying Checksum", NULL, err);
    }
    if (rc == 0 || rc == -EBADMSG) {
        struct ctr_error inner = CTR_ERROR_INIT;
        int settled = tail_settle(reader, &inner);
        rc = settled < 0 ? ctr_fail(err, settled, "%s", inner.msg) : rc;
    }
    if (rc == 0 && !done) {
        rc = layer_remember(images, task->source.digest, task->source.diff_id, err);
    }
    claim_give(images, &claim);
    return rc;
}

/* --- each layer by itself --- */

struct layer_key {
    struct ctr_storage *storage;
    uint64_t max;
    char name[128];
};

static int
layer_key_apply(void *arg, int fd, struct ctr_error *err)
{
    const struct layer_key *key = arg;
    return storage_layer_apply(key->storage, key->name, fd, key->max, err);
}

/* What an earlier failure left under the key goes first. */
static int
task_apply(struct layers *layers, struct layer_task *task, struct tail_reader *reader,
           struct ctr_error *err)
{
    struct ctr_storage *storage = layers->job->storage;
    struct layer_key key = {.storage = storage, .max = task->source.max};
    (void) snprintf(key.name, sizeof key.name, "layer-%s", task->source.diff_id + 7);
    int rc = storage_layer_remove(storage, key.name, err);
    if (rc < 0) {
        return rc;
    }
    rc = flow_run(reader, &task->source, layer_key_apply, &key, ctr_storage_plugin(storage),
                  err);
    rc = rc < 0 ? rc : storage_layer_commit(storage, key.name, task->source.diff_id, err);
    if (rc < 0) {
        struct ctr_error ignored = CTR_ERROR_INIT;
        (void) storage_layer_remove(storage, key.name, &ignored);
        return rc;
    }
    return layer_remember(layers->op->images, task->source.digest, task->source.diff_id, err);
}

static bool
layers_have(struct layers *layers, const char *diff_id)
{
    (void) pthread_mutex_lock(&layers->mutex);
    bool have = json_object_get(layers->have, diff_id) != NULL;
    (void) pthread_mutex_unlock(&layers->mutex);
    return have;
}

static void
have_add(void *arg, const char *name, int32_t state)
{
    if (state == CTR_STORAGE_LAYER) {
        (void) json_object_set_new(arg, name, json_true());
    }
}

int
layers_look(struct layers *layers, struct ctr_error *err)
{
    json_t *have = json_object();
    int rc = have == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                          : storage_each(layers->job->storage, have_add, have, err);
    (void) pthread_mutex_lock(&layers->mutex);
    if (rc == 0) {
        json_t *before = layers->have;
        layers->have = have;
        have = before;
    }
    (void) pthread_mutex_unlock(&layers->mutex);
    json_decref(have);
    return rc;
}

static int
task_each(struct layers *layers, struct layer_task *task, struct tail_reader *reader,
          struct ctr_error *err)
{
    struct ctr_images *images = layers->op->images;
    struct image_claim claim;
    int rc = claim_take(images, layers->op, &claim, ctr_storage_name(layers->job->storage),
                        task->source.diff_id, err);
    if (rc < 0) {
        return rc;
    }
    rc = layers_look(layers, err);
    bool have = rc == 0 && layers_have(layers, task->source.diff_id);
    if (rc == 0 && !have) {
        rc = task_apply(layers, task, reader, err);
    }
    claim_give(images, &claim);
    return have ? task_check(layers, task, reader, err) : rc;
}

/* --- from its bytes to its end --- */

int
task_unpack(struct layers *layers, struct layer_task *task, struct ctr_error *err)
{
    for (;;) {
        struct tail_reader reader;
        task->source.made = &layers->made;
        int rc = task_open(layers, task, &reader, err);
        if (rc < 0) {
            return rc;
        }
        rc = layers->way == WAY_EACH ? task_each(layers, task, &reader, err)
                                     : task_check(layers, task, &reader, err);
        tail_close(&reader);
        if (rc != -ESTALE) {
            return rc;
        }
        layers->made -= reader.made; /* it comes again */
    }
}
