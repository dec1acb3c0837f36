/* registry-file: which entry answers for which host, and what it answers. */
#include "core/plugin/plugin.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
    char dir[64], file[96];
    struct ctr_registry_ops ops;
    struct ctr_options *options;
    struct ctr_host *host;
    void *self;
    struct ctr_error err;
    char answer[256]; /* "type user secret" */
};

static struct fixture *f;

static int
setup(void **state)
{
    f = calloc(1, sizeof *f);
    f->err.size = sizeof f->err;
    (void) snprintf(f->dir, sizeof f->dir, "/tmp/ctr-test-auth.XXXXXX");
    if (mkdtemp(f->dir) == NULL) {
        return -1;
    }
    (void) snprintf(f->file, sizeof f->file, "%s/config.json", f->dir);
    const char *build = getenv("CTR_TEST_BUILD");
    char path[512];
    const struct ctr_plugin *plugin = NULL;
    (void) snprintf(path, sizeof path, "%s/lib/ctr/plugins/registry-file.so",
                    build != NULL ? build : "build");
    if (ctr_plugin_load(path, CTR_KIND_REGISTRY, &plugin, &f->err) < 0) {
        print_error("%s\n", f->err.msg);
        return -1;
    }
    (void) ctr_plugin_registry_ops(plugin, &f->ops);
    json_t *options = json_pack("{s:s}", "path", f->file);
    int rc = ctr_options_from_json(options, plugin->options, plugin->n_options, &f->options,
                                   &f->err);
    json_decref(options);
    if (rc == 0) {
        rc = ctr_host_create(NULL, f->options, "file", "file", f->dir, f->dir, &f->host,
                             &f->err);
    }
    return rc == 0 ? f->ops.open(f->host, &f->self, &f->err) : rc;
}

static int
teardown(void **state)
{
    f->ops.close(f->self);
    ctr_host_destroy(f->host);
    (void) ctr_remove_tree(f->dir, &f->err);
    free(f);
    return 0;
}

static void
on_answer(void *arg, const struct ctr_credential *credential)
{
    (void) snprintf(f->answer, sizeof f->answer, "%u %s %s", credential->type, credential->user,
                    credential->secret);
}

static int
ask(const char *host, const char *repository)
{
    struct ctr_registry_query query = {
        .size = sizeof query, .host = host, .repository = repository, .actions = "pull"};
    f->answer[0] = '\0';
    f->err.code = 0;
    return f->ops.get(f->self, &query, on_answer, NULL, &f->err);
}

static void
write_file(const char *text)
{
    assert_int_equal(ctr_write_file(f->file, text, strlen(text), &f->err), 0);
}

#define ALICE "{\"auth\":\"YWxpY2U6czNjcmV0\"}" /* alice:s3cret */

static void
test_exact_host(void **state)
{
    write_file("{\"auths\":{\"gcr.io\":" ALICE
               ",\"Quay.IO:443\":{\"username\":\"bob\",\"password\":\"p:w\"}}}");
    assert_int_equal(ask("gcr.io", "a/b"), 0);
    assert_string_equal(f->answer, "1 alice s3cret");
    assert_int_equal(ask("quay.io:443", "a"), 0);
    assert_string_equal(f->answer, "1 bob p:w");
    static const char *const others[] = {
        "eu.gcr.io", "gcr.io.evil.example", "gcr.io:444", "gcr.i", "quay.io", "xgcr.io", ""};
    for (size_t i = 0; i < CTR_LENGTH(others); i++) {
        assert_int_equal(ask(others[i], "a/b"), -ENOENT);
        assert_string_equal(f->answer, "");
    }
}

static void
test_keys_with_scheme_and_path(void **state)
{
    write_file("{\"auths\":{\"https://r.example:5000/v2/\":" ALICE
               ",\"quay.io\":{\"auth\":\"YTph\"},\"quay.io/team\":{\"auth\":\"Yjpi\"},"
               "\"quay.io/team/app\":{\"auth\":\"Yzpj\"}}}");
    assert_int_equal(ask("r.example:5000", "x"), 0);
    assert_string_equal(f->answer, "1 alice s3cret");
    assert_int_equal(ask("quay.io", "other"), 0);
    assert_string_equal(f->answer, "1 a a");
    assert_int_equal(ask("quay.io", "team/x"), 0);
    assert_string_equal(f->answer, "1 b b");
    assert_int_equal(ask("quay.io", "teamwork/x"), 0);
    assert_string_equal(f->answer, "1 a a");
    assert_int_equal(ask("quay.io", "team/app"), 0);
    assert_string_equal(f->answer, "1 c c");
    assert_int_equal(ask("quay.io", "team/app/deep"), 0);
    assert_string_equal(f->answer, "1 c c");
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
        assert_string_equal(f->answer, "1 alice s3cret");
        assert_int_equal(ask("hub.docker.io", "library/busybox"), -ENOENT);
    }
}

static void
test_tokens(void **state)
{
    write_file("{\"auths\":{\"a.example\":{\"auth\":\"YWxpY2U6\",\"identitytoken\":\"idt\"},"
               "\"b.example\":{\"registrytoken\":\"rt\"},\"c.example\":{}}}");
    assert_int_equal(ask("a.example", "x"), 0);
    assert_string_equal(f->answer, "2  idt");
    assert_int_equal(ask("b.example", "x"), 0);
    assert_string_equal(f->answer, "3  rt");
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
        assert_non_null(strstr(f->err.msg, f->file));
        assert_null(strstr(f->err.msg, "s3cret"));
        assert_null(strstr(f->err.msg, "YWxp"));
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
    (void) unlink(f->file);
    assert_int_equal(ask("h", "x"), -EINVAL);
    assert_int_equal(mkfifo(f->file, 0600), 0);
    assert_int_equal(ask("h", "x"), -EINVAL); /* and does not wait */
}

static void
on_listed(void *arg, const char *host, const char *user)
{
    ctr_buf_printf(arg, "%s=%s;", host, user);
}

static void
test_list(void **state)
{
    struct ctr_buf seen = {0};
    write_file("{\"auths\":{\"https://index.docker.io/v1/\":" ALICE ",\"c.example\":{}}}");
    assert_int_equal(f->ops.list(f->self, on_listed, &seen, &f->err), 0);
    assert_string_equal(seen.data, "docker.io=alice;");
    ctr_buf_clear(&seen);
    assert_null(f->ops.store);
    assert_null(f->ops.erase);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_exact_host), TEST(test_keys_with_scheme_and_path),
        TEST(test_docker_hub), TEST(test_tokens),
        TEST(test_broken),     TEST(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
