/*
 * network-list.c: network ls.
 */
#include "core/cmd/show.h"

static const struct ctl_column columns[] = {
    {"ID", "NETWORK ID"}, {"Name", "NAME"},         {"Driver", "DRIVER"},
    {"Scope", "SCOPE"},   {"Subnet", "SUBNET"},     {"Subnet6", "SUBNET6"},
    {"IPv6", "IPV6"},     {"Internal", "INTERNAL"}, {"Isolated", "ISOLATED"},
    {"Egress", "EGRESS"}, {"Labels", "LABELS"},     {"CreatedAt", "CREATED AT"},
    {NULL, NULL},
};

/* The subnet of IPv4 or IPv6. */
static const char *
subnet_of(const json_t *network, bool six)
{
    size_t i;
    json_t *pool;
    json_array_foreach(json_object_get(json_object_get(network, "IPAM"), "Config"), i, pool)
    {
        const char *subnet = ctr_json_str(pool, "Subnet", "");
        if ((strchr(subnet, ':') != NULL) == six) {
            return subnet;
        }
    }
    return "";
}

static const char *
yes_no(const json_t *object, const char *key)
{
    return ctr_json_bool(object, key, false) ? "true" : "false";
}

static json_t *
row_of(const struct ctl *ctl, const json_t *network)
{
    const json_t *own = json_object_get(network, "Ctr");
    const char *id = ctr_json_str(network, "Id", "");
    char short_id[13];
    (void) snprintf(short_id, sizeof short_id, "%.12s", id);
    CTR_AUTO(free) char *labels = ctl_joined(json_object_get(network, "Labels"), true);
    if (labels == NULL) {
        return NULL;
    }
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "ID",
                     ctl_flag(ctl, "no-trunc") ? id : short_id, "Name",
                     ctr_json_str(network, "Name", ""), "Driver",
                     ctr_json_str(own, "Plugin", ctr_json_str(network, "Driver", "")), "Scope",
                     ctr_json_str(network, "Scope", ""), "Subnet", subnet_of(network, false),
                     "Subnet6", subnet_of(network, true), "IPv6", yes_no(network, "EnableIPv6"),
                     "Internal", yes_no(network, "Internal"), "Isolated",
                     yes_no(own, "Isolated"), "Egress", ctr_json_str(own, "Egress", ""),
                     "Labels", labels, "CreatedAt", ctr_json_str(network, "Created", ""));
}

static int
ls_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *networks = NULL;
    CTR_AUTO(free) char *filters = ctl_filters(ctl, &err);
    if (filters == NULL) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/networks?filters=%s", filters);
    if (ctl_call(ctl, "GET", path, NULL, &networks, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(json) json_t *rows = json_array();
    size_t i;
    json_t *network;
    json_array_foreach(networks, i, network)
    {
        (void) json_array_append_new(rows, row_of(ctl, network));
    }
    const char *format = ctl_flag(ctl, "quiet") ? "{{.ID}}" : ctl_value(ctl, "format");
    const char *standard = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Subnet}}";
    return ctl_show(rows, columns, standard, format, &err) < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option ls_options[] = {
    {"filter", 'f', "KEY=VALUE",
     "Only those with this name, id, driver, label, type, dangling … (repeatable)"},
    {"format", 0, "FORMAT", "table, json, 'table TEMPLATE' or a template: '{{.Name}}'"},
    {"no-trunc", 0, NULL, "Whole IDs"},
    {"quiet", 'q', NULL, "Only IDs"},
    {NULL},
};
const struct ctl_command ctl_network_ls = {
    .operands = "",
    .summary = "List networks",
    .examples =
        "ctrctl network ls\nctrctl network ls --filter type=custom --format '{{.Name}}'",
    .options = ls_options,
    .run = ls_main,
};
