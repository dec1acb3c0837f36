/*
 * Profiles: finding the file, making a struct ctr_conf of it, and asking it.
 */
#include "core/conf/conf-priv.h"

void
ctr_conf_destroy(struct ctr_conf *conf)
{
    if (conf == NULL) {
        return;
    }
    for (size_t i = 0; i < conf->n_instances; i++) {
        free(conf->instances[i].name);
        free(conf->instances[i].plugin);
        ctr_pairs_free(conf->instances[i].pairs, conf->instances[i].n_pairs);
    }
    for (size_t i = 0; i < conf->n_hosts; i++) {
        ctr_host_finish(&conf->hosts[i]);
    }
    free(conf->instances);
    free(conf->hosts);
    ctr_engine_finish(&conf->engine);
    free(conf->name);
    free(conf->file);
    free(conf);
}

/* Where a key that is wrong in its section would be right, or NULL. */
static const char *
home_of(const char *key)
{
    for (const char *const *name = ctr_engine_keys(); *name != NULL; name++) {
        if (strcmp(*name, key) == 0) {
            return "[engine]";
        }
    }
    if (strcmp(key, "plugin") == 0) {
        return "[vmm], [storage] or [net]";
    }
    if (strcmp(key, "chain") == 0) {
        return "[registry]";
    }
    for (const char *const *name = ctr_host_keys(); *name != NULL; name++) {
        if (strcmp(*name, key) == 0) {
            return "[registry.host \"HOST\"]";
        }
    }
    return NULL;
}

int
ctr_conf_unknown_key(struct ctr_error *err, const char *file, const struct ctr_conf_pair *pair,
                     const char *section, const char *const *keys)
{
    const char *nearest = ctr_nearest(pair->key, keys), *home = home_of(pair->key), *rest;
    char hint[300] = "ctr.conf(5) and `ctrctl plugin show` list the keys";
    int kind = ctr_section_kind(section, &rest);
    if (home != NULL) {
        (void) snprintf(hint, sizeof hint, "it belongs in %s", home);
    } else if (nearest != NULL) {
        (void) snprintf(hint, sizeof hint, "did you mean \"%s\"?", nearest);
    } else if (kind != 0 && rest == NULL) {
        (void) snprintf(hint, sizeof hint, "a plugin's options go into [%s.PLUGIN]", section);
    }
    return ctr_conf_fail(err, -EINVAL, file, pair->line, "unknown key \"%s\" in [%.150s]: %s",
                         pair->key, section, hint);
}

static int
unknown_section(const struct ctr_conf *conf, const struct ctr_section *section,
                struct ctr_error *err)
{
    static const char *const known[] = {"engine", "vmm", "storage", "net", "registry", NULL};
    CTR_AUTO(free) char *stem = strndup(section->name, strcspn(section->name, ". \t"));
    const char *nearest = stem == NULL ? NULL : ctr_nearest(stem, known);
    const char *rest = stem == NULL ? "" : section->name + strlen(stem);
    if (nearest != NULL && strcmp(nearest, "engine") != 0) {
        return ctr_conf_fail(err, -EINVAL, conf->file, section->line,
                             "unknown section [%.100s]: did you mean [%s%.100s]?",
                             section->name, nearest, rest);
    }
    return ctr_conf_fail(
        err, -EINVAL, conf->file, section->line,
        nearest != NULL ? "unknown section [%.100s]: did you mean [engine]?"
                        : "unknown section [%.100s]: there are [engine], [vmm], [storage], "
                          "[net], [registry] and [KIND.NAME]",
        section->name);
}

static int
check_sections(const struct ctr_conf *conf, const struct ctr_doc *doc,
               const struct ctr_section **ret_engine, struct ctr_error *err)
{
    *ret_engine = NULL;
    for (size_t i = 0; i < doc->n_sections; i++) {
        const char *rest;
        const struct ctr_section *section = &doc->sections[i];
        if (strcmp(section->name, "engine") == 0) {
            *ret_engine = section;
        } else if (!ctr_section_is_host(section->name) &&
                   ctr_section_kind(section->name, &rest) == 0) {
            return unknown_section(conf, section, err);
        }
    }
    return 0;
}

static int
fill(struct ctr_conf *conf, const char *text, size_t length, struct ctr_error *err)
{
    struct ctr_doc doc = {0};
    const struct ctr_section *engine = NULL;
    int code = ctr_doc_parse(&doc, conf->file, text, length, err);
    code = code != 0 ? code : check_sections(conf, &doc, &engine, err);
    code = code != 0 ? code : ctr_engine_fill(conf, engine, err);
    code = code != 0 ? code : ctr_hosts_fill(conf, &doc, err);
    code = code != 0 ? code : ctr_instances_fill(conf, &doc, err);
    ctr_doc_finish(&doc);
    return code;
}

int
ctr_conf_parse(const char *name, const char *file, const char *text, size_t length,
               struct ctr_conf **ret, struct ctr_error *err)
{
    if (!ctr_is_name(name)) {
        return ctr_fail(err, -EINVAL,
                        "%s: \"%s\" cannot be a profile's name: use letters, digits, '-', '_' "
                        "and '.'",
                        file, name);
    }
    struct ctr_conf *conf = calloc(1, sizeof *conf);
    if (conf == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", file);
    }
    conf->name = strdup(name);
    conf->file = ctr_expand_path(file, NULL);
    int code = conf->name == NULL || conf->file == NULL
                   ? ctr_fail(err, -ENOMEM, "%s: out of memory", file)
                   : fill(conf, text, length, err);
    if (code != 0) {
        ctr_conf_destroy(conf);
        return code;
    }
    *ret = conf;
    return 0;
}

const struct ctr_conf_instance *
ctr_conf_instance(const struct ctr_conf *conf, int kind, const char *name)
{
    const struct ctr_conf_instance *by_plugin = NULL;
    const char *wanted = name == NULL ? "default" : name;
    for (size_t i = 0; i < conf->n_instances; i++) {
        const struct ctr_conf_instance *instance = &conf->instances[i];
        if (instance->kind != kind) {
            continue;
        }
        if (strcmp(instance->name, wanted) == 0) {
            return instance;
        }
        if (strcmp(instance->name, "default") == 0 && strcmp(instance->plugin, wanted) == 0) {
            by_plugin = instance;
        }
    }
    return by_plugin;
}

const struct ctr_conf_host *
ctr_conf_host(const struct ctr_conf *conf, const char *host)
{
    for (size_t i = 0; i < conf->n_hosts; i++) {
        if (strcmp(conf->hosts[i].host, host) == 0) {
            return &conf->hosts[i];
        }
    }
    return NULL;
}

json_t *
ctr_conf_instance_json(const struct ctr_conf_instance *instance)
{
    json_t *object = json_object();
    for (size_t i = 0; object != NULL && i < instance->n_pairs; i++) {
        const struct ctr_conf_pair *pair = &instance->pairs[i];
        if (json_object_set_new(object, pair->key, json_string(pair->value)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}
