/*
 * images/oci-layout and images/index.json: what makes the blob folder an OCI image layout for other tools. index.json is a
 * view of the "image" records and can be written anew at any time; ctr itself reads only the records.
 */
#include "core/store/store-priv.h"
#include <sys/stat.h>

static const char layout_text[] = "{\"imageLayoutVersion\":\"1.0.0\"}\n";

/* One record as a descriptor. A key that is a bare digest belongs to an image without a name. */
static int
index_add(void *arg, const char *key, const json_t *value)
{
    json_t *manifests = arg;
    const char *digest = ctr_json_str(value, "digest", NULL);
    if (digest == NULL) {
        return 0;
    }
    json_t *descriptor = json_pack(
        "{s:s, s:s, s:I}", "mediaType",
        ctr_json_str(value, "mediaType", "application/vnd.oci.image.manifest.v1+json"),
        "digest", digest, "size", (json_int_t) ctr_json_int(value, "size", 0));
    if (descriptor != NULL && !ctr_is_digest(key)) {
        json_t *names = json_pack("{s:s}", "org.opencontainers.image.ref.name", key);
        if (json_object_set_new(descriptor, "annotations", names) < 0) {
            json_decref(descriptor);
            return -ENOMEM;
        }
    }
    return json_array_append_new(manifests, descriptor) < 0 ? -ENOMEM : 0;
}

static int
index_write(struct ctr_store *store, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *index = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType",
                              "application/vnd.oci.image.index.v1+json", "manifests");
    CTR_AUTO(free) char *path = ctr_printf("%s/index.json", store->images);
    if (index == NULL || path == NULL) {
        return ctr_fail(err, -ENOMEM, "write index.json: out of memory");
    }
    int rc =
        ctr_record_each(store, "image", index_add, json_object_get(index, "manifests"), err);
    if (rc == -ENOMEM) {
        return ctr_fail(err, rc, "write index.json: out of memory");
    }
    return rc < 0 ? rc : ctr_write_json(path, index, err);
}

int
ctr_store_write_index(struct ctr_store *store, struct ctr_error *err)
{
    (void) pthread_mutex_lock(&store->index_mutex);
    int rc = index_write(store, err);
    (void) pthread_mutex_unlock(&store->index_mutex);
    return rc;
}

int
store_init_layout(struct ctr_store *store, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/oci-layout", store->images);
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "write oci-layout: out of memory");
    }
    struct stat st;
    if (stat(path, &st) < 0) {
        int rc = ctr_write_file(path, layout_text, sizeof layout_text - 1, err);
        if (rc < 0) {
            return rc;
        }
    }
    /* A crash between a record and index.json leaves the two apart: the records win. */
    return ctr_store_write_index(store, err);
}
