/*
 * core/engine without processes: Docker's merge rules, environments, and texts from outside. What needs machines is in
 * tests/cli/api-*.sh.
 */
#include "core/engine/engine-priv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static const struct ctr_conf_engine defaults = {.cpus = 2, .memory = 256ull << 20};

static json_t *
parse(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

/* Merges; the texts of spec and args compared with what is wanted. args NULL: a failure whose message holds `wanted`. */
static void
check(const char *request, const char *image, const char *args, const char *key,
      const char *wanted)
{
    json_t *asked = parse(request), *config = parse(image), *spec = NULL, *merged = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    int rc = ctr_spec_merge(asked, config, id, &defaults, &spec, &merged, &err);
    if (args == NULL) {
        assert_int_equal(rc, -EINVAL);
        if (strstr(err.msg, wanted) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", wanted, err.msg);
        }
        assert_null(spec);
        assert_null(merged);
    } else {
        assert_int_equal(rc, 0);
        char *text = json_dumps(merged, JSON_COMPACT);
        assert_string_equal(text, args);
        free(text);
        text = json_dumps(json_object_get(spec, key),
                          JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
        assert_string_equal(text, wanted);
        free(text);
    }
    json_decref(asked);
    json_decref(config);
    json_decref(spec);
    json_decref(merged);
}

#define IMAGE                                                                                  \
    "{\"config\":{\"Entrypoint\":[\"/e\"],\"Cmd\":[\"c1\",\"c2\"],\"Env\":[\"PATH=/"           \
    "p\",\"A=1\",\"B=2\"],"                                                                    \
    "\"WorkingDir\":\"/"                                                                       \
    "w\",\"User\":\"u\",\"StopSignal\":\"SIGINT\",\"Labels\":{\"l\":\"image\",\"m\":"          \
    "\"image\"},"                                                                              \
    "\"ExposedPorts\":{\"80/tcp\":{}}}}"

static void
test_args(void **state)
{
    check("{}", IMAGE, "[\"/e\",\"c1\",\"c2\"]", "working_dir", "\"/w\"");
    check("{\"cmd\":[\"x\"]}", IMAGE, "[\"/e\",\"x\"]", "user", "\"u\"");
    check("{\"entrypoint\":[\"/n\"]}", IMAGE, "[\"/n\"]", "stop_signal", "\"SIGINT\"");
    check("{\"entrypoint\":[\"/n\"],\"cmd\":[\"x\"]}", IMAGE, "[\"/n\",\"x\"]", "hostname",
          "\"0123456789ab\"");
    check("{\"entrypoint\":[\"\"],\"cmd\":[\"x\"]}", IMAGE, "[\"x\"]", "network",
          "\"default\"");
    check("{\"entrypoint\":[],\"cmd\":[\"x\"]}", IMAGE, "[\"x\"]", "working_dir", "\"/w\"");
    check("{\"entrypoint\":null,\"cmd\":null}", IMAGE, "[\"/e\",\"c1\",\"c2\"]", "cpus", "2");
    check("{}", "{}", NULL, NULL, "no command specified");
    check("{\"cmd\":[\"\"]}", "{}", NULL, NULL, "no command specified");
    check("{\"cmd\":[1]}", "{}", NULL, NULL, "lists of strings");
    check("{}", "{\"config\":{\"Cmd\":\"sh\"}}", NULL, NULL, "the image's");
}

static void
test_env_and_labels(void **state)
{
    check("{\"env\":[\"A=9\",\"C=3\"]}", IMAGE, "[\"/e\",\"c1\",\"c2\"]", "env",
          "[\"PATH=/p\",\"B=2\",\"A=9\",\"C=3\"]");
    check("{\"env\":[\"B\"]}", IMAGE, "[\"/e\",\"c1\",\"c2\"]", "env",
          "[\"PATH=/p\",\"A=1\",\"B\"]");
    check("{\"env\":[\"AB=9\"]}", IMAGE, "[\"/e\",\"c1\",\"c2\"]", "env",
          "[\"PATH=/p\",\"A=1\",\"B=2\",\"AB=9\"]");
    check("{\"env\":[\"=9\"]}", IMAGE, NULL, NULL, "without a name");
    check("{\"env\":{\"a\":1}}", IMAGE, NULL, NULL, "list");
    check("{}", "{\"config\":{\"Env\":[\"=x\"],\"Cmd\":[\"a\"]}}", NULL, NULL, "image's");
    check("{\"labels\":{\"l\":\"mine\"}}", IMAGE, "[\"/e\",\"c1\",\"c2\"]", "labels",
          "{\"l\":\"mine\",\"m\":\"image\"}");
    check("{\"labels\":{\"l\":1}}", IMAGE, NULL, NULL, "label l");
    check("{\"labels\":[]}", IMAGE, NULL, NULL, "Labels");
}

static void
test_machine(void **state)
{
    check("{\"memory\":104857601}", IMAGE, "[\"/e\",\"c1\",\"c2\"]", "memory", "105906176");
    check("{\"memory\":1000}", IMAGE, NULL, NULL, "96 MiB");
    check("{\"cpus\":5000}", IMAGE, NULL, NULL, "out of range");
    check("{\"cpus\":-1}", IMAGE, NULL, NULL, "out of range");
    check("{\"hostname\":\"a b\"}", IMAGE, NULL, NULL, "hostname");
    check("{\"hostname\":\"-a\"}", IMAGE, NULL, NULL, "hostname");
    check("{\"stop_signal\":\"NOPE\"}", IMAGE, NULL, NULL, "Invalid signal");
    check("{\"working_dir\":\"rel\"}", IMAGE, NULL, NULL, "absolute");
    check("{\"publish_all\":true}", IMAGE, "[\"/e\",\"c1\",\"c2\"]", "publish",
          "[{\"host_address\":\"0.0.0.0\",\"host_port\":0,\"port\":80,\"proto\":\"tcp\"}]");
    check("{\"publish_all\":true,\"expose\":[\"x/y/z\"]}", IMAGE, NULL, NULL, "exposed port");
}

static void
test_endpoints(void **state)
{
    check("{}", IMAGE, "[\"/e\",\"c1\",\"c2\"]", "endpoints", "[{\"network\":\"default\"}]");
    check("{\"network\":\"none\",\"endpoints\":[]}", IMAGE, "[\"/e\",\"c1\",\"c2\"]",
          "endpoints", "[{\"network\":\"none\"}]");
    check("{\"network\":\"b\",\"endpoints\":[{\"network\":\"a\"},{\"ip\":\"10.0.0.2\","
          "\"network\":\"b\"}]}",
          IMAGE, "[\"/e\",\"c1\",\"c2\"]", "endpoints",
          "[{\"network\":\"a\"},{\"ip\":\"10.0.0.2\",\"network\":\"b\"}]");
    check("{\"network\":\"c\",\"endpoints\":[{\"network\":\"a\"}]}", IMAGE, NULL, NULL,
          "network c is not among");
    check("{\"endpoints\":[{\"ip\":\"10.0.0.2\"}]}", IMAGE, NULL, NULL, "names no network");
}

static void
test_process_env(void **state)
{
    json_t *spec = parse("{\"hostname\":\"h\",\"env\":[\"PATH=/x\",\"TERM\",\"K=v\"]}");
    json_t *extra = parse("[\"K=w\",\"L=1\"]");
    json_t *env = ctr_spec_env(spec, true, extra);
    char *text = json_dumps(env, JSON_COMPACT);
    assert_string_equal(text, "[\"PATH=/x\",\"HOSTNAME=h\",\"K=w\",\"L=1\"]");
    free(text);
    json_decref(env);
    json_decref(extra);
    json_decref(spec);
}

static void
test_text_copy(void **state)
{
    char small[8], *text;
    ctr_text_copy(small, sizeof small, "abcdef\xc3\xa4x"); /* would be cut inside the umlaut */
    assert_string_equal(small, "abcdef");
    ctr_text_copy(small, sizeof small, "a\xff\x1b[2J\n");
    json_t *json = json_pack("{s:s}", "error", small); /* whatever comes out is UTF-8 */
    assert_non_null(json);
    text = json_dumps(json, JSON_COMPACT);
    assert_null(strchr(small, '\x1b'));
    free(text);
    json_decref(json);
}

static void
test_internal(void **state)
{
    static const int codes[][2] = {{-ENOENT, -EIO},
                                   {-EEXIST, -EIO},
                                   {-EACCES, -EIO},
                                   {-ENOSPC, -ENOSPC},
                                   {-ENOMEM, -ENOMEM}};
    for (size_t i = 0; i < CTR_LENGTH(codes); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        (void) ctr_fail(&err, codes[i][0], "why");
        assert_int_equal(ctr_engine_internal(&err), codes[i][1]);
        assert_string_equal(err.msg, "why");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_args),      cmocka_unit_test(test_env_and_labels),
        cmocka_unit_test(test_machine),   cmocka_unit_test(test_process_env),
        cmocka_unit_test(test_text_copy), cmocka_unit_test(test_internal),
        cmocka_unit_test(test_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
