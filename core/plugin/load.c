/*
 * Opening plugin files. By absolute path only, after every component of the path was checked for its owner and mode.
 *
 * libltdl opens lazily and tells nothing of why it failed. So the dynamic linker is asked first, with all symbols bound at
 * once: a plugin with a missing symbol is refused here, by the symbol's name, and not in the middle of a container's start.
 */
#include "core/plugin/plugin-priv.h"
#include <dlfcn.h>
#include <ltdl.h>
#include <sys/stat.h>

static int
check_file(const char *path, struct ctr_error *err)
{
    struct stat st;
    if (path[0] != '/') {
        return ctr_fail(err, -EINVAL,
                        "plugin %s refused: not an absolute path: correct the profile", path);
    }
    if (ctr_check_trusted_path(path, err) != 0) {
        return ctr_prefix(err, "plugin %s refused", path);
    }
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
        return ctr_fail(err, -EINVAL, "plugin %s refused: not a regular file", path);
    }
    return 0;
}

static int
open_file(const char *path, const struct ctr_plugin **ret, struct ctr_error *err)
{
    /* Both handles stay open for ever: plugins are never unloaded. */
    if (dlopen(path, RTLD_NOW | RTLD_LOCAL) == NULL) {
        const char *why = dlerror();
        return ctr_fail(err, -ENOEXEC, "plugin %s refused: it cannot be loaded: %s", path,
                        why == NULL ? "no reason given" : why);
    }
    lt_dlhandle handle = lt_dlopen(path);
    if (handle == NULL) {
        const char *why = lt_dlerror();
        return ctr_fail(err, -ENOEXEC, "plugin %s refused: it cannot be loaded: %s", path,
                        why == NULL ? "no reason given" : why);
    }
    *ret = lt_dlsym(handle, "ctr_plugin");
    if (*ret == NULL) {
        return ctr_fail(err, -ENOEXEC,
                        "plugin %s refused: it exports no object `ctr_plugin`: define it with "
                        "CTR_PLUGIN() of <ctr/plugin.h>",
                        path);
    }
    return 0;
}

int
ctr_plugin_load(const char *path, uint32_t kind, const struct ctr_plugin **ret,
                struct ctr_error *err)
{
    static bool initialised;
    const struct ctr_plugin *plugin;
    if (!initialised && lt_dlinit() != 0) {
        return ctr_fail(err, -ENOMEM, "plugin loader: %s", lt_dlerror());
    }
    initialised = true;
    int code = check_file(path, err);
    code = code != 0 ? code : open_file(path, &plugin, err);
    code = code != 0 ? code : ctr_plugin_check(plugin, path, kind, err);
    if (code != 0) {
        return code;
    }
    *ret = plugin;
    return 0;
}
