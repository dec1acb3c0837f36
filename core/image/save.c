/* Saving images: archives and folders from the store. See save.h. */
#include "core/image/save.h"

static int
save_run(struct save *save, const char *const *references, size_t n, const char *platform,
         enum ctr_archive format, int fd, struct ctr_error *err)
{
    save->index = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType",
                            MEDIA_OCI_INDEX, "manifests");
    save->docker = json_array();
    save->blobs = json_object();
    save->whole = json_object();
    if (save->index == NULL || save->docker == NULL || save->blobs == NULL ||
        save->whole == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rc = format == CTR_ARCHIVE_DIR ? save_folder_begin(save, fd, err) : 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = save_plan(save, references[i], platform, err);
    }
    if (rc < 0) {
        return rc;
    }
    return format == CTR_ARCHIVE_DIR
               ? save_folder(save, fd, err)
               : save_archive(save, fd, format == CTR_ARCHIVE_DOCKER, err);
}

int
ctr_image_save(struct ctr_images *images, const char *const *references, size_t n,
               const char *platform, enum ctr_archive format, int fd,
               const struct ctr_progress *progress, struct ctr_error *err)
{
    struct save save = {.index = NULL};
    struct ctr_error inner = CTR_ERROR_INIT;
    int rc = op_init(&save.op, images, progress, &inner);
    if (rc == 0) {
        rc = n == 0 ? ctr_fail(&inner, -EINVAL, "no image is named")
                    : save_run(&save, references, n, platform, format, fd, &inner);
        op_finish(&save.op);
    }
    json_decref(save.index);
    json_decref(save.docker);
    json_decref(save.blobs);
    json_decref(save.whole);
    return rc < 0 ? ctr_fail(err, rc, "save: %s", inner.msg) : 0;
}
