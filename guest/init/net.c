/*
 * net.c: the network of the VM by rtnetlink: lo up, each interface found by its MAC, with address, mtu and default route.
 *
 * The VM's network namespace is the container's. An interface without an IPv6 address has IPv6 off, as with docker.
 */
#include "vm.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
    struct nlmsghdr header;
    union {
        struct ifinfomsg link;
        struct ifaddrmsg address;
        struct rtmsg route;
    };
    char room[256];
};

static void
add_attribute(struct request *request, unsigned short type, const void *bytes, size_t n)
{
    struct rtattr *attribute =
        (struct rtattr *) ((char *) request + NLMSG_ALIGN(request->header.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = (unsigned short) RTA_LENGTH(n);
    memcpy(RTA_DATA(attribute), bytes, n);
    request->header.nlmsg_len =
        (uint32_t) (NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(RTA_LENGTH(n)));
}

/* Sends and waits for the kernel's answer: 0 or -1 with errno. */
static int
send_request(int netlink, struct request *request)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[512];
    } answer;
    request->header.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    if (send(netlink, request, request->header.nlmsg_len, 0) < 0) {
        return -1;
    }
    ssize_t n = recv(netlink, &answer, sizeof answer, 0);
    if (n < (ssize_t) NLMSG_LENGTH(sizeof answer.error) ||
        answer.header.nlmsg_type != NLMSG_ERROR) {
        errno = EPROTO;
        return -1;
    }
    errno = -answer.error.error;
    return errno == 0 ? 0 : -1;
}

static int
link_up(int netlink, int index, uint32_t mtu)
{
    struct request request = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof request.link), .nlmsg_type = RTM_NEWLINK},
        .link = {.ifi_family = AF_UNSPEC,
                 .ifi_index = index,
                 .ifi_flags = IFF_UP,
                 .ifi_change = IFF_UP}};
    if (mtu > 0) {
        add_attribute(&request, IFLA_MTU, &mtu, sizeof mtu);
    }
    return send_request(netlink, &request);
}

static int
add_address(int netlink, int index, int family, const void *address, unsigned char prefix)
{
    size_t n = family == AF_INET ? 4 : 16;
    struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof request.address),
                                         .nlmsg_type = RTM_NEWADDR,
                                         .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE},
                              .address = {.ifa_family = (unsigned char) family,
                                          .ifa_prefixlen = prefix,
                                          .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
                                          .ifa_scope = RT_SCOPE_UNIVERSE,
                                          .ifa_index = (unsigned) index}};
    add_attribute(&request, IFA_LOCAL, address, n);
    add_attribute(&request, IFA_ADDRESS, address, n);
    if (family == AF_INET && prefix < 31) {
        uint32_t broadcast;
        memcpy(&broadcast, address, 4);
        broadcast |= htonl(prefix == 0 ? ~0u : ~0u >> prefix);
        add_attribute(&request, IFA_BROADCAST, &broadcast, 4);
    }
    return send_request(netlink, &request);
}

static int
add_default_route(int netlink, int index, int family, const void *gateway)
{
    struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof request.route),
                                         .nlmsg_type = RTM_NEWROUTE,
                                         .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE},
                              .route = {.rtm_family = (unsigned char) family,
                                        .rtm_table = RT_TABLE_MAIN,
                                        .rtm_protocol = RTPROT_BOOT,
                                        .rtm_scope = RT_SCOPE_UNIVERSE,
                                        .rtm_type = RTN_UNICAST}};
    add_attribute(&request, RTA_GATEWAY, gateway, family == AF_INET ? 4 : 16);
    add_attribute(&request, RTA_OIF, &index, sizeof index);
    return send_request(netlink, &request);
}

struct wanted {
    const char *mac;
    char name[IFNAMSIZ];
};

static bool
find_interface(void *arg)
{
    struct wanted *wanted = arg;
    DIR *dir = opendir("/sys/class/net");
    struct dirent *entry;
    bool found = false;
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX], mac[32] = "";
        (void) snprintf(path, sizeof path, "/sys/class/net/%s/address", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, mac, sizeof mac - 1);
        if (fd >= 0) {
            (void) close(fd);
        }
        mac[n > 0 && mac[n - 1] == '\n' ? n - 1 : 0] = '\0';
        found = strcasecmp(mac, wanted->mac) == 0;
        (void) snprintf(wanted->name, sizeof wanted->name, "%.15s", entry->d_name);
    }
    if (dir != NULL) {
        (void) closedir(dir);
    }
    return found;
}

static int
parse_address(const char *text, uint8_t ret[16])
{
    if (text == NULL) {
        return 0;
    }
    return inet_pton(AF_INET, text, ret) == 1    ? AF_INET
           : inet_pton(AF_INET6, text, ret) == 1 ? AF_INET6
                                                 : 0;
}

static int
setup_interface(int netlink, const json_t *interface, struct fault *fault)
{
    struct wanted wanted = {.mac = json_string_value(json_object_get(interface, "mac"))};
    const char *address = json_string_value(json_object_get(interface, "address"));
    const char *gateway = json_string_value(json_object_get(interface, "gateway"));
    json_int_t mtu = json_integer_value(json_object_get(interface, "mtu"));
    json_int_t prefix = json_integer_value(json_object_get(interface, "prefix"));
    uint8_t bytes[16], via[16];
    int family = parse_address(address, bytes);
    if (wanted.mac == NULL || strlen(wanted.mac) != 17 || family == 0 || prefix < 0 ||
        prefix > (family == AF_INET ? 32 : 128) || mtu < 0 || mtu > 65535 ||
        (gateway != NULL && *gateway != '\0' && parse_address(gateway, via) != family)) {
        return fault_set(fault, "EINVAL", "a network interface is described wrongly");
    }
    if (!uevent_wait(find_interface, &wanted)) {
        return fault_set(fault, "EIO", "the network interface %.17s is not there", wanted.mac);
    }
    char path[128];
    (void) snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", wanted.name);
    (void) vm_write(path, family == AF_INET6 ? "0" : "1");
    int index = (int) if_nametoindex(wanted.name);
    if (index == 0 || link_up(netlink, index, (uint32_t) mtu) < 0 ||
        add_address(netlink, index, family, bytes, (unsigned char) prefix) < 0 ||
        (gateway != NULL && *gateway != '\0' &&
         add_default_route(netlink, index, family, via) < 0)) {
        return fault_errno(fault, "EIO", "set up the network interface %s (%.45s)", wanted.name,
                           address);
    }
    return 0;
}

int
net_setup(const json_t *network, struct fault *fault)
{
    const json_t *interfaces = json_object_get(network, "interfaces"), *interface;
    size_t i;
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (netlink < 0) {
        return fault_errno(fault, "EIO", "open rtnetlink");
    }
    (void) link_up(netlink, 1, 0); /* lo is always the first */
    (void) vm_write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    (void) vm_write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    int result = 0;
    json_array_foreach(interfaces, i, interface)
    {
        if (result == 0) {
            result = setup_interface(netlink, interface, fault);
        }
    }
    (void) close(netlink);
    return result;
}
