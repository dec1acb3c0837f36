/*
 * ctr/vmm.h: the virtual machine monitor plugin kind. It runs in ctr-sandbox, one process per container.
 *
 * All slots are called on the loop's thread and must not block longer than a second, except save and restore.
 * Life cycle of a VM:
 *
 *     create -> channel -> start -> { pause <-> resume | set_memory | stats | save }... -> stop | kill -> exited() -> destroy
 *               (or restore in place of create and start)
 *
 * The channel is one byte stream to ctr-init in the guest, whatever carries it. It may be taken before start; what the host
 * writes before the guest listens must be kept for it, not lost.
 */
#ifndef CTR_VMM_H
#define CTR_VMM_H

#include <ctr/disk.h>
#include <ctr/net.h>
#include <ctr/plugin.h>

enum ctr_vmm_cap {
    CTR_VMM_HARDWARE = 1, /* hardware virtualization is in use: the VM is a security boundary */
    CTR_VMM_PAUSE = 2,
    CTR_VMM_SET_MEMORY = 4,
    CTR_VMM_SAVE = 8,
    CTR_VMM_DISCARD = 16,    /* discards of the guest reach the disk's file */
    CTR_VMM_FREE_PAGES = 32, /* memory that the guest frees goes back to the host */
    CTR_VMM_VMDK = 64,       /* disks may be CTR_DISK_VMDK; since 1.1 */
};

struct ctr_vmm_info {
    uint32_t size;
    uint32_t caps;       /* enum ctr_vmm_cap */
    uint32_t port_kinds; /* set of enum ctr_port_kind */
    uint32_t max_cpus;
    uint32_t max_disks;
    uint32_t reserved;
    char accel[16];   /* "kvm", "hvf", "tcg", … */
    char version[48]; /* of the monitor, e.g. "qemu 7.2.22" */
};

enum ctr_vm_end {
    CTR_VM_OFF = 1,   /* the guest powered off, or stop/kill was asked for */
    CTR_VM_PANIC = 2, /* the guest's kernel panicked or reset itself */
    CTR_VM_LOST = 3,  /* the monitor crashed, was killed, or could not start the machine */
};

/* A machine. All strings and arrays are the caller's and need only live during create. */
struct ctr_machine {
    uint32_t size;
    uint32_t cpus;
    uint64_t memory;       /* bytes, a multiple of 1 MiB */
    const char *id;        /* the container's ID */
    const char *arch;      /* "amd64" or "arm64" (GOARCH) */
    const char *kernel;    /* absolute path */
    const char *initramfs; /* absolute path */
    const char *
        cmdline; /* kernel parameters that the core wants, space-separated, never from an image */
    const char
        *console; /* absolute path of the bounded ring file for the guest's serial console */
    uint64_t console_bytes;       /* its bound */
    const struct ctr_disk *disks; /* the guest sees them in this order: /dev/vda, /dev/vdb, … */
    const struct ctr_port *ports; /* fds are taken: the plugin closes them, also on failure */
    const uint8_t (*macs)[6];     /* one per port */
    uint32_t n_disks, n_ports;
    /* Called once after start, when the machine has ended for any reason; `detail` is one line, valid during the call. */
    void (*exited)(void *arg, uint32_t end, const char *detail);
    void *arg;
};

struct ctr_vm_stats {
    uint32_t size;
    uint32_t pid;          /* of the monitor's process, 0: inside the caller's */
    uint64_t memory_host;  /* resident bytes that the VM costs the host */
    uint64_t memory_guest; /* bytes the guest has now */
    uint64_t cpu_ns;       /* host CPU time spent */
};

struct ctr_vmm_ops {
    uint32_t size; /* sizeof(struct ctr_vmm_ops) */
    uint32_t reserved;

    /* Required. Checks that the monitor exists and says what to install if not. */
    int (*open)(const struct ctr_host *host, void **ret_self, struct ctr_error *err);
    /* Required. Takes NULL. No VM may be left. */
    void (*close)(void *self);
    /* What this instance can do for a guest of `arch`; -ENOTSUP with a reason if it cannot run one. Required. */
    int (*info)(void *self, const char *arch, struct ctr_vmm_info *ret, struct ctr_error *err);
    /* Prepares a VM; nothing runs yet. Required. On failure nothing is left, the ports' fds are closed. */
    int (*create)(void *self, const struct ctr_machine *machine, void **ret_vm,
                  struct ctr_error *err);
    /* The host's end of the channel, a stream socket; the caller owns it. Required, once per VM. */
    int (*channel)(void *vm, int32_t *ret_fd, struct ctr_error *err);
    /* Required. After 0, exited() will be called exactly once; after a failure, never. */
    int (*start)(void *vm, struct ctr_error *err);
    /* Asks the guest to power off; a request only. NULL: the core asks through the channel alone. */
    int (*stop)(void *vm, struct ctr_error *err);
    /* Ends the machine at once. Required. Idempotent. */
    int (*kill)(void *vm, struct ctr_error *err);
    /* Frees it; only before start or after exited(). Required. Takes NULL. */
    void (*destroy)(void *vm);

    /* NULL: the core refuses the operation by the plugin's name. Each needs its bit in caps. */
    int (*pause)(void *vm, struct ctr_error *err);
    int (*resume)(void *vm, struct ctr_error *err);
    int (*set_memory)(void *vm, uint64_t bytes, struct ctr_error *err);
    /* Saves a paused VM into the existing folder `dir`. May block. */
    int (*save)(void *vm, const char *dir, struct ctr_error *err);
    /* Makes a paused VM from what save wrote; resume starts it. In place of create and start. May block. */
    int (*restore)(void *self, const struct ctr_machine *machine, const char *dir,
                   void **ret_vm, struct ctr_error *err);
    /* NULL: the core reads the monitor's process by itself. */
    int (*stats)(void *vm, struct ctr_vm_stats *ret, struct ctr_error *err);
};

#endif
