/*
 * Verify: all images, or one, down to each blob (verify-blob.c); what is missing or damaged comes again where that is wanted (verify-heal.c).
 */
#include "core/image/verify.h"
#include "core/image/documents.h"

#define VERIFY_MAX_INDEX ((size_t) 64 << 20) /* index.json of the store */

/* A document on the way down. */
struct place {
    struct verify *verify;
    int depth;
    const char *platform; /* text, "" where it is not known */
    json_t *config;       /* of a manifest, NULL: cannot be read */
    size_t n;             /* layers of a manifest, or documents below an index that are here */
};

/* --- the entry of a record --- */

static int
entry_count(struct verify *verify, const char *name, uint64_t n)
{
    int64_t now = ctr_json_int(verify->entry, name, 0);
    return json_object_set_new(verify->entry, name,
                               json_integer((json_int_t) (now + (int64_t) n)));
}

/* Notes the state of a blob in the entry at work. */
static int
entry_note(struct verify *verify, const char *digest, enum blob_state state,
           const char *platform)
{
    uint64_t size = 0;
    int rc = 0;
    if (state == BLOB_WHOLE) {
        (void) ctr_blob_exists(verify->op.images->store, digest, &size);
        rc = entry_count(verify, "blobs", 1) < 0 || entry_count(verify, "bytes", size) < 0;
    } else {
        json_t *list =
            json_object_get(verify->entry, state == BLOB_MISSING ? "missing" : "damaged");
        rc = json_array_append_new(list, json_string(digest)) < 0 ||
             json_object_set_new(verify->platforms, platform, json_true()) < 0;
    }
    return rc != 0 ? verify_fail_memory(verify) : 0;
}

/* --- a tree of documents --- */

static int verify_document(struct place *place, const json_t *descriptor);

static int
verify_blob(const struct place *place, const json_t *descriptor, const char *diff_id)
{
    enum blob_state state = BLOB_WHOLE;
    const char *digest = ctr_json_str(descriptor, "digest", "");
    int rc = verify_blob_state(place->verify, descriptor, diff_id, &state);
    return rc < 0 ? rc : entry_note(place->verify, digest, state, place->platform);
}

/* An index's parts are here or not, as they were pulled. */
static int
verify_listed(void *arg, const json_t *descriptor, enum document_part part)
{
    struct place *place = arg;
    struct ctr_store *store = place->verify->op.images->store;
    if (!ctr_blob_exists(store, ctr_json_str(descriptor, "digest", ""), NULL)) {
        return 0;
    }
    if (part != PART_DOCUMENT) {
        return verify_blob(place, descriptor, NULL);
    }
    struct ctr_platform platform;
    descriptor_platform(descriptor, &platform);
    CTR_AUTO(free) char *text = platform.os[0] != '\0' ? platform_text(&platform) : strdup("");
    if (text == NULL) {
        return verify_fail_memory(place->verify);
    }
    struct place below = {.verify = place->verify, .depth = place->depth + 1, .platform = text};
    place->n++;
    return verify_document(&below, descriptor);
}

static int
verify_owned(void *arg, const json_t *descriptor, enum document_part part)
{
    struct place *place = arg;
    const char *diff_id = NULL;
    if (part == PART_LAYER) {
        diff_id = place->config != NULL ? config_diff_id(place->config, place->n) : NULL;
        place->n++;
    }
    return verify_blob(place, descriptor, diff_id);
}

/* None of its platforms is here: the one that a pull would bring is missing. */
static int
verify_nothing_below(const struct place *place, const json_t *index)
{
    struct verify *verify = place->verify;
    struct ctr_platform want;
    int rc = image_platform(verify->op.images, NULL, &want, verify->err);
    const json_t *choice = rc == 0 ? manifest_choose(index, &want) : NULL;
    if (choice == NULL) {
        choice = json_array_get(json_object_get(index, "manifests"), 0);
    }
    return rc < 0 || choice == NULL
               ? rc
               : entry_note(verify, ctr_json_str(choice, "digest", ""), BLOB_MISSING, "");
}

static int
verify_index(struct place *place, const json_t *index)
{
    if (place->depth > IMAGE_MAX_DEPTH) {
        return 0;
    }
    int rc = document_below(index, verify_listed, place);
    return rc == 0 && place->n == 0 ? verify_nothing_below(place, index) : rc;
}

/* The config first: its diff_ids are what the layers are held against. Of an artifact the blobs are only hashed. */
static int
verify_manifest(struct place *place, const json_t *manifest)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(free) char *text = NULL;
    place->config = image_config(place->verify->op.images, manifest, &ignored);
    if (place->config != NULL && place->platform[0] == '\0') {
        struct ctr_platform platform;
        config_platform(place->config, &platform);
        text = platform_text(&platform);
        place->platform = text != NULL ? text : "";
    }
    int rc = document_below(manifest, verify_owned, place);
    json_decref(place->config);
    return rc;
}

static int
verify_document(struct place *place, const json_t *descriptor)
{
    struct verify *verify = place->verify;
    const char *digest = ctr_json_str(descriptor, "digest", "");
    enum blob_state state = BLOB_WHOLE;
    int rc = verify_blob_state(verify, descriptor, NULL, &state);
    rc = rc < 0 ? rc : entry_note(verify, digest, state, place->platform);
    if (rc < 0 || state != BLOB_WHOLE) {
        return rc;
    }
    CTR_AUTO(json)
    json_t *document = document_read(verify->op.images, digest, NULL, verify->err);
    if (document == NULL) {
        return verify->err->code;
    }
    return json_object_get(document, "manifests") != NULL ? verify_index(place, document)
                                                          : verify_manifest(place, document);
}

/* --- records --- */

static char *
entry_name(const char *key)
{
    struct ctr_ref ref;
    struct ctr_error ignored = CTR_ERROR_INIT;
    return ctr_is_digest(key)                        ? strdup("")
           : ctr_ref_parse(key, &ref, &ignored) == 0 ? ctr_ref_short(&ref)
                                                     : strdup(key);
}

static json_t *
entry_new(const char *key, const char *digest)
{
    CTR_AUTO(free) char *name = entry_name(key);
    return json_pack("{s:s, s:s, s:i, s:i, s:[], s:[]}", "reference", name != NULL ? name : "",
                     "digest", digest, "blobs", 0, "bytes", 0, "missing", "damaged");
}

/* What was removed while it was looked at lacks nothing. */
static bool
record_stands(const struct verify *verify, const char *key, const char *digest)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *now = ctr_record_get(verify->op.images->store, "image", key, &ignored);
    return strcmp(ctr_json_str(now, "digest", ""), digest) == 0;
}

/* Looks at all that the record needs. */
static int
record_look(struct verify *verify, const json_t *value)
{
    struct place place = {.verify = verify, .depth = 1, .platform = ""};
    bool ok = json_object_clear(verify->platforms) == 0 &&
              json_object_set_new(verify->entry, "blobs", json_integer(0)) == 0 &&
              json_object_set_new(verify->entry, "bytes", json_integer(0)) == 0;
    return ok ? verify_document(&place, value) : verify_fail_memory(verify);
}

/* What was not whole is looked at anew. */
static void
record_forget(struct verify *verify)
{
    const char *key = NULL;
    json_t *state = NULL;
    void *next = NULL;
    json_object_foreach_safe(verify->states, next, key, state)
    {
        if (json_integer_value(state) != BLOB_WHOLE) {
            (void) json_object_del(verify->states, key);
        }
    }
}

/* Heals until nothing is missing: what a missing index lists shows only when it has come back. */
static int
record_heal(struct verify *verify, const char *key, const json_t *value)
{
    int rc = 1;
    for (int i = 0; rc == 1 && json_object_size(verify->platforms) > 0; i++) {
        rc = i <= IMAGE_MAX_DEPTH ? verify_heal(verify, key, ctr_json_str(value, "digest", ""))
                                  : 0;
        if (rc == 1) {
            record_forget(verify);
            int looked = record_look(verify, value);
            rc = looked < 0 ? looked : rc;
        }
    }
    return rc < 0 ? rc : 0;
}

static int
verify_record(void *arg, const char *key, const json_t *value)
{
    struct verify *verify = arg;
    const char *digest = ctr_json_str(value, "digest", "");
    bool wanted = verify->only == NULL || strcmp(verify->only, digest) == 0 ||
                  strcmp(verify->only, key) == 0;
    if (!wanted || !ctr_is_digest(digest)) {
        return 0;
    }
    CTR_AUTO(json) json_t *entry = entry_new(key, digest);
    CTR_AUTO(json) json_t *platforms = json_object();
    if (entry == NULL || platforms == NULL) {
        return verify_fail_memory(verify);
    }
    verify->entry = entry;
    verify->platforms = platforms;
    int rc = record_look(verify, value);
    bool lacks = json_object_size(platforms) > 0;
    if (rc < 0 || (lacks && !record_stands(verify, key, digest))) {
        return rc < 0 ? rc : 0;
    }
    rc = verify->heal ? record_heal(verify, key, value) : 0;
    if (rc == 0 && json_array_append(verify->answer, entry) < 0) {
        rc = verify_fail_memory(verify);
    }
    return rc;
}

/* --- what belongs to no image, and index.json --- */

static int
verify_stray(void *arg, const char *digest, uint64_t size)
{
    struct verify *verify = arg;
    if (json_object_get(verify->states, digest) != NULL) {
        return 0;
    }
    CTR_AUTO(json) json_t *descriptor = json_pack("{s:s}", "digest", digest);
    enum blob_state state = BLOB_WHOLE;
    int rc = descriptor == NULL ? verify_fail_memory(verify)
                                : verify_blob_state(verify, descriptor, NULL, &state);
    /* One that went meanwhile was garbage, and is missed by nobody. */
    return rc < 0 || state == BLOB_MISSING ? rc : entry_note(verify, digest, state, "");
}

static int
verify_strays(struct verify *verify)
{
    CTR_AUTO(json) json_t *entry = entry_new("", "");
    CTR_AUTO(json) json_t *platforms = json_object();
    if (entry == NULL || platforms == NULL) {
        return verify_fail_memory(verify);
    }
    verify->entry = entry;
    verify->platforms = platforms;
    int rc = ctr_blob_each(verify->op.images->store, verify_stray, verify, verify->err);
    bool any = ctr_json_int(entry, "blobs", 0) > 0 || json_object_size(platforms) > 0;
    if (rc == 0 && any && json_array_append(verify->answer, entry) < 0) {
        rc = verify_fail_memory(verify);
    }
    return rc;
}

/* index.json is a view of the records: written anew, and told of if it was another one. */
static int
verify_layout(struct verify *verify)
{
    struct ctr_store *store = verify->op.images->store;
    struct ctr_error ignored = CTR_ERROR_INIT;
    CTR_AUTO(free) char *path = ctr_printf("%s/images/index.json", ctr_store_data(store));
    if (path == NULL) {
        return verify_fail_memory(verify);
    }
    CTR_AUTO(json) json_t *before = ctr_read_json(path, VERIFY_MAX_INDEX, &ignored);
    int rc = ctr_store_write_index(store, verify->err);
    CTR_AUTO(json)
    json_t *after = rc == 0 ? ctr_read_json(path, VERIFY_MAX_INDEX, verify->err) : NULL;
    if (after == NULL) {
        return verify->err->code;
    }
    if (!json_equal(before, after)) {
        ctr_transfer_step(&verify->op.transfer, NULL,
                          "index.json was not what the records say: written anew", 0, 0);
        ctr_log(CTR_LEVEL_WARN, "event=index-rewritten path=%s", path);
    }
    return 0;
}

/* --- the whole --- */

static int
verify_run(struct verify *verify, const char *text)
{
    struct image_found found = {.key = NULL};
    int rc = text != NULL ? image_find(verify->op.images, text, &found, verify->err) : 0;
    verify->only = text == NULL ? NULL : found.key != NULL ? found.key : found.top;
    rc = rc < 0 ? rc : verify_layout(verify);
    rc = rc < 0 ? rc
                : ctr_record_each(verify->op.images->store, "image", verify_record, verify,
                                  verify->err);
    rc = rc < 0 || text != NULL ? rc : verify_strays(verify);
    free(found.key);
    return rc;
}

json_t *
ctr_image_verify(struct ctr_images *images, const char *text, bool heal,
                 struct ctr_storage *storage, const struct ctr_progress *progress,
                 struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *answer = json_array();
    CTR_AUTO(json) json_t *states = json_object();
    struct verify verify = {.heal = heal,
                            .storage = storage,
                            .progress = progress,
                            .states = states,
                            .answer = answer,
                            .err = &inner};
    int rc = answer == NULL || states == NULL ? ctr_fail(&inner, -ENOMEM, "out of memory")
                                              : op_init(&verify.op, images, progress, &inner);
    if (rc == 0) {
        rc = verify_run(&verify, text);
        op_finish(&verify.op);
    }
    if (rc < 0) {
        (void) ctr_fail(err, rc, "verify: %s", inner.msg);
        return NULL;
    }
    return ctr_steal(&answer);
}
