/*
 * core/net: where subnets come from, whose an address is, and that neither is lost or given twice: by threads, over restarts and kill -9, and over records
 * of an earlier version.
 */
#include "tests/unit/net-fixture.h"
/* after the headers that it needs */
#include "core/net/net-priv.h"
#include <pthread.h>

/* --- subnets --- */

static const char *const *host_routes; /* NULL-terminated */

static int
fake_routes(struct ctr_routes *ret, struct ctr_error *err)
{
    *ret = (struct ctr_routes){.list = calloc(16, sizeof *ret->list)};
    for (const char *const *at = host_routes; *at != NULL; at++) {
        struct ctr_subnet *route = &ret->list[ret->n++];
        assert_int_equal(ctr_prefix_parse(*at, &route->address, &route->prefix), 0);
    }
    return 0;
}

static void
open_with_routes(struct world *w, const char *engine, const char *const *routes)
{
    world_open_with(w, engine, SWITCH, NULL);
    host_routes = routes;
    w->nets->routes = fake_routes;
}

static int
add_as(struct world *w, const char *request, struct ctr_error *err)
{
    char id[65];
    CTR_AUTO(json) json_t *object = json_loads(request, 0, NULL);
    assert_non_null(object);
    return ctr_nets_add(w->nets, object, id, err);
}

/* A member of a network, as text; the caller's buffer. */
static const char *
shown(struct world *w, const char *network, const char *key, char ret[64])
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *n = ctr_nets_inspect(w->nets, network, &err);
    (void) snprintf(ret, 64, "%s", ctr_json_str(n, key, "(none)"));
    return ret;
}

static void
subnets_avoid_routes(void **state)
{
    static const char *const routes[] = {"10.88.5.0/24",    "10.89.0.0/17", "10.90.0.0/16",
                                         "172.30.200.7/32", "0.0.0.0/32",   NULL};
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    char text[64];
    open_with_routes(&w, "subnets = 10.89.0.0/16 172.30.0.0/16, 10.77.0.0/24", routes);
    assert_string_equal(shown(&w, "default", "subnet", text), "10.89.128.0/24");
    assert_string_equal(shown(&w, "bridge", "gateway", text), "10.89.128.1");
    assert_int_equal(add_as(&w, "{\"name\":\"a\"}", &err), 0);
    assert_string_equal(shown(&w, "a", "subnet", text), "10.89.129.0/24");
    assert_int_equal(add_as(&w, "{\"name\":\"b\",\"subnet\":\"10.89.130.0/23\"}", &err), 0);
    assert_int_equal(add_as(&w, "{\"name\":\"c\"}", &err), 0);
    assert_string_equal(shown(&w, "c", "subnet", text), "10.89.132.0/24");
    assert_int_equal(add_as(&w, "{\"name\":\"d\",\"subnet\":\"10.89.131.0/24\"}", &err),
                     -EEXIST);
    assert_non_null(strstr(err.msg, "network b"));
    /* What a user asks for may hide a route of the host. */
    assert_int_equal(add_as(&w, "{\"name\":\"d\",\"subnet\":\"10.90.1.0/24\"}", &err), 0);
    assert_int_equal(ctr_nets_remove(w.nets, "a", &err), 0);
    assert_int_equal(add_as(&w, "{\"name\":\"e\"}", &err), 0);
    assert_string_equal(shown(&w, "e", "subnet", text), "10.89.129.0/24");
    world_restart(&w); /* it stays where it is, whatever the host's routes are now */
    assert_string_equal(shown(&w, "default", "subnet", text), "10.89.128.0/24");
    world_close(&w);
}

static void
subnets_run_out(void **state)
{
    static const char *const none[] = {NULL};
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    char text[64];
    open_with_routes(&w, "subnets = 10.77.0.0/23, 10.78.0.0/26", none);
    assert_string_equal(shown(&w, "default", "subnet", text), "10.88.0.0/16");
    assert_int_equal(add_as(&w, "{\"name\":\"a\"}", &err), 0);
    assert_int_equal(add_as(&w, "{\"name\":\"b\"}", &err), 0);
    assert_int_equal(add_as(&w, "{\"name\":\"c\"}", &err), 0);
    assert_string_equal(shown(&w, "c", "subnet", text), "10.78.0.0/26");
    assert_int_equal(add_as(&w, "{\"name\":\"d\"}", &err), -ENOSPC);
    assert_non_null(strstr(err.msg, "--subnet"));
    world_close(&w);
    /* Given in the profile: there and nowhere else. */
    static const char *const all[] = {"10.0.0.0/8", NULL};
    open_with_routes(&w, "subnet = 10.88.0.0/16", all);
    assert_string_equal(shown(&w, "default", "subnet", text), "10.88.0.0/16");
    world_close(&w);
}

static void
subnets_of_ipv6(void **state)
{
    static const char *const none[] = {NULL};
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    char a[64], b[64], text[64];
    open_with_routes(&w, "ipv6 = yes", none);
    assert_int_equal(strncmp(shown(&w, "default", "subnet6", a), "fd", 2), 0);
    assert_int_equal(add_as(&w, "{\"name\":\"b\",\"ipv6\":true}", &err), 0);
    assert_string_not_equal(shown(&w, "b", "subnet6", b), a);
    assert_int_equal(strncmp(a, b, strlen("fdxx:xxxx:")), 0);
    assert_int_equal(
        add_as(&w, "{\"name\":\"c\",\"subnet6\":\"fd00:7::/64\",\"gateway6\":\"fd00:7::9\"}",
               &err),
        0);
    assert_string_equal(shown(&w, "c", "gateway6", text), "fd00:7::9");
    assert_int_equal(add_as(&w, "{\"name\":\"d\",\"subnet6\":\"fd00:7::/48\"}", &err), -EEXIST);
    assert_non_null(strstr(err.msg, "network c"));
    assert_int_equal(
        add_as(&w, "{\"name\":\"d\",\"subnet\":\"10.70.0.0/16\",\"subnet6\":\"fd00:8::/120\"}",
               &err),
        -EINVAL);
    assert_int_equal(add_as(&w, "{\"name\":\"d\",\"mtu\":1000,\"ipv6\":true}", &err), -ERANGE);
    world_restart(&w);
    assert_string_equal(shown(&w, "b", "subnet6", text), b);
    world_close(&w);
}

static void
requests_that_are_wrong(void **state)
{
    static const struct {
        const char *request;
        int code;
        const char *says;
    } table[] = {
        {"{\"name\":\"host\"}", -EINVAL, "-p"},
        {"{\"name\":\"bridge\"}", -EEXIST, "always there"},
        {"{\"name\":\"default\"}", -EEXIST, "always there"},
        {"{\"name\":\"\"}", -EINVAL, "name"},
        {"{\"name\":\"x\",\"subnet\":\"10.70.0.0\"}", -EINVAL, "prefix"},
        {"{\"name\":\"x\",\"subnet\":\"fd00::/64\"}", -EINVAL, "IPv4"},
        {"{\"name\":\"x\",\"subnet\":\"10.70.0.0/24\",\"gateway\":\"10.71.0.1\"}", -EINVAL,
         "10.71.0.1"},
        {"{\"name\":\"x\",\"subnet\":\"10.70.0.0/24\",\"gateway\":\"10.70.0.255\"}", -EINVAL,
         "10.70.0.255"},
        {"{\"name\":\"x\",\"subnet\":\"10.70.0.0/24\",\"gateway\":\"10.70.0.0\"}", -EINVAL,
         "10.70.0.0"},
        {"{\"name\":\"x\",\"mtu\":70000}", -ERANGE, "70000"},
        {"{\"name\":\"x\",\"egress\":\"some\"}", -EINVAL, "some"},
        {"{\"name\":\"x\",\"allow\":[\"example.com\"]}", -EINVAL, "--egress deny"},
        {"{\"name\":\"x\",\"egress\":\"deny\",\"allow\":[\"a b\"]}", -EINVAL, "a b"},
        {"{\"name\":\"x\",\"labels\":{\"a\":1}}", -EINVAL, "label"},
        {"{\"name\":\"x\",\"driver\":\"absent\"}", -ENOENT, "net-absent.so"},
        {"{\"name\":\"x\",\"options\":{\"flosw\":\"1\"}}", -EINVAL, "flosw"},
    };
    struct world w;
    world_open(&w, SWITCH);
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        int code = add_as(&w, table[i].request, &err);
        if (code != table[i].code || strstr(err.msg, table[i].says) == NULL) {
            fail_msg("%s: %d %s", table[i].request, code, err.msg);
        }
    }
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *list = ctr_nets_list(w.nets, &err);
    assert_int_equal(json_array_size(list), 2); /* nothing is left of them */
    w.status = 1;
    world_close(&w);
}

static void
references(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    char id[65], part[13], text[64];
    world_open(&w, SWITCH);
    CTR_AUTO(json)
    json_t *request =
        json_pack("{s:s, s:{s:s}, s:b}", "name", "web", "labels", "a", "b", "isolated", 1);
    assert_int_equal(ctr_nets_add(w.nets, request, id, &err), 0);
    (void) snprintf(part, sizeof part, "%.12s", id);
    assert_string_equal(shown(&w, id, "name", text), "web");
    assert_string_equal(shown(&w, part, "name", text), "web");
    assert_null(ctr_nets_inspect(w.nets, "", &err));
    assert_null(ctr_nets_inspect(w.nets, "host", &err));
    assert_int_equal(err.code, -EINVAL);
    assert_int_equal(ctr_nets_remove(w.nets, "bridge", &err), -EPERM);
    assert_int_equal(ctr_nets_remove(w.nets, "none", &err), -EPERM);
    assert_int_equal(join_as(&w, part, "c1", "db", "", &err), 0);
    assert_int_equal(ctr_nets_remove(w.nets, "web", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "container db"));
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "c1", &err), 0);
    assert_int_equal(ctr_nets_remove(w.nets, part, &err), 0);
    assert_int_equal(ctr_nets_remove(w.nets, "web", &err), -ENOENT);
    world_close(&w);
}

static void
real_routes(void **state)
{
    struct ctr_routes routes;
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_address home;
    bool found = false;
    assert_int_equal(ctr_address_parse("127.0.0.1", &home), 0);
    assert_int_equal(ctr_routes_read(&routes, &err), 0);
    for (size_t i = 0; i < routes.n; i++) {
        assert_in_range(routes.list[i].prefix, 1, 128);
        found |= ctr_prefix_has(&routes.list[i].address, routes.list[i].prefix, &home);
    }
    assert_true(found);
    ctr_routes_free(&routes);
}

/* --- endpoints --- */

static void
expect_join(struct world *w, const char *network, const char *id, const char *settings,
            int code, const char *says)
{
    struct ctr_error err = CTR_ERROR_INIT;
    int got = join_as(w, network, id, id, settings, &err);
    if (got != code || (code != 0 && strstr(err.msg, says) == NULL)) {
        fail_msg("%s %s: %d %s", id, settings, got, err.msg);
    }
}

static json_t *
endpoint_of(struct world *w, const char *id, size_t i)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *all = ctr_nets_endpoints(w->nets, id, &err);
    return json_incref(json_array_get(all, i));
}

static void
expect_endpoint(struct world *w, const char *id, size_t i, const char *key, const char *value)
{
    CTR_AUTO(json) json_t *e = endpoint_of(w, id, i);
    assert_string_equal(ctr_json_str(e, key, "(none)"), value);
}

static void
static_addresses(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    world_open(&w, SWITCH);
    assert_int_equal(
        add_as(&w, "{\"name\":\"n\",\"subnet\":\"10.70.0.0/28\",\"subnet6\":\"fd00:7::/64\"}",
               &err),
        0);
    expect_join(&w, "n", "a",
                "{\"ip\":\"10.70.0.5\",\"ip6\":\"fd00:7:0::3\",\"mac\":\"06:00:00:00:00:0A\","
                "\"aliases\":[\"x\",\"y\"]}",
                0, "");
    expect_endpoint(&w, "a", 0, "address", "10.70.0.5");
    expect_endpoint(&w, "a", 0, "address6", "fd00:7::3");
    expect_endpoint(&w, "a", 0, "mac", "06:00:00:00:00:0a");
    expect_join(&w, "n", "a", "", -EEXIST, "on network n already");
    expect_join(&w, "n", "b", "{\"ip\":\"10.70.0.5\"}", -EEXIST,
                "10.70.0.5 is that of container a");
    expect_join(&w, "n", "b", "{\"ip6\":\"fd00:7::3\"}", -EEXIST,
                "fd00:7::3 is that of container a");
    expect_join(&w, "n", "b", "{\"ip\":\"10.70.0.3\"}", -EEXIST,
                "fd00:7::3 is that of container a");
    expect_join(&w, "n", "b", "{\"mac\":\"06:00:00:00:00:0a\"}", -EEXIST,
                "is that of container a");
    expect_join(&w, "n", "b", "{\"mac\":\"02:42:0a:46:00:07\"}", -EEXIST, "another interface");
    expect_join(&w, "n", "b", "{\"mac\":\"02:fe:00:00:00:01\"}", -EEXIST, "another interface");
    expect_join(&w, "n", "b", "{\"mac\":\"01:00:00:00:00:01\"}", -EINVAL, "even");
    expect_join(&w, "n", "b", "{\"ip\":\"10.70.0.1\"}", -EEXIST, "network n itself");
    expect_join(&w, "n", "b", "{\"ip\":\"10.70.0.14\"}", -EEXIST, "network n itself");
    expect_join(&w, "n", "b", "{\"ip\":\"10.70.0.15\"}", -EINVAL, "10.70.0.0/28");
    expect_join(&w, "n", "b", "{\"ip\":\"10.71.0.5\"}", -EINVAL, "10.70.0.0/28");
    expect_join(&w, "n", "b", "{\"ip\":\"x\"}", -EINVAL, "IPv4");
    expect_join(&w, "n", "b", "{\"ip6\":\"fd00:7::1\"}", -EEXIST, "network n itself");
    expect_join(&w, "n", "b", "{\"ip6\":\"fd00:8::1\"}", -EINVAL, "fd00:7::/64");
    expect_join(&w, "n", "b", "{\"mtu\":100}", -ERANGE, "100");
    expect_join(&w, "n", "b", "{\"aliases\":[\"a b\"]}", -EINVAL, "a b");
    expect_join(&w, "default", "b", "{\"ip6\":\"fd00:7::7\"}", -EINVAL, "no IPv6");
    /* .2 is free; .3 is not, for its IPv6 address is a's. */
    expect_join(&w, "n", "b", "", 0, "");
    expect_join(&w, "n", "c", "", 0, "");
    expect_endpoint(&w, "b", 0, "address", "10.70.0.2");
    expect_endpoint(&w, "b", 0, "address6", "fd00:7::2");
    expect_endpoint(&w, "b", 0, "mac", "02:42:0a:46:00:02");
    expect_endpoint(&w, "c", 0, "address", "10.70.0.4");
    world_restart(&w);
    expect_endpoint(&w, "a", 0, "address6", "fd00:7::3");
    expect_endpoint(&w, "a", 0, "mac", "06:00:00:00:00:0a");
    expect_join(&w, "n", "d", "{\"ip6\":\"fd00:7::3\"}", -EEXIST, "container a");
    expect_join(&w, "n", "d", "{\"ip6\":\"fd00:7::4\"}", -EEXIST, "container c");
    assert_int_equal(ctr_nets_leave(w.nets, "n", "a", &err), 0);
    expect_join(&w, "n", "d", "{\"ip6\":\"fd00:7::3\",\"ip\":\"10.70.0.5\"}", 0, "");
    world_close(&w);
}

static void
several_networks(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    world_open(&w, SWITCH);
    assert_int_equal(add(w.nets, "zz", "10.70.0.0/24", false, &err), 0);
    assert_int_equal(add(w.nets, "aa", "10.71.0.0/24", true, &err), 0);
    expect_join(&w, "zz", "c", "", 0, "");
    expect_join(&w, "aa", "c", "{\"aliases\":[\"db\"]}", 0, "");
    expect_join(&w, "default", "c", "", 0, "");
    expect_join(&w, "none", "c", "", -EINVAL, "none goes with no other");
    expect_join(&w, "none", "n", "", 0, "");
    expect_join(&w, "zz", "n", "", -EINVAL, "network none");
    expect_join(&w, "aa", "d", "{\"mac\":\"06:00:00:00:00:01\"}", 0, "");
    expect_join(&w, "zz", "d", "{\"mac\":\"06:00:00:00:00:01\"}", -EEXIST, "container d");
    assert_int_equal(ctr_nets_rename(w.nets, "c", "other", &err), 0);
    world_restart(&w);
    expect_endpoint(&w, "c", 0, "network", "zz");
    expect_endpoint(&w, "c", 1, "network", "aa");
    expect_endpoint(&w, "c", 2, "network", "default");
    expect_endpoint(&w, "n", 0, "network", "none");
    expect_join(&w, "zz", "e", "{\"ip\":\"10.70.0.2\"}", -EEXIST, "container other");
    assert_int_equal(ctr_nets_leave(w.nets, "aa", "c", &err), 0);
    assert_int_equal(ctr_nets_leave(w.nets, "aa", "c", &err), -ENOENT);
    expect_endpoint(&w, "c", 1, "network", "default");
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "c", &err), 0);
    CTR_AUTO(json) json_t *gone = endpoint_of(&w, "c", 0);
    assert_null(gone);
    world_close(&w);
}

/* --- many at once --- */

#define THREADS 8

struct churn {
    pthread_t thread;
    struct world *world;
    const char *network;
    int number, rounds;
    size_t joined, full;
    bool wrong;
};

/* Joins a few, checks them, leaves all but the last of each round; that one stays. */
static void *
churn(void *arg)
{
    struct churn *c = arg;
    for (int i = 0; i < c->rounds && !c->wrong; i++) {
        for (int j = 0; j < 5; j++) {
            struct ctr_error err = CTR_ERROR_INIT;
            char id[32];
            (void) snprintf(id, sizeof id, "t%d-%d-%d", c->number, i, j);
            int code = join_as(c->world, c->network, id, id, "", &err);
            c->joined += code == 0;
            c->full += code == -ENOSPC;
            c->wrong |= code != 0 && code != -ENOSPC;
        }
        for (int j = 0; j < 4; j++) {
            struct ctr_error err = CTR_ERROR_INIT;
            char id[32];
            (void) snprintf(id, sizeof id, "t%d-%d-%d", c->number, i, j);
            int code = ctr_nets_leave(c->world->nets, c->network, id, &err);
            c->wrong |= code != 0 && code != -ENOENT;
        }
    }
    return NULL;
}

/* Every address once, and as many as there are containers; returns how many. */
static size_t
check_network(struct world *w, const char *network)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *n = ctr_nets_inspect(w->nets, network, &err);
    CTR_AUTO(json) json_t *seen = json_object();
    const json_t *containers = json_object_get(n, "containers");
    const char *id;
    json_t *c;
    json_object_foreach((json_t *) (uintptr_t) containers, id, c)
    {
        const char *address = ctr_json_str(c, "address", "");
        assert_string_not_equal(address, "");
        assert_null(json_object_get(seen, address));
        (void) json_object_set_new(seen, address, json_true());
    }
    return json_object_size(seen);
}

/* Until it says that it is full: how many more fit. */
static size_t
fill_up(struct world *w, const char *network, const char *prefix)
{
    for (size_t n = 0;; n++) {
        struct ctr_error err = CTR_ERROR_INIT;
        char id[32];
        (void) snprintf(id, sizeof id, "%s-%zu", prefix, n);
        int code = join_as(w, network, id, id, "", &err);
        if (code != 0) {
            assert_int_equal(code, -ENOSPC);
            assert_non_null(strstr(err.msg, "is full"));
            return n;
        }
    }
}

static void
churn_network(struct world *w, const char *network, size_t room)
{
    static struct churn churns[THREADS];
    const char *rounds = getenv("CTR_NET_ROUNDS");
    size_t joined = 0;
    for (int i = 0; i < THREADS; i++) {
        churns[i] = (struct churn){.world = w,
                                   .network = network,
                                   .number = i,
                                   .rounds = rounds == NULL ? 5 : atoi(rounds)};
        assert_int_equal(pthread_create(&churns[i].thread, NULL, churn, &churns[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        (void) pthread_join(churns[i].thread, NULL);
        assert_false(churns[i].wrong);
        joined += churns[i].joined;
    }
    assert_true(joined >= (size_t) THREADS * 5 / 2);
    size_t there = check_network(w, network);
    world_restart(w);
    assert_int_equal(check_network(w, network), there);
    assert_int_equal(there + fill_up(w, network, "fill"), room); /* none is lost */
    assert_int_equal(check_network(w, network), room);
}

static void
two_hundred(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    world_open(&w, SWITCH);
    assert_int_equal(add(w.nets, "small", "10.70.0.0/26", false, &err), 0);
    assert_int_equal(add(w.nets, "large", "10.71.0.0/24", false, &err), 0);
    churn_network(&w, "small", 60);
    churn_network(&w, "large", 252);
    world_close(&w);
}

/* --- kill -9 --- */

static void
churn_until_killed(struct world *w)
{
    struct ctr_error err = CTR_ERROR_INIT;
    world_start(w);
    for (int i = 0;; i = (i + 1) % 40) {
        char id[16], settings[64];
        (void) snprintf(id, sizeof id, "c%d", i);
        (void) snprintf(settings, sizeof settings, "{\"ip6\":\"fd00:7::%d\"}", 100 + i);
        (void) join_as(w, "n", id, id, i % 2 == 0 ? settings : "", &err);
        (void) snprintf(id, sizeof id, "c%d", (i + 20) % 40);
        (void) ctr_nets_leave(w->nets, "n", id, &err);
    }
}

static int
count_record(void *arg, const char *key, const json_t *value)
{
    (*(size_t *) arg)++;
    return 0;
}

static void
killed_at_any_time(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    const char *rounds = getenv("CTR_NET_ROUNDS");
    world_open(&w, SWITCH);
    assert_int_equal(
        add_as(&w, "{\"name\":\"n\",\"subnet\":\"10.70.0.0/26\",\"subnet6\":\"fd00:7::/64\"}",
               &err),
        0);
    for (int i = 0; i < (rounds == NULL ? 8 : atoi(rounds)); i++) {
        world_stop(&w);
        pid_t pid = fork();
        if (pid == 0) {
            churn_until_killed(&w);
        }
        (void) usleep((useconds_t) (20000 + (i * 7919) % 60000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        world_start(&w);
        size_t there = check_network(&w, "n"), own6 = 0, records = 0;
        for (const struct ctr_endpoint *e = w.nets->endpoints; e != NULL; e = e->next) {
            own6 += e->own6;
        }
        assert_int_equal(ctr_record_each(w.store, "lease", count_record, &records, &err), 0);
        assert_int_equal(records, there + own6); /* no claim without an owner */
    }
    size_t there = check_network(&w, "n");
    assert_int_equal(there + fill_up(&w, "n", "fill"), 60);
    world_close(&w);
}

/* --- records of an earlier version --- */

static void
earlier_records(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    char text[64], id[65];
    memset(id, 'a', 64);
    id[64] = '\0';
    world_open_with(&w, "", SWITCH, NULL);
    CTR_AUTO(json)
    json_t *network = json_pack("{s:s, s:s, s:s, s:i, s:b, s:s, s:I}", "name", "default",
                                "driver", "switch", "subnet", "10.88.0.0/16", "mtu", 1500,
                                "internal", 0, "id", id, "created", (json_int_t) 5);
    CTR_AUTO(json) json_t *lease = json_pack("{s:s}", "container", "0123456789abcdef");
    assert_int_equal(ctr_record_put(w.store, "network", "default", network, &err), 0);
    assert_int_equal(ctr_record_put(w.store, "lease", "default/10.88.0.7", lease, &err), 0);
    assert_int_equal(ctr_record_put(w.store, "lease", "gone/10.99.0.7", lease, &err), 0);
    assert_int_equal(ctr_record_put(w.store, "lease", "default/x", lease, &err), 0);
    world_restart(&w);
    assert_int_equal(strncmp(shown(&w, "default", "id", text), id, 63), 0);
    assert_string_equal(shown(&w, "default", "gateway", text), "10.88.0.1");
    assert_string_equal(shown(&w, "default", "driver", text), "switch");
    expect_endpoint(&w, "0123456789abcdef", 0, "address", "10.88.0.7");
    expect_endpoint(&w, "0123456789abcdef", 0, "mac", "02:42:0a:58:00:07");
    expect_join(&w, "default", "b", "{\"ip\":\"10.88.0.7\"}", -EEXIST,
                "container 0123456789ab");
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "0123456789abcdef", &err), 0);
    expect_join(&w, "default", "b", "{\"ip\":\"10.88.0.7\"}", 0, "");
    world_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subnets_avoid_routes), cmocka_unit_test(subnets_run_out),
        cmocka_unit_test(subnets_of_ipv6),      cmocka_unit_test(requests_that_are_wrong),
        cmocka_unit_test(references),           cmocka_unit_test(real_routes),
        cmocka_unit_test(static_addresses),     cmocka_unit_test(several_networks),
        cmocka_unit_test(two_hundred),          cmocka_unit_test(killed_at_any_time),
        cmocka_unit_test(earlier_records),
    };
    return cmocka_run_group_tests_name("net-address", tests, prepare, clean);
}
