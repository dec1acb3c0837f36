/*
 * cgroup.c: the container's own cgroup, with docker's device rules as a small BPF program: any node may be made, but only null, zero,
 * full, random, urandom, tty, console, ptmx and terminals may be opened. So a raw disk or the channel stays closed.
 */
#include "vm.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FOLDER "/sys/fs/cgroup/container"

#define LOAD(dst, offset)                                                                      \
    {                                                                                          \
        BPF_LDX | BPF_MEM | BPF_W, dst, BPF_REG_1, offset, 0                                   \
    }
#define ALU(op, dst, imm)                                                                      \
    {                                                                                          \
        BPF_ALU64 | BPF_K | (op), dst, 0, 0, imm                                               \
    }
#define MOVE(dst, src)                                                                         \
    {                                                                                          \
        BPF_ALU64 | BPF_X | BPF_MOV, dst, src, 0, 0                                            \
    }
#define JUMP(op, dst, imm, to)                                                                 \
    {                                                                                          \
        BPF_JMP | BPF_K | (op), dst, 0, to, imm                                                \
    }

/* Jump offsets count from the next instruction. Allow is at 19, deny at 21. */
static const struct bpf_insn device_rules[] = {
    LOAD(BPF_REG_2, 0),                                /* 0: access << 16 | type */
    LOAD(BPF_REG_4, 4),                                /* 1: major */
    LOAD(BPF_REG_5, 8),                                /* 2: minor */
    MOVE(BPF_REG_3, BPF_REG_2),                        /* 3 */
    ALU(BPF_RSH, BPF_REG_3, 16),                       /* 4 */
    ALU(BPF_AND, BPF_REG_2, 0xffff),                   /* 5 */
    JUMP(BPF_JEQ, BPF_REG_3, BPF_DEVCG_ACC_MKNOD, 12), /* 6: only mknod: allow */
    JUMP(BPF_JNE, BPF_REG_2, BPF_DEVCG_DEV_CHAR, 13),  /* 7: a disk: deny */
    JUMP(BPF_JEQ, BPF_REG_4, 1, 6),                    /* 8: memory devices: to 15 */
    JUMP(BPF_JEQ, BPF_REG_4, 5, 3),                    /* 9: tty, console, ptmx: to 13 */
    JUMP(BPF_JLT, BPF_REG_4, 136, 10),                 /* 10: deny */
    JUMP(BPF_JGT, BPF_REG_4, 143, 9),                  /* 11: deny */
    JUMP(BPF_JA, 0, 0, 6),                             /* 12: a pty: allow */
    JUMP(BPF_JLE, BPF_REG_5, 2, 5),                    /* 13: allow */
    JUMP(BPF_JA, 0, 0, 6),                             /* 14: deny */
    JUMP(BPF_JEQ, BPF_REG_5, 3, 3),                    /* 15: null: allow */
    JUMP(BPF_JEQ, BPF_REG_5, 5, 2),                    /* 16: zero: allow */
    JUMP(BPF_JLT, BPF_REG_5, 7, 3),                    /* 17: deny */
    JUMP(BPF_JGT, BPF_REG_5, 9, 2),   /* 18: deny; 7..9: full, random, urandom */
    ALU(BPF_MOV, BPF_REG_0, 1),       /* 19: allow */
    {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}, /* 20 */
    ALU(BPF_MOV, BPF_REG_0, 0),       /* 21: deny */
    {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}, /* 22 */
};

static int
bpf(int command, union bpf_attr *attr, size_t size)
{
    return (int) syscall(SYS_bpf, command, attr, size);
}

static void
restrict_devices(int cgroup)
{
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                           .insns = (uintptr_t) device_rules,
                           .insn_cnt = sizeof device_rules / sizeof *device_rules,
                           .license = (uintptr_t) "",
                           .expected_attach_type = BPF_CGROUP_DEVICE};
    int program = bpf(BPF_PROG_LOAD, &load, sizeof load);
    union bpf_attr attach = {.target_fd = (uint32_t) cgroup,
                             .attach_bpf_fd = (uint32_t) program,
                             .attach_type = BPF_CGROUP_DEVICE};
    if (program < 0 || bpf(BPF_PROG_ATTACH, &attach, sizeof attach) < 0) {
        note("device rules: %s", fault_reason(errno));
    }
    if (program >= 0) {
        (void) close(program);
    }
}

int
cgroup_create(struct fault *fault)
{
    (void) vm_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids +cpu");
    if (vm_mkdir(FOLDER) < 0) {
        return fault_errno(fault, "EIO", "make the container's cgroup");
    }
    int fd = open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fault_errno(fault, "EIO", "open the container's cgroup");
    }
    restrict_devices(fd);
    return fd;
}

bool
cgroup_oom(void)
{
    static unsigned long seen;
    unsigned long now = 0;
    char line[128];
    FILE *events = fopen(FOLDER "/memory.events", "re");
    while (events != NULL && fgets(line, sizeof line, events) != NULL) {
        (void) sscanf(line, "oom_kill %lu", &now);
    }
    if (events != NULL) {
        (void) fclose(events);
    }
    bool more = now > seen;
    seen = now;
    return more;
}
