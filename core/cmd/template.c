/*
 * template.c: a small part of Go's text/template, which people know from docker's --format.
 *
 * Evaluates while it reads; the text of a branch that is not taken is read with `emit` off, which also serves as the syntax check. A field that is
 * not there is an error that names those that are.
 */
#include "core/cmd/show.h"

enum { CTL_DEPTH = 32, CTL_ARGS = 4, CTL_VARIABLES = 8, CTL_NAME = 32 };
enum ctl_stop { STOP_TEXT_END, STOP_END, STOP_ELSE };

/* What {{range $name := …}} sets; innermost last. */
struct ctl_variable {
    char name[CTL_NAME]; /* "$name" */
    const json_t *value; /* NULL while nothing is emitted */
};

struct ctl_text {
    const char *at;
    const json_t *root; /* "$" */
    struct ctl_variable variables[CTL_VARIABLES];
    size_t n_variables;
    bool safe;
    int depth;
    struct ctr_buf *out;
    struct ctr_error *err;
};

static int render(struct ctl_text *t, const json_t *dot, bool emit, enum ctl_stop *ret_stop);
static int expression(struct ctl_text *t, const json_t *dot, bool emit, json_t **ret);

static void
skip_space(struct ctl_text *t)
{
    t->at += strspn(t->at, " \t");
}

static int
bad(struct ctl_text *t, const char *what)
{
    return ctr_fail(t->err, -EINVAL, "--format: %s at '%.24s'; see FORMATS in ctrctl(1)", what,
                    t->at);
}

/* A word of letters at the cursor, taken if it is `word`. */
static bool
take_word(struct ctl_text *t, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(t->at, word, length) != 0 || strchr(" \t}", t->at[length]) == NULL) {
        return false;
    }
    t->at += length;
    skip_space(t);
    return true;
}

static int
take_close(struct ctl_text *t)
{
    skip_space(t);
    if (!ctr_starts_with(t->at, "}}")) {
        return bad(t, "'}}' expected");
    }
    t->at += 2;
    return 0;
}

static int
no_field(struct ctl_text *t, const json_t *object, const char *name)
{
    CTR_AUTO(buf) struct ctr_buf names = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *) object, key, value)
    {
        if (names.length < 400) {
            ctr_buf_printf(&names, "%s.%s", names.length > 0 ? " " : "", key);
        }
    }
    return ctr_fail(t->err, -EINVAL, "--format: there is no field .%s%s%s", name,
                    names.length > 0 ? ", but " : " here", names.length > 0 ? names.data : "");
}

static size_t
name_length(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
}

/* ".A.B": the cursor is at its first dot. */
static int
field_path(struct ctl_text *t, const json_t *dot, bool emit, json_t **ret)
{
    const json_t *value = dot;
    while (*t->at == '.') {
        t->at++;
        size_t length = name_length(t->at);
        if (length == 0) {
            break;
        }
        char name[128];
        if (length >= sizeof name) {
            return bad(t, "too long a name");
        }
        memcpy(name, t->at, length);
        name[length] = '\0';
        t->at += length;
        const json_t *member = json_object_get(value, name);
        if (emit && member == NULL) {
            return no_field(t, value, name);
        }
        value = member;
    }
    *ret = value != NULL ? json_incref((json_t *) value) : json_null();
    return 0;
}

/* "$", "$name", "$name.A.B". */
static int
variable(struct ctl_text *t, bool emit, json_t **ret)
{
    size_t length = 1 + name_length(t->at + 1);
    for (size_t i = t->n_variables; i-- > 0;) {
        const struct ctl_variable *v = &t->variables[i];
        if (strlen(v->name) == length && strncmp(v->name, t->at, length) == 0) {
            t->at += length;
            return field_path(t, v->value, emit, ret);
        }
    }
    if (length > 1) {
        return bad(t, "no such variable");
    }
    t->at++;
    return field_path(t, t->root, emit, ret);
}

static int
literal(struct ctl_text *t, json_t **ret)
{
    if (*t->at == '"') {
        size_t length = strcspn(t->at + 1, "\"");
        if (t->at[1 + length] != '"') {
            return bad(t, "a text without its end");
        }
        *ret = json_stringn(t->at + 1, length);
        t->at += length + 2;
    } else {
        char *end;
        *ret = json_integer(strtol(t->at, &end, 10));
        t->at = end;
    }
    return *ret != NULL ? 0 : bad(t, "bad text");
}

static int
operand(struct ctl_text *t, const json_t *dot, bool emit, json_t **ret)
{
    skip_space(t);
    if (*t->at == '.') {
        return field_path(t, dot, emit, ret);
    }
    if (*t->at == '$') {
        return variable(t, emit, ret);
    }
    if (*t->at == '"' || *t->at == '-' || (*t->at >= '0' && *t->at <= '9')) {
        return literal(t, ret);
    }
    if (*t->at == '(') {
        t->at++;
        CTR_AUTO(json) json_t *value = NULL;
        int rc = expression(t, dot, emit, &value);
        skip_space(t);
        if (rc == 0 && *t->at != ')') {
            return bad(t, "')' expected");
        }
        t->at += rc == 0;
        return rc == 0 ? field_path(t, value, emit, ret) : rc; /* "(index .A 0).B" */
    }
    return bad(t, "cannot make out what stands");
}

/* A value as text, the way Go prints it. */
static void
print_value(struct ctr_buf *out, const json_t *value, bool safe)
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
                print_value(out, name, safe);
            }
            ctr_buf_puts(out, ":");
            print_value(out, member, safe);
        }
        ctr_buf_puts(out, "]");
        break;
    case JSON_ARRAY:
        ctr_buf_puts(out, "[");
        json_array_foreach((json_t *) value, i, member)
        {
            ctr_buf_puts(out, i == 0 ? "" : " ");
            print_value(out, member, safe);
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
    print_value(&buf, args[0], false);
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
        print_value(&buf, member, false);
    }
    return take_buf(&buf);
}

static const struct {
    const char *name;
    size_t min, max;
    json_t *(*call)(json_t **args, size_t n);
} ctl_functions[] = {
    {"json", 1, 1, to_json},  {"upper", 1, 1, to_upper},        {"lower", 1, 1, to_lower},
    {"len", 1, 1, to_length}, {"index", 2, CTL_ARGS, to_index}, {"join", 2, 2, to_joined},
};

static int
call(struct ctl_text *t, size_t which, const json_t *dot, bool emit, json_t **ret)
{
    json_t *args[CTL_ARGS] = {NULL};
    size_t n = 0;
    int rc = 0;
    for (skip_space(t); rc == 0 && *t->at != '}' && *t->at != ')'; skip_space(t)) {
        rc = n < ctl_functions[which].max ? operand(t, dot, emit, &args[n])
                                          : bad(t, "too many values");
        n += rc == 0;
    }
    if (rc == 0 && n < ctl_functions[which].min) {
        rc = bad(t, "a value is missing");
    }
    if (rc == 0) {
        *ret = emit ? ctl_functions[which].call(args, n) : json_null();
        rc = *ret != NULL ? 0 : ctr_fail(t->err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < CTL_ARGS; i++) {
        json_decref(args[i]);
    }
    return rc;
}

static int
expression(struct ctl_text *t, const json_t *dot, bool emit, json_t **ret)
{
    if (++t->depth > CTL_DEPTH) {
        return bad(t, "too deep");
    }
    skip_space(t);
    int rc = 1;
    for (size_t i = 0; i < CTR_LENGTH(ctl_functions) && rc == 1; i++) {
        if (take_word(t, ctl_functions[i].name)) {
            rc = call(t, i, dot, emit, ret);
        }
    }
    rc = rc == 1 ? operand(t, dot, emit, ret) : rc;
    t->depth--;
    return rc;
}

static bool
is_true(const json_t *value)
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

/* A body up to {{else}} or {{end}}; then the other one. */
static int
else_part(struct ctl_text *t, const json_t *dot, bool emit, enum ctl_stop stop)
{
    int rc = 0;
    if (stop == STOP_ELSE) {
        rc = render(t, dot, emit, &stop);
    }
    return rc == 0 && stop != STOP_END ? bad(t, "{{end}} is missing") : rc;
}

static int
if_block(struct ctl_text *t, const json_t *dot, bool emit)
{
    CTR_AUTO(json) json_t *value = NULL;
    int rc = expression(t, dot, emit, &value);
    rc = rc == 0 ? take_close(t) : rc;
    bool yes = rc == 0 && is_true(value);
    enum ctl_stop stop = STOP_TEXT_END;
    rc = rc == 0 ? render(t, dot, emit && yes, &stop) : rc;
    return rc == 0 ? else_part(t, dot, emit && !yes, stop) : rc;
}

static int
with_block(struct ctl_text *t, const json_t *dot, bool emit)
{
    CTR_AUTO(json) json_t *value = NULL;
    int rc = expression(t, dot, emit, &value);
    rc = rc == 0 ? take_close(t) : rc;
    bool yes = rc == 0 && is_true(value);
    enum ctl_stop stop = STOP_TEXT_END;
    rc = rc == 0 ? render(t, value, emit && yes, &stop) : rc;
    return rc == 0 ? else_part(t, dot, emit && !yes, stop) : rc;
}

/* "$v := " or "$k, $v := " in front of what range goes through; *ret_n: how many. */
static int
declarations(struct ctl_text *t, size_t *ret_n)
{
    size_t n = 0;
    const char *at = t->at, *behind = strstr(at, ":=");
    if (*at != '$' || behind == NULL || behind > at + strcspn(at, "}")) {
        *ret_n = 0;
        return 0;
    }
    do {
        skip_space(t);
        size_t length = *t->at == '$' ? 1 + name_length(t->at + 1) : 0;
        if (length < 2 || length >= CTL_NAME || n == 2 || t->n_variables + n == CTL_VARIABLES) {
            return bad(t, "a variable's name is expected");
        }
        struct ctl_variable *v = &t->variables[t->n_variables + n++];
        *v = (struct ctl_variable){.value = NULL};
        memcpy(v->name, t->at, length);
        t->at += length;
        skip_space(t);
    } while (*t->at == ',' && *t->at++ != '\0');
    if (!ctr_starts_with(t->at, ":=")) {
        return bad(t, "':=' expected");
    }
    t->at += 2;
    *ret_n = n;
    return 0;
}

/* One turn of a range: its variables are the key, if there are two, and the member. */
static int
turn(struct ctl_text *t, json_t *take_key, const json_t *member, size_t n_variables,
     enum ctl_stop *ret_stop)
{
    CTR_AUTO(json) json_t *key = take_key;
    struct ctl_variable *last = &t->variables[t->n_variables - (n_variables > 0)];
    if (n_variables > 0) {
        last->value = member;
    }
    if (n_variables > 1) {
        last[-1].value = key;
    }
    return render(t, member, true, ret_stop);
}

static int
all_turns(struct ctl_text *t, const json_t *value, size_t n_variables, size_t *ret_turns,
          enum ctl_stop *ret_stop)
{
    const char *body = t->at, *key;
    size_t i;
    json_t *member;
    int rc = 0;
    json_array_foreach((json_t *) value, i, member)
    {
        t->at = body;
        rc =
            rc == 0 ? turn(t, json_integer((json_int_t) i), member, n_variables, ret_stop) : rc;
        ++*ret_turns;
    }
    json_object_foreach((json_t *) value, key, member)
    {
        t->at = body;
        rc = rc == 0 ? turn(t, json_string(key), member, n_variables, ret_stop) : rc;
        ++*ret_turns;
    }
    return rc;
}

static int
range_block(struct ctl_text *t, const json_t *dot, bool emit)
{
    CTR_AUTO(json) json_t *value = NULL;
    enum ctl_stop stop = STOP_TEXT_END;
    size_t turns = 0, n_variables = 0;
    int rc = declarations(t, &n_variables);
    rc = rc == 0 ? expression(t, dot, emit, &value) : rc;
    rc = rc == 0 ? take_close(t) : rc;
    t->n_variables += n_variables;
    rc = rc == 0 && emit ? all_turns(t, value, n_variables, &turns, &stop) : rc;
    rc = rc == 0 && turns == 0 ? render(t, dot, false, &stop) : rc;
    t->n_variables -= n_variables;
    return rc == 0 ? else_part(t, dot, emit && turns == 0, stop) : rc;
}

/* What stands in {{…}}; the cursor is behind the braces. */
static int
action(struct ctl_text *t, const json_t *dot, bool emit, enum ctl_stop *ret_stop)
{
    skip_space(t);
    if (take_word(t, "end")) {
        *ret_stop = STOP_END;
        return take_close(t);
    }
    if (take_word(t, "else")) {
        *ret_stop = STOP_ELSE;
        return take_close(t);
    }
    if (take_word(t, "if")) {
        return if_block(t, dot, emit);
    }
    if (take_word(t, "with")) {
        return with_block(t, dot, emit);
    }
    if (take_word(t, "range")) {
        return range_block(t, dot, emit);
    }
    CTR_AUTO(json) json_t *value = NULL;
    int rc = expression(t, dot, emit, &value);
    rc = rc == 0 ? take_close(t) : rc;
    if (rc == 0 && emit) {
        print_value(t->out, value, t->safe);
    }
    return rc;
}

static void
plain_text(struct ctl_text *t, bool emit)
{
    size_t length = strcspn(t->at, "{\\");
    if (length == 0) {
        bool escape = t->at[0] == '\\' && (t->at[1] == 't' || t->at[1] == 'n');
        if (emit) {
            ctr_buf_puts(t->out, escape ? (t->at[1] == 't' ? "\t" : "\n")
                                        : (t->at[0] == '{' ? "{" : "\\"));
        }
        t->at += escape ? 2 : 1;
        return;
    }
    if (emit) {
        ctr_buf_add(t->out, t->at, length);
    }
    t->at += length;
}

static int
render(struct ctl_text *t, const json_t *dot, bool emit, enum ctl_stop *ret_stop)
{
    if (++t->depth > CTL_DEPTH) {
        return bad(t, "too deep");
    }
    int rc = 0;
    *ret_stop = STOP_TEXT_END;
    while (rc == 0 && *ret_stop == STOP_TEXT_END && *t->at != '\0') {
        if (ctr_starts_with(t->at, "{{")) {
            t->at += 2;
            rc = action(t, dot, emit, ret_stop);
        } else {
            plain_text(t, emit);
        }
    }
    t->depth--;
    return rc;
}

int
ctl_template(const char *text, const json_t *dot, bool safe, struct ctr_buf *out,
             struct ctr_error *err)
{
    struct ctl_text t = {.at = text, .root = dot, .safe = safe, .out = out, .err = err};
    enum ctl_stop stop;
    int rc = render(&t, dot, dot != NULL, &stop);
    if (rc == 0 && stop != STOP_TEXT_END) {
        rc = bad(&t, "{{end}} or {{else}} without a beginning");
    }
    return rc == 0 && out->failed ? ctr_fail(err, -ENOMEM, "out of memory") : rc;
}
