/*
 * An image from a root filesystem's tar: its one layer is kept as it came, packed or not, and the configuration is what the caller's Dockerfile lines say.
 * The record comes last, when all that it names is on stable storage.
 */
#include "core/image/changes.h"
#include "core/image/stream.h"

struct import {
    struct image_op op;
    struct ctr_platform platform;
    const char *message;
    json_t *process; /* the config's "config" */
    char *key;       /* of the record, NULL: no name */
    char layer[72], diff_id[72], id[72];
    uint64_t size;
    uint8_t head[512]; /* of the unpacked layer */
    size_t n_head;
};

/* --- the layer --- */

static int
import_copy(struct import *import, int fd, struct ctr_ingest *ingest, struct ctr_error *err)
{
    const struct ctr_conf *conf = import->op.images->conf;
    uint64_t max = conf != NULL ? conf->engine.max_image : 0, shown = 0;
    CTR_AUTO(free) char *piece = malloc(STREAM_PIECE);
    if (piece == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    for (;;) {
        ssize_t n = stream_read(&import->op, fd, piece, STREAM_PIECE, err);
        if (n <= 0) {
            return (int) n;
        }
        import->size += (uint64_t) n;
        if (max > 0 && import->size > max) {
            return ctr_fail(err, -EFBIG,
                            "it has more than %llu bytes; raise [engine] max_image if that is "
                            "right",
                            (unsigned long long) max);
        }
        int rc = ctr_ingest_write(ingest, piece, (size_t) n, err);
        if (rc < 0) {
            return rc;
        }
        if (import->size - shown >= ((uint64_t) 1 << 20)) {
            shown = import->size;
            ctr_transfer_step(&import->op.transfer, NULL, "Importing", shown, 0);
        }
    }
}

static int
import_store(struct import *import, int fd, struct ctr_error *err)
{
    struct ctr_ingest *ingest = NULL;
    uint64_t offset = 0;
    int rc = ctr_ingest_open(import->op.images->store, NULL, -1, &ingest, &offset, err);
    if (rc < 0) {
        return rc;
    }
    rc = import_copy(import, fd, ingest, err);
    if (rc == 0 && import->size == 0) {
        rc = ctr_fail(err, -EBADMSG, "nothing came; a tar of a root filesystem is wanted");
    }
    if (rc < 0) {
        ctr_ingest_abort(ingest, false);
        return rc;
    }
    return ctr_ingest_commit(ingest, import->layer, err);
}

/* Keeps the first block. */
static int
import_sink(void *arg, const void *bytes, size_t length, struct ctr_error *err)
{
    struct import *import = arg;
    size_t room = sizeof import->head - import->n_head;
    size_t n = length < room ? length : room;
    memcpy(import->head + import->n_head, bytes, n);
    import->n_head += n;
    return 0;
}

/* A tar begins with a header whose sum is right, or, empty, with zeros. */
static bool
import_is_tar(const struct import *import)
{
    unsigned long sum = 0, all = 0;
    for (size_t i = 0; i < sizeof import->head; i++) {
        all += import->head[i];
        sum += i >= 148 && i < 156 ? ' ' : import->head[i];
    }
    char field[9] = "";
    memcpy(field, import->head + 148, 8);
    return import->n_head == sizeof import->head &&
           (all == 0 || strtoul(field, NULL, 8) == sum);
}

static int
import_layer(struct import *import, const char **ret_type, struct ctr_error *err)
{
    const struct ctr_images *images = import->op.images;
    struct layer_source source = {
        .digest = import->layer,
        .size = import->size,
        .max = images->conf != NULL ? images->conf->engine.max_image : 0,
        .diff_id = "",
    };
    int rc = layer_media_type(images->store, import->layer, &source.media_type, err);
    rc = rc < 0 ? rc
                : layer_read(&import->op, &source, import_sink, import, "Verifying",
                             import->diff_id, err);
    if (rc == 0 && !import_is_tar(import)) {
        rc = ctr_fail(err, -EBADMSG,
                      "it is no tar; a root filesystem's tar is wanted, plain or in gzip or "
                      "zstd");
    }
    *ret_type = source.media_type;
    return rc < 0 ? rc : layer_remember(import->op.images, import->layer, import->diff_id, err);
}

/* --- the documents --- */

static json_t *
import_config(const struct import *import)
{
    char now[40];
    (void) ctr_format_time(ctr_now_ns(), now);
    const struct ctr_platform *platform = &import->platform;
    return json_pack("{s:s, s:s, s:s, s:s*, s:O, s:{s:s, s:[s]}, s:[{s:s, s:s}]}", "created",
                     now, "architecture", platform->arch, "os", platform->os, "variant",
                     platform->variant[0] != '\0' ? platform->variant : NULL, "config",
                     import->process, "rootfs", "type", "layers", "diff_ids", import->diff_id,
                     "history", "created", now, "comment", import->message);
}

static int
import_put(const struct import *import, const json_t *document, char ret_digest[72],
           uint64_t *ret_size, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = document != NULL ? ctr_json_text(document) : NULL;
    if (text == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    *ret_size = strlen(text);
    if (*ret_size > CTR_MAX_DOCUMENT) {
        return ctr_fail(err, -EFBIG, "its configuration is larger than 4 MiB");
    }
    return ctr_blob_put(import->op.images->store, text, strlen(text), ret_digest, err);
}

static int
import_record(struct import *import, const char *layer_type, struct ctr_error *err)
{
    char digest[72];
    uint64_t size = 0;
    CTR_AUTO(json) json_t *config = import_config(import);
    int rc = import_put(import, config, import->id, &size, err);
    if (rc < 0) {
        return rc;
    }
    CTR_AUTO(json)
    json_t *manifest =
        json_pack("{s:i, s:s, s:{s:s, s:s, s:I}, s:[{s:s, s:s, s:I}]}", "schemaVersion", 2,
                  "mediaType", MEDIA_OCI_MANIFEST, "config", "mediaType", MEDIA_OCI_CONFIG,
                  "digest", import->id, "size", (json_int_t) size, "layers", "mediaType",
                  layer_type, "digest", import->layer, "size", (json_int_t) import->size);
    rc = import_put(import, manifest, digest, &size, err);
    if (rc == 0 && ctr_transfer_cancelled(&import->op.transfer)) {
        rc = ctr_fail_cancelled(err);
    }
    return rc < 0 ? rc
                  : image_record(import->op.images, import->key != NULL ? import->key : digest,
                                 digest, MEDIA_OCI_MANIFEST, size, err);
}

/* --- the whole --- */

/* What can be wrong without a byte of the layer. */
static int
import_prepare(struct import *import, struct ctr_images *images, const char *reference,
               const json_t *changes, const char *platform, struct ctr_error *err)
{
    int rc = image_platform(images, platform, &import->platform, err);
    struct ctr_ref ref;
    if (rc == 0 && reference != NULL && reference[0] != '\0') {
        rc = ctr_ref_parse(reference, &ref, err);
        if (rc == 0 && ref.digest[0] != '\0') {
            rc = ctr_fail(err, -EINVAL, "%.200s: a digest cannot be given, only a name",
                          reference);
        }
        import->key = rc == 0 ? ctr_ref_full(&ref) : NULL;
        if (rc == 0 && import->key == NULL) {
            rc = ctr_fail(err, -ENOMEM, "out of memory");
        }
    }
    import->process = json_object();
    size_t i = 0;
    json_t *line = NULL;
    json_array_foreach(changes, i, line)
    {
        if (rc == 0) {
            rc = json_is_string(line)
                     ? changes_apply(import->process, json_string_value(line), err)
                     : ctr_fail(err, -EINVAL, "change %zu is no text", i + 1);
        }
    }
    return rc;
}

static int
import_run(struct import *import, int fd, struct ctr_error *err)
{
    const char *type = NULL;
    lease_all(&import->op); /* digests are not known before their bytes are there */
    int rc = import_store(import, fd, err);
    rc = rc < 0 ? rc : import_layer(import, &type, err);
    return rc < 0 ? rc : import_record(import, type, err);
}

int
ctr_image_import(struct ctr_images *images, int fd, const char *reference, const char *message,
                 const json_t *changes, const char *platform,
                 const struct ctr_progress *progress, char ret_id[72], struct ctr_error *err)
{
    struct import import = {.message = message != NULL && message[0] != '\0'
                                           ? message
                                           : "Imported from a root filesystem"};
    struct ctr_error inner = CTR_ERROR_INIT;
    int rc = import_prepare(&import, images, reference, changes, platform, &inner);
    rc = rc < 0 ? rc : op_init(&import.op, images, progress, &inner);
    if (rc == 0) {
        rc = import_run(&import, fd, &inner);
        op_finish(&import.op);
        if (rc < 0) {
            struct ctr_error left = CTR_ERROR_INIT;
            (void) image_collect(images, 0, NULL, 0, &left);
        }
    }
    if (rc == 0) {
        memcpy(ret_id, import.id, sizeof import.id);
    }
    json_decref(import.process);
    free(import.key);
    return rc < 0 ? ctr_fail(err, rc, "import: %s", inner.msg) : 0;
}
