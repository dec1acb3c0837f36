/*
 * The slots of a plugin that is made of the switch, and the options that they read. Its plugin.c puts them into the exported object:
 *
 *     static const struct ctr_option options[] = {SW_OPTIONS};
 *     static const struct ctr_net_ops ops = SW_OPS(0); a set of enum ctr_net_flag
 */
#ifndef CTR_SWITCH_SLOTS_H
#define CTR_SWITCH_SLOTS_H

#include "switch-priv.h"

int sw_slot_open(const struct ctr_host *host, void **ret_self, struct ctr_error *err);
void sw_slot_close(void *self);
uint32_t sw_slot_port_kinds(void *self);
int sw_slot_create(void *self, const struct ctr_network *network, struct ctr_error *err);
int sw_slot_attach(void *self, const struct ctr_port_spec *spec, struct ctr_port *ret,
                   struct ctr_error *err);
int sw_slot_detach(void *self, const char *id, struct ctr_error *err);
int sw_slot_publish(void *self, struct ctr_publish *publish, struct ctr_error *err);
int sw_slot_unpublish(void *self, const struct ctr_publish *publish, struct ctr_error *err);
int sw_slot_stats(void *self, const char *id, struct ctr_net_stats *ret, struct ctr_error *err);
int sw_slot_allow(void *self, const struct ctr_net_rule *rule, struct ctr_error *err);
int sw_slot_capture(void *self, const char *id, uint32_t on, struct ctr_error *err);

#define SW_OPS(flags_)                                                                         \
    {                                                                                          \
        .size = sizeof(struct ctr_net_ops), .flags = (flags_), .open = sw_slot_open,           \
        .close = sw_slot_close, .port_kinds = sw_slot_port_kinds, .create = sw_slot_create,    \
        .attach = sw_slot_attach, .detach = sw_slot_detach, .publish = sw_slot_publish,        \
        .unpublish = sw_slot_unpublish, .stats = sw_slot_stats, .allow = sw_slot_allow,        \
        .capture = sw_slot_capture,                                                            \
    }

#define SW_OPTIONS                                                                             \
    {                                                                                          \
        .size = sizeof(struct ctr_option),                                                     \
        .type = CTR_OPTION_BOOL,                                                               \
        .name = "host_access",                                                                 \
        .def = "no",                                                                           \
        .help = "containers may reach the host's own addresses (never its loopback)",          \
    },                                                                                         \
        {                                                                                      \
            .size = sizeof(struct ctr_option),                                                 \
            .type = CTR_OPTION_STRING,                                                         \
            .name = "host_ports",                                                              \
            .help =                                                                            \
                "ports of the host's loopback that every container reaches, like 5432, 8080",  \
        },                                                                                     \
    {                                                                                          \
        .size = sizeof(struct ctr_option), .type = CTR_OPTION_INT, .name = "flows",            \
        .def = "1024", .min = 1, .max = 65536,                                                 \
        .help = "connections that one container may have with the outside at a time",          \
    }

#endif
