/*
 * What <ctr/ext4.h> offers beside images; those are tested through the plugins (test-storage, tests/conform).
 */
#include <ctr/ext4.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void
test_copy_keeps_holes(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    char dir[] = "/tmp/ctr-test-ext4-XXXXXX";
    assert_non_null(mkdtemp(dir));
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int from = openat(folder, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(pwrite(from, "begin", 5, 0), 5);
    assert_int_equal(pwrite(from, "middle", 6, 10 << 20), 6);
    assert_int_equal(ftruncate(from, 100 << 20), 0);
    bool reflink;
    assert_int_equal(ctr_file_clone(from, folder, "copy", &reflink, &err), 0);
    int to = openat(folder, "copy", O_RDONLY | O_CLOEXEC);
    struct stat st;
    char text[7] = "";
    assert_int_equal(fstat(to, &st), 0);
    assert_int_equal(st.st_size, 100 << 20);
    assert_true(st.st_blocks * 512 < 1 << 20);
    assert_int_equal(pread(to, text, 6, 10 << 20), 6);
    assert_string_equal(text, "middle");
    assert_int_equal(ctr_file_clone(from, folder, "copy", NULL, &err), -EEXIST);
    close(from);
    close(to);
    assert_int_equal(unlinkat(folder, "sparse", 0) | unlinkat(folder, "copy", 0), 0);
    close(folder);
    assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_copy_keeps_holes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
