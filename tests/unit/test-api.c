/*
 * core/api without a server: routes, versions, Docker's documents, filters, Docker's words, and the splice of two sockets.
 */
#include "core/api/api-priv.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>

#include <cmocka.h>

static json_t *
parse(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

static void
test_match(void **state)
{
    char capture[16] = "";
    assert_true(ctr_api_match("/info", "/info", capture, sizeof capture));
    assert_false(ctr_api_match("/info", "/info/", capture, sizeof capture));
    assert_true(
        ctr_api_match("/containers/*/json", "/containers/ab/json", capture, sizeof capture));
    assert_string_equal(capture, "ab");
    assert_false(
        ctr_api_match("/containers/*/json", "/containers//json", capture, sizeof capture));
    assert_false(
        ctr_api_match("/containers/*/json", "/containers/a/b/json", capture, sizeof capture));
    assert_false(
        ctr_api_match("/containers/*/json", "/containers/json", capture, sizeof capture));
    assert_true(
        ctr_api_match("/images/**/json", "/images/a/b:c/json", capture, sizeof capture));
    assert_string_equal(capture, "a/b:c");
    assert_true(ctr_api_match("/images/**", "/images/x/json", capture, sizeof capture));
    assert_false(ctr_api_match("/images/**/json", "/images/0123456789abcdef/json", capture,
                               sizeof capture)); /* does not fit */
}

static void
test_version(void **state)
{
    static const struct {
        const char *path, *rest;
    } cases[] = {{"/v1.43/info", "/info"}, {"/v1.24/info", "/info"},
                 {"/info", "/info"},       {"/volumes", "/volumes"},
                 {"/version", "/version"}, {"/v1.44/info", NULL},
                 {"/v2.0/info", NULL},     {"/v1.23/info", NULL},
                 {"/v1/info", NULL},       {"/v1.x/info", NULL},
                 {"/v1.43", NULL},         {"/v1.99999999999999999999/x", NULL},
                 {"/v0.43/info", NULL}};
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        const char *rest = NULL;
        int rc = ctr_api_strip_version(cases[i].path, &rest, &err);
        if (cases[i].rest == NULL) {
            assert_int_equal(rc, -EINVAL);
            assert_null(rest);
        } else {
            assert_int_equal(rc, 0);
            assert_string_equal(rest, cases[i].rest);
        }
    }
}

static void
accepted(const char *body, const char *key, const char *wanted)
{
    json_t *json = parse(body), *spec = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    if (ctr_docker_create_parse(json, "", &spec, &err) < 0) {
        fail_msg("%s: %s", body, err.msg);
    }
    char *text =
        json_dumps(json_object_get(spec, key), JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
    json_decref(spec);
    json_decref(json);
}

static void
refused(const char *body, const char *wanted)
{
    json_t *json = parse(body), *spec = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_docker_create_parse(json, "", &spec, &err), -EINVAL);
    if (strstr(err.msg, wanted) == NULL) {
        fail_msg("%s: \"%s\" is not in \"%s\"", body, wanted, err.msg);
    }
    assert_null(spec);
    json_decref(json);
}

#define HOST(members) "{\"Image\":\"i\",\"HostConfig\":{" members "}}"

static void
test_create(void **state)
{
    /* what docker's own client sends when nothing was asked for */
    accepted(HOST("\"Binds\":null,\"ContainerIDFile\":\"\",\"LogConfig\":{\"Type\":\"\","
                  "\"Config\":{}},\"NetworkMode\":\"default\","
                  "\"PortBindings\":{},\"RestartPolicy\":{\"Name\":\"no\","
                  "\"MaximumRetryCount\":0},\"CapAdd\":null,\"Dns\":[],"
                  "\"IpcMode\":\"\",\"Privileged\":false,\"MemorySwappiness\":-1,"
                  "\"OomKillDisable\":false,\"Devices\":[],"
                  "\"ConsoleSize\":[0,0],\"Isolation\":\"\",\"MaskedPaths\":null"),
             "network", "\"default\"");
    accepted(HOST("\"NanoCpus\":1500000000"), "cpus", "2");
    accepted(HOST("\"NanoCpus\":1"), "cpus", "1");
    accepted(HOST("\"NanoCpus\":0"), "cpus", "0");
    accepted(HOST("\"NetworkMode\":\"bridge\""), "network", "\"default\"");
    accepted(HOST("\"NetworkMode\":\"none\""), "network", "\"none\"");
    accepted(HOST("\"ConsoleSize\":[30,100]"), "rows", "30");
    accepted(HOST("\"Annotations\":{\"ctr.kernel\":\"/k\"}"), "kernel", "\"/k\"");
    accepted("{\"Image\":\"i\",\"Ctr\":{\"Storage\":\"fast\"}}", "storage", "\"fast\"");
    accepted("{\"Image\":\"i\",\"Cmd\":\"sh\"}", "cmd", "[\"sh\"]");
    accepted(HOST("\"Tmpfs\":{\"/run\":\"size=1m\"}"), "tmpfs",
             "[{\"options\":\"size=1m\",\"path\":\"/run\"}]");
    accepted(
        HOST(
            "\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"8080\"}]}"),
        "publish",
        "[{\"host_address\":\"127.0.0.1\",\"host_port\":8080,\"port\":80,\"proto\":\"tcp\"}]");
    accepted(HOST("\"PortBindings\":{\"53/udp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}"),
             "publish",
             "[{\"host_address\":\"0.0.0.0\",\"host_port\":0,\"port\":53,\"proto\":\"udp\"}]");
}

static void
test_create_refused(void **state)
{
    refused("{}", "Image is missing");
    refused("{\"Image\":[]}", "Image must be a text");
    refused("{\"Image\":\"i\",\"HostConfig\":3}", "HostConfig");
    refused("{\"Image\":\"i\",\"Tty\":\"yes\"}", "Tty");
    refused("{\"Image\":\"i\",\"Env\":\"A=b\",\"Cmd\":[[]]}", "Cmd");
    refused("{\"Image\":\"i\",\"Volumes\":{\"/x\":{}}}", "Volumes");
    refused("{\"Image\":\"i\",\"Healthcheck\":{\"Test\":[\"CMD\",\"x\"]}}", "Healthcheck");
    refused("{\"Image\":\"i\",\"StopTimeout\":\"x\"}", "StopTimeout");
    refused(HOST("\"Binds\":[\"/:/h\"]"), "HostConfig.Binds");
    refused(HOST("\"Privileged\":true"), "HostConfig.Privileged");
    refused(HOST("\"Unknown\":\"x\""), "HostConfig.Unknown");
    refused(HOST("\"NetworkMode\":\"host\""), "publish ports with -p");
    refused(HOST("\"NetworkMode\":\"container:x\""), "not supported");
    refused(HOST("\"NetworkMode\":\"a/b\""), "not a name");
    refused(HOST("\"RestartPolicy\":{\"Name\":\"always\"}"), "RestartPolicy");
    refused(HOST("\"Memory\":-1"), "Memory");
    refused(HOST("\"Memory\":1.5"), "Memory");
    refused(HOST("\"NanoCpus\":9223372036854775807"), "NanoCpus");
    refused(HOST("\"Tmpfs\":{\"run\":\"\"}"), "Tmpfs");
    refused(HOST("\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"::1\",\"HostPort\":\"1\"}]}"),
            "IPv4");
    refused(HOST("\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"1-2\"}]}"), "ranges");
    refused(HOST("\"PortBindings\":{\"0/tcp\":[{\"HostPort\":\"1\"}]}"), "PortBindings");
    refused("{\"Image\":\"i\",\"NetworkingConfig\":{\"EndpointsConfig\":{\"a\":{},\"b\":{}}}}",
            "one network");
    refused("{\"Image\":\"i\",\"NetworkingConfig\":{\"EndpointsConfig\":{\"a\":{\"Aliases\":["
            "\"x\"]}}}}",
            "Aliases");
}

static void
test_exec(void **state)
{
    struct ctr_error err = CTR_ERROR_INIT;
    json_t *body = parse("{\"Cmd\":[\"a\"],\"Tty\":true,\"AttachStdin\":true,\"User\":\"u\"}"),
           *spec = NULL;
    assert_int_equal(ctr_docker_exec_parse(body, &spec, &err), 0);
    assert_true(ctr_json_bool(spec, "tty", false));
    assert_true(ctr_json_bool(spec, "in", false));
    assert_false(ctr_json_bool(spec, "out", true));
    assert_string_equal(ctr_json_str(spec, "user", ""), "u");
    json_decref(spec);
    json_decref(body);
    static const char *const bad[] = {"[]", "{\"Cmd\":[1]}", "{\"Tty\":1}", "{\"User\":[]}",
                                      "{\"Cmd\":[\"a\"],\"Privileged\":true}"};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        body = parse(bad[i]);
        spec = NULL;
        assert_int_equal(ctr_docker_exec_parse(body, &spec, &err), -EINVAL);
        assert_null(spec);
        json_decref(body);
    }
}

static bool
passes(const char *filters)
{
    static const char *const known[] = {"id",       "name",   "status", "label",
                                        "ancestor", "exited", NULL};
    json_t *parsed = NULL;
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_docker_filters_parse(filters, known, &parsed, &err), 0);
    json_t *c =
        parse("{\"id\":\"abc123\",\"name\":\"web\",\"state\":\"exited\",\"exit_code\":3,"
              "\"spec\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}},"
              "\"image\":{\"reference\":\"demo\",\"id\":\"sha256:0123456789\"}}");
    bool result = ctr_docker_filters_pass(parsed, c);
    json_decref(parsed);
    json_decref(c);
    return result;
}

static void
test_filters(void **state)
{
    static const char *const known[] = {"status", NULL};
    static const char *const bad[] = {"{", "[]", "7", "{\"nope\":[\"x\"]}"};
    struct ctr_error err = CTR_ERROR_INIT;
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        json_t *parsed = NULL;
        assert_int_equal(ctr_docker_filters_parse(bad[i], known, &parsed, &err), -EINVAL);
        assert_null(parsed);
    }
    assert_true(passes(""));
    assert_true(passes("{\"status\":{\"exited\":true}}"));
    assert_true(passes("{\"status\":[\"running\",\"exited\"]}"));
    assert_false(passes("{\"status\":[\"running\"]}"));
    assert_true(passes("{\"label\":[\"a\",\"b=2\"]}"));
    assert_false(passes("{\"label\":[\"a\",\"b=3\"]}"));
    assert_true(passes("{\"name\":[\"we\"],\"id\":[\"abc\"]}"));
    assert_false(passes("{\"name\":[\"we\"],\"id\":[\"abd\"]}"));
    assert_true(passes("{\"ancestor\":[\"012345\"]}"));
    assert_false(passes("{\"ancestor\":[\"01234\"]}"));
    assert_true(passes("{\"exited\":[\"3\"]}"));
    assert_false(passes("{\"exited\":[\"0\"]}"));
}

static int
auth(const char *header, struct ctr_docker_auth *ret, struct ctr_error *err)
{
    *err = (struct ctr_error) CTR_ERROR_INIT;
    return ctr_docker_auth_parse(header, "reg:5000", ret, err);
}

/* The headers are base64 of what stands beside them. */
static void
test_docker_auth(void **state)
{
    struct ctr_docker_auth got;
    struct ctr_error err;
    static const char *const none[] = {
        NULL, "", "e30", "e30=" /* {} */,
        "eyJ1c2VybmFtZSI6ImFubiIsInBhc3N3b3JkIjoiIn0=" /* username ann, password "" */};
    for (size_t i = 0; i < CTR_LENGTH(none); i++) {
        assert_int_equal(auth(none[i], &got, &err), 0);
        assert_null(got.secret);
    }
    /* {"username":"ann","password":"s3cret?>","serveraddress":"https://REG:5000/v1/"} in both alphabets */
    static const char *const both[] = {"eyJ1c2VybmFtZSI6ImFubiIsInBhc3N3b3JkIjoiczNjcmV0Pz4iLCJ"
                                       "zZXJ2ZXJhZGRyZXNzIjoiaHR0cHM6Ly9"
                                       "SRUc6NTAwMC92MS8ifQ==",
                                       "eyJ1c2VybmFtZSI6ImFubiIsInBhc3N3b3JkIjoiczNjcmV0Pz4iLCJ"
                                       "zZXJ2ZXJhZGRyZXNzIjoiaHR0cHM6Ly9"
                                       "SRUc6NTAwMC92MS8ifQ"};
    for (size_t i = 0; i < CTR_LENGTH(both); i++) {
        assert_int_equal(auth(both[i], &got, &err), 0);
        assert_int_equal(got.credential.type, CTR_CREDENTIAL_PASSWORD);
        assert_string_equal(got.credential.user, "ann");
        assert_string_equal(got.credential.secret, "s3cret?>");
        ctr_docker_auth_finish(&got);
        assert_null(got.secret);
    }
    /* {"identitytoken":"abc","username":"ann","password":"x"}: the token wins */
    assert_int_equal(
        auth("eyJpZGVudGl0eXRva2VuIjoiYWJjIiwidXNlcm5hbWUiOiJhbm4iLCJwYXNzd29yZCI6IngifQ==",
             &got, &err),
        0);
    assert_int_equal(got.credential.type, CTR_CREDENTIAL_IDENTITY);
    assert_string_equal(got.credential.secret, "abc");
    ctr_docker_auth_finish(&got);
    /* {"username":"ann","password":"s3cret","serveraddress":"other:1"}: another registry's; it is not told what it is */
    assert_int_equal(
        auth("eyJ1c2VybmFtZSI6ImFubiIsInBhc3N3b3JkIjoiczNjcmV0Iiwic2VydmVyYWRkcmVzcy"
             "I6Im90aGVyOjEifQ==",
             &got, &err),
        -EINVAL);
    assert_null(got.secret);
    assert_null(strstr(err.msg, "s3cret"));
    assert_non_null(strstr(err.msg, "other:1"));
    /* no base64, no JSON, no object */
    static const char *const bad[] = {"e3 0=", "e30=x", "eyI", "W10=", "NQ=="};
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        assert_int_equal(auth(bad[i], &got, &err), -EINVAL);
    }
    char *longer = calloc(1, 70000);
    memset(longer, 'A', 69999);
    assert_int_equal(auth(longer, &got, &err), -EINVAL);
    free(longer);
}

static void
test_words(void **state)
{
    json_t *c = parse(
        "{\"id\":\"abc\",\"name\":\"web\",\"state\":\"running\",\"spec\":{\"image\":\"demo\","
        "\"network\":\"default\"},"
        "\"args\":[\"sh\",\"-c\",\"echo "
        "hi\"],\"network\":{\"address\":\"10.88.0.2\",\"published\":"
        "[{\"proto\":\"tcp\",\"host_address\":\"0.0.0.0\",\"host_port\":8080,\"port\":80}]}}");
    json_t *summary = docker_summary(c), *whole = docker_container(c);
    assert_string_equal(ctr_json_str(summary, "Command", ""), "sh -c 'echo hi'");
    assert_string_equal(json_string_value(json_array_get(json_object_get(summary, "Names"), 0)),
                        "/web");
    json_t *port = json_array_get(json_object_get(summary, "Ports"), 0);
    assert_int_equal(ctr_json_int(port, "PublicPort", 0), 8080);
    assert_true(ctr_json_bool(json_object_get(whole, "State"), "Running", false));
    json_t *settings = json_object_get(whole, "NetworkSettings");
    assert_string_equal(ctr_json_str(settings, "IPAddress", ""), "10.88.0.2");
    assert_non_null(json_object_get(json_object_get(settings, "Ports"), "80/tcp"));
    json_decref(summary);
    json_decref(whole);
    /* nothing at all still gives documents, never a crash */
    json_t *empty = json_object();
    json_t *(*const words[])(const json_t *) = {
        docker_container, docker_summary, docker_image, docker_image_summary,
        docker_network,   docker_info,    docker_event};
    for (size_t i = 0; i < CTR_LENGTH(words); i++) {
        json_t *said = words[i](empty);
        assert_true(json_is_object(said));
        json_decref(said);
    }
    json_decref(empty);
    json_decref(c);
    c = parse("{\"references\":[\"busybox:latest\",\"localhost:5000/a/"
              "b:1\",\"x@sha256:00\"],\"digest\":\"sha256:ff\"}");
    json_t *image = docker_image(c);
    char *text = json_dumps(json_object_get(image, "RepoDigests"), JSON_COMPACT);
    assert_string_equal(
        text, "[\"busybox@sha256:ff\",\"localhost:5000/a/b@sha256:ff\",\"x@sha256:ff\"]");
    free(text);
    assert_int_equal(json_array_size(json_object_get(image, "RepoTags")), 2);
    json_decref(image);
    json_decref(c);
}

/* --- the splice: client <-> (a, b) <-> stream --- */

struct splice {
    int client, stream;
    const char *extra;
};

static void *
run_splice(void *arg)
{
    struct splice *splice = arg;
    api_splice(splice->client, splice->stream, splice->extra, strlen(splice->extra));
    (void) close(splice->stream);
    api_splice_finish(splice->client);
    (void) close(splice->client);
    return NULL;
}

static pthread_t
start_splice(struct splice *splice, int *ret_client, int *ret_stream, const char *extra)
{
    int a[2], b[2];
    pthread_t thread;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
    *splice = (struct splice){.client = a[0], .stream = b[0], .extra = extra};
    assert_int_equal(pthread_create(&thread, NULL, run_splice, splice), 0);
    *ret_client = a[1];
    *ret_stream = b[1];
    return thread;
}

static void
test_splice_half_close(void **state)
{
    struct splice splice;
    int client, stream;
    char bytes[64];
    size_t n;
    pthread_t thread = start_splice(&splice, &client, &stream, "early ");
    assert_int_equal(ctr_write_all(client, "late", 4), 0);
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    assert_int_equal(ctr_read_all(stream, bytes, sizeof bytes, &n),
                     0); /* until the half-close */
    assert_int_equal(n, 10);
    assert_memory_equal(bytes, "early late", 10);
    assert_int_equal(ctr_write_all(stream, "answer", 6), 0); /* the other way is still open */
    (void) close(stream);
    assert_int_equal(ctr_read_all(client, bytes, sizeof bytes, &n), 0);
    assert_int_equal(n, 6);
    assert_memory_equal(bytes, "answer", 6);
    (void) close(client);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
test_splice_client_gone(void **state)
{
    struct splice splice;
    int client, stream;
    char bytes[64];
    size_t n;
    pthread_t thread = start_splice(&splice, &client, &stream, "");
    assert_int_equal(ctr_write_all(client, "last words", 10), 0);
    (void) close(client);
    assert_int_equal(ctr_read_all(stream, bytes, sizeof bytes, &n), 0);
    assert_int_equal(n, 10); /* what was sent before the end has come through, then the end */
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void) close(stream);
}

/* Much output, a client that sends although nobody reads: the end is still an end, not a reset. */
static void
test_splice_unread_input(void **state)
{
    enum { BULK = 3 * 1024 * 1024 };
    struct splice splice;
    int client, stream;
    pthread_t thread = start_splice(&splice, &client, &stream, "");
    char *bytes = calloc(1, BULK);
    assert_non_null(bytes);
    assert_true(send(client, bytes, 100000, MSG_DONTWAIT) > 0); /* never read by the process */
    pid_t writer = fork();
    if (writer == 0) {
        _exit(ctr_write_all(stream, bytes, BULK) == 0 ? 0 : 1);
    }
    size_t n = 0;
    (void) shutdown(stream, SHUT_RD);
    (void) close(stream);
    assert_int_equal(ctr_read_all(client, bytes, BULK, &n), 0);
    assert_int_equal(n, BULK);
    size_t more = 0;
    assert_int_equal(ctr_read_all(client, bytes, 1, &more), 0);
    assert_int_equal(more, 0);
    (void) close(client);
    assert_int_equal(pthread_join(thread, NULL), 0);
    free(bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_create_refused),
        cmocka_unit_test(test_exec),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_docker_auth),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_splice_half_close),
        cmocka_unit_test(test_splice_client_gone),
        cmocka_unit_test(test_splice_unread_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
