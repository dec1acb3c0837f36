/*
 * Opening a data root: folders, the lock that makes one ctrd its owner, and the sweep of what an interrupted run left.
 *
 * Ingests of a known digest stay for a later resume for INGEST_DAYS; nameless ones and temporary files go at once. Nothing
 * that carries user data is ever removed here.
 */
#include "core/store/store-priv.h"
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define INGEST_DAYS 7

static int
store_make_folders(struct ctr_store *store, struct ctr_error *err)
{
    static const char *const below[] = {"", "/images", "/images/blobs", "/images/blobs/sha256",
                                        "/images/ingest"};
    for (size_t i = 0; i < CTR_LENGTH(below); i++) {
        CTR_AUTO(free) char *path = ctr_printf("%s%s", store->data, below[i]);
        if (path == NULL) {
            return ctr_fail(err, -ENOMEM, "open data root %s: out of memory", store->data);
        }
        int rc = ctr_mkdirs(path, 0700, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int
store_lock(struct ctr_store *store, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/lock", store->data);
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "lock data root %s: out of memory", store->data);
    }
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock < 0) {
        return ctr_fail(err, -errno, "lock data root: open %s: %s", path, strerror(errno));
    }
    if (flock(store->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK) {
            return ctr_fail(err, -errno, "lock data root: flock %s: %s", path, strerror(errno));
        }
        char owner[24] = "";
        ssize_t n = pread(store->lock, owner, sizeof owner - 1, 0);
        owner[n > 0 ? strspn(owner, "0123456789") : 0] = '\0';
        return ctr_fail(
            err, -EBUSY,
            "data root %s is in use by another ctrd (pid %s); stop that one, or choose "
            "another data root with [engine] data",
            store->data, owner[0] != '\0' ? owner : "unknown");
    }
    char pid[24];
    int n = snprintf(pid, sizeof pid, "%ld\n", (long) getpid());
    if (ftruncate(store->lock, 0) < 0 || pwrite(store->lock, pid, (size_t) n, 0) != n) {
        return ctr_fail(err, -errno, "lock data root: write %s: %s", path, strerror(errno));
    }
    return 0;
}

static int
store_open_folder(const struct ctr_store *store, const char *below, int *ret_fd,
                  struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/%s", store->data, below);
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "open data root %s: out of memory", store->data);
    }
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (*ret_fd < 0) {
        return ctr_fail(err, -errno, "open %s: %s", path, strerror(errno));
    }
    return 0;
}

/* Not an ingest that a later pull can go on with. */
static bool
ingest_is_over(int folder, const char *name)
{
    struct stat st;
    if (!ctr_starts_with(name, "sha256-") || !ctr_is_hex(name + 7, 64) ||
        fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
    }
    return !S_ISREG(st.st_mode) ||
           st.st_mtime <= time(NULL) - (time_t) INGEST_DAYS * 24 * 60 * 60;
}

/* What a killed ctr_write_file leaves. */
static bool
is_half_written(int folder, const char *name)
{
    return ctr_starts_with(name, ".tmp-");
}

static void
store_sweep(int folder, const char *below, bool (*goes)(int folder, const char *name))
{
    int fd = openat(folder, below, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CTR_AUTO(dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0) {
            (void) close(fd);
        }
        return;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (goes(fd, entry->d_name)) {
            (void) unlinkat(fd, entry->d_name, 0);
        }
    }
}

static int
store_open_parts(struct ctr_store *store, struct ctr_error *err)
{
    int rc = store_make_folders(store, err);
    if (rc == 0) {
        rc = store_lock(store, err);
    }
    if (rc == 0) {
        rc = store_open_folder(store, "images/blobs/sha256", &store->blobs, err);
    }
    if (rc == 0) {
        rc = store_open_folder(store, "images/ingest", &store->incoming, err);
    }
    if (rc == 0) {
        store_sweep(store->incoming, ".", ingest_is_over);
        store_sweep(store->incoming, "..", is_half_written);
        rc = store_open_db(store, err);
    }
    if (rc == 0) {
        rc = store_init_layout(store, err);
    }
    return rc < 0 ? rc : ctr_sync_dir(store->data, err);
}

int
ctr_store_open(const char *data, struct ctr_store **ret, struct ctr_error *err)
{
    struct ctr_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return ctr_fail(err, -ENOMEM, "open data root %s: out of memory", data);
    }
    store->lock = store->blobs = store->incoming = -1;
    (void) pthread_mutex_init(&store->mutex, NULL);
    (void) pthread_mutex_init(&store->index_mutex, NULL);
    (void) pthread_cond_init(&store->ingest_ended, NULL);
    store->data = strdup(data);
    store->images = ctr_printf("%s/images", data);
    int rc = 0;
    if (store->data == NULL || store->images == NULL) {
        rc = ctr_fail(err, -ENOMEM, "open data root %s: out of memory", data);
    } else {
        rc = store_open_parts(store, err);
    }
    if (rc < 0) {
        ctr_store_close(store);
        return rc;
    }
    *ret = store;
    return 0;
}

void
ctr_store_close(struct ctr_store *store)
{
    if (store == NULL) {
        return;
    }
    while (store->ingests != NULL) {
        ctr_ingest_abort(store->ingests, true);
    }
    store_close_db(store);
    if (store->incoming >= 0) {
        (void) close(store->incoming);
    }
    if (store->blobs >= 0) {
        (void) close(store->blobs);
    }
    if (store->lock >= 0) {
        (void) close(store->lock);
    }
    (void) pthread_cond_destroy(&store->ingest_ended);
    (void) pthread_mutex_destroy(&store->index_mutex);
    (void) pthread_mutex_destroy(&store->mutex);
    free(store->images);
    free(store->data);
    free(store);
}

const char *
ctr_store_data(const struct ctr_store *store)
{
    return store->data;
}
