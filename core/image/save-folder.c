/*
 * A folder on its way out: an OCI layout that is new, or one that is there already and is added to. Each file is written beside its place,
 * synced and renamed, index.json last: whatever ends the save early, the layout lists what it did. One save at a time: the folder is locked.
 */
#include "core/image/save.h"
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define FOLDER_NEW ".ctr-new" /* a file that is being written */

struct folder {
    struct save *save;
    int at; /* the folder's descriptor */
};

static bool
folder_is_empty(int at)
{
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CTR_AUTO(dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0) {
            (void) close(fd);
        }
        return false;
    }
    size_t n = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
             strcmp(entry->d_name, FOLDER_NEW) != 0;
    }
    return n == 0;
}

/* A small file of the layout; caller frees. -ENOENT: there is none. */
static int
folder_read(int at, const char *name, char **ret, size_t *ret_length, struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return ctr_fail(err, -errno, "%s of the folder: %s", name, strerror(errno));
    }
    if (!S_ISREG(st.st_mode) || (uint64_t) st.st_size > CTR_MAX_DOCUMENT) {
        return ctr_fail(err, -EINVAL, "%s of the folder is no small file", name);
    }
    CTR_AUTO(free) char *bytes = malloc((size_t) st.st_size + 1);
    if (bytes == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = ctr_read_all(fd, bytes, (size_t) st.st_size, ret_length);
    if (rc < 0) {
        return ctr_fail(err, rc, "%s of the folder: %s", name, strerror(-rc));
    }
    *ret = ctr_steal(&bytes);
    return 0;
}

int
save_folder_begin(struct save *save, int folder, struct ctr_error *err)
{
    CTR_AUTO(free) char *layout = NULL;
    CTR_AUTO(free) char *index = NULL;
    size_t length = 0;
    struct ctr_error inner = CTR_ERROR_INIT;
    if (flock(folder, LOCK_EX | LOCK_NB) < 0) {
        return ctr_fail(err, errno == EWOULDBLOCK ? -EBUSY : -errno,
                        "lock the folder: %s; is another save writing there?", strerror(errno));
    }
    int rc = folder_read(folder, "oci-layout", &layout, &length, &inner);
    if (rc == -ENOENT && folder_is_empty(folder)) {
        return 0;
    }
    if (rc < 0) {
        return ctr_fail(err, -ENOTEMPTY,
                        "the folder is neither empty nor an OCI layout; name another one");
    }
    rc = folder_read(folder, "index.json", &index, &length, err);
    if (rc == -ENOENT) {
        return 0; /* an earlier save was cut short */
    }
    json_t *there = NULL;
    rc = rc < 0 ? rc : ctr_manifest_check(index, length, NULL, &there, err);
    if (rc == 0 && manifest_kind(there) != MEDIA_INDEX) {
        json_decref(there);
        rc = ctr_fail(err, -EBADMSG, "it is no list of images");
    }
    if (rc < 0) {
        return ctr_prefix(err, "the folder cannot be added to: index.json");
    }
    json_decref(save->index);
    save->index = there;
    return 0;
}

/* Takes the finished new file to its place. */
static int
folder_place(const struct folder *folder, int fd, const char *name, struct ctr_error *err)
{
    if (ctr_sync_fd(fd) < 0 || renameat(folder->at, FOLDER_NEW, folder->at, name) < 0) {
        return ctr_fail(err, -errno, "write %s: %s", name, strerror(errno));
    }
    return 0;
}

static int
folder_create(const struct folder *folder, int *ret_fd, struct ctr_error *err)
{
    (void) unlinkat(folder->at, FOLDER_NEW, 0);
    *ret_fd = openat(folder->at, FOLDER_NEW,
                     O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    return *ret_fd < 0
               ? ctr_fail(err, -errno, "create a file in the folder: %s", strerror(errno))
               : 0;
}

static int
folder_text(const struct folder *folder, const char *name, const char *text,
            struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = -1;
    int rc = text == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                          : folder_create(folder, &fd, err);
    rc = rc < 0 ? rc : stream_write(&folder->save->op, fd, text, strlen(text), err);
    return rc < 0 ? rc : folder_place(folder, fd, name, err);
}

/* Does the layout have the blob, and whole? */
static bool
folder_has(const struct folder *folder, const char *name, const char *digest)
{
    CTR_AUTO(fd)
    int fd = openat(folder->at, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    CTR_AUTO(free) char *piece = malloc(STREAM_PIECE);
    struct ctr_sha256 *sha = ctr_sha256_create();
    struct stat st;
    char found[72] = "";
    size_t n = STREAM_PIECE;
    bool ok =
        fd >= 0 && piece != NULL && sha != NULL && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    while (ok && n == STREAM_PIECE) {
        ok = !ctr_transfer_cancelled(&folder->save->op.transfer) &&
             ctr_read_all(fd, piece, STREAM_PIECE, &n) == 0;
        if (ok) {
            ctr_sha256_add(sha, piece, n);
        }
    }
    if (ok) {
        ctr_sha256_finish(sha, found);
    }
    ctr_sha256_destroy(sha);
    return ok && strcmp(found, digest) == 0;
}

struct folder_file {
    struct image_op *op;
    int fd;
};

static int
folder_sink(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    const struct folder_file *file = arg;
    return stream_write(file->op, file->fd, bytes, length, err);
}

static int
folder_blob(const struct folder *folder, const char *digest, struct ctr_error *err)
{
    char name[100];
    (void) snprintf(name, sizeof name, "blobs/sha256/%.64s", digest + 7);
    if (folder_has(folder, name, digest)) {
        ctr_transfer_step(&folder->save->op.transfer, digest, "Already exists", 0, 0);
        return 0;
    }
    struct folder_file file = {.op = &folder->save->op, .fd = -1};
    int rc = folder_create(folder, &file.fd, err);
    if (rc < 0) {
        return rc;
    }
    rc = stream_blob(file.op, digest, "Saving", folder_sink, &file, err);
    rc = rc < 0 ? rc : folder_place(folder, file.fd, name, err);
    (void) close(file.fd);
    return rc;
}

static int
folder_mkdir(const struct folder *folder, const char *name, struct ctr_error *err)
{
    struct stat st;
    bool ok = mkdirat(folder->at, name, 0755) == 0 || errno == EEXIST;
    if (!ok || fstatat(folder->at, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return ctr_fail(err, -errno, "make the folder's %s: %s", name, strerror(errno));
    }
    return S_ISDIR(st.st_mode) ? 0
                               : ctr_fail(err, -ENOTDIR, "%s in the folder is no folder", name);
}

static int
folder_sync(const struct folder *folder, const char *name, struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = openat(folder->at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || ctr_sync_fd(fd) < 0
               ? ctr_fail(err, -errno, "sync the folder: %s", strerror(errno))
               : 0;
}

static int
folder_write(const struct folder *folder, struct ctr_error *err)
{
    const struct save *save = folder->save;
    int rc = folder_text(folder, "oci-layout", SAVE_LAYOUT, err);
    rc = rc < 0 ? rc : folder_mkdir(folder, "blobs", err);
    rc = rc < 0 ? rc : folder_mkdir(folder, "blobs/sha256", err);
    const char *digest = NULL;
    json_t *value = NULL;
    json_object_foreach(save->blobs, digest, value)
    {
        rc = rc < 0 ? rc : folder_blob(folder, digest, err);
    }
    CTR_AUTO(free) char *index = ctr_json_text(save->index);
    rc = rc < 0 ? rc : folder_sync(folder, "blobs/sha256", err);
    rc = rc < 0 ? rc : folder_sync(folder, "blobs", err);
    rc = rc < 0 ? rc : folder_text(folder, "index.json", index, err);
    return rc < 0 ? rc : folder_sync(folder, ".", err);
}

int
save_folder(struct save *save, int folder, struct ctr_error *err)
{
    struct folder one = {.save = save, .at = folder};
    int rc = folder_write(&one, err);
    if (rc < 0) {
        (void) unlinkat(folder, FOLDER_NEW, 0);
    }
    (void) flock(folder, LOCK_UN);
    return rc;
}
