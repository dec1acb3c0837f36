/*
 * The way out of an egress_deny network. An address alone, which is what names lead to, is an element of a set with a timeout that the kernel keeps;
 * a range is a rule in the chain `ranges`, which is written anew when one comes or ends.
 */
#include "bridge-priv.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct br_egress {
    struct open {
        struct ctr_address address;
        uint32_t prefix;
        uint16_t port;
        uint64_t until_ms; /* UINT64_MAX: for good */
    } * open;              /* BR_RULES */
    size_t n;
    struct ctr_timer *timer; /* the next range's end */
};

static uint64_t
now_ms(void)
{
    struct timespec ts;
    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}

static bool
is_range(const struct open *o)
{
    return o->prefix < (o->address.family == 6 ? 128 : 32);
}

static void
forget_old(struct br_egress *egress)
{
    uint64_t now = now_ms();
    for (size_t i = 0; i < egress->n;) {
        if (egress->open[i].until_ms <= now) {
            egress->open[i] = egress->open[--egress->n];
        } else {
            i++;
        }
    }
}

/* --- ranges --- */

static void
add_range(const struct open *o, struct br_text *text)
{
    char address[INET6_ADDRSTRLEN];
    br_text_add(text, " %s daddr %s/%u", o->address.family == 6 ? "ip6" : "ip",
                br_show(&o->address, address), o->prefix);
    if (o->port != 0) {
        br_text_add(text, " meta l4proto { 6, 17 } th dport %u", o->port);
    }
    br_text_add(text, " accept\n");
}

static int
write_ranges(const struct br *br, struct ctr_error *err)
{
    const struct br_egress *egress = br->egress;
    uint64_t now = now_ms(), next = UINT64_MAX;
    struct br_text text;
    br_text_init(&text);
    br_text_add(&text, "flush chain inet ctr-%s ranges\ntable inet ctr-%s {\nchain ranges {\n",
                br->hex, br->hex);
    for (size_t i = 0; i < egress->n; i++) {
        if (is_range(&egress->open[i])) {
            add_range(&egress->open[i], &text);
            next = egress->open[i].until_ms < next ? egress->open[i].until_ms : next;
        }
    }
    br_text_add(&text, "}\n}\n");
    if (next != UINT64_MAX) {
        br->host->timer_set(egress->timer, next > now ? next - now : 1);
    }
    return br_text_run(br, &text, err);
}

static void
on_timer(void *arg)
{
    struct br *br = arg;
    struct ctr_error err = CTR_ERROR_INIT;
    forget_old(br->egress);
    if (write_ranges(br, &err) != 0) {
        br->host->log(br->host, CTR_LOG_ERROR, err.msg);
    }
}

/* --- addresses --- */

/* Only an element that is added anew has a new timeout, in every kernel. */
static int
write_address(const struct br *br, const struct open *o, uint32_t seconds,
              struct ctr_error *err)
{
    char address[INET6_ADDRSTRLEN], element[INET6_ADDRSTRLEN + 16], set[16];
    struct br_text text;
    (void) br_show(&o->address, address);
    (void) snprintf(set, sizeof set, "%s%u", o->port == 0 ? "address" : "service",
                    o->address.family == 6 ? 6U : 4U);
    (void) snprintf(element, sizeof element, o->port == 0 ? "%s" : "%s . %u", address,
                    (unsigned) o->port);
    br_text_init(&text);
    br_text_add(&text,
                "add element inet ctr-%s %s { %s }\n"
                "delete element inet ctr-%s %s { %s }\n"
                "add element inet ctr-%s %s { %s",
                br->hex, set, element, br->hex, set, element, br->hex, set, element);
    if (seconds != 0) {
        br_text_add(&text, " timeout %us", seconds);
    }
    br_text_add(&text, " }\n");
    return br_text_run(br, &text, err);
}

static struct open *
find(struct br_egress *egress, const struct open *wanted)
{
    for (size_t i = 0; i < egress->n; i++) {
        struct open *o = &egress->open[i];
        if (o->prefix == wanted->prefix && o->port == wanted->port &&
            br_same(&o->address, &wanted->address)) {
            return o;
        }
    }
    return NULL;
}

int
br_allow(void *self, const struct ctr_net_rule *rule, struct ctr_error *err)
{
    struct br *br = self;
    struct br_egress *egress = br->egress;
    if (egress == NULL || rule->prefix > (rule->address.family == 6 ? 128 : 32) ||
        (rule->address.family != 4 && rule->address.family != 6)) {
        return ctr_fail(err, -EINVAL, "network %s: no such rule is possible", br->name);
    }
    struct open wanted = {
        .address = rule->address,
        .prefix = rule->prefix,
        .port = rule->port,
        .until_ms =
            rule->seconds == 0 ? UINT64_MAX : now_ms() + (uint64_t) rule->seconds * 1000,
    };
    forget_old(egress);
    struct open *known = find(egress, &wanted);
    if (known != NULL && known->until_ms >= wanted.until_ms) {
        return 0;
    }
    if (known == NULL && egress->n == BR_RULES) {
        return ctr_fail(err, -ENOSPC, "network %s: %d addresses are open, no more fit",
                        br->name, BR_RULES);
    }
    known = known != NULL ? known : &egress->open[egress->n++];
    *known = wanted;
    return is_range(&wanted) ? write_ranges(br, err)
                             : write_address(br, &wanted, rule->seconds, err);
}

int
br_egress_create(struct br *br, struct ctr_error *err)
{
    struct br_egress *egress = calloc(1, sizeof *egress);
    br->egress = egress;
    if (egress != NULL) {
        egress->open = calloc(BR_RULES, sizeof *egress->open);
        egress->timer = br->host->timer_add(br->host, UINT32_MAX, on_timer, br);
    }
    return egress == NULL || egress->open == NULL || egress->timer == NULL
               ? ctr_fail(err, -ENOMEM, "network %s: out of memory", br->name)
               : 0;
}

void
br_egress_destroy(struct br *br)
{
    if (br->egress != NULL) {
        br->host->timer_remove(br->egress->timer);
        free(br->egress->open);
        free(br->egress);
        br->egress = NULL;
    }
}
