/*
 * Ports: who may ask, what names only they see, and how much they have open.
 *
 * A port's record lives as long as the zone names it or something of it is open, so that counters are right whatever the zone says meanwhile. A new zone is read
 * beside the old one (next) and takes its place (view) only when all of it is there.
 */
#include "core/dns/dns-priv.h"

static void
free_view(struct ctr_dns_view *view)
{
    if (view != NULL) {
        ctr_dns_hosts_finish(&view->hosts);
        ctr_dns_hosts_finish(&view->elsewhere);
        free(view);
    }
}

static int
load_servers(struct ctr_dns_servers *servers, const json_t *json, const char *id,
             struct ctr_error *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(json, i, item)
    {
        const char *text = json_string_value(item);
        if (servers->n == CTR_DNS_SERVERS) {
            break;
        }
        if (text == NULL || ctr_dns_server_parse(text, &servers->at[servers->n]) != 0) {
            return ctr_fail(err, -EINVAL,
                            "DNS zone: '%s' of container %s is no server's address; give an IP "
                            "address, perhaps with a port",
                            text == NULL ? "?" : text, id);
        }
        servers->n++;
    }
    return 0;
}

static int
load_view(const json_t *json, const char *id, struct ctr_dns_view **ret, struct ctr_error *err)
{
    struct ctr_dns_view *view = calloc(1, sizeof *view);
    if (view == NULL) {
        return ctr_fail(err, -ENOMEM, "DNS zone: out of memory");
    }
    view->forward = ctr_json_bool(json, "forward", true);
    int code = ctr_dns_hosts_load(&view->hosts, json_object_get(json, "hosts"), err);
    if (code == 0) {
        code = ctr_dns_hosts_load(&view->elsewhere, json_object_get(json, "elsewhere"), err);
    }
    if (code == 0) {
        code = load_servers(&view->servers, json_object_get(json, "dns"), id, err);
    }
    if (code != 0) {
        free_view(view);
        return code;
    }
    *ret = view;
    return 0;
}

static struct ctr_dns_port *
find_or_add(struct ctr_dns_table *ports, const char *id)
{
    size_t length = strlen(id);
    struct ctr_dns_port *port = (struct ctr_dns_port *) ctr_dns_table_find(ports, id, length);
    if (port != NULL || length > UINT16_MAX) {
        return port;
    }
    port = calloc(1, sizeof *port + length + 1);
    if (port == NULL) {
        return NULL;
    }
    memcpy(port->id, id, length);
    port->entry.key = port->id;
    port->entry.length = (uint16_t) length;
    if (ctr_dns_table_add(ports, &port->entry) != 0) {
        free(port);
        return NULL;
    }
    return port;
}

static bool
take_next(struct ctr_dns_entry *entry)
{
    struct ctr_dns_port *port = (struct ctr_dns_port *) entry;
    free_view(port->view);
    port->view = port->next;
    port->next = NULL;
    return false;
}

static bool
drop_next(struct ctr_dns_entry *entry)
{
    struct ctr_dns_port *port = (struct ctr_dns_port *) entry;
    free_view(port->next);
    port->next = NULL;
    return false;
}

static bool
is_unused(struct ctr_dns_entry *entry)
{
    const struct ctr_dns_port *port = (struct ctr_dns_port *) entry;
    return port->view == NULL && port->open == 0 && port->streams == 0;
}

static void
drop_port(struct ctr_dns_entry *entry)
{
    struct ctr_dns_port *port = (struct ctr_dns_port *) entry;
    free_view(port->view);
    free(port);
}

int
ctr_dns_ports_load(struct ctr_dns_table *ports, const json_t *json, struct ctr_error *err)
{
    const char *id;
    json_t *item;
    int code = 0;
    json_object_foreach((json_t *) (uintptr_t) json, id, item)
    {
        struct ctr_dns_port *port = find_or_add(ports, id);
        code = port == NULL ? ctr_fail(err, -ENOMEM, "DNS zone: out of memory")
                            : load_view(item, id, &port->next, err);
        if (code != 0) {
            break;
        }
    }
    ctr_dns_table_sweep(ports, code == 0 ? take_next : drop_next, drop_port);
    ctr_dns_table_sweep(ports, is_unused, drop_port);
    return code;
}

void
ctr_dns_ports_finish(struct ctr_dns_table *ports)
{
    ctr_dns_table_sweep(ports, NULL, drop_port);
    ctr_dns_table_finish(ports);
}

struct ctr_dns_port *
ctr_dns_ports_find(const struct ctr_dns_table *ports, const char *id)
{
    struct ctr_dns_port *port =
        (struct ctr_dns_port *) ctr_dns_table_find(ports, id, strlen(id));
    return port == NULL || port->view == NULL ? NULL : port;
}
