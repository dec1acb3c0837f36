/* Built with headers of a later minor ABI, whose structs have grown at their ends. */
#include "broken.h"

struct later_option {
    struct ctr_option now;
    const char *added;
};

struct later_ops {
    struct ctr_storage_ops now;
    void (*added)(void);
};

static const struct later_option options[] = {
    {{.size = sizeof(struct later_option),
      .type = CTR_OPTION_INT,
      .name = "first",
      .def = "1",
      .help = "the first"},
     "added"},
    {{.size = sizeof(struct later_option),
      .type = CTR_OPTION_INT,
      .name = "second",
      .def = "2",
      .help = "the second"},
     "added"},
};
static const struct later_ops ops = {.now = {.size = sizeof ops, BROKEN_OPS}};

BROKEN(.name = "newer", .abi_minor = CTR_ABI_MINOR + 1, .options = &options[0].now,
       .ops = &ops);
