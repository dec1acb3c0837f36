/*
 * gzip members (RFC 1952), by ISA-L where it is there, which is more than twice as fast, else by zlib. Both check header, CRC and
 * length of each member; neither looks beyond its end.
 */
#include "core/image/flow.h"

#ifdef CTR_HAVE_ISAL
#include <isa-l/igzip_lib.h>

struct gunzip {
    struct inflate_state state;
};

struct gunzip *
gunzip_create(void)
{
    struct gunzip *gunzip = calloc(1, sizeof *gunzip);
    if (gunzip != NULL) {
        isal_inflate_init(&gunzip->state);
    }
    return gunzip;
}

void
gunzip_destroy(struct gunzip *gunzip)
{
    free(gunzip);
}

void
gunzip_begin(struct gunzip *gunzip)
{
    isal_inflate_reset(&gunzip->state);
    gunzip->state.crc_flag = ISAL_GZIP;
}

int
gunzip_step(struct gunzip *gunzip, const uint8_t **bytes, size_t *length, uint8_t *out,
            size_t room, size_t *ret_made)
{
    struct inflate_state *state = &gunzip->state;
    state->next_in = (uint8_t *) *bytes;
    state->avail_in = (uint32_t) *length;
    state->next_out = out;
    state->avail_out = (uint32_t) room;
    int status = isal_inflate(state);
    *bytes = state->next_in;
    *length = state->avail_in;
    *ret_made = room - state->avail_out;
    if (status != ISAL_DECOMP_OK) {
        return -EBADMSG;
    }
    return state->block_state == ISAL_BLOCK_FINISH && state->avail_out > 0 ? 1 : 0;
}

#else
#include <zlib.h>

struct gunzip {
    z_stream stream;
};

struct gunzip *
gunzip_create(void)
{
    struct gunzip *gunzip = calloc(1, sizeof *gunzip);
    if (gunzip != NULL && inflateInit2(&gunzip->stream, 15 + 16) != Z_OK) {
        free(gunzip);
        return NULL;
    }
    return gunzip;
}

void
gunzip_destroy(struct gunzip *gunzip)
{
    if (gunzip != NULL) {
        (void) inflateEnd(&gunzip->stream);
        free(gunzip);
    }
}

void
gunzip_begin(struct gunzip *gunzip)
{
    (void) inflateReset(&gunzip->stream);
}

int
gunzip_step(struct gunzip *gunzip, const uint8_t **bytes, size_t *length, uint8_t *out,
            size_t room, size_t *ret_made)
{
    z_stream *stream = &gunzip->stream;
    stream->next_in = (uint8_t *) *bytes;
    stream->avail_in = (uInt) *length;
    stream->next_out = out;
    stream->avail_out = (uInt) room;
    int status = inflate(stream, Z_NO_FLUSH);
    *bytes = stream->next_in;
    *length = stream->avail_in;
    *ret_made = room - stream->avail_out;
    if (status == Z_STREAM_END) {
        return 1;
    }
    return status == Z_OK || status == Z_BUF_ERROR ? 0 : -EBADMSG;
}

#endif
