/*
 * storage-mem: a storage plugin for tests. A snapshot is a text file of entry lines below the instance's folder, so that a test
 * can read what was applied. It makes no filesystem; a "disk" is an empty file.
 *
 * With MEM_LAYERS (storage-mem-layers) it keeps each layer by itself: a chain's file then holds those of its layers, each behind a
 * line "layer DIFF_ID". Options make it behave in other ways: short_read stops reading early, fail makes a call fail.
 */
#include <ctr/layer.h>
#include <ctr/storage.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MEM_LAYERS
#define MEM_NAME "mem"
#else
#define MEM_NAME "mem-layers"
#endif

struct mem {
    const struct ctr_host *host;
};

static const struct ctr_option options[] = {
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_BOOL,
     .name = "short_read",
     .def = "no",
     .help = "stop after the first 512 bytes of a layer"},
    {.size = sizeof(struct ctr_option),
     .type = CTR_OPTION_CHOICE,
     .name = "fail",
     .def = "none",
     .choices = "none|prepare|apply|commit|clone|layer_apply|layer_commit|chain",
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

/* A key's new file; its first line names what it stands on, if anything. */
static int
mem_make_key(const struct mem *mem, const char *key, const char *parent, struct ctr_error *err)
{
    char path[4096], from[4096];
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

/* Appends what the stream says to the key's file. */
static int
mem_read_layer(const struct mem *mem, const char *key, int tar_fd,
               const struct ctr_layer_limits *limits, struct ctr_error *err)
{
    static const struct ctr_layer_ops walk = {.size = sizeof walk,
                                              .entry = on_entry,
                                              .data = on_data,
                                              .end = on_end,
                                              .whiteout = on_whiteout,
                                              .opaque = on_opaque};
    char path[4096], piece[512];
    if (mem->host->option_bool(mem->host, "short_read")) {
        return read(tar_fd, piece, sizeof piece) < 0 ? ctr_fail(err, -EIO, "mem: read") : 0;
    }
    mem_path(mem, key, path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) {
        return ctr_fail(err, -errno, "mem: %s: %s", path, strerror(errno));
    }
    int rc = ctr_layer_walk(tar_fd, limits, &walk, &fd, err);
    (void) close(fd);
    return rc;
}

/* Gives the key's file its final path, unless that is taken: then the key is dropped. */
static int
mem_finish_key(const struct mem *mem, const char *key, const char *to, struct ctr_error *err)
{
    char from[4096];
    mem_path(mem, key, from);
    if (access(to, F_OK) == 0) {
        return unlink(from) < 0 ? ctr_fail(err, -errno, "mem: unlink") : 0;
    }
    return rename(from, to) < 0
               ? ctr_fail(err, -errno, "mem: rename %s: %s", from, strerror(errno))
               : 0;
}

#ifndef MEM_LAYERS
/* --- all layers of an image into one key --- */

static int
mem_prepare(void *self, const char *key, const char *parent,
            const struct ctr_storage_limits *limits, struct ctr_error *err)
{
    return mem_fails(self, "prepare") ? ctr_fail(err, -EIO, "mem: told to fail")
                                      : mem_make_key(self, key, parent, err);
}

static int
mem_apply(void *self, const char *key, int32_t tar_fd, struct ctr_error *err)
{
    const struct mem *mem = self;
    char path[4096];
    if (mem_fails(mem, "apply")) {
        return ctr_fail(err, -ENOSPC, "mem: told to fail");
    }
    mem_path(mem, key, path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd >= 0) {
        (void) dprintf(fd, "layer\n");
        (void) close(fd);
    }
    const struct ctr_layer_limits limits = {.size = sizeof limits};
    return mem_read_layer(mem, key, tar_fd, &limits, err);
}

static int
mem_commit(void *self, const char *key, const char *chain_id, struct ctr_error *err)
{
    char to[4096];
    mem_path(self, chain_id, to);
    return mem_fails(self, "commit") ? ctr_fail(err, -EIO, "mem: told to fail")
                                     : mem_finish_key(self, key, to, err);
}
#else
/* --- layers by themselves --- */

static void
mem_layer_path(const struct mem *mem, const char *diff_id, char path[4096])
{
    (void) snprintf(path, 4096, "%s/layer-%s", mem->host->state_dir, diff_id + 7);
}

static int
mem_layer_apply(void *self, const char *key, int32_t tar_fd,
                const struct ctr_storage_limits *limits, struct ctr_error *err)
{
    const struct ctr_layer_limits walk = {.size = sizeof walk,
                                          .max_bytes = limits != NULL ? limits->max_bytes : 0,
                                          .max_entries =
                                              limits != NULL ? limits->max_entries : 0};
    if (mem_fails(self, "layer_apply")) {
        return ctr_fail(err, -ENOSPC, "mem: told to fail");
    }
    int rc = mem_make_key(self, key, NULL, err);
    return rc < 0 ? rc : mem_read_layer(self, key, tar_fd, &walk, err);
}

static int
mem_layer_commit(void *self, const char *key, const char *diff_id, struct ctr_error *err)
{
    char to[4096];
    mem_layer_path(self, diff_id, to);
    return mem_fails(self, "layer_commit") ? ctr_fail(err, -EIO, "mem: told to fail")
                                           : mem_finish_key(self, key, to, err);
}

/* Copies a file's lines behind a line that names it. */
static int
mem_append(FILE *to, const char *diff_id, const char *from)
{
    char bytes[4096];
    size_t n;
    FILE *file = fopen(from, "re");
    if (file == NULL) {
        return -errno;
    }
    (void) fprintf(to, "layer %s\n", diff_id);
    while ((n = fread(bytes, 1, sizeof bytes, file)) > 0) {
        (void) fwrite(bytes, 1, n, to);
    }
    (void) fclose(file);
    return 0;
}

static int
mem_chain(void *self, const char *chain_id, const char *const *diff_ids, uint32_t n,
          struct ctr_error *err)
{
    char path[4096], from[4096], half[4200];
    if (mem_fails(self, "chain")) {
        return ctr_fail(err, -EIO, "mem: told to fail");
    }
    mem_path(self, chain_id, path);
    if (access(path, F_OK) == 0) {
        return 0;
    }
    (void) snprintf(half, sizeof half, "%s.half", path);
    FILE *file = fopen(half, "we");
    if (file == NULL) {
        return ctr_fail(err, -errno, "mem: %s: %s", half, strerror(errno));
    }
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        mem_layer_path(self, diff_ids[i], from);
        if (mem_append(file, diff_ids[i], from) < 0) {
            rc = ctr_fail(err, -ENOENT, "mem: layer %s of chain %s is not committed",
                          diff_ids[i], chain_id);
        }
    }
    (void) fclose(file);
    if (rc < 0) {
        (void) unlink(half);
        return rc;
    }
    return rename(half, path) < 0 ? ctr_fail(err, -errno, "mem: rename %s", half) : 0;
}
#endif

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
    return mem_make_key(mem, key, chain_id, err);
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

/* Whether a file has the line "WORD NAME": a clone or chain on a parent, a chain with a layer. */
static bool
mem_is_used(const struct mem *mem, const char *word, const char *name)
{
    DIR *dir = opendir(mem->host->state_dir);
    bool found = false;
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL && !found;
         entry = readdir(dir)) {
        char path[4096], line[8192];
        (void) snprintf(path, sizeof path, "%s/%s", mem->host->state_dir, entry->d_name);
        FILE *file = fopen(path, "re");
        while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
            size_t n = strlen(word);
            found = strncmp(line, word, n) == 0 && strncmp(line + n, name, 71) == 0;
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
    if (strncmp(name, "sha256:", 7) == 0 && mem_is_used(mem, "parent ", name)) {
        return ctr_fail(err, -EBUSY, "mem: others build on %s", name);
    }
    return unlink(path) < 0 && errno != ENOENT ? ctr_fail(err, -errno, "mem: unlink %s", path)
                                               : 0;
}

#ifdef MEM_LAYERS
static int
mem_layer_remove(void *self, const char *name, struct ctr_error *err)
{
    char path[4096];
    if (strncmp(name, "sha256:", 7) != 0) {
        return mem_remove(self, name, err);
    }
    if (mem_is_used(self, "layer ", name)) {
        return ctr_fail(err, -EBUSY, "mem: a chain has layer %s", name);
    }
    mem_layer_path(self, name, path);
    return unlink(path) < 0 && errno != ENOENT ? ctr_fail(err, -errno, "mem: unlink %s", path)
                                               : 0;
}
#endif

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
mem_list(void *self, void (*each)(void *arg, const char *name, int32_t state), void *arg,
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
            each(arg, name, CTR_STORAGE_CHAIN);
        } else if (strncmp(entry->d_name, "layer-", 6) == 0) {
            (void) snprintf(name, sizeof name, "sha256:%s", entry->d_name + 6);
            each(arg, name, CTR_STORAGE_LAYER);
        } else if (strncmp(entry->d_name, "key-", 4) == 0) {
            each(arg, entry->d_name + 4, CTR_STORAGE_WORKING);
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
#ifdef MEM_LAYERS
    .layer_apply = mem_layer_apply,
    .layer_commit = mem_layer_commit,
    .layer_remove = mem_layer_remove,
    .chain = mem_chain,
#else
    .prepare = mem_prepare,
    .apply = mem_apply,
    .commit = mem_commit,
#endif
    .clone = mem_clone,
    .disks = mem_disks,
    .remove = mem_remove,
    .usage = mem_usage,
    .list = mem_list,
};

CTR_PLUGIN(CTR_KIND_STORAGE, MEM_NAME, CTR_VERSION, "for tests: entry lists in text files",
           options, &ops);
