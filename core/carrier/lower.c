/*
 * Lowering ctr-net: what parses the guests' packets need not be root. It keeps its open socket and the right to bind ports below 1024,
 * which published ports ask for; with taps also the right to manage the network's interfaces and rules.
 */
#include "core/carrier/carrier-priv.h"
#include <grp.h>

#ifdef __linux__
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define NOBODY 65534

static int
keep(uint32_t capabilities)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    data[0].effective = data[0].permitted = capabilities;
    return (int) syscall(SYS_capset, &header, data);
}

int
ctr_net_lower(bool taps, struct ctr_error *err)
{
    uint32_t capabilities = 1U << CAP_NET_BIND_SERVICE;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return ctr_fail(err, -errno, "new privileges cannot be given up: %s", strerror(errno));
    }
    if (geteuid() != 0) {
        return 0;
    }
    if (taps) {
        capabilities |= 1U << CAP_NET_ADMIN | 1U << CAP_NET_RAW;
    }
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setgroups(0, NULL) != 0 ||
        setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0 ||
        keep(capabilities) != 0) {
        return ctr_fail(err, -errno, "root cannot be given up: %s", strerror(errno));
    }
    return 0;
}
#else
int
ctr_net_lower(bool taps, struct ctr_error *err)
{
    return 0;
}
#endif
