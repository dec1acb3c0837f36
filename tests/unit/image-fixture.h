/*
 * A store with images for tests of core/image that need no registry and no unpacking. Include in one test file, before <cmocka.h>.
 */
#ifndef CTR_TESTS_IMAGE_FIXTURE_H
#define CTR_TESTS_IMAGE_FIXTURE_H

#include "core/image/image-priv.h"
#include "tests/tar.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define FIXTURE __attribute__((unused)) static

struct fixture {
    char dir[64];
    struct ctr_conf *conf;
    struct ctr_store *store, *other_store;
    struct ctr_images *images, *other; /* `other`: an empty one to load into */
    struct ctr_storage *storage;
    struct ctr_error err;
};

FIXTURE int
fixture_open(struct fixture *f, const char *name, struct ctr_store **store,
             struct ctr_images **images)
{
    char data[100];
    (void) snprintf(data, sizeof data, "%s/%s", f->dir, name);
    int rc = mkdir(data, 0700) < 0 ? -errno : ctr_store_open(data, store, &f->err);
    return rc < 0 ? rc : ctr_images_create(*store, f->conf, NULL, images, &f->err);
}

FIXTURE int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->err.size = sizeof f->err;
    (void) snprintf(f->dir, sizeof f->dir, "/tmp/ctr-test-images.XXXXXX");
    if (mkdtemp(f->dir) == NULL) {
        return -1;
    }
    const char *build = getenv("CTR_TEST_BUILD");
    char *absolute = ctr_expand_path(build != NULL ? build : "build", NULL);
    char *text =
        ctr_printf("[engine]\ndata = %s/one\nrun = %s/run\nplugins = %s/tests/plugins\n"
                   "platform = linux/amd64\nmax_image = 4M\n[vmm]\nplugin = qemu\n"
                   "[net]\nplugin = none\n[storage]\nplugin = mem\n",
                   f->dir, f->dir, absolute);
    free(absolute);
    int rc = ctr_conf_parse("test", "test.ini", text, strlen(text), &f->conf, &f->err);
    free(text);
    rc = rc < 0 ? rc : fixture_open(f, "one", &f->store, &f->images);
    rc = rc < 0 ? rc : fixture_open(f, "two", &f->other_store, &f->other);
    rc = rc < 0 ? rc
                : ctr_storage_open(f->conf, ctr_conf_instance(f->conf, CTR_KIND_STORAGE, NULL),
                                   f->dir, &f->storage, &f->err);
    if (rc < 0) {
        print_error("%s\n", f->err.msg);
    }
    *state = f;
    return rc;
}

FIXTURE int
teardown(void **state)
{
    struct fixture *f = *state;
    ctr_storage_close(f->storage);
    ctr_images_destroy(f->images);
    ctr_images_destroy(f->other);
    ctr_store_close(f->store);
    ctr_store_close(f->other_store);
    ctr_conf_destroy(f->conf);
    (void) ctr_remove_tree(f->dir, &f->err);
    free(f);
    return 0;
}

/* Packs bytes ("", "+gzip", "+zstd"); caller frees. */
FIXTURE char *
pack(const char *suffix, const char *bytes, size_t length, size_t *ret_length)
{
    size_t capacity = ZSTD_compressBound(length) + 1000;
    char *out = malloc(capacity);
    if (strcmp(suffix, "+zstd") == 0) {
        *ret_length = ZSTD_compress(out, capacity, bytes, length, 1);
    } else if (strcmp(suffix, "+gzip") == 0) {
        z_stream z = {.next_in = (Bytef *) (uintptr_t) bytes, .avail_in = (uInt) length};
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
        z.next_out = (Bytef *) out;
        z.avail_out = (uInt) capacity;
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        *ret_length = z.total_out;
        (void) deflateEnd(&z);
    } else {
        memcpy(out, bytes, length);
        *ret_length = length;
    }
    return out;
}

/* A layer with one file of that content into the store; its descriptor, and its diff_id to the list. */
FIXTURE json_t *
put_layer(struct fixture *f, const char *content, const char *suffix, json_t *diff_ids)
{
    struct tar tar = {NULL};
    char diff_id[72], digest[72];
    size_t length = 0;
    tar_add(&tar, (struct tar_spec){.name = "file", .type = '0', .data = content});
    tar_end(&tar);
    struct ctr_sha256 *sha = ctr_sha256_create();
    ctr_sha256_add(sha, tar.data, tar.length);
    ctr_sha256_finish(sha, diff_id);
    ctr_sha256_destroy(sha);
    char *packed = pack(suffix, tar.data, tar.length, &length);
    assert_int_equal(ctr_blob_put(f->store, packed, length, digest, &f->err), 0);
    free(packed);
    free(tar.data);
    (void) json_array_append_new(diff_ids, json_string(diff_id));
    return json_pack("{s:s+, s:s, s:I}", "mediaType", MEDIA_OCI_TAR, suffix, "digest", digest,
                     "size", (json_int_t) length);
}

/* Stores a document; its descriptor. */
FIXTURE json_t *
put_document(struct fixture *f, json_t *take_document, const char *type)
{
    char digest[72];
    char *text = ctr_json_text(take_document);
    assert_int_equal(ctr_blob_put(f->store, text, strlen(text), digest, &f->err), 0);
    json_t *descriptor = json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest,
                                   "size", (json_int_t) strlen(text));
    free(text);
    json_decref(take_document);
    return descriptor;
}

/* The manifest of an image for an architecture with the layers "base" and `name`; `more` (stolen, may be NULL) goes into its config. */
FIXTURE json_t *
put_image(struct fixture *f, const char *name, const char *arch, json_t *more)
{
    json_t *diff_ids = json_array(), *layers = json_array();
    (void) json_array_append_new(layers, put_layer(f, "base", "+gzip", diff_ids));
    (void) json_array_append_new(layers, put_layer(f, name, "+zstd", diff_ids));
    json_t *config =
        json_pack("{s:s, s:s, s:s, s:{s:s, s:o}}", "os", "linux", "architecture", arch,
                  "author", name, "rootfs", "type", "layers", "diff_ids", diff_ids);
    if (more != NULL) {
        (void) json_object_update(config, more);
        json_decref(more);
    }
    json_t *manifest =
        json_pack("{s:i, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType", MEDIA_OCI_MANIFEST,
                  "config", put_document(f, config, MEDIA_OCI_CONFIG), "layers", layers);
    json_t *descriptor = put_document(f, manifest, MEDIA_OCI_MANIFEST);
    (void) json_object_set_new(descriptor, "platform",
                               json_pack("{s:s, s:s}", "os", "linux", "architecture", arch));
    return descriptor;
}

FIXTURE void
name_it(struct fixture *f, const char *key, json_t *take_descriptor)
{
    const char *digest = ctr_json_str(take_descriptor, "digest", "");
    assert_int_equal(image_record(f->images, key[0] != '\0' ? key : digest, digest,
                                  ctr_json_str(take_descriptor, "mediaType", ""),
                                  (uint64_t) ctr_json_int(take_descriptor, "size", 0), &f->err),
                     0);
    json_decref(take_descriptor);
}

FIXTURE void
make_image(struct fixture *f, const char *key, const char *name)
{
    name_it(f, key, put_image(f, name, "amd64", NULL));
}

/* An index of amd64 and arm64, and an attestation of which nothing is known but its bytes. */
FIXTURE void
make_index(struct fixture *f, const char *key, const char *name)
{
    json_t *manifests = json_array();
    (void) json_array_append_new(manifests, put_image(f, name, "arm64", NULL));
    (void) json_array_append_new(manifests, put_image(f, name, "amd64", NULL));
    json_t *attestation = json_pack(
        "{s:i, s:o, s:[o]}", "schemaVersion", 2, "config",
        put_document(f, json_pack("{s:s}", "about", name), MEDIA_OCI_CONFIG), "layers",
        put_document(f, json_pack("{s:s}", "claim", name), "application/vnd.in-toto+json"));
    json_t *descriptor = put_document(f, attestation, MEDIA_OCI_MANIFEST);
    (void) json_object_set_new(
        descriptor, "platform",
        json_pack("{s:s, s:s}", "os", "unknown", "architecture", "unknown"));
    (void) json_array_append_new(manifests, descriptor);
    json_t *index = json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType",
                              MEDIA_OCI_INDEX, "manifests", manifests);
    name_it(f, key, put_document(f, index, MEDIA_OCI_INDEX));
}

/* Changes one byte of a blob. */
FIXTURE void
damage(struct fixture *f, const char *digest)
{
    char path[300];
    (void) snprintf(path, sizeof path, "%s/one/images/blobs/sha256/%s", f->dir, digest + 7);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "\xff", 1, 20), 1);
    (void) close(fd);
}

FIXTURE int
fixture_count(void *arg, const char *digest, uint64_t size)
{
    ++*(size_t *) arg;
    return 0;
}

FIXTURE size_t
count_blobs(struct ctr_store *store)
{
    size_t n = 0;
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_blob_each(store, fixture_count, &n, &err), 0);
    return n;
}

#endif
