/*
 * Indexes and manifests from outside. A document is let pass only if it is one thing and one thing only: its media type,
 * the Content-Type it came with and its members agree (CVE-2021-41190). Each descriptor's digest, size and media type is
 * checked before anything is fetched for it; counts are bounded; `urls` are never read.
 */
#include "core/image/image-priv.h"

/* A digest that could be right, but of an algorithm that ctr does not compute, is told apart from nonsense. */
static int
digest_check(const char *digest, const char *what, struct ctr_error *err)
{
    if (ctr_is_digest(digest)) {
        return 0;
    }
    static const struct {
        const char *prefix;
        size_t digits;
    } others[] = {{"sha512:", 128}, {"sha384:", 96}, {"blake3:", 64}};
    for (size_t i = 0; i < CTR_LENGTH(others) && digest != NULL; i++) {
        size_t skip = strlen(others[i].prefix);
        if (ctr_starts_with(digest, others[i].prefix) &&
            strlen(digest + skip) == others[i].digits) {
            return ctr_fail(
                err, -EBADMSG,
                "%s: its digest is %.6s, which ctr does not compute; push the image "
                "with sha256 digests",
                what, digest);
        }
    }
    return ctr_fail(err, -EBADMSG,
                    "%s: digest \"%.80s\" is not sha256: and 64 lower-case hex digits", what,
                    digest != NULL ? digest : "");
}

static int
descriptor_check(const json_t *descriptor, const char *what, struct ctr_error *err)
{
    if (!json_is_object(descriptor)) {
        return ctr_fail(err, -EBADMSG, "%s is no descriptor", what);
    }
    const char *type = ctr_json_str(descriptor, "mediaType", NULL);
    const json_t *size = json_object_get(descriptor, "size");
    int rc = digest_check(ctr_json_str(descriptor, "digest", NULL), what, err);
    if (rc < 0) {
        return rc;
    }
    if (!json_is_integer(size) || json_integer_value(size) < 1 ||
        json_integer_value(size) > IMAGE_MAX_BLOB) {
        return ctr_fail(err, -EBADMSG, "%s: its size is missing or out of range", what);
    }
    if (type == NULL || type[0] == '\0') {
        return ctr_fail(err, -EBADMSG, "%s has no media type", what);
    }
    return 0;
}

/* OCI 1.1: what a manifest or an index is about, and of which kind it is. Both may be absent. */
static int
manifest_check_subject(const json_t *document, struct ctr_error *err)
{
    const json_t *subject = json_object_get(document, "subject");
    const json_t *artifact = json_object_get(document, "artifactType");
    if (artifact != NULL && !json_is_string(artifact)) {
        return ctr_fail(err, -EBADMSG, "its artifactType is no text");
    }
    return subject != NULL ? descriptor_check(subject, "subject", err) : 0;
}

static int
manifest_check_config(const json_t *document, struct ctr_error *err)
{
    const json_t *config = json_object_get(document, "config");
    int rc = descriptor_check(config, "config", err);
    if (rc < 0) {
        return rc;
    }
    const char *type = ctr_json_str(config, "mediaType", "");
    if (media_kind(type) != MEDIA_CONFIG) {
        const char *artifact = ctr_json_str(document, "artifactType", type);
        return ctr_fail(
            err, -EBADMSG,
            "it is an artifact of type %.120s, not a container image; fetch it with "
            "a tool for such artifacts",
            artifact);
    }
    if ((uint64_t) ctr_json_int(config, "size", 0) > CTR_MAX_DOCUMENT) {
        return ctr_fail(err, -EFBIG, "its config is larger than 4 MiB");
    }
    return 0;
}

/* The same digest with two sizes or two types cannot both be true. */
static int
manifest_check_repeats(const json_t *list, struct ctr_error *err)
{
    CTR_AUTO(json) json_t *seen = json_object();
    size_t i = 0;
    json_t *entry = NULL;
    json_array_foreach(list, i, entry)
    {
        const char *digest = ctr_json_str(entry, "digest", "");
        const json_t *other = json_object_get(seen, digest);
        if (other != NULL &&
            (ctr_json_int(other, "size", 0) != ctr_json_int(entry, "size", 0) ||
             strcmp(ctr_json_str(other, "mediaType", ""),
                    ctr_json_str(entry, "mediaType", "")))) {
            return ctr_fail(err, -EBADMSG, "%s stands there with two sizes or types", digest);
        }
        if (other == NULL && json_object_set(seen, digest, entry) < 0) {
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
    }
    return 0;
}

static int
manifest_check_layers(const json_t *document, struct ctr_error *err)
{
    const json_t *layers = json_object_get(document, "layers");
    if (!json_is_array(layers)) {
        return ctr_fail(err, -EBADMSG, "it has no layers");
    }
    if (json_array_size(layers) > IMAGE_MAX_LAYERS) {
        return ctr_fail(err, -EFBIG, "it has %zu layers; at most %d are allowed",
                        json_array_size(layers), IMAGE_MAX_LAYERS);
    }
    size_t i = 0;
    json_t *layer = NULL;
    json_array_foreach(layers, i, layer)
    {
        char what[32];
        (void) snprintf(what, sizeof what, "layer %zu", i + 1);
        int rc = descriptor_check(layer, what, err);
        if (rc < 0) {
            return rc;
        }
        const char *type = ctr_json_str(layer, "mediaType", "");
        if (media_kind(type) < MEDIA_TAR) {
            return ctr_fail(err, -EBADMSG,
                            "%s is of type %.120s, which is no layer that ctr can unpack%s",
                            what, type,
                            ctr_ends_with(type, "+encrypted")
                                ? "; decrypt the image first, say with skopeo copy"
                                : "");
        }
    }
    return manifest_check_repeats(layers, err);
}

static int
manifest_check_index(const json_t *document, struct ctr_error *err)
{
    const json_t *manifests = json_object_get(document, "manifests");
    if (!json_is_array(manifests)) {
        return ctr_fail(err, -EBADMSG, "it has no list of manifests");
    }
    if (json_array_size(manifests) > IMAGE_MAX_MANIFESTS) {
        return ctr_fail(err, -EFBIG, "it lists %zu manifests; at most %d are allowed",
                        json_array_size(manifests), IMAGE_MAX_MANIFESTS);
    }
    size_t i = 0;
    json_t *descriptor = NULL;
    json_array_foreach(manifests, i, descriptor)
    {
        char what[32];
        (void) snprintf(what, sizeof what, "manifest %zu", i + 1);
        int rc = descriptor_check(descriptor, what, err);
        if (rc < 0) {
            return rc;
        }
    }
    return manifest_check_repeats(manifests, err);
}

enum media
manifest_kind(const json_t *document)
{
    return json_object_get(document, "manifests") != NULL ? MEDIA_INDEX : MEDIA_MANIFEST;
}

const char *
manifest_media_type(const json_t *document)
{
    bool index = manifest_kind(document) == MEDIA_INDEX;
    return ctr_json_str(document, "mediaType", index ? MEDIA_OCI_INDEX : MEDIA_OCI_MANIFEST);
}

/* Media type, Content-Type and members say the same. */
static int
manifest_check_kind(const json_t *document, const char *media_type, struct ctr_error *err)
{
    const char *own = ctr_json_str(document, "mediaType", NULL);
    if (json_object_get(document, "mediaType") != NULL && own == NULL) {
        return ctr_fail(err, -EBADMSG, "its mediaType is no text");
    }
    if (media_type != NULL && own != NULL && strcmp(media_type, own) != 0) {
        return ctr_fail(err, -EBADMSG, "it was announced as %.120s but says that it is %.120s",
                        media_type, own);
    }
    const char *type = own != NULL ? own : media_type;
    enum media kind = media_kind(type);
    if (type != NULL && kind != MEDIA_INDEX && kind != MEDIA_MANIFEST) {
        return ctr_fail(err, -EBADMSG, "%.120s is no image manifest", type);
    }
    static const char *const both[] = {"fsLayers", "history", "signatures", "blobs"};
    for (size_t i = 0; i < CTR_LENGTH(both); i++) {
        if (json_object_get(document, both[i]) != NULL) {
            return ctr_fail(err, -EBADMSG, "it is ambiguous: an image manifest has no \"%s\"",
                            both[i]);
        }
    }
    bool lists = json_object_get(document, "manifests") != NULL;
    bool layers = json_object_get(document, "layers") != NULL ||
                  json_object_get(document, "config") != NULL;
    if (lists && layers) {
        return ctr_fail(err, -EBADMSG, "it is ambiguous: an index and a manifest in one");
    }
    if (type != NULL && (kind == MEDIA_INDEX) != lists) {
        return ctr_fail(err, -EBADMSG, "it is not the %.120s that it says it is", type);
    }
    return 0;
}

int
ctr_manifest_check(const char *bytes, size_t length, const char *media_type, json_t **ret,
                   struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *document = ctr_json_parse(bytes, length, CTR_MAX_DOCUMENT, "manifest", err);
    if (document == NULL) {
        return err != NULL && err->code < 0 ? err->code : -EBADMSG;
    }
    int rc = 0;
    if (!json_is_object(document)) {
        rc = ctr_fail(err, -EBADMSG, "it is no JSON object");
    } else if (ctr_json_int(document, "schemaVersion", 0) == 1) {
        rc = ctr_fail(err, -EBADMSG,
                      "docker's schema 1 is not supported; push the image anew with a "
                      "current tool");
    } else if (ctr_json_int(document, "schemaVersion", 0) != 2) {
        rc = ctr_fail(err, -EBADMSG, "its schemaVersion is not 2");
    }
    if (rc == 0) {
        rc = manifest_check_kind(document, media_type, err);
    }
    rc = rc < 0 ? rc : manifest_check_subject(document, err);
    if (rc == 0 && manifest_kind(document) == MEDIA_INDEX) {
        rc = manifest_check_index(document, err);
    } else if (rc == 0) {
        rc = manifest_check_config(document, err);
        rc = rc < 0 ? rc : manifest_check_layers(document, err);
    }
    if (rc < 0) {
        (void) ctr_prefix(err, "manifest");
        return rc;
    }
    *ret = ctr_steal(&document);
    return 0;
}

/* --- choosing by platform --- */

void
descriptor_platform(const json_t *descriptor, struct ctr_platform *ret)
{
    const json_t *platform = json_object_get(descriptor, "platform");
    (void) snprintf(ret->os, sizeof ret->os, "%.15s", ctr_json_str(platform, "os", ""));
    (void) snprintf(ret->arch, sizeof ret->arch, "%.15s",
                    ctr_json_str(platform, "architecture", ""));
    (void) snprintf(ret->variant, sizeof ret->variant, "%.15s",
                    ctr_json_str(platform, "variant", ""));
}

const json_t *
manifest_choose(const json_t *index, const struct ctr_platform *platform)
{
    const json_t *best = NULL;
    int best_score = 0;
    size_t i = 0;
    json_t *descriptor = NULL;
    json_array_foreach(json_object_get(index, "manifests"), i, descriptor)
    {
        enum media kind = media_kind(ctr_json_str(descriptor, "mediaType", ""));
        int score = 0;
        if (json_is_object(json_object_get(descriptor, "platform"))) {
            struct ctr_platform have;
            descriptor_platform(descriptor, &have);
            score = platform_score(&have, platform);
        } else if (kind == MEDIA_MANIFEST || kind == MEDIA_INDEX) {
            score = 1; /* says nothing: its config will tell */
        }
        if ((kind == MEDIA_MANIFEST || kind == MEDIA_INDEX) && score > best_score) {
            best = descriptor;
            best_score = score;
        }
    }
    return best;
}

char *
manifest_platforms(const json_t *index)
{
    CTR_AUTO(buf) struct ctr_buf text = {0};
    size_t i = 0;
    json_t *descriptor = NULL;
    json_array_foreach(json_object_get(index, "manifests"), i, descriptor)
    {
        struct ctr_platform have;
        descriptor_platform(descriptor, &have);
        if (have.os[0] == '\0' || strcmp(have.os, "unknown") == 0 || text.length > 300) {
            continue;
        }
        ctr_buf_printf(&text, "%s%s/%s%s%s", text.length > 0 ? ", " : "", have.os, have.arch,
                       have.variant[0] != '\0' ? "/" : "", have.variant);
    }
    if (text.length == 0) {
        ctr_buf_puts(&text, "none that it names");
    }
    return ctr_buf_take(&text);
}
