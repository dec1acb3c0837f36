/* References and platforms: what docker's grammar takes, and what it does not. */
#include "core/image/image-priv.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HEX "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

static void
test_good(void **state)
{
    static const struct {
        const char *text, *full, *shown;
    } good[] = {
        {"busybox", "docker.io/library/busybox:latest", "busybox:latest"},
        {"busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"},
        {"team/app", "docker.io/team/app:latest", "team/app:latest"},
        {"docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"},
        {"index.docker.io/team/app:v1", "docker.io/team/app:v1", "team/app:v1"},
        {"registry-1.docker.io/library/x", "docker.io/library/x:latest", "x:latest"},
        {"localhost/x", "localhost/x:latest", "localhost/x:latest"},
        {"localhost:5000/a/b/c:T_1.x-y", "localhost:5000/a/b/c:T_1.x-y",
         "localhost:5000/a/b/c:T_1.x-y"},
        {"LOCALHOST:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"},
        {"[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"},
        {"127.0.0.1:5000/x@sha256:" HEX, "127.0.0.1:5000/x@sha256:" HEX,
         "127.0.0.1:5000/x@sha256:" HEX},
        {"x:tag@sha256:" HEX, "docker.io/library/x@sha256:" HEX, "x@sha256:" HEX},
        {"x/a-b--c__d_e.f/g", "docker.io/x/a-b--c__d_e.f/g:latest", "x/a-b--c__d_e.f/g:latest"},
        {"docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"},
        {"docker.io/localhost/c", "docker.io/localhost/c:latest",
         "docker.io/localhost/c:latest"},
        {"docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"},
        {"localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"},
        {"Example.COM/x", "example.com/x:latest", "example.com/x:latest"},
    };
    for (size_t i = 0; i < CTR_LENGTH(good); i++) {
        struct ctr_ref ref;
        struct ctr_error err = CTR_ERROR_INIT;
        if (ctr_ref_parse(good[i].text, &ref, &err) < 0) {
            fail_msg("%s: %s", good[i].text, err.msg);
        }
        char *full = ctr_ref_full(&ref), *shown = ctr_ref_short(&ref);
        assert_string_equal(full, good[i].full);
        assert_string_equal(shown, good[i].shown);
        /* What is stored reads back as the same. */
        assert_int_equal(ctr_ref_parse(full, &ref, &err), 0);
        free(shown);
        shown = ctr_ref_full(&ref);
        assert_string_equal(full, shown);
        free(full);
        free(shown);
    }
}

static void
test_bad(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "Busybox",
        "a//b",
        "/a",
        "a/",
        "a:",
        "a:b:c",
        "a:-x",
        "a@",
        "a@sha256:" HEX "0",
        "a@sha512:" HEX,
        "a@md5:abc",
        "a@sha256:../../etc",
        HEX,
        "a..b/../c",
        "../x",
        "..",
        "a_/b",
        "a___b",
        "-a",
        "a-",
        "a b",
        "a\nb",
        "exa mple.com/x",
        "example.com:port/x",
        "example.com:99999/x",
        "example.com:/x",
        "-example.com/x",
        "example..com/x",
        "user@example.com/x",
        "http://example.com/x",
        "[::1/x",
        "[::1]x/y",
        "[]:5000/x",
        "a:\xc3\xa9",
        "x:"
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
        "567890123456789012345678901234567890123456789",
    };
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        struct ctr_ref ref = {.host = "untouched"};
        struct ctr_error err = CTR_ERROR_INIT;
        if (ctr_ref_parse(bad[i], &ref, &err) == 0) {
            fail_msg("taken: \"%s\"", bad[i]);
        }
        assert_int_equal(err.code, -EINVAL);
        assert_true(err.msg[0] != '\0');
        assert_string_equal(ref.host, "untouched");
    }
    char *longest = malloc(2000);
    memset(longest, 'a', 1999);
    longest[1999] = '\0';
    struct ctr_ref ref;
    assert_int_equal(ctr_ref_parse(longest, &ref, NULL), -EINVAL);
    longest[300] = '\0';
    assert_int_equal(ctr_ref_parse(longest, &ref, NULL), -EINVAL);
    longest[255 - strlen("library/")] = '\0';
    assert_int_equal(ctr_ref_parse(longest, &ref, NULL), 0);
    free(longest);
}

static void
test_registry_host(void **state)
{
    static const char *const good[][2] = {{"https://index.docker.io", "docker.io"},
                                          {"docker.io", "docker.io"},
                                          {"https://index.docker.io/v1/", "docker.io"},
                                          {"registry-1.docker.io", "docker.io"},
                                          {"HTTPS://Reg.Example:5000/v2/", "reg.example:5000"},
                                          {"127.0.0.1:5000", "127.0.0.1:5000"},
                                          {"[::1]:5000", "[::1]:5000"}};
    static const char *const bad[] = {"a b",  "user@host", "host\r\nx", "https://u:p@host/",
                                      "word", "",          "https://",  "h.example/x y"};
    struct ctr_error err = CTR_ERROR_INIT;
    char host[256];
    for (size_t i = 0; i < CTR_LENGTH(good); i++) {
        assert_int_equal(ctr_registry_host(good[i][0], host, &err), 0);
        assert_string_equal(host, good[i][1]);
    }
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_int_equal(ctr_registry_host(bad[i], host, &err), -EINVAL);
    }
    char *longer = calloc(1, 400);
    memset(longer, 'a', 300);
    assert_int_equal(ctr_registry_host(longer, host, &err), -EINVAL);
    free(longer);
}

static void
test_platforms(void **state)
{
    static const struct {
        const char *text, *os, *arch, *variant;
    } good[] = {
        {"linux/amd64", "linux", "amd64", ""},    {"arm64", "linux", "arm64", ""},
        {"linux/arm64/v8", "linux", "arm64", ""}, {"linux/arm/v7", "linux", "arm", "v7"},
        {"x86_64", "linux", "amd64", ""},         {"aarch64", "linux", "arm64", ""},
        {"armhf", "linux", "arm", "v7"},          {"windows/amd64", "windows", "amd64", ""},
    };
    static const char *const bad[] = {
        "/",      "linux/",      "linux/amd64/", "linux/amd64/v1/x",
        "/amd64", "Linux/amd64", "a b",          "linux/0123456789012345"};
    struct ctr_platform platform;
    struct ctr_error err = CTR_ERROR_INIT;
    for (size_t i = 0; i < CTR_LENGTH(good); i++) {
        assert_int_equal(ctr_platform_parse(good[i].text, &platform, &err), 0);
        assert_string_equal(platform.os, good[i].os);
        assert_string_equal(platform.arch, good[i].arch);
        assert_string_equal(platform.variant, good[i].variant);
    }
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_int_equal(ctr_platform_parse(bad[i], &platform, &err), -EINVAL);
    }
    assert_int_equal(ctr_platform_parse("", &platform, &err), 0);
    assert_string_equal(platform.os, "linux");
    assert_true(platform.arch[0] != '\0' && strcmp(platform.arch, "x86_64") != 0);
}

static int
score(const char *have_os, const char *have_arch, const char *have_variant, const char *want)
{
    struct ctr_platform have = {.os = ""}, wanted;
    struct ctr_error err = CTR_ERROR_INIT;
    (void) snprintf(have.os, sizeof have.os, "%s", have_os);
    (void) snprintf(have.arch, sizeof have.arch, "%s", have_arch);
    (void) snprintf(have.variant, sizeof have.variant, "%s", have_variant);
    assert_int_equal(ctr_platform_parse(want, &wanted, &err), 0);
    return platform_score(&have, &wanted);
}

static void
test_scores(void **state)
{
    assert_int_equal(score("windows", "amd64", "", "linux/amd64"), 0);
    assert_int_equal(score("linux", "arm64", "", "linux/amd64"), 0);
    assert_true(score("linux", "arm64", "v8", "linux/arm64") == 100);
    assert_true(score("linux", "arm", "v6", "linux/arm/v7") > 0);
    assert_true(score("linux", "arm", "v7", "linux/arm/v7") >
                score("linux", "arm", "v6", "linux/arm/v7"));
    assert_int_equal(score("linux", "arm", "v7", "linux/arm/v6"), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),          cmocka_unit_test(test_bad),
        cmocka_unit_test(test_registry_host), cmocka_unit_test(test_platforms),
        cmocka_unit_test(test_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
