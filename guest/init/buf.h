/* buf: a byte queue: added at the end, taken from the front. */
#ifndef CTR_INIT_BUF_H
#define CTR_INIT_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *bytes;
    size_t start, length, capacity; /* live bytes: bytes[start .. start + length) */
};

/* Room for n more bytes at the returned place; NULL if there is no memory. They count after buf_grow. */
uint8_t *buf_reserve(struct buf *buf, size_t n);
void buf_grow(struct buf *buf, size_t n);
int buf_add(struct buf *buf, const void *bytes, size_t n); /* 0 or -1 */
void buf_consume(struct buf *buf, size_t n);
void buf_free(struct buf *buf);
static inline const uint8_t *
buf_front(const struct buf *buf)
{
    return buf->bytes + buf->start;
}

#endif
