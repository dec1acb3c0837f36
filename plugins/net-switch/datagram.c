/*
 * A UDP datagram from the network itself, or from outside, to a VM: in fragments if it does not fit one frame.
 */
#include "switch-priv.h"

/* The checksum of the datagram whose header is `udp`. */
static uint16_t
checksum(const struct sw_datagram *d, const uint8_t udp[8])
{
    uint32_t sum = sw_sum_pseudo(&d->source, &d->target, SW_UDP, 8 + d->length);
    uint16_t ret = sw_sum_finish(sw_sum(sw_sum(sum, udp, 8), d->bytes, d->length));
    return ret == 0 ? 0xffff : ret;
}

/* Copies `n` bytes from offset `at` of the UDP header and what follows it. */
static void
copy_piece(const struct sw_datagram *d, const uint8_t udp[8], size_t at, size_t n, uint8_t *ret)
{
    size_t head = at < 8 ? 8 - at : 0;
    memcpy(ret, udp + at, head);
    memcpy(ret + head, (const uint8_t *) d->bytes + at + head - 8, n - head);
}

void
sw_send_datagram(struct sw_port *to, const struct sw_datagram *d)
{
    struct sw *sw = to->sw;
    uint8_t mac[6], udp[8] = {0};
    size_t total = 8 + d->length;
    size_t room = sw->mtu - (d->source.family == 4 ? SW_IPV4 : SW_IPV6);
    size_t most = total <= room ? room : (room - (d->source.family == 4 ? 0 : 8)) & ~(size_t) 7;
    sw_put16(udp, d->source_port);
    sw_put16(udp + 2, d->target_port);
    sw_put16(udp + 4, (uint16_t) total);
    sw_put16(udp + 6, checksum(d, udp));
    sw_gateway_mac(&sw->rules, mac);
    sw->ident++;
    for (size_t at = 0; at < total; at += most) {
        size_t n = total - at < most ? total - at : most;
        struct sw_header header = {
            .to = to->who.mac,
            .from = mac,
            .source = d->source,
            .target = d->target,
            .ident = sw->ident,
            .offset = at,
            .more = at + n < total,
            .proto = SW_UDP,
            .payload_length = n,
        };
        size_t start = sw_header_length(&header);
        uint8_t *frame = sw_hold(sw, start + n);
        sw_write_header(&header, frame);
        copy_piece(d, udp, at, n, frame + start);
        sw_port_send(to, frame, start + n);
    }
}
