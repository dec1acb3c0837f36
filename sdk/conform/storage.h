/*
 * What the checks of storage plugins share: names, and the part for plugins with the layer slots.
 */
#ifndef CTR_CONFORM_STORAGE_H
#define CTR_CONFORM_STORAGE_H

#include "sdk/conform/conform.h"

#define CHAIN_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CHAIN_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CHAIN_C "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define ESCAPED "/tmp/ctr-conform-escaped"

/* Layers and the chains A and B of them, with what may go wrong. */
void conform_layers(struct conform *kit, const struct ctr_storage_ops *ops, void *self);
/* Leaves a layer that was applied and not committed. */
void
conform_layers_half_made(struct conform *kit, const struct ctr_storage_ops *ops, void *self);
/* After both chains are gone: the layers can go, too. */
void conform_layers_end(struct conform *kit, const struct ctr_storage_ops *ops, void *self);

#endif
