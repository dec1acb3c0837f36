/* Documents of the store, read loosely. See documents.h. */
#include "core/image/documents.h"

json_t *
document_read(struct ctr_images *images, const char *digest, uint64_t *ret_size,
              struct ctr_error *err)
{
    CTR_AUTO(free) char *bytes = NULL;
    size_t length = 0;
    if (ctr_blob_read(images->store, digest, CTR_MAX_DOCUMENT, &bytes, &length, err) < 0) {
        return NULL;
    }
    if (ret_size != NULL) {
        *ret_size = length;
    }
    CTR_AUTO(free) char *what = ctr_printf("document %s", digest);
    return ctr_json_parse(bytes, length, CTR_MAX_DOCUMENT, what != NULL ? what : "document",
                          err);
}

enum document_part
document_part_of(const json_t *descriptor, bool in_index)
{
    enum media kind = media_kind(ctr_json_str(descriptor, "mediaType", ""));
    if (!in_index) {
        return PART_LAYER;
    }
    return kind == MEDIA_INDEX || kind == MEDIA_MANIFEST ? PART_DOCUMENT : PART_BLOB;
}

int
document_below(const json_t *document,
               int (*each)(void *arg, const json_t *descriptor, enum document_part part),
               void *arg)
{
    const json_t *manifests = json_object_get(document, "manifests");
    const json_t *config = json_object_get(document, "config");
    const json_t *list = manifests != NULL ? manifests : json_object_get(document, "layers");
    int rc = config != NULL ? each(arg, config, PART_BLOB) : 0;
    size_t i = 0;
    json_t *descriptor = NULL;
    json_array_foreach(list, i, descriptor)
    {
        if (rc == 0) {
            rc = each(arg, descriptor, document_part_of(descriptor, manifests != NULL));
        }
    }
    return rc;
}
