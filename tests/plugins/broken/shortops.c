/* An ops table that states a size without its last required slot. */
#include "broken.h"

static const struct ctr_storage_ops ops = {.size = offsetof(struct ctr_storage_ops, usage),
                                           BROKEN_OPS};

BROKEN(.name = "shortops", .ops = &ops);
