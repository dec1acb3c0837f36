/* Saving images: archives and folders that read back with the same digests, and what keeps them from being written. */
#include "image-fixture.h"
#include <signal.h>
#include <sys/socket.h>

#define A "docker.io/library/a:latest"
#define B "docker.io/library/b:2"
#define A_MULTI "docker.io/library/multi:latest"

/* Saves into a file; its descriptor, at its beginning. */
static int
save_file(struct fixture *f, enum ctr_archive format, const char *platform,
          const char *const *names, size_t n)
{
    char path[100];
    (void) snprintf(path, sizeof path, "%s/archive", f->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    f->err.code = 0;
    if (ctr_image_save(f->images, names, n, platform, format, fd, NULL, &f->err) < 0) {
        (void) close(fd);
        return f->err.code;
    }
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

#define SAVE(f, format, platform, ...)                                                         \
    save_file(f, format, platform, (const char *const[]){__VA_ARGS__},                         \
              CTR_LENGTH(((const char *const[]){__VA_ARGS__})))

static void
on_loaded(void *arg, const char *reference)
{
    ctr_buf_printf(arg, "%s ", reference);
}

/* Loads a descriptor's archive into the other store; what was told. */
static char *
load(struct fixture *f, int fd)
{
    struct ctr_buf told = {0};
    if (ctr_image_load_fd(f->other, fd, NULL, NULL, on_loaded, &told, &f->err) < 0) {
        fail_msg("load: %s", f->err.msg);
    }
    (void) close(fd);
    return ctr_buf_take(&told);
}

static void
assert_same(struct fixture *f, const char *name)
{
    struct ctr_image one, two;
    if (ctr_image_resolve(f->images, name, NULL, &one, &f->err) < 0 ||
        ctr_image_resolve(f->other, name, NULL, &two, &f->err) < 0) {
        fail_msg("%s", f->err.msg);
    }
    assert_string_equal(one.digest, two.digest);
    assert_string_equal(one.manifest, two.manifest);
    assert_string_equal(one.id, two.id);
    ctr_image_finish(&one);
    ctr_image_finish(&two);
}

static void
test_round_trip(void **state)
{
    struct fixture *f = *state;
    static const enum ctr_archive formats[] = {CTR_ARCHIVE_OCI, CTR_ARCHIVE_DOCKER};
    make_image(f, A, "one");
    make_image(f, B, "two");
    assert_int_equal(ctr_image_tag(f->images, "a", "localhost:5000/x/a:9", &f->err), 0);
    make_image(f, "", "nameless");
    for (size_t i = 0; i < CTR_LENGTH(formats); i++) {
        char *told = load(f, SAVE(f, formats[i], NULL, "a", "b:2", "localhost:5000/x/a:9"));
        assert_string_equal(told, "a:latest b:2 localhost:5000/x/a:9 ");
        free(told);
        assert_same(f, "a");
        assert_same(f, "b:2");
        assert_same(f, "localhost:5000/x/a:9");
        static const char *const names[] = {"a", "b:2", "localhost:5000/x/a:9"};
        for (size_t k = 0; k < CTR_LENGTH(names); k++) {
            assert_int_equal(
                ctr_image_remove(f->other, names[k], false, NULL, 0, NULL, NULL, NULL, &f->err),
                0);
        }
        assert_int_equal(count_blobs(f->other_store), 0);
    }
}

/* Equal images give equal archives; an ID saves without a name. */
static void
test_same_bytes(void **state)
{
    struct fixture *f = *state;
    struct ctr_image image;
    char digest[2][72];
    make_image(f, A, "one");
    assert_int_equal(ctr_image_resolve(f->images, "a", NULL, &image, &f->err), 0);
    for (int i = 0; i < 2; i++) {
        int fd = SAVE(f, CTR_ARCHIVE_DOCKER, NULL, "a");
        char *bytes = malloc(1 << 20);
        size_t n = 0;
        struct ctr_sha256 *sha = ctr_sha256_create();
        assert_int_equal(ctr_read_all(fd, bytes, 1 << 20, &n), 0);
        assert_int_equal(n % 512, 0);
        ctr_sha256_add(sha, bytes, n);
        ctr_sha256_finish(sha, digest[i]);
        ctr_sha256_destroy(sha);
        free(bytes);
        (void) close(fd);
    }
    assert_string_equal(digest[0], digest[1]);
    char *told = load(f, SAVE(f, CTR_ARCHIVE_OCI, NULL, image.id));
    assert_true(ctr_starts_with(told, image.manifest));
    free(told);
    ctr_image_finish(&image);
}

static void
test_whole_index(void **state)
{
    struct fixture *f = *state;
    make_index(f, A_MULTI, "many");
    free(load(f, SAVE(f, CTR_ARCHIVE_OCI, NULL, "multi")));
    assert_same(f, "multi");
    assert_int_equal(count_blobs(f->other_store),
                     count_blobs(f->store)); /* the attestation, too */
    struct ctr_image arm;
    assert_int_equal(ctr_image_resolve(f->other, "multi", "linux/arm64", &arm, &f->err), 0);
    ctr_image_finish(&arm);
    assert_true(SAVE(f, CTR_ARCHIVE_OCI, "linux/s390x", "multi") < 0);
    assert_non_null(strstr(f->err.msg, "linux/arm64"));
    char *told = load(f, SAVE(f, CTR_ARCHIVE_DOCKER, "linux/arm64", "multi"));
    assert_string_equal(told, "multi:latest ");
    free(told);
    assert_int_equal(ctr_image_resolve(f->other, "multi", NULL, &arm, &f->err), 0);
    assert_string_equal(arm.platform.arch, "arm64");
    assert_string_equal(arm.digest, arm.manifest);
    ctr_image_finish(&arm);
}

struct watch {
    struct fixture *f;
    size_t steps, cancel_at;
    bool said_parts, removed;
};

static void
on_step(void *arg, const char *id, const char *status, uint64_t current, uint64_t total)
{
    struct watch *watch = arg;
    watch->steps++;
    watch->said_parts |= strstr(status, "one by one") != NULL;
}

/* An index of which a platform is missing is not written as if it were whole. */
static void
test_partial_index(void **state)
{
    struct fixture *f = *state;
    struct ctr_image arm, amd;
    struct watch watch = {.f = f};
    struct ctr_progress progress = {.step = on_step, .arg = &watch};
    make_index(f, A_MULTI, "many");
    assert_int_equal(ctr_image_resolve(f->images, "multi", "linux/arm64", &arm, &f->err), 0);
    assert_int_equal(ctr_image_resolve(f->images, "multi", "linux/amd64", &amd, &f->err), 0);
    assert_int_equal(ctr_blob_remove(f->store, arm.manifest, &f->err), 0);
    char path[100];
    (void) snprintf(path, sizeof path, "%s/archive", f->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(ctr_image_save(f->images, (const char *const[]){"multi"}, 1, NULL,
                                    CTR_ARCHIVE_OCI, fd, &progress, &f->err),
                     0);
    assert_true(watch.said_parts);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    char *told = load(f, fd);
    assert_string_equal(told, "multi:latest ");
    free(told);
    struct ctr_image loaded;
    assert_int_equal(ctr_image_resolve(f->other, "multi", NULL, &loaded, &f->err), 0);
    assert_string_equal(loaded.digest, amd.manifest);
    ctr_image_finish(&loaded);
    ctr_image_finish(&arm);
    ctr_image_finish(&amd);
}

/* --- what is wrong in the store --- */

static void
test_damaged_and_missing(void **state)
{
    struct fixture *f = *state;
    struct ctr_image image;
    make_image(f, A, "one");
    assert_int_equal(ctr_image_resolve(f->images, "a", NULL, &image, &f->err), 0);
    const char *layer = ctr_json_str(json_array_get(image.layers, 1), "digest", "");
    assert_int_equal(SAVE(f, CTR_ARCHIVE_OCI, NULL, "nope"), -ENOENT);
    damage(f, layer);
    assert_int_equal(SAVE(f, CTR_ARCHIVE_OCI, NULL, "a"), -EBADMSG);
    assert_non_null(strstr(f->err.msg, layer));
    assert_non_null(strstr(f->err.msg, "set aside"));
    assert_false(ctr_blob_exists(f->store, layer, NULL));
    assert_int_equal(SAVE(f, CTR_ARCHIVE_OCI, NULL, "a"), -ENOENT);
    assert_non_null(strstr(f->err.msg, layer));
    assert_non_null(strstr(f->err.msg, "pull"));
    damage(f, image.manifest);
    assert_true(SAVE(f, CTR_ARCHIVE_OCI, NULL, "a") < 0);
    ctr_image_finish(&image);
}

static bool
is_cancelled(void *arg)
{
    struct watch *watch = arg;
    return watch->cancel_at > 0 && watch->steps++ >= watch->cancel_at;
}

/* A pipe that nobody empties, one whose reader has gone, and a socket. */
static void
test_pipes(void **state)
{
    struct fixture *f = *state;
    struct watch watch = {.f = f, .cancel_at = 3};
    struct ctr_progress progress = {.cancelled = is_cancelled, .arg = &watch};
    static const char *const names[] = {"a"};
    char *large = calloc(1, 200000);
    for (size_t i = 0; i < 199999; i++) {
        large[i] = (char) ('a' + (i * i * 7919 + i / 3) % 26);
    }
    make_image(f, A, large);
    free(large);
    int ends[2];
    assert_int_equal(ctr_pipe(ends), 0);
    watch.cancel_at = 30;
    assert_int_equal(
        ctr_image_save(f->images, names, 1, NULL, CTR_ARCHIVE_OCI, ends[1], &progress, &f->err),
        -ECANCELED);
    (void) close(ends[0]);
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    assert_int_equal(
        ctr_image_save(f->images, names, 1, NULL, CTR_ARCHIVE_OCI, ends[1], NULL, &f->err),
        -EPIPE);
    (void) signal(SIGPIPE, before);
    (void) close(ends[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    watch.cancel_at = watch.steps + 15;
    assert_int_equal(
        ctr_image_save(f->images, names, 1, NULL, CTR_ARCHIVE_OCI, ends[1], &progress, &f->err),
        -ECANCELED);
    (void) close(ends[0]);
    assert_int_equal(
        ctr_image_save(f->images, names, 1, NULL, CTR_ARCHIVE_OCI, ends[1], NULL, &f->err),
        -EPIPE);
    (void) close(ends[1]);
}

/* An image that is removed while it is saved stays until the save is done. */
static void
remove_step(void *arg, const char *id, const char *status, uint64_t current, uint64_t total)
{
    struct watch *watch = arg;
    struct ctr_error err = CTR_ERROR_INIT;
    if (!watch->removed && strcmp(status, "Saving") == 0) {
        watch->removed = ctr_image_remove(watch->f->images, "a", false, NULL, 0, NULL, NULL,
                                          NULL, &err) == 0;
    }
}

static void
test_lease(void **state)
{
    struct fixture *f = *state;
    struct watch watch = {.f = f};
    struct ctr_progress progress = {.step = remove_step, .arg = &watch};
    char path[100];
    make_image(f, A, "one");
    (void) snprintf(path, sizeof path, "%s/archive", f->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(ctr_image_save(f->images, (const char *const[]){"a"}, 1, NULL,
                                    CTR_ARCHIVE_OCI, fd, &progress, &f->err),
                     0);
    assert_true(watch.removed);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    free(load(f, fd));
    assert_int_equal(ctr_images_collect(f->images, NULL, 0, &f->err), 0);
    assert_int_equal(count_blobs(f->store), 0);
}

/* --- folders --- */

static int
save_folder_at(struct fixture *f, const char *path, const char *const *names, size_t n)
{
    (void) mkdir(path, 0755);
    CTR_AUTO(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    f->err.code = 0;
    return ctr_image_save(f->images, names, n, NULL, CTR_ARCHIVE_DIR, fd, NULL, &f->err);
}

#define FOLDER(f, path, ...)                                                                   \
    save_folder_at(f, path, (const char *const[]){__VA_ARGS__},                                \
                   CTR_LENGTH(((const char *const[]){__VA_ARGS__})))

static char *
load_folder(struct fixture *f, const char *path)
{
    struct ctr_buf told = {0};
    if (ctr_image_load_dir(f->other, path, NULL, NULL, on_loaded, &told, &f->err) < 0) {
        fail_msg("load: %s", f->err.msg);
    }
    return ctr_buf_take(&told);
}

static void
test_folder(void **state)
{
    struct fixture *f = *state;
    char path[100], file[300];
    (void) snprintf(path, sizeof path, "%s/layout", f->dir);
    make_image(f, A, "one");
    make_image(f, "docker.io/library/c:latest", "three");
    make_image(f, B, "two");
    assert_int_equal(FOLDER(f, path, "a"), 0);
    assert_int_equal(FOLDER(f, path, "b:2", "c"), 0);
    assert_int_equal(FOLDER(f, path, "b:2"), 0); /* once more: nothing doubles */
    char *told = load_folder(f, path);
    assert_string_equal(told, "a:latest c:latest b:2 ");
    free(told);
    assert_same(f, "a");
    assert_same(f, "b:2");
    assert_same(f, "c");
    /* A name that has moved on replaces the old entry; a blob that is damaged there is written anew. */
    struct ctr_image image;
    make_image(f, A, "newer");
    assert_int_equal(ctr_image_resolve(f->images, "b:2", NULL, &image, &f->err), 0);
    (void) snprintf(file, sizeof file, "%s/blobs/sha256/%.64s", path, image.id + 7);
    assert_int_equal(truncate(file, 10), 0);
    assert_int_equal(FOLDER(f, path, "a", "b:2"), 0);
    ctr_image_finish(&image);
    free(load_folder(f, path));
    assert_same(f, "a");
    (void) snprintf(file, sizeof file, "%s/index.json", path);
    json_t *index = ctr_read_json(file, 1 << 20, &f->err);
    assert_int_equal(json_array_size(json_object_get(index, "manifests")), 3);
    json_decref(index);
}

/* "latest" of one image is not taken from another; a folder of other things is left alone; a cut save is gone on with. */
static void
test_folder_edges(void **state)
{
    struct fixture *f = *state;
    char path[100], file[300];
    make_image(f, A, "one");
    (void) snprintf(path, sizeof path, "%s/busy", f->dir);
    (void) snprintf(file, sizeof file, "%s/something", path);
    (void) mkdir(path, 0755);
    assert_int_equal(mkdir(file, 0755), 0);
    assert_int_equal(FOLDER(f, path, "a"), -ENOTEMPTY);
    assert_int_equal(rmdir(file), 0);
    (void) snprintf(file, sizeof file, "%s/.ctr-new", path);
    assert_int_equal(ctr_write_file(file, "x", 1, &f->err), 0);
    assert_int_equal(FOLDER(f, path, "a"), 0);
    assert_int_not_equal(access(file, F_OK), 0);
    (void) snprintf(file, sizeof file, "%s/index.json", path);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(FOLDER(f, path, "a"), 0);
    assert_int_equal(
        ctr_write_file(file, "{\"schemaVersion\":2,\"manifests\":{}}", 34, &f->err), 0);
    assert_true(FOLDER(f, path, "a") < 0);
    assert_non_null(strstr(f->err.msg, "index.json"));
    /* Someone made blobs a link to elsewhere. */
    (void) snprintf(path, sizeof path, "%s/linked", f->dir);
    (void) mkdir(path, 0755);
    (void) snprintf(file, sizeof file, "%s/oci-layout", path);
    assert_int_equal(ctr_write_file(file, "{}", 2, &f->err), 0);
    (void) snprintf(file, sizeof file, "%s/blobs", path);
    assert_int_equal(symlink(f->dir, file), 0);
    assert_int_equal(FOLDER(f, path, "a"), -ENOTDIR);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_same_bytes),
        TEST(test_whole_index),
        TEST(test_partial_index),
        TEST(test_damaged_and_missing),
        TEST(test_pipes),
        TEST(test_lease),
        TEST(test_folder),
        TEST(test_folder_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
