/*
 * What a save writes. An index goes out as it is only where the store has all that is below it; else its manifests do, each by itself with
 * its own digest, and the image's name stands at the one that fits this machine best.
 */
#include "core/image/documents.h"
#include "core/image/save.h"

/* Leases a blob, and then looks whether it is there. */
static int
plan_blob(struct save *save, const char *digest, struct ctr_error *err)
{
    int rc = ctr_is_digest(digest) ? lease_add(&save->op, digest, err)
                                   : ctr_fail(err, -EBADMSG, "\"%.80s\" is no digest", digest);
    if (rc < 0) {
        return rc;
    }
    if (!ctr_blob_exists(save->op.images->store, digest, NULL)) {
        return ctr_fail(err, -ENOENT, "blob %s is not here; pull the image again", digest);
    }
    return json_object_set_new(save->blobs, digest, json_true()) < 0
               ? ctr_fail(err, -ENOMEM, "out of memory")
               : 0;
}

struct level {
    struct save *save;
    int depth;
    struct ctr_error *err;
};

static int plan_check(struct level *level, const char *digest, enum document_part part);

static int
check_part(void *arg, const json_t *descriptor, enum document_part part)
{
    const struct level *above = arg;
    struct level level = {.save = above->save, .depth = above->depth + 1, .err = above->err};
    return plan_check(&level, ctr_json_str(descriptor, "digest", ""), part);
}

/* 0: it and all below it is here; -ENOENT: not so. */
static int
plan_check(struct level *level, const char *digest, enum document_part part)
{
    struct save *save = level->save;
    if (json_object_get(save->whole, digest) != NULL) {
        return 0;
    }
    int rc = ctr_is_digest(digest) ? lease_add(&save->op, digest, level->err) : -ENOENT;
    if (rc < 0 || level->depth > IMAGE_MAX_DEPTH + 1 ||
        !ctr_blob_exists(save->op.images->store, digest, NULL)) {
        return rc < 0 ? rc : -ENOENT;
    }
    if (part == PART_DOCUMENT) {
        CTR_AUTO(json)
        json_t *document = document_read(save->op.images, digest, NULL, level->err);
        rc = document != NULL ? document_below(document, check_part, level) : level->err->code;
    }
    if (rc == 0 && json_object_set_new(save->whole, digest, json_true()) < 0) {
        rc = ctr_fail(level->err, -ENOMEM, "out of memory");
    }
    return rc;
}

static int plan_tree(struct level *level, const char *digest, enum document_part part);

static int
tree_part(void *arg, const json_t *descriptor, enum document_part part)
{
    const struct level *above = arg;
    struct level level = {.save = above->save, .depth = above->depth + 1, .err = above->err};
    return plan_tree(&level, ctr_json_str(descriptor, "digest", ""), part);
}

static int
plan_tree(struct level *level, const char *digest, enum document_part part)
{
    struct save *save = level->save;
    if (json_object_get(save->blobs, digest) != NULL) {
        return 0;
    }
    int rc = plan_blob(save, digest, level->err);
    if (rc == 0 && part == PART_DOCUMENT) {
        CTR_AUTO(json)
        json_t *document = document_read(save->op.images, digest, NULL, level->err);
        rc = document != NULL ? document_below(document, tree_part, level) : level->err->code;
    }
    return rc;
}

/* --- index.json --- */

static bool
entry_is(const json_t *entry, const char *annotation, const char *value)
{
    return strcmp(ctr_json_str(json_object_get(entry, "annotations"), annotation, ""), value) ==
           0;
}

/* The annotations of a named image as containerd writes them: the whole name, and its tag for those who look for that; unless another image of
 * this layout has the tag already: then the whole name stands there too. An older entry of the same name goes. */
static json_t *
index_annotations(struct save *save, const struct ctr_ref *ref, const char *key)
{
    json_t *manifests = json_object_get(save->index, "manifests");
    const char *tag = ref->tag[0] != '\0' ? ref->tag : key;
    bool taken = false;
    for (size_t i = json_array_size(manifests); i-- > 0;) {
        const json_t *entry = json_array_get(manifests, i);
        if (entry_is(entry, SAVE_IMAGE_NAME, key) || entry_is(entry, SAVE_REF_NAME, key)) {
            (void) json_array_remove(manifests, i);
        } else if (entry_is(entry, SAVE_REF_NAME, tag)) {
            taken = true;
        }
    }
    return json_pack("{s:s, s:s}", SAVE_REF_NAME, taken ? key : tag, SAVE_IMAGE_NAME, key);
}

/* A nameless image that is listed already needs no second entry. */
static bool
index_has(const struct save *save, const char *digest)
{
    size_t i = 0;
    json_t *entry = NULL;
    json_array_foreach(json_object_get(save->index, "manifests"), i, entry)
    {
        if (strcmp(ctr_json_str(entry, "digest", ""), digest) == 0) {
            return true;
        }
    }
    return false;
}

static json_t *
index_platform(struct ctr_images *images, const json_t *manifest, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *config = image_config(images, manifest, err);
    struct ctr_platform platform;
    if (config == NULL) {
        return NULL;
    }
    config_platform(config, &platform);
    return json_pack("{s:s, s:s, s:s*}", "architecture", platform.arch, "os", platform.os,
                     "variant", platform.variant[0] != '\0' ? platform.variant : NULL);
}

static int
index_add(struct save *save, const struct ctr_ref *ref, const char *key, const char *digest,
          struct ctr_error *err)
{
    struct ctr_images *images = save->op.images;
    uint64_t size = 0;
    CTR_AUTO(json) json_t *document = image_document(images, digest, &size, err);
    if (document == NULL) {
        return err->code;
    }
    if (key == NULL && index_has(save, digest)) {
        return 0;
    }
    CTR_AUTO(json)
    json_t *entry = json_pack("{s:s, s:s, s:I}", "mediaType", manifest_media_type(document),
                              "digest", digest, "size", (json_int_t) size);
    int rc = entry == NULL ? -1 : 0;
    if (rc == 0 && manifest_kind(document) == MEDIA_MANIFEST) {
        json_t *platform = index_platform(images, document, err);
        if (platform == NULL) {
            return err->code < 0 ? err->code : ctr_fail(err, -ENOMEM, "out of memory");
        }
        rc = json_object_set_new(entry, "platform", platform);
    }
    if (rc == 0 && key != NULL) {
        rc = json_object_set_new(entry, "annotations", index_annotations(save, ref, key));
    }
    rc = rc < 0 ? rc : json_array_append(json_object_get(save->index, "manifests"), entry);
    return rc < 0 ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
}

/* --- docker's manifest.json: one manifest for each image --- */

static json_t *
docker_path(const json_t *descriptor)
{
    return json_sprintf("blobs/sha256/%s", ctr_json_str(descriptor, "digest", "sha256:") + 7);
}

static json_t *
docker_entry(const char *manifest_digest, const json_t *manifest)
{
    json_t *layers = json_array();
    size_t i = 0;
    json_t *layer = NULL;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer)
    {
        if (json_array_append_new(layers, docker_path(layer)) < 0) {
            json_decref(layers);
            return NULL;
        }
    }
    return json_pack("{s:s, s:o, s:n, s:o}", "digest", manifest_digest, "Config",
                     docker_path(json_object_get(manifest, "config")), "RepoTags", "Layers",
                     layers);
}

static int
docker_tag(json_t *entry, const struct ctr_ref *ref)
{
    if (!json_is_array(json_object_get(entry, "RepoTags")) &&
        json_object_set_new(entry, "RepoTags", json_array()) < 0) {
        return -1;
    }
    CTR_AUTO(free) char *name = ctr_ref_short(ref);
    return json_array_append_new(json_object_get(entry, "RepoTags"), json_string(name));
}

/* `digest` names the manifest that the entry is kept by until it is written. */
static int
docker_add(struct save *save, const struct ctr_ref *ref, const char *digest,
           struct ctr_error *err)
{
    size_t i = 0;
    json_t *entry = NULL, *found = NULL;
    json_array_foreach(save->docker, i, entry)
    {
        found = strcmp(ctr_json_str(entry, "digest", ""), digest) == 0 ? entry : found;
    }
    if (found == NULL) {
        CTR_AUTO(json) json_t *manifest = image_document(save->op.images, digest, NULL, err);
        if (manifest == NULL) {
            return err->code;
        }
        found = docker_entry(digest, manifest);
        if (json_array_append_new(save->docker, found) < 0) {
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
    }
    bool named = ref != NULL && ref->tag[0] != '\0';
    return named && docker_tag(found, ref) < 0 ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
}

/* --- one image --- */

/* A name as it is written: with its tag, without a digest. */
static int
plan_name(const char *key, struct ctr_ref *ret, char **ret_key, struct ctr_error *err)
{
    int rc = ctr_ref_parse(key, ret, err);
    if (rc == 0) {
        ret->digest[0] = '\0';
        *ret_key = ctr_ref_full(ret);
    }
    return rc < 0 || *ret_key != NULL ? rc : ctr_fail(err, -ENOMEM, "out of memory");
}

/* One entry of index.json and what is below it; `shown`: the manifest that docker's list has for it, "" for none. */
static int
plan_entry(struct save *save, const char *key, const char *digest, const char *shown,
           struct ctr_error *err)
{
    struct ctr_ref ref;
    struct level level = {.save = save, .depth = 1, .err = err};
    CTR_AUTO(free) char *name = NULL;
    int rc = key != NULL ? plan_name(key, &ref, &name, err) : 0;
    rc = rc < 0 ? rc : plan_tree(&level, digest, PART_DOCUMENT);
    rc = rc < 0 ? rc : index_add(save, &ref, name, digest, err);
    if (rc == 0 && shown[0] != '\0') {
        rc = docker_add(save, name != NULL ? &ref : NULL, shown, err);
    }
    return rc;
}

struct parts {
    struct save *save;
    const char *best, *key;
    struct ctr_error *err;
};

static int
parts_manifest(void *arg, const char *digest, const json_t *manifest)
{
    const struct parts *parts = arg;
    bool best = strcmp(digest, parts->best) == 0;
    int rc = plan_entry(parts->save, best ? parts->key : NULL, digest, best ? digest : "",
                        parts->err);
    return rc < 0 ? 1 : 0; /* the error is kept: a negative code would be passed over */
}

/* The manifests that are here of an index that is not whole. */
static int
plan_parts(struct save *save, const char *key, const char *index, const char *best,
           struct ctr_error *err)
{
    struct parts parts = {.save = save, .best = best, .key = key, .err = err};
    ctr_transfer_step(&save->op.transfer, index, "Not all platforms are here: saved one by one",
                      0, 0);
    int rc = image_manifests(save->op.images, index, parts_manifest, &parts, err);
    return rc > 0 ? err->code : rc;
}

int
save_plan(struct save *save, const char *text, const char *platform, struct ctr_error *err)
{
    struct ctr_images *images = save->op.images;
    struct image_found found = {.key = NULL};
    struct ctr_image image;
    struct ctr_error missing = CTR_ERROR_INIT;
    struct level level = {.save = save, .depth = 1, .err = &missing};
    bool chosen = platform != NULL && platform[0] != '\0';
    int rc = image_find(images, text, &found, err);
    rc = rc < 0 ? rc : lease_add(&save->op, found.top, err);
    rc = rc < 0 ? rc : ctr_image_resolve(images, text, chosen ? platform : NULL, &image, err);
    if (rc < 0) {
        free(found.key);
        return rc;
    }
    bool one = chosen || found.manifest[0] != '\0' || strcmp(found.top, image.manifest) == 0;
    int whole = one ? 0 : plan_check(&level, found.top, PART_DOCUMENT);
    if (whole == -ENOENT) {
        rc = plan_parts(save, found.key, found.top, image.manifest, err);
    } else if (whole < 0) {
        rc = ctr_fail(err, whole, "%s", missing.msg);
    } else {
        rc = plan_entry(save, found.key, one ? image.manifest : found.top, image.manifest, err);
    }
    ctr_image_finish(&image);
    free(found.key);
    return rc < 0 ? ctr_prefix(err, "image %.200s", text) : 0;
}
