/*
 * passt's command line. Nothing in it comes from an image or a name: numbers and addresses only, and the path of the host's own program.
 *
 * passt wants an interface to take defaults from, though it is told everything: the loopback serves, so that it also starts on a host without a route; for IPv6
 * it must be one that has a link-local address.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* vasprintf */
#endif
#include "passt-priv.h"
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIXED 48 /* arguments but those for ports */

struct list {
    char **argv;
    size_t n;
    bool failed;
};

__attribute__((format(printf, 2, 3))) static void
add(struct list *list, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) {
        text = NULL;
        list->failed = true;
    }
    va_end(args);
    if (text != NULL) {
        list->argv[list->n++] = text;
    }
}

/* An interface with a link-local address, else "lo" with false. */
static bool
choose_interface(char ret[IF_NAMESIZE])
{
    struct ifaddrs *all = NULL;
    bool found = false;
    (void) snprintf(ret, IF_NAMESIZE, "lo");
    if (getifaddrs(&all) != 0) {
        return false;
    }
    for (const struct ifaddrs *i = all; i != NULL && !found; i = i->ifa_next) {
        const void *name = i->ifa_addr;
        if (name != NULL && i->ifa_addr->sa_family == AF_INET6 &&
            (i->ifa_flags & IFF_LOOPBACK) == 0 && (i->ifa_flags & IFF_UP) != 0 &&
            IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *) name)->sin6_addr)) {
            (void) snprintf(ret, IF_NAMESIZE, "%s", i->ifa_name);
            found = true;
        }
    }
    freeifaddrs(all);
    return found;
}

static void
add_addresses(struct list *list, const struct way *way)
{
    const struct sw *sw = way->guest->up->sw;
    const struct sw_identity *who = &way->guest->port->who;
    char interface[IF_NAMESIZE], text[SW_ADDRESS_TEXT];
    bool six = who->address6.family == 6 && choose_interface(interface);
    uint8_t mac[6];
    if (!six) {
        (void) snprintf(interface, sizeof interface, "lo");
        add(list, "-4");
    }
    add(list, "-i");
    add(list, "%s", interface);
    add(list, "-a");
    add(list, "%s", sw_show(&who->address, text));
    add(list, "-n");
    add(list, "%u", (unsigned) sw->rules.net.prefix);
    add(list, "-g"); /* its name for the host itself */
    add(list, "%s", sw_show(&sw->rules.host, text));
    if (six) {
        add(list, "-a");
        add(list, "%s", sw_show(&who->address6, text));
        add(list, "-g");
        add(list, PASST_LOCAL6);
    }
    sw_gateway_mac(&sw->rules, mac);
    add(list, "-M");
    add(list, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    add(list, "-m");
    add(list, "%u", (unsigned) sw->mtu);
}

static bool
is_any(const struct ctr_address *address)
{
    const struct ctr_address any = {.family = address->family};
    return sw_same(address, &any);
}

/* All IPv4 addresses and all IPv6 ones: passt knows that as one port, on no address. */
static bool
is_twin(const struct sw_published *a, const struct sw_published *b)
{
    return a->host_port == b->host_port && a->port == b->port && is_any(&a->host_address) &&
           is_any(&b->host_address) && a->host_address.family != b->host_address.family;
}

static void
add_port(struct list *list, const struct way *way, size_t index)
{
    const struct sw_published *p = way->ports[index];
    char text[SW_ADDRESS_TEXT];
    bool twin = false;
    for (size_t i = 0; i < way->n_ports; i++) {
        bool is = is_twin(p, way->ports[i]);
        if (is && i < index) {
            return; /* named already */
        }
        twin = twin || is;
    }
    add(list, "-t");
    if (twin) {
        add(list, "%u:%u", p->host_port, p->port);
    } else {
        add(list, "%s/%u:%u", sw_show(&p->host_address, text), p->host_port, p->port);
    }
}

char **
passt_command(const struct way *way, int fd)
{
    const struct sw *sw = way->guest->up->sw;
    struct list list = {.argv = calloc(FIXED + 2 * way->n_ports + 1, sizeof(char *))};
    if (list.argv == NULL) {
        return NULL;
    }
    static const char *const fixed[] = {
        "-f",   "-q",        "-D",          "none",     "-S",
        "none", "--no-dhcp", "--no-dhcpv6", "--no-ndp", "--no-ra",
    };
    add(&list, "%s", way->guest->up->binary);
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        add(&list, "%s", fixed[i]);
    }
    add(&list, "--fd");
    add(&list, "%d", fd);
    add_addresses(&list, way);
    if (!way->guest->port->host && sw->rules.n_host_ports == 0) {
        add(&list, "--no-map-gw");
    }
    for (size_t i = 0; i < way->n_ports; i++) {
        add_port(&list, way, i);
    }
    if (list.failed) {
        passt_command_free(list.argv);
        return NULL;
    }
    return list.argv;
}

void
passt_command_free(char **argv)
{
    for (size_t i = 0; argv != NULL && argv[i] != NULL; i++) {
        free(argv[i]);
    }
    free(argv);
}
