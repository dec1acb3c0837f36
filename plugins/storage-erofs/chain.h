/*
 * chain: an image as the guest sees it: one disk that is the merged metadata (chains/HEX) and, behind it, the data blocks of each of its
 * layers, all of them in one space of 32-bit block addresses. The body of the chain's file says of which layers it is made:
 *
 *     for each part: 64 hexadecimal digits of the diff ID | 4 bytes data blocks | 4 bytes zero
 *
 * The disk is described by chains/HEX.vmdk, which is made from that, and anew when it does not fit: the folder may have been moved.
 */
#ifndef EROFS_CHAIN_H
#define EROFS_CHAIN_H

#include "plugins/storage-erofs/store.h"

struct part {
    char hex[65];
    uint32_t blocks;
};

struct chain {
    uint64_t meta_blocks, inodes;
    struct part *parts;
    uint32_t n;
};

/* The slot. */
int chain_make(void *self, const char *chain_id, const char *const *diff_ids, uint32_t n,
               struct ctr_error *err);
/* Reads what a committed chain is made of; chain_finish also after a failure. -ENOENT if it is not there. */
int chain_read(const struct storage *self, const char *hex, struct chain *ret,
               struct ctr_error *err);
void chain_finish(struct chain *chain);
/* Blocks of the whole disk. */
uint64_t chain_blocks(const struct chain *chain);
/* Which committed chain has the layer? False: none. */
bool chain_has_layer(const struct storage *self, const char *diff_id);
/* Makes sure that the chain's descriptor is there and right; its path in ret. */
int chain_describe(const struct storage *self, const char *hex, const struct chain *chain,
                   char ret[4096], struct ctr_error *err);

#endif
