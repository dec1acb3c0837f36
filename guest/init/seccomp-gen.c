/*
 * seccomp-gen.c: runs at build. Writes the seccomp program for one architecture as a C array, so that ctr-init itself needs no
 * libseccomp: `seccomp-gen amd64|arm64 >seccomp-filter.h`.
 *
 * The rules have the effect of docker's default profile for its default capabilities: all but the list in seccomp-list.h is allowed, clone may not make
 * namespaces, personality is limited, AF_VSOCK sockets are refused, clone3 is "not implemented" (its flags cannot be seen, and
 * callers fall back to clone), all else is EPERM. System calls newer than libseccomp's table are ENOSYS (x32 ones too: no kernel here has them), so that programs that
 * probe for them go on.
 */
#include "seccomp-list.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAMESPACES 0x7e020000u /* CLONE_NEW* */

static int newest;

static void
check(int result, const char *what)
{
    /* -EDOM and the like: the architecture has no such call or argument form. */
    if (result < 0 && result != -EDOM) {
        (void) fprintf(stderr, "seccomp-gen: %s: %s\n", what, strerror(-result));
        exit(1);
    }
}

static bool
is_refused(const char *name)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (strcmp(refused[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Allows what the table of one architecture names. Names of several architectures are added more than once: no harm. */
static void
allow_table(scmp_filter_ctx filter, uint32_t arch, int base, int size)
{
    for (int number = base; number < base + size; number++) {
        char *name = seccomp_syscall_resolve_num_arch(arch, number);
        if (name == NULL) {
            continue;
        }
        if (arch == SCMP_ARCH_X86_64 || arch == SCMP_ARCH_AARCH64) {
            newest = number > newest ? number : newest;
        }
        if (!is_refused(name)) {
            int pseudo = seccomp_syscall_resolve_name(name);
            int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, pseudo, 0);
            check(result == -EEXIST ? 0 : result, name);
        }
        free(name);
    }
}

static void
add_conditions(scmp_filter_ctx filter)
{
    static const unsigned personalities[] = {0x0, 0x0008, 0x20000, 0x20008, 0xffffffff};
    for (size_t i = 0; i < sizeof personalities / sizeof *personalities; i++) {
        check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
                               SCMP_A0(SCMP_CMP_EQ, personalities[i])),
              "personality");
    }
    check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                           SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACES, 0)),
          "clone");
    check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                           SCMP_A0(SCMP_CMP_NE, AF_VSOCK)),
          "socket");
    check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "clone3");
}

/* Architectures: the native one and its 32-bit sisters, as docker's profile has them. */
static uint32_t
set_architectures(scmp_filter_ctx filter, const char *arch)
{
    uint32_t native = seccomp_arch_native();
    uint32_t wanted = strcmp(arch, "amd64") == 0 ? SCMP_ARCH_X86_64 : SCMP_ARCH_AARCH64;
    if (native != wanted) {
        check(seccomp_arch_add(filter, wanted), arch);
        check(seccomp_arch_remove(filter, native), arch);
    }
    if (wanted == SCMP_ARCH_X86_64) {
        check(seccomp_arch_add(filter, SCMP_ARCH_X86), "x86");
    } else {
        check(seccomp_arch_add(filter, SCMP_ARCH_ARM), "arm");
    }
    return wanted;
}

static void
print(const struct sock_filter *filter, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void) printf("    {0x%04x, %u, %u, 0x%08x},\n", filter[i].code, filter[i].jt,
                      filter[i].jf, filter[i].k);
    }
}

/* What stands before libseccomp's program: newer calls of the native architecture are ENOSYS. */
static void
print_prefix(uint32_t token)
{
    const struct sock_filter prefix[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, token, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t) newest, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };
    print(prefix, sizeof prefix / sizeof *prefix);
}

int
main(int argc, char **argv)
{
    if (argc != 2 || (strcmp(argv[1], "amd64") != 0 && strcmp(argv[1], "arm64") != 0)) {
        (void) fprintf(stderr, "usage: seccomp-gen amd64|arm64\n");
        return 2;
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    FILE *program = tmpfile();
    if (filter == NULL || program == NULL) {
        (void) fprintf(stderr, "seccomp-gen: out of memory or no temporary file\n");
        return 1;
    }
    uint32_t token = set_architectures(filter, argv[1]);
    check(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimize");
    allow_table(filter, token, 0, 1024);
    if (token == SCMP_ARCH_X86_64) {
        allow_table(filter, SCMP_ARCH_X86, 0, 1024);
    } else {
        allow_table(filter, SCMP_ARCH_ARM, 0, 1024);
        allow_table(filter, SCMP_ARCH_ARM, 0xf0000, 16);
    }
    add_conditions(filter);
    check(seccomp_export_bpf(filter, fileno(program)), "export");
    (void) fseek(program, 0, SEEK_END);
    long size = ftell(program);
    rewind(program);
    struct sock_filter *bpf = malloc((size_t) size);
    size_t n = (size_t) size / sizeof *bpf;
    if (bpf == NULL || fread(bpf, sizeof *bpf, n, program) != n) {
        (void) fprintf(stderr, "seccomp-gen: cannot read the program back\n");
        return 1;
    }
    (void) printf("/* made by seccomp-gen %s */\n#include <linux/filter.h>\nstatic const "
                  "struct sock_filter seccomp_filter[] = {\n",
                  argv[1]);
    print_prefix(token);
    print(bpf, n);
    (void) printf("};\n");
    free(bpf);
    seccomp_release(filter);
    return 0;
}
