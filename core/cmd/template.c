/*
 * template.c: a small part of Go's text/template, which people know from docker's --format.
 *
 * Evaluates while it reads; the text of a branch that is not taken is read with `emit` off, which also serves as the syntax check. A field that is
 * not there is an error that names those that are. Text and blocks are here, expressions in template-read.c, values in template-value.c.
 */
#include "core/cmd/template.h"

enum ctl_stop { STOP_TEXT_END, STOP_END, STOP_ELSE };

static int render(struct ctl_text *t, const json_t *dot, bool emit, enum ctl_stop *ret_stop);

static int
take_close(struct ctl_text *t)
{
    ctl_template_skip(t);
    if (!ctr_starts_with(t->at, "}}")) {
        return ctl_template_bad(t, "'}}' expected");
    }
    t->at += 2;
    return 0;
}

/* A body up to {{else}} or {{end}}; then the other one. */
static int
else_part(struct ctl_text *t, const json_t *dot, bool emit, enum ctl_stop stop)
{
    int rc = 0;
    if (stop == STOP_ELSE) {
        rc = render(t, dot, emit, &stop);
    }
    return rc == 0 && stop != STOP_END ? ctl_template_bad(t, "{{end}} is missing") : rc;
}

/* if and with; the latter's value is its body's dot. */
static int
choice_block(struct ctl_text *t, const json_t *dot, bool emit, bool with)
{
    CTR_AUTO(json) json_t *value = NULL;
    int rc = ctl_template_expression(t, dot, emit, &value);
    rc = rc == 0 ? take_close(t) : rc;
    bool yes = rc == 0 && ctl_template_is_true(value);
    enum ctl_stop stop = STOP_TEXT_END;
    rc = rc == 0 ? render(t, with ? value : dot, emit && yes, &stop) : rc;
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
        ctl_template_skip(t);
        size_t length = *t->at == '$' ? 1 + ctl_template_name(t->at + 1) : 0;
        if (length < 2 || length >= CTL_NAME || n == 2 || t->n_variables + n == CTL_VARIABLES) {
            return ctl_template_bad(t, "a variable's name is expected");
        }
        struct ctl_variable *v = &t->variables[t->n_variables + n++];
        *v = (struct ctl_variable){.value = NULL};
        memcpy(v->name, t->at, length);
        t->at += length;
        ctl_template_skip(t);
    } while (*t->at == ',' && *t->at++ != '\0');
    if (!ctr_starts_with(t->at, ":=")) {
        return ctl_template_bad(t, "':=' expected");
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
    rc = rc == 0 ? ctl_template_expression(t, dot, emit, &value) : rc;
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
    ctl_template_skip(t);
    if (ctl_template_word(t, "end")) {
        *ret_stop = STOP_END;
        return take_close(t);
    }
    if (ctl_template_word(t, "else")) {
        *ret_stop = STOP_ELSE;
        return take_close(t);
    }
    if (ctl_template_word(t, "if")) {
        return choice_block(t, dot, emit, false);
    }
    if (ctl_template_word(t, "with")) {
        return choice_block(t, dot, emit, true);
    }
    if (ctl_template_word(t, "range")) {
        return range_block(t, dot, emit);
    }
    CTR_AUTO(json) json_t *value = NULL;
    int rc = ctl_template_expression(t, dot, emit, &value);
    rc = rc == 0 ? take_close(t) : rc;
    if (rc == 0 && emit) {
        ctl_template_print(t->out, value, t->safe);
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
        return ctl_template_bad(t, "too deep");
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
        rc = ctl_template_bad(&t, "{{end}} or {{else}} without a beginning");
    }
    return rc == 0 && out->failed ? ctr_fail(err, -ENOMEM, "out of memory") : rc;
}
