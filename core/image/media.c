/* The media types that ctr knows: OCI's and docker schema 2's. Whatever is not here is not an image. And what a layer without a type is. */
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
        {"application/vnd.docker.image.rootfs.foreign.diff.tar", MEDIA_TAR},
        {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MEDIA_TAR_GZIP},
        {"application/vnd.docker.image.rootfs.foreign.diff.tar.zstd", MEDIA_TAR_ZSTD},
    };
    for (size_t i = 0; i < CTR_LENGTH(known) && type != NULL; i++) {
        if (strcmp(type, known[i].type) == 0) {
            return known[i].media;
        }
    }
    return MEDIA_UNKNOWN;
}

bool
media_is_foreign(const char *type)
{
    return ctr_starts_with(type, "application/vnd.oci.image.layer.nondistributable.") ||
           ctr_starts_with(type, "application/vnd.docker.image.rootfs.foreign.");
}

int
layer_media_type(struct ctr_store *store, const char *digest, const char **ret_type,
                 struct ctr_error *err)
{
    static const struct {
        const char *magic;
        size_t length;
        const char *type, *name;
    } known[] = {
        {"\x1f\x8b", 2, MEDIA_OCI_TAR "+gzip", "gzip"},
        {"\x28\xb5\x2f\xfd", 4, MEDIA_OCI_TAR "+zstd", "zstd"},
        {"BZh", 3, NULL, "bzip2"},
        {"\xfd"
         "7zXZ",
         5, NULL, "xz"},
        {"\x04\x22\x4d\x18", 4, NULL, "lz4"},
    };
    CTR_AUTO(fd) int fd = -1;
    char magic[8] = "";
    size_t n = 0;
    int rc = ctr_blob_open(store, digest, &fd, NULL, err);
    if (rc < 0) {
        return rc;
    }
    rc = ctr_read_all(fd, magic, sizeof magic, &n);
    if (rc < 0) {
        return ctr_fail(err, rc, "read blob %s: %s", digest, strerror(-rc));
    }
    *ret_type = MEDIA_OCI_TAR;
    for (size_t i = 0; i < CTR_LENGTH(known); i++) {
        if (memcmp(magic, known[i].magic, known[i].length) == 0) {
            *ret_type = known[i].type;
            return known[i].type != NULL
                       ? 0
                       : ctr_fail(err, -EBADMSG,
                                  "it is packed with %s; gzip, zstd and plain tar are read",
                                  known[i].name);
        }
    }
    return 0;
}
