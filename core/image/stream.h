/*
 * core/image, inside: bytes from and to a caller's descriptor (a file, a pipe, a socket), waited for in short steps, so that a cancel is
 * seen; and a blob of the store read to its end, hashed on the way.
 */
#ifndef CTR_IMAGE_STREAM_H
#define CTR_IMAGE_STREAM_H

#include "core/image/image-priv.h"

#define STREAM_PIECE ((size_t) 256 << 10)

/* Up to `length` bytes; 0 at the end, or a negative code. */
ssize_t
stream_read(struct image_op *op, int fd, void *bytes, size_t length, struct ctr_error *err);
/* All of them. A descriptor that blocks does so no longer than until its reader took something. */
int stream_write(struct image_op *op, int fd, const void *bytes, size_t length,
                 struct ctr_error *err);

/* Hands a blob's bytes to sink (may be NULL), `size` of them, and checks their digest: a damaged blob is set aside and fails with -EBADMSG, one that
 * is not there with -ENOENT. `status` is what the progress shows. */
int stream_blob(struct image_op *op, const char *digest, const char *status,
                int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err),
                void *arg, struct ctr_error *err);

#endif
