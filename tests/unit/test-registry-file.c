/* registry-file: which entry answers for which host, what it answers, and that what is stored leaves all else as it was. */
#include "tests/registry-host.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct registry *r;
static char file[96];

static int
setup(void **state)
{
    r = registry_create();
    assert_non_null(r);
    (void) snprintf(file, sizeof file, "%s/docker/config.json", r->dir);
    return registry_open(r, "file", json_pack("{s:s}", "path", file));
}

static int
teardown(void **state)
{
    registry_destroy(r);
    return 0;
}

static int
ask(const char *host, const char *repository)
{
    return registry_get(r, host, repository);
}

static void
write_file(const char *text)
{
    char folder[96];
    (void) snprintf(folder, sizeof folder, "%s/docker", r->dir);
    assert_int_equal(ctr_mkdirs(folder, 0700, &r->err), 0);
    assert_int_equal(ctr_write_file(file, text, strlen(text), &r->err), 0);
}

static json_t *
read_file(void)
{
    json_t *document = ctr_read_json(file, 1 << 20, &r->err);
    assert_non_null(document);
    return document;
}

#define ALICE "{\"auth\":\"YWxpY2U6czNjcmV0\"}" /* alice:s3cret */

static void
test_exact_host(void **state)
{
    write_file("{\"auths\":{\"gcr.io\":" ALICE
               ",\"Quay.IO:443\":{\"username\":\"bob\",\"password\":\"p:w\"}}}");
    assert_int_equal(ask("gcr.io", "a/b"), 0);
    assert_string_equal(r->answer, "1 alice s3cret");
    assert_int_equal(ask("quay.io:443", "a"), 0);
    assert_string_equal(r->answer, "1 bob p:w");
    static const char *const others[] = {
        "eu.gcr.io", "gcr.io.evil.example", "gcr.io:444", "gcr.i", "quay.io", "xgcr.io", ""};
    for (size_t i = 0; i < CTR_LENGTH(others); i++) {
        assert_int_equal(ask(others[i], "a/b"), -ENOENT);
        assert_string_equal(r->answer, "");
    }
}

static void
test_keys_with_scheme_and_path(void **state)
{
    write_file("{\"auths\":{\"https://r.example:5000/v2/\":" ALICE
               ",\"quay.io\":{\"auth\":\"YTph\"},\"quay.io/team\":{\"auth\":\"Yjpi\"},"
               "\"quay.io/team/app\":{\"auth\":\"Yzpj\"}}}");
    assert_int_equal(ask("r.example:5000", "x"), 0);
    assert_string_equal(r->answer, "1 alice s3cret");
    assert_int_equal(ask("quay.io", "other"), 0);
    assert_string_equal(r->answer, "1 a a");
    assert_int_equal(ask("quay.io", "team/x"), 0);
    assert_string_equal(r->answer, "1 b b");
    assert_int_equal(ask("quay.io", "teamwork/x"), 0);
    assert_string_equal(r->answer, "1 a a");
    assert_int_equal(ask("quay.io", "team/app"), 0);
    assert_string_equal(r->answer, "1 c c");
    assert_int_equal(ask("quay.io", "team/app/deep"), 0);
    assert_string_equal(r->answer, "1 c c");
}

static void
test_docker_hub(void **state)
{
    static const char *const keys[] = {"https://index.docker.io/v1/", "index.docker.io",
                                       "docker.io", "registry-1.docker.io",
                                       "https://registry-1.docker.io/v2/"};
    for (size_t i = 0; i < CTR_LENGTH(keys); i++) {
        char *text = ctr_printf("{\"auths\":{\"%s\":" ALICE "}}", keys[i]);
        write_file(text);
        free(text);
        assert_int_equal(ask("docker.io", "library/busybox"), 0);
        assert_string_equal(r->answer, "1 alice s3cret");
        assert_int_equal(ask("hub.docker.io", "library/busybox"), -ENOENT);
    }
}

static void
test_tokens(void **state)
{
    write_file("{\"auths\":{\"a.example\":{\"auth\":\"YWxpY2U6\",\"identitytoken\":\"idt\"},"
               "\"b.example\":{\"registrytoken\":\"rt\"},\"c.example\":{}}}");
    assert_int_equal(ask("a.example", "x"), 0);
    assert_string_equal(r->answer, "2  idt");
    assert_int_equal(ask("b.example", "x"), 0);
    assert_string_equal(r->answer, "3  rt");
    assert_int_equal(ask("c.example", "x"), -ENOENT);
}

static void
test_broken(void **state)
{
    static const char *const broken[] = {
        "",
        "{",
        "[]",
        "{\"auths\":[]}",
        "{\"auths\":{\"h\":{\"auth\":\"!!!!\"}}}",
        "{\"auths\":{\"h\":{\"auth\":\"YQ==\"}}}",
        "{\"auths\":{\"h\":{\"auth\":\"OnB3\"}}}",
        "{\"auths\":{\"h\":{\"auth\":\"YQA6Yg==\"}}}",
        "{\"auths\":{\"h\":" ALICE ",\"h\":" ALICE "}}",
        "{\"auths\":{\"h\":" ALICE "}} trailing-s3cret",
    };
    for (size_t i = 0; i < CTR_LENGTH(broken); i++) {
        write_file(broken[i]);
        assert_int_equal(ask("h", "x"), -EBADMSG);
        assert_non_null(strstr(r->err.msg, file));
        assert_null(strstr(r->err.msg, "s3cret"));
        assert_null(strstr(r->err.msg, "YWxp"));
    }
    write_file("{}");
    assert_int_equal(ask("h", "x"), -ENOENT);
    write_file("{\"auths\":null,\"credsStore\":\"x\"}");
    assert_int_equal(ask("h", "x"), -ENOENT);
    char *large = malloc(2 << 20);
    memset(large, ' ', 2 << 20);
    large[(2 << 20) - 1] = '\0';
    write_file(large);
    free(large);
    assert_int_equal(ask("h", "x"), -EFBIG);
    (void) unlink(file);
    assert_int_equal(ask("h", "x"), -ENOENT);
    assert_int_equal(mkfifo(file, 0600), 0);
    assert_int_equal(ask("h", "x"), -EINVAL); /* and does not wait */
}

static void
test_list(void **state)
{
    write_file("{\"auths\":{\"https://index.docker.io/v1/\":" ALICE ",\"c.example\":{}}}");
    assert_string_equal(registry_list(r), "docker.io=alice;");
}

/* --- storing --- */

static void
test_store_makes_the_file(void **state)
{
    struct stat st;
    assert_int_equal(registry_store(r, "r.example:5000", 1, "alice", "s3cret"), 0);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(ask("r.example:5000", "x"), 0);
    assert_string_equal(r->answer, "1 alice s3cret");
    CTR_AUTO(json) json_t *document = read_file();
    CTR_AUTO(json)
    json_t *wanted =
        json_pack("{s:{s:{s:s}}}", "auths", "r.example:5000", "auth", "YWxpY2U6czNjcmV0");
    assert_true(json_equal(document, wanted));
}

static void
test_store_keeps_the_rest(void **state)
{
    write_file(
        "{\"HttpHeaders\":{\"X\":\"y\"},\"credHelpers\":{\"gcr.io\":\"gcloud\"},\"n\":[1,2.5,"
        "null,true],"
        "\"auths\":{\"https://r.example/v2/\":{\"auth\":\"Yjpi\"},\"r.example/team\":" ALICE
        ",\"r.example:444\":" ALICE
        ",\"other\":{\"email\":\"e\",\"auth\":\"Yzpj\"}},\"z\":{}}");
    assert_int_equal(chmod(file, 0644), 0);
    assert_int_equal(registry_store(r, "r.example", 1, "new", "p:w"), 0);
    CTR_AUTO(json) json_t *document = read_file();
    CTR_AUTO(json)
    json_t *wanted =
        json_loads("{\"HttpHeaders\":{\"X\":\"y\"},\"credHelpers\":{\"gcr.io\":\"gcloud\"},"
                   "\"n\":[1,2.5,null,true],"
                   "\"auths\":{\"r.example/team\":" ALICE ",\"r.example:444\":" ALICE
                   ",\"other\":{\"email\":\"e\",\"auth\":\"Yzpj\"},\"r.example\":{\"auth\":"
                   "\"bmV3OnA6dw==\"}},\"z\":{}}",
                   0, NULL);
    assert_true(json_equal(document, wanted));
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(ask("r.example", "x"), 0);
    assert_string_equal(r->answer, "1 new p:w");
    assert_int_equal(r->ops.erase(r->self, "r.example", &r->err), 0);
    assert_int_equal(ask("r.example", "x"), -ENOENT);
    assert_int_equal(ask("r.example", "team/x"), 0);
    assert_int_equal(ask("r.example:444", "x"), 0);
    assert_int_equal(r->ops.erase(r->self, "r.example", &r->err), -ENOENT);
}

static void
test_store_kinds(void **state)
{
    assert_int_equal(registry_store(r, "docker.io", 2, "", "idt"), 0);
    assert_int_equal(registry_store(r, "b.example", 3, "", "bearer"), 0);
    assert_int_equal(registry_store(r, "a.example", 2, "bob", "idt2"), 0);
    CTR_AUTO(json) json_t *document = read_file();
    CTR_AUTO(json)
    json_t *wanted = json_pack("{s:{s:{s:s}, s:{s:s}, s:{s:s, s:s}}}", "auths",
                               "https://index.docker.io/v1/", "identitytoken", "idt",
                               "b.example", "registrytoken", "bearer", "a.example", "auth",
                               "Ym9iOg==", "identitytoken", "idt2");
    assert_true(json_equal(document, wanted));
    assert_int_equal(ask("docker.io", "x"), 0);
    assert_string_equal(r->answer, "2  idt");
    assert_int_equal(r->ops.erase(r->self, "docker.io", &r->err), 0);
    assert_int_equal(ask("docker.io", "x"), -ENOENT);
}

/* A file that cannot be understood is left as it is, byte for byte. */
static void
test_store_never_breaks(void **state)
{
    static const char *const broken[] = {"",
                                         "{",
                                         "[]",
                                         "{\"auths\":[]}",
                                         "{\"auths\":{\"h\":1,\"h\":2}}",
                                         "{\"x\":\"\\u0000\"}"};
    for (size_t i = 1; i < CTR_LENGTH(broken); i++) {
        char *now = NULL;
        write_file(broken[i]);
        assert_true(registry_store(r, "h.example", 1, "u", "topsecret") < 0);
        assert_non_null(strstr(r->err.msg, file));
        assert_null(strstr(r->err.msg, "topsecret"));
        assert_int_equal(ctr_read_file(file, 4096, &now, NULL, &r->err), 0);
        assert_string_equal(now, broken[i]);
        free(now);
    }
    write_file(broken[0]);
    assert_int_equal(registry_store(r, "h.example", 1, "u", "p"), 0);
    static const char *const hosts[] = {"", "a/b", "a\r\nb", "-v", "../x", "A.example", "u@h"};
    for (size_t i = 0; i < CTR_LENGTH(hosts); i++) {
        assert_int_equal(registry_store(r, hosts[i], 1, "u", "p"), -EINVAL);
        assert_int_equal(r->ops.erase(r->self, hosts[i], &r->err), -EINVAL);
    }
    assert_int_equal(registry_store(r, "h.example", 2, "", "bad \xff utf8"), -EINVAL);
    assert_int_equal(ask("h.example", "x"), 0);
    assert_string_equal(r->answer, "1 u p");
}

/* dotfiles: config.json is a link, which stays one. */
static void
test_store_through_a_link(void **state)
{
    char real[96];
    struct stat st;
    (void) snprintf(real, sizeof real, "%s/real.json", r->dir);
    write_file("{\"keep\":1}");
    assert_int_equal(rename(file, real), 0);
    assert_int_equal(symlink("../real.json", file), 0);
    assert_int_equal(registry_store(r, "h.example", 1, "u", "p"), 0);
    assert_int_equal(lstat(file, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    CTR_AUTO(json) json_t *document = ctr_read_json(real, 4096, &r->err);
    assert_int_equal(json_integer_value(json_object_get(document, "keep")), 1);
    assert_int_equal(ask("h.example", "x"), 0);
    assert_int_equal(unlink(real), 0);
    assert_true(registry_store(r, "h.example", 1, "u", "p") < 0);
}

/* No room for the new file: an error, the old file, and nothing beside it. */
static void
test_store_fails_whole(void **state)
{
    char left[128];
    struct rlimit old, none;
    write_file("{\"auths\":{\"h.example\":" ALICE "}}");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    none = (struct rlimit){.rlim_cur = 20, .rlim_max = old.rlim_max};
    (void) signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    int rc = registry_store(r, "h.example", 1, "u", "topsecret");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, -EFBIG);
    assert_non_null(strstr(r->err.msg, file));
    assert_null(strstr(r->err.msg, "topsecret"));
    (void) snprintf(left, sizeof left, "%s.ctr-new", file);
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(ask("h.example", "x"), 0);
    assert_string_equal(r->answer, "1 alice s3cret");
}

/* Eight processes store 20 hosts each at the same time: nothing is lost. */
static void
test_store_at_once(void **state)
{
    pid_t pids[8];
    for (int i = 0; i < 8; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        for (int k = 0; pids[i] == 0 && k < 20; k++) {
            char host[48];
            (void) snprintf(host, sizeof host, "h%d-%d.example", i, k);
            if (registry_store(r, host, 1, "u", host) < 0) {
                _exit(1);
            }
        }
        if (pids[i] == 0) {
            _exit(0);
        }
    }
    for (int i = 0; i < 8; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    CTR_AUTO(json) json_t *document = read_file();
    assert_int_equal(json_object_size(json_object_get(document, "auths")), 160);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_exact_host),
        TEST(test_keys_with_scheme_and_path),
        TEST(test_docker_hub),
        TEST(test_tokens),
        TEST(test_broken),
        TEST(test_list),
        TEST(test_store_makes_the_file),
        TEST(test_store_keeps_the_rest),
        TEST(test_store_kinds),
        TEST(test_store_never_breaks),
        TEST(test_store_through_a_link),
        TEST(test_store_fails_whole),
        TEST(test_store_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
