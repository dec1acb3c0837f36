/*
 * From what a user writes to an image in the store: references, digests, IDs and unique prefixes of IDs; and the list of all.
 */
#include "core/image/image-priv.h"

/* --- building --- */

static int
references_add(void *arg, const char *key, const json_t *value)
{
    const struct ctr_image *image = arg;
    if (strcmp(ctr_json_str(value, "digest", ""), image->digest) != 0 || ctr_is_digest(key)) {
        return 0;
    }
    struct ctr_error ignored = CTR_ERROR_INIT;
    struct ctr_ref ref;
    CTR_AUTO(free)
    char *text = ctr_ref_parse(key, &ref, &ignored) == 0 ? ctr_ref_short(&ref) : strdup(key);
    return text == NULL || json_array_append_new(image->references, json_string(text)) < 0
               ? -ENOMEM
               : 0;
}

/* Everything but the references. */
static int
image_build(struct ctr_images *images, const char *top, const char *digest,
            const json_t *manifest, struct ctr_image *ret, struct ctr_error *err)
{
    struct ctr_image image = {.size = 0};
    const json_t *config = json_object_get(manifest, "config");
    image.config = image_config(images, manifest, err);
    if (image.config == NULL) {
        return err->code;
    }
    CTR_AUTO(json) json_t *chains = config_chains(image.config);
    size_t n = json_array_size(chains);
    image.layers = json_deep_copy(json_object_get(manifest, "layers"));
    image.references = json_array();
    if (chains == NULL || image.layers == NULL || image.references == NULL) {
        ctr_image_finish(&image);
        return ctr_fail(err, -ENOMEM, "image %s: out of memory", digest);
    }
    (void) snprintf(image.id, sizeof image.id, "%s", ctr_json_str(config, "digest", ""));
    (void) snprintf(image.digest, sizeof image.digest, "%s", top);
    (void) snprintf(image.manifest, sizeof image.manifest, "%s", digest);
    (void) snprintf(image.chain_id, sizeof image.chain_id, "%s",
                    n > 0 ? json_string_value(json_array_get(chains, n - 1))
                          : IMAGE_EMPTY_CHAIN);
    config_platform(image.config, &image.platform);
    image.size = (uint64_t) ctr_json_int(config, "size", 0);
    size_t i = 0;
    json_t *layer = NULL;
    json_array_foreach(image.layers, i, layer)
    {
        image.size += (uint64_t) ctr_json_int(layer, "size", 0);
        (void) json_object_del(layer, "urls");
    }
    *ret = image;
    return 0;
}

void
ctr_image_finish(struct ctr_image *image)
{
    json_decref(image->config);
    json_decref(image->layers);
    json_decref(image->references);
    memset(image, 0, sizeof *image);
}

/* --- finding --- */

struct find {
    struct ctr_images *images;
    const char *prefix; /* of an ID, with "sha256:" */
    struct image_found *found;
    const char *top;
    char id[72];
    bool several;
};

static int
find_in_manifest(void *arg, const char *digest, const json_t *manifest)
{
    struct find *find = arg;
    const char *id = ctr_json_str(json_object_get(manifest, "config"), "digest", "");
    bool match = ctr_starts_with(id, find->prefix) || strcmp(digest, find->prefix) == 0;
    if (!match) {
        return 0;
    }
    if (find->id[0] != '\0' && strcmp(find->id, id) != 0) {
        find->several = true;
    }
    if (find->id[0] == '\0') {
        memcpy(find->id, id, 72);
        memcpy(find->found->top, find->top, 72);
        memcpy(find->found->manifest, digest, 72);
        memcpy(find->found->id, id, 72);
    }
    return 0;
}

static int
find_in_record(void *arg, const char *key, const json_t *value)
{
    struct find *find = arg;
    struct ctr_error ignored = CTR_ERROR_INIT;
    find->top = ctr_json_str(value, "digest", "");
    if (!ctr_is_digest(find->top)) {
        return 0;
    }
    if (strcmp(find->top, find->prefix) == 0) {
        memcpy(find->found->top, find->top, 72);
        find->found->manifest[0] = find->found->id[0] = '\0';
        return 1;
    }
    int rc = image_manifests(find->images, find->top, find_in_manifest, find, &ignored);
    return rc > 0 ? rc : 0;
}

static int
find_by_id(struct ctr_images *images, const char *text, struct image_found *ret,
           struct ctr_error *err)
{
    char prefix[80];
    bool full = ctr_starts_with(text, "sha256:");
    (void) snprintf(prefix, sizeof prefix, "%s%.72s", full ? "" : "sha256:", text);
    struct find find = {.images = images, .prefix = prefix, .found = ret};
    int rc = ctr_record_each(images->store, "image", find_in_record, &find, err);
    if (rc < 0) {
        return rc;
    }
    if (rc == 0 && find.several) {
        return ctr_fail(err, -EINVAL, "several images' IDs begin with %s; give more digits",
                        text);
    }
    return rc == 0 && find.id[0] == '\0' ? -ENOENT : 0;
}

static bool
is_id(const char *text)
{
    size_t skip = ctr_starts_with(text, "sha256:") ? 7 : 0;
    size_t n = strlen(text + skip);
    return n >= 6 && n <= 64 && ctr_is_hex(text + skip, n);
}

/* name@digest also finds an image that has the name by another tag. */
static int
find_by_digest(void *arg, const char *key, const json_t *value)
{
    struct find *find = arg;
    struct ctr_ref ref, want;
    struct ctr_error ignored = CTR_ERROR_INIT;
    const char *digest = ctr_json_str(value, "digest", "");
    if (ctr_is_digest(key) || ctr_ref_parse(key, &ref, &ignored) < 0 ||
        ctr_ref_parse(find->prefix, &want, &ignored) < 0) {
        return 0;
    }
    if (strcmp(ref.host, want.host) != 0 || strcmp(ref.repository, want.repository) != 0 ||
        strcmp(digest, want.digest) != 0) {
        return 0;
    }
    memcpy(find->found->top, digest, 72);
    return 1;
}

static int
find_by_reference(struct ctr_images *images, const char *text, struct image_found *ret,
                  struct ctr_error *err)
{
    struct ctr_ref ref;
    int rc = ctr_ref_parse(text, &ref, err);
    if (rc < 0) {
        return rc;
    }
    CTR_AUTO(free) char *key = ctr_ref_full(&ref);
    if (key == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    struct ctr_error inner = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *record = ctr_record_get(images->store, "image", key, &inner);
    const char *digest = ctr_json_str(record, "digest", "");
    if (ctr_is_digest(digest)) {
        memcpy(ret->top, digest, 72);
        ret->key = ctr_steal(&key);
        return 0;
    }
    if (record == NULL && inner.code != -ENOENT) {
        return ctr_fail(err, inner.code, "%s", inner.msg);
    }
    struct find find = {.images = images, .prefix = text, .found = ret};
    rc = ref.digest[0] != '\0'
             ? ctr_record_each(images->store, "image", find_by_digest, &find, err)
             : 0;
    return rc > 0 ? 0 : rc < 0 ? rc : -ENOENT;
}

int
image_find(struct ctr_images *images, const char *text, struct image_found *ret,
           struct ctr_error *err)
{
    struct image_found found = {.key = NULL};
    struct ctr_error inner = CTR_ERROR_INIT;
    int rc = -ENOENT;
    if (!ctr_is_digest(text)) {
        rc = find_by_reference(images, text, &found, &inner);
    }
    if ((rc == -ENOENT || rc == -EINVAL) && is_id(text)) {
        rc = find_by_id(images, text, &found, &inner);
    }
    if (rc == -ENOENT) {
        return ctr_fail(
            err, rc, "no such image: %.200s; pull it, or see which ones there are with images",
            text);
    }
    if (rc < 0) {
        return ctr_fail(err, rc, "%s", inner.msg);
    }
    *ret = found;
    return 0;
}

/* --- choosing a platform --- */

struct choose {
    struct ctr_images *images;
    const struct image_found *found;
    const struct ctr_platform *want; /* NULL: any */
    struct ctr_image *best;
    int score;
    struct ctr_buf have;
    struct ctr_error err;
};

static int
choose_manifest(void *arg, const char *digest, const json_t *manifest)
{
    struct choose *choose = arg;
    if (choose->found->manifest[0] != '\0' && strcmp(choose->found->manifest, digest) != 0) {
        return 0;
    }
    struct ctr_image image;
    struct ctr_error err = CTR_ERROR_INIT;
    int rc = image_build(choose->images, choose->found->top, digest, manifest, &image, &err);
    if (rc < 0) {
        choose->err = err; /* told if nothing fits */
        return 0;
    }
    CTR_AUTO(free) char *text = platform_text(&image.platform);
    ctr_buf_printf(&choose->have, "%s%s", choose->have.length > 0 ? ", " : "",
                   text != NULL ? text : "");
    int score = choose->want != NULL ? platform_score(&image.platform, choose->want) : 1;
    if (score > choose->score) {
        if (choose->score > 0) {
            ctr_image_finish(choose->best);
        }
        *choose->best = image;
        choose->score = score;
    } else {
        ctr_image_finish(&image);
    }
    return 0;
}

static int
choose_result(struct choose *choose, const char *text, struct ctr_error *err)
{
    if (choose->score > 0) {
        return 0;
    }
    if (choose->have.length == 0 && choose->err.code < 0) {
        return ctr_fail(err, choose->err.code, "image %.200s: %s", text, choose->err.msg);
    }
    CTR_AUTO(free) char *want = choose->want != NULL ? platform_text(choose->want) : NULL;
    return ctr_fail(err, -ENOENT,
                    "image %.200s is here for %s only, not for %s; pull it with --platform",
                    text, choose->have.length > 0 ? choose->have.data : "no platform",
                    want != NULL ? want : "any");
}

int
ctr_image_resolve(struct ctr_images *images, const char *text, const char *platform,
                  struct ctr_image *ret, struct ctr_error *err)
{
    struct image_found found = {.key = NULL};
    struct ctr_platform want;
    struct ctr_image image;
    int rc = image_platform(images, platform, &want, err);
    rc = rc < 0 ? rc : image_find(images, text, &found, err);
    if (rc < 0) {
        return rc;
    }
    /* An ID is of one platform; without a wish, what it is will do. */
    bool any = platform == NULL || (platform[0] == '\0' && found.manifest[0] != '\0');
    struct choose choose = {.images = images,
                            .found = &found,
                            .want = &want,
                            .best = &image,
                            .err = CTR_ERROR_INIT};
    rc = image_manifests(images, found.top, choose_manifest, &choose, err);
    if (rc == 0 && choose.score == 0 && any) {
        choose.want = NULL;
        rc = image_manifests(images, found.top, choose_manifest, &choose, err);
    }
    rc = rc < 0 ? rc : choose_result(&choose, text, err);
    ctr_buf_clear(&choose.have);
    free(found.key);
    if (rc < 0) {
        if (choose.score > 0) {
            ctr_image_finish(&image);
        }
        return rc;
    }
    if (ctr_record_each(images->store, "image", references_add, &image, err) < 0) {
        ctr_image_finish(&image);
        return ctr_fail(err, -ENOMEM, "image %.200s: out of memory", text);
    }
    *ret = image;
    return 0;
}

/* --- all --- */

struct list {
    struct ctr_images *images;
    struct ctr_image *all;
    size_t n;
    const char *key, *top;
    struct ctr_error *err;
};

static int
list_name(const struct list *list, struct ctr_image *image)
{
    struct ctr_ref ref;
    struct ctr_error ignored = CTR_ERROR_INIT;
    if (ctr_is_digest(list->key)) {
        return 0;
    }
    CTR_AUTO(free)
    char *text =
        ctr_ref_parse(list->key, &ref, &ignored) == 0 ? ctr_ref_short(&ref) : strdup(list->key);
    bool ok = text != NULL && json_array_append_new(image->references, json_string(text)) == 0;
    return ok ? 0 : ctr_fail(list->err, -ENOMEM, "list images: out of memory");
}

static int
list_manifest(void *arg, const char *digest, const json_t *manifest)
{
    struct list *list = arg;
    const char *id = ctr_json_str(json_object_get(manifest, "config"), "digest", "");
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->all[i].id, id) == 0) {
            return list_name(list, &list->all[i]);
        }
    }
    struct ctr_image *more = reallocarray(list->all, list->n + 1, sizeof *more);
    if (more == NULL) {
        return ctr_fail(list->err, -ENOMEM, "list images: out of memory");
    }
    list->all = more;
    struct ctr_error damaged = CTR_ERROR_INIT;
    if (image_build(list->images, list->top, digest, manifest, &more[list->n], &damaged) < 0) {
        ctr_log(CTR_LEVEL_WARN, "event=damaged-image image=%s error=\"%s\"", list->key,
                damaged.msg);
        return 0;
    }
    list->n++;
    return list_name(list, &more[list->n - 1]);
}

static int
list_record(void *arg, const char *key, const json_t *value)
{
    struct list *list = arg;
    struct ctr_error damaged = CTR_ERROR_INIT;
    list->key = key;
    list->top = ctr_json_str(value, "digest", "");
    int rc = image_manifests(list->images, list->top, list_manifest, list, &damaged);
    if (rc == -ENOMEM) {
        return rc;
    }
    if (rc < 0) {
        ctr_log(CTR_LEVEL_WARN, "event=damaged-image image=%s error=\"%s\"", key, damaged.msg);
    }
    return 0;
}

int
ctr_image_each(struct ctr_images *images, int (*each)(void *arg, const struct ctr_image *image),
               void *arg, struct ctr_error *err)
{
    struct list list = {.images = images, .err = err};
    int rc = ctr_record_each(images->store, "image", list_record, &list, err);
    for (size_t i = 0; i < list.n; i++) {
        if (rc == 0) {
            rc = each(arg, &list.all[i]);
        }
        ctr_image_finish(&list.all[i]);
    }
    free(list.all);
    return rc;
}
