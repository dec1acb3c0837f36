/*
 * What `ctrctl plugin ls` shows: every *.so in the plugin folders, loaded or refused and why, as JSON on stdout.
 *
 * It runs in a process of its own, since it loads everything.
 */
#include "core/plugin/plugin-priv.h"

static json_t *
describe_option(const struct ctr_option *option)
{
    static const char *const types[] = {"?", "string", "path", "int", "bool", "size", "choice"};
    bool known = option->type > 0 && (size_t) option->type < CTR_LENGTH(types);
    return json_pack("{ss ss ss? ss? sI sI ss}", "name", option->name, "type",
                     types[known ? option->type : 0], "default", option->def, "choices",
                     option->choices, "min", (json_int_t) option->min, "max",
                     (json_int_t) option->max, "help", option->help);
}

static json_t *
describe_options(const struct ctr_plugin *plugin)
{
    json_t *array = json_array();
    for (uint32_t i = 0; array != NULL && i < plugin->n_options; i++) {
        if (json_array_append_new(array, describe_option(ctr_plugin_option(plugin, i))) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *
describe_loaded(const char *path, const struct ctr_plugin *plugin, const char *hidden_by)
{
    char abi[16];
    (void) snprintf(abi, sizeof abi, "%u.%u", plugin->abi_major, plugin->abi_minor);
    json_t *object =
        json_pack("{ss ss ss ss ss ss so}", "path", path, "kind", ctr_kind_name(plugin->kind),
                  "name", plugin->name, "version", plugin->version, "help", plugin->help, "abi",
                  abi, "options", describe_options(plugin));
    if (object != NULL && hidden_by != NULL &&
        json_object_set_new(object, "hidden_by", json_string(hidden_by)) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* A refused one: kind and name as the file's name says. */
static json_t *
describe_refused(const char *path, const char *file, const struct ctr_error *why)
{
    const char *name = file;
    size_t n = strlen(file);
    uint32_t kind = ctr_plugin_file_kind(file, &name, &n);
    CTR_AUTO(free) char *text = ctr_printable(why->msg);
    return json_pack("{ss ss? ss% ss*}", "path", path, "kind", ctr_kind_name(kind), "name",
                     name, n, "error", text);
}

/* The earlier entry of the same kind and name, which is the one that a profile gets. */
static const char *
find_hidden_by(const json_t *all, const struct ctr_plugin *plugin)
{
    size_t i;
    json_t *entry;
    json_array_foreach((json_t *) (uintptr_t) all, i, entry)
    {
        if (strcmp(ctr_json_str(entry, "kind", ""), ctr_kind_name(plugin->kind)) == 0 &&
            strcmp(ctr_json_str(entry, "name", ""), plugin->name) == 0) {
            return ctr_json_str(entry, "path", NULL);
        }
    }
    return NULL;
}

static int
describe_file(json_t *all, const char *dir, const char *file, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/%s", dir, file);
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "plugins: out of memory");
    }
    const struct ctr_plugin *plugin;
    struct ctr_error why = CTR_ERROR_INIT;
    int code = ctr_plugin_load(path, 0, &plugin, &why);
    code = code != 0 ? code : ctr_plugin_check_file_name(plugin, path, &why);
    json_t *entry = code == 0 ? describe_loaded(path, plugin, find_hidden_by(all, plugin))
                              : describe_refused(path, file, &why);
    return json_array_append_new(all, entry) == 0
               ? 0
               : ctr_fail(err, -ENOMEM, "plugin %s: cannot be described", path);
}

static int
is_object(const struct dirent *entry)
{
    return ctr_ends_with(entry->d_name, ".so");
}

static int
describe_dir(json_t *all, const char *path, struct ctr_error *err)
{
    struct dirent **entries;
    int code = 0, n = scandir(path, &entries, is_object, alphasort);
    if (n < 0) {
        return 0; /* a folder that is not there holds no plugins */
    }
    for (int i = 0; i < n; i++) {
        code = code != 0 ? code : describe_file(all, path, entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    return code;
}

int
ctr_plugin_describe_all(const struct ctr_conf *conf, struct ctr_error *err)
{
    char **dirs = ctr_plugin_dirs(conf);
    CTR_AUTO(json) json_t *all = json_array();
    int code =
        dirs == NULL || all == NULL ? ctr_fail(err, -ENOMEM, "plugins: out of memory") : 0;
    for (size_t i = 0; code == 0 && dirs[i] != NULL; i++) {
        code = describe_dir(all, dirs[i], err);
    }
    ctr_plugin_dirs_free(dirs);
    CTR_AUTO(free) char *text = code == 0 ? ctr_json_text(all) : NULL;
    if (code == 0 && (text == NULL || printf("%s\n", text) < 0 || fflush(stdout) != 0)) {
        code = ctr_fail(err, -EIO, "plugins: the list cannot be written");
    }
    return code;
}
