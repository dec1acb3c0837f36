/*
 * JSON over jansson, for text that may be hostile: bounded length, depth and number of values before anything is built, no
 * duplicate keys, no NULs, no invalid UTF-8.
 */
#include "core/base/base.h"
#include <string.h>

#define MAX_DEPTH 64
/* Bounds memory: jansson needs up to some 250 bytes for a value that takes two in the text. */
#define MAX_VALUES 200000

/* Counts brackets and commas outside strings. */
static int
check_shape(const char *text, size_t length, const char *what, struct ctr_error *err)
{
    size_t depth = 0, values = 0;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
            continue;
        }
        quoted = c == '"';
        depth += c == '{' || c == '[';
        depth -= depth > 0 && (c == '}' || c == ']');
        values += c == '{' || c == '[' || c == ',';
        if (depth > MAX_DEPTH) {
            return ctr_fail(err, -E2BIG, "%s: JSON is nested deeper than %d levels", what,
                            MAX_DEPTH);
        }
        if (values > MAX_VALUES) {
            return ctr_fail(err, -E2BIG, "%s: JSON holds more than %d values", what,
                            MAX_VALUES);
        }
    }
    return 0;
}

json_t *
ctr_json_parse(const void *bytes, size_t length, size_t max, const char *what,
               struct ctr_error *err)
{
    if (length > max) {
        (void) ctr_fail(err, -EFBIG, "%s: %zu bytes of JSON, at most %zu are accepted", what,
                        length, max);
        return NULL;
    }
    if (check_shape(bytes, length, what, err) != 0) {
        return NULL;
    }
    json_error_t why;
    json_t *json = json_loadb(length == 0 ? "" : bytes, length, JSON_REJECT_DUPLICATES, &why);
    if (json == NULL) {
        bool memory = json_error_code(&why) == json_error_out_of_memory;
        (void) ctr_fail(err, memory ? -ENOMEM : -EBADMSG,
                        "%s: not valid JSON: line %d, column %d: %s", what, why.line,
                        why.column, why.text);
    }
    return json;
}

const char *
ctr_json_str(const json_t *object, const char *key, const char *def)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : def;
}

int64_t
ctr_json_int(const json_t *object, const char *key, int64_t def)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? (int64_t) json_integer_value(value) : def;
}

bool
ctr_json_bool(const json_t *object, const char *key, bool def)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : def;
}

bool
ctr_json_has(const json_t *object, const char *text)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL) {
        return json_object_get(object, text) != NULL;
    }
    CTR_AUTO(free) char *key = strndup(text, (size_t) (equals - text));
    const char *value = key == NULL ? NULL : ctr_json_str(object, key, NULL);
    return value != NULL && strcmp(value, equals + 1) == 0;
}

const char **
ctr_json_argv(const json_t *array)
{
    size_t n = json_array_size(array);
    const char **argv = calloc(n + 1, sizeof *argv);
    for (size_t i = 0; argv != NULL && i < n; i++) {
        argv[i] = json_string_value(json_array_get(array, i));
        if (argv[i] == NULL) {
            free(argv);
            return NULL;
        }
    }
    return argv;
}

char *
ctr_json_text(const json_t *json)
{
    return json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
}
