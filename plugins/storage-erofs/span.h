/*
 * span: bytes of any length that lie in memory or in a file, read piece by piece, so that what a layer is made of never has to be in memory
 * as a whole.
 */
#ifndef EROFS_SPAN_H
#define EROFS_SPAN_H

#include <stddef.h>
#include <stdint.h>

enum { SPAN_PIECE = 1 << 16 }; /* a good size to read at a time */

struct span {
    const uint8_t *bytes; /* or NULL: in the file, from `at` on */
    int fd;
    uint64_t at, length;
};

/* Fills bytes from an offset of the span, which has that many; 0, or a negative code. */
int span_read(const struct span *span, uint64_t offset, uint8_t *bytes, size_t length);

#endif
