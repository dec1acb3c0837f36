/* A required slot is NULL. */
#include "broken.h"

static const struct ctr_storage_ops ops = {.size = sizeof ops, BROKEN_OPS, .clone = NULL};

BROKEN(.name = "nullslot", .ops = &ops);
