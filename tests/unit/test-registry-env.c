/* registry-env: one host, read once, and never a secret in a message. */
#include "tests/registry-host.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct registry *r;

static int
setup(void **state)
{
    r = registry_create();
    assert_non_null(r);
    (void) setenv("T_USER", "bob", 1);
    (void) setenv("T_TOKEN", "topsecret", 1);
    (void) unsetenv("T_NONE");
    return 0;
}

static int
teardown(void **state)
{
    registry_destroy(r);
    return 0;
}

static int
open_with(const char *host, const char *user, const char *secret, const char *type)
{
    registry_close(r);
    json_t *options = json_pack("{s:s, s:s}", "host", host, "type", type);
    if (user != NULL) {
        (void) json_object_set_new(options, "user", json_string(user));
    }
    if (secret != NULL) {
        (void) json_object_set_new(options, "secret", json_string(secret));
    }
    return registry_open(r, "env", options);
}

static void
test_exact_host(void **state)
{
    assert_int_equal(open_with("GHCR.io", "T_USER", "T_TOKEN", "password"), 0);
    assert_int_equal(registry_get(r, "ghcr.io", "a/b"), 0);
    assert_string_equal(r->answer, "1 bob topsecret");
    assert_string_equal(registry_list(r), "ghcr.io=bob;");
    static const char *const others[] = {
        "x.ghcr.io", "ghcr.io:443", "ghcr.io.evil.example", "ghcr.i", "", "ghcr.io\n"};
    for (size_t i = 0; i < CTR_LENGTH(others); i++) {
        assert_int_equal(registry_get(r, others[i], "a/b"), -ENOENT);
        assert_int_equal(r->answers, 0);
    }
    assert_null(r->ops.store);
    assert_null(r->ops.erase);
}

static void
test_kinds(void **state)
{
    assert_int_equal(open_with("h.example:5000", NULL, "T_TOKEN", "identity"), 0);
    assert_int_equal(registry_get(r, "h.example:5000", ""), 0);
    assert_string_equal(r->answer, "2  topsecret");
    assert_int_equal(open_with("h.example", NULL, "T_TOKEN", "bearer"), 0);
    assert_int_equal(registry_get(r, "h.example", ""), 0);
    assert_string_equal(r->answer, "3  topsecret");
}

/* Read once: what the variable holds later is of no account. */
static void
test_read_once(void **state)
{
    assert_int_equal(open_with("h.example", "T_USER", "T_TOKEN", "password"), 0);
    (void) setenv("T_TOKEN", "other", 1);
    assert_int_equal(registry_get(r, "h.example", ""), 0);
    assert_string_equal(r->answer, "1 bob topsecret");
}

static void
test_not_set(void **state)
{
    assert_int_equal(open_with("h.example", "T_USER", "T_NONE", "password"), 0);
    assert_int_equal(registry_get(r, "h.example", ""), -ENOENT);
    assert_string_equal(registry_list(r), "");
    assert_int_equal(open_with("h.example", "T_NONE", "T_TOKEN", "password"), 0);
    assert_int_equal(registry_get(r, "h.example", ""), -ENOENT);
}

/* The classic mistake is the secret itself where its variable's name belongs: it is refused and not repeated. */
static void
test_bad_options(void **state)
{
    assert_int_equal(open_with("h.example", "T_USER", "top-secret!", "password"), -EINVAL);
    assert_null(strstr(r->err.msg, "top-secret"));
    assert_non_null(strstr(r->err.msg, "name of an environment variable"));
    assert_int_equal(open_with("h.example", NULL, "T_TOKEN", "password"), -EINVAL);
    assert_int_equal(open_with("h.example", "T_USER", NULL, "password"), -EINVAL);
    static const char *const hosts[] = {"", "https://h.example", "h.example/x", "a b",
                                        "a\r\nb"};
    for (size_t i = 0; i < CTR_LENGTH(hosts); i++) {
        assert_int_equal(open_with(hosts[i], "T_USER", "T_TOKEN", "password"), -EINVAL);
    }
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_exact_host), TEST(test_kinds),       TEST(test_read_once),
        TEST(test_not_set),    TEST(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
