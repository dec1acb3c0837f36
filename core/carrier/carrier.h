/*
 * core/carrier: ctr-net, the process that owns one network's data plane: the net plugin, the resolver, the rules for the way out, captures. It outlives ctrd.
 *
 * ctr-net is started detached with one JSON object on standard input:
 *   {"plugin":"/abs/net-x.so","instance":"default","options":{…},"socket":"/run/…/n/NAME.sock","run_dir":…,"resolv_conf":PATH,
 *    "network":{"name","id","mtu","out_mtu","subnet","prefix","gateway","dns","host","internal","isolated",          addresses as text; "" or absent: none
 *               "subnet6","prefix6","gateway6","egress":"open"|"deny","allow":["api.example.com:443","10.0.0.0/8",…]}}
 * writes {"ok":{"kinds":1,"pid":P}} or {"error":…} as one line on standard output, and closes it. It listens on the socket; many requests a connection, a JSON line each:
 *   {"op":"attach","id":ID,"mac":"02:…","address":"10.88.0.2","address6":"fd…","kind":1,"host":false} -> {"ok":{"kind":1,"mtu":1500,"out_mtu":0,"native":…}}. A descriptor may come with
 *         the request (ctr_port_spec.fd) and with the answer (ctr_port.fd), each as SCM_RIGHTS on the line's first byte. One that comes with the answer to a request
 *         that had one (from a plugin before 1.2) is the VM's end of another pair, which takes the place of the core's
 *   {"op":"detach","id":ID}
 *   {"op":"publish"|"unpublish","id":ID,"proto":"tcp","host_address":"0.0.0.0"|"::","host_port":8080,"host_port_end":8090,"port":80} -> {"ok":{"host_port":8080}}
 *         host_port 0: any free one; host_port_end: the first free one up to it
 *   {"op":"zone","zone":{…}}             as in core/dns/dns.h
 *   {"op":"stats","id":ID} -> {"ok":{"rx_frames",…}}   {"op":"ports"} -> {"ok":{"ports":{ID:{mac,address,address6,kind,out_mtu,published:[…]}}}}
 *   {"op":"info"} -> {"ok":{"kinds":1,"pid":P,"plugin":"switch","network":NAME,"dns":{…},"refused":[{"container","proto","address","port","name","count","time":NS}],
 *         "captures":[{"id","frames","lost"}]}}
 *   {"op":"capture","id":ID|"","count":N} -> {"ok":{}}, then the connection carries a pcap file (nanoseconds, LINKTYPE_ETHERNET) until it ends or N frames are through
 *   {"op":"events"} -> {"ok":{}}, then lines {"event":"refused","container":ID,"proto":"tcp","address":"192.0.2.1","port":443,"name":"" or the DNS name,"count":N,"time":NS},
 *         count being of this container, protocol, address and port; proto "dns": that name may not be asked for. At most four a second
 *   {"op":"stop"}
 * A line has less than 1 MiB. While a connection does not take its answers, no more of its requests are read; after 10 s it is closed. Nothing follows "capture" and "events".
 * Errors: {"error":{"code":-98,"message":"…"}}, code a negative errno value.
 */
#ifndef CTR_CARRIER_H
#define CTR_CARRIER_H

#include "core/dns/dns.h"
#include "core/plugin/plugin.h"

/* The ctr-net process; returns its exit status. */
int ctr_net_main(void);

#endif
