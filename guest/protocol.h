/*
 * guest/protocol.h: the framing of the guest channel, shared by core/guest (host) and guest (ctr-init).
 *
 * One byte stream, multiplexed by yamux framing (hashicorp/yamux, spec.md): a 12-byte big-endian header
 * { version 0, type, flags, stream id, length }. The host opens all streams (odd ids); stream 1 carries control messages:
 * a 32-bit big-endian length and that many bytes of JSON. All else is in PROTOCOL.guest.md.
 */
#ifndef CTR_PROTOCOL_H
#define CTR_PROTOCOL_H

#include <stdint.h>

#define CTR_PROTOCOL_VERSION 1

#define CTR_YAMUX_HEADER 12
#define CTR_YAMUX_WINDOW (256u * 1024) /* initial window of every stream, bytes */
#define CTR_YAMUX_MAX_FRAME                                                                    \
    (64u * 1024) /* longest data frame that either side sends or takes */

enum ctr_yamux_type {
    CTR_YAMUX_DATA = 0,
    CTR_YAMUX_UPDATE = 1,
    CTR_YAMUX_PING = 2,
    CTR_YAMUX_GOAWAY = 3
};
enum ctr_yamux_flags {
    CTR_YAMUX_SYN = 1,
    CTR_YAMUX_ACK = 2,
    CTR_YAMUX_FIN = 4,
    CTR_YAMUX_RST = 8
};

#define CTR_CONTROL_STREAM 1
#define CTR_CONTROL_MAX (1024u * 1024) /* longest control message */
#define CTR_STREAMS_MAX 1024           /* streams open at once */

struct ctr_yamux_header {
    uint8_t type;
    uint16_t flags;
    uint32_t stream;
    uint32_t
        length; /* bytes that follow (DATA), window delta (UPDATE), opaque (PING), reason (GOAWAY) */
};

static inline void
ctr_yamux_encode(const struct ctr_yamux_header *header, uint8_t out[CTR_YAMUX_HEADER])
{
    out[0] = 0;
    out[1] = header->type;
    out[2] = (uint8_t) (header->flags >> 8);
    out[3] = (uint8_t) header->flags;
    for (int i = 0; i < 4; i++) {
        out[4 + i] = (uint8_t) (header->stream >> (24 - 8 * i));
        out[8 + i] = (uint8_t) (header->length >> (24 - 8 * i));
    }
}

/* 0, or -1 for another version, an unknown type or flag, or a data frame that is too long. */
static inline int
ctr_yamux_decode(const uint8_t in[CTR_YAMUX_HEADER], struct ctr_yamux_header *ret)
{
    struct ctr_yamux_header header = {
        .type = in[1],
        .flags = (uint16_t) ((unsigned) in[2] << 8 | in[3]),
        .stream =
            (uint32_t) in[4] << 24 | (uint32_t) in[5] << 16 | (uint32_t) in[6] << 8 | in[7],
        .length =
            (uint32_t) in[8] << 24 | (uint32_t) in[9] << 16 | (uint32_t) in[10] << 8 | in[11],
    };
    if (in[0] != 0 || header.type > CTR_YAMUX_GOAWAY || header.flags > 15) {
        return -1;
    }
    if (header.type == CTR_YAMUX_DATA && header.length > CTR_YAMUX_MAX_FRAME) {
        return -1;
    }
    *ret = header;
    return 0;
}

#endif
