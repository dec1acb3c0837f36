/* One layer slot of four. */
#include "broken.h"

static int
layer_apply(void *self, const char *key, int32_t tar_fd,
            const struct ctr_storage_limits *limits, struct ctr_error *err)
{
    (void) self, (void) key, (void) tar_fd, (void) limits;
    return ctr_fail(err, -ENOTSUP, "layer_apply");
}

static const struct ctr_storage_ops ops = {
    .size = sizeof ops, BROKEN_OPS, .layer_apply = layer_apply};

BROKEN(.name = "halflayers", .ops = &ops);
