/*
 * storage-mem-layers: storage-mem with the four layer slots in place of prepare, apply and commit.
 */
#define MEM_LAYERS
#include "tests/plugins/storage-mem/mem.c"
