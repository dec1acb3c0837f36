/*
 * An OCI image layout (image-spec/image-layout.md): from index.json down to the layers, all that the layout has. Platforms
 * whose manifest is not in it are passed over; a manifest that is there must be whole.
 */
#include "core/image/documents.h"
#include "core/image/load.h"

static int
layout_manifest(struct load *load, const json_t *manifest, const char *digest,
                struct ctr_error *err)
{
    const json_t *config = json_object_get(manifest, "config");
    int rc = load->fetch(load, ctr_json_str(config, "digest", ""),
                         (uint64_t) ctr_json_int(config, "size", 0), err);
    size_t i = 0;
    json_t *layer = NULL;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer)
    {
        rc = rc < 0 ? rc
                    : load->fetch(load, ctr_json_str(layer, "digest", ""),
                                  (uint64_t) ctr_json_int(layer, "size", 0), err);
    }
    if (rc == -ENOENT) {
        return ctr_fail(err, -EBADMSG, "the layout lacks a blob that its manifest names");
    }
    return rc < 0 ? rc : load_check_image(load, manifest, digest, err);
}

static bool
layout_is_wanted(const json_t *descriptor)
{
    enum media kind = media_kind(ctr_json_str(descriptor, "mediaType", ""));
    const json_t *platform = json_object_get(descriptor, "platform");
    return (kind == MEDIA_MANIFEST || kind == MEDIA_INDEX) &&
           strcmp(ctr_json_str(platform, "os", ""), "unknown") != 0;
}

/* What an index lists beside images (attestations and the like) comes along as far as the layout has it, so that the index stays whole. */
struct layout_extra {
    struct load *load;
    int depth;
    struct ctr_error *err;
};

static int
layout_extra(void *arg, const json_t *descriptor, enum document_part part)
{
    const struct layout_extra *above = arg;
    const char *digest = ctr_json_str(descriptor, "digest", "");
    int64_t size = ctr_json_int(descriptor, "size", -1);
    if (!ctr_is_digest(digest) || size < 0 || above->depth > IMAGE_MAX_DEPTH) {
        return ctr_fail(above->err, -EBADMSG, "it lists a blob without digest or size");
    }
    int rc = above->load->fetch(above->load, digest, (uint64_t) size, above->err);
    if (rc < 0 || part != PART_DOCUMENT) {
        return rc == -ENOENT ? 0 : rc;
    }
    struct layout_extra below = {
        .load = above->load, .depth = above->depth + 1, .err = above->err};
    CTR_AUTO(json)
    json_t *document = document_read(above->load->op.images, digest, NULL, above->err);
    return document != NULL ? document_below(document, layout_extra, &below) : above->err->code;
}

static int layout_tree(struct load *load, const json_t *descriptor, int depth, size_t *n,
                       struct ctr_error *err);

static int
layout_index(struct load *load, const json_t *index, int depth, size_t *n,
             struct ctr_error *err)
{
    size_t i = 0;
    json_t *descriptor = NULL;
    json_array_foreach(json_object_get(index, "manifests"), i, descriptor)
    {
        struct layout_extra extra = {.load = load, .depth = depth, .err = err};
        bool wanted = layout_is_wanted(descriptor);
        int rc = wanted ? layout_tree(load, descriptor, depth + 1, n, err)
                        : layout_extra(&extra, descriptor, document_part_of(descriptor, true));
        if (rc < 0 && rc != -ENOENT) {
            return rc;
        }
    }
    return 0;
}

/* Counts in *n the manifests that came. -ENOENT: the layout has no such document. */
static int
layout_tree(struct load *load, const json_t *descriptor, int depth, size_t *n,
            struct ctr_error *err)
{
    const char *digest = ctr_json_str(descriptor, "digest", "");
    uint64_t size = (uint64_t) ctr_json_int(descriptor, "size", 0), found = 0;
    if (depth > IMAGE_MAX_DEPTH) {
        return ctr_fail(err, -ELOOP, "its indexes are nested more than %d deep",
                        IMAGE_MAX_DEPTH);
    }
    int rc = size <= CTR_MAX_DOCUMENT
                 ? load->fetch(load, digest, size, err)
                 : ctr_fail(err, -EFBIG, "manifest %s is too large", digest);
    if (rc < 0) {
        return rc;
    }
    CTR_AUTO(json) json_t *document = image_document(load->op.images, digest, &found, err);
    if (document == NULL) {
        return err->code;
    }
    if (found != size ||
        strcmp(manifest_media_type(document), ctr_json_str(descriptor, "mediaType", "")) != 0) {
        return ctr_fail(err, -EBADMSG,
                        "manifest %s: size or type is not what its descriptor says", digest);
    }
    if (manifest_kind(document) == MEDIA_INDEX) {
        return layout_index(load, document, depth, n, err);
    }
    rc = layout_manifest(load, document, digest, err);
    *n += rc == 0;
    return rc;
}

/* A full name stands for itself; a bare tag belongs to the folder's name, in an archive to none. Caller frees. */
static int
layout_name(const struct load *load, const json_t *descriptor, char **ret,
            struct ctr_error *err)
{
    const json_t *annotations = json_object_get(descriptor, "annotations");
    const char *name = ctr_json_str(annotations, "io.containerd.image.name", NULL);
    const char *tag = ctr_json_str(annotations, "org.opencontainers.image.ref.name", NULL);
    struct ctr_ref ref;
    struct ctr_error ignored = CTR_ERROR_INIT;
    name = name != NULL ? name : tag;
    *ret = NULL;
    if (name == NULL) {
        return 0;
    }
    bool bare = strpbrk(name, "/:@") == NULL;
    if (!bare) {
        *ret = strdup(name);
    } else if (load->base[0] != '\0') {
        *ret = ctr_printf("%s:%s", load->base, name);
    } else if (strcmp(name, "latest") != 0) {
        *ret = strdup(name);
    } else {
        return 0;
    }
    if (*ret == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (ctr_ref_parse(*ret, &ref, &ignored) < 0) {
        free(ctr_steal(ret)); /* a name that no reference can have: the image stays nameless */
    }
    return 0;
}

static int
layout_entry(struct load *load, const json_t *descriptor, struct ctr_error *err)
{
    size_t n = 0;
    CTR_AUTO(free) char *name = NULL;
    int rc = layout_name(load, descriptor, &name, err);
    rc = rc < 0 ? rc : layout_tree(load, descriptor, 1, &n, err);
    if (rc < 0) {
        return rc;
    }
    if (n == 0) {
        return ctr_fail(err, -EBADMSG,
                        "the layout has none of the manifests that its index lists");
    }
    return load_record(load, name, ctr_json_str(descriptor, "digest", ""),
                       ctr_json_str(descriptor, "mediaType", ""),
                       (uint64_t) ctr_json_int(descriptor, "size", 0), err);
}

int
load_layout(struct load *load, const char *index, size_t length, struct ctr_error *err)
{
    json_t *parsed = NULL;
    int rc = ctr_manifest_check(index, length, NULL, &parsed, err);
    CTR_AUTO(json) json_t *document = parsed;
    if (rc == 0 && manifest_kind(document) != MEDIA_INDEX) {
        rc = ctr_fail(err, -EBADMSG, "it is no list of images");
    }
    if (rc < 0) {
        return ctr_prefix(err, "index.json");
    }
    size_t i = 0, n_other = 0;
    json_t *descriptor = NULL;
    json_array_foreach(json_object_get(document, "manifests"), i, descriptor)
    {
        const char *tag = ctr_json_str(json_object_get(descriptor, "annotations"),
                                       "org.opencontainers.image.ref.name", "");
        if (!layout_is_wanted(descriptor) ||
            (load->tag != NULL && strcmp(tag, load->tag) != 0)) {
            n_other++;
            continue;
        }
        rc = layout_entry(load, descriptor, err);
        if (rc < 0) {
            return rc == -ENOENT ? ctr_fail(err, -EBADMSG, "the layout lacks manifest %s",
                                            ctr_json_str(descriptor, "digest", ""))
                                 : rc;
        }
    }
    if (load->n_loaded == 0) {
        return ctr_fail(err, -ENOENT, "there is no %s%s in it (%zu others)",
                        load->tag != NULL ? "tag " : "image",
                        load->tag != NULL ? load->tag : "", n_other);
    }
    return 0;
}
