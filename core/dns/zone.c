/*
 * Names and their addresses, and the names of addresses (in-addr.arpa, ip6.arpa): one hash table of wire-form names for each set of hosts.
 */
#include "core/dns/dns-priv.h"

#define MAX_ADDRESSES 4096 /* of one name in one family: about what fits a message */

struct ctr_dns_host *
ctr_dns_hosts_find(const struct ctr_dns_table *hosts, const struct ctr_dns_name *name)
{
    return (struct ctr_dns_host *) ctr_dns_table_find(hosts, name->bytes, name->length);
}

static struct ctr_dns_host *
find_or_add(struct ctr_dns_table *hosts, const struct ctr_dns_name *name)
{
    struct ctr_dns_host *host = ctr_dns_hosts_find(hosts, name);
    if (host != NULL) {
        return host;
    }
    host = calloc(1, sizeof *host + name->length);
    if (host == NULL) {
        return NULL;
    }
    memcpy(host->name, name->bytes, name->length);
    host->length = name->length;
    host->entry.key = host->name;
    host->entry.length = name->length;
    if (ctr_dns_table_add(hosts, &host->entry) != 0) {
        free(host);
        return NULL;
    }
    return host;
}

static int
add_address(struct ctr_dns_list *list, const uint8_t *bytes, size_t size)
{
    for (uint32_t i = 0; i < list->n; i++) {
        if (memcmp(list->bytes + i * size, bytes, size) == 0) {
            return 0;
        }
    }
    if (list->n == MAX_ADDRESSES) {
        return 0;
    }
    /* Full at each power of two. */
    if ((list->n & (list->n - 1)) == 0) {
        size_t capacity = list->n == 0 ? 1 : (size_t) list->n * 2;
        uint8_t *more = realloc(list->bytes, capacity * size);
        if (more == NULL) {
            return -ENOMEM;
        }
        list->bytes = more;
    }
    memcpy(list->bytes + list->n * size, bytes, size);
    list->n++;
    return 0;
}

static void
reverse_name(const struct ctr_address *address, struct ctr_dns_name *ret)
{
    static const char digits[] = "0123456789abcdef";
    char text[80];
    size_t n = 0;
    const uint8_t *b = address->bytes;
    if (address->family == 4) {
        (void) snprintf(text, sizeof text, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
    } else {
        for (int i = 15; i >= 0; i--, n += 4) {
            memcpy(text + n, (char[]){digits[b[i] & 15], '.', digits[b[i] >> 4], '.'}, 4);
        }
        memcpy(text + n, "ip6.arpa", sizeof "ip6.arpa");
    }
    (void) ctr_dns_name_parse(text, ret);
}

/* The address' name is the first that was told for it. */
static int
add_pointer(struct ctr_dns_table *hosts, const struct ctr_address *address,
            const struct ctr_dns_host *host)
{
    struct ctr_dns_name name;
    reverse_name(address, &name);
    struct ctr_dns_host *reverse = find_or_add(hosts, &name);
    if (reverse == NULL) {
        return -ENOMEM;
    }
    if (reverse->pointer == NULL) {
        reverse->pointer = host;
    }
    return 0;
}

static int
load_host(struct ctr_dns_table *hosts, const json_t *json, struct ctr_error *err)
{
    const char *text = ctr_json_str(json, "name", "");
    struct ctr_dns_name name;
    size_t i;
    json_t *item;
    if (ctr_dns_name_parse(text, &name) != 0) {
        return 0; /* a container may have a name that DNS cannot say: too long, or two dots in a row */
    }
    struct ctr_dns_host *host = find_or_add(hosts, &name);
    if (host == NULL) {
        return ctr_fail(err, -ENOMEM, "DNS zone: out of memory");
    }
    json_array_foreach(json_object_get(json, "addresses"), i, item)
    {
        struct ctr_address address;
        const char *value = json_string_value(item);
        if (value == NULL || ctr_address_parse(value, &address) != 0) {
            return ctr_fail(err, -EINVAL,
                            "DNS zone: '%s' of the name '%s' is no IP address; send the zone "
                            "again without it",
                            value == NULL ? "?" : value, text);
        }
        struct ctr_dns_list *list = address.family == 4 ? &host->v4 : &host->v6;
        if (add_address(list, address.bytes, address.family == 4 ? 4 : 16) != 0 ||
            add_pointer(hosts, &address, host) != 0) {
            return ctr_fail(err, -ENOMEM, "DNS zone: out of memory");
        }
    }
    return 0;
}

int
ctr_dns_hosts_load(struct ctr_dns_table *hosts, const json_t *json, struct ctr_error *err)
{
    size_t i;
    json_t *item;
    *hosts = (struct ctr_dns_table){0};
    if (json != NULL && !json_is_array(json)) {
        return ctr_fail(err, -EINVAL, "DNS zone: 'hosts' is no array");
    }
    json_array_foreach(json, i, item)
    {
        int code = load_host(hosts, item, err);
        if (code != 0) {
            ctr_dns_hosts_finish(hosts);
            return code;
        }
    }
    return 0;
}

static void
drop_host(struct ctr_dns_entry *entry)
{
    struct ctr_dns_host *host = (struct ctr_dns_host *) entry;
    free(host->v4.bytes);
    free(host->v6.bytes);
    free(host);
}

void
ctr_dns_hosts_finish(struct ctr_dns_table *hosts)
{
    ctr_dns_table_sweep(hosts, NULL, drop_host);
    ctr_dns_table_finish(hosts);
}
