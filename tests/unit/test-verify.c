/* What is told about images in the store, what takes them out of it, and what finds damage in it. */
#include "image-fixture.h"

#define A "docker.io/library/a:latest"
#define B "docker.io/library/b:2"
#define A_MULTI "docker.io/library/multi:latest"

static const char *
layer_of(const struct ctr_image *image, size_t i)
{
    return ctr_json_str(json_array_get(image->layers, i), "digest", "");
}

/* --- history, tree, usage --- */

static void
test_history(void **state)
{
    struct fixture *f = *state;
    json_t *more = json_pack("{s:[{s:s, s:s}, {s:s, s:b}, {s:s, s:s, s:s}]}", "history",
                             "created", "2024-01-02T03:04:05Z", "created_by", "ADD base",
                             "created_by", "ENV X=1", "empty_layer", 1, "created", "nonsense",
                             "created_by", "RUN it", "comment", "why");
    name_it(f, A, put_image(f, "one", "amd64", more));
    make_image(f, B, "two"); /* no history at all */
    json_t *lines = ctr_image_history(f->images, "a", NULL, &f->err);
    assert_int_equal(json_array_size(lines), 3);
    struct ctr_image image;
    assert_int_equal(ctr_image_resolve(f->images, "a", NULL, &image, &f->err), 0);
    const json_t *top = json_array_get(lines, 0), *middle = json_array_get(lines, 1),
                 *base = json_array_get(lines, 2);
    assert_string_equal(ctr_json_str(top, "id", ""), image.id);
    assert_string_equal(ctr_json_str(top, "created_by", ""), "RUN it");
    assert_string_equal(ctr_json_str(top, "comment", ""), "why");
    assert_int_equal(ctr_json_int(top, "created", -1), 0);
    assert_int_equal(ctr_json_int(top, "size", 0),
                     ctr_json_int(json_array_get(image.layers, 1), "size", 1));
    assert_string_equal(json_string_value(json_array_get(json_object_get(top, "tags"), 0)),
                        "a:latest");
    assert_true(ctr_json_bool(middle, "empty", false));
    assert_int_equal(ctr_json_int(middle, "size", 1), 0);
    assert_string_equal(ctr_json_str(base, "id", ""), "<missing>");
    assert_int_equal(ctr_json_int(base, "created", 0), 1704164645);
    json_decref(lines);
    lines = ctr_image_history(f->images, "b:2", NULL, &f->err);
    assert_int_equal(json_array_size(lines), 2);
    json_decref(lines);
    assert_null(ctr_image_history(f->images, "nope", NULL, &f->err));
    assert_int_equal(f->err.code, -ENOENT);
    ctr_image_finish(&image);
}

static void
test_tree(void **state)
{
    struct fixture *f = *state;
    make_image(f, A, "one");
    make_image(f, B, "two");
    make_image(f, "", "three");
    json_t *all = ctr_image_tree(f->images, NULL, &f->err);
    assert_int_equal(json_array_size(all), 3);
    json_decref(all);
    json_t *one = ctr_image_tree(f->images, "a", &f->err);
    assert_int_equal(json_array_size(one), 1);
    const json_t *layers = json_object_get(json_array_get(one, 0), "layers");
    assert_int_equal(json_array_size(layers), 2);
    const json_t *shared = json_object_get(json_array_get(layers, 0), "shared_with");
    assert_int_equal(json_array_size(shared), 2); /* b:2, and the ID of the nameless one */
    assert_int_equal(json_array_size(json_object_get(json_array_get(layers, 1), "shared_with")),
                     0);
    json_decref(one);
    assert_null(ctr_image_tree(f->images, "nope", &f->err));
    assert_int_equal(f->err.code, -ENOENT);
}

static void
test_usage(void **state)
{
    struct fixture *f = *state;
    struct ctr_image image;
    char path[100];
    make_image(f, A, "one");
    make_image(f, "", "three");
    assert_int_equal(ctr_image_resolve(f->images, "a", NULL, &image, &f->err), 0);
    assert_int_equal(ctr_image_unpack(f->images, &image, f->storage, NULL, &f->err), 0);
    (void) snprintf(path, sizeof path, "%s/one/images/ingest/new-x", f->dir);
    assert_int_equal(ctr_write_file(path, "12345", 5, &f->err), 0);
    json_t *usage = ctr_images_usage(f->images, &f->storage, 1, &f->err);
    assert_non_null(usage);
    const json_t *blobs = json_object_get(usage, "blobs");
    assert_int_equal(ctr_json_int(blobs, "count", 0), 7); /* one layer is shared */
    int64_t base = ctr_json_int(json_array_get(image.layers, 0), "size", 0);
    assert_int_equal(ctr_json_int(usage, "shared", 0), base);
    assert_int_equal(ctr_json_int(usage, "ingest", 0), 5);
    assert_int_equal(ctr_json_int(usage, "damaged", -1), 0);
    size_t i = 0;
    json_t *one = NULL;
    int64_t unique = 0, nameless = 0;
    json_array_foreach(json_object_get(usage, "images"), i, one)
    {
        assert_int_equal(ctr_json_int(one, "shared", 0), base);
        assert_int_equal(ctr_json_int(one, "size", 0), base + ctr_json_int(one, "unique", 0));
        unique += ctr_json_int(one, "unique", 0);
        if (json_array_size(json_object_get(one, "references")) == 0) {
            nameless = ctr_json_int(one, "unique", 0);
        }
    }
    assert_int_equal(ctr_json_int(blobs, "bytes", 0), base + unique);
    assert_int_equal(ctr_json_int(usage, "reclaimable", 0), nameless);
    const json_t *storage = json_array_get(json_object_get(usage, "storages"), 0);
    assert_string_equal(ctr_json_str(storage, "plugin", ""), "mem");
    assert_int_equal(ctr_json_int(storage, "chains", 0), 1);
    assert_true(ctr_json_int(storage, "bytes", 0) > 0);
    json_decref(usage);
    ctr_image_finish(&image);
}

/* --- prune --- */

static bool
in_use(void *arg, const char *id)
{
    return strcmp(arg, id) == 0;
}

/* What was told: "Untagged a:latest Deleted …"; fails unless bytes is positive exactly when something was deleted. */
static char *
prune(struct fixture *f, bool all, const char *filters, const char *used)
{
    json_t *parsed = filters != NULL ? json_loads(filters, 0, NULL) : NULL, *ret = NULL;
    struct ctr_buf told = {0};
    int rc = ctr_image_prune(f->images, &(struct ctr_prune){.all = all, .filters = parsed},
                             &f->storage, 1, used != NULL ? in_use : NULL,
                             (void *) (uintptr_t) used, &ret, &f->err);
    json_decref(parsed);
    if (rc < 0) {
        return NULL;
    }
    size_t i = 0;
    json_t *line = NULL;
    ctr_buf_puts(&told, "");
    json_array_foreach(json_object_get(ret, "removed"), i, line)
    {
        const char *name = ctr_json_str(line, "Untagged", NULL);
        ctr_buf_printf(&told, "%s ", name != NULL ? name : "Deleted");
        assert_true(name != NULL || ctr_is_digest(ctr_json_str(line, "Deleted", "")));
    }
    bool deleted = told.data != NULL && strstr(told.data, "Deleted") != NULL;
    assert_int_equal(ctr_json_int(ret, "bytes", 0) > 0, deleted);
    json_decref(ret);
    return told.data != NULL ? ctr_buf_take(&told) : strdup("");
}

#define PRUNE(f, all, filters, used, want)                                                     \
    do {                                                                                       \
        char *told = prune(f, all, filters, used);                                             \
        assert_non_null(told);                                                                 \
        assert_string_equal(told, want);                                                       \
        free(told);                                                                            \
    } while (0)

static void
test_prune(void **state)
{
    struct fixture *f = *state;
    struct ctr_image image;
    make_image(f, A, "one");
    make_image(f, "", "nameless");
    make_index(f, A_MULTI, "many");
    assert_int_equal(ctr_image_resolve(f->images, "a", NULL, &image, &f->err), 0);
    assert_int_equal(ctr_image_unpack(f->images, &image, f->storage, NULL, &f->err), 0);
    PRUNE(f, false, NULL, NULL, "Deleted ");
    PRUNE(f, false, NULL, NULL, "");
    struct ctr_image arm;
    assert_int_equal(ctr_image_resolve(f->images, "multi", "linux/arm64", &arm, &f->err), 0);
    /* A container of one platform keeps the whole index. */
    PRUNE(f, true, NULL, arm.id, "a:latest Deleted ");
    PRUNE(f, true, NULL, NULL, "multi:latest Deleted Deleted ");
    assert_int_equal(count_blobs(f->store), 0);
    ctr_image_finish(&arm);
    ctr_image_finish(&image);
}

static void
test_prune_filters(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {A, B, "docker.io/library/c:latest"};
    static const char *const labels[] = {"x", "y", "z"};
    for (size_t i = 0; i < CTR_LENGTH(keys); i++) {
        json_t *more = json_pack("{s:s, s:{s:{s:s}}}", "created",
                                 i == 0 ? "2020-01-01T00:00:00Z" : "2030-01-01T00:00:00Z",
                                 "config", "Labels", "keep", labels[i]);
        name_it(f, keys[i], put_image(f, labels[i], "amd64", more));
    }
    assert_null(prune(f, true, "{\"colour\":[\"red\"]}", NULL));
    assert_non_null(strstr(f->err.msg, "colour"));
    assert_null(prune(f, true, "{\"until\":[\"soon\"]}", NULL));
    assert_null(prune(f, true, "{\"until\":[\"1h\",\"2h\"]}", NULL));
    assert_null(prune(f, true, "{\"label\":\"x\"}", NULL));
    assert_null(prune(f, true, "{\"label\":[1]}", NULL));
    PRUNE(f, true, "{\"label\":[\"nope\"]}", NULL, "");
    PRUNE(f, true, "{\"label\":[\"keep\"],\"label!\":[\"keep=x\",\"keep=y\",\"keep=z\"]}", NULL,
          "");
    PRUNE(f, true, "{\"label\":[\"keep=z\"]}", NULL, "c:latest Deleted ");
    PRUNE(f, true, "{\"until\":[\"2025-01-01T00:00:00Z\"]}", NULL, "a:latest Deleted ");
    PRUNE(f, true, "{\"label!\":[\"keep=x\"]}", NULL, "b:2 Deleted ");
}

/* --- verify --- */

static json_t *
verify(struct fixture *f, const char *text, bool heal)
{
    f->err.code = 0;
    json_t *answer = ctr_image_verify(f->images, text, heal, NULL, NULL, &f->err);
    if (answer == NULL) {
        fail_msg("%s", f->err.msg);
    }
    return answer;
}

static const char *
only(const json_t *entry, const char *list)
{
    const json_t *texts = json_object_get(entry, list);
    assert_true(json_array_size(texts) <= 1);
    return json_array_size(texts) == 1 ? json_string_value(json_array_get(texts, 0)) : "";
}

static void
test_verify(void **state)
{
    struct fixture *f = *state;
    struct ctr_image image, arm;
    char stray[72];
    make_image(f, A, "one");
    make_index(f, A_MULTI, "many");
    assert_int_equal(ctr_blob_put(f->store, "stray", 5, stray, &f->err), 0);
    json_t *answer = verify(f, NULL, false);
    assert_int_equal(json_array_size(answer), 3);
    const json_t *entry = json_array_get(answer, 0);
    assert_string_equal(ctr_json_str(entry, "reference", ""), "a:latest");
    assert_int_equal(ctr_json_int(entry, "blobs", 0), 4);
    entry = json_array_get(answer, 1);
    assert_int_equal(ctr_json_int(entry, "blobs", 0), 1 + 4 + 4 + 3);
    assert_string_equal(only(entry, "missing"), "");
    entry = json_array_get(answer, 2);
    assert_string_equal(ctr_json_str(entry, "reference", "?"), "");
    assert_int_equal(ctr_json_int(entry, "bytes", 0), 5);
    json_decref(answer);

    assert_int_equal(ctr_image_resolve(f->images, "a", NULL, &image, &f->err), 0);
    assert_int_equal(ctr_image_resolve(f->images, "multi", "linux/arm64", &arm, &f->err), 0);
    damage(f, layer_of(&image, 1));
    assert_int_equal(ctr_blob_remove(f->store, arm.id, &f->err), 0);
    answer = verify(f, NULL, false);
    entry = json_array_get(answer, 0);
    assert_string_equal(only(entry, "damaged"), layer_of(&image, 1));
    assert_int_equal(ctr_json_int(entry, "blobs", 0), 3);
    entry = json_array_get(answer, 1);
    assert_string_equal(only(entry, "missing"), arm.id);
    json_decref(answer);
    assert_false(ctr_blob_exists(f->store, layer_of(&image, 1), NULL));

    /* Asked for by name that name alone, by ID all of its names. */
    assert_int_equal(ctr_image_tag(f->images, "a", "b:3", &f->err), 0);
    answer = verify(f, "b:3", false);
    assert_int_equal(json_array_size(answer), 1);
    json_decref(answer);
    answer = verify(f, image.id, false);
    assert_int_equal(json_array_size(answer), 2);
    json_decref(answer);
    assert_int_equal(
        ctr_image_remove(f->images, "b:3", false, NULL, 0, NULL, NULL, NULL, &f->err), 0);

    /* What it cannot heal it says. */
    assert_int_equal(ctr_image_tag(f->images, "a", "127.0.0.1:1/a:1", &f->err), 0);
    assert_int_equal(
        ctr_image_remove(f->images, "a", false, NULL, 0, NULL, NULL, NULL, &f->err), 0);
    answer = verify(f, "127.0.0.1:1/a:1", true);
    assert_int_equal(json_array_size(answer), 1);
    entry = json_array_get(answer, 0);
    assert_string_equal(only(entry, "missing"), layer_of(&image, 1));
    assert_non_null(strstr(ctr_json_str(entry, "error", ""), image.digest));
    assert_false(ctr_json_bool(entry, "healed", true));
    json_decref(answer);
    assert_null(ctr_image_verify(f->images, "nope", false, NULL, NULL, &f->err));
    assert_int_equal(f->err.code, -ENOENT);
    ctr_image_finish(&image);
    ctr_image_finish(&arm);
}

/* A layer that hashes to its name but unpacks to something else than the config says; an index without any platform; a manifest that is gone. */
static void
test_verify_documents(void **state)
{
    struct fixture *f = *state;
    json_t *diff_ids = json_pack("[s]", IMAGE_EMPTY_CHAIN), *ignored = json_array();
    json_t *layer = put_layer(f, "x", "+gzip", ignored);
    char wrong[72];
    (void) snprintf(wrong, sizeof wrong, "%s", ctr_json_str(layer, "digest", ""));
    json_t *config = json_pack("{s:s, s:s, s:{s:s, s:o}}", "os", "linux", "architecture",
                               "amd64", "rootfs", "type", "layers", "diff_ids", diff_ids);
    json_t *manifest = json_pack("{s:i, s:o, s:[o]}", "schemaVersion", 2, "config",
                                 put_document(f, config, MEDIA_OCI_CONFIG), "layers", layer);
    name_it(f, A, put_document(f, manifest, MEDIA_OCI_MANIFEST));
    json_decref(ignored);
    json_t *answer = verify(f, "a", false);
    assert_string_equal(only(json_array_get(answer, 0), "damaged"), wrong);
    assert_true(ctr_blob_exists(f->store, wrong, NULL));
    json_decref(answer);

    struct ctr_image amd, arm;
    make_index(f, A_MULTI, "many");
    assert_int_equal(ctr_image_resolve(f->images, "multi", "linux/amd64", &amd, &f->err), 0);
    assert_int_equal(ctr_image_resolve(f->images, "multi", "linux/arm64", &arm, &f->err), 0);
    damage(f, amd.manifest);
    answer = verify(f, "multi", false);
    assert_string_equal(only(json_array_get(answer, 0), "damaged"), amd.manifest);
    json_decref(answer);
    damage(f, amd.digest);
    answer = verify(f, "multi", false);
    assert_string_equal(only(json_array_get(answer, 0), "damaged"), amd.digest);
    json_decref(answer);
    ctr_image_finish(&amd);
    ctr_image_finish(&arm);
}

static bool
is_cancelled(void *arg)
{
    return true;
}

static void
test_verify_cancel(void **state)
{
    struct fixture *f = *state;
    struct ctr_progress progress = {.cancelled = is_cancelled};
    make_image(f, A, "one");
    assert_null(ctr_image_verify(f->images, NULL, false, NULL, &progress, &f->err));
    assert_int_equal(f->err.code, -ECANCELED);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_history),
        TEST(test_tree),
        TEST(test_usage),
        TEST(test_prune),
        TEST(test_prune_filters),
        TEST(test_verify),
        TEST(test_verify_documents),
        TEST(test_verify_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
