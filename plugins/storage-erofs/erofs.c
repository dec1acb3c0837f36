/*
 * storage-erofs: one read-only EROFS image for each image chain, shared by all its containers; a container's own disk is a copy of a
 * prepared empty ext4. In the guest both make an overlay. Starting a container costs the same whatever the image's size.
 *
 *     tmp/k-KEY          an image being written; swept at open
 *     chains/HEX         committed images, named by their chain ID
 *     clones/k-KEY/      `upper` (the writable disk) and `chain` (the chain ID that it stands on)
 *     blank-BYTES        the prepared empty ext4
 */
#include "plugins/storage-erofs/format.h"
#include <ctr/ext4.h>
#include <ctr/storage.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A key between prepare and commit. */
struct work {
    struct work *next;
    char key[129];
    int fd;
    struct tree tree;
    uint32_t next_block;
    uint64_t max_bytes, max_entries,
        bytes;          /* of all layers' files, of one layer's entries; bytes so far */
    bool failed;        /* only remove may follow */
    struct inode *file; /* whose content is arriving */
};

#define KEY_PREFIX "k-"

struct storage {
    char dir[3072];
    uint64_t bytes; /* of a container's disk */
    struct work *works;
};

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

/* --- names and files --- */

static int
check_key(const char *key, struct ctr_error *err)
{
    size_t length = strlen(key);
    if (length == 0 || length > 128 ||
        strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
            length) {
        return ctr_fail(err, -EINVAL, "'%.140s' is not a key", key);
    }
    return 0;
}

static bool
is_chain(const char *name)
{
    return strncmp(name, "sha256:", 7) == 0 && strlen(name) == 71 &&
           strspn(name + 7, "0123456789abcdef") == 64;
}

static void
path_of(const struct storage *self, char ret[4096], const char *folder, const char *name)
{
    snprintf(ret, 4096, "%s/%s/%s", self->dir, folder, name);
}

/* Keys get a prefix, so that one that begins with a dot is a file like others. */
static void
key_path(const struct storage *self, char ret[4096], const char *folder, const char *key,
         const char *file)
{
    snprintf(ret, 4096, "%s/%s/" KEY_PREFIX "%s%s", self->dir, folder, key, file);
}

static int
fail_errno(struct ctr_error *err, const char *what, const char *path)
{
    int code = errno;
    return ctr_fail(err, -code, "storage-erofs: %s %s: %s%s", what, path, strerror(code),
                    code == ENOSPC ? "; free some space there and try again" : "");
}

static int
sync_folder(const struct storage *self, const char *folder, struct ctr_error *err)
{
    char path[4096];
    path_of(self, path, folder, "");
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd >= 0 && fsync(fd) == 0 ? 0 : fail_errno(err, "syncing", path);
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

static void
remove_clone(const struct storage *self, const char *key)
{
    char path[4096];
    static const char *const files[] = {"/chain", "/upper", ""};
    for (int i = 0; i < 3; i++) {
        key_path(self, path, "clones", key, files[i]);
        (void) (i < 2 ? unlink(path) : rmdir(path));
    }
}

/* Calls each(arg, name) for a folder's entries. */
static void
each_name(const struct storage *self, const char *folder,
          void (*each)(struct storage *self, const char *name, void *arg), void *arg)
{
    char path[4096];
    path_of(self, path, folder, "");
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            each((struct storage *) (uintptr_t) self, entry->d_name, arg);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

static int
read_chain(const struct storage *self, const char *key, char ret[72])
{
    char path[4096];
    key_path(self, path, "clones", key, "/chain");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = read(fd, ret, 71);
    close(fd);
    ret[n == 71 ? 71 : 0] = '\0';
    return is_chain(ret) ? 0 : -EBADMSG;
}

/* --- open and close --- */

static void
sweep_tmp(struct storage *self, const char *name, void *arg)
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
sweep_clone(struct storage *self, const char *name, void *arg)
{
    char chain[72];
    const char *key = name + strlen(KEY_PREFIX);
    if (is_key_file(name) && read_chain(self, key, chain) != 0) {
        remove_clone(self, key);
    }
}

static int
storage_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct storage *self = calloc(1, sizeof *self);
    const char *dir = host->option_string(host, "path");
    dir = dir != NULL ? dir : host->state_dir;
    if (self == NULL || strlen(dir) >= sizeof self->dir) {
        free(self);
        return ctr_fail(err, self == NULL ? -ENOMEM : -ENAMETOOLONG,
                        "storage-erofs: %s: cannot be used", dir);
    }
    snprintf(self->dir, sizeof self->dir, "%s", dir);
    self->bytes = (uint64_t) host->option_int(host, "size") & ~(uint64_t) 4095;
    static const char *const folders[] = {"", "tmp", "chains", "clones"};
    for (int i = 0; i < 4; i++) {
        char path[4096];
        path_of(self, path, folders[i], "");
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            int result = fail_errno(err, "making", path);
            free(self);
            return result;
        }
    }
    each_name(self, "tmp", sweep_tmp, NULL);
    each_name(self, "clones", sweep_clone, NULL);
    *ret_self = self;
    return 0;
}

static void
drop_work(struct storage *self, struct work *work)
{
    struct work **link = &self->works;
    while (*link != work) {
        link = &(*link)->next;
    }
    *link = work->next;
    tree_finish(&work->tree);
    if (work->fd >= 0) {
        close(work->fd);
    }
    free(work);
}

static void
storage_close(void *arg)
{
    struct storage *self = arg;
    while (self != NULL && self->works != NULL) {
        drop_work(self, self->works);
    }
    free(self);
}

static uint32_t
storage_capabilities(void *self)
{
    return CTR_STORAGE_FAST_CLONE;
}

/* --- images --- */

static struct work *
find_work(const struct storage *self, const char *key)
{
    struct work *work = self->works;
    while (work != NULL && strcmp(work->key, key) != 0) {
        work = work->next;
    }
    return work;
}

static int
make_image(struct work *work, const char *path, struct ctr_error *err)
{
    work->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (work->fd < 0) {
        return fail_errno(err, "making", path);
    }
    work->next_block = 1;
    return tree_init(&work->tree) == 0 ? 0 : ctr_fail(err, -ENOMEM, "out of memory");
}

/* Begins with the parent's data: the file is cloned, and the tree is read back. */
static int
clone_image(const struct storage *self, struct work *work, const char *to, const char *parent,
            struct ctr_error *err)
{
    char path[4096];
    path_of(self, path, "chains", parent + 7);
    int from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0) {
        return errno == ENOENT
                   ? ctr_fail(err, -ENOENT, "storage-erofs: there is no snapshot %s", parent)
                   : fail_errno(err, "opening", path);
    }
    int result = ctr_file_clone(from, AT_FDCWD, to, NULL, err);
    close(from);
    if (result != 0) {
        return result;
    }
    work->fd = open(to, O_RDWR | O_CLOEXEC);
    result = work->fd >= 0 ? erofs_read(work->fd, &work->tree, &work->next_block, err)
                           : fail_errno(err, "opening", to);
    if (result != 0) {
        (void) unlink(to);
    }
    return result;
}

static int
check_new_key(const struct storage *self, const char *key, struct ctr_error *err)
{
    char path[4096], clone[4096];
    int result = check_key(key, err);
    if (result != 0) {
        return result;
    }
    key_path(self, path, "tmp", key, "");
    key_path(self, clone, "clones", key, "");
    if (access(path, F_OK) == 0 || access(clone, F_OK) == 0) {
        return ctr_fail(err, -EEXIST, "storage-erofs: key %s exists already", key);
    }
    return 0;
}

static int
storage_prepare(void *arg, const char *key, const char *parent,
                const struct ctr_storage_limits *limits, struct ctr_error *err)
{
    struct storage *self = arg;
    int result = check_new_key(self, key, err);
    if (result != 0) {
        return result;
    }
    if (parent != NULL && !is_chain(parent)) {
        return ctr_fail(err, -ENOENT, "storage-erofs: there is no snapshot %.80s", parent);
    }
    char path[4096];
    key_path(self, path, "tmp", key, "");
    struct work *work = calloc(1, sizeof *work);
    if (work == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    work->fd = -1;
    snprintf(work->key, sizeof work->key, "%s", key);
    work->max_bytes = limits != NULL ? limits->max_bytes : 0;
    work->max_entries = limits != NULL ? limits->max_entries : 0;
    work->next = self->works;
    self->works = work;
    result = parent == NULL ? make_image(work, path, err)
                            : clone_image(self, work, path, parent, err);
    if (result != 0) {
        drop_work(self, work);
    }
    return result;
}

static int
on_entry(void *arg, const struct ctr_layer_entry *entry, struct ctr_error *err)
{
    struct work *work = arg;
    struct node *node;
    int result = tree_put(&work->tree, entry, &node, err);
    work->file = NULL;
    if (result == 0 && entry->type == CTR_LAYER_FILE) {
        if (work->max_bytes != 0 && entry->bytes > work->max_bytes - work->bytes) {
            return ctr_fail(err, -EFBIG,
                            "layer entry \"%.200s\": the image's files hold more than the "
                            "limit of %llu bytes",
                            entry->path, (unsigned long long) work->max_bytes);
        }
        work->bytes += entry->bytes;
        uint64_t blocks = (entry->bytes + EROFS_BLOCK - 1) / EROFS_BLOCK;
        if (blocks > UINT32_MAX - work->next_block) {
            return ctr_fail(err, -EFBIG, "%s: the image would be larger than 16 TiB",
                            entry->path);
        }
        work->file = node->inode;
        node->inode->block = work->next_block;
        work->next_block += (uint32_t) blocks;
    }
    return result;
}

static int
on_data(void *arg, const void *bytes, size_t length, uint64_t offset, struct ctr_error *err)
{
    struct work *work = arg;
    if (work->file == NULL || offset > work->file->bytes ||
        length > work->file->bytes - offset) {
        return ctr_fail(err, -EBADMSG, "a file has more bytes than its header says");
    }
    uint64_t at = work->file->block * (uint64_t) EROFS_BLOCK + offset;
    for (size_t done = 0; done < length;) {
        ssize_t n =
            pwrite(work->fd, (const char *) bytes + done, length - done, (off_t) (at + done));
        if (n < 0 && errno != EINTR) {
            return fail_errno(err, "writing", "the image");
        }
        done += n > 0 ? (size_t) n : 0;
    }
    return 0;
}

static int
on_end(void *arg, struct ctr_error *err)
{
    ((struct work *) arg)->file = NULL;
    return 0;
}

static int
on_whiteout(void *arg, const char *path, struct ctr_error *err)
{
    return tree_whiteout(&((struct work *) arg)->tree, path, err);
}

static int
on_opaque(void *arg, const char *path, struct ctr_error *err)
{
    return tree_opaque(&((struct work *) arg)->tree, path, err);
}

static int
storage_apply(void *arg, const char *key, int32_t tar_fd, struct ctr_error *err)
{
    static const struct ctr_layer_ops ops = {.size = sizeof ops,
                                             .entry = on_entry,
                                             .data = on_data,
                                             .end = on_end,
                                             .whiteout = on_whiteout,
                                             .opaque = on_opaque};
    struct work *work = find_work(arg, key);
    if (work == NULL) {
        return ctr_fail(err, -ENOENT, "storage-erofs: there is no key %.130s", key);
    }
    if (work->failed) {
        return ctr_fail(err, -EINVAL, "storage-erofs: key %.130s failed before; remove it",
                        key);
    }
    const struct ctr_layer_limits limits = {.size = sizeof limits,
                                            .max_entries = work->max_entries};
    work->tree.layer++;
    int result = ctr_layer_walk(tar_fd, &limits, &ops, work, err);
    work->failed = result != 0;
    return result;
}

static int
storage_commit(void *arg, const char *key, const char *chain_id, struct ctr_error *err)
{
    struct storage *self = arg;
    struct work *work = find_work(self, key);
    if (work == NULL || !is_chain(chain_id)) {
        return ctr_fail(err, work == NULL ? -ENOENT : -EINVAL,
                        "storage-erofs: %.130s cannot be committed as %.80s", key, chain_id);
    }
    if (work->failed) {
        return ctr_fail(err, -EINVAL, "storage-erofs: key %.130s failed before; remove it",
                        key);
    }
    char from[4096], to[4096];
    key_path(self, from, "tmp", key, "");
    path_of(self, to, "chains", chain_id + 7);
    int result = 0;
    if (access(to, F_OK) != 0) {
        result = erofs_write(work->fd, &work->tree, work->next_block, err);
        if (result == 0 && fsync(work->fd) != 0) {
            result = fail_errno(err, "syncing", from);
        }
        if (result == 0 && rename(from, to) != 0) {
            result = fail_errno(err, "renaming", from);
        }
        result = result == 0 ? sync_folder(self, "chains", err) : result;
    }
    if (result == 0) {
        (void) unlink(from);
        drop_work(self, work);
    }
    return result;
}

/* --- containers --- */

/* The prepared empty disk of this size, made on first use. */
static int
open_blank(const struct storage *self, uint64_t bytes, int *ret_fd, struct ctr_error *err)
{
    char path[4096], tmp[4096];
    snprintf(path, sizeof path, "%s/blank-%llu", self->dir, (unsigned long long) bytes);
    snprintf(tmp, sizeof tmp, "%s/tmp/.blank", self->dir);
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*ret_fd >= 0) {
        return 0;
    }
    (void) unlink(tmp);
    int result = ctr_ext4_blank(tmp, bytes, 0, err);
    int fd = result == 0 ? open(tmp, O_RDONLY | O_CLOEXEC) : -1;
    if (result == 0 && (fd < 0 || fsync(fd) != 0 || rename(tmp, path) != 0)) {
        result = fail_errno(err, "making", path);
    }
    if (result != 0) {
        (void) unlink(tmp);
        if (fd >= 0) {
            close(fd);
        }
        return result;
    }
    *ret_fd = fd;
    return 0;
}

static int
write_clone(struct storage *self, const char *key, const char *chain_id, int blank,
            struct ctr_error *err)
{
    char path[4096];
    key_path(self, path, "clones", key, "/upper");
    int result = ctr_file_clone(blank, AT_FDCWD, path, NULL, err);
    int upper = result == 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (result == 0 && (upper < 0 || fsync(upper) != 0)) {
        result = fail_errno(err, "syncing", path);
    }
    if (upper >= 0) {
        close(upper);
    }
    if (result != 0) {
        return result;
    }
    key_path(self, path, "clones", key, "/chain");
    int chain = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (chain < 0 || write(chain, chain_id, 71) != 71 || fsync(chain) != 0) {
        result = fail_errno(err, "writing", path);
    }
    if (chain >= 0) {
        close(chain);
    }
    return result;
}

static int
storage_clone(void *arg, const char *key, const char *chain_id, uint64_t bytes,
              struct ctr_error *err)
{
    struct storage *self = arg;
    char path[4096];
    int result = check_new_key(self, key, err), blank = -1;
    if (result != 0) {
        return result;
    }
    if (is_chain(chain_id)) {
        path_of(self, path, "chains", chain_id + 7);
    }
    if (!is_chain(chain_id) || access(path, F_OK) != 0) {
        return ctr_fail(err, -ENOENT, "storage-erofs: there is no snapshot %.80s", chain_id);
    }
    result = open_blank(self, bytes != 0 ? bytes & ~(uint64_t) 4095 : self->bytes, &blank, err);
    if (result != 0) {
        return result;
    }
    key_path(self, path, "clones", key, "");
    if (mkdir(path, 0700) != 0) {
        result = fail_errno(err, "making", path);
    } else {
        result = write_clone(self, key, chain_id, blank, err);
        result = result == 0 ? sync_folder(self, "clones", err) : result;
        if (result != 0) {
            remove_clone(self, key);
        }
    }
    close(blank);
    return result;
}

static int
storage_disks(void *arg, const char *key, void (*each)(void *arg, const struct ctr_disk *disk),
              void *each_arg, struct ctr_error *err)
{
    struct storage *self = arg;
    char chain[72], lower[4096], upper[4096];
    struct stat lower_st, upper_st;
    if (check_key(key, err) != 0 || read_chain(self, key, chain) != 0) {
        return ctr_fail(err, -ENOENT, "storage-erofs: there is no disk %.130s", key);
    }
    path_of(self, lower, "chains", chain + 7);
    key_path(self, upper, "clones", key, "/upper");
    if (stat(lower, &lower_st) != 0 || stat(upper, &upper_st) != 0) {
        return ctr_fail(err, -ENOENT,
                        "storage-erofs: the files of disk %s are gone; remove the container",
                        key);
    }
    const struct ctr_disk disks[] = {
        {.size = sizeof disks[0],
         .format = CTR_DISK_RAW,
         .flags = CTR_DISK_READ_ONLY,
         .role = CTR_DISK_LOWER,
         .path = lower,
         .fstype = "erofs",
         .options = "",
         .bytes = (uint64_t) lower_st.st_size},
        {.size = sizeof disks[0],
         .format = CTR_DISK_RAW,
         .flags = CTR_DISK_DISCARD,
         .role = CTR_DISK_UPPER,
         .path = upper,
         .fstype = "ext4",
         .options = "noatime,discard",
         .bytes = (uint64_t) upper_st.st_size},
    };
    each(each_arg, &disks[0]);
    each(each_arg, &disks[1]);
    return 0;
}

/* --- remove, usage, list --- */

struct user_search {
    const char *chain;
    bool found;
};

static void
match_chain(struct storage *self, const char *name, void *arg)
{
    struct user_search *search = arg;
    char chain[72];
    search->found = search->found || (is_key_file(name) &&
                                      read_chain(self, name + strlen(KEY_PREFIX), chain) == 0 &&
                                      strcmp(chain, search->chain) == 0);
}

static int
storage_remove(void *arg, const char *name, struct ctr_error *err)
{
    struct storage *self = arg;
    char path[4096];
    if (is_chain(name)) {
        struct user_search search = {.chain = name};
        each_name(self, "clones", match_chain, &search);
        if (search.found) {
            return ctr_fail(err, -EBUSY, "storage-erofs: a container uses %s; remove it first",
                            name);
        }
        path_of(self, path, "chains", name + 7);
        return unlink(path) == 0 || errno == ENOENT ? 0 : fail_errno(err, "removing", path);
    }
    int result = check_key(name, err);
    if (result != 0) {
        return result;
    }
    struct work *work = find_work(self, name);
    if (work != NULL) {
        drop_work(self, work);
    }
    key_path(self, path, "tmp", name, "");
    (void) unlink(path);
    remove_clone(self, name);
    return 0;
}

static int
storage_usage(void *arg, const char *name, struct ctr_storage_usage *ret, struct ctr_error *err)
{
    struct storage *self = arg;
    char path[4096];
    struct stat st;
    if (is_chain(name)) {
        path_of(self, path, "chains", name + 7);
    } else if (check_key(name, err) == 0) {
        key_path(self, path, "clones", name, "/upper");
        if (stat(path, &st) != 0) {
            key_path(self, path, "tmp", name, "");
        }
    } else {
        return err != NULL ? err->code : -EINVAL;
    }
    if (stat(path, &st) != 0) {
        return ctr_fail(err, -ENOENT, "storage-erofs: there is no %.130s", name);
    }
    ret->bytes = (uint64_t) st.st_blocks * 512;
    ret->inodes = 0;
    return 0;
}

struct listing {
    void (*each)(void *arg, const char *name, int32_t committed);
    void *arg;
};

static void
list_chain(struct storage *self, const char *name, void *arg)
{
    const struct listing *listing = arg;
    char chain[72];
    snprintf(chain, sizeof chain, "sha256:%.64s", name);
    listing->each(listing->arg, chain, 1);
}

static void
list_key(struct storage *self, const char *name, void *arg)
{
    const struct listing *listing = arg;
    if (is_key_file(name)) {
        listing->each(listing->arg, name + strlen(KEY_PREFIX), 0);
    }
}

static int
storage_list(void *self, void (*each)(void *arg, const char *name, int32_t committed),
             void *arg, struct ctr_error *err)
{
    struct listing listing = {each, arg};
    each_name(self, "chains", list_chain, &listing);
    each_name(self, "tmp", list_key, &listing);
    each_name(self, "clones", list_key, &listing);
    return 0;
}

static const struct ctr_storage_ops ops = {
    .size = sizeof ops,
    .open = storage_open,
    .close = storage_close,
    .capabilities = storage_capabilities,
    .prepare = storage_prepare,
    .apply = storage_apply,
    .commit = storage_commit,
    .clone = storage_clone,
    .disks = storage_disks,
    .remove = storage_remove,
    .usage = storage_usage,
    .list = storage_list,
};

CTR_PLUGIN(CTR_KIND_STORAGE, "erofs", CTR_VERSION,
           "one EROFS image for each image, shared; an empty ext4 disk for each container",
           options, &ops);
