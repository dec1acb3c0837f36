/*
 * Keepers: a thread for each network that has had a container up. It reads what ctr-net tells (what the rules refused), and when that ends while containers
 * are up, starts ctr-net again, at once and then with growing pauses, and brings back ports, published ports and names. It ends with its ctr-net when no
 * container is up.
 */
#include "core/net/net-priv.h"
#include <signal.h>
#include <sys/socket.h>

#define FIRST_PAUSE_MS 100
#define MAX_PAUSE_MS 5000
#define MAX_EVENT 65536

struct keeper {
    struct ctr_nets *nets;
    struct ctr_network_entry *network; /* a reference */
};

/* --- bringing back --- */

/* A port that ctr-net lacks. */
struct lost {
    char *container;
    char hardware[18];
    uint32_t kind;
    int fd;
};

struct losses {
    struct lost *list;
    size_t n;
};

static void
losses_free(struct losses *losses)
{
    for (size_t i = 0; i < losses->n; i++) {
        free(losses->list[i].container);
        ctr_auto_fd(&losses->list[i].fd);
    }
    free(losses->list);
}

/* What should be there and is not among `ports`. */
static int
find_losses(struct ctr_nets *nets, const struct ctr_network_entry *network, const json_t *ports,
            struct losses *ret, struct ctr_error *err)
{
    size_t n = 0;
    ctr_nets_lock(nets);
    for (const struct ctr_endpoint *e = nets->endpoints; e != NULL; e = e->next) {
        n++;
    }
    ret->list = calloc(n + 1, sizeof *ret->list);
    bool failed = ret->list == NULL;
    for (const struct ctr_endpoint *e = nets->endpoints; e != NULL && !failed; e = e->next) {
        if (e->network != network || e->kind == 0 ||
            json_object_get(ports, e->container) != NULL) {
            continue;
        }
        struct lost *lost = &ret->list[ret->n++];
        *lost = (struct lost){.container = strdup(e->container), .kind = e->kind, .fd = -1};
        memcpy(lost->hardware, e->hardware, sizeof lost->hardware);
        failed = lost->container == NULL;
    }
    ctr_nets_unlock(nets);
    return failed ? ctr_fail(err, -ENOMEM, CTR_NET_NO_MEMORY) : 0;
}

/* Asks whoever runs the machines for the ports' ends; no lock is held. */
static void
fetch_ends(const struct ctr_nets *nets, struct losses *losses)
{
    for (size_t i = 0; i < losses->n && nets->hooks.port != NULL; i++) {
        struct lost *lost = &losses->list[i];
        struct ctr_error err = CTR_ERROR_INIT;
        if (lost->kind != CTR_PORT_NATIVE) {
            lost->fd = nets->hooks.port(nets->hooks.arg, lost->container, lost->hardware, &err);
        }
        if (lost->fd < 0 && lost->kind != CTR_PORT_NATIVE) {
            lost->fd = -1;
            ctr_log(CTR_LEVEL_WARN, "event=port-not-kept container=%.12s error=\"%s\"",
                    lost->container, err.msg);
        }
    }
}

/* One port; network->mutex is held. It may have come back by itself, or its container be down by now. */
static int
bring_back(struct ctr_nets *nets, struct ctr_network_entry *network, const struct lost *lost,
           struct ctr_error *err)
{
    ctr_nets_lock(nets);
    const struct ctr_endpoint *e = ctr_endpoint_find(nets, network, lost->container);
    bool wanted = e != NULL && e->kind != 0 && strcmp(e->hardware, lost->hardware) == 0;
    ctr_nets_unlock(nets);
    if (!wanted) {
        return 0;
    }
    if (lost->fd < 0 && lost->kind != CTR_PORT_NATIVE) {
        return ctr_fail(err, -EAGAIN, "the machine of container %.12s gives no port",
                        lost->container);
    }
    int code = ctr_port_restore(nets, network, lost->container, lost->kind, lost->fd, err);
    return code == -EEXIST || code == -ENOENT ? 0 : code;
}

/* All of them, then what was published, then the names. The first failure is told, the rest is tried all the same. */
static int
bring_all_back(struct ctr_nets *nets, struct ctr_network_entry *network,
               const struct losses *losses, struct ctr_error *err)
{
    int code = 0;
    for (size_t i = 0; i < losses->n; i++) {
        struct ctr_error why = CTR_ERROR_INIT;
        const char *container = losses->list[i].container;
        int one = bring_back(nets, network, &losses->list[i], &why);
        one = one != 0 ? one : ctr_expose_again(nets, network, container, NULL, &why);
        code = one == 0 ? code : ctr_fail(err, one, "%s", why.msg);
    }
    return code != 0 ? code : ctr_zone_push(nets, network, err);
}

/* What ctr-net has; it is started if it does not run. */
static json_t *
ask_ports(struct ctr_nets *nets, struct ctr_network_entry *network, bool *ret_started,
          struct ctr_error *err)
{
    (void) pthread_mutex_lock(&network->mutex);
    int code = ctr_peer_open(nets, network, true, ret_started, err);
    json_t *ports = code == 0 ? ctr_peer_ports(network, err) : NULL;
    (void) pthread_mutex_unlock(&network->mutex);
    return ports;
}

int
ctr_keeper_restore(struct ctr_nets *nets, struct ctr_network_entry *network, bool *ret_started,
                   struct ctr_error *err)
{
    struct losses losses = {0};
    CTR_AUTO(json) json_t *ports = ask_ports(nets, network, ret_started, err);
    if (ports == NULL) {
        return err->code;
    }
    int code = find_losses(nets, network, ports, &losses, err);
    if (code == 0) {
        fetch_ends(nets, &losses);
        (void) pthread_mutex_lock(&network->mutex);
        code = ctr_peer_open(nets, network, true, ret_started, err);
        code = code != 0 ? code : bring_all_back(nets, network, &losses, err);
        (void) pthread_mutex_unlock(&network->mutex);
    }
    losses_free(&losses);
    ctr_nets_lock(nets);
    network->damaged = code != 0;
    ctr_nets_unlock(nets);
    return code;
}

/* --- the thread --- */

/* nets->mutex is held. */
static bool
is_needed(const struct keeper *k)
{
    const struct ctr_endpoint *e = k->nets->endpoints;
    while (e != NULL && (e->network != k->network || e->kind == 0)) {
        e = e->next;
    }
    return e != NULL && !k->nets->quit;
}

/* Waits; true if it is still needed afterwards. */
static bool
pause_ms(struct keeper *k, int64_t ms)
{
    struct timespec until;
    (void) clock_gettime(CLOCK_REALTIME, &until);
    int64_t ns = until.tv_nsec + ms * 1000000;
    until.tv_sec += (time_t) (ns / 1000000000);
    until.tv_nsec = (long) (ns % 1000000000);
    ctr_nets_lock(k->nets);
    int code = 0;
    while (code == 0 && is_needed(k)) {
        code = pthread_cond_timedwait(&k->nets->changed, &k->nets->mutex, &until);
    }
    bool needed = is_needed(k);
    ctr_nets_unlock(k->nets);
    return needed;
}

/* Until all is there, or nobody needs it any more. */
static void
restore(struct keeper *k)
{
    int64_t pause = FIRST_PAUSE_MS;
    bool started = false;
    for (;;) {
        struct ctr_error err = CTR_ERROR_INIT;
        bool told = started;
        int code = ctr_keeper_restore(k->nets, k->network, &started, &err);
        if (started && !told) {
            ctr_log(CTR_LEVEL_WARN, "event=ctr-net-started-again network=%s", k->network->name);
            ctr_nets_tell(k->nets, "lost", k->network, "", NULL);
        }
        if (code == 0) {
            break;
        }
        ctr_log(CTR_LEVEL_WARN, "event=network-not-whole network=%s error=\"%s\"",
                k->network->name, err.msg);
        if (!pause_ms(k, pause)) {
            return;
        }
        pause = pause * 2 < MAX_PAUSE_MS ? pause * 2 : MAX_PAUSE_MS;
    }
    if (started) {
        ctr_nets_tell(k->nets, "restored", k->network, "", NULL);
    }
}

static json_t *
attribute(const json_t *event, const char *key)
{
    const json_t *value = json_object_get(event, key);
    char text[24];
    (void) snprintf(text, sizeof text, "%lld", (long long) json_integer_value(value));
    return json_string(json_is_integer(value) ? text : ctr_json_str(event, key, ""));
}

/* {"event":"refused", …}: what the rules of an egress_deny network held back. */
static void
on_line(struct keeper *k, const char *line)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *event = ctr_json_parse(line, strlen(line), MAX_EVENT, "ctr-net's event", &err);
    if (strcmp(ctr_json_str(event, "event", ""), "refused") != 0) {
        return;
    }
    ctr_nets_tell(k->nets, "refuse", k->network, ctr_json_str(event, "container", ""),
                  json_pack("{s:o, s:o, s:o, s:o, s:o}", "proto", attribute(event, "proto"),
                            "address", attribute(event, "address"), "port",
                            attribute(event, "port"), "host", attribute(event, "name"), "count",
                            attribute(event, "count")));
}

/* Up to the end of ctr-net. */
static void
listen_to(struct keeper *k)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(fd)
    int fd = ctr_peer_stream(k->nets, k->network, json_pack("{s:s}", "op", "events"), &err);
    if (fd < 0) {
        return;
    }
    ctr_nets_lock(k->nets);
    k->network->events = fd;
    bool go = !k->nets->quit && !k->network->damaged;
    ctr_nets_unlock(k->nets);
    for (char *line; go && (line = ctr_read_line(fd, MAX_EVENT, NULL, &err)) != NULL;) {
        on_line(k, line);
        free(line);
    }
    ctr_nets_lock(k->nets);
    k->network->events = -1;
    ctr_nets_unlock(k->nets);
}

static void *
run(void *arg)
{
    struct keeper *k = arg;
    struct ctr_nets *nets = k->nets;
    for (;;) {
        listen_to(k);
        ctr_nets_lock(nets);
        bool needed = is_needed(k);
        k->network->watched = needed;
        ctr_nets_unlock(nets);
        if (!needed) {
            break;
        }
        restore(k);
    }
    ctr_network_release(nets, k->network);
    free(k);
    ctr_nets_lock(nets);
    nets->keepers--;
    (void) pthread_cond_broadcast(&nets->changed);
    ctr_nets_unlock(nets);
    return NULL;
}

/* Signals are for other threads. */
static int
start_thread(struct keeper *k)
{
    pthread_t thread;
    sigset_t all, before;
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&thread, NULL, run, k);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0) {
        (void) pthread_detach(thread);
    }
    return code;
}

void
ctr_keeper_watch(struct ctr_nets *nets, struct ctr_network_entry *network)
{
    struct keeper *k = malloc(sizeof *k);
    ctr_nets_lock(nets);
    bool start = nets->watching && !nets->quit && !network->watched && k != NULL;
    if (network->watched && network->damaged && network->events >= 0) {
        (void) shutdown(network->events, SHUT_RDWR); /* it looks at once */
    }
    if (start) {
        *k = (struct keeper){nets, network};
        network->watched = start_thread(k) == 0;
        start = network->watched;
        network->refs += start;
        nets->keepers += start;
    }
    ctr_nets_unlock(nets);
    if (!start) {
        free(k);
    }
}

void
ctr_keepers_stop(struct ctr_nets *nets)
{
    ctr_nets_lock(nets);
    nets->quit = true;
    for (const struct ctr_network_entry *n = nets->networks; n != NULL; n = n->next) {
        if (n->events >= 0) {
            (void) shutdown(n->events, SHUT_RDWR);
        }
    }
    (void) pthread_cond_broadcast(&nets->changed);
    while (nets->keepers > 0) {
        (void) pthread_cond_wait(&nets->changed, &nets->mutex);
    }
    ctr_nets_unlock(nets);
}
