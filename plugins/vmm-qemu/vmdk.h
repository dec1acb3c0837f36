/*
 * vmdk: reads a VMDK descriptor of flat extents, as <ctr/disk.h> has it. It comes from a storage plugin, which is trusted, but a damaged
 * one must be an error that says so, not a machine that starts with half a disk.
 */
#ifndef VMM_QEMU_VMDK_H
#define VMM_QEMU_VMDK_H

#include <ctr/error.h>
#include <stddef.h>
#include <stdint.h>

#define VMDK_MAX_TEXT ((size_t) 1 << 20) /* what QEMU reads of one */
#define VMDK_MAX_EXTENTS 1000

struct vmdk_extent {
    uint64_t sectors, offset; /* of 512 bytes */
    char *path;               /* absolute */
};

struct vmdk {
    struct vmdk_extent *extents;
    size_t n;
    uint64_t sectors; /* of all extents */
};

/* `text` need not end with NUL. -EBADMSG with the line's number. vmdk_finish also after a failure. */
int vmdk_parse(const char *text, size_t length, struct vmdk *ret, struct ctr_error *err);
void vmdk_finish(struct vmdk *vmdk);

#endif
