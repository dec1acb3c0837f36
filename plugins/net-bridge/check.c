/*
 * What the host must have: the right to configure the network, forwarding switched on, and no firewall that drops what our own rules let through.
 * Nothing of this is changed from here: it is the host's, and a line that says what to do surprises nobody.
 */
#include "bridge-priv.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int
br_check_rights(struct ctr_error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &header, data) == 0 &&
        (data[0].effective & (1U << CAP_NET_ADMIN)) != 0) {
        return 0;
    }
    return ctr_fail(err, -EPERM,
                    "net-bridge makes interfaces and firewall rules, which needs root or "
                    "CAP_NET_ADMIN: run ctr as root, or use plugin = switch, which needs "
                    "no privileges");
}

/* --- forwarding --- */

static bool
is_on(const char *path)
{
    char byte = '0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void) !read(fd, &byte, 1);
        (void) close(fd);
    }
    return byte != '0';
}

static int
check_forwarding(const struct br *br, struct ctr_error *err)
{
    const char *off =
        !is_on("/proc/sys/net/ipv4/ip_forward") ? "net.ipv4.ip_forward"
        : br->subnet6.family == 6 && !is_on("/proc/sys/net/ipv6/conf/all/forwarding")
            ? "net.ipv6.conf.all.forwarding"
            : NULL;
    return off == NULL ? 0
                       : ctr_fail(err, -EPERM,
                                  "network %s: this host forwards no packets, so nothing "
                                  "would go out; switch it on (sysctl -w %s=1), make the "
                                  "network internal, or use plugin = switch",
                                  br->name, off);
}

/* --- other people's firewalls --- */

/* A chain of the list, as it is printed: the table's line before it names family and name. */
struct chain {
    char table[128], name[128];
};

/* Finds a base chain at `hook` that drops what none of its rules accepts, behind *at in the text. */
static bool
next_dropping(const char **at, struct chain *chain, const char *hook)
{
    char wanted[32];
    (void) snprintf(wanted, sizeof wanted, " hook %s ", hook);
    while (**at != '\0') {
        const char *line = *at;
        int length = (int) strcspn(line, "\n");
        *at += length + (line[length] != '\0');
        char text[256];
        (void) snprintf(text, sizeof text, "%.*s", length, line);
        (void) sscanf(text, "table %127[^{]", chain->table);
        (void) sscanf(text, " chain %127s", chain->name);
        if (strstr(text, wanted) != NULL && strstr(text, "policy drop") != NULL &&
            strncmp(chain->table, "inet ctr-", strlen("inet ctr-")) != 0) {
            return true;
        }
    }
    return false;
}

/* Whether a rule in the chain's table speaks of our bridges; the chain may jump anywhere in it. */
static bool
knows_us(const struct br *br, const struct chain *chain)
{
    char command[160];
    (void) snprintf(command, sizeof command, "list table %s", chain->table);
    const char *rules = br_nft_read(br, command);
    return rules == NULL || strstr(rules, "\"ctr*\"") != NULL ||
           strstr(rules, br->bridge) != NULL;
}

static int
check_hook(const struct br *br, const char *chains, const char *hook, struct ctr_error *err)
{
    struct chain chain = {"", ""};
    bool forward = strcmp(hook, "forward") == 0;
    while (next_dropping(&chains, &chain, hook)) {
        if (knows_us(br, &chain)) {
            continue;
        }
        size_t n = strcspn(chain.table, " ") + 1;
        n += strcspn(chain.table + n, " ");
        return ctr_fail(
            err, -EPERM,
            "network %s: the host's firewall drops what it does not know (table %.*s, chain "
            "%s); let ctr's bridges through: nft insert rule %.*s %s iifname 'ctr*' "
            "accept%s%.*s"
            "%s%s%s; or set firewall = ignore under [net.bridge] if its rules do so already",
            br->name, (int) n, chain.table, chain.name, (int) n, chain.table, chain.name,
            forward ? "; nft insert rule " : "", forward ? (int) n : 0, chain.table,
            forward ? " " : "", forward ? chain.name : "",
            forward ? " oifname 'ctr*' accept" : "");
    }
    return 0;
}

static int
check_firewall(struct br *br, struct ctr_error *err)
{
    const char *said = br_nft_read(br, "list chains");
    char *chains = said == NULL ? NULL : strdup(said);
    if (chains == NULL) {
        return ctr_fail(err, -EIO, "network %s: the kernel's nftables cannot be read",
                        br->name);
    }
    int code = br->internal ? 0 : check_hook(br, chains, "forward", err);
    code = code != 0 ? code : check_hook(br, chains, "input", err);
    free(chains);
    return code;
}

int
br_check_host(struct br *br, struct ctr_error *err)
{
    const char *firewall = br->host->option_string(br->host, "firewall");
    int code = br->internal ? 0 : check_forwarding(br, err);
    if (code != 0 || strcmp(firewall, "ignore") == 0) {
        return code;
    }
    return check_firewall(br, err);
}
