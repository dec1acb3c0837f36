/*
 * template-value.c: the values of a template: how they are printed, what counts as true, and the functions that make one of others.
 */
#include "core/cmd/template.h"

void
ctl_template_print(struct ctr_buf *out, const json_t *value, bool safe)
{
    const char *key;
    size_t i;
    json_t *member;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        ctr_buf_puts(out, "map[");
        json_object_foreach((json_t *) value, key, member)
        {
            CTR_AUTO(json) json_t *name = json_string(key);
            ctr_buf_puts(out, out->data[out->length - 1] == '[' ? "" : " ");
            if (name != NULL) {
                ctl_template_print(out, name, safe);
            }
            ctr_buf_puts(out, ":");
            ctl_template_print(out, member, safe);
        }
        ctr_buf_puts(out, "]");
        break;
    case JSON_ARRAY:
        ctr_buf_puts(out, "[");
        json_array_foreach((json_t *) value, i, member)
        {
            ctr_buf_puts(out, i == 0 ? "" : " ");
            ctl_template_print(out, member, safe);
        }
        ctr_buf_puts(out, "]");
        break;
    case JSON_STRING: {
        CTR_AUTO(free) char *text = safe ? ctr_printable(json_string_value(value)) : NULL;
        ctr_buf_puts(out, text != NULL ? text : json_string_value(value));
        break;
    }
    case JSON_INTEGER:
        ctr_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        ctr_buf_printf(out, "%g", json_real_value(value));
        break;
    default:
        ctr_buf_puts(out, json_is_true(value)    ? "true"
                          : json_is_false(value) ? "false"
                                                 : "<no value>");
    }
}

bool
ctl_template_is_true(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return json_object_size(value) > 0;
    case JSON_ARRAY:
        return json_array_size(value) > 0;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_INTEGER:
        return json_integer_value(value) != 0;
    case JSON_REAL:
        return json_real_value(value) != 0;
    default:
        return json_is_true(value);
    }
}

static json_t *
take_buf(struct ctr_buf *buf)
{
    json_t *text = json_stringn(buf->data != NULL ? buf->data : "", buf->length);
    ctr_buf_clear(buf);
    return text;
}

static json_t *
to_json(json_t **args, size_t n)
{
    char *text = json_dumps(args[0], JSON_COMPACT | JSON_ENCODE_ANY);
    json_t *value = text != NULL ? json_string(text) : NULL;
    free(text);
    return value;
}

static json_t *
to_case(json_t **args, bool upper)
{
    struct ctr_buf buf = {0};
    ctl_template_print(&buf, args[0], false);
    for (size_t i = 0; i < buf.length; i++) {
        char c = buf.data[i];
        if (upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z') {
            buf.data[i] = (char) (c ^ 0x20);
        }
    }
    return take_buf(&buf);
}
static json_t *
to_upper(json_t **args, size_t n)
{
    return to_case(args, true);
}
static json_t *
to_lower(json_t **args, size_t n)
{
    return to_case(args, false);
}

static json_t *
to_length(json_t **args, size_t n)
{
    size_t length = json_is_array(args[0])    ? json_array_size(args[0])
                    : json_is_object(args[0]) ? json_object_size(args[0])
                                              : json_string_length(args[0]);
    return json_integer((json_int_t) length);
}

static json_t *
to_index(json_t **args, size_t n)
{
    json_t *value = args[0];
    for (size_t i = 1; i < n && value != NULL; i++) {
        value = json_is_array(value)
                    ? json_array_get(value, (size_t) json_integer_value(args[i]))
                    : json_object_get(
                          value, json_is_string(args[i]) ? json_string_value(args[i]) : "");
    }
    return value != NULL ? json_incref(value) : json_null();
}

static json_t *
to_joined(json_t **args, size_t n)
{
    struct ctr_buf buf = {0};
    size_t i;
    json_t *member;
    json_array_foreach(args[0], i, member)
    {
        if (i > 0 && n > 1 && json_is_string(args[1])) {
            ctr_buf_puts(&buf, json_string_value(args[1]));
        }
        ctl_template_print(&buf, member, false);
    }
    return take_buf(&buf);
}

const struct ctl_function ctl_template_functions[] = {
    {"json", 1, 1, to_json},
    {"upper", 1, 1, to_upper},
    {"lower", 1, 1, to_lower},
    {"len", 1, 1, to_length},
    {"index", 2, CTL_ARGS, to_index},
    {"join", 2, 2, to_joined},
    {NULL},
};
