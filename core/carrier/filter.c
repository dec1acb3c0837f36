/*
 * The system calls that ctr-net gives up once its network is made: a short list of what neither it, nor a plugin, nor what a plugin starts (passt
 * confines itself with namespaces and mounts) has a use for, and what a guest that got hold of ctr-net would try first.
 *
 * A list of what is refused, not of what is allowed: ctr-net is many libraries and any plugin. They fail with EPERM.
 */
#include "core/carrier/carrier-priv.h"

/* AddressSanitizer looks for leaks by ptrace. */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__)) && !defined(HAS_ASAN)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifdef __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define FIRST_FOREIGN 0x40000000U /* x32 */
#else
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define FIRST_FOREIGN 0xffffffffU
#endif

static const uint32_t refused[] = {
    /* other processes */
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_pidfd_getfd,
    /* the kernel */
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_syslog,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    /* the machine */
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_open_by_handle_at,
    SYS_chroot,
#ifdef __x86_64__
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
};
static const uint32_t starts[] = {SYS_execve, SYS_execveat};

#define REFUSE (SECCOMP_RET_ERRNO | EPERM)
#define STATEMENT(code, k) ((struct sock_filter) BPF_STMT(code, k))
#define JUMP(code, k, yes, no) ((struct sock_filter) BPF_JUMP(code, k, yes, no))

static size_t
refuse(struct sock_filter *program, size_t n, const uint32_t *calls, size_t n_calls)
{
    for (size_t i = 0; i < n_calls; i++) {
        program[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
        program[n++] = STATEMENT(BPF_RET | BPF_K, REFUSE);
    }
    return n;
}

int
ctr_net_filter(bool spawn, struct ctr_error *err)
{
    struct sock_filter program[8 + 2 * (CTR_LENGTH(refused) + CTR_LENGTH(starts))];
    size_t n = 0;
    program[n++] = STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    program[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    program[n++] = STATEMENT(BPF_RET | BPF_K, REFUSE);
    program[n++] = STATEMENT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    program[n++] = JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_FOREIGN, 0, 1);
    program[n++] = STATEMENT(BPF_RET | BPF_K, REFUSE);
    n = refuse(program, n, refused, CTR_LENGTH(refused));
    n = refuse(program, n, starts, spawn ? 0 : CTR_LENGTH(starts));
    program[n++] = STATEMENT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {.len = (unsigned short) n, .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) !=
            0) {
        if (errno == ENOSYS) { /* a kernel built without, or a tool that knows no seccomp */
            ctr_log(CTR_LEVEL_WARN, "event=no-seccomp");
            return 0;
        }
        return ctr_fail(err, -errno, "system calls cannot be given up: %s", strerror(errno));
    }
    return 0;
}
#else
int
ctr_net_filter(bool spawn, struct ctr_error *err)
{
    return 0;
}
#endif
