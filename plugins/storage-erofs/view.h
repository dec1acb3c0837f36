/*
 * view: one layer as a filesystem of its own, as overlayfs would want it: whiteouts are character devices 0/0, opaque folders have the
 * attribute trusted.overlay.opaque. It lets fsck.erofs and the kernel judge each layer. What only the layers below give a meaning to
 * (a hard link into them) is left out of it; the chain has it.
 */
#ifndef EROFS_VIEW_H
#define EROFS_VIEW_H

#include "plugins/storage-erofs/log.h"
#include "plugins/storage-erofs/tree.h"

/* Makes the tree of a log whose layer has that many data blocks. The tree is initialized by this call; finish it also after a failure. */
int
view_make(struct tree *tree, const struct span *log, uint64_t blocks, struct ctr_error *err);

#endif
