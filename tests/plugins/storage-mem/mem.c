/*
 * storage-mem: a storage plugin for tests. A snapshot is a text file of entry lines below the instance's folder, so that a test
 * can read what was applied. It makes no filesystem; a "disk" is an empty file.
 *
 * Options make it behave in other ways: per_layer commits each layer, short_read stops reading early, fail makes a call fail.
 */
#include <ctr/layer.h>
#include <ctr/storage.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct mem {
    const struct ctr_host *host;
};

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_BOOL,
     .name = "per_layer",
     .def = "no",
     .help = "every layer is a snapshot of its own"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_BOOL,
     .name = "short_read",
     .def = "no",
     .help = "stop after the first 512 bytes of a layer"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_CHOICE,
     .name = "fail",
     .def = "none",
     .choices = "none|prepare|apply|commit|clone",
     .help = "the call that fails"},
};

static bool
mem_fails(const struct mem *mem, const char *verb)
{
    return strcmp(mem->host->option_string(mem->host, "fail"), verb) == 0;
}

/* DIR/chain-HEX for a chain, DIR/key-NAME for a key. */
static void
mem_path(const struct mem *mem, const char *name, char path[4096])
{
    bool chain = strncmp(name, "sha256:", 7) == 0;
    (void) snprintf(path, 4096, "%s/%s-%s", mem->host->state_dir, chain ? "chain" : "key",
                    chain ? name + 7 : name);
}

static int
mem_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err)
{
    struct mem *mem = calloc(1, sizeof *mem);
    if (mem == NULL) {
        return ctr_fail(err, -ENOMEM, "mem: out of memory");
    }
    mem->host = host;
    *ret_self = mem;
    return 0;
}

static void
mem_close(void *self)
{
    free(self);
}

static uint32_t
mem_capabilities(void *self)
{
    return CTR_STORAGE_FAST_CLONE;
}

static int
mem_prepare(void *self, const char *key, const char *parent,
            const struct ctr_storage_limits *limits, struct ctr_error *err)
{
    const struct mem *mem = self;
    char path[4096], from[4096];
    if (mem_fails(mem, "prepare")) {
        return ctr_fail(err, -EIO, "mem: told to fail");
    }
    mem_path(mem, key, path);
    if (parent != NULL) {
        mem_path(mem, parent, from);
        if (access(from, F_OK) < 0) {
            return ctr_fail(err, -ENOENT, "mem: no parent %s", parent);
        }
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return ctr_fail(err, -errno, "mem: %s: %s", path, strerror(errno));
    }
    if (parent != NULL) {
        (void) dprintf(fd, "parent %s\n", parent);
    }
    (void) close(fd);
    return 0;
}

/* --- apply --- */

static int
on_entry(void *arg, const struct ctr_layer_entry *entry, struct ctr_error *err)
{
    (void) dprintf(*(int *) arg, "%u %04o %u:%u %llu /%s%s%s\n", entry->type, entry->mode,
                   entry->uid, entry->gid, (unsigned long long) entry->bytes, entry->path,
                   entry->target != NULL ? " -> " : "",
                   entry->target != NULL ? entry->target : "");
    return 0;
}

static int
on_data(void *arg, const void *bytes, size_t length, uint64_t offset, struct ctr_error *err)
{
    return 0;
}

static int
on_end(void *arg, struct ctr_error *err)
{
    return 0;
}

static int
on_whiteout(void *arg, const char *path, struct ctr_error *err)
{
    (void) dprintf(*(int *) arg, "whiteout /%s\n", path);
    return 0;
}

static int
on_opaque(void *arg, const char *path, struct ctr_error *err)
{
    (void) dprintf(*(int *) arg, "opaque /%s\n", path);
    return 0;
}

static int
mem_apply(void *self, const char *key, int32_t tar_fd, struct ctr_error *err)
{
    static const struct ctr_layer_ops walk = {.size = sizeof walk,
                                              .entry = on_entry,
                                              .data = on_data,
                                              .end = on_end,
                                              .whiteout = on_whiteout,
                                              .opaque = on_opaque};
    const struct mem *mem = self;
    char path[4096], piece[512];
    if (mem_fails(mem, "apply")) {
        return ctr_fail(err, -ENOSPC, "mem: told to fail");
    }
    if (mem->host->option_bool(mem->host, "short_read")) {
        return read(tar_fd, piece, sizeof piece) < 0 ? ctr_fail(err, -EIO, "mem: read") : 0;
    }
    mem_path(mem, key, path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) {
        return ctr_fail(err, -errno, "mem: %s: %s", path, strerror(errno));
    }
    struct ctr_layer_limits limits = {.size = sizeof limits};
    (void) dprintf(fd, "layer\n");
    int rc = ctr_layer_walk(tar_fd, &limits, &walk, &fd, err);
    (void) close(fd);
    return rc;
}

static int
mem_commit(void *self, const char *key, const char *chain_id, struct ctr_error *err)
{
    const struct mem *mem = self;
    char from[4096], to[4096];
    if (mem_fails(mem, "commit")) {
        return ctr_fail(err, -EIO, "mem: told to fail");
    }
    mem_path(mem, key, from);
    mem_path(mem, chain_id, to);
    if (access(to, F_OK) == 0) {
        return unlink(from) < 0 ? ctr_fail(err, -errno, "mem: unlink") : 0;
    }
    return rename(from, to) < 0
               ? ctr_fail(err, -errno, "mem: rename %s: %s", from, strerror(errno))
               : 0;
}

static int
mem_clone(void *self, const char *key, const char *chain_id, uint64_t bytes,
          struct ctr_error *err)
{
    const struct mem *mem = self;
    char from[4096];
    mem_path(mem, chain_id, from);
    if (mem_fails(mem, "clone")) {
        return ctr_fail(err, -ENOSPC, "mem: told to fail");
    }
    if (access(from, F_OK) < 0) {
        return ctr_fail(err, -ENOENT, "mem: no snapshot %s", chain_id);
    }
    return mem_prepare(self, key, chain_id, NULL, err);
}

static int
mem_disks(void *self, const char *key, void (*each)(void *arg, const struct ctr_disk *disk),
          void *arg, struct ctr_error *err)
{
    const struct mem *mem = self;
    char path[4096];
    mem_path(mem, key, path);
    if (access(path, F_OK) < 0) {
        return ctr_fail(err, -ENOENT, "mem: no disk %s", key);
    }
    struct ctr_disk disk = {.size = sizeof disk,
                            .format = CTR_DISK_RAW,
                            .flags = CTR_DISK_DISCARD,
                            .role = CTR_DISK_ROOT,
                            .path = path,
                            .fstype = "ext4",
                            .options = "",
                            .bytes = 1 << 20};
    each(arg, &disk);
    return 0;
}

/* Does a chain's file say that it was built on this one? */
static bool
mem_has_child(const struct mem *mem, const char *chain_id)
{
    DIR *dir = opendir(mem->host->state_dir);
    bool found = false;
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL && !found;
         entry = readdir(dir)) {
        char path[4096], line[128];
        (void) snprintf(path, sizeof path, "%s/%s", mem->host->state_dir, entry->d_name);
        FILE *file = fopen(path, "re");
        if (file != NULL && fgets(line, sizeof line, file) != NULL) {
            found = strncmp(line, "parent ", 7) == 0 && strncmp(line + 7, chain_id, 71) == 0;
        }
        if (file != NULL) {
            (void) fclose(file);
        }
    }
    if (dir != NULL) {
        (void) closedir(dir);
    }
    return found;
}

static int
mem_remove(void *self, const char *name, struct ctr_error *err)
{
    const struct mem *mem = self;
    char path[4096];
    mem_path(mem, name, path);
    if (strncmp(name, "sha256:", 7) == 0 && mem_has_child(mem, name)) {
        return ctr_fail(err, -EBUSY, "mem: others build on %s", name);
    }
    return unlink(path) < 0 && errno != ENOENT ? ctr_fail(err, -errno, "mem: unlink %s", path)
                                               : 0;
}

static int
mem_usage(void *self, const char *name, struct ctr_storage_usage *ret, struct ctr_error *err)
{
    const struct mem *mem = self;
    char path[4096];
    struct stat st;
    mem_path(mem, name, path);
    if (stat(path, &st) < 0) {
        return ctr_fail(err, -errno, "mem: %s: %s", name, strerror(errno));
    }
    ret->bytes = (uint64_t) st.st_size;
    return 0;
}

static int
mem_list(void *self, void (*each)(void *arg, const char *name, int32_t committed), void *arg,
         struct ctr_error *err)
{
    const struct mem *mem = self;
    DIR *dir = opendir(mem->host->state_dir);
    if (dir == NULL) {
        return ctr_fail(err, -errno, "mem: %s: %s", mem->host->state_dir, strerror(errno));
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char name[300];
        if (strncmp(entry->d_name, "chain-", 6) == 0) {
            (void) snprintf(name, sizeof name, "sha256:%s", entry->d_name + 6);
            each(arg, name, 1);
        } else if (strncmp(entry->d_name, "key-", 4) == 0) {
            each(arg, entry->d_name + 4, 0);
        }
    }
    (void) closedir(dir);
    return 0;
}

static const struct ctr_storage_ops ops = {
    .size = sizeof ops,
    .open = mem_open,
    .close = mem_close,
    .capabilities = mem_capabilities,
    .prepare = mem_prepare,
    .apply = mem_apply,
    .commit = mem_commit,
    .clone = mem_clone,
    .disks = mem_disks,
    .remove = mem_remove,
    .usage = mem_usage,
    .list = mem_list,
};

CTR_PLUGIN(CTR_KIND_STORAGE, "mem", CTR_VERSION, "for tests: entry lists in text files",
           options, &ops);
