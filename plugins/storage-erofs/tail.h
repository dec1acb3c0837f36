/*
 * tail: what a layer's or a chain's file holds behind its EROFS: a body of our own and, at the very end, 64 bytes that find and check it.
 *
 *     offset  0  8 bytes   the kind: TAIL_LAYER or TAIL_CHAIN
 *             8  8 bytes   blocks: of a layer its data blocks, 1 to n; of a chain the blocks of its metadata, 0 to n-1
 *            16  8 bytes   where the body begins
 *            24  8 bytes   its length
 *            32  8 bytes   how many inodes the EROFS has
 *            40  8 bytes   sum of the body
 *            48  8 bytes   zero
 *            56  8 bytes   sum of the 56 bytes before
 *
 * Numbers are little-endian. The body of a layer is its log (log.h), that of a chain its parts (chain.h). A file without its tail was never
 * finished.
 */
#ifndef EROFS_TAIL_H
#define EROFS_TAIL_H

#include "plugins/storage-erofs/span.h"
#include <ctr/error.h>

#define TAIL_LAYER "ctrlayr1"
#define TAIL_CHAIN "ctrchan1"

struct tail {
    uint64_t blocks, inodes;
    struct span body;
};

/* Writes body and tail at `offset`. Not yet durable. */
int tail_write(int fd, uint64_t offset, const char *kind, const struct tail *tail,
               struct ctr_error *err);
/* Reads the tail and checks the body, which stays in the file; `name` is for messages. -EBADMSG if they are damaged. */
int
tail_read(int fd, const char *kind, const char *name, struct tail *ret, struct ctr_error *err);

#endif
