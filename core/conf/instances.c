/*
 * From sections to plugin instances: [KIND], [KIND.NAME] and the chain of [registry].
 *
 * [KIND] names the default plugin. [KIND.NAME] with a key `plugin` is a second instance NAME; without it, it holds options of the
 * plugin NAME: the default instance takes them if that is its plugin, otherwise it is an instance by itself. No plugin is built in:
 * a profile must name one of each kind, and may leave out the chain.
 */
#include "core/conf/conf-priv.h"

static const struct {
    int kind;
    const char *name;
} kinds[] = {
    {CTR_KIND_VMM, "vmm"},
    {CTR_KIND_STORAGE, "storage"},
    {CTR_KIND_NET, "net"},
    {CTR_KIND_REGISTRY, "registry"},
};

int
ctr_section_kind(const char *name, const char **ret_rest)
{
    for (size_t i = 0; i < CTR_LENGTH(kinds); i++) {
        size_t n = strlen(kinds[i].name);
        if (strncmp(name, kinds[i].name, n) == 0 && (name[n] == '\0' || name[n] == '.')) {
            *ret_rest = name[n] == '.' ? name + n + 1 : NULL;
            return kinds[i].kind;
        }
    }
    return 0;
}

static bool
is_plugin_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return name[0] >= 'a' && name[0] <= 'z' && name[n] == '\0' && n <= 32;
}

static struct ctr_section *
find_section(struct ctr_doc *doc, const char *kind, const char *name)
{
    for (size_t i = 0; i < doc->n_sections; i++) {
        const char *at = doc->sections[i].name;
        size_t n = strlen(kind);
        if (strncmp(at, kind, n) != 0) {
            continue;
        }
        if (name == NULL ? at[n] == '\0' : at[n] == '.' && strcmp(at + n + 1, name) == 0) {
            return &doc->sections[i];
        }
    }
    return NULL;
}

static int
no_memory(const struct ctr_conf *conf, struct ctr_error *err)
{
    return ctr_fail(err, -ENOMEM, "%s: out of memory", conf->file);
}

/* The pairs of a section but `plugin`, taken over by the instance. */
static void
take_pairs(struct ctr_conf_instance *instance, struct ctr_section *section)
{
    instance->pairs = section->pairs;
    instance->n_pairs = section->n_pairs;
    section->pairs = NULL;
    section->n_pairs = 0;
    for (size_t i = 0; i < instance->n_pairs; i++) {
        if (strcmp(instance->pairs[i].key, "plugin") == 0) {
            free(instance->pairs[i].key);
            free(instance->pairs[i].value);
            instance->n_pairs--;
            memmove(&instance->pairs[i], &instance->pairs[i + 1],
                    (instance->n_pairs - i) * sizeof *instance->pairs);
            return;
        }
    }
}

/* section: where its options stand, or NULL. */
static int
add_instance(struct ctr_conf *conf, int kind, const char *name, const char *plugin, int line,
             struct ctr_section *section, struct ctr_error *err)
{
    struct ctr_conf_instance *all =
        realloc(conf->instances, (conf->n_instances + 1) * sizeof *all);
    if (all == NULL) {
        return no_memory(conf, err);
    }
    conf->instances = all;
    struct ctr_conf_instance *instance = &all[conf->n_instances];
    *instance = (struct ctr_conf_instance){
        .kind = kind, .name = strdup(name), .plugin = strdup(plugin), .line = line};
    if (instance->name == NULL || instance->plugin == NULL) {
        free(instance->name);
        free(instance->plugin);
        return no_memory(conf, err);
    }
    conf->n_instances++;
    if (section != NULL) {
        take_pairs(instance, section);
    }
    return 0;
}

static int
check_plugin(const struct ctr_conf *conf, const struct ctr_conf_pair *pair,
             struct ctr_error *err)
{
    if (pair == NULL || is_plugin_name(pair->value)) {
        return 0;
    }
    return ctr_conf_fail(
        err, -EINVAL, conf->file, pair->line,
        "plugin: \"%s\" is not a plugin's name: write it as `ctrctl plugin ls` "
        "shows it, without folder or .so",
        pair->value);
}

/* The section [KIND] holds one key. */
static int
check_root(const struct ctr_conf *conf, const struct ctr_section *section, size_t k,
           const char *only, struct ctr_error *err)
{
    for (size_t i = 0; section != NULL && i < section->n_pairs; i++) {
        const struct ctr_conf_pair *pair = &section->pairs[i];
        const char *const keys[] = {only, NULL};
        if (strcmp(pair->key, only) != 0) {
            return ctr_conf_unknown_key(err, conf->file, pair, kinds[k].name, keys);
        }
    }
    return 0;
}

/* A section [KIND.NAME] other than the one that the default instance took. */
static int
add_named(struct ctr_conf *conf, size_t k, const char *name, struct ctr_section *section,
          struct ctr_error *err)
{
    const struct ctr_conf_pair *pair = ctr_doc_pair(section, "plugin");
    if (!ctr_is_name(name) || strcmp(name, "default") == 0) {
        return ctr_conf_fail(err, -EINVAL, conf->file, section->line,
                             "[%s]: \"%s\" cannot be an instance's name: use letters, digits, "
                             "'-', '_' and '.'; the default one is [%s]",
                             section->name, name, kinds[k].name);
    }
    if (pair == NULL && !is_plugin_name(name)) {
        return ctr_conf_fail(err, -EINVAL, conf->file, section->line,
                             "[%s] needs a line `plugin = NAME`", section->name);
    }
    int code = check_plugin(conf, pair, err);
    if (code != 0) {
        return code;
    }
    CTR_AUTO(free) char *plugin = strdup(pair != NULL ? pair->value : name);
    return plugin == NULL
               ? no_memory(conf, err)
               : add_instance(conf, kinds[k].kind, name, plugin, section->line, section, err);
}

static int
fill_kind(struct ctr_conf *conf, struct ctr_doc *doc, size_t k, struct ctr_error *err)
{
    const struct ctr_section *root = find_section(doc, kinds[k].name, NULL);
    const struct ctr_conf_pair *pair = ctr_doc_pair(root, "plugin");
    int code = check_root(conf, root, k, "plugin", err);
    code = code != 0 ? code : check_plugin(conf, pair, err);
    if (code != 0) {
        return code;
    }
    if (pair == NULL) {
        return ctr_conf_fail(err, -EINVAL, conf->file, root == NULL ? 0 : root->line,
                             "the profile names no %s plugin: add a section [%s] with a line "
                             "`plugin = NAME`; `ctrctl plugin ls` lists the names",
                             kinds[k].name, kinds[k].name);
    }
    const char *plugin = pair->value;
    struct ctr_section *options = find_section(doc, kinds[k].name, plugin);
    if (ctr_doc_pair(options, "plugin") != NULL) {
        options = NULL;
    }
    code = add_instance(conf, kinds[k].kind, "default", plugin, root->line, options, err);
    for (size_t i = 0; code == 0 && i < doc->n_sections; i++) {
        const char *name;
        struct ctr_section *section = &doc->sections[i];
        bool ours = ctr_section_kind(section->name, &name) == kinds[k].kind && name != NULL;
        if (ours && section != options) {
            code = add_named(conf, k, name, section, err);
        }
    }
    return code;
}

/* One name of the chain. */
static int
add_link(struct ctr_conf *conf, struct ctr_doc *doc, size_t k, const char *name, int line,
         struct ctr_error *err)
{
    for (size_t i = 0; i < conf->n_instances; i++) {
        if (conf->instances[i].kind == CTR_KIND_REGISTRY &&
            strcmp(conf->instances[i].name, name) == 0) {
            return ctr_conf_fail(err, -EEXIST, conf->file, line, "chain: \"%s\" is there twice",
                                 name);
        }
    }
    struct ctr_section *section = find_section(doc, kinds[k].name, name);
    if (section != NULL) {
        return add_named(conf, k, name, section, err);
    }
    if (!is_plugin_name(name)) {
        return ctr_conf_fail(
            err, -EINVAL, conf->file, line,
            "chain: \"%s\" is not a name: write names with commas between them", name);
    }
    return add_instance(conf, kinds[k].kind, name, name, line, NULL, err);
}

static int
add_chain(struct ctr_conf *conf, struct ctr_doc *doc, size_t k, const char *chain, int line,
          struct ctr_error *err)
{
    int code = 0;
    const char *at = chain;
    while (code == 0 && *at != '\0') {
        at += strspn(at, " \t");
        size_t n = strcspn(at, ","), end = n;
        while (end > 0 && (at[end - 1] == ' ' || at[end - 1] == '\t')) {
            end--;
        }
        CTR_AUTO(free) char *name = strndup(at, end);
        code = name == NULL ? no_memory(conf, err) : add_link(conf, doc, k, name, line, err);
        at += n + (at[n] == ',');
    }
    return code;
}

static bool
in_chain(const struct ctr_conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->n_instances; i++) {
        if (conf->instances[i].kind == CTR_KIND_REGISTRY &&
            strcmp(conf->instances[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int
fill_registry(struct ctr_conf *conf, struct ctr_doc *doc, size_t k, struct ctr_error *err)
{
    const struct ctr_section *root = find_section(doc, kinds[k].name, NULL);
    const struct ctr_conf_pair *pair = ctr_doc_pair(root, "chain");
    int code = check_root(conf, root, k, "chain", err);
    if (code == 0) {
        code = pair == NULL ? 0 : add_chain(conf, doc, k, pair->value, pair->line, err);
    }
    for (size_t i = 0; code == 0 && i < doc->n_sections; i++) {
        const struct ctr_section *section = &doc->sections[i];
        const char *name;
        bool ours = ctr_section_kind(section->name, &name) == CTR_KIND_REGISTRY &&
                    name != NULL && !ctr_section_is_host(section->name);
        if (ours && !in_chain(conf, name)) {
            code = ctr_conf_fail(err, -EINVAL, conf->file, section->line,
                                 "[%s] is not in the chain of [registry]: add \"%s\" there, or "
                                 "remove this section",
                                 section->name, name);
        }
    }
    return code;
}

int
ctr_instances_fill(struct ctr_conf *conf, struct ctr_doc *doc, struct ctr_error *err)
{
    int code = 0;
    for (size_t k = 0; code == 0 && k < CTR_LENGTH(kinds); k++) {
        code = kinds[k].kind == CTR_KIND_REGISTRY ? fill_registry(conf, doc, k, err)
                                                  : fill_kind(conf, doc, k, err);
    }
    return code;
}
