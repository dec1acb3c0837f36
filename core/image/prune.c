/*
 * Prune: images that nobody needs go with their names, and then what no image needs. An image's record goes only if all platforms in it may; a name that
 * moved on meanwhile stays.
 */
#include "core/image/usage.h"

struct prune {
    struct ctr_images *images;
    const struct ctr_prune *wanted;
    int64_t until; /* only images made before, 0: all */
    bool (*in_use)(void *arg, const char *image_id);
    void *arg;
    json_t *ids;  /* {image ID: true} that may go */
    json_t *keys; /* {key: digest} of the records that go */
    struct ctr_error *err;
};

/* --- filters --- */

/* How many of the filter's labels the image has. */
static size_t
labels_matched(const struct prune *prune, const char *filter, const json_t *labels)
{
    size_t i = 0, n = 0;
    json_t *text = NULL;
    json_array_foreach(json_object_get(prune->wanted->filters, filter), i, text)
    {
        n += ctr_json_has(labels, json_string_value(text));
    }
    return n;
}

static int
filters_check(struct prune *prune)
{
    const char *name = NULL;
    json_t *texts = NULL;
    json_object_foreach((json_t *) (uintptr_t) prune->wanted->filters, name, texts)
    {
        bool until = strcmp(name, "until") == 0;
        if (!until && strcmp(name, "label") != 0 && strcmp(name, "label!") != 0) {
            return ctr_fail(prune->err, -EINVAL,
                            "no filter \"%.60s\" for images; until, label and label! are",
                            name);
        }
        size_t i = 0;
        json_t *text = NULL;
        json_array_foreach(texts, i, text)
        {
            const char *value = json_string_value(text);
            if (value == NULL ||
                (until && (i > 0 || ctr_parse_time(value, &prune->until) < 0))) {
                return ctr_fail(prune->err, -EINVAL, "filter %s=%.60s: %s", name,
                                value != NULL ? value : "",
                                until ? "one time is wanted, like 24h or 2026-01-31T00:00:00Z"
                                      : "a label is wanted, like key or key=value");
            }
        }
        if (!json_is_array(texts)) {
            return ctr_fail(prune->err, -EINVAL, "filter %s is no list of texts", name);
        }
    }
    return 0;
}

/* --- what may go --- */

static int
prune_consider(void *arg, const struct ctr_image *image)
{
    const struct prune *prune = arg;
    const json_t *labels = json_object_get(json_object_get(image->config, "config"), "Labels");
    size_t n_labels = json_array_size(json_object_get(prune->wanted->filters, "label"));
    int64_t created = 0;
    if (ctr_parse_time(ctr_json_str(image->config, "created", ""), &created) < 0) {
        created = 0;
    }
    bool goes = (prune->wanted->all || json_array_size(image->references) == 0) &&
                (prune->until == 0 || created < prune->until) &&
                labels_matched(prune, "label", labels) == n_labels &&
                labels_matched(prune, "label!", labels) == 0 &&
                (prune->in_use == NULL || !prune->in_use(prune->arg, image->id));
    return goes && json_object_set_new(prune->ids, image->id, json_true()) < 0 ? -ENOMEM : 0;
}

struct prune_record {
    const struct prune *prune;
    size_t n_go, n_stay;
};

static int
prune_manifest(void *arg, const char *digest, const json_t *manifest)
{
    struct prune_record *record = arg;
    const char *id = ctr_json_str(json_object_get(manifest, "config"), "digest", "");
    bool goes = json_object_get(record->prune->ids, id) != NULL;
    record->n_go += goes;
    record->n_stay += !goes;
    return 0;
}

/* A record that cannot be read stays: verify heals it. */
static int
prune_record(void *arg, const char *key, const json_t *value)
{
    const struct prune *prune = arg;
    const char *digest = ctr_json_str(value, "digest", "");
    struct prune_record record = {.prune = prune};
    struct ctr_error damaged = CTR_ERROR_INIT;
    if ((!prune->wanted->all && !ctr_is_digest(key)) ||
        image_manifests(prune->images, digest, prune_manifest, &record, &damaged) < 0 ||
        record.n_go == 0 || record.n_stay > 0) {
        return 0;
    }
    return json_object_set_new(prune->keys, key, json_string(digest)) < 0 ? -ENOMEM : 0;
}

/* --- removal --- */

static int
prune_tell(json_t *removed, const char *action, const char *what)
{
    return json_array_append_new(removed, json_pack("{s:s}", action, what)) < 0 ? -ENOMEM : 0;
}

/* 1: the record was still as it was considered, and is gone. */
static int
prune_untag(const struct prune *prune, const char *key, const char *digest)
{
    struct ctr_images *images = prune->images;
    struct ctr_error ignored = CTR_ERROR_INIT;
    (void) pthread_mutex_lock(&images->mutex);
    CTR_AUTO(json) json_t *value = ctr_record_get(images->store, "image", key, &ignored);
    int rc = 0;
    if (strcmp(ctr_json_str(value, "digest", ""), digest) == 0) {
        rc = ctr_record_remove(images->store, "image", key, prune->err);
        rc = rc < 0 ? rc : 1;
    }
    (void) pthread_mutex_unlock(&images->mutex);
    return rc;
}

static int
prune_untag_all(const struct prune *prune, json_t *removed)
{
    const char *key = NULL;
    json_t *digest = NULL;
    json_object_foreach(prune->keys, key, digest)
    {
        struct ctr_ref ref;
        struct ctr_error ignored = CTR_ERROR_INIT;
        int rc = prune_untag(prune, key, json_string_value(digest));
        if (rc == 1 && !ctr_is_digest(key) && ctr_ref_parse(key, &ref, &ignored) == 0) {
            CTR_AUTO(free) char *name = ctr_ref_short(&ref);
            rc = prune_tell(removed, "Untagged", name != NULL ? name : key);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return ctr_store_write_index(prune->images->store, prune->err);
}

/* Bytes of what stood in `before` and no longer does. */
static uint64_t
prune_gone(const json_t *before, const json_t *after)
{
    uint64_t bytes = 0;
    const char *name = NULL;
    json_t *size = NULL;
    json_object_foreach((json_t *) (uintptr_t) before, name, size)
    {
        if (json_object_get(after, name) == NULL) {
            bytes += (uint64_t) json_integer_value(size);
        }
    }
    return bytes;
}

/* [blobs, storage 0's chains, its layers, storage 1's …], each {name: bytes}; new reference or NULL. */
static json_t *
prune_measure(const struct prune *prune, struct ctr_storage *const *storages, size_t n_storages)
{
    CTR_AUTO(json) json_t *all = json_array();
    json_t *blobs = usage_blobs(prune->images, prune->err);
    if (json_array_append_new(all, blobs) < 0) {
        return NULL;
    }
    for (size_t i = 0; i < n_storages; i++) {
        CTR_AUTO(json) json_t *held = usage_storage(storages[i], prune->err);
        if (held == NULL || json_array_append(all, json_object_get(held, "chains")) < 0 ||
            json_array_append(all, json_object_get(held, "layers")) < 0) {
            return NULL;
        }
    }
    return ctr_steal(&all);
}

static int
prune_remove(const struct prune *prune, struct ctr_storage *const *storages, size_t n_storages,
             json_t *result)
{
    json_t *removed = json_object_get(result, "removed");
    CTR_AUTO(json) json_t *before = prune_measure(prune, storages, n_storages);
    if (before == NULL) {
        return prune->err->code < 0 ? prune->err->code : -ENOMEM;
    }
    int rc = prune_untag_all(prune, removed);
    if (rc < 0) {
        return rc;
    }
    /* The names are gone for good; garbage that cannot be removed now is for the next time. */
    struct ctr_error left = CTR_ERROR_INIT;
    if (image_collect(prune->images, 0, storages, n_storages, &left) < 0) {
        ctr_log(CTR_LEVEL_WARN, "event=collect error=\"%s\"", left.msg);
    }
    CTR_AUTO(json) json_t *after = prune_measure(prune, storages, n_storages);
    uint64_t bytes = 0;
    for (size_t i = 0; i < json_array_size(after); i++) {
        bytes += prune_gone(json_array_get(before, i), json_array_get(after, i));
    }
    const char *id = NULL;
    json_t *value = NULL;
    json_object_foreach(prune->ids, id, value)
    {
        bool gone = json_object_get(json_array_get(before, 0), id) != NULL &&
                    json_object_get(json_array_get(after, 0), id) == NULL;
        rc = rc < 0 || !gone ? rc : prune_tell(removed, "Deleted", id);
    }
    return after == NULL ||
                   json_object_set_new(result, "bytes", json_integer((json_int_t) bytes)) < 0
               ? -ENOMEM
               : rc;
}

static int
prune_run(struct prune *prune, struct ctr_storage *const *storages, size_t n_storages,
          json_t *result)
{
    int rc = filters_check(prune);
    rc = rc < 0 ? rc : ctr_image_each(prune->images, prune_consider, prune, prune->err);
    rc = rc < 0
             ? rc
             : ctr_record_each(prune->images->store, "image", prune_record, prune, prune->err);
    return rc < 0 ? rc : prune_remove(prune, storages, n_storages, result);
}

int
ctr_image_prune(struct ctr_images *images, const struct ctr_prune *wanted,
                struct ctr_storage *const *storages, size_t n_storages,
                bool (*in_use)(void *arg, const char *image_id), void *arg, json_t **ret,
                struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *ids = json_object();
    CTR_AUTO(json) json_t *keys = json_object();
    CTR_AUTO(json) json_t *result = json_pack("{s:[], s:i}", "removed", "bytes", 0);
    struct prune prune = {.images = images,
                          .wanted = wanted,
                          .in_use = in_use,
                          .arg = arg,
                          .ids = ids,
                          .keys = keys,
                          .err = &inner};
    int rc = ids == NULL || keys == NULL || result == NULL
                 ? -ENOMEM
                 : prune_run(&prune, storages, n_storages, result);
    if (rc < 0) {
        return ctr_fail(err, rc, "prune images: %s",
                        inner.code < 0 ? inner.msg : "out of memory");
    }
    *ret = ctr_steal(&result);
    return 0;
}
