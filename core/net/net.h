/*
 * core/net: networks, addresses and leases (in ctrd), and ctr-net, the process that owns one network's data plane.
 *
 * ctrd's half is thread-safe. Addresses belong to a container until it is removed: leases are records, claimed race-free. The MAC is
 * made from the address (02:42 + IPv4). Host loopback, link-local and metadata addresses are closed.
 *
 * ctr-net is started detached with one JSON object on standard input:
 *   {"plugin":"/abs/net-x.so","instance":"default","options":{…},"socket":"/run/…/n/NAME.sock","run_dir":…,
 *    "network":{"name","mtu","subnet","prefix","gateway","dns","internal"}}       addresses as text
 * writes {"ok":{"kinds":1,"pid":P}} or {"error":…} as one line on standard output, and closes it. It listens on the socket; many requests a connection, a JSON line each:
 *   {"op":"attach","id":ID,"mac":"02:…","address":"10.88.0.2","kind":1} -> {"ok":{"kind":1,"mtu":1500}} with the VM's fd as SCM_RIGHTS
 *   {"op":"detach","id":ID}   {"op":"publish"|"unpublish","proto":"tcp","host_address":"0.0.0.0","host_port":8080,"port":80,"address":"10.88.0.2"} -> {"ok":{"host_port":8080}}
 *   {"op":"stats","id":ID} -> {"ok":{"rx_frames",…}}   {"op":"ports"} -> {"ok":{"ports":{ID:{mac,address,kind,published:[…]}}}}
 *   {"op":"info"} -> {"ok":{"kinds":1,"pid":P,"plugin":"switch","network":NAME}}   {"op":"stop"}
 * Errors: {"error":{"code":-98,"message":"…"}}, code a negative errno value.
 */
#ifndef CTR_CORE_NET_H
#define CTR_CORE_NET_H

#include "core/plugin/plugin.h"
#include "core/store/store.h"

struct ctr_nets;

int ctr_nets_create(struct ctr_store *store, const struct ctr_conf *conf, struct ctr_nets **ret,
                    struct ctr_error *err);
void ctr_nets_destroy(struct ctr_nets *nets); /* the ctr-net processes live on; takes NULL */

/* One container on one network. */
struct ctr_attachment {
    char network[64];
    char mac[18];
    char address[16], gateway[16], dns[16]; /* dotted */
    int prefix;
    int mtu;
    int kind; /* enum ctr_port_kind */
    int fd;   /* the VM's end, caller owns; -1 for none */
};

/* Leases (or finds) the container's address, starts the network's ctr-net if it does not run, attaches a port, publishes. `vmm_kinds`: what the VMM speaks.
 * `publish`: JSON array of {proto, host_address, host_port, port}; *ret_published (new reference) is the same with the real host ports. Network "default" is made on first use.
 * Network "none" gives no port (fd -1, no address). On failure nothing is left attached. */
int ctr_nets_connect(struct ctr_nets *nets, const char *network, const char *container,
                     uint32_t vmm_kinds, const json_t *publish, struct ctr_attachment *ret,
                     json_t **ret_published, struct ctr_error *err);
/* Takes the port away; the lease stays. Missing things are no error. */
int ctr_nets_disconnect(struct ctr_nets *nets, const char *network, const char *container,
                        struct ctr_error *err);
/* Gives the address back (rm). */
int ctr_nets_release(struct ctr_nets *nets, const char *network, const char *container,
                     struct ctr_error *err);
/* Network records as JSON {name, driver, subnet, gateway, internal, id, created, containers:{ID:{address,mac}}}; new references. -ENOENT names the network. */
json_t *ctr_nets_list(struct ctr_nets *nets, struct ctr_error *err);
json_t *ctr_nets_inspect(struct ctr_nets *nets, const char *network, struct ctr_error *err);
/* Ends the ctr-net processes that no attached container uses (ctrd's orderly stop); network NULL: of all networks. */
int ctr_nets_stop(struct ctr_nets *nets, const char *network, struct ctr_error *err);
/* A network of its own subnet ("10.89.0.0/24"); `internal`: no way out. -EEXIST if the name or part of the subnet is taken. */
int ctr_nets_add(struct ctr_nets *nets, const char *name, const char *subnet, bool internal,
                 struct ctr_error *err);

/* "10.88.0.2" <-> host byte order. */
int ctr_ipv4_parse(const char *text, uint32_t *ret);
const char *ctr_ipv4_format(uint32_t address, char ret[16]);
/* "[IP:]HOST:CTR[/tcp|udp]" or "CTR" into {proto, host_address, host_port, port}; new reference or NULL. -p's grammar, a fuzz target. */
json_t *ctr_publish_parse(const char *text, struct ctr_error *err);

/* The ctr-net process; returns its exit status. */
int ctr_net_main(void);

#endif
