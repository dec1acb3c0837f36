/*
 * passt gives a client on the host itself, which would be ::1, a link-local address, and speaks to the guest's link-local address then. A guest is
 * to answer from the address that is published, and link-local addresses are closed on the way out: so such a client gets the gateway's address here, and
 * the answer is turned back. (By IPv4 passt names the client by network.host, which needs nothing.)
 */
#include "passt-priv.h"
#include <arpa/inet.h>

#define IP6_PROTO 6
#define IP6_SOURCE 8
#define IP6_TARGET 24

static struct ctr_address
passt_name(void)
{
    struct ctr_address ret = {.family = 6};
    (void) inet_pton(AF_INET6, PASST_LOCAL6, ret.bytes);
    return ret;
}

/* Replaces an address in an IPv6 frame, and keeps the TCP checksum right (RFC 1624). */
static void
replace(uint8_t *frame, size_t at, const struct ctr_address *address)
{
    uint8_t *old = frame + SW_ETHER + at, *sum = frame + SW_ETHER + SW_IPV6 + 16;
    uint32_t value = (uint16_t) ~sw_get16(sum);
    for (size_t i = 0; i < 16; i += 2) {
        value += (uint16_t) ~sw_get16(old + i);
        value += sw_get16(address->bytes + i);
    }
    sw_put16(sum, sw_sum_finish(value));
    memcpy(old, address->bytes, 16);
}

bool
local_come(const struct guest *guest, uint8_t *frame, size_t length)
{
    const struct ctr_address name = passt_name();
    const struct sw_identity *who = &guest->port->who;
    if (who->address6.family != 6 || length < SW_ETHER + SW_IPV6 + 20 ||
        sw_get16(frame + 12) != SW_TYPE_IPV6 || frame[SW_ETHER + IP6_PROTO] != SW_TCP ||
        memcmp(frame + SW_ETHER + IP6_SOURCE, name.bytes, 16) != 0) {
        return false;
    }
    replace(frame, IP6_SOURCE, &guest->up->sw->rules.gateway6);
    replace(frame, IP6_TARGET, &who->address6);
    return true;
}

bool
local_leave(const struct guest *guest, const struct sw_frame *frame, uint8_t *ret)
{
    const struct ctr_address name = passt_name();
    if (frame->type != SW_TYPE_IPV6 || frame->proto != SW_TCP ||
        !sw_same(&frame->target, &guest->up->sw->rules.gateway6)) {
        return false;
    }
    memcpy(ret, frame->bytes, frame->length);
    replace(ret, IP6_TARGET, &name);
    return true;
}
