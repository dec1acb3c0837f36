/*
 * TCP segments of the connections that stream.c serves.
 */
#include "switch-priv.h"

#define MIN_MSS 256
#define MAX_MSS 1200

static uint32_t
most_bytes(const struct sw *sw)
{
    return sw->mtu - SW_IPV4 - 20 < MAX_MSS ? sw->mtu - SW_IPV4 - 20 : MAX_MSS;
}

void
sw_send_segment(struct sw_port *port, const struct sw_segment *s)
{
    struct sw *sw = port->sw;
    uint8_t mac[6];
    size_t options = (s->flags & SW_TCP_SYN) != 0 ? 4 : 0;
    struct sw_header header = {
        .to = port->who.mac,
        .from = mac,
        .source = sw->rules.dns,
        .target = port->who.address,
        .ident = ++sw->ident,
        .proto = SW_TCP,
        .payload_length = 20 + options + s->length,
    };
    sw_gateway_mac(&sw->rules, mac);
    size_t at = sw_header_length(&header);
    uint8_t *frame = sw_hold(sw, at + header.payload_length), *tcp = frame + at;
    sw_write_header(&header, frame);
    memset(tcp, 0, 20);
    sw_put16(tcp, s->port);
    sw_put16(tcp + 2, s->peer);
    sw_put32(tcp + 4, s->sequence);
    sw_put32(tcp + 8, s->acknowledges);
    tcp[12] = (uint8_t) ((20 + options) / 4 << 4);
    tcp[13] = s->flags;
    sw_put16(tcp + 14, SW_STREAM_WINDOW);
    if (options > 0) {
        sw_put32(tcp + 20, 0x02040000U | most_bytes(sw));
    }
    if (s->length > 0) {
        memcpy(tcp + 20 + options, s->bytes, s->length);
    }
    uint32_t sum = sw_sum_pseudo(&header.source, &header.target, SW_TCP, header.payload_length);
    sw_put16(tcp + 16, sw_sum_finish(sw_sum(sum, tcp, header.payload_length)));
    sw_port_send(port, frame, at + header.payload_length);
}

void
sw_reset_stranger(struct sw_port *port, const struct sw_frame *f)
{
    bool acknowledges = (f->tcp_flags & SW_TCP_ACK) != 0;
    size_t data = f->payload_length - (size_t) (f->payload[12] >> 4) * 4;
    bool opens = (f->tcp_flags & SW_TCP_SYN) != 0;
    struct sw_segment reset = {
        .port = f->target_port,
        .peer = f->source_port,
        .sequence = acknowledges ? sw_get32(f->payload + 8) : 0,
        .acknowledges = sw_get32(f->payload + 4) + (uint32_t) data + opens,
        .flags = acknowledges ? SW_TCP_RST : SW_TCP_RST | SW_TCP_ACK,
    };
    port->stats.dropped++;
    if ((f->tcp_flags & SW_TCP_RST) == 0 && sw_spend(&port->answers, SW_ANSWERS_PER_SECOND)) {
        sw_send_segment(port, &reset);
    }
}

size_t
sw_segment_mss(const struct sw *sw, const struct sw_frame *f)
{
    const uint8_t *p = f->payload + 20, *stop = f->payload + (size_t) (f->payload[12] >> 4) * 4;
    size_t mss = 536;
    while (p < stop && p[0] != 0) {
        size_t n = p[0] == 1 ? 1 : stop - p < 2 ? 0 : p[1];
        if (n == 0 || n > (size_t) (stop - p) || (p[0] != 1 && n < 2)) {
            break;
        }
        if (p[0] == 2 && n == 4) {
            mss = sw_get16(p + 2);
        }
        p += n;
    }
    return mss < MIN_MSS ? MIN_MSS : mss > most_bytes(sw) ? most_bytes(sw) : mss;
}
