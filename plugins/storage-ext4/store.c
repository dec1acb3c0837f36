/*
 * The folders of one instance: images/ (committed, named by chain ID), disks/ (containers), work/ (half-made). A file comes into images/
 * or disks/ only whole: its data is synced, then it is renamed, then the folder is synced. work/ is emptied at every open,
 * under a lock that keeps two instances off one folder.
 */
#include "store.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".img"

static const char *const place_names[E4_PLACES] = {"images", "disks", "work"};

/* --- names --- */

static bool
is_key(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                            "0123456789._-");
    return n > 0 && n <= 128 && name[n] == '\0';
}

static bool
is_chain(const char *name)
{
    return strncmp(name, "sha256:", 7) == 0 && strlen(name) == 7 + 64 &&
           strspn(name + 7, "0123456789abcdef") == 64;
}

int
e4_store_name(const char *name, char ret[E4_NAME_MAX], bool *ret_is_chain,
              struct ctr_error *err)
{
    *ret_is_chain = is_chain(name);
    if (!*ret_is_chain && !is_key(name)) {
        return ctr_fail(err, -EINVAL, "storage: \"%.200s\" is neither a key nor a chain ID",
                        name);
    }
    (void) snprintf(ret, E4_NAME_MAX, "%s%s", *ret_is_chain ? name + 7 : name, SUFFIX);
    return 0;
}

char *
e4_store_path(struct e4_store *store, enum e4_place place, const char *name)
{
    size_t n = strlen(store->root) + strlen(name) + 16;
    char *path = malloc(n);
    if (path != NULL) {
        (void) snprintf(path, n, "%s/%s/%s", store->root, place_names[place], name);
    }
    return path;
}

/* --- files --- */

int
e4_store_has(struct e4_store *store, enum e4_place place, const char *name,
             struct ctr_error *err)
{
    struct stat st;
    if (fstatat(store->folders[place], name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        return 1;
    }
    return errno == ENOENT ? 0
                           : ctr_fail(err, -errno, "storage: %s/%s/%s: %s", store->root,
                                      place_names[place], name, strerror(errno));
}

static int
sync_place(struct e4_store *store, enum e4_place place, struct ctr_error *err)
{
    int status = ctr_file_sync(store->folders[place]);
    return status == 0 ? 0
                       : ctr_fail(err, status, "storage: sync %s/%s: %s", store->root,
                                  place_names[place], strerror(-status));
}

int
e4_store_unlink(struct e4_store *store, enum e4_place place, const char *name,
                struct ctr_error *err)
{
    if (unlinkat(store->folders[place], name, 0) != 0) {
        return errno == ENOENT
                   ? 0
                   : ctr_fail(err, -errno, "storage: remove %s/%s/%s: %s", store->root,
                              place_names[place], name, strerror(errno));
    }
    return sync_place(store, place, err);
}

static int
sync_file(int folder, const char *name, struct ctr_error *err)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int status = fd < 0 ? -errno : ctr_file_sync(fd);
    if (fd >= 0) {
        (void) close(fd);
    }
    return status == 0 ? 0
                       : ctr_fail(err, status, "storage: sync %s: %s", name, strerror(-status));
}

int
e4_store_publish(struct e4_store *store, const char *from, enum e4_place place, const char *to,
                 struct ctr_error *err)
{
    int status = sync_file(store->folders[E4_WORK], from, err);
    if (status != 0) {
        return status;
    }
    if (renameat(store->folders[E4_WORK], from, store->folders[place], to) != 0) {
        return ctr_fail(err, -errno, "storage: rename %s to %s/%s/%s: %s", from, store->root,
                        place_names[place], to, strerror(errno));
    }
    status = sync_place(store, place, err);
    if (status != 0) {
        (void) unlinkat(store->folders[place], to, 0); /* what may not last is not there */
    }
    return status;
}

int
e4_store_copy(struct e4_store *store, const char *image, const char *to, struct ctr_error *err)
{
    bool reflink = false;
    int from = openat(store->folders[E4_IMAGES], image, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0) {
        return ctr_fail(err, -errno, "storage: snapshot %s/images/%s: %s", store->root, image,
                        strerror(errno));
    }
    /* a leftover of an interrupted try in this run */
    (void) unlinkat(store->folders[E4_WORK], to, 0);
    int status = ctr_file_clone(from, store->folders[E4_WORK], to, &reflink, err);
    (void) close(from);
    return status;
}

uint64_t
e4_store_inodes(struct e4_store *store, const char *image)
{
    uint64_t inodes = 0;
    int fd = openat(store->folders[E4_IMAGES], image, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return 0;
    }
    (void) ctr_ext4_inodes(fd, &inodes);
    (void) close(fd);
    return inodes;
}

int
e4_store_each(struct e4_store *store, enum e4_place place,
              void (*each)(void *arg, const char *name), void *arg, struct ctr_error *err)
{
    int fd = openat(store->folders[place], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        int code = errno;
        if (fd >= 0) {
            (void) close(fd);
        }
        return ctr_fail(err, -code, "storage: list %s/%s: %s", store->root, place_names[place],
                        strerror(code));
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            each(arg, entry->d_name);
        }
    }
    (void) closedir(dir);
    return 0;
}

/* --- opening --- */

static int
open_folder(int parent, const char *name, int *ret, struct ctr_error *err)
{
    if (mkdirat(parent, name, 0700) != 0 && errno != EEXIST) {
        return ctr_fail(err, -errno, "storage: make folder %s: %s", name, strerror(errno));
    }
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return ctr_fail(err, -errno, "storage: open folder %s: %s", name, strerror(errno));
    }
    *ret = fd;
    return 0;
}

static int
open_root(struct e4_store *store, struct ctr_error *err)
{
    if (mkdir(store->root, 0700) != 0 && errno != EEXIST) {
        return ctr_fail(err, -errno, "storage: make folder %s: %s", store->root,
                        strerror(errno));
    }
    int root = open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        return ctr_fail(err, -errno, "storage: open folder %s: %s", store->root,
                        strerror(errno));
    }
    store->lock = openat(root, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int status = 0;
    if (store->lock < 0) {
        status =
            ctr_fail(err, -errno, "storage: open %s/lock: %s", store->root, strerror(errno));
    } else if (flock(store->lock, LOCK_EX | LOCK_NB) != 0) {
        status = ctr_fail(err, -EBUSY,
                          "storage: another instance uses %s: give this one another `path`",
                          store->root);
    }
    for (int i = 0; status == 0 && i < E4_PLACES; i++) {
        status = open_folder(root, place_names[i], &store->folders[i], err);
    }
    (void) close(root);
    return status;
}

static void
sweep_one(void *arg, const char *name)
{
    struct e4_store *store = arg;
    (void) unlinkat(store->folders[E4_WORK], name, 0);
}

/* Asks the filesystem itself whether it clones. */
static int
probe_clone(struct e4_store *store, struct ctr_error *err)
{
    static const char *const names[] = {"probe", "probe2"};
    int folder = store->folders[E4_WORK];
    int fd =
        openat(folder, names[0], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return ctr_fail(err, -errno, "storage: write into %s: %s", store->root,
                        strerror(errno));
    }
    char block[E4_BLOCK] = "probe";
    int status = 0;
    if (write(fd, block, sizeof block) == (ssize_t) sizeof block) {
        status = ctr_file_clone(fd, folder, names[1], &store->fast_clone, err);
    }
    (void) close(fd);
    (void) unlinkat(folder, names[0], 0);
    (void) unlinkat(folder, names[1], 0);
    return status;
}

static void
fill_options(struct e4_store *store, const struct ctr_host *host)
{
    const char *path = host->option_string(host, "path");
    store->host = host;
    store->root = strdup(path != NULL && path[0] != '\0' ? path : host->state_dir);
    store->size = (uint64_t) host->option_int(host, "size") / E4_BLOCK * E4_BLOCK;
    store->journal = (uint64_t) host->option_int(host, "journal") / E4_BLOCK * E4_BLOCK;
    store->lock = -1;
    for (int i = 0; i < E4_PLACES; i++) {
        store->folders[i] = -1;
    }
}

int
e4_store_open(const struct ctr_host *host, struct e4_store **ret, struct ctr_error *err)
{
    struct e4_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return ctr_fail(err, -ENOMEM, "storage: out of memory");
    }
    fill_options(store, host);
    int status = store->root == NULL ? ctr_fail(err, -ENOMEM, "storage: out of memory") : 0;
    if (status == 0 && store->journal * 4 > store->size) {
        status = ctr_fail(err, -EINVAL,
                          "storage: option `journal` must be at most a quarter of `size`");
    }
    if (status == 0) {
        status = open_root(store, err);
    }
    if (status == 0) {
        status = e4_store_each(store, E4_WORK, sweep_one, store, err);
    }
    if (status == 0) {
        status = probe_clone(store, err);
    }
    if (status != 0) {
        e4_store_close(store);
        return status;
    }
    *ret = store;
    return 0;
}

void
e4_store_close(struct e4_store *store)
{
    if (store == NULL) {
        return;
    }
    for (struct e4_job *job = store->jobs, *next; job != NULL; job = next) {
        next = job->next;
        free(job);
    }
    for (int i = 0; i < E4_PLACES; i++) {
        if (store->folders[i] >= 0) {
            (void) close(store->folders[i]);
        }
    }
    if (store->lock >= 0) {
        (void) close(store->lock);
    }
    free(store->root);
    free(store);
}
