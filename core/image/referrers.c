/*
 * What refers to a manifest at its registry: signatures, lists of contents, attestations (distribution-spec, "Listing
 * Referrers", and for registries that do not know it the tag schema). Asked after a pull that brought something new, kept in the
 * table "referrers". That it cannot be asked or makes no sense is no failure of a pull: then nothing is recorded.
 */
#include "core/image/image-priv.h"

#define REFERRERS_MAX 1000

/* Annotations that are texts; new reference or NULL. */
static json_t *
referrer_annotations(const json_t *item)
{
    json_t *texts = json_object();
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(json_object_get(item, "annotations"), key, value)
    {
        if (json_is_string(value)) {
            (void) json_object_set(texts, key, value);
        }
    }
    return texts;
}

/* A descriptor, only with what we know. */
static int
referrers_add(void *arg, const json_t *item, struct ctr_error *err)
{
    const char *digest = ctr_json_str(item, "digest", "");
    int64_t size = ctr_json_int(item, "size", -1);
    if (!ctr_is_digest(digest) || size < 0) {
        return ctr_fail(err, -EBADMSG, "a referrer has no digest or size");
    }
    json_t *one = json_pack(
        "{s:s,s:s,s:I,s:s,s:o}", "mediaType", ctr_json_str(item, "mediaType", ""), "digest",
        digest, "size", (json_int_t) size, "artifactType",
        ctr_json_str(item, "artifactType", ""), "annotations", referrer_annotations(item));
    return json_array_append_new(arg, one) < 0 ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
}

/* The registry's own list; or the one at the tag that stands for the digest, "sha256-…". */
static int
referrers_ask(struct ctr_endpoint *home, const char *digest, bool by_tag, json_t *found,
              struct ctr_error *err)
{
    CTR_AUTO(free)
    char *url = ctr_printf("%s%s/%s%.*s%s%s", home->root, home->repository,
                           by_tag ? "manifests/" : "referrers/", by_tag ? 6 : 0, digest,
                           by_tag ? "-" : "", by_tag ? digest + 7 : digest);
    struct ctr_remote_list list = {.url = url,
                                   .accept = MEDIA_OCI_INDEX,
                                   .items = "manifests",
                                   .what = "referrers",
                                   .max = REFERRERS_MAX,
                                   .quick = true,
                                   .each = referrers_add,
                                   .arg = found};
    return url == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                       : ctr_remote_list(home, &list, err);
}

void
referrers_record(struct ctr_images *images, struct ctr_remote *remote, const char *digest)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    struct ctr_endpoint *home = ctr_remote_home(remote);
    CTR_AUTO(json) json_t *found = json_array();
    int rc = referrers_ask(home, digest, false, found, &ignored);
    if (rc == -ENOENT && !ctr_transfer_cancelled(remote->transfer)) {
        rc = referrers_ask(home, digest, true, found, &ignored);
    }
    struct ctr_store *store = images->store;
    CTR_AUTO(json) json_t *record = json_pack("{s:O}", "manifests", found);
    if (rc == -ENOENT || (rc == 0 && json_array_size(found) == 0)) {
        rc = ctr_record_remove(store, "referrers", digest, &ignored);
    } else if (rc == 0 && record != NULL) {
        rc = ctr_record_put(store, "referrers", digest, record, &ignored);
    }
    if (rc < 0 && rc != -ECANCELED) {
        CTR_AUTO(free) char *why = ctr_printable(ignored.msg);
        ctr_log(CTR_LEVEL_DEBUG, "event=referrers-not-recorded digest=%s error=\"%s\"", digest,
                why != NULL ? why : "");
    }
}

json_t *
ctr_image_referrers(struct ctr_images *images, const char *manifest_digest,
                    struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *record = ctr_record_get(images->store, "referrers", manifest_digest, err);
    json_t *found = json_object_get(record, "manifests");
    if (record != NULL && !json_is_array(found)) {
        (void) ctr_fail(err, -EBADMSG, "the record of referrers of %s is damaged",
                        manifest_digest);
    }
    return json_is_array(found) ? json_incref(found) : NULL;
}
