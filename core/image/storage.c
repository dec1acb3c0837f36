/*
 * Storage instances: the one adapter between the partial public table of <ctr/storage.h> and the core. It opens the plugin
 * with its options and folder, keeps calls one at a time, and copies what the plugin shows out of its memory.
 */
#include "core/image/image-priv.h"

#define STORAGE_MAX_ENTRIES 4000000 /* in one layer */

struct ctr_storage {
    char *name;
    const struct ctr_plugin *plugin;
    struct ctr_storage_ops ops;
    struct ctr_host *host;
    void *self;
    bool opened;
    uint32_t caps;
    pthread_mutex_t mutex;
};

static int
storage_make_host(struct ctr_storage *storage, const struct ctr_conf *conf,
                  const struct ctr_conf_instance *instance, const char *data,
                  struct ctr_error *err)
{
    CTR_AUTO(free) char *folder = ctr_printf("%s/storage/%s", data, instance->name);
    if (folder == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = ctr_mkdirs(folder, 0700, err);
    if (rc < 0) {
        return rc;
    }
    struct ctr_options *options = NULL;
    rc = ctr_options_create(conf, instance, storage->plugin->options,
                            storage->plugin->n_options, &options, err);
    if (rc < 0) {
        return rc;
    }
    return ctr_host_create(NULL, options, storage->plugin->name, storage->name, folder,
                           conf->engine.run, &storage->host, err);
}

int
ctr_storage_open(const struct ctr_conf *conf, const struct ctr_conf_instance *instance,
                 const char *data, struct ctr_storage **ret, struct ctr_error *err)
{
    struct ctr_storage *storage = calloc(1, sizeof *storage);
    if (storage == NULL || (storage->name = strdup(instance->name)) == NULL) {
        free(storage);
        return ctr_fail(err, -ENOMEM, "storage %s: out of memory", instance->name);
    }
    (void) pthread_mutex_init(&storage->mutex, NULL);
    int rc =
        ctr_plugin_find(conf, CTR_KIND_STORAGE, instance->plugin, &storage->plugin, NULL, err);
    if (rc == 0) {
        (void) ctr_plugin_storage_ops(storage->plugin, &storage->ops);
        rc = storage_make_host(storage, conf, instance, data, err);
    }
    if (rc == 0) {
        rc = storage->ops.open(storage->host, &storage->self, err);
        storage->opened = rc == 0;
    }
    if (rc < 0) {
        ctr_storage_close(storage);
        (void) ctr_prefix(err, "storage %s", instance->name);
        return rc;
    }
    storage->caps =
        storage->ops.capabilities != NULL ? storage->ops.capabilities(storage->self) : 0;
    *ret = storage;
    return 0;
}

void
ctr_storage_close(struct ctr_storage *storage)
{
    if (storage == NULL) {
        return;
    }
    if (storage->opened) {
        storage->ops.close(storage->self);
    }
    ctr_host_destroy(storage->host);
    (void) pthread_mutex_destroy(&storage->mutex);
    free(storage->name);
    free(storage);
}

const char *
ctr_storage_name(const struct ctr_storage *storage)
{
    return storage->name;
}

const char *
ctr_storage_plugin(const struct ctr_storage *storage)
{
    return storage->plugin->name;
}

uint32_t
storage_caps(const struct ctr_storage *storage)
{
    return storage->caps;
}

/* Says which storage failed; a plugin that gave no message gets one. */
static int
storage_result(const struct ctr_storage *storage, int rc, const char *verb,
               struct ctr_error *err)
{
    if (rc >= 0) {
        return rc;
    }
    if (err != NULL && err->code == 0) {
        (void) ctr_fail(err, rc, "%s failed: %s", verb, strerror(-rc));
    }
    (void) ctr_prefix(err, "storage %s", storage->name);
    return rc;
}

#define STORAGE_CALL(storage, verb, err, ...)                                                  \
    ({                                                                                         \
        (void) pthread_mutex_lock(&(storage)->mutex);                                          \
        int call_rc = (storage)->ops.verb((storage)->self, __VA_ARGS__, err);                  \
        (void) pthread_mutex_unlock(&(storage)->mutex);                                        \
        storage_result(storage, call_rc, #verb, err);                                          \
    })

int
ctr_storage_clone(struct ctr_storage *storage, const char *key, const char *chain_id,
                  uint64_t bytes, struct ctr_error *err)
{
    return STORAGE_CALL(storage, clone, err, key, chain_id, bytes);
}

int
ctr_storage_remove(struct ctr_storage *storage, const char *name, struct ctr_error *err)
{
    return STORAGE_CALL(storage, remove, err, name);
}

int
ctr_storage_usage(struct ctr_storage *storage, const char *name, uint64_t *ret_bytes,
                  struct ctr_error *err)
{
    struct ctr_storage_usage usage = {.size = sizeof usage};
    int rc = STORAGE_CALL(storage, usage, err, name, &usage);
    if (rc == 0) {
        *ret_bytes = usage.bytes;
    }
    return rc;
}

int
storage_prepare(struct ctr_storage *storage, const char *key, const char *parent,
                uint64_t max_bytes, struct ctr_error *err)
{
    struct ctr_storage_limits limits = {
        .size = sizeof limits, .max_bytes = max_bytes, .max_entries = STORAGE_MAX_ENTRIES};
    return STORAGE_CALL(storage, prepare, err, key, parent, &limits);
}

int
storage_apply(struct ctr_storage *storage, const char *key, int fd, struct ctr_error *err)
{
    return STORAGE_CALL(storage, apply, err, key, fd);
}

int
storage_commit(struct ctr_storage *storage, const char *key, const char *chain_id,
               struct ctr_error *err)
{
    return STORAGE_CALL(storage, commit, err, key, chain_id);
}

int
storage_each(struct ctr_storage *storage,
             void (*each)(void *arg, const char *name, int32_t state), void *arg,
             struct ctr_error *err)
{
    if (storage->ops.list == NULL) {
        return 0;
    }
    return STORAGE_CALL(storage, list, err, each, arg);
}

/* --- layers by themselves --- */

bool
storage_has_layers(const struct ctr_storage *storage)
{
    return storage->ops.layer_apply != NULL;
}

/* The one call that is not one at a time: layers of several downloads go in at once. */
int
storage_layer_apply(struct ctr_storage *storage, const char *key, int fd, uint64_t max_bytes,
                    struct ctr_error *err)
{
    struct ctr_storage_limits limits = {
        .size = sizeof limits, .max_bytes = max_bytes, .max_entries = STORAGE_MAX_ENTRIES};
    return storage_result(storage,
                          storage->ops.layer_apply(storage->self, key, fd, &limits, err),
                          "layer_apply", err);
}

int
storage_layer_commit(struct ctr_storage *storage, const char *key, const char *diff_id,
                     struct ctr_error *err)
{
    return STORAGE_CALL(storage, layer_commit, err, key, diff_id);
}

int
storage_layer_remove(struct ctr_storage *storage, const char *name, struct ctr_error *err)
{
    return STORAGE_CALL(storage, layer_remove, err, name);
}

int
storage_chain(struct ctr_storage *storage, const char *chain_id, const char *const *diff_ids,
              size_t n, struct ctr_error *err)
{
    return STORAGE_CALL(storage, chain, err, chain_id, diff_ids, (uint32_t) n);
}

/* --- disks --- */

struct disks_arg {
    json_t *disks;
    bool failed;
};

static const char *
disk_role(uint32_t role)
{
    return role == CTR_DISK_LOWER ? "lower" : role == CTR_DISK_UPPER ? "upper" : "root";
}

static void
disk_add(void *arg, const struct ctr_disk *plugin_disk)
{
    struct disks_arg *disks = arg;
    struct ctr_disk disk = {0};
    uint32_t size = plugin_disk->size;
    memcpy(&disk, plugin_disk, size < sizeof disk ? size : sizeof disk);
    bool vmdk = disk.format == CTR_DISK_VMDK && (disk.flags & CTR_DISK_READ_ONLY) != 0;
    if ((disk.format != CTR_DISK_RAW && !vmdk) || disk.path == NULL || disk.path[0] != '/') {
        disks->failed = true;
        return;
    }
    json_t *object =
        json_pack("{s:s, s:s, s:b, s:b, s:s, s:s, s:s, s:I}", "path", disk.path, "format",
                  vmdk ? "vmdk" : "raw", "read_only", (disk.flags & CTR_DISK_READ_ONLY) != 0,
                  "discard", (disk.flags & CTR_DISK_DISCARD) != 0, "role", disk_role(disk.role),
                  "fstype", disk.fstype != NULL ? disk.fstype : "", "options",
                  disk.options != NULL ? disk.options : "", "bytes", (json_int_t) disk.bytes);
    if (json_array_append_new(disks->disks, object) < 0) {
        disks->failed = true;
    }
}

json_t *
ctr_storage_disks(struct ctr_storage *storage, const char *key, struct ctr_error *err)
{
    struct disks_arg disks = {.disks = json_array()};
    if (disks.disks == NULL) {
        (void) ctr_fail(err, -ENOMEM, "storage %s: out of memory", storage->name);
        return NULL;
    }
    int rc = STORAGE_CALL(storage, disks, err, key, disk_add, &disks);
    if (rc == 0 && (disks.failed || json_array_size(disks.disks) == 0)) {
        rc = ctr_fail(
            err, -EPROTO,
            "storage %s: plugin %s gave no usable disk for %s; disks must be raw, or VMDK and "
            "read-only, with an absolute path",
            storage->name, storage->plugin->name, key);
    }
    if (rc < 0) {
        json_decref(disks.disks);
        return NULL;
    }
    return disks.disks;
}
