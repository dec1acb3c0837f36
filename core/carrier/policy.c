/*
 * What may go out of a network with `--egress deny`: the list of --allow as rules in the plugin.
 *
 * A prefix in the list is a rule for good. A host in it may be asked for, and the addresses of the answer become rules for as long as
 * the answer lives, at least 10 seconds. Addresses of the host itself, link-local and metadata ones never do, whatever a resolver says. The number of
 * rules is bounded: whoever owns a zone below *.HOST could make up names for ever.
 */
#include "core/carrier/carrier-priv.h"

#define MAX_LIST 256
#define MAX_RULES 4096      /* that live, of all hosts */
#define MAX_RULES_EACH 1024 /* of one entry of the list */
#define N_NAMES 1024
#define MIN_SECONDS 10
#define MAX_SECONDS 86400
#define WARN_NS INT64_C(60000000000)

struct rule {
    struct ctr_address address;
    size_t entry;
    int64_t until_ns;
};

struct named {
    struct ctr_address address;
    char name[256];
};

struct ctr_policy {
    int (*allow)(void *arg, const struct ctr_net_rule *rule, struct ctr_error *err);
    void *arg;
    struct ctr_allow list[MAX_LIST];
    size_t n_live[MAX_LIST];
    size_t n_list;
    struct rule rules[MAX_RULES]; /* those made by names */
    size_t n_rules;
    int64_t warned_ns;
    struct named names[N_NAMES]; /* by a hash of the address; the later one stays */
};

static bool
is_same(const struct ctr_address *a, const struct ctr_address *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 4 ? 4 : 16) == 0;
}

/* No name opens these, and no list that names them alone. */
static bool
is_closed(const struct ctr_address *address, int prefix)
{
    static const char *const closed[] = {
        "0.0.0.0/8", "127.0.0.0/8",   "169.254.0.0/16", "100.100.100.200/32", "224.0.0.0/3",
        "::/127",    "::ffff:0:0/96", "fe80::/10",      "fd00:ec2::254/128",  "ff00::/8"};
    for (size_t i = 0; i < CTR_LENGTH(closed); i++) {
        struct ctr_address range;
        int length;
        if (ctr_prefix_parse(closed[i], &range, &length) == 0 && prefix >= length &&
            ctr_prefix_has(&range, length, address)) {
            return true;
        }
    }
    return false;
}

static int
make_rule(const struct ctr_policy *p, const struct ctr_address *address, int prefix,
          uint16_t port, uint32_t seconds, struct ctr_error *err)
{
    struct ctr_net_rule rule = {
        .size = sizeof rule,
        .prefix = (uint32_t) prefix,
        .address = *address,
        .seconds = seconds,
        .port = port,
    };
    return p->allow(p->arg, &rule, err);
}

static int
add_entry(struct ctr_policy *p, const json_t *text, struct ctr_error *err)
{
    struct ctr_allow *entry = &p->list[p->n_list];
    const char *string = json_string_value(text);
    int code = ctr_allow_parse(string == NULL ? "" : string, entry, err);
    if (code == 0 && entry->host[0] == '\0') {
        if (is_closed(&entry->address, entry->prefix)) {
            return ctr_fail(err, -EINVAL,
                            "allow \"%s\": loopback, link-local, multicast and metadata "
                            "addresses stay closed",
                            string);
        }
        code = make_rule(p, &entry->address, entry->prefix, entry->port, 0, err);
    }
    p->n_list += code == 0;
    return code;
}

int
ctr_policy_create(const json_t *list,
                  int (*allow)(void *arg, const struct ctr_net_rule *rule,
                               struct ctr_error *err),
                  void *arg, struct ctr_policy **ret, struct ctr_error *err)
{
    struct ctr_policy *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    p->allow = allow;
    p->arg = arg;
    int code = json_array_size(list) <= MAX_LIST
                   ? 0
                   : ctr_fail(err, -E2BIG, "more than %d entries of --allow", MAX_LIST);
    for (size_t i = 0; code == 0 && i < json_array_size(list); i++) {
        code = add_entry(p, json_array_get(list, i), err);
    }
    if (code != 0) {
        ctr_policy_destroy(p);
        return code;
    }
    *ret = p;
    return 0;
}

void
ctr_policy_destroy(struct ctr_policy *policy)
{
    free(policy);
}

static bool
has_name(const struct ctr_allow *entry, const char *name)
{
    if (entry->host[0] == '\0') {
        return false;
    }
    if (!entry->below) {
        return strcmp(entry->host, name) == 0;
    }
    size_t length = strlen(name), tail = strlen(entry->host);
    return length > tail + 1 && name[length - tail - 1] == '.' &&
           strcmp(name + length - tail, entry->host) == 0;
}

bool
ctr_policy_may_ask(const struct ctr_policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->n_list; i++) {
        if (has_name(&policy->list[i], name)) {
            return true;
        }
    }
    return false;
}

/* Makes room for one more rule of this entry; also finds the one that is there already. -ENOSPC: too many live ones. */
static int
place_rule(struct ctr_policy *p, size_t entry, const struct ctr_address *address,
           int64_t now_ns, struct rule **ret)
{
    for (size_t i = p->n_rules; i-- > 0;) {
        struct rule *r = &p->rules[i];
        if (r->entry == entry && is_same(&r->address, address)) {
            *ret = r;
            return 0;
        }
        if (r->until_ns <= now_ns) {
            p->n_live[r->entry]--;
            *r = p->rules[--p->n_rules];
        }
    }
    if (p->n_rules == MAX_RULES || p->n_live[entry] == MAX_RULES_EACH) {
        return -ENOSPC;
    }
    *ret = &p->rules[p->n_rules++];
    **ret = (struct rule){.address = *address, .entry = entry};
    p->n_live[entry]++;
    return 0;
}

static void
open_address(struct ctr_policy *p, size_t entry, const char *name,
             const struct ctr_address *address, uint32_t seconds, int64_t now_ns)
{
    char text[CTR_ADDRESS_TEXT];
    struct ctr_error err = CTR_ERROR_INIT;
    struct rule *rule;
    int64_t until_ns = now_ns + seconds * INT64_C(1000000000);
    int code = place_rule(p, entry, address, now_ns, &rule);
    if (code != 0) {
        (void) ctr_fail(&err, code, "too many rules live at once");
    } else {
        rule->until_ns = rule->until_ns > until_ns ? rule->until_ns : until_ns;
        code = make_rule(p, address, address->family == 4 ? 32 : 128, p->list[entry].port,
                         seconds, &err);
    }
    if (code != 0 && now_ns - p->warned_ns >= WARN_NS) { /* guests can bring this about */
        p->warned_ns = now_ns;
        ctr_log(CTR_LEVEL_WARN, "event=allow-failed name=%s address=%s error=\"%s\"", name,
                ctr_address_format(address, text), err.msg);
    }
}

static struct named *
slot_of(const struct ctr_policy *p, const struct ctr_address *address)
{
    uint32_t hash = address->family;
    for (size_t i = 0; i < (address->family == 4 ? 4 : 16); i++) {
        hash = (hash ^ address->bytes[i]) * 16777619U;
    }
    return (struct named *) &p->names[hash % N_NAMES];
}

void
ctr_policy_resolved(struct ctr_policy *policy, const char *name,
                    const struct ctr_address *addresses, size_t n, uint32_t ttl, int64_t now_ns)
{
    uint32_t seconds = ttl < MIN_SECONDS ? MIN_SECONDS : ttl > MAX_SECONDS ? MAX_SECONDS : ttl;
    for (size_t i = 0; i < n; i++) {
        struct named *named = slot_of(policy, &addresses[i]);
        named->address = addresses[i];
        (void) snprintf(named->name, sizeof named->name, "%s", name);
        for (size_t e = 0; e < policy->n_list && !is_closed(&addresses[i], 128); e++) {
            if (has_name(&policy->list[e], name)) {
                open_address(policy, e, name, &addresses[i], seconds, now_ns);
            }
        }
    }
}

const char *
ctr_policy_name(const struct ctr_policy *policy, const struct ctr_address *address)
{
    const struct named *named = slot_of(policy, address);
    return named->address.family != 0 && is_same(&named->address, address) ? named->name : "";
}
