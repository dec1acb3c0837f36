/*
 * The walk of one layer's tar stream, over libarchive's tar reader.
 *
 * Invariants: only the tar format is enabled and no filter; the thread's locale is "C" during the walk, because
 * libarchive re-encodes and normalizes names in others (names that it then cannot convert come out as their raw bytes,
 * with a warning that we expect); any other warning is a refusal, so that nothing is lost silently; after a failure nothing more is asked of libarchive.
 * The bytes that one header may take (pax records, long names, sparse maps) are bounded, since libarchive holds them in memory.
 */
#include "layer-priv.h"
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#define READ_BYTES (128 * 1024)
#define TAR_BLOCK 512
#define HEADER_BYTES_MAX (1280 * 1024) /* of one entry: all headers before its content */
#define FILE_BYTES_MAX (1ULL << 62)
#define LINUX_MAJOR_MAX 0xfff
#define LINUX_MINOR_MAX 0xfffff

struct walk {
    int fd;
    char *buffer;
    struct archive *archive;
    const struct ctr_layer_ops *ops;
    void *arg;
    uint64_t max_bytes, max_entries;
    uint64_t bytes, entries;
    uint64_t header_bytes; /* read since the header's begin */
    uint64_t total;        /* read in all */
    bool delivered;        /* all content of the current entry was handed out */
    bool in_header;
    int read_error; /* of read(2), negative */
    struct layer_xattrs xattrs;
    char path[LAYER_PATH_MAX];
    char target[LAYER_PATH_MAX];
};

/* --- reading --- */

static ssize_t
read_some(struct walk *w)
{
    ssize_t n;
    do {
        n = read(w->fd, w->buffer, READ_BYTES);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        w->read_error = -errno;
    }
    return n;
}

/* Some writers (umoci's insert) end the stream right behind the last file's content, without padding or end mark; Go's reader
 * takes that. When all content has been handed out, zeros up to the block's end lose nothing. */
static la_ssize_t
pad(struct walk *w, const void **ret)
{
    static const char zeros[TAR_BLOCK];
    size_t n = TAR_BLOCK - w->total % TAR_BLOCK;
    w->total += n;
    *ret = zeros;
    return (la_ssize_t) n;
}

static la_ssize_t
on_read(struct archive *archive, void *arg, const void **ret)
{
    struct walk *w = arg;
    ssize_t n = read_some(w);
    if (n < 0) {
        archive_set_error(archive, -w->read_error, "read: %s", strerror(-w->read_error));
        return -1;
    }
    w->header_bytes += (uint64_t) n;
    w->total += (uint64_t) n;
    if (n == 0 && w->delivered && w->total % TAR_BLOCK != 0) {
        return pad(w, ret);
    }
    if (w->in_header && w->header_bytes > HEADER_BYTES_MAX) {
        archive_set_error(archive, E2BIG, "header of more than %d KiB",
                          HEADER_BYTES_MAX / 1024);
        return -1;
    }
    *ret = w->buffer;
    return n;
}

/* The mark is two blocks of zeros. libarchive is content with one, whatever follows: entries behind it would be lost without a word. */
static bool
is_lone_zero_block(struct walk *w)
{
    int64_t end = archive_filter_bytes(w->archive, 0);
    return end - archive_read_header_position(w->archive) == TAR_BLOCK &&
           (uint64_t) end < w->total;
}

/* Reads what stands behind the end-of-archive mark. */
static int
drain(struct walk *w, struct ctr_error *err)
{
    ssize_t n;
    if (is_lone_zero_block(w)) {
        return ctr_fail(err, -EBADMSG,
                        "layer is not a valid tar stream after entry \"%.200s\": more follows "
                        "behind half an end mark",
                        w->path);
    }
    do {
        n = read_some(w);
    } while (n > 0);
    return n == 0 ? 0
                  : ctr_fail(err, w->read_error, "read layer: %s", strerror(-w->read_error));
}

static int
fail_archive(struct walk *w, struct ctr_error *err)
{
    const char *text = archive_error_string(w->archive);
    if (w->read_error != 0) {
        return ctr_fail(err, w->read_error, "read layer: %s", strerror(-w->read_error));
    }
    if (archive_errno(w->archive) == ENOMEM) {
        return ctr_fail(err, -ENOMEM, "read layer: out of memory");
    }
    return ctr_fail(err, -EBADMSG, "layer is not a valid tar stream after entry \"%.200s\": %s",
                    w->path, text != NULL ? text : "unknown error");
}

static int
refuse(const char *path, const char *why, struct ctr_error *err)
{
    return ctr_fail(err, -EBADMSG, "layer entry \"%.300s\": %s", path, why);
}

/* --- one entry --- */

static int
entry_type(struct archive_entry *entry, uint32_t *ret)
{
    if (archive_entry_hardlink(entry) != NULL) {
        *ret = CTR_LAYER_HARDLINK;
        return 0;
    }
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        *ret = CTR_LAYER_FILE;
        return 0;
    case AE_IFDIR:
        *ret = CTR_LAYER_DIR;
        return 0;
    case AE_IFLNK:
        *ret = CTR_LAYER_SYMLINK;
        return 0;
    case AE_IFCHR:
        *ret = CTR_LAYER_CHAR;
        return 0;
    case AE_IFBLK:
        *ret = CTR_LAYER_BLOCK;
        return 0;
    case AE_IFIFO:
        *ret = CTR_LAYER_FIFO;
        return 0;
    default:
        return -EBADMSG;
    }
}

static int
fill_target(struct walk *w, struct archive_entry *entry, struct ctr_layer_entry *ret,
            struct ctr_error *err)
{
    if (ret->type == CTR_LAYER_SYMLINK) {
        const char *target = archive_entry_symlink(entry);
        if (target == NULL || target[0] == '\0' || strlen(target) >= LAYER_PATH_MAX) {
            return refuse(w->path, "symbolic link with an empty or too long target", err);
        }
        ret->target = target;
    } else if (ret->type == CTR_LAYER_HARDLINK) {
        int status =
            ctr_layer_clean(archive_entry_hardlink(entry), w->target, sizeof w->target);
        if (status != 0 || w->target[0] == '\0') {
            return refuse(w->path, "hard link whose target is not a path inside the image",
                          err);
        }
        ret->target = w->target;
    }
    return 0;
}

static int
fill_owner(struct walk *w, struct archive_entry *entry, struct ctr_layer_entry *ret,
           struct ctr_error *err)
{
    int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX) {
        return refuse(w->path, "owner out of range", err);
    }
    ret->uid = (uint32_t) uid;
    ret->gid = (uint32_t) gid;
    if (ret->type != CTR_LAYER_CHAR && ret->type != CTR_LAYER_BLOCK) {
        return 0;
    }
    uint64_t major = (uint64_t) archive_entry_rdevmajor(entry);
    uint64_t minor = (uint64_t) archive_entry_rdevminor(entry);
    if (major > LINUX_MAJOR_MAX || minor > LINUX_MINOR_MAX) {
        return refuse(w->path, "device number out of range", err);
    }
    ret->major = (uint32_t) major;
    ret->minor = (uint32_t) minor;
    return 0;
}

static int
fill_size(struct walk *w, struct archive_entry *entry, struct ctr_layer_entry *ret,
          struct ctr_error *err)
{
    int64_t bytes = archive_entry_size(entry);
    if (bytes < 0 || (uint64_t) bytes > FILE_BYTES_MAX) {
        return refuse(w->path, "impossible file size", err);
    }
    if (ret->type != CTR_LAYER_FILE) {
        return bytes == 0 ? 0 : refuse(w->path, "content in an entry that is not a file", err);
    }
    if (w->max_bytes != 0 && (uint64_t) bytes > w->max_bytes - w->bytes) {
        return ctr_fail(err, -EFBIG,
                        "layer entry \"%.200s\": files hold more than the limit of %llu bytes",
                        w->path, (unsigned long long) w->max_bytes);
    }
    w->bytes += (uint64_t) bytes;
    ret->bytes = (uint64_t) bytes;
    return 0;
}

/* libarchive gives "-1.5" as -1 and half a second: the fraction counts towards the past. */
static void
fill_time(struct archive_entry *entry, struct ctr_layer_entry *ret)
{
    const long second = 1000000000L;
    long nsec = archive_entry_mtime_nsec(entry);
    ret->mtime = archive_entry_mtime(entry);
    if (ret->mtime < 0 && nsec > 0 && nsec < second) {
        ret->mtime--;
        nsec = second - nsec;
    }
    ret->mtime_nsec = nsec >= 0 && nsec < second ? (uint32_t) nsec : 0;
}

static int
fill_entry(struct walk *w, struct archive_entry *entry, struct ctr_layer_entry *ret,
           struct ctr_error *err)
{
    *ret = (struct ctr_layer_entry){.size = sizeof *ret, .path = w->path};
    if (entry_type(entry, &ret->type) != 0) {
        return refuse(w->path, "unknown type of entry", err);
    }
    if (w->path[0] == '\0' && ret->type != CTR_LAYER_DIR) {
        return refuse("/", "the root must be a directory", err);
    }
    ret->mode = (uint32_t) archive_entry_perm(entry) & 07777;
    fill_time(entry, ret);
    int status = fill_owner(w, entry, ret, err);
    if (status == 0) {
        status = fill_target(w, entry, ret, err);
    }
    if (status == 0) {
        status = fill_size(w, entry, ret, err);
    }
    if (status == 0) {
        status = layer_xattrs_collect(entry, &w->xattrs, w->path, err);
    }
    if (status == 0) {
        status = layer_acls_apply(ret, &w->xattrs, err);
    }
    ret->n_xattrs = w->xattrs.n;
    ret->xattrs = w->xattrs.list;
    return status;
}

/* Hands the content out; offsets grow, and nothing lies behind the announced size. */
static int
walk_data(struct walk *w, uint64_t bytes, struct ctr_error *err)
{
    uint64_t end = 0;
    for (;;) {
        const void *piece = NULL;
        size_t length = 0;
        la_int64_t offset = 0;
        w->delivered = end == bytes;
        int status = archive_read_data_block(w->archive, &piece, &length, &offset);
        if (status == ARCHIVE_EOF) {
            return 0;
        }
        if (status != ARCHIVE_OK) {
            return fail_archive(w, err);
        }
        if (length == 0) {
            continue;
        }
        if (offset < 0 || (uint64_t) offset < end || (uint64_t) offset > bytes ||
            length > bytes - (uint64_t) offset) {
            return refuse(w->path, "sparse map that overlaps or exceeds the file", err);
        }
        end = (uint64_t) offset + length;
        status = w->ops->data(w->arg, piece, length, (uint64_t) offset, err);
        if (status != 0) {
            return status;
        }
    }
}

static int
walk_plain(struct walk *w, struct archive_entry *entry, struct ctr_error *err)
{
    struct ctr_layer_entry ours;
    int status = fill_entry(w, entry, &ours, err);
    if (status == 0) {
        status = w->ops->entry(w->arg, &ours, err);
    }
    if (status == 0 && ours.type == CTR_LAYER_FILE) {
        status = walk_data(w, ours.bytes, err);
        if (status == 0) {
            status = w->ops->end(w->arg, err);
        }
    }
    return status;
}

/* --- whiteouts --- */

static bool
is_whiteout(const char *name)
{
    return strncmp(name, ".wh.", 4) == 0;
}

/* AUFS's own files (".wh..wh.plnk" and the like) and all below them mean nothing to others. */
static bool
is_aufs(const char *path)
{
    for (const char *p = path; p != NULL; p = strchr(p, '/')) {
        p += *p == '/';
        if (strncmp(p, ".wh..wh.", 8) == 0 && strcmp(p, ".wh..wh..opq") != 0) {
            return true;
        }
    }
    return false;
}

/* A directory of that name could never be hidden by a later layer. */
static bool
has_whiteout_parent(const char *path)
{
    const char *base = layer_basename(path);
    for (const char *p = path; p < base; p = strchr(p, '/') + 1) {
        if (is_whiteout(p)) {
            return true;
        }
    }
    return false;
}

static int
walk_whiteout(struct walk *w, struct ctr_error *err)
{
    char *base = w->path + (layer_basename(w->path) - w->path);
    if (strcmp(base, ".wh..wh..opq") == 0) {
        base[base > w->path ? -1 : 0] = '\0';
        return w->ops->opaque(w->arg, w->path, err);
    }
    const char *hidden = base + 4;
    if (hidden[0] == '\0' || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0) {
        return refuse(w->path, "whiteout of an impossible name", err);
    }
    memmove(base, hidden, strlen(hidden) + 1);
    return w->ops->whiteout(w->arg, w->path, err);
}

static int
walk_entry(struct walk *w, struct archive_entry *entry, struct ctr_error *err)
{
    if (w->max_entries != 0 && w->entries >= w->max_entries) {
        return ctr_fail(err, -E2BIG, "layer has more than the limit of %llu entries",
                        (unsigned long long) w->max_entries);
    }
    w->entries++;
    const char *name = archive_entry_pathname(entry);
    if (name == NULL || name[0] == '\0') {
        return refuse(w->path, "the entry behind it has no readable name", err);
    }
    if (ctr_layer_clean(name, w->path, sizeof w->path) != 0) {
        return refuse(name, "path climbs out of the image or is too long", err);
    }
    if (is_aufs(w->path)) {
        return 0;
    }
    if (has_whiteout_parent(w->path)) {
        return refuse(w->path, "lies below a whiteout", err);
    }
    if (is_whiteout(layer_basename(w->path))) {
        return walk_whiteout(w, err);
    }
    return walk_plain(w, entry, err);
}

/* --- the walk --- */

/* Names in other encodings than the locale's come with this warning, as their raw bytes: that is what we want. */
static bool
is_harmless_warning(struct archive *archive)
{
    const char *text = archive_error_string(archive);
    return text != NULL && strstr(text, "can't be converted from") != NULL;
}

/* 1 with an entry, 0 at the end of the archive, or a negative code. */
static int
next_entry(struct walk *w, struct archive_entry **ret, struct ctr_error *err)
{
    w->in_header = w->delivered = true;
    w->header_bytes = 0;
    int status = archive_read_next_header(w->archive, ret);
    w->in_header = false;
    if (status == ARCHIVE_EOF) {
        return 0;
    }
    if (status == ARCHIVE_OK || (status == ARCHIVE_WARN && is_harmless_warning(w->archive))) {
        return 1;
    }
    return fail_archive(w, err);
}

static int
walk_archive(struct walk *w, struct ctr_error *err)
{
    for (;;) {
        struct archive_entry *entry = NULL;
        int status = next_entry(w, &entry, err);
        if (status == 0) {
            return drain(w, err);
        }
        if (status < 0) {
            return status;
        }
        status = walk_entry(w, entry, err);
        if (status != 0) {
            return status;
        }
        if (archive_read_data_skip(w->archive) < ARCHIVE_OK) {
            return fail_archive(w, err);
        }
    }
}

/* The first piece is read before the archive is opened: an empty stream is an empty layer, which libarchive would not know. */
struct first {
    struct walk *walk;
    ssize_t n; /* bytes of the first piece, -1 once it was handed out */
};

static la_ssize_t
on_first_read(struct archive *archive, void *arg, const void **ret)
{
    struct first *first = arg;
    if (first->n >= 0) {
        ssize_t n = first->n;
        first->n = -1;
        first->walk->header_bytes = first->walk->total = (uint64_t) n;
        *ret = first->walk->buffer;
        return n;
    }
    return on_read(archive, first->walk, ret);
}

static int
open_and_walk(struct walk *w, struct ctr_error *err)
{
    struct first first = {.walk = w, .n = read_some(w)};
    if (first.n < 0) {
        return ctr_fail(err, w->read_error, "read layer: %s", strerror(-w->read_error));
    }
    if (first.n == 0) {
        return 0;
    }
    (void) archive_read_support_format_tar(w->archive);
    (void) archive_read_set_format_option(w->archive, "tar", "mac-ext", NULL);
    if (archive_read_open(w->archive, &first, NULL, on_first_read, NULL) != ARCHIVE_OK) {
        return fail_archive(w, err);
    }
    return walk_archive(w, err);
}

int
ctr_layer_walk(int32_t fd, const struct ctr_layer_limits *limits,
               const struct ctr_layer_ops *ops, void *arg, struct ctr_error *err)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t) 0);
    struct walk *w = calloc(1, sizeof *w);
    char *buffer = malloc(READ_BYTES);
    struct archive *archive = archive_read_new();
    int status = 0;
    if (w == NULL || buffer == NULL || archive == NULL || plain == (locale_t) 0) {
        status = ctr_fail(err, -ENOMEM, "read layer: out of memory");
    } else {
        *w = (struct walk){
            .fd = fd, .buffer = buffer, .archive = archive, .ops = ops, .arg = arg};
        if (limits != NULL) {
            w->max_bytes = limits->max_bytes;
            w->max_entries = limits->max_entries;
        }
        locale_t before = uselocale(plain);
        status = open_and_walk(w, err);
        (void) uselocale(before);
    }
    if (archive != NULL) {
        (void) archive_read_free(archive);
    }
    if (plain != (locale_t) 0) {
        freelocale(plain);
    }
    free(buffer);
    free(w);
    return status;
}
