/*
 * Files: whole reads with a bound, durable writes, clones, and removing trees.
 *
 * A write that returned 0 survives power loss: data, then the rename, then the folder are synchronised, in that order. A
 * failed fsync is a failed write; it is never tried again on the same descriptor.
 */
#include "core/base/base.h"
#include <fcntl.h>
#include <sys/stat.h>

int
ctr_write_all(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t n = write(fd, at, length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        at += n;
        length -= (size_t) n;
    }
    return 0;
}

int
ctr_read_all(int fd, void *bytes, size_t length, size_t *ret_n)
{
    size_t have = 0;
    while (have < length) {
        ssize_t n = read(fd, (char *) bytes + have, length - have);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        have += (size_t) n;
    }
    *ret_n = have;
    return 0;
}

int
ctr_pipe(int ret_ends[2])
{
#ifdef __APPLE__
    if (pipe(ret_ends) != 0) {
        return -errno;
    }
    (void) fcntl(ret_ends[0], F_SETFD, FD_CLOEXEC);
    (void) fcntl(ret_ends[1], F_SETFD, FD_CLOEXEC);
    return 0;
#else
    return pipe2(ret_ends, O_CLOEXEC) == 0 ? 0 : -errno;
#endif
}

/* Reads up to max + 1 bytes in growing steps, so that a wrong st_size (as in /proc) does not matter. */
static int
read_growing(int fd, size_t max, struct ctr_buf *buf)
{
    char chunk[16384];
    for (;;) {
        size_t want = max + 1 - buf->length, n;
        int code = ctr_read_all(fd, chunk, want < sizeof chunk ? want : sizeof chunk, &n);
        if (code != 0) {
            return code;
        }
        ctr_buf_add(buf, chunk, n);
        if (buf->failed) {
            return -ENOMEM;
        }
        if (buf->length > max) {
            return -EFBIG;
        }
        if (n == 0) {
            return 0;
        }
    }
}

int
ctr_read_file(const char *path, size_t max, char **ret, size_t *ret_length,
              struct ctr_error *err)
{
    /* O_NONBLOCK: a FIFO in the file's place must not hang us. */
    CTR_AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        int code = -errno;
        return ctr_fail(err, code, "%s: %s", path, strerror(-code));
    }
    if (!S_ISREG(st.st_mode)) {
        return ctr_fail(err, -EINVAL, "%s: not a regular file", path);
    }
    CTR_AUTO(buf) struct ctr_buf buf = {0};
    int code = read_growing(fd, max, &buf);
    if (code == -EFBIG) {
        return ctr_fail(err, code, "%s: longer than %zu bytes, which is the limit", path, max);
    }
    if (code != 0) {
        return ctr_fail(err, code, "%s: cannot be read: %s", path, strerror(-code));
    }
    size_t length = buf.length;
    char *text = ctr_buf_take(&buf);
    if (text == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
    }
    *ret = text;
    if (ret_length != NULL) {
        *ret_length = length;
    }
    return 0;
}

int
ctr_sync_fd(int fd)
{
#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0) {
        return 0;
    }
    if (errno != ENOTSUP && errno != EINVAL && errno != ENOTTY) {
        return -errno;
    }
#endif
    return fsync(fd) == 0 ? 0 : -errno;
}

int
ctr_sync_dir(const char *path, struct ctr_error *err)
{
    CTR_AUTO(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = fd < 0 ? -errno : ctr_sync_fd(fd);
    if (code != 0) {
        return ctr_fail(err, code, "%s: folder cannot be synchronised: %s", path,
                        strerror(-code));
    }
    return 0;
}

/* Writes and synchronises the file of an open descriptor. */
static int
fill(int fd, const void *bytes, size_t length)
{
    if (fchmod(fd, 0600) != 0) {
        return -errno;
    }
    int code = ctr_write_all(fd, bytes, length);
    return code != 0 ? code : ctr_sync_fd(fd);
}

int
ctr_write_file(const char *path, const void *bytes, size_t length, struct ctr_error *err)
{
    uint64_t tag;
    CTR_AUTO(free) char *dir = ctr_parent_dir(path);
    if (dir == NULL || ctr_random(&tag, sizeof tag) != 0) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
    }
    CTR_AUTO(free)
    char *temporary = ctr_printf("%s/.tmp-%016llx", dir, (unsigned long long) tag);
    if (temporary == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
    }
    CTR_AUTO(fd) int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        int code = -errno;
        return ctr_fail(err, code, "%s: cannot be written: %s", path, strerror(-code));
    }
    int code = fill(fd, bytes, length);
    if (code == 0 && rename(temporary, path) != 0) {
        code = -errno;
    }
    if (code != 0) {
        (void) unlink(temporary);
        return ctr_fail(err, code, "%s: cannot be written: %s", path, strerror(-code));
    }
    return ctr_sync_dir(dir, err);
}

int
ctr_write_json(const char *path, const json_t *json, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = ctr_json_text(json);
    CTR_AUTO(free) char *line = text == NULL ? NULL : ctr_printf("%s\n", text);
    if (line == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", path);
    }
    return ctr_write_file(path, line, strlen(line), err);
}

json_t *
ctr_read_json(const char *path, size_t max, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = NULL;
    size_t length;
    if (ctr_read_file(path, max, &text, &length, err) != 0) {
        return NULL;
    }
    return ctr_json_parse(text, length, max, path, err);
}

#define MAX_TREE_DEPTH 200

/* Empties a folder; takes the descriptor. */
static int
empty_dir(int take_fd, int depth)
{
    CTR_AUTO(dir) DIR *dir = fdopendir(take_fd);
    if (dir == NULL) {
        int code = -errno;
        (void) close(take_fd);
        return code;
    }
    if (depth > MAX_TREE_DEPTH) {
        return -ELOOP;
    }
    const struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT) {
            continue;
        }
        if (errno != EISDIR && errno != EPERM) {
            return -errno;
        }
        int fd =
            openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int code = fd < 0 ? -errno : empty_dir(fd, depth + 1);
        if (code == 0 && unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) != 0) {
            code = -errno;
        }
        if (code != 0 && code != -ENOENT) {
            return code;
        }
    }
    return -errno;
}

int
ctr_remove_tree(const char *path, struct ctr_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), code = 0;
    if (fd >= 0) {
        code = empty_dir(fd, 0);
        if (code == 0 && rmdir(path) != 0) {
            code = -errno;
        }
    } else if (errno == ENOTDIR || errno == ELOOP) {
        code = unlink(path) == 0 ? 0 : -errno;
    } else {
        code = -errno;
    }
    if (code != 0 && code != -ENOENT) {
        return ctr_fail(err, code, "%s: cannot be removed: %s", path, strerror(-code));
    }
    return 0;
}
