/*
 * Spare ports: interfaces that the machine has from its boot on and that no network uses yet. Both ends are made here; the
 * network's is kept until ctrd asks for it, and its other users come and go without the machine's end ever noticing.
 */
#include "core/sandbox/sandbox-priv.h"

#include <sys/socket.h>

#define SEND_BUFFER                                                                            \
    (4 * 1024 * 1024) /* what a port of net-switch has; the kernel may give less */
#define MTU_MOST 65535

/* 02:fe:00:00:00:00 and up: no network gives such addresses to its containers. */
static void
spare_mac(uint32_t index, uint8_t ret[6])
{
    const uint8_t mac[6] = {0x02, 0xfe, 0, 0, 0, (uint8_t) index};
    memcpy(ret, mac, sizeof mac);
}

int
ctr_spare_add(struct ctr_spec *spec, uint32_t n, struct ctr_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = spec->machine.n_ports;
        int pair[2], size = SEND_BUFFER;
        if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0) {
            return ctr_fail(err, -errno, "spare network port: %s", strerror(errno));
        }
        (void) setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        (void) setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        spec->ports[at] = (struct ctr_port){.size = sizeof spec->ports[at],
                                            .kind = CTR_PORT_DGRAM,
                                            .fd = pair[0],
                                            .mtu = MTU_MOST};
        spec->kept[at] = (struct ctr_spec_port){.keep = pair[1], .spare = true};
        spare_mac(i, spec->macs[at]);
        spec->machine.n_ports++;
    }
    return 0;
}
