/* spec.c: PROCESS of the guest protocol, from JSON to a checked struct spec. */
#include "spec.h"
#include <stdlib.h>
#include <string.h>

#define STRINGS_MAX 65536

static const char **
string_array(const json_t *array, size_t *ret_n)
{
    size_t n = json_array_size(array);
    if ((array != NULL && !json_is_array(array)) || n > STRINGS_MAX) {
        return NULL;
    }
    const char **strings = calloc(n + 1, sizeof *strings);
    for (size_t i = 0; strings != NULL && i < n; i++) {
        strings[i] = json_string_value(json_array_get(array, i));
        if (strings[i] == NULL) {
            free(strings);
            return NULL;
        }
    }
    *ret_n = n;
    return strings;
}

static bool
number_in(const json_t *object, const char *key, json_int_t min, json_int_t max,
          json_int_t *ret)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL) {
        return true;
    }
    *ret = json_integer_value(value);
    return json_is_integer(value) && *ret >= min && *ret <= max;
}

static const char *
string_or(const json_t *object, const char *key, const char *otherwise)
{
    const json_t *value = json_object_get(object, key);
    return value == NULL ? otherwise : json_string_value(value);
}

int
spec_parse(const json_t *json, struct spec *ret, struct fault *fault)
{
    struct spec spec = {0};
    size_t n_args = 0, n_env = 0;
    json_int_t rows = 24, columns = 80, in = 0, out = 0, err = 0;
    const json_t *streams = json_object_get(json, "streams");
    spec.cwd = string_or(json, "cwd", "/");
    spec.user = string_or(json, "user", "");
    spec.tty = json_is_true(json_object_get(json, "tty"));
    if (!json_is_object(json) || spec.cwd == NULL || spec.user == NULL ||
        !number_in(json, "rows", 0, 65535, &rows) ||
        !number_in(json, "cols", 0, 65535, &columns) ||
        !number_in(streams, "in", 0, UINT32_MAX, &in) ||
        !number_in(streams, "out", 0, UINT32_MAX, &out) ||
        !number_in(streams, "err", 0, UINT32_MAX, &err)) {
        return fault_set(fault, "EINVAL", "the process description is malformed");
    }
    spec.args = string_array(json_object_get(json, "args"), &n_args);
    spec.env = string_array(json_object_get(json, "env"), &n_env);
    if (spec.args == NULL || spec.env == NULL || n_args == 0) {
        spec_free(&spec);
        return fault_set(fault, "EINVAL",
                         "the process has no arguments, or one that is no string");
    }
    spec.cwd = *spec.cwd == '\0' ? "/" : spec.cwd;
    spec.rows = (uint16_t) rows;
    spec.cols = (uint16_t) columns;
    spec.in = (uint32_t) in;
    spec.out = (uint32_t) out;
    spec.err = (uint32_t) err;
    *ret = spec;
    return 0;
}

void
spec_free(struct spec *spec)
{
    free(spec->args);
    free(spec->env);
    spec->args = spec->env = NULL;
}
