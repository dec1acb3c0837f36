/* spec: PROCESS of guest/PROTOCOL.guest.md, checked. Strings are borrowed from the JSON. */
#ifndef CTR_INIT_SPEC_H
#define CTR_INIT_SPEC_H

#include "fault.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct spec {
    const char **args, **env; /* NULL-terminated, malloced */
    const char *cwd, *user;
    bool first; /* the container's init */
    bool tty;
    uint16_t rows, cols;
    uint32_t in, out, err; /* stream numbers, 0: /dev/null */
};

int spec_parse(const json_t *json, struct spec *ret, struct fault *fault);
void spec_free(struct spec *spec);

#endif
