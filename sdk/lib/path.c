/*
 * Cleaning of the paths in a layer: lexical, as the OCI tools do it. The result is relative, has no empty, "." or ".."
 * component, and each component fits a Linux directory entry. A path that climbs above the root is refused, not clamped:
 * no honest tool writes one.
 */
#include "layer-priv.h"
#include <errno.h>

#define COMPONENT_MAX 255

/* Cuts the last component off; 0, or -EBADMSG if there is none. */
static int
drop_last(char *path, size_t *length)
{
    if (*length == 0) {
        return -EBADMSG;
    }
    while (*length > 0 && path[*length - 1] != '/') {
        (*length)--;
    }
    if (*length > 0) {
        (*length)--; /* the slash */
    }
    return 0;
}

static int
append(char *path, size_t *length, size_t capacity, const char *component, size_t n)
{
    size_t slash = *length > 0 ? 1 : 0;
    if (n > COMPONENT_MAX || *length + slash + n + 1 > capacity) {
        return -EBADMSG;
    }
    if (slash) {
        path[(*length)++] = '/';
    }
    memcpy(path + *length, component, n);
    *length += n;
    return 0;
}

int
ctr_layer_clean(const char *path, char *ret, size_t capacity)
{
    if (capacity == 0) {
        return -EBADMSG;
    }
    if (capacity > LAYER_PATH_MAX) {
        capacity = LAYER_PATH_MAX;
    }
    size_t length = 0;
    while (*path != '\0') {
        size_t n = strcspn(path, "/");
        int status = 0;
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            status = drop_last(ret, &length);
        } else if (n > 0 && !(n == 1 && path[0] == '.')) {
            status = append(ret, &length, capacity, path, n);
        }
        if (status != 0) {
            return status;
        }
        path += n + (path[n] == '/');
    }
    ret[length] = '\0';
    return 0;
}

const char *
layer_basename(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}
