/*
 * template-read.c: the expressions in a template's {{…}}: fields, variables, literals and calls, evaluated as they are read.
 */
#include "core/cmd/template.h"

void
ctl_template_skip(struct ctl_text *t)
{
    t->at += strspn(t->at, " \t");
}

int
ctl_template_bad(struct ctl_text *t, const char *what)
{
    return ctr_fail(t->err, -EINVAL, "--format: %s at '%.24s'; see FORMATS in ctrctl(1)", what,
                    t->at);
}

bool
ctl_template_word(struct ctl_text *t, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(t->at, word, length) != 0 || strchr(" \t}", t->at[length]) == NULL) {
        return false;
    }
    t->at += length;
    ctl_template_skip(t);
    return true;
}

size_t
ctl_template_name(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
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

/* ".A.B": the cursor is at its first dot. */
static int
field_path(struct ctl_text *t, const json_t *dot, bool emit, json_t **ret)
{
    const json_t *value = dot;
    while (*t->at == '.') {
        t->at++;
        size_t length = ctl_template_name(t->at);
        if (length == 0) {
            break;
        }
        char name[128];
        if (length >= sizeof name) {
            return ctl_template_bad(t, "too long a name");
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
    size_t length = 1 + ctl_template_name(t->at + 1);
    for (size_t i = t->n_variables; i-- > 0;) {
        const struct ctl_variable *v = &t->variables[i];
        if (strlen(v->name) == length && strncmp(v->name, t->at, length) == 0) {
            t->at += length;
            return field_path(t, v->value, emit, ret);
        }
    }
    if (length > 1) {
        return ctl_template_bad(t, "no such variable");
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
            return ctl_template_bad(t, "a text without its end");
        }
        *ret = json_stringn(t->at + 1, length);
        t->at += length + 2;
    } else {
        char *end;
        *ret = json_integer(strtol(t->at, &end, 10));
        t->at = end;
    }
    return *ret != NULL ? 0 : ctl_template_bad(t, "bad text");
}

static int
operand(struct ctl_text *t, const json_t *dot, bool emit, json_t **ret)
{
    ctl_template_skip(t);
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
        int rc = ctl_template_expression(t, dot, emit, &value);
        ctl_template_skip(t);
        if (rc == 0 && *t->at != ')') {
            return ctl_template_bad(t, "')' expected");
        }
        t->at += rc == 0;
        return rc == 0 ? field_path(t, value, emit, ret) : rc; /* "(index .A 0).B" */
    }
    return ctl_template_bad(t, "cannot make out what stands");
}

static int
call(struct ctl_text *t, const struct ctl_function *function, const json_t *dot, bool emit,
     json_t **ret)
{
    json_t *args[CTL_ARGS] = {NULL};
    size_t n = 0;
    int rc = 0;
    for (ctl_template_skip(t); rc == 0 && *t->at != '}' && *t->at != ')';
         ctl_template_skip(t)) {
        rc = n < function->max ? operand(t, dot, emit, &args[n])
                               : ctl_template_bad(t, "too many values");
        n += rc == 0;
    }
    if (rc == 0 && n < function->min) {
        rc = ctl_template_bad(t, "a value is missing");
    }
    if (rc == 0) {
        *ret = emit ? function->call(args, n) : json_null();
        rc = *ret != NULL ? 0 : ctr_fail(t->err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < CTL_ARGS; i++) {
        json_decref(args[i]);
    }
    return rc;
}

int
ctl_template_expression(struct ctl_text *t, const json_t *dot, bool emit, json_t **ret)
{
    if (++t->depth > CTL_DEPTH) {
        return ctl_template_bad(t, "too deep");
    }
    ctl_template_skip(t);
    int rc = 1;
    for (const struct ctl_function *f = ctl_template_functions; f->name != NULL && rc == 1;
         f++) {
        if (ctl_template_word(t, f->name)) {
            rc = call(t, f, dot, emit, ret);
        }
    }
    rc = rc == 1 ? operand(t, dot, emit, ret) : rc;
    t->depth--;
    return rc;
}
