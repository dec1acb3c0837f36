/*
 * passt of 2023 does not acknowledge a guest's SYN,ACK before there is something to send: to a container whose server speaks first, the connection is not
 * there. The acknowledgement is made here; one more from a newer passt changes nothing.
 */
#include "passt-priv.h"

#define TCP 20
#define WINDOW 252 /* times 256, as passt has it; passt tells its own with the first data */

void
handshake_finish(struct guest *guest, const struct sw_frame *f)
{
    struct sw *sw = guest->up->sw;
    const struct sw_identity *who = &guest->port->who;
    uint8_t mac[6];
    sw_gateway_mac(&sw->rules, mac);
    const struct sw_header header = {
        .to = who->mac,
        .from = mac,
        .source = f->target,
        .target = f->source,
        .proto = SW_TCP,
        .payload_length = TCP,
    };
    size_t length = sw_header_length(&header);
    uint8_t *frame = sw_hold(sw, length + TCP), *tcp = frame + length;
    sw_write_header(&header, frame);
    memset(tcp, 0, TCP);
    sw_put16(tcp, f->target_port);
    sw_put16(tcp + 2, f->source_port);
    memcpy(tcp + 4, f->payload + 8, 4); /* what it acknowledged */
    sw_put32(tcp + 8, sw_get32(f->payload + 4) + 1);
    tcp[12] = TCP / 4 << 4;
    tcp[13] = SW_TCP_ACK;
    sw_put16(tcp + 14, WINDOW);
    sw_put16(tcp + 16,
             sw_sum_finish(
                 sw_sum(sw_sum_pseudo(&header.source, &header.target, SW_TCP, TCP), tcp, TCP)));
    sw_port_send(guest->port, frame, length + TCP);
}
