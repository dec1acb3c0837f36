/*
 * core/net: ctr-nets that die, alone or together with ctrd, and come back with ports, published ports and names; networks joined while running.
 *
 * Machines are the socket pairs themselves: what one sends as a broadcast, the other receives, if the switch between them has both ports.
 */
#include "tests/unit/net-fixture.h"
/* after the headers that it needs */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#define RETURN_MS 2000 /* what is promised */

/* What runs machines: their network ends, and what it was told. */
static struct {
    pthread_mutex_t mutex;
    struct kept {
        char container[16], hardware[18];
        int fd;
    } kept[16];
    size_t n;
    unsigned lost, restored, connect, disconnect, asked;
} machines = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static int
give_port(void *arg, const char *container, const char *hardware, struct ctr_error *err)
{
    int fd = -1;
    (void) pthread_mutex_lock(&machines.mutex);
    machines.asked++;
    for (size_t i = 0; i < machines.n; i++) {
        if (strcmp(machines.kept[i].container, container) == 0 &&
            strcmp(machines.kept[i].hardware, hardware) == 0) {
            fd = fcntl(machines.kept[i].fd, F_DUPFD_CLOEXEC, 3);
        }
    }
    (void) pthread_mutex_unlock(&machines.mutex);
    return fd >= 0 ? fd : ctr_fail(err, -ENOENT, "%s does not run", container);
}

static void
take_event(void *arg, const json_t *event)
{
    const char *action = ctr_json_str(event, "action", "");
    (void) pthread_mutex_lock(&machines.mutex);
    machines.lost += strcmp(action, "lost") == 0;
    machines.restored += strcmp(action, "restored") == 0;
    machines.connect += strcmp(action, "connect") == 0;
    machines.disconnect += strcmp(action, "disconnect") == 0;
    (void) pthread_mutex_unlock(&machines.mutex);
}

static const struct ctr_nets_hooks hooks = {.port = give_port, .event = take_event};

static void
keep_port(const char *container, const char *hardware, int fd)
{
    (void) pthread_mutex_lock(&machines.mutex);
    struct kept *kept = &machines.kept[machines.n++];
    (void) snprintf(kept->container, sizeof kept->container, "%s", container);
    (void) snprintf(kept->hardware, sizeof kept->hardware, "%s", hardware);
    kept->fd = fd;
    (void) pthread_mutex_unlock(&machines.mutex);
}

static unsigned
told(const unsigned *count)
{
    (void) pthread_mutex_lock(&machines.mutex);
    unsigned n = *count;
    (void) pthread_mutex_unlock(&machines.mutex);
    return n;
}

static void
open_world(struct world *w)
{
    machines.n = 0;
    machines.lost = machines.restored = machines.connect = machines.disconnect = 0;
    machines.asked = 0;
    world_open_with(w, "subnet = 10.88.0.0/24", SWITCH, &hooks);
}

/* Up, with its network's end kept as a sandbox keeps it. */
static void
boot(struct world *w, const char *id, const json_t *publish, struct net_port *ret,
     json_t **ret_published)
{
    struct ctr_error err = CTR_ERROR_INIT;
    if (connect_to(w, "default", id, publish, ret, ret_published, &err) != 0) {
        fail_msg("%s: %s", id, err.msg);
    }
    keep_port(id, ret->mac, ret->keep);
}

static void
kill_net(const struct world *w, const char *network)
{
    pid_t pid = pid_of(w, network);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* A broadcast of a machine with that address: who has the other one? */
static void
send_question(int fd, const struct net_port *from, const struct net_port *to)
{
    uint8_t frame[42] = {255, 255, 255, 255, 255, 255};
    static const uint8_t arp[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
    unsigned mac[6];
    assert_int_equal(sscanf(from->mac, "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3],
                            &mac[4], &mac[5]),
                     6);
    for (size_t i = 0; i < 6; i++) {
        frame[6 + i] = frame[22 + i] = (uint8_t) mac[i];
    }
    memcpy(frame + 12, arp, sizeof arp);
    assert_int_equal(inet_pton(AF_INET, from->address, frame + 28), 1);
    assert_int_equal(inet_pton(AF_INET, to->address, frame + 38), 1);
    (void) send(fd, frame, sizeof frame, MSG_DONTWAIT);
}

/* True once a frame of the sender arrives; asks again until the time is over. */
static bool
reaches(const struct net_port *from, const struct net_port *to, int ms)
{
    int64_t deadline = ctr_monotonic_ns() + ms * INT64_C(1000000);
    uint8_t frame[2048];
    char sender[16];
    while (ctr_monotonic_ns() < deadline) {
        struct pollfd p = {.fd = to->fd, .events = POLLIN};
        send_question(from->fd, from, to);
        while (poll(&p, 1, 10) > 0) {
            ssize_t n = recv(to->fd, frame, sizeof frame, MSG_DONTWAIT);
            if (n >= 42 && frame[12] == 8 && frame[13] == 6 &&
                inet_ntop(AF_INET, frame + 28, sender, sizeof sender) != NULL &&
                strcmp(sender, from->address) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool
accepts(int port, int ms)
{
    int64_t deadline = ctr_monotonic_ns() + ms * INT64_C(1000000);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t) port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    do {
        CTR_AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *) &address, sizeof address) == 0) {
            return true;
        }
        (void) usleep(5000);
    } while (ctr_monotonic_ns() < deadline);
    return false;
}

static void
wait_for(const unsigned *count, unsigned n)
{
    for (int i = 0; i < 1000 && told(count) < n; i++) {
        (void) usleep(5000);
    }
    assert_true(told(count) >= n);
}

static void
ctr_net_returns(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct net_port a, b;
    CTR_AUTO(json)
    json_t *publish = json_pack("[{s:s, s:s, s:i, s:i}]", "proto", "tcp", "host_address",
                                "127.0.0.1", "host_port", 0, "port", 80);
    CTR_AUTO(json) json_t *published = NULL;
    open_world(&w);
    boot(&w, "a", publish, &a, &published);
    boot(&w, "b", NULL, &b, NULL);
    int port = (int) ctr_json_int(json_array_get(published, 0), "host_port", 0);
    assert_true(reaches(&a, &b, RETURN_MS));
    assert_true(accepts(port, 1000));
    for (unsigned i = 1; i <= 3; i++) {
        kill_net(&w, "default");
        int64_t before = ctr_monotonic_ns();
        assert_true(reaches(&a, &b, RETURN_MS));
        assert_true(accepts(port, RETURN_MS));
        int64_t took = (ctr_monotonic_ns() - before) / 1000000;
        print_message("back after %lld ms\n", (long long) took);
        assert_true(took < RETURN_MS);
        wait_for(&machines.restored, i);
        assert_int_equal(told(&machines.lost), i);
        assert_int_equal(ports_of(&w, "default"), 2);
    }
    /* Nobody is up: then nobody starts it. */
    assert_int_equal(ctr_nets_down(w.nets, "a", &err), 0);
    assert_int_equal(ctr_nets_down(w.nets, "b", &err), 0);
    kill_net(&w, "default");
    CTR_AUTO(json) json_t *n = ctr_nets_inspect(w.nets, "default", &err);
    assert_false(ctr_json_bool(n, "running", true));
    assert_int_equal(told(&machines.lost), 3);
    assert_int_equal(told(&machines.connect), 2);
    assert_int_equal(told(&machines.disconnect), 2);
    close_port(&a);
    close_port(&b);
    world_close(&w);
}

static void
adopt(struct world *w, const char *id, const json_t *publish, json_t **ret_published)
{
    struct ctr_error err = CTR_ERROR_INIT;
    struct ctr_nets_wants wants = {.container = id,
                                   .name = id,
                                   .hostname = id,
                                   .vmm_kinds = CTR_PORT_DGRAM,
                                   .publish = publish};
    if (ctr_nets_adopt(w->nets, &wants, ret_published, &err) != 0) {
        fail_msg("adopt %s: %s", id, err.msg);
    }
}

static void
ctrd_returns(void **state)
{
    struct world w;
    struct net_port a, b;
    CTR_AUTO(json)
    json_t *publish = json_pack("[{s:s, s:s, s:i, s:i}]", "proto", "tcp", "host_address",
                                "127.0.0.1", "host_port", 0, "port", 80);
    CTR_AUTO(json) json_t *published = NULL;
    CTR_AUTO(json) json_t *alive = NULL;
    CTR_AUTO(json) json_t *dead = NULL;
    open_world(&w);
    boot(&w, "a", publish, &a, &published);
    boot(&w, "b", NULL, &b, NULL);
    /* ctr-net lives: nothing is touched. */
    pid_t pid = pid_of(&w, "default");
    world_restart(&w);
    adopt(&w, "a", publish, &alive);
    adopt(&w, "b", NULL, NULL);
    assert_int_equal(pid_of(&w, "default"), pid);
    assert_int_equal(told(&machines.asked), 0);
    assert_true(json_equal(alive, published));
    assert_true(reaches(&a, &b, RETURN_MS));
    /* It is watched again. */
    kill_net(&w, "default");
    assert_true(reaches(&b, &a, RETURN_MS));
    wait_for(&machines.restored, 1);
    /* Both die. */
    world_stop(&w);
    kill_net(&w, "default");
    world_start(&w);
    adopt(&w, "a", publish, &dead);
    adopt(&w, "b", NULL, NULL);
    assert_true(json_equal(dead, published));
    assert_true(reaches(&a, &b, RETURN_MS));
    assert_true(accepts((int) ctr_json_int(json_array_get(dead, 0), "host_port", 0), 1000));
    struct ctr_error err = CTR_ERROR_INIT;
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "a", &err), 0);
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "b", &err), 0);
    close_port(&a);
    close_port(&b);
    world_close(&w);
}

static char *
plugin_of(const struct world *w)
{
    for (size_t i = 0; i < w->conf->n_instances; i++) {
        if (w->conf->instances[i].kind == CTR_KIND_NET) {
            return w->conf->instances[i].plugin;
        }
    }
    fail_msg("no network plugin");
    return NULL;
}

static void
adopted_before_ctr_net_can_start(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct net_port a, b;
    open_world(&w);
    boot(&w, "a", NULL, &a, NULL);
    boot(&w, "b", NULL, &b, NULL);
    world_stop(&w);
    kill_net(&w, "default");
    memcpy(plugin_of(&w), "absent", strlen("absent"));
    world_start(&w);
    adopt(&w, "a", NULL, NULL);
    adopt(&w, "b", NULL, NULL);
    assert_false(reaches(&a, &b, 50));
    memcpy(plugin_of(&w), "switch", strlen("switch"));
    assert_true(reaches(&a, &b, 5000));
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "a", &err), 0);
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "b", &err), 0);
    close_port(&a);
    close_port(&b);
    world_close(&w);
}

static void
a_machine_that_gives_no_port(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct net_port a, b;
    open_world(&w);
    boot(&w, "a", NULL, &a, NULL);
    boot(&w, "b", NULL, &b, NULL);
    (void) pthread_mutex_lock(&machines.mutex);
    machines.n = 1; /* b's sandbox is busy */
    (void) pthread_mutex_unlock(&machines.mutex);
    kill_net(&w, "default");
    wait_for(&machines.asked, 4);
    assert_int_equal(ports_of(&w, "default"), 1); /* a does not wait for b */
    keep_port("b", b.mac, b.keep);
    assert_true(reaches(&a, &b, 5000)); /* asked again and again */
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "a", &err), 0);
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "b", &err), 0);
    close_port(&a);
    close_port(&b);
    world_close(&w);
}

static void
joined_while_running(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct net_port a, b, at_x;
    int spare[2];
    static const char hardware[] = "02:fe:00:00:00:00";
    open_world(&w);
    assert_int_equal(add(w.nets, "x", "10.70.0.0/24", true, &err), 0);
    boot(&w, "a", NULL, &a, NULL);
    assert_int_equal(join_as(&w, "x", "b", "b", "", &err), 0);
    assert_int_equal(bring_up(&w, "b", CTR_PORT_DGRAM, NULL, &b, NULL, &err), 0);
    keep_port("b", b.mac, b.keep);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, spare), 0);
    assert_int_equal(join_as(&w, "x", "a", "a", "{\"aliases\":[\"db\"]}", &err), 0);
    assert_int_equal(ctr_nets_up_one(w.nets, "x", "a", hardware, spare[1], &err), 0);
    keep_port("a", hardware, spare[1]);
    CTR_AUTO(json) json_t *guest = ctr_nets_guest(w.nets, "a", &err);
    const json_t *interfaces = json_object_get(guest, "interfaces");
    const json_t *second = json_array_get(interfaces, 1);
    assert_int_equal(json_array_size(interfaces), 2);
    assert_string_equal(ctr_json_str(second, "hardware", ""), hardware);
    assert_string_equal(ctr_json_str(second, "mac", ""), "02:42:0a:46:00:03");
    assert_string_equal(ctr_json_str(second, "gateway", "x"), ""); /* internal: no way out */
    at_x = (struct net_port){.fd = spare[0]};
    (void) snprintf(at_x.address, sizeof at_x.address, "%s",
                    ctr_json_str(second, "address", ""));
    (void) snprintf(at_x.mac, sizeof at_x.mac, "%s", ctr_json_str(second, "mac", ""));
    assert_true(reaches(&at_x, &b, RETURN_MS));
    kill_net(&w, "x");
    assert_true(reaches(&at_x, &b, RETURN_MS));
    world_restart(&w); /* which interface it is is kept */
    adopt(&w, "a", NULL, NULL);
    adopt(&w, "b", NULL, NULL);
    kill_net(&w, "x");
    assert_true(reaches(&b, &at_x, RETURN_MS));
    assert_int_equal(ctr_nets_leave(w.nets, "x", "a", &err), 0);
    assert_int_equal(ports_of(&w, "x"), 1);
    CTR_AUTO(json) json_t *after = ctr_nets_guest(w.nets, "a", &err);
    assert_int_equal(json_array_size(json_object_get(after, "interfaces")), 1);
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "a", &err), 0);
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "b", &err), 0);
    (void) close(spare[0]);
    (void) close(spare[1]);
    close_port(&a);
    close_port(&b);
    world_close(&w);
}

/* Published ports go along when the network with the way out is left. */
static void
published_ports_move(void **state)
{
    struct world w;
    struct ctr_error err = CTR_ERROR_INIT;
    struct net_port a;
    CTR_AUTO(json)
    json_t *publish = json_pack("[{s:s, s:s, s:i, s:i}]", "proto", "tcp", "host_address",
                                "127.0.0.1", "host_port", 0, "port", 80);
    CTR_AUTO(json) json_t *published = NULL;
    open_world(&w);
    assert_int_equal(add(w.nets, "in", "10.70.0.0/24", true, &err), 0);
    assert_int_equal(add(w.nets, "out", "10.71.0.0/24", false, &err), 0);
    assert_int_equal(join_as(&w, "in", "a", "a", "", &err), 0);
    assert_int_equal(bring_up(&w, "a", CTR_PORT_DGRAM, publish, &a, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "no network with a way out"));
    assert_int_equal(ports_of(&w, "in"), 0);
    assert_int_equal(join_as(&w, "default", "a", "a", "", &err), 0);
    assert_int_equal(join_as(&w, "out", "a", "a", "", &err), 0);
    assert_int_equal(bring_up(&w, "a", CTR_PORT_DGRAM, publish, &a, &published, &err), 0);
    int port = (int) ctr_json_int(json_array_get(published, 0), "host_port", 0);
    assert_true(accepts(port, 1000));
    assert_int_equal(ctr_nets_leave(w.nets, "default", "a", &err), 0);
    assert_true(accepts(port, 1000));
    CTR_AUTO(json) json_t *ports = ask(&w, "out", "ports");
    const json_t *own = json_object_get(json_object_get(ports, "ports"), "a");
    assert_int_equal(json_array_size(json_object_get(own, "published")), 1);
    assert_int_equal(ctr_nets_leave(w.nets, "out", "a", &err), 0);
    assert_false(accepts(port, 0));
    assert_int_equal(ctr_nets_leave(w.nets, NULL, "a", &err), 0);
    close_port(&a);
    world_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ctr_net_returns),
        cmocka_unit_test(ctrd_returns),
        cmocka_unit_test(adopted_before_ctr_net_can_start),
        cmocka_unit_test(a_machine_that_gives_no_port),
        cmocka_unit_test(joined_while_running),
        cmocka_unit_test(published_ports_move),
    };
    return cmocka_run_group_tests_name("net-keeper", tests, prepare, clean);
}
