/* Indexes and manifests from a registry: parsed, and what was let pass used as the pull does. */
#include "core/image/image-priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void
use_index(const json_t *index)
{
    struct ctr_platform want;
    struct ctr_error err = CTR_ERROR_INIT;
    if (ctr_platform_parse("linux/amd64", &want, &err) == 0) {
        (void) manifest_choose(index, &want);
    }
    free(manifest_platforms(index));
}

/* Every digest that a file name or URL would be made of. */
static void
use_manifest(const json_t *manifest)
{
    size_t i = 0;
    json_t *layer = NULL;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer)
    {
        if (!ctr_is_digest(ctr_json_str(layer, "digest", "")) ||
            ctr_json_int(layer, "size", 0) < 1) {
            abort();
        }
    }
    if (!ctr_is_digest(ctr_json_str(json_object_get(manifest, "config"), "digest", ""))) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const char *const types[] = {NULL, MEDIA_OCI_MANIFEST, MEDIA_OCI_INDEX};
    for (size_t i = 0; i < CTR_LENGTH(types); i++) {
        json_t *document = NULL;
        struct ctr_error err = CTR_ERROR_INIT;
        if (ctr_manifest_check((const char *) bytes, length, types[i], &document, &err) == 0) {
            if (manifest_kind(document) == MEDIA_INDEX) {
                use_index(document);
            } else {
                use_manifest(document);
            }
            json_decref(document);
        }
    }
    return 0;
}
