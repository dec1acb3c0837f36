/* core/store: blobs that are whole or not there, resumable ingests, records, one owner. */
#include "core/store/store.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define HELLO "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

struct fixture {
    char dir[64];
    struct ctr_store *store;
    struct ctr_error err;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    (void) snprintf(f->dir, sizeof f->dir, "/tmp/ctr-test-store.XXXXXX");
    f->err.size = sizeof f->err;
    if (mkdtemp(f->dir) == NULL || ctr_store_open(f->dir, &f->store, &f->err) < 0) {
        return -1;
    }
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    ctr_store_close(f->store);
    (void) ctr_remove_tree(f->dir, &f->err);
    free(f);
    return 0;
}

static void
reopen(struct fixture *f)
{
    ctr_store_close(f->store);
    f->store = NULL;
    assert_int_equal(ctr_store_open(f->dir, &f->store, &f->err), 0);
}

/* A file below the data root. */
static bool
has_file(const struct fixture *f, const char *name)
{
    char path[1024];
    (void) snprintf(path, sizeof path, "%s/%.300s", f->dir, name);
    return access(path, F_OK) == 0;
}

static void
test_put_and_read(void **state)
{
    struct fixture *f = *state;
    char digest[72];
    assert_int_equal(ctr_blob_put(f->store, "hello", 5, digest, &f->err), 0);
    assert_string_equal(digest, HELLO);
    reopen(f);
    char *bytes = NULL;
    size_t length = 0;
    assert_int_equal(ctr_blob_read(f->store, HELLO, 100, &bytes, &length, &f->err), 0);
    assert_int_equal(length, 5);
    assert_string_equal(bytes, "hello");
    free(bytes);
    assert_int_equal(ctr_blob_read(f->store, HELLO, 4, &bytes, &length, &f->err), -EFBIG);
    uint64_t size = 0;
    assert_true(ctr_blob_exists(f->store, HELLO, &size));
    assert_int_equal(size, 5);
    assert_int_equal(ctr_blob_remove(f->store, HELLO, &f->err), 0);
    assert_int_equal(ctr_blob_remove(f->store, HELLO, &f->err), 0);
    assert_false(ctr_blob_exists(f->store, HELLO, NULL));
}

static void
test_bad_digests(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "",
        "sha256:",
        "sha256:../../../../etc/passwd",
        "md5:2cf24dba5fb0a30e26e83b2ac5b9e29e",
        "SHA256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e730433629"
        "38b9824",
        "sha256:2CF24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e730433629"
        "38b9824",
        "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e730433629"
        "38b982",
        HELLO "0",
        HELLO "/x"};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        struct ctr_ingest *ingest = NULL;
        uint64_t offset = 0;
        int fd = -1;
        assert_false(ctr_blob_exists(f->store, bad[i], NULL));
        assert_int_equal(ctr_blob_open(f->store, bad[i], &fd, NULL, &f->err), -EINVAL);
        assert_int_equal(ctr_blob_remove(f->store, bad[i], &f->err), -EINVAL);
        assert_int_equal(ctr_ingest_open(f->store, bad[i], 5, &ingest, &offset, &f->err),
                         -EINVAL);
    }
}

static void
test_wrong_bytes(void **state)
{
    struct fixture *f = *state;
    struct ctr_ingest *ingest = NULL;
    uint64_t offset = 99;
    assert_int_equal(ctr_ingest_open(f->store, HELLO, 5, &ingest, &offset, &f->err), 0);
    assert_int_equal(offset, 0);
    assert_int_equal(ctr_ingest_write(ingest, "hellO", 5, &f->err), 0);
    assert_int_equal(ctr_ingest_commit(ingest, NULL, &f->err), -EBADMSG);
    assert_non_null(strstr(f->err.msg, HELLO));
    assert_false(ctr_blob_exists(f->store, HELLO, NULL));
    /* The wrong bytes are gone: the next try begins at 0. */
    assert_int_equal(ctr_ingest_open(f->store, HELLO, 5, &ingest, &offset, &f->err), 0);
    assert_int_equal(offset, 0);
    assert_int_equal(ctr_ingest_write(ingest, "hell", 4, &f->err), 0);
    assert_int_equal(ctr_ingest_write(ingest, "o!", 2, &f->err), -EFBIG);
    ctr_ingest_abort(ingest, false);
    assert_int_equal(ctr_ingest_open(f->store, HELLO, 5, &ingest, &offset, &f->err), 0);
    assert_int_equal(ctr_ingest_write(ingest, "hell", 4, &f->err), 0);
    assert_int_equal(ctr_ingest_commit(ingest, NULL, &f->err), -EBADMSG);
}

static void
test_resume(void **state)
{
    struct fixture *f = *state;
    struct ctr_ingest *ingest = NULL, *other = NULL;
    uint64_t offset = 0;
    char digest[72];
    assert_int_equal(ctr_ingest_open(f->store, HELLO, 5, &ingest, &offset, &f->err), 0);
    assert_int_equal(ctr_ingest_open(f->store, HELLO, 5, &other, &offset, &f->err), -EBUSY);
    assert_int_equal(ctr_ingest_write(ingest, "hel", 3, &f->err), 0);
    ctr_ingest_abort(ingest, true);
    reopen(f);
    assert_int_equal(ctr_ingest_open(f->store, HELLO, 5, &ingest, &offset, &f->err), 0);
    assert_int_equal(offset, 3);
    assert_int_equal(ctr_ingest_write(ingest, "lo", 2, &f->err), 0);
    assert_int_equal(ctr_ingest_commit(ingest, digest, &f->err), 0);
    assert_string_equal(digest, HELLO);
    assert_true(ctr_blob_exists(f->store, HELLO, NULL));
    /* More than the announced size left behind is a fresh start. */
    assert_int_equal(ctr_blob_remove(f->store, HELLO, &f->err), 0);
    assert_int_equal(ctr_ingest_open(f->store, HELLO, -1, &ingest, &offset, &f->err), 0);
    assert_int_equal(ctr_ingest_write(ingest, "hello, world", 12, &f->err), 0);
    ctr_ingest_abort(ingest, true);
    assert_int_equal(ctr_ingest_open(f->store, HELLO, 5, &ingest, &offset, &f->err), 0);
    assert_int_equal(offset, 0);
    ctr_ingest_abort(ingest, false);
}

static void
test_sweep(void **state)
{
    struct fixture *f = *state;
    struct ctr_ingest *ingest = NULL;
    uint64_t offset = 0;
    assert_int_equal(ctr_ingest_open(f->store, HELLO, 5, &ingest, &offset, &f->err), 0);
    assert_int_equal(ctr_ingest_write(ingest, "hel", 3, &f->err), 0);
    ctr_ingest_abort(ingest, true);
    char path[1024];
    (void) snprintf(path, sizeof path, "%s/images/ingest/new-left", f->dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void) close(fd);
    reopen(f);
    assert_false(has_file(f, "images/ingest/new-left"));
    (void) snprintf(path, sizeof path, "images/ingest/sha256-%s", &HELLO[7]);
    assert_true(has_file(f, path));
    /* Nobody goes on with it for a week. */
    char full[1024];
    (void) snprintf(full, sizeof full, "%s/%.300s", f->dir, path);
    struct timespec old[2] = {{.tv_sec = time(NULL) - 8 * 86400},
                              {.tv_sec = time(NULL) - 8 * 86400}};
    assert_int_equal(utimensat(AT_FDCWD, full, old, 0), 0);
    reopen(f);
    assert_false(has_file(f, path));
}

static void
test_damage(void **state)
{
    struct fixture *f = *state;
    char digest[72], path[512];
    assert_int_equal(ctr_blob_put(f->store, "hello", 5, digest, &f->err), 0);
    (void) snprintf(path, sizeof path, "%s/images/blobs/sha256/%s", f->dir, digest + 7);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, "H", 1), 1);
    (void) close(fd);
    char *bytes = NULL;
    assert_int_equal(ctr_blob_read(f->store, digest, 100, &bytes, NULL, &f->err), -EBADMSG);
    assert_non_null(strstr(f->err.msg, "damaged"));
    assert_false(ctr_blob_exists(f->store, digest, NULL));
    (void) snprintf(path, sizeof path, "images/damaged/%s", digest + 7);
    assert_true(has_file(f, path));
}

static void
test_one_owner(void **state)
{
    struct fixture *f = *state;
    struct ctr_store *second = NULL;
    assert_int_equal(ctr_store_open(f->dir, &second, &f->err), -EBUSY);
    assert_non_null(strstr(f->err.msg, "in use by another ctrd"));
    assert_non_null(strstr(f->err.msg, f->dir));
}

/* --- records --- */

static int
count(void *arg, const char *key, const json_t *value)
{
    struct ctr_buf *buf = arg;
    ctr_buf_printf(buf, "%s=%s ", key, ctr_json_str(value, "v", "?"));
    return strcmp(key, "stop") == 0 ? 7 : 0;
}

static void
put(struct fixture *f, const char *table, const char *key, const char *value)
{
    json_t *json = json_pack("{s:s}", "v", value);
    assert_int_equal(ctr_record_put(f->store, table, key, json, &f->err), 0);
    json_decref(json);
}

static void
test_records(void **state)
{
    struct fixture *f = *state;
    put(f, "container", "b", "1");
    put(f, "container", "a", "2");
    put(f, "container", "b", "3");
    put(f, "image", "a", "other table");
    json_t *json = json_pack("{s:s}", "v", "x");
    assert_int_equal(ctr_record_claim(f->store, "container", "a", json, &f->err), -EEXIST);
    assert_int_equal(ctr_record_claim(f->store, "container", "c' -- \n", json, &f->err), 0);
    json_decref(json);
    reopen(f);
    struct ctr_buf seen = {0};
    assert_int_equal(ctr_record_each(f->store, "container", count, &seen, &f->err), 0);
    assert_string_equal(seen.data, "a=2 b=3 c' -- \n=x ");
    ctr_buf_clear(&seen);
    assert_int_equal(ctr_record_remove(f->store, "container", "a", &f->err), 0);
    assert_int_equal(ctr_record_remove(f->store, "container", "a", &f->err), 0);
    assert_null(ctr_record_get(f->store, "container", "a", &f->err));
    assert_int_equal(f->err.code, -ENOENT);
    put(f, "container", "stop", "4");
    put(f, "container", "z", "5");
    assert_int_equal(ctr_record_each(f->store, "container", count, &seen, &f->err), 7);
    assert_null(strstr(seen.data, "z=5"));
    ctr_buf_clear(&seen);
}

struct race {
    struct fixture *f;
    int won;
};

static void *
claim_all(void *arg)
{
    struct race *race = arg;
    struct ctr_error err = CTR_ERROR_INIT;
    json_t *json = json_object();
    for (int i = 0; i < 20; i++) {
        char key[16];
        (void) snprintf(key, sizeof key, "n%d", i);
        race->won += ctr_record_claim(race->f->store, "lease", key, json, &err) == 0;
    }
    json_decref(json);
    return NULL;
}

static void
test_claims_have_one_winner(void **state)
{
    struct race races[4];
    pthread_t threads[4];
    int won = 0;
    for (int i = 0; i < 4; i++) {
        races[i] = (struct race){.f = *state};
        assert_int_equal(pthread_create(&threads[i], NULL, claim_all, &races[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        (void) pthread_join(threads[i], NULL);
        won += races[i].won;
    }
    assert_int_equal(won, 20);
}

static void
test_damaged_database_is_kept(void **state)
{
    struct fixture *f = *state;
    char path[1024], wal[1024];
    put(f, "container", "a", "1");
    ctr_store_close(f->store);
    f->store = NULL;
    (void) snprintf(path, sizeof path, "%s/state.db", f->dir);
    (void) snprintf(wal, sizeof wal, "%s/state.db-wal", f->dir);
    (void) unlink(wal);
    assert_int_equal(
        ctr_write_file(path, "this is no database, but someone's data", 39, &f->err), 0);
    assert_int_equal(ctr_store_open(f->dir, &f->store, &f->err), -EBADMSG);
    assert_non_null(strstr(f->err.msg, "state.db"));
    char *bytes = NULL;
    size_t length = 0;
    assert_int_equal(ctr_read_file(path, 100, &bytes, &length, &f->err), 0);
    assert_int_equal(length, 39);
    free(bytes);
}

static void
test_index(void **state)
{
    struct fixture *f = *state;
    char path[1024];
    assert_true(has_file(f, "images/oci-layout"));
    json_t *json = json_pack("{s:s, s:s, s:i}", "digest", HELLO, "mediaType",
                             "application/vnd.oci.image.manifest.v1+json", "size", 5);
    assert_int_equal(ctr_record_put(f->store, "image", "docker.io/library/x:1", json, &f->err),
                     0);
    assert_int_equal(ctr_record_put(f->store, "image", HELLO, json, &f->err), 0);
    json_decref(json);
    assert_int_equal(ctr_store_write_index(f->store, &f->err), 0);
    (void) snprintf(path, sizeof path, "%s/images/index.json", f->dir);
    json_t *index = ctr_read_json(path, 100000, &f->err);
    json_t *manifests = json_object_get(index, "manifests");
    assert_int_equal(json_array_size(manifests), 2);
    json_t *first = json_array_get(manifests, 0);
    assert_string_equal(ctr_json_str(json_object_get(first, "annotations"),
                                     "org.opencontainers.image.ref.name", ""),
                        "docker.io/library/x:1");
    assert_null(json_object_get(json_array_get(manifests, 1), "annotations"));
    json_decref(index);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_put_and_read),
        TEST(test_bad_digests),
        TEST(test_wrong_bytes),
        TEST(test_resume),
        TEST(test_sweep),
        TEST(test_damage),
        TEST(test_one_owner),
        TEST(test_records),
        TEST(test_claims_have_one_winner),
        TEST(test_damaged_database_is_kept),
        TEST(test_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
