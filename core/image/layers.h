/*
 * core/image, inside: the layers of an image while they are brought in, as layers.c, layer-task.c and layer-stack.c share them.
 */
#ifndef CTR_IMAGE_LAYERS_H
#define CTR_IMAGE_LAYERS_H

#include "core/image/flow.h"

enum layers_way {
    WAY_CHECK, /* no storage, or it has the chain */
    WAY_EACH,  /* layers by themselves */
    WAY_STACK, /* all into one key */
};

struct layer_task {
    struct layer_source source;
    const json_t *urls; /* of a foreign layer that is wanted from there */
    struct tail tail;
    bool known;   /* blob and diff_id have been seen to belong together */
    bool stored;  /* the blob is in the store */
    bool present; /* nothing is to be done */
};

struct layers {
    struct image_op *op;
    const struct layers_job *job;
    enum layers_way way;
    struct layer_task *tasks;
    size_t *order; /* of the work: largest first where any order will do */
    size_t n;
    json_t *chains;
    json_t *have; /* diff_ids that the storage has, WAY_EACH */
    pthread_mutex_t mutex;
    size_t next_fetch, next_unpack;
    _Atomic uint64_t made; /* decompressed bytes of all layers */
    bool stale;            /* a layer's download was lost */
    int rc;
    struct ctr_error err;
};

/* --- layers.c --- */

const char *layers_chain_id(const struct layers *layers); /* borrowed */

/* --- layer-task.c: one layer --- */

/* Asks the storage which layers it has: another operation may have brought some. */
int layers_look(struct layers *layers, struct ctr_error *err);
/* A reader of the layer's bytes, stored or coming; a stored blob is opened only when its turn comes. */
int task_open(struct layers *layers, struct layer_task *task, struct tail_reader *ret,
              struct ctr_error *err);
/* Checks the layer against its diff_id and, WAY_EACH, has it committed in the storage. A blob that is begun anew is unpacked anew. */
int task_unpack(struct layers *layers, struct layer_task *task, struct ctr_error *err);

/* --- layer-stack.c: all layers into one key --- */

/* Has the chain committed in a storage without layers. 1: another operation has built it meanwhile. */
int stack_run(struct layers *layers, struct ctr_error *err);

#endif
