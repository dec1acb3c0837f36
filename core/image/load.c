/* Loading: what folders and archives share, and the folder. */
#include "core/image/load.h"
#include "core/image/flow.h"
#include <fcntl.h>
#include <sys/stat.h>

int
load_open(struct load *load, struct ctr_images *images, struct ctr_storage *storage,
          const struct ctr_progress *progress, void (*loaded)(void *arg, const char *reference),
          void *arg, struct ctr_error *err)
{
    load->folder = -1;
    load->storage = storage;
    load->loaded = loaded;
    load->arg = arg;
    load->base = "";
    load->files = json_object();
    int rc = load->files == NULL ? ctr_fail(err, -ENOMEM, "load: out of memory")
                                 : op_init(&load->op, images, progress, err);
    if (rc < 0) {
        json_decref(load->files);
        return rc;
    }
    lease_all(&load->op); /* digests are not known before their bytes are there */
    return 0;
}

int
load_close(struct load *load, int rc, const char *what, struct ctr_error *err)
{
    struct ctr_images *images = load->op.images;
    op_finish(&load->op);
    json_decref(load->files);
    if (load->folder >= 0) {
        (void) close(load->folder);
    }
    if (rc < 0) {
        struct ctr_error left = CTR_ERROR_INIT;
        (void) image_collect(images, 0, &load->storage, load->storage != NULL ? 1 : 0, &left);
        return ctr_prefix(err, "%s", what);
    }
    return 0;
}

int
load_record(struct load *load, const char *reference, const char *digest,
            const char *media_type, uint64_t size, struct ctr_error *err)
{
    struct ctr_ref ref;
    CTR_AUTO(free) char *key = NULL;
    CTR_AUTO(free) char *name = NULL;
    if (reference != NULL) {
        int rc = ctr_ref_parse(reference, &ref, err);
        if (rc < 0) {
            return rc;
        }
        ref.digest[0] = '\0';
        if (ref.tag[0] == '\0') {
            memcpy(ref.tag, "latest", sizeof "latest");
        }
        key = ctr_ref_full(&ref);
        name = ctr_ref_short(&ref);
    } else {
        key = strdup(digest);
        name = strdup(digest);
    }
    if (key == NULL || name == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = image_record(load->op.images, key, digest, media_type, size, err);
    if (rc == 0) {
        load->n_loaded++;
        load->loaded(load->arg, name);
    }
    return rc;
}

/* Only what will run here is unpacked on the way. */
static struct ctr_storage *
load_storage(const struct load *load, const json_t *config)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    struct ctr_platform have, want;
    config_platform(config, &have);
    bool fits = image_platform(load->op.images, NULL, &want, &ignored) == 0 &&
                platform_score(&have, &want) > 0;
    return fits ? load->storage : NULL;
}

int
load_check_image(struct load *load, const json_t *manifest, const char *digest,
                 struct ctr_error *err)
{
    CTR_AUTO(json) json_t *config = image_config(load->op.images, manifest, err);
    if (config == NULL) {
        return err->code;
    }
    struct layers_job job = {.storage = load_storage(load, config),
                             .layers = json_object_get(manifest, "layers"),
                             .config = config,
                             .manifest = digest};
    struct ctr_error inner = CTR_ERROR_INIT;
    int rc = layers_run(&load->op, &job, &inner);
    return rc < 0 ? ctr_fail(err, rc == -ENOENT ? -EBADMSG : rc, "%s", inner.msg) : 0;
}

/* --- the folder --- */

int
load_open_file(int folder, const char *name, int *ret_fd, uint64_t *ret_size,
               struct ctr_error *err)
{
    CTR_AUTO(fd)
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return ctr_fail(err, -errno, "%s: %s", name, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return ctr_fail(err, -EBADMSG, "%s is not a file", name);
    }
    *ret_size = (uint64_t) st.st_size;
    *ret_fd = ctr_steal_fd(&fd);
    return 0;
}

int
load_small_file(int folder, const char *name, char **ret, size_t *ret_length,
                struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = -1;
    uint64_t size = 0;
    int rc = load_open_file(folder, name, &fd, &size, err);
    if (rc < 0) {
        return rc;
    }
    if (size > CTR_MAX_DOCUMENT) {
        return ctr_fail(err, -EFBIG, "%s is larger than 4 MiB", name);
    }
    CTR_AUTO(free) char *bytes = malloc((size_t) size + 1);
    if (bytes == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    rc = ctr_read_all(fd, bytes, (size_t) size, ret_length);
    if (rc < 0) {
        return ctr_fail(err, rc, "%s: %s", name, strerror(-rc));
    }
    bytes[*ret_length] = '\0';
    *ret = ctr_steal(&bytes);
    return 0;
}

static int
folder_copy(struct load *load, int fd, struct ctr_ingest *ingest, struct ctr_error *err)
{
    CTR_AUTO(free) char *piece = malloc((size_t) 256 << 10);
    int rc = ctr_ingest_restart(ingest, err);
    if (piece == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    while (rc == 0) {
        size_t n = 0;
        rc = ctr_read_all(fd, piece, (size_t) 256 << 10, &n);
        if (rc < 0) {
            return ctr_fail(err, rc, "read: %s", strerror(-rc));
        }
        if (n == 0) {
            return 0;
        }
        rc = ctr_transfer_cancelled(&load->op.transfer)
                 ? ctr_fail_cancelled(err)
                 : ctr_ingest_write(ingest, piece, n, err);
    }
    return rc;
}

static int
folder_fetch(struct load *load, const char *digest, uint64_t size, struct ctr_error *err)
{
    struct ctr_store *store = load->op.images->store;
    if (ctr_blob_exists(store, digest, NULL)) {
        return 0;
    }
    char name[96];
    (void) snprintf(name, sizeof name, "blobs/sha256/%s", digest + 7);
    CTR_AUTO(fd) int fd = -1;
    uint64_t have = 0, offset = 0;
    int rc = load_open_file(load->folder, name, &fd, &have, err);
    if (rc < 0) {
        return rc;
    }
    if (have != size) {
        return ctr_fail(err, -EBADMSG, "blob %s has %llu bytes, not %llu", digest,
                        (unsigned long long) have, (unsigned long long) size);
    }
    struct ctr_ingest *ingest = NULL;
    while ((rc = ctr_ingest_open(store, digest, (int64_t) size, &ingest, &offset, err)) ==
           -EBUSY) {
        if (ctr_transfer_cancelled(&load->op.transfer)) {
            return ctr_fail_cancelled(err);
        }
        ctr_ingest_wait(store, 200);
    }
    if (rc < 0) {
        return rc;
    }
    ctr_transfer_step(&load->op.transfer, digest, "Loading layer", 0, size);
    rc = folder_copy(load, fd, ingest, err);
    if (rc < 0) {
        ctr_ingest_abort(ingest, false);
        return rc;
    }
    return ctr_ingest_commit(ingest, NULL, err);
}

/* A path, or PATH:TAG where PATH:TAG itself is none; the TAG may have colons, too ("busybox:1.36"). */
static int
folder_open(struct load *load, char *path, struct ctr_error *err)
{
    load->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *end = path + strlen(path);
    for (char *at = end - 1; at > path && load->folder < 0 && errno == ENOENT; at--) {
        if (*at != ':') {
            continue;
        }
        *at = '\0';
        load->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (load->folder >= 0) {
            load->tag = at + 1;
        } else {
            *at = ':';
        }
    }
    if (load->folder < 0) {
        return ctr_fail(err, -errno, "%s", strerror(errno));
    }
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') {
        path[--n] = '\0';
    }
    const char *slash = strrchr(path, '/');
    load->base = slash != NULL ? slash + 1 : path;
    return 0;
}

static int
folder_load(struct load *load, char *path, struct ctr_error *err)
{
    CTR_AUTO(free) char *marker = NULL;
    CTR_AUTO(free) char *index = NULL;
    size_t length = 0;
    int rc = folder_open(load, path, err);
    if (rc < 0) {
        return rc;
    }
    struct ctr_error inner = CTR_ERROR_INIT;
    if (load_small_file(load->folder, "oci-layout", &marker, &length, &inner) < 0) {
        return ctr_fail(err, -EINVAL, "not an OCI layout (%s)", inner.msg);
    }
    rc = load_small_file(load->folder, "index.json", &index, &length, err);
    load->fetch = folder_fetch;
    return rc < 0 ? rc : load_layout(load, index, length, err);
}

int
ctr_image_load_dir(struct ctr_images *images, const char *path, struct ctr_storage *storage,
                   const struct ctr_progress *progress,
                   void (*loaded)(void *arg, const char *reference), void *arg,
                   struct ctr_error *err)
{
    struct load load = {.folder = -1};
    struct ctr_error inner = CTR_ERROR_INIT;
    CTR_AUTO(free) char *copy = strdup(path);
    int rc = copy == NULL ? ctr_fail(&inner, -ENOMEM, "out of memory")
                          : load_open(&load, images, storage, progress, loaded, arg, &inner);
    if (rc == 0) {
        CTR_AUTO(free) char *what = ctr_printf("load %.300s", path);
        rc = folder_load(&load, copy, &inner);
        rc = load_close(&load, rc, what != NULL ? what : "load", &inner);
    }
    return rc < 0 ? ctr_fail(err, rc, "%s", inner.msg) : 0;
}
