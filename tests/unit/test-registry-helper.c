/* registry-helper: the protocol over fake docker-credential-* scripts, what is refused, and the limits. */
#include "tests/registry-host.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct registry *r;
static char bin[96], config[96], spoken[96];

/* A keyring in a file for each server; says what it was asked in `spoken`. */
static const char keyring[] =
    "#!/bin/sh\n"
    "input=$(cat)\n"
    "printf '%%s %%s\\n' \"$1\" \"$input\" >>%s\n"
    "db=%s/db; mkdir -p $db\n"
    "name() { printf '%%s' \"$1\" | tr '/' '_'; }\n"
    "none() { echo 'credentials not found in native keychain'; exit 1; }\n"
    "case $1 in\n"
    "store) s=${input#*ServerURL\\\":\\\"}; printf '%%s' \"$input\" >\"$db/$(name "
    "\"${s%%%%\\\"*}\")\" ;;\n"
    "get) [ -f \"$db/$(name \"$input\")\" ] || none; cat \"$db/$(name \"$input\")\" ;;\n"
    "erase) rm -f \"$db/$(name \"$input\")\" ;;\n"
    "list) echo '{\"https://index.docker.io/v1/\":\"alice\",\"r.example\":\"bob\"}' ;;\n"
    "esac\n";

static void
write_text(const char *path, const char *text, mode_t mode)
{
    assert_int_equal(ctr_write_file(path, text, strlen(text), &r->err), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void
write_helper(const char *name, const char *script)
{
    char path[160];
    (void) snprintf(path, sizeof path, "%s/docker-credential-%s", bin, name);
    write_text(path, script, 0755);
}

/* What the helpers were told; caller frees. */
static char *
heard(void)
{
    char *text = NULL;
    if (ctr_read_file(spoken, 1 << 20, &text, NULL, &r->err) < 0) {
        return strdup("");
    }
    return text;
}

static int
setup(void **state)
{
    char script[2048];
    r = registry_create();
    assert_non_null(r);
    (void) snprintf(bin, sizeof bin, "%s/bin", r->dir);
    (void) snprintf(config, sizeof config, "%s/config.json", r->dir);
    (void) snprintf(spoken, sizeof spoken, "%s/spoken", r->dir);
    assert_int_equal(ctr_mkdirs(bin, 0755, &r->err), 0);
    (void) snprintf(script, sizeof script, keyring, spoken, r->dir);
    write_helper("ring", script);
    return 0;
}

static int
teardown(void **state)
{
    registry_destroy(r);
    return 0;
}

/* `more`: further options, stolen. */
static int
open_with(const char *document, json_t *more)
{
    char path[160];
    registry_close(r);
    write_text(config, document, 0600);
    (void) snprintf(path, sizeof path, "%s:/usr/bin:/bin", bin);
    json_t *options =
        json_pack("{s:s, s:s, s:s}", "config", config, "path", path, "timeout", "5");
    (void) json_object_update(options, more);
    json_decref(more);
    return registry_open(r, "helper", options);
}

static void
test_round_trip(void **state)
{
    assert_int_equal(open_with("{\"credsStore\":\"ring\"}", NULL), 0);
    assert_int_equal(registry_get(r, "r.example", "x"), -ENOENT);
    assert_int_equal(registry_store(r, "r.example", 1, "bob", "p\"w\\ $(id)"), 0);
    assert_int_equal(registry_get(r, "r.example", "x"), 0);
    assert_string_equal(r->answer, "1 bob p\"w\\ $(id)");
    assert_int_equal(registry_store(r, "docker.io", 2, "", "idt"), 0);
    assert_int_equal(registry_get(r, "docker.io", "x"), 0);
    assert_string_equal(r->answer, "2  idt");
    assert_string_equal(registry_list(r), "docker.io=alice;r.example=bob;");
    assert_int_equal(r->ops.erase(r->self, "r.example", &r->err), 0);
    assert_int_equal(registry_get(r, "r.example", "x"), -ENOENT);
    assert_int_equal(r->ops.erase(r->self, "r.example", &r->err), -ENOENT);
    assert_int_equal(registry_store(r, "r.example", 3, "", "bearer"), -ENOENT);
    CTR_AUTO(free) char *told = heard();
    assert_non_null(strstr(told, "get https://index.docker.io/v1/\n"));
    assert_non_null(strstr(told, "\"Username\":\"<token>\""));
}

/* R10: an entry is for one origin. */
static void
test_exact_host(void **state)
{
    write_helper("no", "#!/bin/sh\nexit 3\n");
    assert_int_equal(
        open_with("{\"credHelpers\":{\"gcr.io\":\"ring\",\"quay.io\":\"no\",\"x.io\":\"\"}}",
                  NULL),
        0);
    assert_int_equal(registry_store(r, "gcr.io", 1, "u", "p"), 0);
    assert_int_equal(registry_get(r, "gcr.io", "x"), 0);
    (void) unlink(spoken);
    static const char *const others[] = {"eu.gcr.io", "gcr.io.evil", "gcr.io:444", "xgcr.io",
                                         "x.io"};
    for (size_t i = 0; i < CTR_LENGTH(others); i++) {
        assert_int_equal(registry_get(r, others[i], "x"), -ENOENT);
        assert_int_equal(registry_store(r, others[i], 1, "u", "p"), -ENOENT);
    }
    static const char *const bad[] = {"gcr.io\r\nhost=x", "gcr.io\n", "",
                                      "../gcr.io",        "-h",       "gcr.io/x"};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_int_equal(registry_get(r, bad[i], "x"), -EINVAL);
    }
    CTR_AUTO(free) char *told = heard();
    assert_string_equal(told, "");
    assert_int_equal(registry_get(r, "quay.io", "x"), -EIO);
    assert_string_equal(registry_list(r), "gcr.io=;quay.io=;");
}

static void
test_option_helper(void **state)
{
    assert_int_equal(
        open_with("{\"credsStore\":\"absent\",\"credHelpers\":{\"quay.io\":\"absent\"}}",
                  json_pack("{s:s}", "helper", "ring")),
        0);
    assert_int_equal(registry_store(r, "r.example", 1, "u", "p"), 0);
    assert_int_equal(registry_get(r, "r.example", "x"), 0);
    assert_int_equal(registry_get(r, "quay.io", "x"), -ENOEXEC);
    assert_non_null(strstr(r->err.msg, "docker-credential-absent is in none of"));
}

static void
test_bad_names(void **state)
{
    static const char *const names[] = {"../x", "a/b", "",   "-x",  "X",
                                        "a b",  "a;b", ".x", "a\\n"};
    for (size_t i = 0; i < CTR_LENGTH(names); i++) {
        CTR_AUTO(free)
        char *document = ctr_printf("{\"credHelpers\":{\"h.example\":\"%s\"}}", names[i]);
        assert_int_equal(open_with(document, NULL), 0);
        assert_int_equal(registry_get(r, "h.example", "x"),
                         names[i][0] == '\0' ? -ENOENT : -EINVAL);
        if (names[i][0] != '\0') {
            assert_int_equal(open_with("{}", json_pack("{s:s}", "helper", names[i])), -EINVAL);
        }
    }
    static const char *const broken[] = {"", "[]", "{\"credHelpers\":[]}", "{\"credsStore\":1}",
                                         "{\"credHelpers\":{\"h.example\":1}}"};
    for (size_t i = 0; i < CTR_LENGTH(broken); i++) {
        assert_int_equal(open_with(broken[i], NULL), 0);
        int rc = registry_get(r, "h.example", "x");
        assert_true(rc < 0 && rc != -ENOENT);
        assert_non_null(strstr(r->err.msg, config));
    }
    assert_int_equal(open_with("{}", json_pack("{s:s}", "path", "bin")), -EINVAL);
    assert_int_equal(open_with("{}", json_pack("{s:s}", "path", "/usr/bin::/bin")), -EINVAL);
}

/* A program that others could change is not run. */
static void
test_untrusted(void **state)
{
    char path[160];
    assert_int_equal(open_with("{\"credsStore\":\"ring\"}", NULL), 0);
    assert_int_equal(chmod(bin, 0777), 0);
    assert_int_equal(registry_get(r, "r.example", "x"), -EPERM);
    assert_int_equal(chmod(bin, 0755), 0);
    (void) snprintf(path, sizeof path, "%s/docker-credential-ring", bin);
    assert_int_equal(chmod(path, 0775), 0);
    assert_int_equal(registry_get(r, "r.example", "x"), -EPERM);
    assert_non_null(strstr(r->err.msg, "others than root and you can write it"));
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(registry_get(r, "r.example", "x"), -EACCES);
    CTR_AUTO(free) char *told = heard();
    assert_string_equal(told, "");
}

static void
test_bad_answers(void **state)
{
    static const struct {
        const char *script;
        int rc;
    } cases[] = {
        {"echo '{\"ServerURL\":\"h.example\",\"Username\":\"u\",\"Secret\":\"p\"}'", 0},
        {"echo '{\"Username\":\"u\",\"Secret\":\"p\"}'", 0},
        {"echo '{\"ServerURL\":\"evil.example\",\"Username\":\"u\",\"Secret\":\"topsecret\"}'",
         -EBADMSG},
        {"echo '{\"ServerURL\":\"h.example:444\",\"Username\":\"u\",\"Secret\":\"topsecret\"}'",
         -EBADMSG},
        {"echo '{\"Username\":\"u\",\"Secret\":\"\"}'", -ENOENT},
        {"echo '{\"Username\":\"u\"}'", -ENOENT},
        {"echo '{\"Username\":\"u\",\"Secret\":\"topsecret\"} x'", -EBADMSG},
        {"echo '{\"Username\":\"u\",\"Secret\":\"topsecret\",\"Secret\":\"2\"}'", -EBADMSG},
        {"echo topsecret", -EBADMSG},
        {":", -EBADMSG},
        {"echo topsecret; exit 1", -EIO},
        {"echo 'credentials not found in native keychain' >&2; exit 1", -EIO},
        {"echo 'credentials not found in native keychain'; exit 1", -ENOENT},
        {"kill -SEGV $$", -EIO},
        {"yes topsecret", -EFBIG},
        {"exec 1>&-; exec sleep 1000", -ETIMEDOUT},
        {"sleep 1000 & sleep 1000", -ETIMEDOUT},
    };
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        CTR_AUTO(free) char *script = ctr_printf("#!/bin/sh\n%s\n", cases[i].script);
        write_helper("odd", script);
        assert_int_equal(
            open_with("{\"credsStore\":\"odd\"}", json_pack("{s:s}", "timeout", "1")), 0);
        int rc = registry_get(r, "h.example", "x");
        if (rc != cases[i].rc) {
            print_error("%s: %d %s\n", cases[i].script, rc, r->err.msg);
        }
        assert_int_equal(rc, cases[i].rc);
        assert_int_equal(r->answers, rc == 0);
        assert_null(strstr(r->err.msg, "topsecret"));
    }
}

/* The environment is what the option names, and the input is one line without an end. */
static void
test_environment(void **state)
{
    CTR_AUTO(free)
    char *script =
        ctr_printf("#!/bin/sh\ncat >/dev/null\nenv | cut -d= -f1 | sort | tr '\\n' ' ' >%s\n"
                   "echo '{\"Username\":\"u\",\"Secret\":\"p\"}'\n",
                   spoken);
    assert_int_equal(setenv("GHCR_TOKEN", "topsecret", 1), 0);
    assert_int_equal(setenv("AWS_PROFILE", "work", 1), 0);
    assert_int_equal(setenv("HOME", "/root", 1), 0);
    write_helper("odd", script);
    assert_int_equal(open_with("{\"credsStore\":\"odd\"}",
                               json_pack("{s:s}", "environment", "HOME, AWS_PROFILE")),
                     0);
    assert_int_equal(registry_get(r, "h.example", "x"), 0);
    CTR_AUTO(free) char *told = heard();
    assert_non_null(strstr(told, "AWS_PROFILE HOME PATH "));
    assert_null(strstr(told, "GHCR"));
}

/* docker's own config.json may name a helper that is gone: it is passed over, once with a warning. */
static void
test_gone_helper(void **state)
{
    registry_close(r);
    write_text(config, "{\"credsStore\":\"desktop\"}", 0600);
    assert_int_equal(setenv("DOCKER_CONFIG", r->dir, 1), 0);
    assert_int_equal(registry_open(r, "helper", json_pack("{s:s}", "path", bin)), 0);
    assert_int_equal(registry_get(r, "h.example", "x"), -ENOENT);
    assert_int_equal(registry_store(r, "h.example", 1, "u", "p"), -ENOENT);
    assert_string_equal(registry_list(r), "");
    assert_int_equal(unlink(config), 0);
    assert_int_equal(registry_get(r, "h.example", "x"), -ENOENT);
    assert_int_equal(unsetenv("DOCKER_CONFIG"), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),  TEST(test_exact_host),  TEST(test_option_helper),
        TEST(test_bad_names),   TEST(test_untrusted),   TEST(test_bad_answers),
        TEST(test_environment), TEST(test_gone_helper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
