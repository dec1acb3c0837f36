/*
 * The container's log: writer, rotation, torn records, reader, tail.
 */
#include "core/sandbox/sandbox-priv.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
    char folder[64];
    char path[96], old[96];
    struct ctr_log_writer log;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    (void) snprintf(f->folder, sizeof f->folder, "/tmp/ctr-log-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void) snprintf(f->path, sizeof f->path, "%s/container.log", f->folder);
    (void) snprintf(f->old, sizeof f->old, "%s/container.log.1", f->folder);
    assert_int_equal(ctr_log_start(&f->log, f->path, 256 * 1024, NULL), 0);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    ctr_log_finish(&f->log);
    assert_int_equal(ctr_remove_tree(f->folder, NULL), 0);
    free(f);
    return 0;
}

/* All that the reader gives, both streams together. */
static char *
read_all(const char *folder, int64_t tail)
{
    struct ctr_log_reader *reader = NULL;
    struct ctr_log_record record;
    struct ctr_buf buf = {0};
    int code;
    assert_int_equal(ctr_log_open(folder, tail, &reader, NULL), 0);
    while ((code = ctr_log_next(reader, &record, NULL)) > 0) {
        ctr_buf_add(&buf, record.bytes, record.length);
    }
    assert_int_equal(code, 0);
    ctr_log_close(reader);
    ctr_buf_add(&buf, "", 1);
    return ctr_buf_take(&buf);
}

static void
expect_all(const char *folder, int64_t tail, const char *wanted)
{
    char *got = read_all(folder, tail);
    assert_string_equal(got, wanted);
    free(got);
}

static void
test_streams(void **state)
{
    struct fixture *f = *state;
    struct ctr_log_reader *reader = NULL;
    struct ctr_log_record record;
    int64_t before = ctr_now_ns();
    ctr_log_write(&f->log, 1, "out\n", 4);
    ctr_log_write(&f->log, 2, "err\n", 4);
    assert_int_equal(ctr_log_open(f->folder, -1, &reader, NULL), 0);
    assert_int_equal(ctr_log_next(reader, &record, NULL), 1);
    assert_int_equal(record.stream, 1);
    assert_memory_equal(record.bytes, "out\n", 4);
    assert_true(record.time_ns >= before && record.time_ns <= ctr_now_ns());
    assert_int_equal(ctr_log_next(reader, &record, NULL), 1);
    assert_int_equal(record.stream, 2);
    assert_int_equal(ctr_log_next(reader, &record, NULL), 0);
    ctr_log_write(&f->log, 1, "more\n", 5);
    struct pollfd poll_fd = {.fd = ctr_log_fd(reader), .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 5000), 1);
    assert_int_equal(ctr_log_next(reader, &record, NULL), 1);
    assert_int_equal(record.length, 5);
    assert_int_equal(ctr_log_next(reader, &record, NULL), 0);
    assert_int_equal(poll(&poll_fd, 1, 0), 0);
    ctr_log_close(reader);
}

static void
test_missing(void **state)
{
    struct fixture *f = *state;
    (void) unlink(f->path);
    expect_all(f->folder, -1, "");
    expect_all(f->folder, 10, "");
}

static void
test_tail(void **state)
{
    struct fixture *f = *state;
    ctr_log_write(&f->log, 1, "one\ntwo\nthree\n", 14);
    ctr_log_write(&f->log, 1, "four", 4);
    expect_all(f->folder, -1, "one\ntwo\nthree\nfour");
    expect_all(f->folder, 100, "one\ntwo\nthree\nfour");
    expect_all(f->folder, 2, "three\nfour");
    expect_all(f->folder, 1, "four");
    expect_all(f->folder, 0, "");
}

static void
test_long_output_is_cut_into_records(void **state)
{
    struct fixture *f = *state;
    char *big = malloc(100000);
    struct ctr_log_reader *reader = NULL;
    struct ctr_log_record record;
    size_t total = 0;
    memset(big, 'x', 100000);
    ctr_log_write(&f->log, 1, big, 100000);
    free(big);
    assert_int_equal(ctr_log_open(f->folder, -1, &reader, NULL), 0);
    while (ctr_log_next(reader, &record, NULL) > 0) {
        assert_true(record.length <= CTR_LOG_RECORD_MAX);
        total += record.length;
    }
    assert_int_equal(total, 100000);
    ctr_log_close(reader);
}

/* The reader holds on to its file while the writer goes round; nothing of what is kept is missed or told twice. */
static void
test_rotation(void **state)
{
    struct fixture *f = *state;
    struct ctr_log_reader *reader = NULL;
    struct ctr_log_record record;
    struct stat st;
    char line[1001];
    int read_lines = 0;
    assert_int_equal(ctr_log_open(f->folder, -1, &reader, NULL), 0);
    for (int i = 0; i < 1000; i++) {
        (void) snprintf(line, sizeof line, "%06d", i);
        memset(line + 6, '.', 993);
        line[999] = '\n';
        ctr_log_write(&f->log, 1, line, 1000);
        while (i % 100 == 99 && ctr_log_next(reader, &record, NULL) > 0) {
            assert_int_equal(strtol(record.bytes, NULL, 10), read_lines);
            read_lines++;
        }
    }
    assert_int_equal(read_lines, 1000);
    ctr_log_close(reader);
    assert_int_equal(stat(f->path, &st), 0);
    assert_true(st.st_size <= 128 * 1024);
    assert_int_equal(stat(f->old, &st), 0);
    assert_true(st.st_size <= 128 * 1024);
    char *rest = read_all(f->folder, 3);
    assert_int_equal(strlen(rest), 3000);
    assert_memory_equal(rest, "000997", 6);
    free(rest);
}

static void
test_torn_record(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    ctr_log_write(&f->log, 1, "whole\n", 6);
    ctr_log_write(&f->log, 1, "torn\n", 5);
    ctr_log_finish(&f->log);
    assert_int_equal(stat(f->path, &st), 0);
    for (off_t cut = 1; cut < CTR_LOG_HEADER + 5; cut++) {
        assert_int_equal(truncate(f->path, st.st_size - cut), 0);
        expect_all(f->folder, -1, "whole\n");
    }
    assert_int_equal(ctr_log_start(&f->log, f->path, 256 * 1024, NULL), 0);
    ctr_log_write(&f->log, 1, "next\n", 5);
    expect_all(f->folder, -1, "whole\nnext\n");
}

static void
test_damage(void **state)
{
    struct fixture *f = *state;
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_log_reader *reader = NULL;
    struct ctr_log_record record;
    ctr_log_write(&f->log, 1, "first\n", 6);
    ctr_log_write(&f->log, 1, "second\n", 7);
    int fd = open(f->path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\x07", 1, CTR_LOG_HEADER + 6), 1);
    (void) close(fd);
    assert_int_equal(ctr_log_open(f->folder, -1, &reader, NULL), 0);
    assert_int_equal(ctr_log_next(reader, &record, &err), 1);
    assert_int_equal(ctr_log_next(reader, &record, &err), -EBADMSG);
    assert_non_null(strstr(err.msg, "damaged"));
    ctr_log_close(reader);
    /* The next start sets the damaged file aside and goes on. */
    ctr_log_finish(&f->log);
    assert_int_equal(ctr_log_start(&f->log, f->path, 256 * 1024, NULL), 0);
    ctr_log_write(&f->log, 1, "third\n", 6);
    expect_all(f->folder, -1, "third\n");
    char aside[120];
    (void) snprintf(aside, sizeof aside, "%s.damaged", f->path);
    assert_int_equal(access(aside, F_OK), 0);
}

static void
test_header(void **state)
{
    uint8_t bytes[CTR_LOG_HEADER];
    struct ctr_log_header in = {.stream = 2, .length = 12345, .time_ns = INT64_C(1) << 60}, out;
    (void) state;
    ctr_log_encode(&in, bytes);
    assert_int_equal(ctr_log_decode(bytes, &out), 0);
    assert_int_equal(out.stream, 2);
    assert_int_equal(out.length, 12345);
    assert_true(out.time_ns == in.time_ns);
    for (int i = 0; i < 9; i++) {
        uint8_t bad[CTR_LOG_HEADER];
        memcpy(bad, bytes, sizeof bad);
        bad[i] = 0xff;
        if (i != 6 && i != 7) { /* the length's low bytes have no wrong values of their own */
            assert_int_equal(ctr_log_decode(bad, &out), -EBADMSG);
        }
    }
    in.length = 0;
    ctr_log_encode(&in, bytes);
    assert_int_equal(ctr_log_decode(bytes, &out), -EBADMSG);
}

/* ENOSPC loses output and nothing else. */
static void
test_full_disk(void **state)
{
    struct fixture *f = *state;
    ctr_log_write(&f->log, 1, "kept\n", 5);
    int good = f->log.fd;
    f->log.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    ctr_log_write(&f->log, 1, "lost\n", 5);
    assert_true(f->log.broken);
    (void) close(f->log.fd);
    f->log.fd = good;
    ctr_log_write(&f->log, 1, "again\n", 6);
    assert_false(f->log.broken);
    expect_all(f->folder, -1, "kept\nagain\n");
}

static void
test_console(void **state)
{
    struct fixture *f = *state;
    char path[96], old[100];
    (void) snprintf(path, sizeof path, "%s/console.ring", f->folder);
    (void) snprintf(old, sizeof old, "%s.1", path);
    assert_null(ctr_console_line(path, NULL));
    int fd = open(old, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "Kernel panic - not syncing\r\nolder\n", 34), 34);
    (void) close(fd);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "newer \033[31mline\n\n", 17), 17);
    (void) close(fd);
    char *line = ctr_console_line(path, NULL);
    assert_string_equal(line, "newer  [31mline");
    free(line);
    line = ctr_console_line(path, "Kernel panic");
    assert_string_equal(line, "Kernel panic - not syncing");
    free(line);
    assert_null(ctr_console_line(path, "Oops"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_output_is_cut_into_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_console, setup, teardown),
        cmocka_unit_test(test_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
