/*
 * Which repositories are known to have a blob: those that it was pulled from or pushed to. A push to another repository of the
 * same registry has the blob mounted from there instead of sending it. Records of the table "origin", a few for each blob; that
 * one is wrong or missing costs a transfer and nothing else, so failures are only logged.
 */
#include "core/image/image-priv.h"

#define SOURCES_MAX 4 /* of one blob; the oldest goes first */

static void
source_note(struct ctr_images *images, const char *digest, const char *name)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *record = ctr_record_get(images->store, "origin", digest, &err);
    json_t *names = json_object_get(record, "repositories");
    size_t i = 0;
    json_t *known = NULL;
    json_array_foreach(names, i, known)
    {
        if (json_is_string(known) && strcmp(json_string_value(known), name) == 0) {
            return;
        }
    }
    CTR_AUTO(json) json_t *next = json_is_array(names) ? json_copy(names) : json_array();
    while (json_array_size(next) >= SOURCES_MAX) {
        (void) json_array_remove(next, 0);
    }
    CTR_AUTO(json) json_t *value = NULL;
    int rc = -ENOMEM;
    if (next != NULL && json_array_append_new(next, json_string(name)) == 0 &&
        (value = json_pack("{s:O}", "repositories", next)) != NULL) {
        rc = ctr_record_put(images->store, "origin", digest, value, &err);
    }
    if (rc < 0) {
        ctr_log(CTR_LEVEL_WARN, "event=origin-not-recorded digest=%s error=\"%s\"", digest,
                err.msg);
    }
}

void
sources_note(struct ctr_images *images, const json_t *manifest, const struct ctr_ref *ref)
{
    CTR_AUTO(free) char *name = ctr_printf("%s/%s", ref->host, ref->repository);
    size_t i = 0;
    json_t *layer = NULL;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer)
    {
        if (name != NULL) {
            source_note(images, ctr_json_str(layer, "digest", ""), name);
        }
    }
}

bool
sources_find(struct ctr_images *images, const char *digest, const struct ctr_ref *ref,
             char ret[256])
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *record = ctr_record_get(images->store, "origin", digest, &ignored);
    size_t i = 0, n = strlen(ref->host);
    json_t *known = NULL;
    json_array_foreach(json_object_get(record, "repositories"), i, known)
    {
        const char *name = json_string_value(known);
        if (name != NULL && strncmp(name, ref->host, n) == 0 && name[n] == '/' &&
            strcmp(name + n + 1, ref->repository) != 0 && strlen(name + n + 1) < 256) {
            memcpy(ret, name + n + 1, strlen(name + n + 1) + 1);
            return true;
        }
    }
    return false;
}
