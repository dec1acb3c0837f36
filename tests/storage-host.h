/*
 * A host for one storage plugin, for tests and test programs: loads it, gives it options from a list "name=value,name=value", and
 * folders below a given one. Header only, so that each user stays one source file.
 */
#ifndef CTR_TESTS_STORAGE_HOST_H
#define CTR_TESTS_STORAGE_HOST_H

#include <ctr/storage.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

struct storage_host {
    struct ctr_host host;
    const struct ctr_plugin *plugin;
    const struct ctr_storage_ops *ops;
    char state_dir[512], run_dir[512];
    char values[16][512]; /* of the plugin's options, by their place in its table */
    bool given[16];
};

static int
storage_host_option(const struct ctr_host *host, const char *name)
{
    const struct storage_host *h = host->ctx;
    for (uint32_t i = 0; i < h->plugin->n_options && i < 16; i++) {
        if (strcmp(h->plugin->options[i].name, name) == 0) {
            return (int) i;
        }
    }
    return -1;
}

static const char *
storage_host_string(const struct ctr_host *host, const char *name)
{
    const struct storage_host *h = host->ctx;
    int i = storage_host_option(host, name);
    return i >= 0 && h->given[i] ? h->values[i] : NULL;
}

static int64_t
storage_host_int(const struct ctr_host *host, const char *name)
{
    const char *text = storage_host_string(host, name);
    char *end = NULL;
    int64_t value = text != NULL ? strtoll(text, &end, 10) : 0;
    static const char units[] = "KMGT";
    const char *unit = end != NULL && *end != '\0' ? strchr(units, *end) : NULL;
    return unit != NULL ? value << (10 * (unit - units + 1)) : value;
}

static bool
storage_host_bool(const struct ctr_host *host, const char *name)
{
    const char *text = storage_host_string(host, name);
    return text != NULL && strchr("ty1", text[0]) != NULL;
}

static void
storage_host_log(const struct ctr_host *host, int32_t level, const char *message)
{
    fprintf(stderr, "plugin log %d: %s\n", level, message);
}

static int
storage_host_set(struct storage_host *h, const char *name, size_t length, const char *value,
                 size_t n)
{
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int) length, name);
    int i = storage_host_option(&h->host, key);
    if (i < 0) {
        return -ENOENT;
    }
    snprintf(h->values[i], sizeof h->values[i], "%.*s", (int) n, value);
    h->given[i] = true;
    return 0;
}

/* Takes the plugin itself; dir must exist. 0 or a negative code. */
static int
storage_host_init(struct storage_host *h, const struct ctr_plugin *plugin, const char *dir,
                  const char *options)
{
    *h = (struct storage_host){.host = {.size = sizeof h->host,
                                        .log = storage_host_log,
                                        .option_string = storage_host_string,
                                        .option_int = storage_host_int,
                                        .option_bool = storage_host_bool,
                                        .instance = "test"},
                               .plugin = plugin,
                               .ops = plugin->ops};
    h->host.ctx = h;
    snprintf(h->state_dir, sizeof h->state_dir, "%s/state", dir);
    snprintf(h->run_dir, sizeof h->run_dir, "%s/run", dir);
    (void) mkdir(h->state_dir, 0700);
    (void) mkdir(h->run_dir, 0700);
    h->host.state_dir = h->state_dir;
    h->host.run_dir = h->run_dir;
    for (uint32_t i = 0; i < plugin->n_options && i < 16; i++) {
        if (plugin->options[i].def != NULL) {
            snprintf(h->values[i], sizeof h->values[i], "%s", plugin->options[i].def);
            h->given[i] = true;
        }
    }
    for (const char *p = options; p != NULL && *p != '\0';) {
        size_t n = strcspn(p, ","), key = strcspn(p, "=");
        if (key >= n || storage_host_set(h, p, key, p + key + 1, n - key - 1) != 0) {
            fprintf(stderr, "bad option in %s\n", options);
            return -EINVAL;
        }
        p += n + (p[n] == ',');
    }
    return 0;
}

/* Loads a plugin by path; NULL with a line on stderr. It stays loaded. */
__attribute__((unused)) static const struct ctr_plugin *
storage_host_load(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct ctr_plugin *plugin = handle != NULL ? dlsym(handle, "ctr_plugin") : NULL;
    if (plugin == NULL || plugin->magic != CTR_PLUGIN_MAGIC ||
        plugin->kind != CTR_KIND_STORAGE) {
        const char *why = handle == NULL ? dlerror() : "not a storage plugin";
        fprintf(stderr, "cannot load %s: %s\n", path, why);
        return NULL;
    }
    return plugin;
}

#endif
