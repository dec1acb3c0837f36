/* Every allocation of what tells about images, verifies, saves and prunes fails in turn: an error, nothing lost, nothing taken for damage. */
#include "fail-alloc.h"
#include "image-fixture.h"

#if FAIL_ALLOC_WORKS

#define A "docker.io/library/a:latest"
#define A_MULTI "docker.io/library/multi:latest"

static int
done(json_t *take_answer, const struct ctr_error *err)
{
    int rc = take_answer != NULL ? 0 : err->code;
    json_decref(take_answer);
    return take_answer == NULL && rc == 0 ? 1 : rc; /* 1: failed without an error */
}

static int
try_history(struct fixture *f, int fd)
{
    return done(ctr_image_history(f->images, "a", NULL, &f->err), &f->err);
}

static int
try_tree(struct fixture *f, int fd)
{
    return done(ctr_image_tree(f->images, "multi", &f->err), &f->err);
}

static int
try_usage(struct fixture *f, int fd)
{
    return done(ctr_images_usage(f->images, &f->storage, 1, &f->err), &f->err);
}

static int
try_verify(struct fixture *f, int fd)
{
    return done(ctr_image_verify(f->images, "multi", false, NULL, NULL, &f->err), &f->err);
}

static int
try_prune(struct fixture *f, int fd)
{
    json_t *answer = NULL;
    struct ctr_prune prune = {.all = false};
    int rc = ctr_image_prune(f->images, &prune, &f->storage, 1, NULL, NULL, &answer, &f->err);
    json_decref(answer);
    return rc;
}

static int
try_save(struct fixture *f, int fd)
{
    static const char *const names[] = {"a", "multi"};
    return lseek(fd, 0, SEEK_SET) < 0 ? -errno
                                      : ctr_image_save(f->images, names, 2, NULL,
                                                       CTR_ARCHIVE_DOCKER, fd, NULL, &f->err);
}

static void
fail_in_turn(struct fixture *f, int (*try_it)(struct fixture *f, int fd), long step)
{
    CTR_AUTO(fd) int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    size_t before = count_blobs(f->store);
    bool hit = true;
    for (long n = 0; hit; n += n < 100 ? 1 : step) {
        f->err.code = 0;
        fail_alloc_after(n);
        int rc = try_it(f, fd);
        hit = fail_alloc_hit();
        assert_true(rc <= 0);
        assert_int_equal(rc < 0, f->err.code < 0);
        assert_true(hit || rc == 0);
        assert_int_equal(count_blobs(f->store), before);
    }
}

static void
test_memory(void **state)
{
    struct fixture *f = *state;
    static int (*const tries[])(struct fixture *, int) = {try_history, try_tree,  try_usage,
                                                          try_verify,  try_prune, try_save};
    if (!fail_alloc_works()) {
        skip();
    }
    make_image(f, A, "one");
    make_index(f, A_MULTI, "many");
    for (size_t i = 0; i < CTR_LENGTH(tries); i++) {
        fail_in_turn(f, tries[i], 11);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int
main(void)
{
    (void) puts("the sanitizer has its own malloc");
    return 77;
}

#endif
