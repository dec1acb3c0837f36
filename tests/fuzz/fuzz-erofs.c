/*
 * Layers onto EROFS, judged by fsck.erofs and by reading the image back: the same inputs as fuzz-ext4.
 */
#define FUZZ_FSCK "fsck.erofs"
#define FUZZ_OPTIONS "size=64M"
#include "tests/fuzz/fuzz-ext4.c"
