/*
 * The options of one plugin instance, checked against the plugin's own table.
 *
 * Table entries are as large as the plugin's headers made them: walk a table only through option_at().
 */
#include "core/conf/conf-priv.h"

struct value {
    const struct ctr_option *option; /* the plugin's; lives as long as it */
    char *text;                      /* NULL: neither given nor a default */
    int64_t number;
};

struct ctr_options {
    size_t n;
    struct value values[];
};

static const struct ctr_option *
option_at(const struct ctr_option *table, size_t i)
{
    size_t size = table->size != 0 ? table->size : sizeof *table;
    return (const struct ctr_option *) (const void *) ((const char *) table + i * size);
}

void
ctr_options_destroy(struct ctr_options *options)
{
    for (size_t i = 0; options != NULL && i < options->n; i++) {
        free(options->values[i].text);
    }
    free(options);
}

static int
set_value(struct value *value, const char *text, struct ctr_error *err)
{
    char *copy;
    int code = ctr_value_parse(value->option, text, NULL, &copy, &value->number, err);
    if (code == 0) {
        free(value->text);
        value->text = copy;
    }
    return code;
}

/* All options at their defaults. */
static int
create_defaults(const struct ctr_option *table, size_t n, struct ctr_options **ret,
                struct ctr_error *err)
{
    struct ctr_options *options = calloc(1, sizeof *options + n * sizeof options->values[0]);
    if (options == NULL) {
        return ctr_fail(err, -ENOMEM, "options: out of memory");
    }
    options->n = n;
    int code = 0;
    for (size_t i = 0; code == 0 && i < n; i++) {
        struct value *value = &options->values[i];
        value->option = option_at(table, i);
        if (value->option->def != NULL) {
            code = set_value(value, value->option->def, err);
        }
    }
    if (code != 0) {
        ctr_options_destroy(options);
        return ctr_prefix(err, "the plugin's own default");
    }
    *ret = options;
    return 0;
}

static struct value *
find(const struct ctr_options *options, const char *name)
{
    for (size_t i = 0; options != NULL && i < options->n; i++) {
        const struct value *value = &options->values[i];
        if (strcmp(value->option->name, name) == 0) {
            return (struct value *) (uintptr_t) value;
        }
    }
    return NULL;
}

/* The failure for a key that the plugin does not have. */
static int
unknown(const struct ctr_conf *conf, const struct ctr_conf_instance *instance,
        const struct ctr_conf_pair *pair, const struct ctr_options *options,
        struct ctr_error *err)
{
    static const char *const kinds[] = {"?", "registry", "storage", "net", "vmm"};
    const char **names = calloc(options->n + 1, sizeof *names);
    if (names == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", conf->file);
    }
    for (size_t i = 0; i < options->n; i++) {
        names[i] = options->values[i].option->name;
    }
    char section[128];
    bool own = strcmp(instance->name, "default") == 0;
    (void) snprintf(section, sizeof section, "%s.%s",
                    kinds[instance->kind <= CTR_KIND_VMM ? instance->kind : 0],
                    own ? instance->plugin : instance->name);
    int code = ctr_conf_unknown_key(err, conf->file, pair, section, names);
    free((void *) names);
    return code;
}

int
ctr_options_create(const struct ctr_conf *conf, const struct ctr_conf_instance *instance,
                   const struct ctr_option *table, size_t n_table, struct ctr_options **ret,
                   struct ctr_error *err)
{
    struct ctr_options *options = NULL;
    int code = create_defaults(table, n_table, &options, err);
    if (code != 0) {
        return code;
    }
    for (size_t i = 0; code == 0 && i < instance->n_pairs; i++) {
        const struct ctr_conf_pair *pair = &instance->pairs[i];
        struct value *value = find(options, pair->key);
        struct ctr_error why = CTR_ERROR_INIT;
        if (value == NULL) {
            code = unknown(conf, instance, pair, options, err);
        } else if (set_value(value, pair->value, &why) != 0) {
            code = ctr_conf_fail(err, why.code, conf->file, pair->line, "%s", why.msg);
        }
    }
    if (code != 0) {
        ctr_options_destroy(options);
        return code;
    }
    *ret = options;
    return 0;
}

int
ctr_options_from_json(const json_t *object, const struct ctr_option *table, size_t n_table,
                      struct ctr_options **ret, struct ctr_error *err)
{
    struct ctr_options *options = NULL;
    int code = create_defaults(table, n_table, &options, err);
    if (code != 0) {
        return code;
    }
    const char *key;
    json_t *member;
    json_object_foreach((json_t *) (uintptr_t) object, key, member)
    {
        struct value *value = find(options, key);
        const char *text = json_string_value(member);
        if (value == NULL || text == NULL) {
            code = ctr_fail(err, -EINVAL,
                            value == NULL ? "option \"%s\": the plugin has no such"
                                          : "option \"%s\": not a text",
                            key);
        } else {
            code = set_value(value, text, err);
        }
        if (code != 0) {
            ctr_options_destroy(options);
            return code;
        }
    }
    *ret = options;
    return 0;
}

const char *
ctr_options_string(const struct ctr_options *options, const char *name)
{
    const struct value *value = find(options, name);
    return value == NULL ? NULL : value->text;
}

int64_t
ctr_options_int(const struct ctr_options *options, const char *name)
{
    const struct value *value = find(options, name);
    return value == NULL ? 0 : value->number;
}

bool
ctr_options_bool(const struct ctr_options *options, const char *name)
{
    return ctr_options_int(options, name) != 0;
}
