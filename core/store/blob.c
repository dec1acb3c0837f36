/*
 * Finished blobs: images/blobs/sha256/<hex>. A digest's grammar is checked before a file name is made of it. A blob whose
 * bytes no longer hash to its name is set aside, so that the next pull fetches it anew.
 */
#include "core/store/store-priv.h"
#include <fcntl.h>
#include <sys/stat.h>

static int
blob_check_digest(const char *digest, struct ctr_error *err)
{
    if (!ctr_is_digest(digest)) {
        return ctr_fail(err, -EINVAL, "blob \"%.80s\": no sha256 digest", digest);
    }
    return 0;
}

bool
ctr_blob_exists(struct ctr_store *store, const char *digest, uint64_t *ret_size)
{
    struct stat st;
    if (!ctr_is_digest(digest) ||
        fstatat(store->blobs, digest + 7, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode)) {
        return false;
    }
    if (ret_size != NULL) {
        *ret_size = (uint64_t) st.st_size;
    }
    return true;
}

int
ctr_blob_open(struct ctr_store *store, const char *digest, int *ret_fd, uint64_t *ret_size,
              struct ctr_error *err)
{
    int rc = blob_check_digest(digest, err);
    if (rc < 0) {
        return rc;
    }
    CTR_AUTO(fd) int fd = openat(store->blobs, digest + 7, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return ctr_fail(err, -errno, "blob %s in %s: %s", digest, store->images,
                        errno == ENOENT ? "not there" : strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return ctr_fail(err, -EBADMSG, "blob %s in %s: not a file", digest, store->images);
    }
    if (ret_size != NULL) {
        *ret_size = (uint64_t) st.st_size;
    }
    *ret_fd = ctr_steal_fd(&fd);
    return 0;
}

int
ctr_blob_set_aside(struct ctr_store *store, const char *digest)
{
    if (!ctr_is_digest(digest)) {
        return -EINVAL;
    }
    CTR_AUTO(free) char *folder = ctr_printf("%s/damaged", store->images);
    CTR_AUTO(free) char *to = folder != NULL ? ctr_printf("%s/%s", folder, digest + 7) : NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    if (to == NULL || ctr_mkdirs(folder, 0700, &err) < 0 ||
        renameat(store->blobs, digest + 7, AT_FDCWD, to) < 0) {
        return -EIO;
    }
    (void) ctr_sync_fd(store->blobs);
    ctr_log(CTR_LEVEL_ERROR, "event=damaged-blob digest=%s moved_to=%s", digest, to);
    return 0;
}

int
ctr_blob_read(struct ctr_store *store, const char *digest, size_t max, char **ret,
              size_t *ret_length, struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = -1;
    uint64_t size = 0;
    int rc = ctr_blob_open(store, digest, &fd, &size, err);
    if (rc < 0) {
        return rc;
    }
    if (size > max) {
        return ctr_fail(err, -EFBIG, "blob %s has %llu bytes; %zu are allowed here", digest,
                        (unsigned long long) size, max);
    }
    CTR_AUTO(free) char *bytes = malloc((size_t) size + 1);
    struct ctr_sha256 *sha = ctr_sha256_create();
    if (bytes == NULL || sha == NULL) {
        ctr_sha256_destroy(sha);
        return ctr_fail(err, -ENOMEM, "read blob %s: out of memory", digest);
    }
    size_t length = 0;
    rc = ctr_read_all(fd, bytes, (size_t) size, &length);
    char found[72];
    ctr_sha256_add(sha, bytes, length);
    ctr_sha256_finish(sha, found);
    ctr_sha256_destroy(sha);
    if (rc < 0) {
        return ctr_fail(err, rc, "read blob %s: %s", digest, strerror(-rc));
    }
    if (strcmp(found, digest) != 0) {
        (void) ctr_blob_set_aside(store, digest);
        return ctr_fail(err, -EBADMSG,
                        "blob %s in %s is damaged and was set aside; pull the image again",
                        digest, store->images);
    }
    bytes[length] = '\0';
    *ret = ctr_steal(&bytes);
    if (ret_length != NULL) {
        *ret_length = length;
    }
    return 0;
}

int
ctr_blob_put(struct ctr_store *store, const void *bytes, size_t length, char ret_digest[72],
             struct ctr_error *err)
{
    struct ctr_ingest *ingest = NULL;
    uint64_t offset = 0;
    int rc = ctr_ingest_open(store, NULL, (int64_t) length, &ingest, &offset, err);
    if (rc < 0) {
        return rc;
    }
    rc = ctr_ingest_write(ingest, bytes, length, err);
    if (rc < 0) {
        ctr_ingest_abort(ingest, false);
        return rc;
    }
    return ctr_ingest_commit(ingest, ret_digest, err);
}

int
ctr_blob_remove(struct ctr_store *store, const char *digest, struct ctr_error *err)
{
    int rc = blob_check_digest(digest, err);
    if (rc < 0) {
        return rc;
    }
    if (unlinkat(store->blobs, digest + 7, 0) < 0 && errno != ENOENT) {
        return ctr_fail(err, -errno, "remove blob %s: %s", digest, strerror(errno));
    }
    return 0;
}

int
ctr_blob_each(struct ctr_store *store,
              int (*each)(void *arg, const char *digest, uint64_t size), void *arg,
              struct ctr_error *err)
{
    int fd = openat(store->blobs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CTR_AUTO(dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int code = -errno;
        if (fd >= 0) {
            (void) close(fd);
        }
        return ctr_fail(err, code, "list %s/blobs/sha256: %s", store->images, strerror(-code));
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char digest[7 + sizeof entry->d_name];
        (void) snprintf(digest, sizeof digest, "sha256:%s", entry->d_name);
        uint64_t size = 0;
        if (ctr_blob_exists(store, digest, &size)) {
            int rc = each(arg, digest, size);
            if (rc != 0) {
                return rc;
            }
        }
    }
    return 0;
}
