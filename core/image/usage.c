/*
 * What images take: blobs in the store, shared or not, what lies beside them (pulls in the making, damaged blobs), and what the storages made of them.
 */
#include "core/image/usage.h"
#include "core/image/documents.h"
#include <fcntl.h>
#include <sys/stat.h>

/* --- what is there --- */

static int
blobs_add(void *arg, const char *digest, uint64_t size)
{
    return json_object_set_new(arg, digest, json_integer((json_int_t) size)) < 0 ? -ENOMEM : 0;
}

json_t *
usage_blobs(struct ctr_images *images, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *blobs = json_object();
    int rc = blobs == NULL ? -ENOMEM : ctr_blob_each(images->store, blobs_add, blobs, err);
    if (rc == -ENOMEM) {
        (void) ctr_fail(err, rc, "list blobs: out of memory");
    }
    return rc < 0 ? NULL : ctr_steal(&blobs);
}

struct listed {
    json_t *chains, *layers;
    bool failed;
};

static void
listed_add(void *arg, const char *name, int32_t state)
{
    struct listed *listed = arg;
    json_t *to = state == CTR_STORAGE_CHAIN   ? listed->chains
                 : state == CTR_STORAGE_LAYER ? listed->layers
                                              : NULL;
    if (to != NULL && json_object_set_new(to, name, json_integer(0)) < 0) {
        listed->failed = true;
    }
}

/* One that went meanwhile counts nothing. */
static int
listed_measure(struct ctr_storage *storage, json_t *names)
{
    const char *name = NULL;
    json_t *size = NULL;
    json_object_foreach(names, name, size)
    {
        uint64_t bytes = 0;
        struct ctr_error ignored = CTR_ERROR_INIT;
        if (ctr_storage_usage(storage, name, &bytes, &ignored) == 0 &&
            json_integer_set(size, (json_int_t) bytes) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

json_t *
usage_storage(struct ctr_storage *storage, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *result = json_pack("{s:{}, s:{}}", "chains", "layers");
    struct listed listed = {.chains = json_object_get(result, "chains"),
                            .layers = json_object_get(result, "layers")};
    if (result == NULL || storage_each(storage, listed_add, &listed, err) < 0) {
        if (result == NULL) {
            (void) ctr_fail(err, -ENOMEM, "usage: out of memory");
        }
        return NULL;
    }
    /* Where layers are kept by themselves, a chain's usage counts them again. */
    json_t *own = json_object_size(listed.layers) > 0 ? listed.layers : listed.chains;
    if (listed.failed || listed_measure(storage, own) < 0) {
        (void) ctr_fail(err, -ENOMEM, "usage of %s: out of memory", ctr_storage_name(storage));
        return NULL;
    }
    return ctr_steal(&result);
}

uint64_t
usage_sum(const json_t *sizes)
{
    uint64_t sum = 0;
    const char *name = NULL;
    json_t *size = NULL;
    json_object_foreach((json_t *) (uintptr_t) sizes, name, size)
    {
        sum += (uint64_t) json_integer_value(size);
    }
    return sum;
}

/* Bytes of the files in a folder of the data root; one that is not there holds none. */
static uint64_t
usage_folder(const struct ctr_images *images, const char *name)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/images/%s", ctr_store_data(images->store), name);
    CTR_AUTO(dir) DIR *dir = path != NULL ? opendir(path) : NULL;
    uint64_t sum = 0;
    for (struct dirent *entry = NULL; dir != NULL && (entry = readdir(dir)) != NULL;) {
        struct stat st;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode)) {
            sum += (uint64_t) st.st_size;
        }
    }
    return sum;
}

/* --- who needs what --- */

struct usage {
    struct ctr_images *images;
    json_t *sizes;  /* {digest: bytes} of all blobs */
    json_t *counts; /* {digest: number of images that need it} */
    json_t *named;  /* {digest: true} below a record with a name */
    json_t *list;   /* the answer's "images", each with "blobs": {digest: bytes} for now */
    json_t *by_id;  /* {image ID: its entry in the list} */
};

static int
usage_image(void *arg, const struct ctr_image *image)
{
    const struct usage *usage = arg;
    json_t *entry = json_pack("{s:s, s:O, s:{}}", "id", image->id, "references",
                              image->references, "blobs");
    return json_array_append_new(usage->list, entry) < 0 ||
                   json_object_set(usage->by_id, image->id, entry) < 0
               ? -ENOMEM
               : 0;
}

/* Once for each image. */
static int
usage_need(const struct usage *usage, json_t *blobs, const char *digest)
{
    const json_t *size = json_object_get(usage->sizes, digest);
    if (size == NULL || json_object_get(blobs, digest) != NULL) {
        return 0;
    }
    int64_t count = ctr_json_int(usage->counts, digest, 0);
    bool ok =
        json_object_set_new(blobs, digest, json_integer(json_integer_value(size))) == 0 &&
        json_object_set_new(usage->counts, digest, json_integer((json_int_t) count + 1)) == 0;
    return ok ? 0 : -ENOMEM;
}

struct usage_record {
    const struct usage *usage;
    const char *top;
    int rc;
};

/* Several manifests may be of one image, packed in several ways. */
static int
usage_manifest(void *arg, const char *digest, const json_t *manifest)
{
    struct usage_record *record = arg;
    const char *id = ctr_json_str(json_object_get(manifest, "config"), "digest", "");
    json_t *blobs = json_object_get(json_object_get(record->usage->by_id, id), "blobs");
    const char *const documents[] = {record->top, digest, id};
    for (size_t i = 0; blobs != NULL && i < CTR_LENGTH(documents); i++) {
        record->rc =
            record->rc < 0 ? record->rc : usage_need(record->usage, blobs, documents[i]);
    }
    size_t i = 0;
    json_t *layer = NULL;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer)
    {
        if (blobs != NULL && record->rc == 0) {
            record->rc = usage_need(record->usage, blobs, ctr_json_str(layer, "digest", ""));
        }
    }
    return record->rc < 0 ? 1 : 0;
}

/* Marks all below a name: what has been marked is not looked at again. */
static int
usage_name(void *arg, const json_t *descriptor, enum document_part part)
{
    const struct usage *usage = arg;
    const char *digest = ctr_json_str(descriptor, "digest", "");
    if (json_object_get(usage->sizes, digest) == NULL ||
        json_object_get(usage->named, digest) != NULL) {
        return 0;
    }
    struct ctr_error damaged = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *document =
        part == PART_DOCUMENT ? document_read(usage->images, digest, NULL, &damaged) : NULL;
    if (json_object_set_new(usage->named, digest, json_true()) < 0) {
        return -ENOMEM;
    }
    return document != NULL ? document_below(document, usage_name, arg) : 0;
}

static int
usage_record(void *arg, const char *key, const json_t *value)
{
    struct usage *usage = arg;
    struct ctr_error damaged = CTR_ERROR_INIT;
    struct usage_record record = {.usage = usage, .top = ctr_json_str(value, "digest", "")};
    (void) image_manifests(usage->images, record.top, usage_manifest, &record, &damaged);
    if (record.rc < 0) {
        return record.rc;
    }
    return ctr_is_digest(key) ? 0 : usage_name(usage, value, PART_DOCUMENT);
}

/* When all images are counted. */
static int
usage_split(const struct usage *usage, json_t *image)
{
    uint64_t shared = 0, unique = 0;
    const char *digest = NULL;
    json_t *size = NULL;
    json_object_foreach(json_object_get(image, "blobs"), digest, size)
    {
        bool several = ctr_json_int(usage->counts, digest, 0) > 1;
        *(several ? &shared : &unique) += (uint64_t) json_integer_value(size);
    }
    (void) json_object_del(image, "blobs");
    CTR_AUTO(json)
    json_t *sizes = json_pack("{s:I, s:I, s:I}", "size", (json_int_t) (shared + unique),
                              "shared", (json_int_t) shared, "unique", (json_int_t) unique);
    return sizes == NULL || json_object_update(image, sizes) < 0 ? -ENOMEM : 0;
}

static uint64_t
usage_shared(const struct usage *usage)
{
    uint64_t shared = 0;
    const char *digest = NULL;
    json_t *count = NULL;
    json_object_foreach(usage->counts, digest, count)
    {
        if (json_integer_value(count) > 1) {
            shared += (uint64_t) ctr_json_int(usage->sizes, digest, 0);
        }
    }
    return shared;
}

/* What no image with a name needs. */
static uint64_t
usage_reclaimable(const struct usage *usage)
{
    uint64_t bytes = 0;
    const char *digest = NULL;
    json_t *size = NULL;
    json_object_foreach(usage->sizes, digest, size)
    {
        if (json_object_get(usage->named, digest) == NULL) {
            bytes += (uint64_t) json_integer_value(size);
        }
    }
    return bytes;
}

static json_t *
usage_storages(struct ctr_storage *const *storages, size_t n_storages, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *list = json_array();
    for (size_t i = 0; i < n_storages; i++) {
        CTR_AUTO(json) json_t *held = usage_storage(storages[i], err);
        if (held == NULL) {
            return NULL;
        }
        const json_t *chains = json_object_get(held, "chains");
        const json_t *layers = json_object_get(held, "layers");
        json_t *entry = json_pack(
            "{s:s, s:s, s:I, s:I, s:I}", "instance", ctr_storage_name(storages[i]), "plugin",
            ctr_storage_plugin(storages[i]), "layers", (json_int_t) json_object_size(layers),
            "chains", (json_int_t) json_object_size(chains), "bytes",
            (json_int_t) (usage_sum(chains) + usage_sum(layers)));
        if (json_array_append_new(list, entry) < 0) {
            (void) ctr_fail(err, -ENOMEM, "usage: out of memory");
            return NULL;
        }
    }
    return ctr_steal(&list);
}

static json_t *
usage_answer(struct usage *usage, json_t *storages)
{
    size_t i = 0;
    json_t *image = NULL;
    json_array_foreach(usage->list, i, image)
    {
        if (usage_split(usage, image) < 0) {
            return NULL;
        }
    }
    return json_pack("{s:{s:I, s:I}, s:I, s:I, s:I, s:I, s:O, s:O}", "blobs", "count",
                     (json_int_t) json_object_size(usage->sizes), "bytes",
                     (json_int_t) usage_sum(usage->sizes), "shared",
                     (json_int_t) usage_shared(usage), "reclaimable",
                     (json_int_t) usage_reclaimable(usage), "ingest",
                     (json_int_t) usage_folder(usage->images, "ingest"), "damaged",
                     (json_int_t) usage_folder(usage->images, "damaged"), "images", usage->list,
                     "storages", storages);
}

json_t *
ctr_images_usage(struct ctr_images *images, struct ctr_storage *const *storages,
                 size_t n_storages, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *held = usage_storages(storages, n_storages, err);
    CTR_AUTO(json) json_t *sizes = held != NULL ? usage_blobs(images, err) : NULL;
    if (sizes == NULL) {
        return NULL;
    }
    CTR_AUTO(json) json_t *counts = json_object();
    CTR_AUTO(json) json_t *named = json_object();
    CTR_AUTO(json) json_t *list = json_array();
    CTR_AUTO(json) json_t *by_id = json_object();
    struct usage usage = {.images = images,
                          .sizes = sizes,
                          .counts = counts,
                          .named = named,
                          .list = list,
                          .by_id = by_id};
    int rc = counts == NULL || named == NULL || list == NULL || by_id == NULL
                 ? -ENOMEM
                 : ctr_image_each(images, usage_image, &usage, err);
    rc = rc < 0 ? rc : ctr_record_each(images->store, "image", usage_record, &usage, err);
    json_t *answer = rc == 0 ? usage_answer(&usage, held) : NULL;
    if (answer == NULL && (rc == 0 || rc == -ENOMEM)) {
        (void) ctr_fail(err, -ENOMEM, "usage: out of memory");
    }
    return answer;
}
