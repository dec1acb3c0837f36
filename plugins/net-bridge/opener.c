/*
 * /dev/net/tun: each tap needs it opened anew, and on some hosts only root may. ctr-net is root no longer when the ports come, so a process of ours stays
 * behind, which does nothing but open that one file when it is told to. It has no capabilities, and ends with ctr-net.
 */
#include "bridge-priv.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEVICE "/dev/net/tun"
#define ANSWER_SECONDS 1

static int
open_device(void)
{
    int fd = open(DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

/* --- the other process: only what a signal handler may do, as it is a fork of a program that may have threads --- */

static void
give_up_rights(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    (void) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void) syscall(SYS_capset, &header, none);
    (void) prctl(PR_SET_NAME, "ctr-net-tun", 0, 0, 0);
}

/* It keeps `fd` as descriptor 0, and no other. */
static void
keep_one(int fd)
{
    (void) dup2(fd, 0);
    if (syscall(SYS_close_range, 1, ~0U, 0) != 0) {
        for (int other = 1; other < 65536; other++) {
            (void) close(other);
        }
    }
}

static int
answer(int to, int32_t code, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = &code, .iov_len = sizeof code};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(to, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

__attribute__((noreturn)) static void
serve(int fd)
{
    char byte;
    keep_one(fd);
    give_up_rights();
    while (recv(0, &byte, 1, 0) == 1) {
        int device = open_device();
        if (answer(0, device < 0 ? device : 0, device) != 0) {
            break;
        }
        if (device >= 0) {
            (void) close(device);
        }
    }
    _exit(0);
}

/* --- ctr-net's side --- */

int
br_opener_start(struct br *br, struct ctr_error *err)
{
    struct stat st;
    struct timeval limit = {.tv_sec = ANSWER_SECONDS};
    int pair[2], device = open_device();
    if (device < 0) {
        return ctr_fail(err, device,
                        DEVICE ": %s; load the module (modprobe tun) or use plugin = switch",
                        strerror(-device));
    }
    bool alone = fstat(device, &st) != 0 || (st.st_mode & 06) != 06;
    (void) close(device);
    if (!alone || geteuid() != 0) {
        return 0;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return ctr_fail(err, -errno, "socket: %s", strerror(errno));
    }
    br->opener_pid = fork();
    if (br->opener_pid == 0) {
        serve(pair[1]);
    }
    (void) close(pair[1]);
    br->opener = pair[0];
    (void) setsockopt(br->opener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return br->opener_pid < 0 ? ctr_fail(err, -errno, "fork: %s", strerror(errno)) : 0;
}

void
br_opener_stop(struct br *br)
{
    if (br->opener >= 0) {
        (void) close(br->opener);
        br->opener = -1;
    }
    if (br->opener_pid > 0) {
        (void) waitpid(br->opener_pid, NULL, 0);
        br->opener_pid = 0;
    }
}

int
br_opener_open(const struct br *br)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    int32_t code = -EIO;
    int fd = -1;
    struct iovec part = {.iov_base = &code, .iov_len = sizeof code};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    if (br->opener < 0) {
        return open_device();
    }
    if (send(br->opener, "", 1, MSG_NOSIGNAL) != 1 ||
        recvmsg(br->opener, &message, MSG_CMSG_CLOEXEC) != (ssize_t) sizeof code) {
        return -EIO;
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    }
    return code < 0 ? code : fd;
}
