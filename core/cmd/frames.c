/*
 * frames.c: takes Docker's stream frames apart, in place and over any cut of the input.
 */
#include "core/cmd/session.h"

int
ctl_frames_next(struct ctl_frames *frames, const char *bytes, size_t *at, size_t end,
                size_t max, const char **ret, size_t *ret_length)
{
    while (frames->framed && frames->left == 0 && *at < end) {
        frames->header[frames->have++] = (uint8_t) bytes[(*at)++];
        if (frames->have < sizeof frames->header) {
            continue;
        }
        const uint8_t *h = frames->header;
        if (h[0] > 2 || h[1] != 0 || h[2] != 0 || h[3] != 0) {
            return -EBADMSG;
        }
        frames->have = 0;
        frames->fd = h[0] == 2 ? 2 : 1;
        frames->left =
            (uint32_t) h[4] << 24 | (uint32_t) h[5] << 16 | (uint32_t) h[6] << 8 | h[7];
    }
    size_t n = end - *at;
    if (n == 0) {
        return 0;
    }
    if (frames->framed) {
        n = n < frames->left ? n : frames->left;
    } else {
        frames->fd = 1;
    }
    n = n < max ? n : max;
    *ret = bytes + *at;
    *ret_length = n;
    *at += n;
    frames->left -= frames->framed ? (uint32_t) n : 0;
    return 1;
}
