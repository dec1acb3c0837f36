/*
 * An archive on its way out: a ustar stream of plain files without times and owners, so that equal images give equal archives. The documents come
 * last: an archive that was cut has none.
 */
#include "core/image/save.h"

#define TAR_BLOCK 512

struct tar {
    struct image_op *op;
    int fd;
};

/* Octal in the field as ustar has it; a size of 8 GiB and more as GNU tar, Go and libarchive read it, big-endian with the top bit set. */
static void
tar_number(char *field, size_t width, uint64_t value)
{
    if (value >> (3 * (width - 1)) != 0) {
        memset(field, 0, width);
        field[0] = (char) 0x80;
        for (size_t i = width; value != 0; value >>= 8) {
            field[--i] = (char) (value & 0xff);
        }
        return;
    }
    for (size_t i = width - 1; i-- > 0; value >>= 3) {
        field[i] = (char) ('0' + (value & 7));
    }
}

static int
tar_header(struct tar *tar, const char *name, uint64_t size, struct ctr_error *err)
{
    char header[TAR_BLOCK] = "";
    (void) snprintf(header, 100, "%s", name);
    tar_number(header + 100, 8, 0644);
    tar_number(header + 108, 8, 0);
    tar_number(header + 116, 8, 0);
    tar_number(header + 124, 12, size);
    tar_number(header + 136, 12, 0);
    header[156] = '0';
    memcpy(header + 257, "ustar\00000", 8);
    memset(header + 148, ' ', 8);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof header; i++) {
        sum += (unsigned char) header[i];
    }
    tar_number(header + 148, 7, sum);
    header[154] = '\0';
    return stream_write(tar->op, tar->fd, header, sizeof header, err);
}

static int
tar_pad(struct tar *tar, uint64_t size, struct ctr_error *err)
{
    static const char zeros[TAR_BLOCK];
    size_t rest = (size_t) (size % TAR_BLOCK);
    return rest > 0 ? stream_write(tar->op, tar->fd, zeros, TAR_BLOCK - rest, err) : 0;
}

static int
tar_text(struct tar *tar, const char *name, const char *text, struct ctr_error *err)
{
    int rc = tar_header(tar, name, strlen(text), err);
    rc = rc < 0 ? rc : stream_write(tar->op, tar->fd, text, strlen(text), err);
    return rc < 0 ? rc : tar_pad(tar, strlen(text), err);
}

static int
tar_json(struct tar *tar, const char *name, const json_t *json, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = ctr_json_text(json);
    return text != NULL ? tar_text(tar, name, text, err)
                        : ctr_fail(err, -ENOMEM, "out of memory");
}

static int
tar_sink(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    const struct tar *tar = arg;
    return stream_write(tar->op, tar->fd, bytes, length, err);
}

static int
tar_blob(struct tar *tar, const char *digest, struct ctr_error *err)
{
    char name[100];
    uint64_t size = 0;
    (void) snprintf(name, sizeof name, "blobs/sha256/%.64s", digest + 7);
    if (!ctr_blob_exists(tar->op->images->store, digest, &size)) {
        return ctr_fail(err, -ENOENT, "blob %s is gone; pull the image again", digest);
    }
    int rc = tar_header(tar, name, size, err);
    rc = rc < 0 ? rc : stream_blob(tar->op, digest, "Saving", tar_sink, tar, err);
    return rc < 0 ? rc : tar_pad(tar, size, err);
}

int
save_archive(struct save *save, int fd, bool docker, struct ctr_error *err)
{
    static const char end[2 * TAR_BLOCK];
    struct tar tar = {.op = &save->op, .fd = fd};
    int rc = tar_text(&tar, "oci-layout", SAVE_LAYOUT, err);
    const char *digest = NULL;
    json_t *value = NULL;
    json_object_foreach(save->blobs, digest, value)
    {
        rc = rc < 0 ? rc : tar_blob(&tar, digest, err);
    }
    rc = rc < 0 ? rc : tar_json(&tar, "index.json", save->index, err);
    if (rc == 0 && docker) {
        size_t i = 0;
        json_array_foreach(save->docker, i, value)
        {
            (void) json_object_del(value, "digest");
        }
        rc = tar_json(&tar, "manifest.json", save->docker, err);
    }
    return rc < 0 ? rc : stream_write(&save->op, fd, end, sizeof end, err);
}
