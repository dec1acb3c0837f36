/*
 * The grammars of -p, --network and --add-host: what is taken and how, and what is refused with which word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/net/net.h"
#include <cmocka.h>

/* "tcp 0.0.0.0 8080 80" for each port, "tcp :: 8000-8010 80" with a range. */
static char *
describe(const json_t *ports)
{
    struct ctr_buf buf = {0};
    size_t i;
    json_t *port;
    json_array_foreach((json_t *) ports, i, port)
    {
        int64_t end = ctr_json_int(port, "host_port_end", 0);
        ctr_buf_printf(&buf, "%s%s %s %d", i > 0 ? ", " : "", ctr_json_str(port, "proto", ""),
                       ctr_json_str(port, "host_address", ""),
                       (int) ctr_json_int(port, "host_port", -1));
        if (end > 0) {
            ctr_buf_printf(&buf, "-%d", (int) end);
        }
        ctr_buf_printf(&buf, " %d", (int) ctr_json_int(port, "port", -1));
    }
    return ctr_buf_take(&buf);
}

static void
publish_good(void **state)
{
    static const char *const good[][2] = {
        {"8080:80", "tcp 0.0.0.0 8080 80"},
        {"8080:80/tcp", "tcp 0.0.0.0 8080 80"},
        {"53:5353/udp", "udp 0.0.0.0 53 5353"},
        {"53:5353/UDP", "udp 0.0.0.0 53 5353"},
        {"127.0.0.1:8080:80", "tcp 127.0.0.1 8080 80"},
        {"127.0.0.1::80/udp", "udp 127.0.0.1 0 80"},
        {"80", "tcp 0.0.0.0 0 80"},
        {"80/udp", "udp 0.0.0.0 0 80"},
        {":80", "tcp 0.0.0.0 0 80"},
        {"0:65535", "tcp 0.0.0.0 0 65535"},
        {"[::1]:8080:80", "tcp ::1 8080 80"},
        {"[::]::80/udp", "udp :: 0 80"},
        {"[FD00:0::7]:1:2", "tcp fd00::7 1 2"},
        {"80-82", "tcp 0.0.0.0 0 80, tcp 0.0.0.0 0 81, tcp 0.0.0.0 0 82"},
        {"0:80-81", "tcp 0.0.0.0 0 80, tcp 0.0.0.0 0 81"},
        {"127.0.0.1::80-81/udp", "udp 127.0.0.1 0 80, udp 127.0.0.1 0 81"},
        {"8000-8001:80-81", "tcp 0.0.0.0 8000 80, tcp 0.0.0.0 8001 81"},
        {"[::1]:8000-8001:80-81", "tcp ::1 8000 80, tcp ::1 8001 81"},
        {"8000-8010:80", "tcp 0.0.0.0 8000-8010 80"},
        {"8000-8000:80-80", "tcp 0.0.0.0 8000 80"},
        {"65535:65535", "tcp 0.0.0.0 65535 65535"},
    };
    for (size_t i = 0; i < CTR_LENGTH(good); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        CTR_AUTO(json) json_t *ports = ctr_publish_parse(good[i][0], &err);
        CTR_AUTO(free) char *text = describe(ports);
        if (ports == NULL || strcmp(text, good[i][1]) != 0) {
            fail_msg("%s: %s%s", good[i][0], ports == NULL ? err.msg : "", text);
        }
    }
}

static void
publish_bad(void **state)
{
    static const char *const bad[][2] = {
        {"", "container port \"\""},
        {"0", "container port \"0\""},
        {"80:", "container port \"\""},
        {"80:65536", "container port \"65536\""},
        {"80:99999999999999999999", "not a number from 1 to 65535"},
        {"x:80", "host port \"x\""},
        {"-1:80", "host port \"\""},
        {"1-:80", "host port \"\""},
        {"+1:80", "host port \"+1\""},
        {" 1:80", "host port \" 1\""},
        {"1-2-3:80", "host port \"2-3\""},
        {"0-5:80", "host port \"0\""},
        {"0-5:80-85", "host port \"0\""},
        {"8010-8000:80", "write 8000-8010"},
        {"80-70", "write 70-80"},
        {"8000-8010:80-85", "11 host ports cannot go to 6 container ports"},
        {"8000:80-85", "1 host ports cannot go to 6 container ports"},
        {"80:80/sctp", "\"sctp\""},
        {"80:80/", "\"\" is not known"},
        {"80:80/tcp/udp", "\"tcp/udp\""},
        {"::1:80:80", "too many colons"},
        {"1:2:3:4", "too many colons"},
        {"[::1:80:80", "without \"]:\""},
        {"[::1]80:80", "without \"]:\""},
        {"[::1]:80", "no port of the container"},
        {"[::1]:1:80:80", "too many colons"},
        {"[127.0.0.1]:80:80", "\"127.0.0.1\" is not an IPv6 address"},
        {"[fe80::1%eth0]:80:80", "is not an IPv6 address"},
        {"[]:80:80", "\"\" is not an IPv6 address"},
        {"localhost:80:80", "\"localhost\" is not an IPv4 address"},
        {":80:80", "host address \"\""},
        {"1.2.3.4.5:80:80", "\"1.2.3.4.5\""},
    };
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        assert_null(ctr_publish_parse(bad[i][0], &err));
        assert_true(err.code < 0);
        if (strstr(err.msg, bad[i][1]) == NULL || strstr(err.msg, bad[i][0]) == NULL) {
            fail_msg("%s: %s", bad[i][0], err.msg);
        }
    }
}

static void
network_good(void **state)
{
    static const char *const good[][2] = {
        {"front", "{\"network\":\"front\"}"},
        {"none", "{\"network\":\"none\"}"},
        {"bridge", "{\"network\":\"bridge\"}"},
        {"a,ip=10.0.0.5", "{\"network\":\"a\",\"ip\":\"10.0.0.5\"}"},
        {"name=a,ip=10.0.0.5", "{\"network\":\"a\",\"ip\":\"10.0.0.5\"}"},
        {"ip=10.0.0.5,name=a", "{\"network\":\"a\",\"ip\":\"10.0.0.5\"}"},
        {"a,ip6=FD00:0::5", "{\"network\":\"a\",\"ip6\":\"fd00::5\"}"},
        {"a,mac=02:42:0A:00:00:05", "{\"network\":\"a\",\"mac\":\"02:42:0a:00:00:05\"}"},
        {"a,mac-address=02:42:0a:00:00:05",
         "{\"network\":\"a\",\"mac\":\"02:42:0a:00:00:05\"}"},
        {"a,alias=x,alias=y.z", "{\"network\":\"a\",\"aliases\":[\"x\",\"y.z\"]}"},
        {"a,mtu=65520", "{\"network\":\"a\",\"mtu\":65520}"},
    };
    for (size_t i = 0; i < CTR_LENGTH(good); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        CTR_AUTO(json) json_t *option = ctr_network_option_parse(good[i][0], &err);
        CTR_AUTO(json) json_t *want = json_loads(good[i][1], 0, NULL);
        if (!json_equal(option, want)) {
            fail_msg("%s: %s", good[i][0], err.msg);
        }
    }
}

static void
network_bad(void **state)
{
    static const char *const bad[][2] = {
        {"", "is not a name"},
        {"host", "publish its ports with -p"},
        {"container:web", "host.docker.internal:host-gateway"},
        {"name=host", "publish its ports with -p"},
        {"../x", "is not a name"},
        {"-x", "is not a name"},
        {"ip=10.0.0.5", "no name of a network"},
        {"name=", "is not a name"},
        {"a,", "must be KEY=VALUE"},
        {"a,b", "must be KEY=VALUE"},
        {"a,name=b", "name= is there twice"},
        {"a,ip=10.0.0.5,ip=10.0.0.6", "ip= is there twice"},
        {"a,ip=", "\"\" is not an IPv4 address"},
        {"a,ip=10.0.0", "\"10.0.0\" is not an IPv4 address"},
        {"a,ip=fd00::1", "is not an IPv4 address"},
        {"a,ip6=10.0.0.1", "is not an IPv6 address"},
        {"a,mac=02:42:0a:00:00", "not a MAC address"},
        {"a,mac=00:00:00:00:00:00", "not a MAC address"},
        {"a,mac=02-42-0a-00-00-05", "not a MAC address"},
        {"a,mac=03:42:0a:00:00:05", "first byte must be even"},
        {"a,alias=", "alias=\"\" is not a host name"},
        {"a,alias=a b", "is not a host name"},
        {"a,alias=a..b", "is not a host name"},
        {"a,mtu=100", "mtu=\"100\""},
        {"a,mtu=65521", "from 576 to 65520"},
        {"a,alas=x", "nearest is \"alias\""},
        {"a,driver-opt=x=y", "\"driver-opt\" is not known"},
        {"none,ip=10.0.0.1", "none is no network"},
    };
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        assert_null(ctr_network_option_parse(bad[i][0], &err));
        assert_true(err.code < 0);
        if (strstr(err.msg, bad[i][1]) == NULL || strstr(err.msg, bad[i][0]) == NULL) {
            fail_msg("%s: %s", bad[i][0], err.msg);
        }
    }
}

static void
extra_hosts(void **state)
{
    static const char *const good[][2] = {
        {"a:10.0.0.1", "a:10.0.0.1"},
        {"a=10.0.0.1", "a:10.0.0.1"},
        {"a.b.c:host-gateway", "a.b.c:host-gateway"},
        {"host.docker.internal=host-gateway", "host.docker.internal:host-gateway"},
        {"a:::1", "a:::1"},
        {"a=::1", "a:::1"},
        {"a:[fd00::1]", "a:fd00::1"},
    };
    static const char *const bad[] = {"",
                                      "a",
                                      "a:",
                                      ":10.0.0.1",
                                      "a:b",
                                      "a b:10.0.0.1",
                                      "a:10.0.0",
                                      "a:[10.0.0.1]",
                                      "a:[::1",
                                      "a:10.0.0.1 ",
                                      "a:[host-gateway]"};
    for (size_t i = 0; i < CTR_LENGTH(good); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        CTR_AUTO(free) char *text = ctr_extra_host_parse(good[i][0], &err);
        if (text == NULL || strcmp(text, good[i][1]) != 0) {
            fail_msg("%s: %s", good[i][0], text == NULL ? err.msg : text);
        }
    }
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        assert_null(ctr_extra_host_parse(bad[i], &err));
        assert_int_equal(err.code, -EINVAL);
        assert_non_null(strstr(err.msg, bad[i]));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_good), cmocka_unit_test(publish_bad),
        cmocka_unit_test(network_good), cmocka_unit_test(network_bad),
        cmocka_unit_test(extra_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
