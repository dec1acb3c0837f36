/*
 * The layer walker against tar streams made here byte by byte: what comes out, and what is refused.
 */
#include "tests/tar.h"
#include <ctr/layer.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <locale.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* --- what the walker said, as text --- */

struct said {
    char text[65536];
    size_t length;
    uint64_t data_bytes;
    int stop_at; /* the entry whose callback fails, counted from 1 */
    int entries;
};

__attribute__((format(printf, 2, 3))) static void
say(struct said *said, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n =
        vsnprintf(said->text + said->length, sizeof said->text - said->length, format, args);
    va_end(args);
    if (n > 0 && said->length + (size_t) n < sizeof said->text) {
        said->length += (size_t) n;
    }
}

static int
on_entry(void *arg, const struct ctr_layer_entry *entry, struct ctr_error *err)
{
    struct said *said = arg;
    if (++said->entries == said->stop_at) {
        return ctr_fail(err, -EINTR, "stopped by the test");
    }
    say(said, "%c %s %o %u:%u", " fdlhcbp"[entry->type], entry -> path, entry -> mode,
        entry -> uid, entry -> gid);
    if (entry->target != NULL) {
        say(said, " -> %s", entry->target);
    }
    if (entry->type == CTR_LAYER_CHAR || entry->type == CTR_LAYER_BLOCK) {
        say(said, " %u,%u", entry->major, entry->minor);
    }
    if (entry->mtime != 1000000000 || entry->mtime_nsec != 0) {
        say(said, " at %" PRId64 ".%09u", entry->mtime, entry->mtime_nsec);
    }
    for (uint32_t i = 0; i < entry->n_xattrs; i++) {
        say(said, " %s(%" PRIu64 ")", entry->xattrs[i].name, entry->xattrs[i].length);
    }
    say(said, "\n");
    return 0;
}

static int
on_data(void *arg, const void *bytes, size_t length, uint64_t offset, struct ctr_error *err)
{
    struct said *said = arg;
    said->data_bytes += length;
    if (length <= 16) {
        say(said, "+%" PRIu64 " %.*s\n", offset, (int) length, (const char *) bytes);
    }
    return 0;
}

static int
on_end(void *arg, struct ctr_error *err)
{
    say(arg, "end\n");
    return 0;
}

static int
on_whiteout(void *arg, const char *path, struct ctr_error *err)
{
    say(arg, "whiteout %s\n", path);
    return 0;
}

static int
on_opaque(void *arg, const char *path, struct ctr_error *err)
{
    say(arg, "opaque %s\n", path);
    return 0;
}

static const struct ctr_layer_ops ops = {.size = sizeof ops,
                                         .entry = on_entry,
                                         .data = on_data,
                                         .end = on_end,
                                         .whiteout = on_whiteout,
                                         .opaque = on_opaque};

/* --- walking it through a pipe, as the core does --- */

struct feed {
    int fd;
    const char *data;
    size_t length, written;
};

static void *
feed_pipe(void *arg)
{
    struct feed *feed = arg;
    while (feed->written < feed->length) {
        ssize_t n = write(feed->fd, feed->data + feed->written, feed->length - feed->written);
        if (n <= 0) {
            break;
        }
        feed->written += (size_t) n;
    }
    close(feed->fd);
    return NULL;
}

static struct said said;
static struct ctr_error error;
static size_t fed;

static int
walk_limited(struct tar *tar, const struct ctr_layer_limits *limits)
{
    int fds[2];
    pthread_t thread;
    int stop_at = said.stop_at;
    said = (struct said){.stop_at = stop_at};
    error = (struct ctr_error) CTR_ERROR_INIT;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    struct feed feed = {.fd = fds[1], .data = tar->data, .length = tar->length};
    assert_int_equal(pthread_create(&thread, NULL, feed_pipe, &feed), 0);
    int status = ctr_layer_walk(fds[0], limits, &ops, &said, &error);
    close(fds[0]);
    pthread_join(thread, NULL);
    fed = feed.written;
    free(tar->data);
    *tar = (struct tar){0};
    return status;
}

static int
walk(struct tar *tar)
{
    return walk_limited(tar, NULL);
}

static void
expect(struct tar *tar, const char *text)
{
    int status = walk(tar);
    if (status != 0) {
        fail_msg("%d: %s", status, error.msg);
    }
    assert_string_equal(said.text, text);
}

static void
expect_refused(struct tar *tar, const char *part)
{
    int status = walk(tar);
    if (status != -EBADMSG || strstr(error.msg, part) == NULL) {
        fail_msg("got %d \"%s\", wanted \"%s\"", status, error.msg, part);
    }
}

/* --- the tests --- */

static void
types(void **state)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "./", .type = '5', .mode = 0755});
    tar_add(&tar,
            (struct tar_spec){.name = "a/", .type = '5', .mode = 01777, .uid = 7, .gid = 8});
    tar_add(&tar,
            (struct tar_spec){.name = "a/f", .type = '0', .data = "hello", .mode = 04755});
    tar_add(&tar, (struct tar_spec){.name = "a/e", .type = '0'});
    tar_add(&tar, (struct tar_spec){.name = "a/s", .type = '2', .link = "../../x"});
    tar_add(&tar, (struct tar_spec){.name = "a/h", .type = '1', .link = "/a/./f"});
    tar_add(&tar, (struct tar_spec){.name = "c", .type = '3', .major = 1, .minor = 3});
    tar_add(&tar, (struct tar_spec){.name = "b", .type = '4', .major = 259, .minor = 70000});
    tar_add(&tar, (struct tar_spec){.name = "p", .type = '6'});
    tar_end(&tar);
    expect(&tar, "d  755 0:0\nd a 1777 7:8\nf a/f 4755 0:0\n+0 hello\nend\nf a/e 644 0:0\nend\n"
                 "l a/s 644 0:0 -> ../../x\nh a/h 644 0:0 -> a/f\nc c 644 0:0 1,3\n"
                 "b b 644 0:0 259,70000\np p 644 0:0\n");
}

static void
empty_layers(void **state)
{
    struct tar tar = {0};
    tar_end(&tar);
    expect(&tar, "");
    expect(&tar, "");
}

static void
paths(void **state)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "/etc//./x", .type = '0'});
    tar_add(&tar, (struct tar_spec){.name = "a/../b", .type = '0'});
    expect(&tar, "f etc/x 644 0:0\nend\nf b 644 0:0\nend\n");
    static const char *const bad[] = {"../x", "a/../../x", "/..", "a/b/../../../c"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tar_add(&tar, (struct tar_spec){.name = bad[i], .type = '0'});
        expect_refused(&tar, bad[i]);
    }
    tar_add(&tar, (struct tar_spec){.name = ".", .type = '2', .link = "/etc"});
    expect_refused(&tar, "root must be a directory");
    tar_add(&tar, (struct tar_spec){.name = "x", .type = '1', .link = "../x"});
    expect_refused(&tar, "hard link");
    tar_add(&tar, (struct tar_spec){.name = "x", .type = '2', .link = ""});
    expect_refused(&tar, "symbolic link");
}

static void
long_paths(void **state)
{
    struct tar tar = {0};
    char path[5001], component[300];
    for (size_t i = 0; i < sizeof path - 1; i++) {
        path[i] = i % 2 == 0 ? 'a' : '/';
    }
    path[4095] = '\0'; /* 4,095 bytes fit */
    tar_pax(&tar, "path", path);
    tar_add(&tar, (struct tar_spec){.name = "x", .type = '0'});
    assert_int_equal(walk(&tar), 0);
    assert_memory_equal(said.text + 2, path, 4095);
    path[4095] = '/';
    path[4097] = '\0';
    tar_pax(&tar, "path", path);
    tar_add(&tar, (struct tar_spec){.name = "x", .type = '0'});
    expect_refused(&tar, "too long");
    memset(component, 'n', 256);
    component[256] = '\0';
    tar_pax(&tar, "path", component);
    tar_add(&tar, (struct tar_spec){.name = "x", .type = '0'});
    expect_refused(&tar, "too long");
    tar_header(&tar, &(struct tar_spec){.name = "././@LongLink", .type = 'L'}, 201);
    memset(component, 'g', 200);
    component[200] = '\0';
    tar_bytes(&tar, component, 201);
    tar_pad(&tar);
    tar_add(&tar, (struct tar_spec){.name = "cut", .type = '0'});
    assert_int_equal(walk(&tar), 0);
    assert_memory_equal(said.text + 2, component, 200);
}

/* Bytes of names come through as they are, whatever the locale. */
static void
names_are_bytes(void **state)
{
    static const char *const locales[] = {"C", "C.UTF-8"};
    for (size_t i = 0; i < 2; i++) {
        struct tar tar = {0};
        (void) setlocale(LC_ALL, locales[i]);
        tar_pax(&tar, "path", "caf\xc3\xa9/e\xcc\x81/\xff\xfe"); /* NFC, NFD, not UTF-8 */
        tar_add(&tar, (struct tar_spec){.name = "x", .type = '0'});
        tar_pax(&tar, "linkpath", "\xc3\xa9");
        tar_add(&tar, (struct tar_spec){.name = "l\xe9", .type = '2', .link = "x"});
        expect(&tar,
               "f caf\xc3\xa9/e\xcc\x81/\xff\xfe 644 0:0\nend\nl l\xe9 644 0:0 -> \xc3\xa9\n");
    }
    (void) setlocale(LC_ALL, "C");
}

static void
whiteouts(void **state)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "a/.wh.b", .type = '0'});
    tar_add(&tar, (struct tar_spec){.name = ".wh.c", .type = '0'});
    tar_add(&tar, (struct tar_spec){.name = "a/.wh..wh..opq", .type = '0'});
    tar_add(&tar, (struct tar_spec){.name = ".wh..wh..opq", .type = '0'});
    tar_add(&tar, (struct tar_spec){.name = ".wh..wh.aufs", .type = '0'});
    tar_add(&tar, (struct tar_spec){.name = ".wh..wh.plnk/", .type = '5'});
    tar_add(&tar, (struct tar_spec){.name = ".wh..wh.plnk/1.2", .type = '0', .data = "x"});
    tar_add(&tar, (struct tar_spec){.name = "a/.wh....", .type = '0'});
    expect(&tar, "whiteout a/b\nwhiteout c\nopaque a\nopaque \nwhiteout a/...\n");
    static const char *const bad[] = {".wh.", "a/.wh..", "a/.wh..."};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tar_add(&tar, (struct tar_spec){.name = bad[i], .type = '0'});
        expect_refused(&tar, "impossible name");
    }
    tar_add(&tar, (struct tar_spec){.name = "a/.wh.b/c", .type = '0'});
    expect_refused(&tar, "below a whiteout");
}

static void
xattrs(void **state)
{
    static const char capability[20] = "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    struct tar tar = {0};
    tar_pax_n(&tar, "SCHILY.xattr.security.capability", capability, sizeof capability);
    tar_add(&tar, (struct tar_spec){.name = "a", .type = '0'});
    tar_pax(&tar, "LIBARCHIVE.xattr.user.b64", "YWJj");
    tar_add(&tar, (struct tar_spec){.name = "b", .type = '0'});
    static const char *const dropped[] = {"trusted.overlay.opaque", "trusted.overlay.redirect",
                                          "security.selinux", "com.apple.quarantine", "user."};
    for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++) {
        char key[100];
        snprintf(key, sizeof key, "SCHILY.xattr.%s", dropped[i]);
        tar_pax(&tar, key, "y");
        tar_add(&tar, (struct tar_spec){.name = "d", .type = '5'});
    }
    expect(&tar, "f a 644 0:0 security.capability(20)\nend\nf b 644 0:0 user.b64(3)\nend\n"
                 "d d 644 0:0\nd d 644 0:0\nd d 644 0:0\nd d 644 0:0\nd d 644 0:0\n");
    char *big = malloc(70001);
    memset(big, 'x', 70000);
    big[70000] = '\0';
    tar_pax(&tar, "SCHILY.xattr.user.big", big);
    tar_add(&tar, (struct tar_spec){.name = "a", .type = '0'});
    expect_refused(&tar, "too long");
    free(big);
}

static void
times_and_owners(void **state)
{
    struct tar tar = {0};
    tar_pax(&tar, "mtime", "1234567890.123456789");
    tar_add(&tar, (struct tar_spec){.name = "a", .type = '0'});
    tar_pax(&tar, "mtime", "-5");
    tar_add(&tar, (struct tar_spec){.name = "b", .type = '0'});
    tar_pax(&tar, "uid", "4000000000");
    tar_add(&tar, (struct tar_spec){.name = "c", .type = '0'});
    expect(&tar, "f a 644 0:0 at 1234567890.123456789\nend\nf b 644 0:0 at -5.000000000\nend\n"
                 "f c 644 4000000000:0\nend\n");
    static const char *const bad[] = {"-1", "4294967295", "99999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tar_pax(&tar, "gid", bad[i]);
        tar_add(&tar, (struct tar_spec){.name = "c", .type = '0'});
        expect_refused(&tar, "owner out of range");
    }
    tar_add(&tar, (struct tar_spec){.name = "c", .type = '3', .major = 4096});
    expect_refused(&tar, "device number");
}

static void
sizes(void **state)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "a",
                                    .type = '0',
                                    .size_field =
                                        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"});
    assert_int_equal(walk(&tar), -EBADMSG);
    tar_add(&tar,
            (struct tar_spec){.name = "a",
                              .type = '0',
                              .size_field = "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"});
    assert_int_equal(walk(&tar), -EBADMSG);
    tar_pax(&tar, "size", "9223372036854775807");
    tar_add(&tar, (struct tar_spec){.name = "a", .type = '0'});
    assert_int_equal(walk(&tar), -EBADMSG);
    /* as Go's reader does: only files have content, so that nothing hides in a directory's */
    tar_header(&tar, &(struct tar_spec){.name = "d", .type = '5'}, 512);
    tar_header(&tar, &(struct tar_spec){.name = "seen", .type = '0'}, 0);
    expect(&tar, "d d 644 0:0\nf seen 644 0:0\nend\n");
}

static void
sparse(void **state)
{
    struct tar tar = {0};
    char map[512] = "2\n0\n5\n1048576\n5\n";
    tar_pax(&tar, "GNU.sparse.major", "1");
    tar_pax(&tar, "GNU.sparse.minor", "0");
    tar.length = 0; /* all records belong into one header: by hand */
    static const char records[] =
        "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
        "30 GNU.sparse.name=sparse-one\n31 GNU.sparse.realsize=2097152\n";
    tar_header(&tar, &(struct tar_spec){.name = "pax", .type = 'x'}, strlen(records));
    tar_bytes(&tar, records, strlen(records));
    tar_pad(&tar);
    tar_header(&tar, &(struct tar_spec){.name = "GNUSparseFile.0/x", .type = '0'}, 522);
    tar_bytes(&tar, map, sizeof map);
    tar_bytes(&tar, "helloworld", 10);
    tar_pad(&tar);
    tar_end(&tar);
    expect(&tar, "f sparse-one 644 0:0\n+0 hello\n+1048576 world\nend\n");
}

/* A map of millions of holes must not become millions of list nodes. */
static void
sparse_flood(void **state)
{
    struct tar tar = {0};
    static const char records[] =
        "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
        "30 GNU.sparse.name=sparse-one\n31 GNU.sparse.realsize=2097152\n";
    size_t bytes = 8 << 20;
    char *map = malloc(bytes);
    memcpy(map, "2000000\n", 8);
    for (size_t i = 8; i + 4 <= bytes; i += 4) {
        memcpy(map + i, "1\n0\n", 4);
    }
    tar_header(&tar, &(struct tar_spec){.name = "pax", .type = 'x'}, strlen(records));
    tar_bytes(&tar, records, strlen(records));
    tar_pad(&tar);
    tar_header(&tar, &(struct tar_spec){.name = "x", .type = '0'}, bytes);
    tar_bytes(&tar, map, bytes);
    free(map);
    tar_end(&tar);
    assert_int_equal(walk(&tar), -EBADMSG);
    assert_true(fed < 3 << 20);
}

static void
pax_flood(void **state)
{
    struct tar tar = {0};
    char *value = malloc(500001);
    memset(value, 'v', 500000);
    value[500000] = '\0';
    for (int i = 0; i < 10; i++) {
        tar_pax(&tar, "comment", value);
    }
    free(value);
    tar_add(&tar, (struct tar_spec){.name = "x", .type = '0'});
    tar_end(&tar);
    assert_int_equal(walk(&tar), -EBADMSG);
    assert_true(fed < 3 << 20);
}

static void
limits(void **state)
{
    struct ctr_layer_limits few = {.size = sizeof few, .max_bytes = 10, .max_entries = 3};
    struct tar tar = {0};
    for (int i = 0; i < 2; i++) {
        tar_add(&tar, (struct tar_spec){.name = "a", .type = '0', .data = "12345"});
    }
    assert_int_equal(walk_limited(&tar, &few), 0);
    for (int i = 0; i < 3; i++) {
        tar_add(&tar, (struct tar_spec){.name = "a", .type = '0', .data = "1234"});
    }
    assert_int_equal(walk_limited(&tar, &few), -EFBIG);
    for (int i = 0; i < 4; i++) {
        tar_add(&tar, (struct tar_spec){.name = ".wh.a", .type = '0'});
    }
    assert_int_equal(walk_limited(&tar, &few), -E2BIG);
}

/* Cut anywhere but between entries, a stream is an error. */
static void
truncated(void **state)
{
    struct tar whole = {0};
    tar_pax(&whole, "SCHILY.xattr.user.a", "value");
    tar_add(&whole, (struct tar_spec){.name = "a", .type = '0', .data = "hello"});
    size_t first = whole.length;
    tar_add(&whole, (struct tar_spec){.name = "b", .type = '0', .data = "world"});
    size_t second = whole.length;
    tar_end(&whole);
    const size_t padding = 512 - strlen("hello"); /* without it nothing is lost */
    for (size_t cut = 1; cut < second; cut++) {
        struct tar tar = {0};
        tar_bytes(&tar, whole.data, cut);
        int status = walk(&tar);
        bool lossless = (cut >= first - padding && cut <= first) || cut >= second - padding;
        if (lossless != (status == 0)) {
            fail_msg("cut at %zu: %d", cut, status);
        }
    }
    free(whole.data);
}

static void
garbage(void **state)
{
    struct tar tar = {0};
    tar_bytes(&tar, "this is no tar stream, but long enough to be looked at", 54);
    assert_int_equal(walk(&tar), -EBADMSG);
    tar_add(&tar, (struct tar_spec){.name = "a", .type = '0', .data = "hello"});
    tar_header(&tar, &(struct tar_spec){.name = "b", .type = '0'}, 0);
    tar.data[tar.length - 400] ^= 1; /* the checksum is wrong now */
    tar_end(&tar);
    assert_int_equal(walk(&tar), -EBADMSG);
    tar_bytes(&tar, "\x1f\x8b\x08\0\0\0\0\0\0\3", 10); /* gzip is not for the walker */
    tar_bytes(&tar, (const char[1024]){0}, 1024);
    assert_int_equal(walk(&tar), -EBADMSG);
}

/* The core counts and digests all bytes: those behind the end mark too. */
static void
reads_to_the_end(void **state)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "a", .type = '0', .data = "hello"});
    tar_end(&tar);
    char *junk = calloc(1, 1 << 20);
    memset(junk + 1000, 'j', 1000);
    tar_bytes(&tar, junk, 1 << 20);
    free(junk);
    size_t length = tar.length;
    expect(&tar, "f a 644 0:0\n+0 hello\nend\n");
    assert_int_equal(fed, length);
}

static void
callback_stops(void **state)
{
    struct tar tar = {0};
    tar_add(&tar, (struct tar_spec){.name = "a", .type = '0', .data = "hello"});
    tar_add(&tar, (struct tar_spec){.name = "b", .type = '0', .data = "hello"});
    said.stop_at = 2;
    assert_int_equal(walk(&tar), -EINTR);
    assert_string_equal(error.msg, "stopped by the test");
    said.stop_at = 0;
    error = (struct ctr_error) CTR_ERROR_INIT;
    assert_int_equal(ctr_layer_walk(-1, NULL, &ops, &said, &error), -EBADF);
}

static void
clean(void **state)
{
    char small[4], ret[4096];
    assert_int_equal(ctr_layer_clean("a//b/./c/", ret, sizeof ret), 0);
    assert_string_equal(ret, "a/b/c");
    assert_int_equal(ctr_layer_clean("/", ret, sizeof ret), 0);
    assert_string_equal(ret, "");
    assert_int_equal(ctr_layer_clean("a/..", ret, sizeof ret), 0);
    assert_string_equal(ret, "");
    assert_int_equal(ctr_layer_clean("...", ret, sizeof ret), 0);
    assert_string_equal(ret, "...");
    assert_int_equal(ctr_layer_clean("abc", small, sizeof small), 0);
    assert_int_equal(ctr_layer_clean("abcd", small, sizeof small), -EBADMSG);
    assert_int_equal(ctr_layer_clean("..", ret, sizeof ret), -EBADMSG);
    assert_int_equal(ctr_layer_clean("a", ret, 0), -EBADMSG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),           cmocka_unit_test(empty_layers),
        cmocka_unit_test(paths),           cmocka_unit_test(long_paths),
        cmocka_unit_test(names_are_bytes), cmocka_unit_test(whiteouts),
        cmocka_unit_test(xattrs),          cmocka_unit_test(times_and_owners),
        cmocka_unit_test(sizes),           cmocka_unit_test(sparse),
        cmocka_unit_test(sparse_flood),    cmocka_unit_test(pax_flood),
        cmocka_unit_test(limits),          cmocka_unit_test(truncated),
        cmocka_unit_test(garbage),         cmocka_unit_test(reads_to_the_end),
        cmocka_unit_test(callback_stops),  cmocka_unit_test(clean),
    };
    (void) signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
