/* buf.c: a byte queue. Empty queues above 512 KiB give their memory back. */
#include "buf.h"
#include <stdlib.h>
#include <string.h>

uint8_t *
buf_reserve(struct buf *buf, size_t n)
{
    if (buf->capacity - buf->start - buf->length >= n && buf->bytes != NULL) {
        return buf->bytes + buf->start + buf->length;
    }
    if (buf->start > 0) {
        memmove(buf->bytes, buf->bytes + buf->start, buf->length);
        buf->start = 0;
    }
    if (buf->capacity - buf->length < n || buf->bytes == NULL) {
        size_t capacity = buf->capacity * 2;
        if (capacity < buf->length + n) {
            capacity = buf->length + n + 256;
        }
        uint8_t *bytes = realloc(buf->bytes, capacity);
        if (bytes == NULL) {
            return NULL;
        }
        buf->bytes = bytes;
        buf->capacity = capacity;
    }
    return buf->bytes + buf->length;
}

void
buf_grow(struct buf *buf, size_t n)
{
    buf->length += n;
}

int
buf_add(struct buf *buf, const void *bytes, size_t n)
{
    if (n == 0) {
        return 0;
    }
    uint8_t *room = buf_reserve(buf, n);
    if (room == NULL) {
        return -1;
    }
    memcpy(room, bytes, n);
    buf->length += n;
    return 0;
}

void
buf_consume(struct buf *buf, size_t n)
{
    buf->start += n;
    buf->length -= n;
    if (buf->length == 0) {
        buf->start = 0;
        if (buf->capacity > 512 * 1024) {
            buf_free(buf);
        }
    }
}

void
buf_free(struct buf *buf)
{
    free(buf->bytes);
    *buf = (struct buf){0};
}
