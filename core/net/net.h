/*
 * core/net: networks, addresses, names and leases, in ctrd.
 *
 * It is thread-safe. A container's endpoint on a network (addresses, MAC, aliases) is a record: it is made by join, stays over stops, restarts and
 * crashes, and goes by leave. Leases are claimed race-free. up attaches a container that is about to run, down takes its ports away. While a
 * container is up, its network's ctr-net is started again whenever it dies, and gets back ports, published ports, names and rules.
 * What ctrd and ctr-net say to each other is in core/carrier/carrier.h.
 */
#ifndef CTR_CORE_NET_H
#define CTR_CORE_NET_H

#include "core/plugin/plugin.h"
#include "core/store/store.h"

struct ctr_nets;

/* What networks need from whoever runs machines. Called on a thread of core/net's own or of the call that caused it (adopt, add, up …), with none of
 * its locks held; the caller of such a call holds none of what its hooks take. */
struct ctr_nets_hooks {
    void *arg;
    /* The network's end of a running machine's port, whose hardware address is `hardware`: the caller owns it. -ENOENT: it does not run (any more). */
    int (*port)(void *arg, const char *container, const char *hardware, struct ctr_error *err);
    /* Something to tell: {"action":"create|destroy|connect|disconnect|refuse|lost|restored","network","network_id","container","attributes":{K:TEXT}}; borrowed. */
    void (*event)(void *arg, const json_t *event);
};

/* hooks (copied) NULL: nobody asks, nobody is told, and no ctr-net is watched. */
int ctr_nets_create(struct ctr_store *store, const struct ctr_conf *conf,
                    const struct ctr_nets_hooks *hooks, struct ctr_nets **ret,
                    struct ctr_error *err);
void ctr_nets_destroy(struct ctr_nets *nets); /* the ctr-net processes live on; takes NULL */

/* --- networks. `ref` is a name, an ID or a unique prefix of one; "bridge" is another name of "default". -ENOENT names it --- */

/* request: {"name","driver":PLUGIN,"subnet":"10.89.0.0/24","gateway","ipv6":B,"subnet6","gateway6","internal":B,"isolated":B,"mtu":N,"labels":{},"options":{K:V of the plugin},
 *           "egress":"open|deny","allow":["HOST[:PORT]","CIDR[:PORT]","[V6CIDR]:PORT"]}; absent members have defaults. Automatic subnets overlap no route of the host and no
 * other network. Starts ctr-net once, so that what the plugin refuses is refused here. -EEXIST: name or subnet is taken, by whom. */
int ctr_nets_add(struct ctr_nets *nets, const json_t *request, char ret_id[65],
                 struct ctr_error *err);
/* -EBUSY names a container that has an endpoint; "default" and "none" cannot go. */
int ctr_nets_remove(struct ctr_nets *nets, const char *ref, struct ctr_error *err);
/* {"name","id","driver","subnet","gateway","subnet6","gateway6","internal","isolated","mtu","labels","options","egress","allow","created":NS,"running":B,
 *  "containers":{ID:{"name","address","address6","mac","aliases"}}}; inspect also has "refused":[…] and "dns":{…} of a running ctr-net. New references. */
json_t *ctr_nets_list(struct ctr_nets *nets, struct ctr_error *err);
json_t *ctr_nets_inspect(struct ctr_nets *nets, const char *ref, struct ctr_error *err);
/* A connection that carries a pcap file from here on; the caller owns *ret_fd. container "": all of the network's. */
int ctr_nets_capture(struct ctr_nets *nets, const char *ref, const char *container,
                     int64_t count, int *ret_fd, struct ctr_error *err);
/* Ends the ctr-net processes that no attached container uses (ctrd's orderly stop); network NULL: of all networks. */
int ctr_nets_stop(struct ctr_nets *nets, const char *network, struct ctr_error *err);

/* --- endpoints: durable --- */

/* endpoint: {"ip","ip6","mac","aliases":[…],"mtu":N}, absent members chosen. Conflicts name the container that has the address. `name`: the container's.
 * -EEXIST: it is on that network already. "none" excludes all others. */
int ctr_nets_join(struct ctr_nets *nets, const char *ref, const char *container,
                  const char *name, const json_t *endpoint, struct ctr_error *err);
/* Takes the port away if there is one, gives the addresses back. ref NULL: of all networks (rm). A container without that endpoint: -ENOENT. */
int ctr_nets_leave(struct ctr_nets *nets, const char *ref, const char *container,
                   struct ctr_error *err);
/* The names of a renamed container follow at once. */
int ctr_nets_rename(struct ctr_nets *nets, const char *container, const char *name,
                    struct ctr_error *err);
/* [{"network","network_id","address","prefix","gateway","address6","prefix6","gateway6","mac","hardware","mtu","aliases":[…],"published":[…],"up":B}], in the
 * order of joining; new reference. */
json_t *ctr_nets_endpoints(struct ctr_nets *nets, const char *container, struct ctr_error *err);

/* --- ports: as long as the machine runs --- */

/* How a container wants to be connected; a part of its frozen spec. */
struct ctr_nets_wants {
    const char *container, *name, *hostname;
    uint32_t vmm_kinds;
    const json_t *
        publish; /* [{proto,host_address,host_port,host_port_end,port}], made on the first network that has a way out */
    const json_t *
        extra_hosts; /* ["name:10.0.0.1", "name:host-gateway"]: the latter opens the host for it */
    const json_t *dns, *dns_search,
        *dns_options; /* arrays of texts; NULL or empty: the host's */
};

struct ctr_attachment {
    char network[64];
    char hardware[18]; /* the interface's MAC at boot */
    int kind;          /* enum ctr_port_kind */
    int mtu;
    int fd;   /* the VM's end, caller owns; -1 for NATIVE */
    int keep; /* the network's end (DGRAM) or a copy of fd: the sandbox keeps it as long as the VM runs, for a ctr-net that is started again; caller owns */
    char native[64];
};

/* Attaches all endpoints, publishes, tells the names to all networks concerned. *ret_published (new reference): the list with the real host ports.
 * On failure nothing is left attached. Callers free *ret with ctr_attachments_free. */
int ctr_nets_up(struct ctr_nets *nets, const struct ctr_nets_wants *wants,
                struct ctr_attachment **ret, size_t *ret_n, json_t **ret_published,
                struct ctr_error *err);
void
ctr_attachments_free(struct ctr_attachment *attachments, size_t n); /* closes; takes NULL */
/* Attaches one more endpoint (join was before) of a container that is up, over the spare port `hardware` whose network's end is `fd` (borrowed). */
int ctr_nets_up_one(struct ctr_nets *nets, const char *ref, const char *container,
                    const char *hardware, int fd, struct ctr_error *err);
/* A container that is found running after ctrd's own restart: as up, but its ports are there already or are brought back by way of hooks->port. */
int ctr_nets_adopt(struct ctr_nets *nets, const struct ctr_nets_wants *wants,
                   json_t **ret_published, struct ctr_error *err);
/* Takes all ports away; endpoints stay. Missing things are no error. */
int ctr_nets_down(struct ctr_nets *nets, const char *container, struct ctr_error *err);
/* The guest's "network" object (guest/PROTOCOL.guest.md) of a container that is up; new reference. */
json_t *ctr_nets_guest(struct ctr_nets *nets, const char *container, struct ctr_error *err);
/* {"rx_frames",…} of each network of a container that is up, by name; new reference. */
json_t *ctr_nets_stats(struct ctr_nets *nets, const char *container, struct ctr_error *err);

/* --- text --- */

/* -p's grammar (a fuzz target): "[IP:|[IP6]:][HOST[-END]]:CTR[-END][/tcp|udp|sctp]" or "CTR[-END]", into an array of {proto, host_address, host_port, host_port_end, port}, one for each
 * port of the container; host_port_end is there only where a range of host ports serves one port. New reference or NULL. */
json_t *ctr_publish_parse(const char *text, struct ctr_error *err);
/* --network's grammar (a fuzz target): "NAME[,ip=A][,ip6=A][,mac=M][,alias=N]…[,mtu=N]" into {"network","ip","ip6","mac","aliases","mtu"}; docker's long
 * form "name=NAME,ip=…" too. New reference or NULL. */
json_t *ctr_network_option_parse(const char *text, struct ctr_error *err);
/* One of its pairs: sets "ip", "ip6", "mac", "aliases" (key "alias") or "mtu" of an endpoint after a check. */
int ctr_network_option_set(json_t *endpoint, const char *key, const char *value,
                           struct ctr_error *err);
/* A network's name in a request: refuses "host" and "container:…" with what to use instead. */
int ctr_network_name_check(const char *name, struct ctr_error *err);
/* --add-host's grammar: "NAME:IP", "NAME=IP", "NAME:host-gateway", brackets around an IPv6 address if you like: as "NAME:IP" without brackets. Caller
 * frees; NULL with err. */
char *ctr_extra_host_parse(const char *text, struct ctr_error *err);
/* --allow's grammar: HOST[:PORT], *.HOST[:PORT], CIDR[:PORT], [CIDR6]:PORT; checks only. */
int ctr_allow_check(const char *text, struct ctr_error *err);

#endif
