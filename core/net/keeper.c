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
        int code = ctr_network_restore(k->nets, k->network, &started, &err);
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
