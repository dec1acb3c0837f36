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
    refused(HOST("\"NetworkMode\":\"host\""), "publish its ports with -p");
    refused(HOST("\"NetworkMode\":\"container:x\""), "not supported");
    refused(HOST("\"NetworkMode\":\"a/b\""), "not a name");
    refused(HOST("\"RestartPolicy\":{\"Name\":\"always\"}"), "RestartPolicy");
    refused(HOST("\"Memory\":-1"), "Memory");
    refused(HOST("\"Memory\":1.5"), "Memory");
    refused(HOST("\"NanoCpus\":9223372036854775807"), "NanoCpus");
    refused(HOST("\"Tmpfs\":{\"run\":\"\"}"), "Tmpfs");
    refused(HOST("\"PortBindings\":{\"0/tcp\":[{\"HostPort\":\"1\"}]}"), "PortBindings");
}

/* The spec's endpoints, or the error. */
static char *
endpoints(const char *networking, const char *mode)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free)
    char *body = ctr_printf("{\"Image\":\"i\",\"NetworkingConfig\":{\"EndpointsConfig\":%s},"
                            "\"HostConfig\":{\"NetworkMode\":\"%s\"}}",
                            networking, mode);
    CTR_AUTO(json) json_t *json = parse(body), *spec = NULL;
    if (ctr_docker_create_parse(json, "", &spec, &err) < 0) {
        return strdup(err.msg);
    }
    const json_t *list = json_object_get(spec, "endpoints");
    char *text = list == NULL ? strdup("none") : json_dumps(list, JSON_COMPACT);
    return text;
}

static void
test_endpoints(void **state)
{
    static const struct {
        const char *networking, *mode, *wanted;
    } cases[] = {
        {"{}", "", "[{\"network\":\"default\"}]"},
        {"{}", "bridge", "[{\"network\":\"default\"}]"},
        {"{\"bridge\":null}", "default", "[{\"network\":\"default\"}]"},
        {"{\"front\":{}}", "default", "[{\"network\":\"front\"}]"},
        {"{\"a\":{},\"b\":null}", "b", "[{\"network\":\"b\"},{\"network\":\"a\"}]"},
        {"{\"a\":{}}", "c", "[{\"network\":\"c\"},{\"network\":\"a\"}]"},
        {"{\"a\":{\"Aliases\":[\"x\",\"x\",\"y_1\"],\"Links\":[\"p:q\"]}}", "a",
         "[{\"network\":\"a\",\"aliases\":[\"x\",\"y_1\"]}]"},
        {"{\"a\":{\"IPAMConfig\":{\"IPv4Address\":\"10.0.0.5\",\"IPv6Address\":\"FD00::5\"},"
         "\"MacAddress\":\"02:42:0A:00:00:05\",\"DriverOpts\":{"
         "\"com.docker.network.driver.mtu\":\"1400\"}}}",
         "a",
         "[{\"network\":\"a\",\"ip\":\"10.0.0.5\",\"ip6\":\"fd00::5\","
         "\"mac\":\"02:42:0a:00:00:05\",\"mtu\":1400}]"},
        {"{}", "none", "none"},
        {"{\"none\":{}}", "none", "none"},
        {"{\"a\":{}}", "none", "cannot be combined with network a"},
        {"{\"none\":{}}", "a", "cannot be combined"},
        {"{\"default\":{},\"bridge\":{}}", "default", "named twice"},
        {"{\"host\":{}}", "default", "publish its ports with -p"},
        {"{\"a\":[]}", "a", "[{\"network\":\"a\"}]"},
        {"{\"a\":[1]}", "a", "must be an object"},
        {"{\"a\":{\"Aliases\":\"x\"}}", "a", "must be a list"},
        {"{\"a\":{\"Aliases\":[\"a b\"]}}", "a", "not a host name"},
        {"{\"a\":{\"Aliases\":[\"b,ip=1.2.3.4\"]}}", "a", "not a host name"},
        {"{\"a\":{\"IPAMConfig\":{\"IPv4Address\":\"10.0.0\"}}}", "a",
         "network a: IPv4Address: ip=\"10.0.0\""},
        {"{\"a\":{\"IPAMConfig\":{\"IPv4Address\":7}}}", "a", "must be a text"},
        {"{\"a\":{\"IPAMConfig\":{\"LinkLocalIPs\":[\"169.254.1.1\"]}}}", "a", "LinkLocalIPs"},
        {"{\"a\":{\"DriverOpts\":{\"x\":\"y\"}}}", "a", "DriverOpts: x is not known"},
    };
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        CTR_AUTO(free) char *got = endpoints(cases[i].networking, cases[i].mode);
        if (strstr(got, cases[i].wanted) == NULL) {
            fail_msg("%s, %s: %s", cases[i].networking, cases[i].mode, got);
        }
    }
    accepted("{\"Image\":\"i\",\"MacAddress\":\"02:00:00:00:00:01\"}", "endpoints",
             "[{\"mac\":\"02:00:00:00:00:01\",\"network\":\"default\"}]");
}

static void
test_names(void **state)
{
    accepted(HOST("\"Dns\":[\"192.0.2.53\",\"fd00::53\"]"), "dns",
             "[\"192.0.2.53\",\"fd00::53\"]");
    accepted(HOST("\"DnsSearch\":[\"a.b\"]"), "dns_search", "[\"a.b\"]");
    accepted(HOST("\"DnsOptions\":[\"ndots:2\"]"), "dns_options", "[\"ndots:2\"]");
    accepted(HOST("\"ExtraHosts\":[\"a=10.0.0.1\",\"b:host-gateway\"]"), "extra_hosts",
             "[\"a:10.0.0.1\",\"b:host-gateway\"]");
    refused(HOST("\"Dns\":[\"example.com\"]"), "not an IP address");
    refused(HOST("\"Dns\":\"192.0.2.53\""), "list of strings");
    refused(HOST("\"DnsSearch\":[\"a\\nnameserver 1.2.3.4\"]"), "one word");
    refused(HOST("\"DnsOptions\":[3]"), "one word");
    refused(HOST("\"ExtraHosts\":[\"a\"]"), "want NAME:ADDRESS");
    accepted(HOST("\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"::1\",\"HostPort\":\"1-2\"}]}"),
             "publish",
             "[{\"host_address\":\"::1\",\"host_port\":1,\"host_port_end\":2,\"port\":80,"
             "\"proto\":\"tcp\"}]");
    refused(HOST("\"PortBindings\":{\"80/sctp\":[{\"HostPort\":\"1\"}]}"), "tcp or udp");
}

/* Docker's document of a network into ours, or the error. */
static char *
network_of(const char *members)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free)
    char *body = ctr_printf("{\"Name\":\"n\"%s%s}", *members ? "," : "", members);
    CTR_AUTO(json) json_t *json = parse(body), *request = NULL;
    if (ctr_docker_network_parse(json, &request, &err) < 0) {
        return strdup(err.msg);
    }
    char *text = json_dumps(request, JSON_COMPACT);
    return text;
}

#define NOTHING "{\"name\":\"n\",\"ipv6\":false,\"internal\":false,\"options\":{}"
#define POOL(members) "\"IPAM\":{\"Config\":[{" members "}]}"
#define OPTION(key, value) "\"Options\":{\"" key "\":\"" value "\"}"

static void
test_network_create(void **state)
{
    static const char *const cases[][2] = {
        {"", NOTHING "}"},
        /* what Compose 1.29 sends */
        {"\"Driver\":null,\"Options\":null,\"IPAM\":null,\"CheckDuplicate\":true,"
         "\"Internal\":false,\"EnableIPv6\":false,\"Labels\":{\"a\":\"b\"},"
         "\"Attachable\":true",
         NOTHING ",\"labels\":{\"a\":\"b\"}}"},
        {"\"Driver\":\"bridge\"", NOTHING "}"},
        {"\"Driver\":\"passt\"", "\"driver\":\"passt\""},
        {"\"Driver\":\"overlay\"", "driver overlay is not supported"},
        {"\"Driver\":\"macvlan\"", "driver macvlan is not supported"},
        {"\"Scope\":\"swarm\"", "swarm"},
        {"\"Internal\":true", "\"internal\":true"},
        {POOL("\"Subnet\":\"10.9.0.0/24\",\"Gateway\":\"10.9.0.9\",\"IPRange\":null"),
         "\"subnet\":\"10.9.0.0/24\",\"gateway\":\"10.9.0.9\""},
        {POOL("\"Subnet\":\"fd00:9::/64\""), "\"ipv6\":true"},
        {POOL("\"Subnet\":\"10.9.0.0/24\",\"IPRange\":\"10.9.0.0/28\""), "IPRange"},
        {POOL("\"Gateway\":\"10.9.0.9\""), "without its subnet"},
        {POOL("\"Subnet\":\"10.9.0.0/24\",\"AuxiliaryAddresses\":{\"a\":\"10.9.0.7\"}"),
         "AuxiliaryAddresses"},
        {POOL("\"Subnet\":\"10.9.0.0/24\"},{\"Subnet\":\"10.8.0.0/24\""), "one subnet of IPv4"},
        {"\"IPAM\":{\"Driver\":\"dhcp\"}", "driver dhcp is not known"},
        {OPTION("com.docker.network.driver.mtu", "1400"), "\"mtu\":1400"},
        {OPTION("com.docker.network.driver.mtu", "x"), "not a number"},
        {OPTION("com.docker.network.bridge.enable_icc", "false"), "\"isolated\":true"},
        {OPTION("com.docker.network.bridge.enable_ip_masquerade", "true"), NOTHING "}"},
        {OPTION("com.docker.network.bridge.enable_ip_masquerade", "false"), "Internal"},
        {OPTION("com.docker.network.bridge.name", "br0"), "is not supported"},
        {OPTION("ctr.isolated", "true"), "\"isolated\":true"},
        {OPTION("ctr.isolated", "yes"), "true or false"},
        {OPTION("ctr.plugin", "bridge"), "\"driver\":\"bridge\""},
        {OPTION("ctr.egress", "deny"), "\"egress\":\"deny\""},
        {OPTION("ctr.allow", "a.b:443, 10.0.0.0/8"), "\"allow\":[\"a.b:443\",\"10.0.0.0/8\"]"},
        {OPTION("ctr.allow", "a.b:x"), "a.b:x"},
        {OPTION("ctr.egres", "deny"), "nearest is ctr.egress"},
        {OPTION("bridge", "br7"), "\"options\":{\"bridge\":\"br7\"}"},
        {"\"Options\":{\"a\":1}", "must be a text"},
        {"\"Labels\":{\"a\":1}", "must be a text"},
    };
    for (size_t i = 0; i < CTR_LENGTH(cases); i++) {
        CTR_AUTO(free) char *got = network_of(cases[i][0]);
        if (strstr(got, cases[i][1]) == NULL) {
            fail_msg("%s: %s", cases[i][0], got);
        }
    }
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
        "\"network\":\"default\",\"expose\":[\"80/tcp\",\"81/tcp\"],"
        "\"endpoints\":[{\"network\":\"default\",\"ip\":\"10.88.0.2\"}]},"
        "\"args\":[\"sh\",\"-c\",\"echo hi\"],"
        "\"endpoints\":[{\"network\":\"default\",\"network_id\":\"ff\",\"address\":"
        "\"10.88.0.2\",\"prefix\":24,\"address6\":\"fd00::2\",\"prefix6\":64,\"aliases\":["
        "\"x\"]},"
        "{\"network\":\"back\",\"address\":\"10.89.0.2\"}],"
        "\"published\":[{\"proto\":\"tcp\",\"host_address\":\"0.0.0.0\",\"host_port\":8080,"
        "\"host_port_end\":8090,\"port\":80}]}");
    json_t *summary = docker_summary(c), *whole = docker_container(c);
    assert_string_equal(ctr_json_str(summary, "Command", ""), "sh -c 'echo hi'");
    assert_string_equal(json_string_value(json_array_get(json_object_get(summary, "Names"), 0)),
                        "/web");
    json_t *port = json_array_get(json_object_get(summary, "Ports"), 0);
    assert_int_equal(ctr_json_int(port, "PublicPort", 0), 8080);
    assert_true(ctr_json_bool(json_object_get(whole, "State"), "Running", false));
    json_t *settings = json_object_get(whole, "NetworkSettings");
    assert_string_equal(ctr_json_str(settings, "IPAddress", ""), "10.88.0.2");
    json_t *ports = json_object_get(settings, "Ports");
    json_t *bound = json_array_get(json_object_get(ports, "80/tcp"), 0);
    assert_string_equal(ctr_json_str(bound, "HostPort", ""), "8080");
    assert_true(json_is_null(json_object_get(ports, "81/tcp")));
    json_t *networks = json_object_get(settings, "Networks");
    json_t *first = json_object_get(networks, "default");
    assert_string_equal(ctr_json_str(json_object_get(networks, "back"), "IPAddress", ""),
                        "10.89.0.2");
    assert_string_equal(ctr_json_str(first, "NetworkID", ""), "ff");
    assert_string_equal(ctr_json_str(first, "GlobalIPv6Address", ""), "fd00::2");
    assert_string_equal(ctr_json_str(json_object_get(first, "IPAMConfig"), "IPv4Address", ""),
                        "10.88.0.2");
    CTR_AUTO(free)
    char *names = json_dumps(json_object_get(first, "DNSNames"), JSON_COMPACT);
    assert_string_equal(names, "[\"web\",\"x\",\"abc\"]");
    json_decref(whole);
    /* one that does not run has its networks and no addresses */
    (void) json_object_set_new(c, "state", json_string("exited"));
    whole = docker_container(c);
    first = json_object_get(
        json_object_get(json_object_get(whole, "NetworkSettings"), "Networks"), "default");
    assert_string_equal(ctr_json_str(first, "NetworkID", ""), "ff");
    assert_string_equal(ctr_json_str(first, "IPAddress", "?"), "");
    json_decref(summary);
    json_decref(whole);
    /* nothing at all still gives documents, never a crash */
    json_t *empty = json_object();
    json_t *(*const words[])(const json_t *) = {docker_container, docker_summary,
                                                docker_image,     docker_image_summary,
                                                docker_info,      docker_event};
    for (size_t i = 0; i < CTR_LENGTH(words); i++) {
        json_t *said = words[i](empty);
        assert_true(json_is_object(said));
        json_decref(said);
    }
    json_t *network = docker_network(empty, NULL);
    assert_true(json_is_object(json_object_get(network, "IPAM")));
    json_decref(network);
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
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_network_create),
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
