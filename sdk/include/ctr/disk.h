/*
 * ctr/disk.h: a disk as storage plugins hand it out and VMM plugins attach it.
 */
#ifndef CTR_DISK_H
#define CTR_DISK_H

#include <stdint.h>

enum ctr_disk_format {
    CTR_DISK_RAW = 1,
    /* `path` is a VMDK descriptor (Virtual Disk Format 5.0) of flat extents, one behind the other:
     *     RW <sectors of 512 bytes> FLAT "<absolute path>" <offset in sectors>
     * Only with CTR_DISK_READ_ONLY, and only where the VMM has CTR_VMM_VMDK. Since 1.1. */
    CTR_DISK_VMDK = 2,
};

enum ctr_disk_flags {
    CTR_DISK_READ_ONLY = 1, /* the VMM must refuse the guest's writes */
    CTR_DISK_DISCARD = 2,   /* the guest's discards punch holes */
};

enum ctr_disk_role {
    CTR_DISK_ROOT = 1,  /* the whole root filesystem */
    CTR_DISK_LOWER = 2, /* a read-only layer of an overlay, lowest first */
    CTR_DISK_UPPER =
        3, /* the writable part of an overlay (directories "upper" and "work" inside) */
};

/* One disk. Strings are the giver's and valid as its slot says. */
struct ctr_disk {
    uint32_t size;       /* sizeof(struct ctr_disk) */
    uint32_t format;     /* enum ctr_disk_format */
    uint32_t flags;      /* enum ctr_disk_flags */
    uint32_t role;       /* enum ctr_disk_role */
    const char *path;    /* absolute path of an image file or device */
    const char *fstype;  /* the guest's name for the filesystem: "ext4", "erofs" */
    const char *options; /* mount options for the guest, or "" */
    uint64_t bytes;      /* the disk's size as the guest sees it */
};

#endif
