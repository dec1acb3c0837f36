/* manifest.json of docker archives: an archive that has one config, one layer and a link to it, and says what it likes about them. */
#include "core/image/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char dir[] = "/tmp/ctr-fuzz-docker.XXXXXX";
static struct ctr_store *store;
static struct ctr_images *images;
static struct image_op op; /* holds all blobs, so that a failed load takes none away */
static json_t *files;

static void
clean(void)
{
    struct ctr_error err = CTR_ERROR_INIT;
    op_finish(&op);
    ctr_images_destroy(images);
    ctr_store_close(store);
    json_decref(files);
    (void) ctr_remove_tree(dir, &err);
}

static void
add_file(const char *path, const char *bytes, size_t length)
{
    char digest[72];
    struct ctr_error err = CTR_ERROR_INIT;
    if (ctr_blob_put(store, bytes, length, digest, &err) < 0) {
        abort();
    }
    (void) json_object_set_new(
        files, path, json_pack("{s:s, s:I}", "digest", digest, "size", (json_int_t) length));
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char layer[1024];
    struct ctr_error err = CTR_ERROR_INIT;
    if (mkdtemp(dir) == NULL || ctr_store_open(dir, &store, &err) < 0 ||
        ctr_images_create(store, NULL, NULL, &images, &err) < 0 ||
        op_init(&op, images, NULL, &err) < 0) {
        abort();
    }
    lease_all(&op);
    files = json_object();
    add_file("layer.tar", layer, sizeof layer);
    const char *diff_id = ctr_json_str(json_object_get(files, "layer.tar"), "digest", "");
    char *config = ctr_printf("{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{"
                              "\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
                              diff_id);
    add_file("config.json", config, strlen(config));
    free(config);
    (void) json_object_set_new(files, "x/layer.tar", json_pack("{s:s}", "link", "layer.tar"));
    (void) json_object_set_new(files, "loop/layer.tar",
                               json_pack("{s:s}", "link", "loop/layer.tar"));
    (void) atexit(clean);
    return 0;
}

static void
on_loaded(void *arg, const char *reference)
{
    ++*(size_t *) arg;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct load load = {.folder = -1};
    struct ctr_error err = CTR_ERROR_INIT;
    size_t n = 0;
    if (load_open(&load, images, NULL, NULL, on_loaded, &n, &err) < 0) {
        abort();
    }
    (void) json_object_update(load.files, files);
    int rc = load_docker(&load, (const char *) bytes, length, &err);
    if ((rc < 0) != (err.code < 0) || (rc == 0 && n == 0)) {
        abort();
    }
    (void) load_close(&load, rc, "load", &err);
    return 0;
}
