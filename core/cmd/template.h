/*
 * template.h: what the files of --format's templates share: the place in the template's text, its expressions, and its values.
 *
 * Nothing but template*.c needs it; show.h has what others call.
 */
#ifndef CTR_CMD_TEMPLATE_H
#define CTR_CMD_TEMPLATE_H

#include "core/cmd/show.h"

enum { CTL_DEPTH = 32, CTL_ARGS = 4, CTL_VARIABLES = 8, CTL_NAME = 32 };

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

/* --- template-read.c: expressions, evaluated as they are read --- */

void ctl_template_skip(struct ctl_text *t); /* white space */
/* -EINVAL, with what is wrong and where. */
int ctl_template_bad(struct ctl_text *t, const char *what);
/* A word at the cursor, taken if it is `word`. */
bool ctl_template_word(struct ctl_text *t, const char *word);
size_t ctl_template_name(const char *text); /* the length of the name that it begins with */
/* What stands in {{…}}, to a new reference; emit off: only read, and *ret is of no use. */
int ctl_template_expression(struct ctl_text *t, const json_t *dot, bool emit, json_t **ret);

/* --- template-value.c: values and the functions of them --- */

struct ctl_function {
    const char *name; /* NULL: behind the last */
    size_t min, max;
    json_t *(*call)(json_t **args, size_t n); /* new reference; NULL: out of memory */
};
extern const struct ctl_function ctl_template_functions[];
/* A value as text, the way Go prints it. */
void ctl_template_print(struct ctr_buf *out, const json_t *value, bool safe);
bool ctl_template_is_true(const json_t *value);

#endif
