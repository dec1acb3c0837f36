/*
 * core/net: who knows which names, and what the guest is told of its networks.
 *
 * Containers come up on networks of net-none, whose ctr-net has no ports; their endpoints are then marked as if they had some, and what would be told to a
 * ctr-net is read from a socket pair in its place.
 */
#include "tests/unit/net-fixture.h"
/* after the headers that it needs */
#include "core/net/net-priv.h"
#include <pthread.h>
#include <sys/socket.h>

static void
world_of_names(struct world *w, const char *engine)
{
    world_open_with(w, engine, "[net]\nplugin = none\n", NULL);
}

static void
add_as(struct world *w, const char *request)
{
    struct ctr_error err = CTR_ERROR_INIT;
    char id[65];
    CTR_AUTO(json) json_t *object = json_loads(request, 0, NULL);
    if (ctr_nets_add(w->nets, object, id, &err) != 0) {
        fail_msg("%s: %s", request, err.msg);
    }
}

/* On these networks ("net alias" each), and up. */
static void
start(struct world *w, const char *id, const char *extra_hosts, const char *const *networks)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_attachment *made;
    size_t n;
    char name[16];
    (void) snprintf(name, sizeof name, "name-%.8s", id);
    for (; *networks != NULL; networks++) {
        if (join_as(w, *networks, id, name, "{\"aliases\":[\"all\"]}", &err) != 0) {
            fail_msg("%s", err.msg);
        }
    }
    CTR_AUTO(json) json_t *extra = json_loads(extra_hosts, 0, NULL);
    struct ctr_nets_wants wants = {
        .container = id, .name = name, .hostname = "inside", .extra_hosts = extra};
    assert_int_equal(ctr_nets_up(w->nets, &wants, &made, &n, NULL, &err), 0);
    assert_int_equal(n, 0);
    ctr_attachments_free(made, n);
    for (struct ctr_endpoint *e = ctr_endpoint_next(w->nets, NULL, id); e != NULL;
         e = ctr_endpoint_next(w->nets, e, id)) {
        e->kind = CTR_PORT_DGRAM;
    }
}

/* --- zones --- */

static void *
answer(void *arg)
{
    static const char ok[] = "{\"ok\":{}}\n";
    const int *fd = arg;
    struct ctr_error err = CTR_ERROR_INIT;
    char *line = ctr_read_line(*fd, 1 << 20, NULL, &err);
    (void) ctr_write_all(*fd, ok, sizeof ok - 1);
    return line;
}

/* What a network's ctr-net is told. */
static json_t *
zone_of(struct world *w, const char *network)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_network_entry *n;
    int pair[2];
    pthread_t thread;
    void *line;
    assert_int_equal(ctr_network_get(w->nets, network, &n, &err), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(pthread_create(&thread, NULL, answer, &pair[1]), 0);
    (void) pthread_mutex_lock(&n->mutex);
    ctr_peer_close(n);
    n->peer = pair[0];
    assert_int_equal(ctr_zone_push(w->nets, n, &err), 0);
    ctr_peer_close(n);
    (void) pthread_mutex_unlock(&n->mutex);
    (void) pthread_join(thread, &line);
    (void) close(pair[1]);
    ctr_network_release(w->nets, n);
    CTR_AUTO(json) json_t *request = json_loads(line, 0, NULL);
    free(line);
    assert_string_equal(ctr_json_str(request, "op", ""), "zone");
    return json_incref(json_object_get(request, "zone"));
}

/* "ADDRESS ADDRESS …" of a name in a list of hosts. */
static const char *
addresses_of(const json_t *hosts, const char *name, char ret[256])
{
    size_t i, j, n = 0;
    const json_t *host, *address;
    ret[0] = '\0';
    json_array_foreach(hosts, i, host)
    {
        if (strcmp(ctr_json_str(host, "name", ""), name) != 0) {
            continue;
        }
        json_array_foreach(json_object_get(host, "addresses"), j, address)
        {
            n += (size_t) snprintf(ret + n, 256 - n, "%s%s", n > 0 ? " " : "",
                                   json_string_value(address));
        }
    }
    return ret;
}

static void
names(void **state)
{
    static const char a[] = "aaaaaaaaaaaaaaaa", b[] = "bbbbbbbbbbbbbbbb",
                      c[] = "cccccccccccccccc";
    static const char *const on_x[] = {"x", NULL}, *const on_xy[] = {"x", "y", NULL},
                             *const on_y[] = {"y", NULL};
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    char text[256];
    world_of_names(&w, "dns = 9.9.9.9");
    add_as(&w, "{\"name\":\"x\",\"subnet\":\"10.70.0.0/24\",\"subnet6\":\"fd00:7::/64\"}");
    add_as(&w, "{\"name\":\"y\",\"subnet\":\"10.71.0.0/24\",\"internal\":true}");
    start(&w, a, "[\"db:10.1.1.1\",\"host.docker.internal:host-gateway\"]", on_x);
    start(&w, b, "[]", on_xy);
    start(&w, c, "[]", on_y);
    CTR_AUTO(json) json_t *x = zone_of(&w, "x");
    CTR_AUTO(json) json_t *y = zone_of(&w, "y");
    const json_t *hosts = json_object_get(x, "hosts"), *ports = json_object_get(x, "ports");
    assert_string_equal(addresses_of(hosts, "name-aaaaaaaa", text), "10.70.0.2 fd00:7::2");
    assert_string_equal(addresses_of(hosts, "aaaaaaaaaaaa", text), "10.70.0.2 fd00:7::2");
    assert_string_equal(addresses_of(hosts, "all", text),
                        "10.70.0.2 fd00:7::2 10.70.0.3 fd00:7::3");
    assert_string_equal(addresses_of(hosts, "name-cccccccc", text), "");
    assert_int_equal(json_object_size(ports), 2);
    /* a knows its own hosts, b those on y. */
    const json_t *port = json_object_get(ports, a);
    assert_string_equal(addresses_of(json_object_get(port, "hosts"), "db", text), "10.1.1.1");
    assert_string_equal(
        addresses_of(json_object_get(port, "hosts"), "host.docker.internal", text),
        "10.70.0.254");
    assert_int_equal(json_array_size(json_object_get(port, "elsewhere")), 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(port, "dns"), 0)),
                        "9.9.9.9");
    assert_true(ctr_json_bool(port, "forward", false));
    port = json_object_get(ports, b);
    assert_string_equal(addresses_of(json_object_get(port, "elsewhere"), "name-cccccccc", text),
                        "10.71.0.3");
    /* y leads nowhere. */
    port = json_object_get(json_object_get(y, "ports"), c);
    assert_false(ctr_json_bool(port, "forward", true));
    assert_int_equal(json_array_size(json_object_get(port, "elsewhere")), 0);
    /* Another name, and down. */
    assert_int_equal(ctr_nets_rename(w.nets, b, "fresh", &err), 0);
    assert_int_equal(ctr_nets_down(w.nets, a, &err), 0);
    CTR_AUTO(json) json_t *after = zone_of(&w, "x");
    assert_string_equal(addresses_of(json_object_get(after, "hosts"), "fresh", text),
                        "10.70.0.3 fd00:7::3");
    assert_string_equal(addresses_of(json_object_get(after, "hosts"), "all", text),
                        "10.70.0.3 fd00:7::3");
    assert_null(json_object_get(json_object_get(after, "ports"), a));
    world_close(&w);
}

static void
isolated_names(void **state)
{
    static const char a[] = "aaaaaaaaaaaaaaaa", b[] = "bbbbbbbbbbbbbbbb";
    static const char *const on_x[] = {"x", NULL}, *const on_xy[] = {"x", "y", NULL};
    struct world w;
    char text[256];
    world_of_names(&w, "");
    add_as(&w, "{\"name\":\"x\",\"isolated\":true,\"subnet\":\"10.70.0.0/24\"}");
    add_as(&w, "{\"name\":\"y\",\"subnet\":\"10.71.0.0/24\"}");
    start(&w, a, "[]", on_x);
    start(&w, b, "[]", on_xy);
    CTR_AUTO(json) json_t *x = zone_of(&w, "x");
    CTR_AUTO(json) json_t *y = zone_of(&w, "y");
    assert_int_equal(json_array_size(json_object_get(x, "hosts")), 0);
    const json_t *port = json_object_get(json_object_get(x, "ports"), a);
    assert_string_equal(addresses_of(json_object_get(port, "hosts"), "name-aaaaaaaa", text),
                        "10.70.0.2");
    assert_string_equal(addresses_of(json_object_get(port, "hosts"), "name-bbbbbbbb", text),
                        "");
    port = json_object_get(json_object_get(y, "ports"), b); /* y does not tell of x's */
    assert_string_equal(addresses_of(json_object_get(port, "elsewhere"), "name-aaaaaaaa", text),
                        "");
    world_close(&w);
}

/* --- guest --- */

static void
guest(void **state)
{
    static const char a[] = "aaaaaaaaaaaaaaaa";
    static const char *const networks[] = {"in", "out", "out6", NULL};
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    char resolv[] = "/tmp/ctr-test-resolv-XXXXXX";
    static const char lines[] = "# search no\nsearch old\nnameserver 9.9.9.9\n"
                                "search a.example b.example # c\noptions ndots:2 edns0\n";
    CTR_AUTO(fd) int fd = mkstemp(resolv);
    assert_int_equal(ctr_write_all(fd, lines, sizeof lines - 1), 0);
    CTR_AUTO(free) char *engine = ctr_printf("resolv_conf = %s", resolv);
    world_of_names(&w, engine);
    add_as(&w, "{\"name\":\"in\",\"subnet\":\"10.70.0.0/24\",\"internal\":true}");
    add_as(&w, "{\"name\":\"out\",\"subnet\":\"10.71.0.0/24\",\"gateway\":\"10.71.0.9\"}");
    add_as(&w, "{\"name\":\"out6\",\"subnet\":\"10.72.0.0/24\",\"subnet6\":\"fd00:7::/64\"}");
    start(&w, a, "[\"db=fd00::1\",\"up:host-gateway\"]", networks);
    CTR_AUTO(json) json_t *all = ctr_nets_guest(w.nets, a, &err);
    CTR_AUTO(free) char *text = ctr_json_text(json_object_get(all, "hosts"));
    assert_string_equal(text, "[{\"address\":\"10.70.0.2\",\"names\":[\"inside\"]},"
                              "{\"address\":\"10.71.0.1\",\"names\":[\"inside\"]},"
                              "{\"address\":\"10.72.0.2\",\"names\":[\"inside\"]},"
                              "{\"address\":\"fd00:7::2\",\"names\":[\"inside\"]},"
                              "{\"address\":\"fd00::1\",\"names\":[\"db\"]},"
                              "{\"address\":\"10.71.0.254\",\"names\":[\"up\"]}]");
    const json_t *list = json_object_get(all, "interfaces");
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(ctr_json_str(json_array_get(list, 0), "gateway", "x"), "");
    assert_string_equal(ctr_json_str(json_array_get(list, 1), "gateway", "x"), "10.71.0.9");
    assert_string_equal(ctr_json_str(json_array_get(list, 1), "gateway6", "x"), "");
    assert_string_equal(ctr_json_str(json_array_get(list, 2), "gateway", "x"), "");
    assert_string_equal(ctr_json_str(json_array_get(list, 2), "gateway6", "x"), "fd00:7::1");
    assert_int_equal(ctr_json_int(json_array_get(list, 2), "prefix6", 0), 64);
    CTR_AUTO(json)
    json_t *rest = json_pack("[O, O, O]", json_object_get(all, "dns"),
                             json_object_get(all, "search"), json_object_get(all, "options"));
    CTR_AUTO(free) char *resolver = ctr_json_text(rest);
    assert_string_equal(resolver, "[[\"10.71.0.9\"],[\"a.example\",\"b.example\"],[\"ndots:2\","
                                  "\"edns0\"]]");
    assert_null(ctr_nets_guest(w.nets, "nobody", &err));
    assert_int_equal(err.code, -ENOENT);
    (void) unlink(resolv);
    world_close(&w);
}

/* --- processes of networks that there are no more --- */

static void
left_behind(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_network_entry *n;
    world_of_names(&w, "");
    add_as(&w, "{\"name\":\"x\"}");
    assert_int_equal(ctr_network_get(w.nets, "x", &n, &err), 0);
    (void) pthread_mutex_lock(&n->mutex);
    assert_int_equal(ctr_peer_open(w.nets, n, true, NULL, &err), 0);
    (void) pthread_mutex_unlock(&n->mutex);
    ctr_network_release(w.nets, n);
    pid_t pid = pid_of(&w, "x");
    assert_int_equal(ctr_record_remove(w.store, "network", "x", &err), 0);
    world_restart(&w);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    CTR_AUTO(free) char *path = ctr_printf("%s/run/n/x.sock", w.folder);
    assert_int_equal(access(path, F_OK), -1);
    world_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(isolated_names),
        cmocka_unit_test(guest),
        cmocka_unit_test(left_behind),
    };
    return cmocka_run_group_tests_name("net-zone", tests, prepare, clean);
}
