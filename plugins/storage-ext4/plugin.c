/*
 * storage-ext4: one ext4 image per image chain, one clone of it per container. See man/ctr-storage-ext4.7.
 *
 * The image is written by libext2fs as an ordinary file; nothing is mounted, and no privilege is needed. What a guest has written
 * is never opened here: of a container's disk only its name, size and disk use are looked at.
 */
#include "store.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MIB (1024LL * 1024)

static int
store_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct e4_store *store = NULL;
    int status = e4_store_open(host, &store, err);
    if (status == 0) {
        *ret_self = store;
    }
    return status;
}

static void
store_close(void *self)
{
    e4_store_close(self);
}

static uint32_t
store_capabilities(void *self)
{
    const struct e4_store *store = self;
    return store->fast_clone ? CTR_STORAGE_FAST_CLONE : 0;
}

/* --- names --- */

static int
key_name(const char *key, char ret[E4_NAME_MAX], struct ctr_error *err)
{
    bool is_chain = false;
    int status = e4_store_name(key, ret, &is_chain, err);
    return status == 0 && is_chain
               ? ctr_fail(err, -EINVAL, "storage: \"%s\" is a chain ID, not a key", key)
               : status;
}

static int
chain_name(const char *chain_id, char ret[E4_NAME_MAX], struct ctr_error *err)
{
    bool is_chain = false;
    int status = e4_store_name(chain_id, ret, &is_chain, err);
    return status == 0 && !is_chain
               ? ctr_fail(err, -EINVAL, "storage: \"%s\" is not a chain ID", chain_id)
               : status;
}

/* -ENOENT with a message if the snapshot is not there. */
static int
check_chain(struct e4_store *store, const char *chain_id, char ret[E4_NAME_MAX],
            struct ctr_error *err)
{
    int status = chain_name(chain_id, ret, err);
    if (status == 0) {
        status = e4_store_has(store, E4_IMAGES, ret, err);
        status = status == 0
                     ? ctr_fail(err, -ENOENT, "storage: there is no snapshot %s", chain_id)
                     : status;
    }
    return status < 0 ? status : 0;
}

static int
check_new_key(struct e4_store *store, const char *key, char ret[E4_NAME_MAX],
              struct ctr_error *err)
{
    int status = key_name(key, ret, err);
    for (int place = E4_DISKS; status == 0 && place < E4_PLACES; place++) {
        status = e4_store_has(store, (enum e4_place) place, ret, err);
        status = status == 1 ? ctr_fail(err, -EEXIST, "storage: key %s exists already", key)
                             : status;
    }
    return status;
}

/* --- snapshots --- */

static struct e4_job **
find_job(struct e4_store *store, const char *key)
{
    struct e4_job **at = &store->jobs;
    while (*at != NULL && strcmp((*at)->key, key) != 0) {
        at = &(*at)->next;
    }
    return at;
}

static void
end_job(struct e4_store *store, const char *key)
{
    struct e4_job **at = find_job(store, key);
    if (*at != NULL) {
        struct e4_job *job = *at;
        *at = job->next;
        free(job);
    }
}

static int
begin_job(struct e4_store *store, const char *key, const struct ctr_storage_limits *limits,
          struct ctr_error *err)
{
    struct e4_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return ctr_fail(err, -ENOMEM, "storage: out of memory");
    }
    (void) snprintf(job->key, sizeof job->key, "%s", key);
    if (limits != NULL) {
        job->budget.max_bytes = limits->max_bytes;
        job->budget.max_entries = limits->max_entries;
    }
    job->next = store->jobs;
    store->jobs = job;
    return 0;
}

static int
make_base(struct e4_store *store, const char *name, uint64_t size, struct ctr_error *err)
{
    char *path = e4_store_path(store, E4_WORK, name);
    int status = path == NULL ? ctr_fail(err, -ENOMEM, "storage: out of memory")
                              : ctr_ext4_blank(path, size, store->journal, err);
    free(path);
    return status;
}

static int
store_prepare(void *self, const char *key, const char *parent,
              const struct ctr_storage_limits *limits, struct ctr_error *err)
{
    struct e4_store *store = self;
    char name[E4_NAME_MAX], parent_name[E4_NAME_MAX];
    int status = check_new_key(store, key, name, err);
    if (status == 0 && parent != NULL) {
        status = check_chain(store, parent, parent_name, err);
    }
    if (status == 0) {
        status = begin_job(store, key, limits, err);
    }
    if (status != 0) {
        return status;
    }
    status = parent != NULL ? e4_store_copy(store, parent_name, name, err)
                            : make_base(store, name, store->size, err);
    if (status != 0) {
        end_job(store, key);
        (void) e4_store_unlink(store, E4_WORK, name, NULL);
    }
    return status;
}

/* The job of a key that prepare made. */
static int
check_job(struct e4_store *store, const char *key, char ret_name[E4_NAME_MAX],
          struct e4_job **ret, struct ctr_error *err)
{
    int status = key_name(key, ret_name, err);
    if (status != 0) {
        return status;
    }
    *ret = *find_job(store, key);
    return *ret != NULL ? 0 : ctr_fail(err, -ENOENT, "storage: key %s is not prepared", key);
}

static int
store_apply(void *self, const char *key, int32_t tar_fd, struct ctr_error *err)
{
    struct e4_store *store = self;
    struct e4_job *job = NULL;
    char name[E4_NAME_MAX];
    int status = check_job(store, key, name, &job, err);
    if (status != 0) {
        return status;
    }
    if (job->failed) {
        return ctr_fail(err, -EINVAL, "storage: key %s failed before: remove it", key);
    }
    char *path = e4_store_path(store, E4_WORK, name);
    status = path == NULL ? ctr_fail(err, -ENOMEM, "storage: out of memory")
                          : ctr_ext4_apply(path, tar_fd, &job->budget, err);
    job->failed = status != 0;
    free(path);
    return status;
}

static int
store_commit(void *self, const char *key, const char *chain_id, struct ctr_error *err)
{
    struct e4_store *store = self;
    struct e4_job *job = NULL;
    char name[E4_NAME_MAX], image[E4_NAME_MAX];
    int status = check_job(store, key, name, &job, err);
    if (status == 0) {
        status = chain_name(chain_id, image, err);
    }
    if (status != 0) {
        return status;
    }
    if (job->failed) {
        return ctr_fail(err, -EINVAL, "storage: key %s failed before: remove it", key);
    }
    status = e4_store_has(store, E4_IMAGES, image, err);
    if (status == 0) {
        status = e4_store_publish(store, name, E4_IMAGES, image, err);
    } else if (status == 1) {
        status = e4_store_unlink(store, E4_WORK, name, err);
    }
    if (status == 0) {
        end_job(store, key);
    } else {
        job->failed = true;
    }
    return status;
}

/* --- containers --- */

static int
store_clone(void *self, const char *key, const char *chain_id, uint64_t bytes,
            struct ctr_error *err)
{
    struct e4_store *store = self;
    char name[E4_NAME_MAX], image[E4_NAME_MAX];
    int status = check_new_key(store, key, name, err);
    if (status == 0) {
        status = check_chain(store, chain_id, image, err);
    }
    if (status == 0) {
        status = e4_store_copy(store, image, name, err);
    }
    if (status != 0) {
        return status;
    }
    if (bytes != 0) {
        char *path = e4_store_path(store, E4_WORK, name);
        status = path == NULL ? ctr_fail(err, -ENOMEM, "storage: out of memory")
                              : ctr_ext4_grow(path, bytes, err);
        free(path);
    }
    if (status == 0) {
        status = e4_store_publish(store, name, E4_DISKS, name, err);
    }
    if (status != 0) {
        (void) e4_store_unlink(store, E4_WORK, name, NULL);
        (void) e4_store_unlink(store, E4_DISKS, name, NULL);
    }
    return status;
}

static int
stat_file(struct e4_store *store, enum e4_place place, const char *name, struct stat *ret,
          struct ctr_error *err)
{
    return fstatat(store->folders[place], name, ret, AT_SYMLINK_NOFOLLOW) == 0
               ? 0
               : ctr_fail(err, -errno, "storage: %s: %s", name, strerror(errno));
}

static int
store_disks(void *self, const char *key, void (*each)(void *arg, const struct ctr_disk *disk),
            void *arg, struct ctr_error *err)
{
    struct e4_store *store = self;
    struct stat st;
    char name[E4_NAME_MAX];
    int status = key_name(key, name, err);
    if (status == 0) {
        status = stat_file(store, E4_DISKS, name, &st, err);
    }
    if (status != 0) {
        return status;
    }
    char *path = e4_store_path(store, E4_DISKS, name);
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "storage: out of memory");
    }
    struct ctr_disk disk = {.size = sizeof disk,
                            .format = CTR_DISK_RAW,
                            .flags = CTR_DISK_DISCARD,
                            .role = CTR_DISK_ROOT,
                            .path = path,
                            .fstype = "ext4",
                            .options = "noatime,discard",
                            .bytes = (uint64_t) st.st_size};
    each(arg, &disk);
    free(path);
    return 0;
}

/* --- all --- */

static int
store_remove(void *self, const char *name, struct ctr_error *err)
{
    struct e4_store *store = self;
    char file[E4_NAME_MAX];
    bool is_chain = false;
    int status = e4_store_name(name, file, &is_chain, err);
    if (status != 0) {
        return status;
    }
    if (is_chain) {
        return e4_store_unlink(store, E4_IMAGES, file, err);
    }
    end_job(store, name);
    status = e4_store_unlink(store, E4_WORK, file, err);
    return status == 0 ? e4_store_unlink(store, E4_DISKS, file, err) : status;
}

static int
store_usage(void *self, const char *name, struct ctr_storage_usage *ret, struct ctr_error *err)
{
    struct e4_store *store = self;
    struct stat st;
    char file[E4_NAME_MAX];
    bool is_chain = false;
    int status = e4_store_name(name, file, &is_chain, err);
    if (status != 0) {
        return status;
    }
    struct ctr_storage_usage usage = {.size = sizeof usage};
    if (is_chain) {
        status = stat_file(store, E4_IMAGES, file, &st, err);
        usage.inodes = status == 0 ? e4_store_inodes(store, file) : 0;
    } else {
        status = stat_file(store, E4_DISKS, file, &st, NULL);
        status = status == 0 ? 0 : stat_file(store, E4_WORK, file, &st, err);
    }
    if (status != 0) {
        return status;
    }
    usage.bytes = (uint64_t) st.st_blocks * 512;
    uint32_t size = ret->size < sizeof usage ? ret->size : (uint32_t) sizeof usage;
    usage.size = ret->size;
    memcpy(ret, &usage, size);
    return 0;
}

struct listing {
    void (*each)(void *arg, const char *name, int32_t committed);
    void *arg;
    bool committed;
};

static void
list_one(void *arg, const char *file)
{
    struct listing *listing = arg;
    char name[E4_NAME_MAX + 8];
    size_t n = strlen(file);
    if (n <= 4 || n > E4_NAME_MAX || strcmp(file + n - 4, ".img") != 0) {
        return;
    }
    (void) snprintf(name, sizeof name, "%s%.*s", listing->committed ? "sha256:" : "",
                    (int) n - 4, file);
    listing->each(listing->arg, name, listing->committed);
}

static int
store_list(void *self, void (*each)(void *arg, const char *name, int32_t committed), void *arg,
           struct ctr_error *err)
{
    struct listing listing = {.each = each, .arg = arg};
    int status = 0;
    for (int place = 0; status == 0 && place < E4_PLACES; place++) {
        listing.committed = place == E4_IMAGES;
        status = e4_store_each(self, (enum e4_place) place, list_one, &listing, err);
    }
    return status;
}

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_SIZE,
     .name = "size",
     .def = "64G",
     .min = 64 * MIB,
     .max = 16384 * 1024 * MIB,
     .help = "size of a container's disk; it takes only what is used"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_SIZE,
     .name = "journal",
     .def = "32M",
     .min = 4 * MIB,
     .max = 1024 * MIB,
     .help = "size of the journal inside a disk"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_PATH,
     .name = "path",
     .help = "folder for images and disks, in place of one below the profile's data folder"},
};

static const struct ctr_storage_ops ops = {
    .size = sizeof ops,
    .open = store_open,
    .close = store_close,
    .capabilities = store_capabilities,
    .prepare = store_prepare,
    .apply = store_apply,
    .commit = store_commit,
    .clone = store_clone,
    .disks = store_disks,
    .remove = store_remove,
    .usage = store_usage,
    .list = store_list,
};

CTR_PLUGIN(CTR_KIND_STORAGE, "ext4", CTR_VERSION,
           "one ext4 image per container image, cloned per container", options, &ops);
