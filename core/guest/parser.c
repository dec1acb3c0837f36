/* The parser of frames: no memory, no state but the struct. It is what the fuzz target feeds. */
#include "core/guest/guest.h"

int
ctr_mux_feed(struct ctr_mux_parser *parser, const uint8_t *bytes, size_t length,
             int (*frame)(void *arg, const struct ctr_yamux_header *header,
                          const uint8_t *payload, size_t n),
             void *arg)
{
    while (length > 0) {
        if (parser->left > 0) {
            size_t n = length < parser->left ? length : parser->left;
            parser->left -= (uint32_t) n;
            int code = frame(arg, &parser->current, bytes, n);
            if (code < 0) {
                return code;
            }
            bytes += n;
            length -= n;
            continue;
        }
        size_t missing = CTR_YAMUX_HEADER - parser->have;
        size_t n = length < missing ? length : missing;
        memcpy(parser->header + parser->have, bytes, n);
        parser->have += n;
        bytes += n;
        length -= n;
        if (parser->have < CTR_YAMUX_HEADER) {
            return 0;
        }
        parser->have = 0;
        if (ctr_yamux_decode(parser->header, &parser->current) < 0) {
            return -EPROTO;
        }
        if (parser->current.type == CTR_YAMUX_DATA) {
            parser->left = parser->current.length;
        }
        if (parser->left == 0) {
            int code = frame(arg, &parser->current, NULL, 0);
            if (code < 0) {
                return code;
            }
        }
    }
    return 0;
}
