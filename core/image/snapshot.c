/* Snapshots: what the core believes of a storage's chains. A record says that one was committed; it counts when the storage has it, too. */
#include "core/image/flow.h"

char *
snapshot_key(const char *instance, const char *chain_id)
{
    return ctr_printf("%s/%s", instance, chain_id);
}

void
snapshot_forget(struct ctr_images *images, const char *key)
{
    (void) pthread_mutex_lock(&images->mutex);
    (void) json_object_del(images->verified, key);
    (void) pthread_mutex_unlock(&images->mutex);
}

static void
snapshot_remember(struct ctr_images *images, const char *key)
{
    (void) pthread_mutex_lock(&images->mutex);
    (void) json_object_set_new(images->verified, key, json_true());
    (void) pthread_mutex_unlock(&images->mutex);
}

bool
snapshot_is_ready(struct ctr_images *images, struct ctr_storage *storage, const char *chain_id)
{
    CTR_AUTO(free) char *key = snapshot_key(ctr_storage_name(storage), chain_id);
    if (key == NULL) {
        return false;
    }
    (void) pthread_mutex_lock(&images->mutex);
    bool seen = json_object_get(images->verified, key) != NULL;
    (void) pthread_mutex_unlock(&images->mutex);
    if (seen) {
        return true;
    }
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *record = ctr_record_get(images->store, "snapshot", key, &ignored);
    uint64_t bytes = 0;
    if (record == NULL || ctr_storage_usage(storage, chain_id, &bytes, &ignored) < 0) {
        return false;
    }
    snapshot_remember(images, key);
    return true;
}

int
snapshot_record(struct ctr_images *images, struct ctr_storage *storage, const char *chain_id,
                const char *manifest, size_t depth, struct ctr_error *err)
{
    CTR_AUTO(free) char *key = snapshot_key(ctr_storage_name(storage), chain_id);
    CTR_AUTO(json)
    json_t *value = json_pack("{s:s, s:I}", "manifest", manifest, "depth", (json_int_t) depth);
    if (key == NULL || value == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = ctr_record_put(images->store, "snapshot", key, value, err);
    if (rc == 0) {
        snapshot_remember(images, key);
    }
    return rc;
}
