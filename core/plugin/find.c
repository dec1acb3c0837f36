/*
 * Finding plugins by kind and name in the profile's folders: those of [engine] plugins first, then PREFIX/lib/ctr/plugins.
 */
#include "core/plugin/plugin-priv.h"
#include <fcntl.h>

void
ctr_plugin_dirs_free(char **dirs)
{
    for (size_t i = 0; dirs != NULL && dirs[i] != NULL; i++) {
        free(dirs[i]);
    }
    free(dirs);
}

char **
ctr_plugin_dirs(const struct ctr_conf *conf)
{
    const char *list = conf->engine.plugins;
    size_t most = 3, n = 0;
    for (const char *at = list; *at != '\0'; at++) {
        most += *at == ':';
    }
    char **dirs = calloc(most, sizeof *dirs);
    bool failed = dirs == NULL;
    while (!failed && *list != '\0') {
        size_t length = strcspn(list, ":");
        if (length > 0) {
            dirs[n] = strndup(list, length);
            failed = dirs[n++] == NULL;
        }
        list += length + (list[length] == ':');
    }
    CTR_AUTO(free) char *prefix = failed ? NULL : ctr_prefix_dir();
    if (prefix != NULL) {
        dirs[n] = ctr_printf("%s/lib/ctr/plugins", prefix);
    }
    if (failed || prefix == NULL || dirs[n] == NULL) {
        ctr_plugin_dirs_free(dirs);
        return NULL;
    }
    return dirs;
}

#define MAX_NAMES 100

/* Names of one kind's plugins in all folders, for the message when a name is unknown. */
struct names {
    char *list[MAX_NAMES + 1];
    size_t n;
};

static void
collect(struct names *names, const char *path, uint32_t kind)
{
    struct dirent **entries;
    int n_entries = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n_entries; i++) {
        const char *name;
        size_t n;
        if (names->n < MAX_NAMES &&
            ctr_plugin_file_kind(entries[i]->d_name, &name, &n) == kind) {
            names->list[names->n] = strndup(name, n);
            names->n += names->list[names->n] != NULL;
        }
        free(entries[i]);
    }
    if (n_entries >= 0) {
        free(entries);
    }
}

static int
not_found(char **dirs, uint32_t kind, const char *name, struct ctr_error *err)
{
    struct names names = {0};
    CTR_AUTO(buf) struct ctr_buf where = {0};
    CTR_AUTO(buf) struct ctr_buf what = {0};
    for (size_t i = 0; dirs[i] != NULL; i++) {
        ctr_buf_printf(&where, "%s%s", i == 0 ? "" : ", ", dirs[i]);
        collect(&names, dirs[i], kind);
    }
    for (size_t i = 0; i < names.n; i++) {
        ctr_buf_printf(&what, "%s%s", i == 0 ? "" : ", ", names.list[i]);
    }
    const char *nearest = ctr_nearest(name, (const char *const *) names.list);
    int code =
        ctr_fail(err, -ENOENT, "no %s plugin \"%.64s\" in %.300s: there %s%.200s%s%s%s",
                 ctr_kind_name(kind), name, where.data == NULL ? "?" : where.data,
                 names.n > 0 ? "are " : "is none; install one or set `plugins`",
                 what.data == NULL ? "" : what.data, nearest == NULL ? "" : "; did you mean \"",
                 nearest == NULL ? "" : nearest, nearest == NULL ? "" : "\"?");
    for (size_t i = 0; i < names.n; i++) {
        free(names.list[i]);
    }
    return code;
}

/* The first file of that name; 1 if there is none. */
static int
find_file(char **dirs, const char *file, char **ret, struct ctr_error *err)
{
    for (size_t i = 0; dirs[i] != NULL; i++) {
        CTR_AUTO(free) char *path = ctr_printf("%s/%s", dirs[i], file);
        if (path == NULL) {
            return ctr_fail(err, -ENOMEM, "plugin %s: out of memory", file);
        }
        if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
            *ret = ctr_steal(&path);
            return 0;
        }
    }
    return 1;
}

int
ctr_plugin_find(const struct ctr_conf *conf, uint32_t kind, const char *name,
                const struct ctr_plugin **ret, char **ret_path, struct ctr_error *err)
{
    CTR_AUTO(free) char *file = ctr_printf("%s-%s.so", ctr_kind_name(kind), name);
    CTR_AUTO(free) char *path = NULL;
    const struct ctr_plugin *plugin = NULL;
    char **dirs = file == NULL ? NULL : ctr_plugin_dirs(conf);
    if (dirs == NULL) {
        return ctr_fail(err, -ENOMEM, "plugin %s: out of memory", name);
    }
    int code = strchr(name, '/') != NULL ? 1 : find_file(dirs, file, &path, err);
    if (code > 0) {
        code = not_found(dirs, kind, name, err);
    } else if (code == 0) {
        code = ctr_plugin_load(path, kind, &plugin, err);
        code = code != 0 ? code : ctr_plugin_check_file_name(plugin, path, err);
    }
    ctr_plugin_dirs_free(dirs);
    if (code != 0) {
        return code;
    }
    *ret = plugin;
    if (ret_path != NULL) {
        *ret_path = ctr_steal(&path);
    }
    return 0;
}
