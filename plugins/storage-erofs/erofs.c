/*
 * storage-erofs: one EROFS image for each layer, shared by all images that have it; for each image their merged metadata; for each container
 * a writable disk, a copy of a prepared empty ext4. In the guest image and disk make an overlay. Starting a container costs the same
 * whatever the image's size.
 *
 *     tmp/               what is being written; swept at open
 *     layers/HEX         committed layers, by their diff ID (layer.c)
 *     chains/HEX         committed images, by their chain ID, and HEX.vmdk, which describes the disk of one (chain.h)
 *     clones/k-KEY/      containers (container.c)
 *     blank-BYTES        the prepared empty ext4
 */
#include "plugins/storage-erofs/chain.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_SIZE,
     .name = "size",
     .def = "64G",
     .min = 64 << 20,
     .max = 16ll << 40,
     .help = "size of a container's writable disk, sparse"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_PATH,
     .name = "path",
     .help = "folder for images instead of one in the data root"},
};

/* --- open and close --- */

static void
sweep_tmp(const struct storage *self, const char *name, void *arg)
{
    char path[4096];
    path_of(self, path, "tmp", name);
    (void) unlink(path);
}

static bool
is_key_file(const char *name)
{
    return strncmp(name, KEY_PREFIX, strlen(KEY_PREFIX)) == 0;
}

/* A clone is whole when its `chain` file is there: it is written last. */
static void
sweep_clone(const struct storage *self, const char *name, void *arg)
{
    char chain[72];
    const char *key = name + strlen(KEY_PREFIX);
    if (is_key_file(name) && container_chain(self, key, chain) != 0) {
        container_remove(self, key);
    }
}

static int
make_folders(const struct storage *self, struct ctr_error *err)
{
    static const char *const folders[] = {"", "tmp", "layers", "chains", "clones"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[4096];
        path_of(self, path, folders[i], "");
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            return fail_errno(err, "making", path);
        }
    }
    return 0;
}

static int
storage_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct storage *self = calloc(1, sizeof *self);
    const char *dir = host->option_string(host, "path");
    dir = dir != NULL ? dir : host->state_dir;
    if (self == NULL || strlen(dir) >= sizeof self->dir || strpbrk(dir, "\"\n") != NULL) {
        int code = self == NULL ? -ENOMEM : -EINVAL;
        free(self);
        return ctr_fail(err, code,
                        "storage-erofs: %.300s: this folder cannot be used: its name is too "
                        "long or has a quote in it",
                        dir);
    }
    snprintf(self->dir, sizeof self->dir, "%s", dir);
    self->bytes = (uint64_t) host->option_int(host, "size") & ~(uint64_t) 4095;
    int result = make_folders(self, err);
    if (result != 0) {
        free(self);
        return result;
    }
    (void) pthread_mutex_init(&self->one_tree, NULL);
    each_name(self, "tmp", sweep_tmp, NULL);
    each_name(self, "clones", sweep_clone, NULL);
    *ret_self = self;
    return 0;
}

static void
storage_close(void *arg)
{
    struct storage *self = arg;
    if (self != NULL) {
        (void) pthread_mutex_destroy(&self->one_tree);
    }
    free(self);
}

static uint32_t
storage_capabilities(void *self)
{
    return CTR_STORAGE_FAST_CLONE;
}

/* --- remove, usage, list --- */

struct user_search {
    const char *chain;
    bool found;
};

static void
match_chain(const struct storage *self, const char *name, void *arg)
{
    struct user_search *search = arg;
    char chain[72];
    search->found =
        search->found ||
        (is_key_file(name) && container_chain(self, name + strlen(KEY_PREFIX), chain) == 0 &&
         strcmp(chain, search->chain) == 0);
}

static int
remove_chain(const struct storage *self, const char *chain_id, struct ctr_error *err)
{
    char path[4096], name[80];
    struct user_search search = {.chain = chain_id};
    each_name(self, "clones", match_chain, &search);
    if (search.found) {
        return ctr_fail(err, -EBUSY, "storage-erofs: a container uses %s; remove it first",
                        chain_id);
    }
    snprintf(name, sizeof name, "%s.vmdk", chain_id + 7);
    path_of(self, path, "chains", name);
    (void) unlink(path);
    digest_path(self, path, "chains", chain_id);
    return unlink(path) == 0 || errno == ENOENT ? 0 : fail_errno(err, "removing", path);
}

static int
storage_remove(void *arg, const char *name, struct ctr_error *err)
{
    const struct storage *self = arg;
    char path[4096];
    if (is_digest(name)) {
        return remove_chain(self, name, err);
    }
    int result = check_key(name, err);
    if (result != 0) {
        return result;
    }
    key_path(self, path, "tmp", name, "");
    (void) unlink(path);
    container_remove(self, name);
    return 0;
}

static bool
add_file(const char *path, struct ctr_storage_usage *usage)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return false;
    }
    usage->bytes += (uint64_t) st.st_blocks * 512;
    return true;
}

/* A chain counts with all its layers, as if they were its own; else a layer by its diff ID. */
static int
digest_usage(const struct storage *self, const char *name, struct ctr_storage_usage *ret,
             struct ctr_error *err)
{
    char path[4096];
    struct chain chain;
    digest_path(self, path, "chains", name);
    if (!add_file(path, ret)) {
        digest_path(self, path, "layers", name);
        return add_file(path, ret)
                   ? 0
                   : ctr_fail(err, -ENOENT, "storage-erofs: there is no %s", name);
    }
    int result = chain_read(self, name + 7, &chain, err);
    for (uint32_t i = 0; result == 0 && i < chain.n; i++) {
        path_of(self, path, "layers", chain.parts[i].hex);
        (void) add_file(path, ret);
    }
    ret->inodes = chain.inodes;
    chain_finish(&chain);
    return result;
}

static int
storage_usage(void *arg, const char *name, struct ctr_storage_usage *ret, struct ctr_error *err)
{
    const struct storage *self = arg;
    char path[4096];
    ret->bytes = ret->inodes = 0;
    if (is_digest(name)) {
        return digest_usage(self, name, ret, err);
    }
    int result = check_key(name, err);
    if (result != 0) {
        return result;
    }
    key_path(self, path, "clones", name, "/upper");
    if (add_file(path, ret)) {
        return 0;
    }
    key_path(self, path, "tmp", name, "");
    return add_file(path, ret)
               ? 0
               : ctr_fail(err, -ENOENT, "storage-erofs: there is no %.130s", name);
}

struct listing {
    void (*each)(void *arg, const char *name, int32_t state);
    void *arg;
    int32_t state;
};

static void
list_digest(const struct storage *self, const char *name, void *arg)
{
    const struct listing *listing = arg;
    char digest[80];
    snprintf(digest, sizeof digest, "sha256:%.70s", name);
    if (is_digest(digest)) {
        listing->each(listing->arg, digest, listing->state);
    }
}

static void
list_key(const struct storage *self, const char *name, void *arg)
{
    const struct listing *listing = arg;
    if (is_key_file(name)) {
        listing->each(listing->arg, name + strlen(KEY_PREFIX), listing->state);
    }
}

static int
storage_list(void *self, void (*each)(void *arg, const char *name, int32_t state), void *arg,
             struct ctr_error *err)
{
    struct listing chains = {each, arg, CTR_STORAGE_CHAIN};
    struct listing layers = {each, arg, CTR_STORAGE_LAYER};
    struct listing keys = {each, arg, CTR_STORAGE_WORKING};
    each_name(self, "chains", list_digest, &chains);
    each_name(self, "layers", list_digest, &layers);
    each_name(self, "tmp", list_key, &keys);
    each_name(self, "clones", list_key, &keys);
    return 0;
}

static const struct ctr_storage_ops ops = {
    .size = sizeof ops,
    .open = storage_open,
    .close = storage_close,
    .capabilities = storage_capabilities,
    .clone = container_clone,
    .disks = container_disks,
    .remove = storage_remove,
    .usage = storage_usage,
    .list = storage_list,
    .layer_apply = layer_apply,
    .layer_commit = layer_commit,
    .layer_remove = layer_remove,
    .chain = chain_make,
};

CTR_PLUGIN(CTR_KIND_STORAGE, "erofs", CTR_VERSION,
           "one EROFS image for each layer, shared; an empty ext4 disk for each container",
           options, &ops);
