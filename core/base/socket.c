/*
 * Unix sockets: paths of any length, checked peers, passed descriptors, and calls of one JSON line each way.
 *
 * sun_path holds 108 bytes; a longer path is reached through the folder's descriptor as /proc/self/fd/N/NAME.
 */
#include "core/base/base.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MAX_CALL ((size_t) 1 << 20)
#define MAX_FDS 4

#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

static int
new_socket(void)
{
#ifdef SOCK_CLOEXEC
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
#else
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), on = 1;
    if (fd >= 0) {
        (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
        (void) setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
    }
    return fd;
#endif
}

/* Fills the address; a long path goes through dir_fd, an open descriptor of its folder. */
static int
fill_address(struct sockaddr_un *address, const char *path, int dir_fd)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t space = sizeof address->sun_path;
    if (strlen(path) < space) {
        memcpy(address->sun_path, path, strlen(path) + 1);
        return 0;
    }
#ifdef __linux__
    const char *name = strrchr(path, '/');
    int n = snprintf(address->sun_path, space, "/proc/self/fd/%d/%s", dir_fd,
                     name == NULL ? path : name + 1);
    return n > 0 && (size_t) n < space ? 0 : -ENAMETOOLONG;
#else
    return -ENAMETOOLONG;
#endif
}

/* The socket's folder: this user's own and closed to others. Returns its descriptor, which also serves as a lock. */
static int
open_private_dir(const char *path, struct ctr_error *err)
{
    CTR_AUTO(free) char *dir = ctr_parent_dir(path);
    if (dir == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
    }
    CTR_AUTO(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        int code = -errno;
        return ctr_fail(err, code, "%s: folder of a socket: %s", dir, strerror(-code));
    }
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        return ctr_fail(err, -EPERM,
                        "%s: folder of a socket must be yours alone: run chmod 700 on it, or "
                        "use another one",
                        dir);
    }
    return ctr_steal_fd(&fd);
}

/* Removes a socket that nobody listens on. Called with the folder locked. */
static int
clear_stale(const struct sockaddr_un *address, const char *path, struct ctr_error *err)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0) {
        return errno == ENOENT ? 0 : ctr_fail(err, -errno, "%s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode)) {
        return ctr_fail(err, -EEXIST, "%s: exists and is not a socket: move it away", path);
    }
    CTR_AUTO(fd) int probe = new_socket();
    if (probe < 0) {
        return ctr_fail(err, -errno, "%s: %s", path, strerror(errno));
    }
    if (fcntl(probe, F_SETFL, O_NONBLOCK) == 0 &&
        connect(probe, (const struct sockaddr *) address, sizeof *address) != 0 &&
        errno == ECONNREFUSED) {
        (void) unlink(address->sun_path);
        return 0;
    }
    return ctr_fail(err, -EADDRINUSE, "%s: another process listens there already", path);
}

int
ctr_unix_listen(const char *path, struct ctr_error *err)
{
    CTR_AUTO(fd) int dir = open_private_dir(path, err);
    if (dir < 0) {
        return dir;
    }
    struct sockaddr_un address;
    if (fill_address(&address, path, dir) != 0) {
        return ctr_fail(err, -ENAMETOOLONG, "%s: too long for a socket's name", path);
    }
    (void) flock(dir, LOCK_EX);
    int code = clear_stale(&address, path, err);
    if (code != 0) {
        return code;
    }
    CTR_AUTO(fd) int fd = new_socket();
    if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof address) != 0 ||
        chmod(address.sun_path, 0600) != 0 || listen(fd, 128) != 0) {
        code = -errno;
        return ctr_fail(err, code, "%s: cannot listen: %s", path, strerror(-code));
    }
    return ctr_steal_fd(&fd);
}

int
ctr_unix_connect(const char *path, struct ctr_error *err)
{
    CTR_AUTO(fd) int dir = -1;
    struct sockaddr_un address;
#ifdef __linux__
    if (strlen(path) >= sizeof address.sun_path) {
        CTR_AUTO(free) char *folder = ctr_parent_dir(path);
        dir = folder == NULL ? -1 : open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0) {
            int code = folder == NULL ? -ENOMEM : -errno;
            return ctr_fail(err, code, "%s: cannot connect: %s", path, strerror(-code));
        }
    }
#endif
    if (fill_address(&address, path, dir) != 0) {
        return ctr_fail(err, -ENAMETOOLONG, "%s: too long for a socket's name", path);
    }
    CTR_AUTO(fd) int fd = new_socket();
    if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof address) != 0) {
        int code = -errno;
        bool nobody = code == -ENOENT || code == -ECONNREFUSED;
        return ctr_fail(err, code, "%s: cannot connect: %s", path,
                        nobody ? "nobody listens there" : strerror(-code));
    }
    return ctr_steal_fd(&fd);
}

int
ctr_unix_check_peer(int fd, struct ctr_error *err)
{
    uid_t uid;
#ifdef __APPLE__
    gid_t gid;
    int failed = getpeereid(fd, &uid, &gid);
#else
    struct ucred peer;
    socklen_t length = sizeof peer;
    int failed = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length);
    uid = failed == 0 ? peer.uid : (uid_t) -1;
#endif
    if (failed != 0) {
        return ctr_fail(err, -EPERM, "the socket's peer cannot be told: %s", strerror(errno));
    }
    if (uid != geteuid() && uid != 0) {
        return ctr_fail(err, -EPERM, "user %u is not allowed here, only user %u and root",
                        (unsigned) uid, (unsigned) geteuid());
    }
    return 0;
}

/* Waits until fd is ready; deadline 0: for ever. */
static int
wait_ready(int fd, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline == 0 ? -1 : (deadline - ctr_monotonic_ns() + 999999) / 1000000;
        if (deadline != 0 && left <= 0) {
            return -ETIMEDOUT;
        }
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, left > 60000 ? 60000 : (int) left);
        if (n > 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

static int
send_until(int fd, const char *bytes, size_t length, int64_t deadline)
{
    while (length > 0) {
        int code = wait_ready(fd, POLLOUT, deadline);
        if (code != 0) {
            return code;
        }
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return -errno;
        }
        bytes += n > 0 ? n : 0;
        length -= n > 0 ? (size_t) n : 0;
    }
    return 0;
}

union control {
    struct cmsghdr align;
    char space[CMSG_SPACE(MAX_FDS * sizeof(int))];
};

int
ctr_send_fds(int socket, const void *bytes, size_t length, const int *fds, size_t n_fds)
{
    if (n_fds > MAX_FDS || length == 0) {
        return -EINVAL;
    }
    union control control = {0};
    struct iovec part = {.iov_base = (void *) (uintptr_t) bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (n_fds > 0) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
    }
    for (;;) {
        ssize_t n = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (n >= 0) {
            return send_until(socket, (const char *) bytes + n, length - (size_t) n, 0);
        }
        int code = errno == EAGAIN  ? wait_ready(socket, POLLOUT, 0)
                   : errno == EINTR ? 0
                                    : -errno;
        if (code != 0) {
            return code;
        }
    }
}

static void
close_fds(int fds[MAX_FDS])
{
    for (size_t i = 0; i < MAX_FDS; i++) {
        if (fds[i] >= 0) {
            (void) close(fds[i]);
        }
        fds[i] = -1;
    }
}

/* Takes the descriptors out of a received message. */
static void
take_fds(struct msghdr *message, int fds[MAX_FDS])
{
    size_t have = 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h != NULL; h = CMSG_NXTHDR(message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (MSG_CMSG_CLOEXEC == 0) {
                (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
            }
            if (have < MAX_FDS) {
                fds[have++] = fd;
            } else {
                (void) close(fd);
            }
        }
    }
}

static ssize_t
receive(int socket, void *bytes, size_t capacity, int fds[MAX_FDS], int flags)
{
    union control control;
    struct iovec part = {.iov_base = bytes, .iov_len = capacity};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.space,
        .msg_controllen = sizeof control.space,
    };
    for (size_t i = 0; i < MAX_FDS; i++) {
        fds[i] = -1;
    }
    ssize_t n;
    do {
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    take_fds(&message, fds);
    if ((message.msg_flags & MSG_CTRUNC) != 0) {
        close_fds(fds);
        return -EMSGSIZE;
    }
    return n;
}

ssize_t
ctr_recv_fds(int socket, void *bytes, size_t capacity, int fds[4])
{
    return receive(socket, bytes, capacity, fds, 0);
}

/* Takes exactly n bytes that were seen by a peek, and the first descriptor that came with them. */
static int
take_seen(int socket, char *bytes, size_t n, int *ret_fd)
{
    while (n > 0) {
        int fds[MAX_FDS];
        ssize_t got = receive(socket, bytes, n, fds, 0);
        if (got <= 0) {
            return got < 0 ? (int) got : -EIO;
        }
        if (ret_fd != NULL && *ret_fd < 0) {
            *ret_fd = ctr_steal_fd(&fds[0]);
        }
        close_fds(fds);
        bytes += got;
        n -= (size_t) got;
    }
    return 0;
}

/* One step of reading a line: 1 when it is complete, 0 to go on, -ENODATA at the end, or a negative code. */
static int
read_some(int socket, struct ctr_buf *line, int64_t deadline, int *fd)
{
    char chunk[4096];
    int code = wait_ready(socket, POLLIN, deadline);
    if (code != 0) {
        return code;
    }
    ssize_t n = recv(socket, chunk, sizeof chunk, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) {
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    }
    if (n == 0) {
        return -ENODATA;
    }
    const char *end = memchr(chunk, '\n', (size_t) n);
    size_t take = end == NULL ? (size_t) n : (size_t) (end - chunk) + 1;
    code = take_seen(socket, chunk, take, fd);
    if (code != 0) {
        return code;
    }
    ctr_buf_add(line, chunk, take - (end != NULL));
    return line->failed ? -ENOMEM : end != NULL;
}

static char *
read_line_until(int socket, size_t max, int64_t deadline, int *ret_fd, struct ctr_error *err)
{
    CTR_AUTO(buf) struct ctr_buf line = {0};
    CTR_AUTO(fd) int fd = -1;
    int code = 0;
    while (code == 0) {
        code = read_some(socket, &line, deadline, ret_fd == NULL ? NULL : &fd);
        if (line.length > max) {
            code = -EFBIG;
        }
    }
    if (code == -ENODATA && line.length == 0) {
        return NULL;
    }
    char *text = code == 1 ? ctr_buf_take(&line) : NULL;
    if (text == NULL) {
        code = code == 1 ? -ENOMEM : code;
        const char *why = code == -EFBIG ? "it sent a line that is too long"
                          : code == -ENODATA
                              ? "it closed the connection in the middle of a line"
                          : code == -ETIMEDOUT ? "no answer in time"
                                               : strerror(-code);
        (void) ctr_fail(err, code == -ENODATA ? -ECONNRESET : code, "peer of a socket: %s",
                        why);
        return NULL;
    }
    if (ret_fd != NULL) {
        *ret_fd = ctr_steal_fd(&fd);
    }
    return text;
}

char *
ctr_read_line(int socket, size_t max, int *ret_fd, struct ctr_error *err)
{
    return read_line_until(socket, max, 0, ret_fd, err);
}

/* A code comes as a negative number, or by its name from programs whose numbers may differ (the guest's). */
static int
error_code(const json_t *error)
{
    static const struct {
        const char *name;
        int code;
    } names[] = {{"ENOENT", ENOENT},   {"EACCES", EACCES}, {"EPERM", EPERM},
                 {"EINVAL", EINVAL},   {"ENOMEM", ENOMEM}, {"ENOSPC", ENOSPC},
                 {"EEXIST", EEXIST},   {"ESRCH", ESRCH},   {"EPIPE", EPIPE},
                 {"EAGAIN", EAGAIN},   {"EBUSY", EBUSY},   {"ENOTSUP", ENOTSUP},
                 {"ENOEXEC", ENOEXEC}, {"EISDIR", EISDIR}, {"ENOTDIR", ENOTDIR},
                 {"EMFILE", EMFILE},   {"ENFILE", ENFILE}, {"ETIMEDOUT", ETIMEDOUT},
                 {"ERANGE", ERANGE},   {"EROFS", EROFS},   {"EADDRINUSE", EADDRINUSE}};
    const char *name = ctr_json_str(error, "code", "");
    for (size_t i = 0; i < CTR_LENGTH(names); i++) {
        if (strcmp(names[i].name, name) == 0) {
            return -names[i].code;
        }
    }
    int64_t code = ctr_json_int(error, "code", -EIO);
    return code >= 0 || code < -4095 ? -EIO : (int) code;
}

/* An {"error": …} reply as an error. */
static bool
reply_is_error(const json_t *reply, struct ctr_error *err)
{
    const json_t *error = json_object_get(reply, "error");
    if (error == NULL) {
        return false;
    }
    (void) ctr_fail(err, error_code(error), "%s",
                    ctr_json_str(error, "message", "unnamed failure"));
    return true;
}

json_t *
ctr_unix_call(int socket, const json_t *request, int timeout_ms, int *ret_fd,
              struct ctr_error *err)
{
    return ctr_unix_call_with(socket, request, -1, timeout_ms, ret_fd, err);
}

json_t *
ctr_unix_call_with(int socket, const json_t *request, int send_fd, int timeout_ms, int *ret_fd,
                   struct ctr_error *err)
{
    int64_t deadline = timeout_ms <= 0 ? 0 : ctr_monotonic_ns() + timeout_ms * INT64_C(1000000);
    CTR_AUTO(free) char *text = ctr_json_text(request);
    CTR_AUTO(free) char *line = text == NULL ? NULL : ctr_printf("%s\n", text);
    if (line == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    bool with = send_fd >= 0; /* the first byte carries it, so that the rest has its deadline */
    int code = with ? ctr_send_fds(socket, line, 1, &send_fd, 1) : 0;
    code = code != 0 ? code : send_until(socket, line + with, strlen(line) - with, deadline);
    if (code != 0) {
        (void) ctr_fail(err, code, "request cannot be sent: %s", strerror(-code));
        return NULL;
    }
    struct ctr_error why = CTR_ERROR_INIT;
    CTR_AUTO(fd) int fd = -1;
    CTR_AUTO(free) char *answer = read_line_until(socket, MAX_CALL, deadline, &fd, &why);
    if (answer == NULL) {
        (void) ctr_fail(err, why.code != 0 ? why.code : -ECONNRESET, "%s",
                        why.code != 0 ? why.msg : "peer of a socket: it closed the connection");
        return NULL;
    }
    CTR_AUTO(json)
    json_t *reply = ctr_json_parse(answer, strlen(answer), MAX_CALL, "reply on a socket", err);
    if (reply == NULL || reply_is_error(reply, err)) {
        return NULL;
    }
    if (ret_fd != NULL) {
        *ret_fd = ctr_steal_fd(&fd);
    }
    return ctr_steal(&reply);
}
