/* An option without its size. */
#include "broken.h"

static const struct ctr_option options[] = {{.name = "room", .help = "no size"}};

BROKEN(.name = "option", .options = options, .n_options = 1);
