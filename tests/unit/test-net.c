/*
 * core/net: leases, and a real ctr-net with the real net-switch.
 */
#include "tests/unit/net-fixture.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>

/* --- text --- */

static void
addresses(void **state)
{
    static const char *const bad[] = {"",          "1",         "1.2.3",      "1.2.3.4.5",
                                      "1.2.3.256", "01.2.3.4",  "1.2.3.4 ",   " 1.2.3.4",
                                      "1.2.3.-4",  "0x1.2.3.4", "1..2.3",     "1.2.3.",
                                      "1.2.3.4/8", "1.2.3.400", "1111.2.3.4", "a.b.c.d"};
    uint32_t address = 7;
    char text[16];
    assert_int_equal(ctr_ipv4_parse("10.88.0.2", &address), 0);
    assert_int_equal(address, 0x0a580002);
    assert_string_equal(ctr_ipv4_format(address, text), "10.88.0.2");
    assert_int_equal(ctr_ipv4_parse("255.255.255.255", &address), 0);
    assert_string_equal(ctr_ipv4_format(address, text), "255.255.255.255");
    for (size_t i = 0; i < CTR_LENGTH(bad); i++) {
        address = 7;
        assert_int_equal(ctr_ipv4_parse(bad[i], &address), -EINVAL);
        assert_int_equal(address, 7);
    }
}

/* --- networks and leases --- */

static void
networks(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    world_open(&w, SWITCH);
    assert_null(ctr_nets_inspect(w.nets, "nowhere", &err));
    assert_int_equal(err.code, -ENOENT);
    assert_non_null(strstr(err.msg, "nowhere"));
    assert_int_equal(add(w.nets, "x", "10.89.0.1/24", false, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "10.89.0.0/24"));
    assert_int_equal(add(w.nets, "x", "10.89.0.0/30", false, &err), -EINVAL);
    assert_int_equal(add(w.nets, "x", "10.0.0.0/8", false, &err), -EEXIST);
    assert_int_equal(add(w.nets, "../x", "10.89.0.0/24", false, &err), -EINVAL);
    assert_int_equal(add(w.nets, "none", "10.89.0.0/24", false, &err), -EEXIST);
    assert_int_equal(add(w.nets, "x", "10.89.0.0/24", true, &err), 0);
    assert_int_equal(add(w.nets, "x", "10.90.0.0/24", true, &err), -EEXIST);
    world_restart(&w);
    CTR_AUTO(json) json_t *list = ctr_nets_list(w.nets, &err);
    assert_int_equal(json_array_size(list), 3); /* default, none, x */
    CTR_AUTO(json) json_t *x = ctr_nets_inspect(w.nets, "x", &err);
    assert_string_equal(ctr_json_str(x, "subnet", ""), "10.89.0.0/24");
    assert_string_equal(ctr_json_str(x, "gateway", ""), "10.89.0.1");
    assert_string_equal(ctr_json_str(x, "driver", ""), "switch");
    assert_true(ctr_json_bool(x, "internal", false));
    assert_int_equal(strlen(ctr_json_str(x, "id", "")), 64);
    world_close(&w);
}

static void
leases(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct net_port at[5], again;
    char id[24];
    world_open(&w, SWITCH);
    for (int i = 0; i < 4; i++) { /* .2 to .5: all that a /29 has */
        (void) snprintf(id, sizeof id, "c%d", i);
        join(&w, "default", id, &at[i]);
        close_port(&at[i]);
    }
    assert_string_equal(at[0].address, "10.88.0.2");
    assert_string_equal(at[0].mac, "02:42:0a:58:00:02");
    assert_string_equal(at[0].gateway, "10.88.0.1");
    assert_int_equal(at[0].prefix, 29);
    assert_int_equal(at[0].mtu, 65520);
    assert_int_equal(at[0].kind, CTR_PORT_DGRAM);
    assert_string_equal(at[3].address, "10.88.0.5");
    assert_int_equal(connect_to(&w, "default", "c4", NULL, &at[4], NULL, &err), -ENOSPC);
    assert_non_null(strstr(err.msg, "10.88.0.0/29"));
    /* Kept while the container is off, and over a restart; given back by rm alone. */
    assert_int_equal(ctr_nets_down(w.nets, "c1", &err), 0);
    assert_int_equal(ctr_nets_down(w.nets, "c1", &err), 0);
    assert_int_equal(connect_to(&w, "default", "c4", NULL, &at[4], NULL, &err), -ENOSPC);
    world_restart(&w);
    assert_int_equal(connect_to(&w, "default", "c4", NULL, &at[4], NULL, &err), -ENOSPC);
    join(&w, "default", "c1", &again);
    assert_string_equal(again.address, at[1].address);
    close_port(&again);
    CTR_AUTO(json) json_t *seen = ctr_nets_inspect(w.nets, "default", &err);
    const json_t *all = json_object_get(seen, "containers");
    assert_int_equal(json_object_size(all), 4);
    assert_string_equal(ctr_json_str(json_object_get(all, "c1"), "address", ""), "10.88.0.3");
    assert_int_equal(ctr_nets_leave(w.nets, "default", "c1", &err), 0);
    assert_int_equal(ctr_nets_leave(w.nets, "default", "c1", &err), -ENOENT);
    join(&w, "default", "c4", &at[4]);
    assert_string_equal(at[4].address, at[1].address);
    close_port(&at[4]);
    for (int i = 0; i < 5; i++) {
        (void) snprintf(id, sizeof id, "c%d", i);
        assert_int_equal(ctr_nets_leave(w.nets, "default", id, &err), i == 1 ? -ENOENT : 0);
    }
    assert_int_equal(ports_of(&w, "default"), 0);
    world_close(&w);
}

struct racer {
    pthread_t thread;
    struct world *world;
    char id[24];
    char addresses[8][16];
};

static void *
race(void *arg)
{
    struct racer *r = arg;
    for (int i = 0; i < 8; i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        struct net_port at;
        char id[48];
        (void) snprintf(id, sizeof id, "%s-%d", r->id, i);
        if (connect_to(r->world, "big", id, NULL, &at, NULL, &err) == 0) {
            (void) snprintf(r->addresses[i], sizeof r->addresses[i], "%s", at.address);
            close_port(&at);
        }
    }
    return NULL;
}

static void
threads(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    static struct racer racers[6];
    world_open(&w, SWITCH);
    assert_int_equal(add(w.nets, "big", "10.89.0.0/24", false, &err), 0);
    for (size_t i = 0; i < CTR_LENGTH(racers); i++) {
        racers[i].world = &w;
        (void) snprintf(racers[i].id, sizeof racers[i].id, "r%zu", i);
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    CTR_AUTO(json) json_t *seen = json_object();
    for (size_t i = 0; i < CTR_LENGTH(racers); i++) {
        (void) pthread_join(racers[i].thread, NULL);
        for (int j = 0; j < 8; j++) {
            assert_string_not_equal(racers[i].addresses[j], "");
            (void) json_object_set_new(seen, racers[i].addresses[j], json_true());
        }
    }
    assert_int_equal(json_object_size(seen), 48); /* no address twice */
    assert_int_equal(ports_of(&w, "big"), 48);
    CTR_AUTO(json) json_t *stopped = ask(&w, "big", "stop");
    assert_non_null(stopped);
    world_close(&w);
}

/* --- ctr-net's life --- */

static void
ctr_net_is_found_again(void **state)
{
    struct world w;
    struct net_port a, b;
    world_open(&w, SWITCH);
    join(&w, "default", "a", &a);
    pid_t pid = pid_of(&w, "default");
    world_restart(&w); /* as ctrd's */
    join(&w, "default", "b", &b);
    assert_int_equal(pid_of(&w, "default"), pid);
    assert_int_equal(ports_of(&w, "default"), 2);
    /* A's VM ended unseen: its container starts anew. */
    close_port(&a);
    join(&w, "default", "a", &a);
    assert_int_equal(ports_of(&w, "default"), 2);
    /* ctr-net dies: the next start has a new one. */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close_port(&a);
    join(&w, "default", "a", &a);
    assert_int_not_equal(pid_of(&w, "default"), pid);
    assert_string_equal(a.address, "10.88.0.2");
    assert_int_equal(ports_of(&w, "default"), 1);
    /* It is not stopped while it is used. */
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_nets_stop(w.nets, NULL, &err), 0);
    assert_int_equal(ports_of(&w, "default"), 1);
    assert_int_equal(ctr_nets_down(w.nets, "a", &err), 0);
    close_port(&a);
    close_port(&b);
    world_close(&w);
}

static void
profile_changes(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct net_port a;
    world_open(&w, SWITCH);
    join(&w, "default", "a", &a);
    close_port(&a);
    pid_t pid = pid_of(&w, "default");
    w.conf->engine.subnet[strlen("10.8")] = '9'; /* 10.89.0.0/29 */
    world_restart(&w);
    join(&w, "default", "a", &a); /* it has its address: the network stays as it is */
    assert_string_equal(a.address, "10.88.0.2");
    close_port(&a);
    assert_int_equal(ctr_nets_leave(w.nets, "default", "a", &err), 0);
    world_restart(&w);
    join(&w, "default", "a", &a);
    assert_string_equal(a.address, "10.89.0.2");
    assert_int_not_equal(pid_of(&w, "default"), pid);
    close_port(&a);
    /* Another plugin: once nobody is attached. */
    char *plugin = NULL;
    for (size_t i = 0; i < w.conf->n_instances; i++) {
        if (w.conf->instances[i].kind == CTR_KIND_NET) {
            plugin = w.conf->instances[i].plugin;
        }
    }
    assert_non_null(plugin);
    (void) snprintf(plugin, strlen("switch") + 1, "none");
    world_restart(&w);
    join(&w, "default", "b", &a);
    assert_int_not_equal(a.fd, -1);
    close_port(&a);
    assert_int_equal(ctr_nets_down(w.nets, "a", &err), 0);
    assert_int_equal(ctr_nets_down(w.nets, "b", &err), 0);
    world_restart(&w);
    join(&w, "default", "b", &a);
    assert_int_equal(a.fd, -1);
    world_close(&w);
}

static json_t *
wish(const char *host, int host_port, int port)
{
    return json_pack("{s:s, s:s, s:i, s:i}", "proto", "tcp", "host_address", host, "host_port",
                     host_port, "port", port);
}

static void
publishing(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct net_port a, b = {.fd = -7};
    json_t *published = NULL;
    world_open(&w, SWITCH);
    CTR_AUTO(json)
    json_t *two = json_pack("[o, o]", wish("127.0.0.1", 0, 80), wish("127.0.0.1", 0, 81));
    assert_int_equal(connect_to(&w, "default", "a", two, &a, &published, &err), 0);
    assert_int_equal(json_array_size(published), 2);
    int port = (int) ctr_json_int(json_array_get(published, 0), "host_port", 0);
    assert_in_range(port, 1, 65535);
    assert_int_equal(ctr_json_int(json_array_get(published, 1), "port", 0), 81);
    json_decref(published);
    published = NULL;
    /* The second of these is taken: none of it is left. */
    CTR_AUTO(json)
    json_t *taken = json_pack("[o, o]", wish("127.0.0.1", 0, 80), wish("127.0.0.1", port, 80));
    assert_int_equal(connect_to(&w, "default", "b", taken, &b, &published, &err), -EADDRINUSE);
    char says[64];
    (void) snprintf(says, sizeof says, "port %d is already in use on 127.0.0.1", port);
    assert_non_null(strstr(err.msg, says));
    assert_int_equal(b.fd, -7);
    assert_null(published);
    assert_int_equal(ports_of(&w, "default"), 1);
    /* With a gone, it is free. */
    assert_int_equal(ctr_nets_down(w.nets, "a", &err), 0);
    assert_int_equal(connect_to(&w, "default", "b", taken, &b, &published, &err), 0);
    assert_int_equal(ctr_json_int(json_array_get(published, 1), "host_port", 0), port);
    json_decref(published);
    assert_int_equal(ctr_nets_down(w.nets, "b", &err), 0);
    close_port(&a);
    close_port(&b);
    world_close(&w);
}

static void
nothing_to_connect(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct net_port at;
    json_t *published = NULL;
    CTR_AUTO(json) json_t *one = json_pack("[o]", wish("127.0.0.1", 0, 80));
    world_open(&w, SWITCH);
    assert_int_equal(connect_to(&w, "none", "a", NULL, &at, &published, &err), 0);
    assert_int_equal(at.fd, -1);
    assert_string_equal(at.address, "");
    assert_int_equal(json_array_size(published), 0);
    json_decref(published);
    assert_int_equal(connect_to(&w, "none", "a", one, &at, NULL, &err), -EINVAL);
    assert_int_equal(ctr_nets_down(w.nets, "a", &err), 0);
    assert_int_equal(ctr_nets_leave(w.nets, "none", "a", &err), 0);
    assert_int_equal(connect_to(&w, "nowhere", "a", NULL, &at, NULL, &err), -ENOENT);
    assert_int_equal(join_as(&w, "default", "a", "a", "", &err), 0);
    assert_int_equal(bring_up(&w, "a", CTR_PORT_TAP, NULL, &at, NULL, &err), -EOPNOTSUPP);
    world_close(&w);

    world_open(&w, "[net]\nplugin = none\n");
    assert_int_equal(connect_to(&w, "default", "a", NULL, &at, NULL, &err), 0);
    assert_int_equal(at.fd, -1);
    world_close(&w);

    world_open(&w, "[net]\nplugin = absent\n");
    assert_int_equal(connect_to(&w, "default", "a", NULL, &at, NULL, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "net-absent.so"));
    world_close(&w);

    world_open(&w, "[net]\nplugin = switch\n[net.switch]\nflows = 0\n");
    w.status = 1; /* it refuses to start */
    assert_true(connect_to(&w, "default", "a", NULL, &at, NULL, &err) < 0);
    assert_non_null(strstr(err.msg, "flows"));
    world_close(&w);
}

/* Sends text to ctr-net; returns the reply's line, or NULL if it closed the connection. Caller frees. */
static char *
say(const struct world *w, const char *text, size_t length)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *path = ctr_printf("%s/run/n/default.sock", w->folder);
    CTR_AUTO(fd) int fd = ctr_unix_connect(path, &err);
    assert_true(fd >= 0);
    for (size_t sent = 0; sent < length;) {
        ssize_t n = send(fd, text + sent, length - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            break; /* it has closed already */
        }
        sent += (size_t) n;
    }
    return ctr_read_line(fd, 65536, NULL, &err);
}

static void
hostile_requests(void **state)
{
    static const char *const lines[] = {
        "\n",
        "x\n",
        "[]\n",
        "{\"op\":7}\n",
        "{\"op\":\"attach\"}\n",
        "{\"op\":\"attach\",\"id\":\"b\",\"mac\":\"02:42:0A:58:00:03\",\"address\":\"10.88.0."
        "3\",\"kind\":1}\n",
        "{\"op\":\"attach\",\"id\":\"b\",\"mac\":\"02:42:0a:58:00:03\",\"address\":\"10.88.0."
        "3\",\"kind\":3}\n",
        "{\"op\":\"attach\",\"id\":\"b\",\"mac\":\"02:42:0a:58:00:03\",\"address\":\"10.88.0."
        "3\",\"kind\":-1}\n",
        "{\"op\":\"attach\",\"id\":\"../"
        "b\",\"mac\":\"02:42:0a:58:00:03\",\"address\":\"10.88.0.3\",\"kind\":1}\n",
        "{\"op\":\"detach\",\"id\":\"nobody\"}\n",
        "{\"op\":\"publish\",\"proto\":\"tcp\",\"port\":0,\"address\":\"10.88.0.2\"}\n",
        "{\"op\":\"publish\",\"proto\":\"tcp\",\"port\":1,\"host_port\":70000,\"address\":\"10."
        "88.0.2\"}\n",
        "{\"op\":\"publish\",\"proto\":\"tcp\",\"port\":1,\"address\":\"10.88.0.6\"}\n",
        "{\"op\":\"unpublish\",\"proto\":\"udp\",\"port\":1,\"host_port\":1,\"address\":\"10."
        "88.0.2\"}\n",
        "{\"op\":\"stats\",\"id\":\"nobody\"}\n",
    };
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct net_port a;
    world_open(&w, SWITCH);
    join(&w, "default", "a", &a);
    for (size_t i = 0; i < CTR_LENGTH(lines); i++) {
        CTR_AUTO(free) char *reply = say(&w, lines[i], strlen(lines[i]));
        assert_non_null(reply);
        if (strncmp(reply, "{\"error\":", 9) != 0) {
            fail_msg("%s-> %s", lines[i], reply);
        }
    }
    size_t length = 1 << 20;
    CTR_AUTO(free) char *large = malloc(length);
    memset(large, 'x', length);
    assert_null(say(&w, large, length)); /* no end of a line in sight: closed */
    assert_int_equal(ports_of(&w, "default"), 1);
    assert_int_equal(ctr_nets_leave(w.nets, "default", "a", &err), 0);
    close_port(&a);
    world_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(networks),
        cmocka_unit_test(leases),
        cmocka_unit_test(threads),
        cmocka_unit_test(ctr_net_is_found_again),
        cmocka_unit_test(profile_changes),
        cmocka_unit_test(publishing),
        cmocka_unit_test(nothing_to_connect),
        cmocka_unit_test(hostile_requests),
    };
    return cmocka_run_group_tests_name("net", tests, prepare, clean);
}
