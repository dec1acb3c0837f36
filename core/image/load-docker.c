/*
 * A docker archive (docker save): manifest.json names a config and layer files. The layers are stored as they are, mostly plain
 * tar, whose digest is their diff_id; an OCI manifest is made for them.
 */
#include "core/image/load.h"

#define DOCKER_MAX_IMAGES 256

/* The archive's file by path, over at most one link inside it. Borrowed; NULL: none. */
static const json_t *
docker_file(const struct load *load, const char *path)
{
    const json_t *file = path != NULL ? json_object_get(load->files, path) : NULL;
    const char *link = ctr_json_str(file, "link", NULL);
    if (link != NULL) {
        file = json_object_get(load->files, link);
    }
    return ctr_json_str(file, "digest", NULL) != NULL ? file : NULL;
}

static int
docker_add_layers(struct load *load, const json_t *paths, json_t *layers, struct ctr_error *err)
{
    size_t i = 0;
    json_t *path = NULL;
    json_array_foreach(paths, i, path)
    {
        const json_t *file = docker_file(load, json_string_value(path));
        if (file == NULL) {
            return ctr_fail(err, -EBADMSG, "the archive lacks layer \"%.200s\"",
                            json_is_string(path) ? json_string_value(path) : "");
        }
        const char *digest = ctr_json_str(file, "digest", "");
        const char *type = NULL;
        if (layer_media_type(load->op.images->store, digest, &type, err) < 0) {
            return ctr_prefix(err, "layer \"%.200s\"", json_string_value(path));
        }
        json_t *layer = json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest,
                                  "size", (json_int_t) ctr_json_int(file, "size", 0));
        if (json_array_append_new(layers, layer) < 0) {
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
    }
    return 0;
}

/* Makes the OCI manifest, held to the same rules as one from outside. */
static int
docker_manifest(struct load *load, const json_t *entry, json_t **ret, char **ret_text,
                struct ctr_error *err)
{
    const char *config_path = ctr_json_str(entry, "Config", NULL);
    const json_t *file = docker_file(load, config_path);
    if (file == NULL) {
        return ctr_fail(err, -EBADMSG, "the archive lacks config \"%.200s\"",
                        config_path != NULL ? config_path : "");
    }
    CTR_AUTO(json)
    json_t *manifest = json_pack("{s:i, s:s, s:{s:s, s:s, s:I}, s:[]}", "schemaVersion", 2,
                                 "mediaType", MEDIA_OCI_MANIFEST, "config", "mediaType",
                                 MEDIA_OCI_CONFIG, "digest", ctr_json_str(file, "digest", ""),
                                 "size", (json_int_t) ctr_json_int(file, "size", 0), "layers");
    if (manifest == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = docker_add_layers(load, json_object_get(entry, "Layers"),
                               json_object_get(manifest, "layers"), err);
    CTR_AUTO(free) char *text = rc == 0 ? ctr_json_text(manifest) : NULL;
    if (rc < 0 || text == NULL) {
        return rc < 0 ? rc : ctr_fail(err, -ENOMEM, "out of memory");
    }
    rc = ctr_manifest_check(text, strlen(text), MEDIA_OCI_MANIFEST, ret, err);
    if (rc == 0) {
        *ret_text = ctr_steal(&text);
    }
    return rc;
}

static int
docker_image(struct load *load, const json_t *entry, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = NULL;
    json_t *made = NULL;
    char digest[72];
    int rc = docker_manifest(load, entry, &made, &text, err);
    CTR_AUTO(json) json_t *manifest = made;
    rc = rc < 0 ? rc : ctr_blob_put(load->op.images->store, text, strlen(text), digest, err);
    rc = rc < 0 ? rc : load_check_image(load, manifest, digest, err);
    const json_t *tags = json_object_get(entry, "RepoTags");
    size_t i = 0;
    json_t *tag = NULL;
    json_array_foreach(tags, i, tag)
    {
        if (rc == 0 && json_is_string(tag)) {
            rc = load_record(load, json_string_value(tag), digest, MEDIA_OCI_MANIFEST,
                             strlen(text), err);
        }
    }
    if (rc == 0 && json_array_size(tags) == 0) {
        rc = load_record(load, NULL, digest, MEDIA_OCI_MANIFEST, strlen(text), err);
    }
    return rc;
}

int
load_docker(struct load *load, const char *manifest, size_t length, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *entries = ctr_json_parse(manifest, length, CTR_MAX_DOCUMENT, "manifest.json", err);
    if (entries == NULL) {
        return err->code;
    }
    size_t n = json_array_size(entries);
    if (n == 0 || n > DOCKER_MAX_IMAGES) {
        return ctr_fail(err, -EBADMSG, "manifest.json lists %zu images; 1 to %d are allowed", n,
                        DOCKER_MAX_IMAGES);
    }
    size_t i = 0;
    json_t *entry = NULL;
    json_array_foreach(entries, i, entry)
    {
        int rc = docker_image(load, entry, err);
        if (rc < 0) {
            return ctr_prefix(err, "image %zu of manifest.json", i + 1);
        }
    }
    return 0;
}
