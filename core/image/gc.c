/*
 * Garbage: blobs that no image record and no lease needs, and in storages the chains that no image needs and the layers that belong to no blob.
 *
 * What is needed is computed and what is not is removed under images->mutex, which also guards leases: whoever leases a
 * digest before looking for it either finds it and keeps it, or finds it gone and fetches it. A document that cannot be
 * read says nothing about what it needs: then nothing is removed.
 */
#include "core/image/documents.h"
#include <sys/stat.h>

struct collect {
    struct ctr_images *images;
    json_t *needed; /* digests and chain IDs */
    int64_t before; /* only blobs older than this, 0: all */
    struct ctr_error *err;
};

static int
collect_need(struct collect *collect, const char *name)
{
    if (json_object_set_new(collect->needed, name, json_true()) < 0) {
        return ctr_fail(collect->err, -ENOMEM, "collect: out of memory");
    }
    return 0;
}

static int
collect_chains(struct collect *collect, const json_t *manifest)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *config = image_config(collect->images, manifest, &ignored);
    if (config == NULL) {
        return ctr_fail(collect->err, -EBADMSG, "%s", ignored.msg);
    }
    CTR_AUTO(json) json_t *chains = config_chains(config);
    int rc = collect_need(collect, IMAGE_EMPTY_CHAIN);
    size_t i = 0;
    json_t *chain = NULL;
    json_array_foreach(chains, i, chain)
    {
        rc = rc < 0 ? rc : collect_need(collect, json_string_value(chain));
        rc = rc < 0 ? rc : collect_need(collect, config_diff_id(config, i));
    }
    return chains == NULL ? -ENOMEM : rc;
}

struct collect_level {
    struct collect *collect;
    int depth;
};

static int collect_mark(struct collect *collect, const char *digest, int depth);

static int
collect_part(void *arg, const json_t *descriptor, enum document_part part)
{
    const struct collect_level *level = arg;
    struct collect *collect = level->collect;
    const char *name = ctr_json_str(descriptor, "digest", "");
    bool deeper = part == PART_DOCUMENT && level->depth <= IMAGE_MAX_DEPTH &&
                  ctr_blob_exists(collect->images->store, name, NULL);
    return deeper ? collect_mark(collect, name, level->depth + 1) : collect_need(collect, name);
}

/* Read loosely: an attestation in an index needs its blobs too, but makes no chains. */
static int
collect_mark(struct collect *collect, const char *digest, int depth)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    struct collect_level level = {.collect = collect, .depth = depth};
    int rc = collect_need(collect, digest);
    CTR_AUTO(json) json_t *document = document_read(collect->images, digest, NULL, &inner);
    if (rc < 0 || document == NULL) {
        return rc < 0 ? rc : ctr_fail(collect->err, -EBADMSG, "%s", inner.msg);
    }
    rc = document_below(document, collect_part, &level);
    if (rc < 0 || json_object_get(document, "manifests") != NULL) {
        return rc;
    }
    CTR_AUTO(json) json_t *image = image_document(collect->images, digest, NULL, &inner);
    return image != NULL ? collect_chains(collect, image) : 0;
}

static int
collect_mark_record(void *arg, const char *key, const json_t *value)
{
    return collect_mark(arg, ctr_json_str(value, "digest", ""), 1);
}

/* With images->mutex held. 1: something leases everything. */
static int
collect_mark_all(struct collect *collect)
{
    for (const struct image_lease *lease = collect->images->leases; lease != NULL;
         lease = lease->next) {
        if (lease->all) {
            return 1;
        }
        if (json_object_update(collect->needed, lease->names) < 0) {
            return ctr_fail(collect->err, -ENOMEM, "collect: out of memory");
        }
    }
    return ctr_record_each(collect->images->store, "image", collect_mark_record, collect,
                           collect->err);
}

static bool
collect_is_old(const struct collect *collect, const char *digest)
{
    CTR_AUTO(fd) int fd = -1;
    struct ctr_error ignored = CTR_ERROR_INIT;
    struct stat st;
    return collect->before == 0 ||
           (ctr_blob_open(collect->images->store, digest, &fd, NULL, &ignored) == 0 &&
            fstat(fd, &st) == 0 && st.st_mtime < collect->before);
}

static int
collect_blob(void *arg, const char *digest, uint64_t size)
{
    struct collect *collect = arg;
    struct ctr_store *store = collect->images->store;
    if (json_object_get(collect->needed, digest) != NULL || !collect_is_old(collect, digest)) {
        return 0;
    }
    /* The record first: a kill in between leaves nothing that names what is gone. */
    char diff_id[72];
    int rc = layer_diff_id(collect->images, digest, diff_id) == 0
                 ? ctr_record_remove(store, "layer", digest, collect->err)
                 : 0;
    rc = rc < 0 ? rc : ctr_record_remove(store, "origin", digest, collect->err);
    rc = rc < 0 ? rc : ctr_record_remove(store, "referrers", digest, collect->err);
    return rc < 0 ? rc : ctr_blob_remove(store, digest, collect->err);
}

/* --- chains and layers in a storage --- */

struct leftover {
    const struct collect *collect;
    const char *instance;
    json_t *chains, *layers; /* that may go */
};

static void
leftover_add(void *arg, const char *name, int32_t state)
{
    const struct leftover *leftover = arg;
    json_t *to = state == CTR_STORAGE_CHAIN   ? leftover->chains
                 : state == CTR_STORAGE_LAYER ? leftover->layers
                                              : NULL;
    if (to != NULL && ctr_is_digest(name) &&
        json_object_get(leftover->collect->needed, name) == NULL) {
        (void) json_object_set_new(to, name, json_true());
    }
}

static int
leftover_add_record(void *arg, const char *key, const json_t *value)
{
    const struct leftover *leftover = arg;
    size_t n = strlen(leftover->instance);
    if (strncmp(key, leftover->instance, n) == 0 && key[n] == '/') {
        leftover_add(arg, key + n + 1, CTR_STORAGE_CHAIN);
    }
    return 0;
}

/* A layer lives as long as a blob that is known to unpack to it: also one that an interrupted pull has left for the next. */
static int
collect_mark_layer(void *arg, const char *key, const json_t *value)
{
    struct collect *collect = arg;
    return ctr_blob_exists(collect->images->store, key, NULL)
               ? collect_need(collect, ctr_json_str(value, "diff_id", ""))
               : 0;
}

/* The record first, so that a kill in between leaves nothing that names what is gone; what others build on (-EBUSY) gets it back. */
static int
snapshot_remove(struct ctr_images *images, struct ctr_storage *storage, const char *name,
                struct ctr_error *err)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(free) char *key = snapshot_key(ctr_storage_name(storage), name);
    if (key == NULL) {
        return ctr_fail(err, -ENOMEM, "collect: out of memory");
    }
    CTR_AUTO(json) json_t *record = ctr_record_get(images->store, "snapshot", key, &ignored);
    snapshot_forget(images, key);
    int rc = record != NULL ? ctr_record_remove(images->store, "snapshot", key, err) : 0;
    rc = rc < 0 ? rc : ctr_storage_remove(storage, name, err);
    if (rc == -EBUSY && record != NULL) {
        int put = ctr_record_put(images->store, "snapshot", key, record, err);
        rc = put < 0 ? put : rc;
    }
    return rc;
}

/* With the name claimed: has anyone leased it since what is needed was computed? Who comes later waits for the claim. */
static bool
leftover_is_leased(struct ctr_images *images, const char *name)
{
    (void) pthread_mutex_lock(&images->mutex);
    bool leased = json_object_get(images->leased, name) != NULL ||
                  json_object_get(images->leased, LEASE_ALL) != NULL;
    (void) pthread_mutex_unlock(&images->mutex);
    return leased;
}

/* 0: gone; 1: it stays for now. */
static int
leftover_remove(struct ctr_images *images, struct ctr_storage *storage, const char *name,
                bool is_layer, struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    struct image_claim claim;
    int rc = claim_take(images, NULL, &claim, LEASE_REMOVAL, name, err);
    if (rc < 0) {
        return rc;
    }
    if (leftover_is_leased(images, name)) {
        rc = 1;
    } else {
        rc = is_layer ? storage_layer_remove(storage, name, &inner)
                      : snapshot_remove(images, storage, name, &inner);
    }
    claim_give(images, &claim);
    return rc == -EBUSY ? 1 : rc < 0 ? ctr_fail(err, rc, "%s", inner.msg) : rc;
}

/* Removes what goes. Others that build on it keep a name busy: so again, as long as something went. */
static int
leftovers_remove(struct ctr_images *images, struct ctr_storage *storage, json_t *names,
                 bool are_layers, struct ctr_error *err)
{
    for (bool progress = true; progress;) {
        progress = false;
        const char *name = NULL;
        json_t *value = NULL;
        void *next = NULL;
        json_object_foreach_safe(names, next, name, value)
        {
            int rc = leftover_remove(images, storage, name, are_layers, err);
            if (rc < 0) {
                return rc;
            }
            if (rc == 0) {
                (void) json_object_del(names, name);
                progress = true;
            }
        }
    }
    return 0;
}

/* Computes anew what is needed; from then on new leases are noted. */
static int
collect_storage(struct ctr_images *images, struct ctr_storage *storage, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *needed = json_object();
    CTR_AUTO(json) json_t *chains = json_object();
    CTR_AUTO(json) json_t *layers = json_object();
    CTR_AUTO(json) json_t *leased = json_object();
    struct collect collect = {.images = images, .needed = needed, .err = err};
    struct leftover leftover = {.collect = &collect,
                                .instance = ctr_storage_name(storage),
                                .chains = chains,
                                .layers = layers};
    if (needed == NULL || chains == NULL || layers == NULL || leased == NULL) {
        return ctr_fail(err, -ENOMEM, "collect: out of memory");
    }
    (void) pthread_mutex_lock(&images->mutex);
    images->leased = leased;
    int rc = collect_mark_all(&collect);
    (void) pthread_mutex_unlock(&images->mutex);
    rc = rc != 0 ? rc
                 : ctr_record_each(images->store, "layer", collect_mark_layer, &collect, err);
    rc = rc != 0
             ? rc
             : ctr_record_each(images->store, "snapshot", leftover_add_record, &leftover, err);
    rc = rc != 0 ? rc : storage_each(storage, leftover_add, &leftover, err);
    rc = rc != 0 ? rc : leftovers_remove(images, storage, chains, false, err);
    rc = rc != 0 ? rc : leftovers_remove(images, storage, layers, true, err);
    (void) pthread_mutex_lock(&images->mutex);
    images->leased = NULL;
    (void) pthread_mutex_unlock(&images->mutex);
    return rc < 0 ? rc : 0;
}

/* One at a time. */
static int
collect_storages(struct ctr_images *images, struct ctr_storage *const *storages,
                 size_t n_storages, struct ctr_error *err)
{
    struct image_claim claim;
    int rc = claim_take(images, NULL, &claim, "collect", "", err);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < n_storages && rc >= 0; i++) {
        rc = collect_storage(images, storages[i], err);
    }
    claim_give(images, &claim);
    return rc;
}

int
image_collect(struct ctr_images *images, int64_t age, struct ctr_storage *const *storages,
              size_t n_storages, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *needed = json_object();
    struct collect collect = {.images = images,
                              .needed = needed,
                              .before = age > 0 ? time(NULL) - age : 0,
                              .err = err};
    if (needed == NULL) {
        return ctr_fail(err, -ENOMEM, "collect: out of memory");
    }
    (void) pthread_mutex_lock(&images->mutex);
    int rc = collect_mark_all(&collect);
    if (rc == 0) {
        rc = ctr_blob_each(images->store, collect_blob, &collect, err);
    }
    (void) pthread_mutex_unlock(&images->mutex);
    rc = rc < 0 || n_storages == 0 ? rc : collect_storages(images, storages, n_storages, err);
    return rc < 0 ? rc : 0;
}

int
ctr_images_collect(struct ctr_images *images, struct ctr_storage *const *storages,
                   size_t n_storages, struct ctr_error *err)
{
    return image_collect(images, 0, storages, n_storages, err);
}
