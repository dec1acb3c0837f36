/* All layers of an image in order into one key of a storage that knows no layers, which is committed as their chain. */
#include "core/image/layers.h"

struct stack {
    struct layers *layers;
    struct ctr_storage *storage;
    char key[128];
};

static int
stack_apply(void *arg, int fd, struct ctr_error *err)
{
    const struct stack *stack = arg;
    return storage_apply(stack->storage, stack->key, fd, err);
}

/* A storage that takes one call at a time is not held for as long as a download takes: the blob is whole before. */
static int
stack_layer(struct stack *stack, struct layer_task *task, struct ctr_error *err)
{
    struct layers *layers = stack->layers;
    struct tail_reader reader;
    int rc = 0;
    do {
        rc = task_open(layers, task, &reader, err);
        if (rc < 0) {
            return rc;
        }
        rc = tail_settle(&reader, err);
        if (rc == 0) {
            rc = flow_run(&reader, &task->source, stack_apply, stack,
                          ctr_storage_plugin(stack->storage), err);
        }
        tail_close(&reader);
    } while (rc == -ESTALE);
    rc = rc < 0 ? rc
                : layer_remember(layers->op->images, task->source.digest, task->source.diff_id,
                                 err);
    if (rc == 0) {
        ctr_transfer_step(&layers->op->transfer, task->source.digest, "Pull complete", 0, 0);
    }
    return rc;
}

static int
stack_build(struct stack *stack, struct ctr_error *err)
{
    struct layers *layers = stack->layers;
    const struct ctr_conf *conf = layers->op->images->conf;
    int rc = ctr_storage_remove(stack->storage, stack->key, err); /* of an earlier failure */
    rc = rc < 0 ? rc
                : storage_prepare(stack->storage, stack->key, NULL,
                                  conf != NULL ? conf->engine.max_image : 0, err);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < layers->n && rc == 0; i++) {
        rc = ctr_transfer_cancelled(&layers->op->transfer)
                 ? ctr_fail_cancelled(err)
                 : stack_layer(stack, &layers->tasks[i], err);
    }
    const char *chain = layers_chain_id(layers);
    rc = rc < 0 ? rc : storage_commit(stack->storage, stack->key, chain, err);
    if (rc < 0) {
        struct ctr_error ignored = CTR_ERROR_INIT;
        (void) ctr_storage_remove(stack->storage, stack->key, &ignored);
        return rc;
    }
    return snapshot_record(layers->op->images, stack->storage, chain, layers->job->manifest,
                           layers->n, err);
}

int
stack_run(struct layers *layers, struct ctr_error *err)
{
    struct ctr_images *images = layers->op->images;
    struct stack stack = {.layers = layers, .storage = layers->job->storage};
    const char *chain = layers_chain_id(layers);
    (void) snprintf(stack.key, sizeof stack.key, "unpack-%s", chain + 7);
    struct image_claim claim;
    int rc =
        claim_take(images, layers->op, &claim, ctr_storage_name(stack.storage), chain, err);
    if (rc < 0) {
        return rc;
    }
    rc = snapshot_is_ready(images, stack.storage, chain) ? 1 : stack_build(&stack, err);
    claim_give(images, &claim);
    return rc;
}
