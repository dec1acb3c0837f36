/*
 * What was refused on the way out: a container, a protocol, an address and a port, with how often and when last. The last 64 of them are kept.
 *
 * A guest can be refused a million times a second. So each is counted at once and told later, one event each quarter of a second; and a
 * container that has 16 of the places takes its own oldest, not another's.
 */
#include "core/carrier/carrier-priv.h"

#define N_KEPT 64
#define N_EACH 16
#define TELL_MS 250

struct refusal {
    char container[129];
    char proto[12];
    struct ctr_address address;
    uint16_t port;
    char name[256];
    uint64_t count; /* 0: this place is free */
    bool untold;
    int64_t time_ns;
};

struct ctr_refusals {
    void (*tell)(void *arg, const json_t *event);
    void *arg;
    struct ctr_timer *timer;
    bool waits; /* the timer runs */
    struct refusal kept[N_KEPT];
};

static json_t *
describe(const struct refusal *r)
{
    char address[CTR_ADDRESS_TEXT];
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:I, s:I}", "container", r->container, "proto",
                     r->proto, "address", ctr_address_format(&r->address, address), "port",
                     (int) r->port, "name", r->name, "count", (json_int_t) r->count, "time",
                     (json_int_t) r->time_ns);
}

/* The one that waited longest, NULL if all is told. */
static struct refusal *
next_untold(struct ctr_refusals *refusals)
{
    struct refusal *next = NULL;
    for (size_t i = 0; i < N_KEPT; i++) {
        struct refusal *r = &refusals->kept[i];
        if (r->count > 0 && r->untold && (next == NULL || r->time_ns < next->time_ns)) {
            next = r;
        }
    }
    return next;
}

static void
on_time(void *arg)
{
    struct ctr_refusals *refusals = arg;
    struct refusal *r = next_untold(refusals);
    refusals->waits = r != NULL;
    if (r == NULL) {
        return;
    }
    r->untold = false;
    ctr_timer_set(refusals->timer, TELL_MS);
    CTR_AUTO(json) json_t *event = describe(r);
    if (event != NULL && json_object_set_new(event, "event", json_string("refused")) == 0) {
        refusals->tell(refusals->arg, event);
    }
}

int
ctr_refusals_create(struct ctr_loop *loop, void (*tell)(void *arg, const json_t *event),
                    void *arg, struct ctr_refusals **ret, struct ctr_error *err)
{
    struct ctr_refusals *refusals = calloc(1, sizeof *refusals);
    if (refusals == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    refusals->tell = tell;
    refusals->arg = arg;
    refusals->waits = true;
    refusals->timer = ctr_timer_add(loop, TELL_MS, on_time, refusals);
    if (refusals->timer == NULL) {
        free(refusals);
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    *ret = refusals;
    return 0;
}

void
ctr_refusals_destroy(struct ctr_refusals *refusals)
{
    if (refusals != NULL) {
        ctr_timer_remove(refusals->timer);
        free(refusals);
    }
}

/* Two refused names are two refusals; the name of an address says only what it was called last. */
static bool
is_it(const struct refusal *r, const struct refusal *key)
{
    return r->count > 0 && r->port == key->port &&
           memcmp(&r->address, &key->address, sizeof r->address) == 0 &&
           strcmp(r->proto, key->proto) == 0 && strcmp(r->container, key->container) == 0 &&
           (key->address.family != 0 || strcmp(r->name, key->name) == 0);
}

/* The place of a new one: a free one, or the oldest of this container if it has its share, else of all. */
static struct refusal *
place(struct ctr_refusals *refusals, const char *container)
{
    struct refusal *oldest = NULL, *own = NULL;
    size_t n_own = 0;
    for (size_t i = 0; i < N_KEPT; i++) {
        struct refusal *r = &refusals->kept[i];
        if (r->count == 0) {
            r->time_ns = 0;
        } else if (strcmp(r->container, container) == 0) {
            n_own++;
            own = own == NULL || r->time_ns < own->time_ns ? r : own;
        }
        oldest = oldest == NULL || r->time_ns < oldest->time_ns ? r : oldest;
    }
    return n_own >= N_EACH ? own : oldest;
}

void
ctr_refusals_add(struct ctr_refusals *refusals, const char *container, const char *proto,
                 const struct ctr_address *address, uint16_t port, const char *name)
{
    struct refusal key = {.address = *address, .port = port, .untold = true};
    struct refusal *r = NULL;
    (void) snprintf(key.container, sizeof key.container, "%s", container);
    (void) snprintf(key.proto, sizeof key.proto, "%s", proto);
    (void) snprintf(key.name, sizeof key.name, "%s", name);
    for (size_t i = 0; r == NULL && i < N_KEPT; i++) {
        r = is_it(&refusals->kept[i], &key) ? &refusals->kept[i] : NULL;
    }
    if (r == NULL) {
        r = place(refusals, key.container);
        r->count = 0;
    }
    key.count = r->count + 1;
    key.time_ns = ctr_now_ns();
    *r = key;
    if (!refusals->waits) {
        refusals->waits = true;
        ctr_timer_set(refusals->timer, 1);
    }
}

static int
by_time(const void *a, const void *b)
{
    const struct refusal *const *x = a, *const *y = b;
    return ((*x)->time_ns > (*y)->time_ns) - ((*x)->time_ns < (*y)->time_ns);
}

json_t *
ctr_refusals_list(const struct ctr_refusals *refusals)
{
    const struct refusal *sorted[N_KEPT];
    size_t n = 0;
    json_t *list = json_array();
    for (size_t i = 0; i < N_KEPT; i++) {
        if (refusals->kept[i].count > 0) {
            sorted[n++] = &refusals->kept[i];
        }
    }
    qsort(sorted, n, sizeof sorted[0], by_time);
    for (size_t i = 0; i < n; i++) {
        (void) json_array_append_new(list, describe(sorted[i]));
    }
    return list;
}
