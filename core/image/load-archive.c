/*
 * Archives from a stream: tar, plain or in gzip or zstd, read once with libarchive. Files go straight into the store, nothing
 * is written anywhere else and no name of the archive becomes a path. Links are never followed: docker's older archives
 * name a repeated layer by one, which is looked up among the archive's own names; all others are refused.
 */
#include "core/image/load.h"
#include "core/image/stream.h"
#include <archive.h>
#include <archive_entry.h>

#define ARCHIVE_PIECE ((size_t) 256 << 10)
#define ARCHIVE_MAX_ENTRIES 100000

struct unpacker {
    struct load *load;
    struct archive *archive;
    int fd;
    char *piece;                     /* what libarchive reads from */
    char *out;                       /* what it gives */
    char *index, *manifest, *layout; /* small files, or NULL */
    size_t index_length, manifest_length, layout_length;
    uint64_t bytes;
    size_t entries;
};

/* libarchive's source. */
static la_ssize_t
on_read(struct archive *archive, void *arg, const void **ret)
{
    struct unpacker *unpacker = arg;
    struct ctr_error err = CTR_ERROR_INIT;
    ssize_t n =
        stream_read(&unpacker->load->op, unpacker->fd, unpacker->piece, ARCHIVE_PIECE, &err);
    if (n < 0) {
        archive_set_error(archive, (int) -n, "%s", err.msg);
        return -1;
    }
    *ret = unpacker->piece;
    return n;
}

static int
unpacker_fail(struct unpacker *unpacker, struct ctr_error *err)
{
    if (ctr_transfer_cancelled(&unpacker->load->op.transfer)) {
        return ctr_fail_cancelled(err);
    }
    const char *why = archive_error_string(unpacker->archive);
    return ctr_fail(err, -EBADMSG,
                    "the archive cannot be read: %.300s; is it a tar file, whole?",
                    why != NULL ? why : "no reason given");
}

/* A relative path without "." and "..", into ret[capacity]. `at`: the folder that it starts from, for links. */
static bool
clean_path(const char *at, const char *path, char *ret, size_t capacity)
{
    int n = path[0] == '/' ? -1 : snprintf(ret, capacity, "%s", at);
    size_t length = n >= 0 && (size_t) n < capacity ? (size_t) n : capacity;
    while (length < capacity && *path != '\0') {
        size_t word = strcspn(path, "/");
        bool up = word == 2 && path[0] == '.' && path[1] == '.';
        if (up && length == 0) {
            return false;
        }
        if (up) {
            char *slash = strrchr(ret, '/');
            length = slash != NULL ? (size_t) (slash - ret) : 0;
            ret[length] = '\0';
        } else if (word > 0 && !(word == 1 && path[0] == '.')) {
            n = snprintf(ret + length, capacity - length, "%s%.*s", length > 0 ? "/" : "",
                         (int) word, path);
            length = n > 0 && (size_t) n < capacity - length ? length + (size_t) n : capacity;
        }
        path += word;
        path += strspn(path, "/");
    }
    return length < capacity;
}

static bool
has_dotdot(const char *path)
{
    for (size_t n = 0; *path != '\0'; path += n + (path[n] == '/')) {
        n = strcspn(path, "/");
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            return true;
        }
    }
    return false;
}

static int
unpacker_note(struct unpacker *unpacker, const char *path, const char *digest, uint64_t size,
              struct ctr_error *err)
{
    json_t *file = json_pack("{s:s, s:I}", "digest", digest, "size", (json_int_t) size);
    if (json_object_get(unpacker->load->files, path) != NULL) {
        json_decref(file);
        return ctr_fail(err, -EBADMSG, "the archive has two files \"%.200s\"", path);
    }
    return json_object_set_new(unpacker->load->files, path, file) < 0
               ? ctr_fail(err, -ENOMEM, "out of memory")
               : 0;
}

/* docker's link from <id>/layer.tar to another layer of the same archive. */
static int
unpacker_link(struct unpacker *unpacker, const char *path, const char *target,
              struct ctr_error *err)
{
    char folder[512], to[512];
    (void) snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    *(slash != NULL ? slash : folder) = '\0';
    if (target == NULL || !ctr_ends_with(path, "/layer.tar") ||
        !clean_path(folder, target, to, sizeof to)) {
        return ctr_fail(err, -EPERM, "the archive has a link \"%.200s\": refused", path);
    }
    json_t *link = json_pack("{s:s}", "link", to);
    return json_object_set_new(unpacker->load->files, path, link) < 0
               ? ctr_fail(err, -ENOMEM, "out of memory")
               : 0;
}

static int
unpacker_small(struct unpacker *unpacker, char **ret, size_t *ret_length, struct ctr_error *err)
{
    CTR_AUTO(buf) struct ctr_buf text = {0};
    la_ssize_t n = 0;
    while ((n = archive_read_data(unpacker->archive, unpacker->out, ARCHIVE_PIECE)) > 0) {
        if (text.length + (size_t) n > CTR_MAX_DOCUMENT) {
            return ctr_fail(err, -EFBIG, "a document of the archive is larger than 4 MiB");
        }
        ctr_buf_add(&text, unpacker->out, (size_t) n);
    }
    if (n < 0) {
        return unpacker_fail(unpacker, err);
    }
    free(*ret);
    *ret_length = text.length;
    *ret = ctr_buf_take(&text);
    return *ret == NULL ? ctr_fail(err, -EBADMSG, "a document of the archive is empty") : 0;
}

static int
unpacker_copy(struct unpacker *unpacker, struct ctr_ingest *ingest, const char *path,
              struct ctr_error *err)
{
    const struct ctr_conf *conf = unpacker->load->op.images->conf;
    uint64_t max = conf != NULL ? conf->engine.max_image : 0;
    la_ssize_t n = 0;
    while ((n = archive_read_data(unpacker->archive, unpacker->out, ARCHIVE_PIECE)) > 0) {
        unpacker->bytes += (uint64_t) n;
        if (max > 0 && unpacker->bytes > max) {
            return ctr_fail(
                err, -EFBIG,
                "the archive has more than %llu bytes; raise [engine] max_image if that is "
                "right",
                (unsigned long long) max);
        }
        int rc = ctr_ingest_write(ingest, unpacker->out, (size_t) n, err);
        if (rc < 0) {
            return ctr_prefix(err, "\"%.200s\"", path);
        }
    }
    return n < 0 ? unpacker_fail(unpacker, err) : 0;
}

/* A blob by its name, or a loose file whose digest is to be learnt. */
static int
unpacker_blob(struct unpacker *unpacker, const char *path, const char *digest,
              struct ctr_error *err)
{
    struct ctr_store *store = unpacker->load->op.images->store;
    uint64_t size = 0, offset = 0;
    if (digest != NULL && ctr_blob_exists(store, digest, &size)) {
        return unpacker_note(unpacker, path, digest, size, err);
    }
    struct ctr_ingest *ingest = NULL;
    int rc = ctr_ingest_open(store, NULL, -1, &ingest, &offset, err);
    if (rc < 0) {
        return rc;
    }
    uint64_t before = unpacker->bytes;
    ctr_transfer_step(&unpacker->load->op.transfer, digest, "Loading layer", 0, 0);
    rc = unpacker_copy(unpacker, ingest, path, err);
    if (rc < 0) {
        ctr_ingest_abort(ingest, false);
        return rc;
    }
    char found[72];
    rc = ctr_ingest_commit(ingest, found, err);
    if (rc == 0 && digest != NULL && strcmp(found, digest) != 0) {
        rc = ctr_fail(err, -EBADMSG, "blob %s of the archive hashes to %s", digest, found);
    }
    return rc < 0 ? rc : unpacker_note(unpacker, path, found, unpacker->bytes - before, err);
}

static int
unpacker_file(struct unpacker *unpacker, const char *path, struct ctr_error *err)
{
    static const char blobs[] = "blobs/sha256/";
    if (strcmp(path, "index.json") == 0) {
        return unpacker_small(unpacker, &unpacker->index, &unpacker->index_length, err);
    }
    if (strcmp(path, "manifest.json") == 0) {
        return unpacker_small(unpacker, &unpacker->manifest, &unpacker->manifest_length, err);
    }
    if (strcmp(path, "oci-layout") == 0) {
        return unpacker_small(unpacker, &unpacker->layout, &unpacker->layout_length, err);
    }
    if (ctr_starts_with(path, blobs)) {
        char digest[600];
        (void) snprintf(digest, sizeof digest, "sha256:%s", path + sizeof blobs - 1);
        if (!ctr_is_digest(digest)) {
            return ctr_fail(err, -EBADMSG, "the archive has a blob that is named \"%.100s\"",
                            path);
        }
        return unpacker_blob(unpacker, path, digest, err);
    }
    if (ctr_ends_with(path, ".json") || ctr_ends_with(path, ".tar")) {
        return unpacker_blob(unpacker, path, NULL, err);
    }
    return 0; /* VERSION, repositories, a layer's old "json": nothing that is needed */
}

static int
unpacker_entry(struct unpacker *unpacker, struct archive_entry *entry, struct ctr_error *err)
{
    const char *raw = archive_entry_pathname(entry);
    char path[512];
    if (++unpacker->entries > ARCHIVE_MAX_ENTRIES) {
        return ctr_fail(err, -EFBIG, "the archive has more than %d entries",
                        ARCHIVE_MAX_ENTRIES);
    }
    if (raw == NULL || has_dotdot(raw) || !clean_path("", raw, path, sizeof path)) {
        return ctr_fail(err, -EPERM, "the archive has an entry \"%.200s\": refused",
                        raw != NULL ? raw : "");
    }
    mode_t type = archive_entry_filetype(entry);
    if (archive_entry_hardlink(entry) != NULL) {
        return ctr_fail(err, -EPERM, "the archive has a hard link \"%.200s\": refused", path);
    }
    if (type == AE_IFLNK) {
        return unpacker_link(unpacker, path, archive_entry_symlink(entry), err);
    }
    if (type == AE_IFDIR) {
        return 0;
    }
    if (type != AE_IFREG) {
        return ctr_fail(err, -EPERM, "the archive has a special file \"%.200s\": refused",
                        path);
    }
    return unpacker_file(unpacker, path, err);
}

static int
unpacker_walk(struct unpacker *unpacker, struct ctr_error *err)
{
    for (;;) {
        struct archive_entry *entry = NULL;
        int status = archive_read_next_header(unpacker->archive, &entry);
        if (status == ARCHIVE_EOF) {
            return unpacker->entries > 0 ? 0 : ctr_fail(err, -EBADMSG, "the archive is empty");
        }
        if (status != ARCHIVE_OK && status != ARCHIVE_WARN) {
            return unpacker_fail(unpacker, err);
        }
        int rc = unpacker_entry(unpacker, entry, err);
        if (rc < 0) {
            return rc;
        }
    }
}

static int
unpacker_open(struct unpacker *unpacker, struct ctr_error *err)
{
    unpacker->piece = malloc(ARCHIVE_PIECE);
    unpacker->out = malloc(ARCHIVE_PIECE);
    unpacker->archive = archive_read_new();
    if (unpacker->piece == NULL || unpacker->out == NULL || unpacker->archive == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (archive_read_support_format_tar(unpacker->archive) != ARCHIVE_OK ||
        archive_read_support_filter_gzip(unpacker->archive) != ARCHIVE_OK ||
        archive_read_support_filter_zstd(unpacker->archive) != ARCHIVE_OK ||
        archive_read_open(unpacker->archive, unpacker, NULL, on_read, NULL) != ARCHIVE_OK) {
        return unpacker_fail(unpacker, err);
    }
    return 0;
}

static void
unpacker_close(struct unpacker *unpacker)
{
    (void) archive_read_free(unpacker->archive);
    free(unpacker->piece);
    free(unpacker->out);
    free(unpacker->index);
    free(unpacker->manifest);
    free(unpacker->layout);
}

/* An archive's blobs are in the store already, those that its files brought. */
static int
archive_fetch(struct load *load, const char *digest, uint64_t size, struct ctr_error *err)
{
    char path[96];
    (void) snprintf(path, sizeof path, "blobs/sha256/%s", digest + 7);
    const json_t *file = json_object_get(load->files, path);
    if (file == NULL) {
        return ctr_fail(err, -ENOENT, "the archive lacks blob %s", digest);
    }
    if ((uint64_t) ctr_json_int(file, "size", 0) != size) {
        return ctr_fail(err, -EBADMSG, "blob %s has %lld bytes, not %llu", digest,
                        (long long) ctr_json_int(file, "size", 0), (unsigned long long) size);
    }
    return 0;
}

static int
archive_load(struct load *load, int fd, struct ctr_error *err)
{
    struct unpacker unpacker = {.load = load, .fd = fd};
    load->fetch = archive_fetch;
    int rc = unpacker_open(&unpacker, err);
    rc = rc < 0 ? rc : unpacker_walk(&unpacker, err);
    if (rc == 0 && unpacker.index != NULL && unpacker.layout != NULL) {
        rc = load_layout(load, unpacker.index, unpacker.index_length, err);
    } else if (rc == 0 && unpacker.manifest != NULL) {
        rc = load_docker(load, unpacker.manifest, unpacker.manifest_length, err);
    } else if (rc == 0) {
        rc = ctr_fail(err, -EBADMSG,
                      "it is neither an OCI archive (index.json and oci-layout) nor docker's "
                      "(manifest.json)");
    }
    unpacker_close(&unpacker);
    return rc;
}

int
ctr_image_load_fd(struct ctr_images *images, int fd, struct ctr_storage *storage,
                  const struct ctr_progress *progress,
                  void (*loaded)(void *arg, const char *reference), void *arg,
                  struct ctr_error *err)
{
    struct load load = {.folder = -1};
    struct ctr_error inner = CTR_ERROR_INIT;
    int rc = load_open(&load, images, storage, progress, loaded, arg, &inner);
    if (rc == 0) {
        rc = archive_load(&load, fd, &inner);
        rc = load_close(&load, rc, "load archive", &inner);
    }
    return rc < 0 ? ctr_fail(err, rc, "%s", inner.msg) : 0;
}
