/*
 * Images: list, inspect, tag, remove.
 */
#include "core/api/api-priv.h"
#include <fnmatch.h>

/* --- the list --- */

/* "busybox" is all its tags, "busybox:1.*" some. */
static bool
is_named(const char *reference, const char *pattern)
{
    CTR_AUTO(free) char *name = strdup(reference);
    if (name == NULL || fnmatch(pattern, name, 0) == 0) {
        return name != NULL;
    }
    char *slash = strrchr(name, '/');
    char *cut = strpbrk(slash != NULL ? slash : name, ":@");
    if (cut != NULL) {
        *cut = '\0';
    }
    return fnmatch(pattern, name, 0) == 0;
}

/* Of an image's names only those are left that the reference filter wants. */
static void
keep_named(const json_t *patterns, json_t *image)
{
    json_t *kept = json_array(), *reference, *pattern;
    size_t i, k;
    json_array_foreach(json_object_get(image, "references"), i, reference)
    {
        bool wanted = false;
        json_array_foreach((json_t *) patterns, k, pattern)
        {
            wanted |= is_named(json_string_value(reference), json_string_value(pattern));
        }
        if (wanted) {
            (void) json_array_append(kept, reference);
        }
    }
    (void) json_object_set_new(image, "references", kept);
}

static bool
value_fits(const char *filter, const char *value, const json_t *image)
{
    if (strcmp(filter, "reference") == 0) {
        return json_array_size(json_object_get(image, "references")) > 0; /* see keep_named */
    }
    if (strcmp(filter, "dangling") == 0) {
        bool wanted = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
        return wanted == (json_array_size(json_object_get(image, "references")) == 0);
    }
    if (strcmp(filter, "label") == 0) {
        return ctr_json_has(json_object_get(json_object_get(image, "config"), "Labels"), value);
    }
    int64_t than = 0, created = 0; /* before, since: value is a time */
    bool told = ctr_parse_time(ctr_json_str(image, "created", ""), &created) == 0 &&
                ctr_parse_time(value, &than) == 0;
    return told && (strcmp(filter, "before") == 0 ? created < than : created > than);
}

/* The images that before and since name become their times. */
static int
resolve_times(struct ctr_request *request, json_t *filters, struct ctr_error *err)
{
    static const char *const keys[] = {"before", "since"};
    for (size_t i = 0; i < CTR_LENGTH(keys); i++) {
        json_t *values = json_object_get(filters, keys[i]), *value;
        size_t k;
        json_array_foreach(values, k, value)
        {
            CTR_AUTO(json)
            json_t *image =
                ctr_engine_image_inspect(request->engine, json_string_value(value), "", err);
            if (image == NULL) {
                return ctr_prefix(err, "filter %s", keys[i]);
            }
            (void) json_array_set(values, k, json_object_get(image, "created"));
        }
    }
    return 0;
}

int
api_images(struct ctr_request *request, struct ctr_error *err)
{
    static const char *const known[] = {"reference", "dangling", "label",
                                        "before",    "since",    NULL};
    CTR_AUTO(json) json_t *filters = NULL;
    if (ctr_docker_filters_parse(api_query(request, "filters"), known, &filters, err) < 0 ||
        resolve_times(request, filters, err) < 0) {
        return err->code;
    }
    CTR_AUTO(json) json_t *images = ctr_engine_image_list(request->engine, err);
    if (images == NULL) {
        return err->code;
    }
    json_t *list = json_array(), *image;
    size_t i;
    json_array_foreach(images, i, image)
    {
        if (json_array_size(json_object_get(filters, "reference")) > 0) {
            keep_named(json_object_get(filters, "reference"), image);
        }
        if (ctr_docker_filters_match(filters, image, value_fits)) {
            (void) json_array_append_new(list, docker_image_summary(image));
        }
    }
    return api_json(request, 200, list);
}

/* --- one image --- */

int
api_missing_image(struct ctr_request *request, struct ctr_error *err)
{
    return err->code == -ENOENT && strstr(err->msg, "latform") == NULL
               ? ctr_fail(err, -ENOENT, "No such image: %s", request->capture)
               : err->code;
}

/* What Docker has no words for: the platform's manifest, and the artifacts that refer to it. */
static json_t *
ours(struct ctr_request *request, const json_t *image)
{
    struct ctr_error ignored = CTR_ERROR_INIT;
    const char *manifest = ctr_json_str(image, "manifest", "");
    json_t *referrers =
        ctr_image_referrers(ctr_engine_images(request->engine), manifest, &ignored);
    return json_pack("{s:s,s:o}", "Manifest", manifest, "Referrers",
                     referrers != NULL ? referrers : json_array());
}

int
api_image(struct ctr_request *request, struct ctr_error *err)
{
    CTR_AUTO(json)
    json_t *image = ctr_engine_image_inspect(request->engine, request->capture, "", err);
    if (image == NULL) {
        return api_missing_image(request, err);
    }
    json_t *document = docker_image(image);
    (void) json_object_set_new(document, "Ctr", ours(request, image));
    return api_json(request, 200, document);
}

int
api_image_tag(struct ctr_request *request, struct ctr_error *err)
{
    const char *repo = api_query(request, "repo"), *tag = api_query(request, "tag");
    if (*repo == '\0') {
        return ctr_fail(err, -EINVAL, "parameter repo is missing");
    }
    CTR_AUTO(free) char *to = ctr_printf("%s%s%s", repo, *tag == '\0' ? "" : ":", tag);
    if (to == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    if (ctr_engine_image_tag(request->engine, request->capture, to, err) < 0) {
        return api_missing_image(request, err);
    }
    return api_empty(request, 201);
}

int
api_image_remove(struct ctr_request *request, struct ctr_error *err)
{
    json_t *removed = NULL;
    if (ctr_engine_image_remove(request->engine, request->capture,
                                api_query_bool(request, "force", false), &removed, err) < 0) {
        return api_missing_image(request, err);
    }
    return api_json(request, 200, removed);
}
