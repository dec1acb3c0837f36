/*
 * storage-mini: a whole storage plugin to begin with. One ext4 image for each snapshot and each container, all in one folder.
 * Copy this folder, change the names, and put in place of the SDK's ext4 calls what you want to try.
 */
#include <ctr/ext4.h>
#include <ctr/storage.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A key's or chain ID's file, and what is there. */
struct file {
    char path[4096];
    struct stat st;
};

static const struct ctr_option options[] = {{.size = sizeof(struct ctr_option),
                                             .type = CTR_OPTION_SIZE,
                                             .name = "size",
                                             .def = "8G",
                                             .min = 64 << 20,
                                             .max = 1ll << 44,
                                             .help = "size of a container's disk, sparse"}};

/* The host's folder and options are all the state that this plugin has: the host is its `self`. */
static int
mini_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    *ret_self = (void *) (uintptr_t) host;
    return 0;
}

static void
mini_close(void *self)
{
}

static int
fail(struct ctr_error *err, const char *path)
{
    return ctr_fail(err, -errno, "storage-mini: %s: %s", path, strerror(errno));
}

static int
find(const struct ctr_host *host, const char *name, struct file *ret, struct ctr_error *err)
{
    snprintf(ret->path, sizeof ret->path, "%s/%s", host->state_dir, name);
    return stat(ret->path, &ret->st) == 0 ? 0 : fail(err, ret->path);
}

/* A new file `name`, equal to `from` or, with NULL, an empty filesystem. */
static int
make_file(const struct ctr_host *host, const char *name, const char *from,
          struct ctr_error *err)
{
    struct file source, file;
    if (from != NULL && find(host, from, &source, err) != 0) {
        return err->code;
    }
    if (find(host, name, &file, err) == 0) {
        return ctr_fail(err, -EEXIST, "storage-mini: %s exists", file.path);
    }
    int old = from != NULL ? open(source.path, O_RDONLY | O_CLOEXEC) : -1;
    uint64_t bytes = (uint64_t) host->option_int(host, "size");
    int result = from != NULL ? ctr_file_clone(old, AT_FDCWD, file.path, NULL, err)
                              : ctr_ext4_blank(file.path, bytes, 0, err);
    int fd = result == 0 ? open(file.path, O_RDWR | O_CLOEXEC) : -1;
    if (result == 0 && fsync(fd) != 0) {
        result = fail(err, file.path);
    }
    close(fd);
    close(old);
    return result;
}

static int
mini_prepare(void *self, const char *key, const char *parent,
             const struct ctr_storage_limits *limits, struct ctr_error *err)
{
    return make_file(self, key, parent, err);
}

static int
mini_apply(void *self, const char *key, int32_t tar_fd, struct ctr_error *err)
{
    struct file file;
    int result = find(self, key, &file, err);
    return result == 0 ? ctr_ext4_apply(file.path, tar_fd, NULL, err) : result;
}

static int
mini_commit(void *self, const char *key, const char *chain_id, struct ctr_error *err)
{
    struct file from, to;
    if (find(self, key, &from, err) != 0) {
        return err->code;
    }
    (void) find(self, chain_id, &to, err);
    int fd = open(from.path, O_RDONLY | O_CLOEXEC);
    int dir = open(((const struct ctr_host *) self)->state_dir, O_RDONLY | O_CLOEXEC);
    int failed = fsync(fd) != 0 || rename(from.path, to.path) != 0 || fsync(dir) != 0;
    int result = failed ? fail(err, to.path) : 0;
    close(fd);
    close(dir);
    return result;
}

static int
mini_clone(void *self, const char *key, const char *chain_id, uint64_t bytes,
           struct ctr_error *err)
{
    return make_file(self, key, chain_id, err);
}

static int
mini_disks(void *self, const char *key, void (*each)(void *arg, const struct ctr_disk *disk),
           void *arg, struct ctr_error *err)
{
    struct file file;
    int result = find(self, key, &file, err);
    const struct ctr_disk disk = {.size = sizeof disk,
                                  .format = CTR_DISK_RAW,
                                  .flags = CTR_DISK_DISCARD,
                                  .role = CTR_DISK_ROOT,
                                  .path = file.path,
                                  .fstype = "ext4",
                                  .options = "noatime,discard",
                                  .bytes = (uint64_t) file.st.st_size};
    if (result == 0) {
        each(arg, &disk);
    }
    return result;
}

static int
mini_remove(void *self, const char *name, struct ctr_error *err)
{
    struct file file;
    int result = find(self, name, &file, err);
    return result == -ENOENT || unlink(file.path) == 0 ? 0 : fail(err, file.path);
}

static int
mini_usage(void *self, const char *name, struct ctr_storage_usage *ret, struct ctr_error *err)
{
    struct file file;
    int result = find(self, name, &file, err);
    ret->bytes = result == 0 ? (uint64_t) file.st.st_blocks * 512 : 0;
    return result;
}

static const struct ctr_storage_ops ops = {.size = sizeof ops,
                                           .open = mini_open,
                                           .close = mini_close,
                                           .prepare = mini_prepare,
                                           .apply = mini_apply,
                                           .commit = mini_commit,
                                           .clone = mini_clone,
                                           .disks = mini_disks,
                                           .remove = mini_remove,
                                           .usage = mini_usage};

CTR_PLUGIN(CTR_KIND_STORAGE, "mini", "1.0", "one ext4 image for each snapshot", options, &ops);
