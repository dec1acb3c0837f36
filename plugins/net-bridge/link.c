/*
 * The bridge and its ports, by rtnetlink.
 *
 * A port learns nothing and is flooded with nothing: which MAC is where is told to the kernel when the port is made.
 */
#include "bridge-priv.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_ether.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

static int
call(const struct br *br, struct br_message *message)
{
    return br_message_call(br->netlink, message, NULL, NULL);
}

static void
link_message(struct br_message *message, uint16_t type, uint16_t flags, int index,
             unsigned interface_flags, unsigned change)
{
    const struct ifinfomsg header = {.ifi_family = AF_UNSPEC,
                                     .ifi_index = index,
                                     .ifi_flags = interface_flags,
                                     .ifi_change = change};
    br_message_init(message, type, flags, &header, sizeof header);
}

/* The gateway's MAC, which stays over restarts: 02:42 and its address. */
static void
gateway_mac(const struct br *br, uint8_t ret[6])
{
    ret[0] = 0x02;
    ret[1] = 0x42;
    memcpy(ret + 2, br->gateway.bytes, 4);
}

int
br_link_bridge(struct br *br)
{
    struct br_message message;
    uint8_t mac[6];
    gateway_mac(br, mac);
    link_message(&message, RTM_NEWLINK, NLM_F_CREATE, 0, 0, 0);
    br_message_add(&message, IFLA_IFNAME, br->bridge, strlen(br->bridge) + 1);
    br_message_add(&message, IFLA_ADDRESS, mac, sizeof mac);
    br_message_add32(&message, IFLA_MTU, br->mtu);
    br_message_add32(&message, IFLA_GROUP, BR_GROUP);
    size_t info = br_message_nest(&message, IFLA_LINKINFO);
    br_message_add(&message, IFLA_INFO_KIND, "bridge", strlen("bridge"));
    size_t data = br_message_nest(&message, IFLA_INFO_DATA);
    br_message_add8(&message, IFLA_BR_MCAST_SNOOPING, 0);
    br_message_end(&message, data);
    br_message_end(&message, info);
    int code = call(br, &message);
    if (code == 0) {
        br->index = (int) if_nametoindex(br->bridge);
    }
    return code;
}

int
br_link_delete(const struct br *br, int index)
{
    struct br_message message;
    link_message(&message, RTM_DELLINK, 0, index, 0, 0);
    return call(br, &message);
}

int
br_link_up(const struct br *br, int index, bool up)
{
    struct br_message message;
    link_message(&message, RTM_NEWLINK, 0, index, up ? IFF_UP : 0, IFF_UP);
    return call(br, &message);
}

static int
set_master(const struct br *br, const struct br_port *port, bool master)
{
    struct br_message message;
    link_message(&message, RTM_NEWLINK, 0, port->index, 0, 0);
    br_message_add32(&message, IFLA_MTU, br->mtu);
    br_message_add32(&message, IFLA_MASTER, master ? (uint32_t) br->index : 0);
    return call(br, &message);
}

static int
set_port(const struct br *br, const struct br_port *port)
{
    const struct ifinfomsg header = {.ifi_family = AF_BRIDGE, .ifi_index = port->index};
    struct br_message message;
    br_message_init(&message, RTM_SETLINK, 0, &header, sizeof header);
    size_t info = br_message_nest(&message, IFLA_PROTINFO);
    br_message_add8(&message, IFLA_BRPORT_LEARNING, 0);
    br_message_add8(&message, IFLA_BRPORT_UNICAST_FLOOD, 0);
    br_message_add8(&message, IFLA_BRPORT_ISOLATED, br->isolated ? 1 : 0);
    br_message_end(&message, info);
    return call(br, &message);
}

static int
set_mac(const struct br *br, const struct br_port *port)
{
    const struct ndmsg header = {.ndm_family = AF_BRIDGE,
                                 .ndm_ifindex = port->index,
                                 .ndm_state = NUD_NOARP | NUD_REACHABLE,
                                 .ndm_flags = NTF_MASTER};
    struct br_message message;
    br_message_init(&message, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header,
                    sizeof header);
    br_message_add(&message, NDA_LLADDR, port->mac, sizeof port->mac);
    return call(br, &message);
}

int
br_link_join(const struct br *br, const struct br_port *port, bool master)
{
    int code = set_master(br, port, master);
    if (code != 0 || !master) {
        return code;
    }
    code = set_port(br, port);
    return code != 0 ? code : set_mac(br, port);
}

int
br_link_address(const struct br *br, const struct ctr_address *address, uint32_t prefix)
{
    bool six = address->family == 6;
    const struct ifaddrmsg header = {.ifa_family = six ? AF_INET6 : AF_INET,
                                     .ifa_prefixlen = (uint8_t) prefix,
                                     .ifa_flags = six ? IFA_F_NODAD : 0,
                                     .ifa_index = (unsigned) br->index};
    struct br_message message;
    br_message_init(&message, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &header,
                    sizeof header);
    br_message_add(&message, IFA_LOCAL, address->bytes, six ? 16 : 4);
    br_message_add(&message, IFA_ADDRESS, address->bytes, six ? 16 : 4);
    return call(br, &message);
}

static void
take_stats(void *arg, const uint8_t *bytes, size_t length)
{
    size_t n = 0;
    const uint8_t *found =
        length < sizeof(struct ifinfomsg)
            ? NULL
            : br_attribute(bytes + sizeof(struct ifinfomsg), length - sizeof(struct ifinfomsg),
                           IFLA_STATS64, &n);
    if (found != NULL) {
        memcpy(arg, found,
               n < sizeof(struct rtnl_link_stats64) ? n : sizeof(struct rtnl_link_stats64));
    }
}

int
br_link_stats(const struct br *br, int index, struct rtnl_link_stats64 *ret)
{
    struct br_message message;
    memset(ret, 0, sizeof *ret);
    link_message(&message, RTM_GETLINK, 0, index, 0, 0);
    return br_message_call(br->netlink, &message, take_stats, ret);
}

struct search {
    int master;
    bool found;
};

static void
look_at_master(void *arg, const uint8_t *bytes, size_t length)
{
    struct search *search = arg;
    size_t n = 0;
    int32_t master = 0;
    const uint8_t *found =
        length < sizeof(struct ifinfomsg)
            ? NULL
            : br_attribute(bytes + sizeof(struct ifinfomsg), length - sizeof(struct ifinfomsg),
                           IFLA_MASTER, &n);
    if (found != NULL && n == sizeof master) {
        memcpy(&master, found, n);
        search->found = search->found || master == search->master;
    }
}

bool
br_link_has_ports(const struct br *br, int index)
{
    struct search search = {.master = index};
    struct br_message message;
    link_message(&message, RTM_GETLINK, NLM_F_DUMP, 0, 0, 0);
    /* What cannot be looked at is left alone. */
    return br_message_call(br->netlink, &message, look_at_master, &search) != 0 || search.found;
}

int
br_link_sysctl(const char *interface, const char *family, const char *key, int value)
{
    char path[128], text[16];
    (void) snprintf(path, sizeof path, "/proc/sys/net/%s/conf/%s/%s", family, interface, key);
    int length = snprintf(text, sizeof text, "%d\n", value);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int code = write(fd, text, (size_t) length) == length ? 0 : -errno;
    (void) close(fd);
    return code;
}
