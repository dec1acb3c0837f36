/* The media types that ctr knows: OCI's and docker schema 2's. Whatever is not here is not an image. */
#include "core/image/image-priv.h"

enum media
media_kind(const char *type)
{
    static const struct {
        const char *type;
        enum media media;
    } known[] = {
        {MEDIA_OCI_INDEX, MEDIA_INDEX},
        {"application/vnd.docker.distribution.manifest.list.v2+json", MEDIA_INDEX},
        {MEDIA_OCI_MANIFEST, MEDIA_MANIFEST},
        {"application/vnd.docker.distribution.manifest.v2+json", MEDIA_MANIFEST},
        {MEDIA_OCI_CONFIG, MEDIA_CONFIG},
        {"application/vnd.docker.container.image.v1+json", MEDIA_CONFIG},
        {MEDIA_OCI_TAR, MEDIA_TAR},
        {"application/vnd.oci.image.layer.v1.tar+gzip", MEDIA_TAR_GZIP},
        {"application/vnd.oci.image.layer.v1.tar+zstd", MEDIA_TAR_ZSTD},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar", MEDIA_TAR},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", MEDIA_TAR_GZIP},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", MEDIA_TAR_ZSTD},
        {"application/vnd.docker.image.rootfs.diff.tar", MEDIA_TAR},
        {"application/vnd.docker.image.rootfs.diff.tar.gzip", MEDIA_TAR_GZIP},
        {"application/vnd.docker.image.rootfs.diff.tar.zstd", MEDIA_TAR_ZSTD},
        {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MEDIA_TAR_GZIP},
    };
    for (size_t i = 0; i < CTR_LENGTH(known) && type != NULL; i++) {
        if (strcmp(type, known[i].type) == 0) {
            return known[i].media;
        }
    }
    return MEDIA_UNKNOWN;
}
