/*
 * core/base: what every other room relies on.
 */
#include "core/base/base.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
/* after the headers that it needs */
#include <cmocka.h>

static char scratch[64];

static int
make_scratch(void **state)
{
    (void) snprintf(scratch, sizeof scratch, "/tmp/ctr-test-base-XXXXXX");
    return mkdtemp(scratch) == NULL;
}

static int
remove_scratch(void **state)
{
    return ctr_remove_tree(scratch, NULL);
}

/* A path below the scratch folder; caller frees. */
static char *
in_scratch(const char *name)
{
    char *path = ctr_printf("%s/%s", scratch, name);
    assert_non_null(path);
    return path;
}

static void
test_buf(void **state)
{
    struct ctr_buf buf = {0};
    ctr_buf_puts(&buf, "abc");
    ctr_buf_add(&buf, "\0d", 2);
    ctr_buf_printf(&buf, "-%d-%s", 42, "x");
    assert_int_equal(buf.length, 10);
    assert_memory_equal(buf.data, "abc\0d-42-x", 11);
    ctr_buf_consume(&buf, 4);
    assert_string_equal(buf.data, "d-42-x");
    ctr_buf_consume(&buf, 100);
    assert_int_equal(buf.length, 0);
    for (int i = 0; i < 10000; i++) {
        ctr_buf_puts(&buf, "0123456789");
    }
    assert_int_equal(buf.length, 100000);
    assert_false(buf.failed);
    char *text = ctr_buf_take(&buf);
    assert_int_equal(strlen(text), 100000);
    free(text);
    text = ctr_buf_take(&buf);
    assert_string_equal(text, "");
    free(text);
    buf.failed = true;
    ctr_buf_puts(&buf, "lost");
    assert_null(ctr_buf_take(&buf));
}

static void
test_numbers(void **state)
{
    int64_t n;
    uint64_t size;
    assert_int_equal(ctr_parse_int("42", 0, 100, &n), 0);
    assert_int_equal(n, 42);
    assert_int_equal(ctr_parse_int("-7", -10, 0, &n), 0);
    assert_int_equal(n, -7);
    static const char *const bad[] = {"", "-", "4x", " 4", "4 ", "+4", "0x10", "1e3"};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_int_equal(ctr_parse_int(bad[i], 0, 100, &n), -EINVAL);
    }
    assert_int_equal(ctr_parse_int("101", 0, 100, &n), -ERANGE);
    assert_int_equal(ctr_parse_int("99999999999999999999", 0, INT64_MAX, &n), -ERANGE);
    static const struct {
        const char *text;
        uint64_t value;
    } sizes[] = {{"0", 0},
                 {"512", 512},
                 {"1k", 1024},
                 {"2M", 2 << 20},
                 {"3GiB", 3ULL << 30},
                 {"4tb", 4ULL << 40},
                 {"7KB", 7 * 1024},
                 {"8b", 8}};
    for (size_t i = 0; i < CTR_LENGTH(sizes); i++) {
        assert_int_equal(ctr_parse_size(sizes[i].text, &size), 0);
        assert_int_equal(size, sizes[i].value);
    }
    static const char *const bad_sizes[] = {"", "k", "1.5G", "-1", "1x", "1kk", "1bib", "1 M"};
    for (size_t i = 0; i < CTR_LENGTH(bad_sizes); i++) {
        assert_int_equal(ctr_parse_size(bad_sizes[i], &size), -EINVAL);
    }
    assert_int_equal(ctr_parse_size("99999999T", &size), -ERANGE);
    assert_int_equal(ctr_parse_size("18446744073709551616", &size), -ERANGE);
}

static void
test_shown_numbers(void **state)
{
    char text[32];
    assert_string_equal(ctr_format_size(0, text), "0B");
    assert_string_equal(ctr_format_size(999, text), "999B");
    assert_string_equal(ctr_format_size(4260000, text), "4.26MB");
    assert_string_equal(ctr_format_size(999999, text), "1MB");
    assert_string_equal(ctr_format_size(UINT64_MAX, text), "18.4EB");
    static const struct {
        int64_t seconds;
        const char *text;
    } durations[] = {{0, "Less than a second"}, {1, "1 second"},      {59, "59 seconds"},
                     {60, "About a minute"},    {180, "3 minutes"},   {3600, "About an hour"},
                     {7200, "2 hours"},         {172800, "2 days"},   {1209600, "2 weeks"},
                     {7776000, "3 months"},     {63072000, "2 years"}};
    for (size_t i = 0; i < CTR_LENGTH(durations); i++) {
        assert_string_equal(ctr_format_duration(durations[i].seconds, text), durations[i].text);
    }
}

static void
test_printable(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"plain", "plain"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"a\033[31mred\007", "a?[31mred?"},
        {"line\nline\ttab", "line?line?tab"},
        {"\xff\xc0\x80", "???"},
        {"\xed\xa0\x80", "???"}, /* a surrogate */
        {"x\xe2\x80\xae"
         "exe",
         "x???exe"}, /* right-to-left override */
        {"\xc2\x9b"
         "31m",
         "??31m"},          /* C1 control: CSI */
        {"\xe2\x82", "??"}, /* cut off */
    };
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        char *text = ctr_printable(cases[i].from);
        assert_string_equal(text, cases[i].to);
        free(text);
    }
    assert_true(ctr_is_utf8("gr\xc3\xbc\xc3\x9f", 6));
    assert_false(ctr_is_utf8("gr\xc3", 3));
    assert_false(ctr_is_utf8("\xf4\x90\x80\x80", 4));
}

static void
test_nearest(void **state)
{
    static const char *const words[] = {"memory", "cpus", "disk", "data", NULL};
    assert_int_equal(ctr_distance("memory", "memroy"), 1);
    assert_int_equal(ctr_distance("", "abc"), 3);
    assert_int_equal(ctr_distance("kitten", "sitting"), 3);
    assert_string_equal(ctr_nearest("memroy", words), "memory");
    assert_string_equal(ctr_nearest("cpu", words), "cpus");
    assert_null(ctr_nearest("zebra", words));
    char longer[200];
    memset(longer, 'm', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_null(ctr_nearest(longer, words));
}

static void
test_signals(void **state)
{
    assert_int_equal(ctr_signal_number("TERM"), 15);
    assert_int_equal(ctr_signal_number("SIGKILL"), 9);
    assert_int_equal(ctr_signal_number("sigusr1"), 10);
    assert_int_equal(ctr_signal_number("28"), 28);
    assert_int_equal(ctr_signal_number("RTMIN+3"), 37);
    assert_int_equal(ctr_signal_number("SIGRTMAX-1"), 63);
    static const char *const bad[] = {"", "0", "65", "TERMINATE", "SIG", "RTMIN+99", "-9"};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_int_equal(ctr_signal_number(bad[i]), -EINVAL);
    }
    assert_string_equal(ctr_signal_name(15), "TERM");
    assert_null(ctr_signal_name(0));
    assert_null(ctr_signal_name(-1));
    assert_null(ctr_signal_name(200));
}

static void
test_digests_and_names(void **state)
{
    char hex[9], id[65];
    ctr_hex((const uint8_t[]){0xde, 0xad, 0x00, 0x0f}, 4, hex);
    assert_string_equal(hex, "dead000f");
    const char *good =
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_true(ctr_is_digest(good));
    static const char *const bad[] = {
        "",
        "sha256:",
        "md5:0123456789abcdef0123456789abcdef",
        "sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde",
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0",
        "sha256:../../../../../../../../../../../../../../../../../../../etc/passwd"};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_false(ctr_is_digest(bad[i]));
    }
    assert_int_equal(ctr_random_id(id), 0);
    assert_int_equal(strlen(id), 64);
    assert_true(ctr_is_hex(id, 64));
    char *name = ctr_random_name();
    assert_true(ctr_is_name(name));
    assert_non_null(strchr(name, '_'));
    free(name);
    assert_true(ctr_is_name("a"));
    assert_true(ctr_is_name("Web-1.x_y"));
    static const char *const bad_names[] = {"", "-a", ".a", "a b", "a/b", "\xc3\xbc", "a\n"};
    for (size_t i = 0; i < CTR_LENGTH(bad_names); i++) {
        assert_false(ctr_is_name(bad_names[i]));
    }
}

static void
test_time(void **state)
{
    char text[40];
    int64_t ns, now = ctr_now_ns();
    assert_string_equal(ctr_format_time(0, text), "0001-01-01T00:00:00Z");
    assert_string_equal(ctr_format_time(INT64_C(1700000000123456789), text),
                        "2023-11-14T22:13:20.123456789Z");
    assert_int_equal(ctr_parse_time("2023-11-14T22:13:20.123456789Z", &ns), 0);
    assert_true(ns == INT64_C(1700000000123456789));
    assert_int_equal(ctr_parse_time("2023-11-15T00:13:20+02:00", &ns), 0);
    assert_true(ns == INT64_C(1700000000000000000));
    assert_int_equal(ctr_parse_time("1700000000.5", &ns), 0);
    assert_true(ns == INT64_C(1700000000500000000));
    assert_int_equal(ctr_parse_time("1h30m", &ns), 0);
    assert_true(ns > now - INT64_C(5401000000000) && ns < now - INT64_C(5300000000000));
    assert_int_equal(ctr_parse_time("0001-01-01T00:00:00Z", &ns), 0);
    assert_true(ns == 0);
    static const char *const bad[] = {"",
                                      "now",
                                      "-5m",
                                      "10",
                                      "2023-13-01",
                                      "2023-11-14T25:00:00Z",
                                      "2023-11-14T22:13:20X",
                                      "10y",
                                      "5m3",
                                      "1700000000."};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        bool seconds = strcmp(bad[i], "10") == 0; /* seconds since the epoch are fine */
        assert_int_equal(ctr_parse_time(bad[i], &ns), seconds ? 0 : -EINVAL);
    }
    assert_int_equal(ctr_parse_time("99999999999999999999", &ns), -ERANGE);
    assert_int_equal(ctr_parse_time("9999999999h", &ns), -ERANGE);
}

static json_t *
parse(const char *text, struct ctr_error *err)
{
    return ctr_json_parse(text, strlen(text), 1000, "test", err);
}

static void
test_json(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *json = parse("{\"a\":\"x\",\"n\":5,\"t\":true,\"v\":[\"p\",\"q\"]}", &err);
    assert_non_null(json);
    assert_string_equal(ctr_json_str(json, "a", "def"), "x");
    assert_string_equal(ctr_json_str(json, "n", "def"), "def");
    assert_int_equal(ctr_json_int(json, "n", 0), 5);
    assert_int_equal(ctr_json_int(json, "zz", -1), -1);
    assert_true(ctr_json_bool(json, "t", false));
    const char **argv = ctr_json_argv(json_object_get(json, "v"));
    assert_string_equal(argv[1], "q");
    assert_null(argv[2]);
    free(argv);
    argv = ctr_json_argv(NULL);
    assert_null(argv[0]);
    free(argv);
    static const char *const bad[] = {
        "",     "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}", "[1", "[1] x", "\xff", "\"text\"",
        "{a:1}"};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_null(parse(bad[i], &err));
        assert_int_equal(err.code, -EBADMSG);
        assert_non_null(strstr(err.msg, "test: not valid JSON"));
    }
    char deep[201];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    deep[200] = '\0';
    assert_null(parse(deep, &err));
    assert_int_equal(err.code, -E2BIG);
    assert_null(ctr_json_parse("[1]", 3, 2, "test", &err));
    assert_int_equal(err.code, -EFBIG);
}

static void
test_json_has_a_cap_on_values(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_buf buf = {0};
    ctr_buf_puts(&buf, "[0");
    for (int i = 0; i < 300000; i++) {
        ctr_buf_puts(&buf, ",0");
    }
    ctr_buf_puts(&buf, "]");
    assert_null(ctr_json_parse(buf.data, buf.length, buf.length, "test", &err));
    assert_int_equal(err.code, -E2BIG);
    ctr_buf_clear(&buf);
}

static mode_t
mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void
test_files(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *dir = in_scratch("a/b/c");
    CTR_AUTO(free) char *path = in_scratch("a/b/c/file");
    mode_t old = umask(0);
    assert_int_equal(ctr_mkdirs(dir, 0700, &err), 0);
    assert_int_equal(ctr_mkdirs(dir, 0700, &err), 0);
    assert_int_equal(mode_of(dir), 0700);
    assert_int_equal(ctr_write_file(path, "one", 3, &err), 0);
    assert_int_equal(ctr_write_file(path, "two!", 4, &err), 0);
    assert_int_equal(mode_of(path), 0600);
    (void) umask(old);
    char *text = NULL;
    size_t length;
    assert_int_equal(ctr_read_file(path, 4, &text, &length, &err), 0);
    assert_int_equal(length, 4);
    assert_string_equal(text, "two!");
    free(text);
    assert_int_equal(ctr_read_file(path, 3, &text, &length, &err), -EFBIG);
    assert_int_equal(ctr_read_file(dir, 3, &text, &length, &err), -EINVAL);
    assert_int_equal(ctr_read_file("/nonexistent", 3, &text, &length, &err), -ENOENT);
    assert_string_equal(err.msg, "/nonexistent: No such file or directory");
    assert_int_equal(ctr_mkdirs(path, 0700, &err), -ENOTDIR);
    CTR_AUTO(json) json_t *json = json_pack("{ss}", "k", "v");
    assert_int_equal(ctr_write_json(path, json, &err), 0);
    CTR_AUTO(json) json_t *again = ctr_read_json(path, 100, &err);
    assert_true(json_equal(json, again));
    /* nothing is left of the temporary files */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* A full disk, played by a limit on file sizes: the old content stays, nothing half-made is left. */
static void
test_a_failed_write_changes_nothing(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct rlimit old, tiny;
    CTR_AUTO(free) char *dir = in_scratch("full");
    CTR_AUTO(free) char *path = in_scratch("full/file");
    static const char large[10000];
    assert_int_equal(ctr_mkdirs(dir, 0700, &err), 0);
    assert_int_equal(ctr_write_file(path, "old", 3, &err), 0);
    (void) signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tiny = old;
    tiny.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tiny), 0);
    int code = ctr_write_file(path, large, sizeof large, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(code, -EFBIG);
    assert_non_null(strstr(err.msg, "cannot be written"));
    char *text;
    assert_int_equal(ctr_read_file(path, 100, &text, NULL, &err), 0);
    assert_string_equal(text, "old");
    free(text);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* no temporary file */
}

static void
test_a_fifo_does_not_hang_a_read(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *path = in_scratch("fifo");
    char *text;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(ctr_read_file(path, 10, &text, NULL, &err), -EINVAL);
}

static void
test_remove_tree_follows_no_link(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *tree = in_scratch("tree/deep/er");
    CTR_AUTO(free) char *root = in_scratch("tree");
    CTR_AUTO(free) char *link = in_scratch("tree/deep/link");
    CTR_AUTO(free) char *kept = in_scratch("kept");
    CTR_AUTO(free) char *inside = in_scratch("kept/file");
    assert_int_equal(ctr_mkdirs(tree, 0755, &err), 0);
    assert_int_equal(ctr_mkdirs(kept, 0755, &err), 0);
    assert_int_equal(ctr_write_file(inside, "x", 1, &err), 0);
    assert_int_equal(symlink(kept, link), 0);
    assert_int_equal(ctr_remove_tree(root, &err), 0);
    assert_int_equal(access(root, F_OK), -1);
    assert_int_equal(access(inside, F_OK), 0);
    assert_int_equal(ctr_remove_tree(root, &err), 0);
    CTR_AUTO(free) char *top = in_scratch("toplink");
    assert_int_equal(symlink(kept, top), 0);
    assert_int_equal(ctr_remove_tree(top, &err), 0);
    assert_int_equal(access(inside, F_OK), 0);
}

static void
test_trusted_path(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *dir = in_scratch("trust/sub");
    CTR_AUTO(free) char *file = in_scratch("trust/sub/file");
    CTR_AUTO(free) char *link = in_scratch("link-to-trust");
    CTR_AUTO(free) char *through = in_scratch("link-to-trust/file");
    assert_int_equal(ctr_mkdirs(dir, 0755, &err), 0);
    assert_int_equal(ctr_write_file(file, "x", 1, &err), 0);
    assert_int_equal(symlink("trust/sub", link), 0);
    assert_int_equal(ctr_check_trusted_path(file, &err), 0);
    assert_int_equal(ctr_check_trusted_path(through, &err), 0);
    assert_int_equal(ctr_check_trusted_path("file", &err), -EINVAL);
    assert_int_equal(chmod(file, 0666), 0);
    assert_int_equal(ctr_check_trusted_path(file, &err), -EPERM);
    assert_non_null(strstr(err.msg, "chmod go-w"));
    assert_int_equal(ctr_check_trusted_path(through, &err), -EPERM);
    assert_int_equal(chmod(file, 0600), 0);
    assert_int_equal(chmod(dir, 0775), 0);
    assert_int_equal(ctr_check_trusted_path(file, &err), -EPERM);
    assert_int_equal(ctr_check_trusted_path(through, &err), -EPERM);
    assert_int_equal(chmod(dir, 01777), 0);
    assert_int_equal(ctr_check_trusted_path(file, &err), 0);
    CTR_AUTO(free) char *missing = in_scratch("trust/nothing");
    assert_int_equal(ctr_check_trusted_path(missing, &err), -ENOENT);
    CTR_AUTO(free) char *loop = in_scratch("loop");
    assert_int_equal(symlink("loop", loop), 0);
    assert_int_equal(ctr_check_trusted_path(loop, &err), -ELOOP);
    if (geteuid() == 0) {
        assert_int_equal(chown(file, 12345, 0), 0);
        assert_int_equal(ctr_check_trusted_path(file, &err), -EPERM);
        assert_int_equal(chown(file, 0, 0), 0);
        assert_int_equal(lchown(link, 12345, 0), 0);
        assert_int_equal(ctr_check_trusted_path(through, &err), -EPERM);
    }
}

static void
test_paths(void **state)
{
    assert_int_equal(setenv("HOME", "/home/someone", 1), 0);
    static const struct {
        const char *path, *base, *result;
    } cases[] = {{"/a/b", "/base", "/a/b"},
                 {"~/x", "/base", "/home/someone/x"},
                 {"~", NULL, "/home/someone"},
                 {"x/y", "/base", "/base/x/y"}};
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        CTR_AUTO(free) char *path = ctr_expand_path(cases[i].path, cases[i].base);
        assert_string_equal(path, cases[i].result);
    }
    CTR_AUTO(free) char *prefix = ctr_prefix_dir();
    assert_int_equal(prefix[0], '/');
    static const char *const parents[][2] = {
        {"/a/b", "/a"}, {"/a", "/"}, {"a", "."}, {"a/b", "a"}};
    for (size_t i = 0; i < CTR_LENGTH(parents); i++) {
        CTR_AUTO(free) char *dir = ctr_parent_dir(parents[i][0]);
        assert_string_equal(dir, parents[i][1]);
    }
}

/* Listens at a path, connects, passes a byte and a descriptor. */
static void
exchange(const char *path)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(fd) int server = ctr_unix_listen(path, &err);
    assert_true(server >= 0);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(ctr_unix_listen(path, &err), -EADDRINUSE);
    CTR_AUTO(fd) int client = ctr_unix_connect(path, &err);
    assert_true(client >= 0);
    CTR_AUTO(fd) int accepted = -1;
    /* the listener's probe may stand before us in the queue: take until one is alive */
    for (;;) {
        char byte;
        accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        assert_true(accepted >= 0);
        (void) ctr_send_fds(client, "x", 1, NULL, 0);
        if (recv(accepted, &byte, 1, 0) == 1) {
            break;
        }
        (void) close(accepted);
    }
    assert_int_equal(ctr_unix_check_peer(accepted, &err), 0);
    int give[2], got[4];
    assert_int_equal(ctr_pipe(give), 0);
    assert_int_equal(ctr_send_fds(accepted, "hello", 5, give, 2), 0);
    char text[16];
    assert_int_equal(ctr_recv_fds(client, text, sizeof text, got), 5);
    assert_true(got[0] >= 0 && got[1] >= 0 && got[2] == -1 && got[3] == -1);
    assert_true((fcntl(got[0], F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(write(got[1], "y", 1), 1);
    assert_int_equal(read(give[0], text, 1), 1);
    for (int i = 0; i < 2; i++) {
        (void) close(give[i]);
        (void) close(got[i]);
    }
}

static void
test_sockets(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *path = in_scratch("sock");
    exchange(path);
    exchange(path); /* the stale one is replaced */
    char name[80];
    memset(name, 'd', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    CTR_AUTO(free) char *dir = ctr_printf("%s/%s/%s/%s", scratch, name, name, name);
    CTR_AUTO(free) char *longer = ctr_printf("%s/a-socket-of-a-container", dir);
    assert_int_equal(ctr_mkdirs(dir, 0700, &err), 0);
    exchange(longer);
    exchange(longer);
    assert_true(ctr_unix_connect(longer, &err) == -ECONNREFUSED);
    assert_non_null(strstr(err.msg, "nobody listens there"));
}

static void
test_sockets_refused(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *dir = in_scratch("open");
    CTR_AUTO(free) char *path = in_scratch("open/sock");
    CTR_AUTO(free) char *file = in_scratch("plain");
    assert_int_equal(ctr_mkdirs(dir, 0755, &err), 0);
    assert_int_equal(ctr_unix_listen(path, &err), -EPERM);
    assert_non_null(strstr(err.msg, "chmod 700"));
    assert_int_equal(ctr_write_file(file, "x", 1, &err), 0);
    assert_int_equal(ctr_unix_listen(file, &err), -EEXIST);
    assert_int_equal(ctr_unix_connect(path, &err), -ENOENT);
}

static void
test_passing_too_many_descriptors(void **state)
{
    int pair[2], fds[4];
    char text[4] = "";
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(ctr_send_fds(pair[0], "x", 1, (int[]){0, 1, 2, 0, 1}, 5), -EINVAL);
    /* a hostile peer is not bound by our limit */
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(40 * sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = text, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(40 * sizeof(int));
    assert_int_equal(sendmsg(pair[0], &message, 0), 1); /* forty times descriptor 0 */
    int before = dup(0);
    (void) close(before);
    assert_int_equal(ctr_recv_fds(pair[1], text, sizeof text, fds), -EMSGSIZE);
    int after = dup(0);
    (void) close(after);
    assert_int_equal(before, after); /* none leaked */
    (void) close(pair[0]);
    (void) close(pair[1]);
}

static void
test_lines_leave_the_rest(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int pair[2];
    char text[8];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    int give = dup(0), got = -1;
    assert_int_equal(ctr_send_fds(pair[0], "{}\nraw", 6, &give, 1), 0);
    (void) close(give);
    char *line = ctr_read_line(pair[1], 100, &got, &err);
    assert_string_equal(line, "{}");
    free(line);
    assert_true(got >= 0);
    (void) close(got);
    assert_int_equal(read(pair[1], text, sizeof text), 3);
    assert_memory_equal(text, "raw", 3);
    assert_int_equal(write(pair[0], "too long\n", 9), 9);
    assert_null(ctr_read_line(pair[1], 4, NULL, &err));
    assert_int_equal(err.code, -EFBIG);
    err.code = 0;
    assert_int_equal(write(pair[0], "cut", 3), 3);
    (void) close(pair[0]);
    assert_null(ctr_read_line(pair[1], 100, NULL, &err));
    assert_int_equal(err.code, -ECONNRESET);
    err.code = 0;
    assert_null(ctr_read_line(pair[1], 100, NULL, &err));
    assert_int_equal(err.code, 0);
    (void) close(pair[1]);
}

/* Answers in another process and calls it. */
static json_t *
call(const char *answer, int timeout_ms, int *ret_fd, struct ctr_error *err)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid_t pid = fork();
    if (pid == 0) {
        free(ctr_read_line(pair[1], 1000, NULL, NULL));
        (void) close(pair[0]);
        if (answer == NULL) {
            (void) recv(pair[1], (char[1]){0}, 1, 0); /* until the caller gives up */
        } else {
            (void) ctr_send_fds(pair[1], answer, strlen(answer), (int[]){1}, 1);
        }
        _exit(0);
    }
    (void) close(pair[1]);
    CTR_AUTO(json) json_t *request = json_pack("{ss}", "do", "it");
    json_t *reply = ctr_unix_call(pair[0], request, timeout_ms, ret_fd, err);
    (void) close(pair[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return reply;
}

static void
test_calls(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int fd = -1;
    json_t *reply = call("{\"ok\":1}\n", 10000, &fd, &err);
    assert_int_equal(ctr_json_int(reply, "ok", 0), 1);
    assert_true(fd >= 0);
    (void) close(fd);
    json_decref(reply);
    assert_null(call("{\"error\":{\"code\":-2,\"message\":\"no such\"}}\n", 0, NULL, &err));
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.msg, "no such");
    assert_null(call("{\"error\":{\"code\":7}}\n", 0, NULL, &err));
    assert_int_equal(err.code, -EIO);
    assert_null(call("nonsense\n", 0, NULL, &err));
    assert_int_equal(err.code, -EBADMSG);
    assert_null(call("{", 0, NULL, &err));
    assert_int_equal(err.code, -ECONNRESET);
    assert_null(call(NULL, 20, NULL, &err));
    assert_int_equal(err.code, -ETIMEDOUT);
}

static void
test_processes(void **state)
{
    assert_true(ctr_process_start_time(getpid()) > 0);
    assert_true(ctr_process_start_time(0x3fffffff) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (;;) {
            (void) pause();
        }
    }
    uint64_t start = ctr_process_start_time(pid);
    int status;
    assert_true(start > 0);
    assert_int_equal(ctr_process_signal(pid, start + 1, SIGKILL), -ESRCH);
    assert_int_equal(ctr_process_signal(pid, 0, SIGKILL), -ESRCH);
    assert_int_equal(ctr_process_signal(pid, start, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(ctr_process_signal(pid, start, SIGKILL), -ESRCH);
}

/* What one log call writes. */
static char *
logged(int level, const char *word)
{
    int ends[2], saved = dup(STDERR_FILENO);
    static char text[8192];
    size_t n;
    assert_int_equal(ctr_pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    ctr_log(level, "cannot open \"%s\"", word);
    ctr_log(level, "id=%s n=%d", word, 5);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    (void) close(saved);
    (void) close(ends[1]);
    assert_int_equal(ctr_read_all(ends[0], text, sizeof text - 1, &n), 0);
    (void) close(ends[0]);
    text[n] = '\0';
    return text;
}

static void
test_log(void **state)
{
    ctr_log_init("test", CTR_LEVEL_INFO);
    assert_string_equal(logged(CTR_LEVEL_DEBUG, "x"), "");
    const char *text = logged(CTR_LEVEL_WARN, "a\nb\033");
    assert_non_null(strstr(text, " level=warn process=test "
                                 "msg=\"cannot open \\\"a\\nb\\x1b\\\"\"\n"));
    assert_non_null(strstr(text, " level=warn process=test id=a\\nb\\x1b n=5\n"));
    char longer[5000];
    memset(longer, 'z', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    text = logged(CTR_LEVEL_ERROR, longer);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void
test_errors(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_fail(&err, -ENOENT, "layer %s", "a\nb"), -ENOENT);
    assert_string_equal(err.msg, "layer a?b");
    assert_int_equal(ctr_prefix(&err, "pull %d", 7), -ENOENT);
    assert_string_equal(err.msg, "pull 7: layer a?b");
    assert_int_equal(ctr_fail(NULL, -EIO, "nobody listens"), -EIO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_shown_numbers),
        cmocka_unit_test(test_printable),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_digests_and_names),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_has_a_cap_on_values),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_a_failed_write_changes_nothing),
        cmocka_unit_test(test_a_fifo_does_not_hang_a_read),
        cmocka_unit_test(test_remove_tree_follows_no_link),
        cmocka_unit_test(test_trusted_path),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_sockets_refused),
        cmocka_unit_test(test_passing_too_many_descriptors),
        cmocka_unit_test(test_lines_leave_the_rest),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
