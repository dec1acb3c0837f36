/*
 * The container's log: a writer that appends records of at most 16 KiB and keeps two files, each at most half of log_size.
 *
 * A record is written by one writev; when the disk takes only a part of it, the file is cut back to the last
 * whole record, the output is lost and the sandbox's own log says so once. A start after a crash cuts a torn last record
 * away, so that what follows can be read. Not synced: a power cut may take the last seconds, never the exit record.
 */
#include "core/sandbox/sandbox-priv.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

void
ctr_log_encode(const struct ctr_log_header *header, uint8_t out[CTR_LOG_HEADER])
{
    out[0] = (uint8_t) header->stream;
    out[1] = out[2] = out[3] = 0;
    for (int i = 0; i < 4; i++) {
        out[4 + i] = (uint8_t) (header->length >> (24 - 8 * i));
    }
    for (int i = 0; i < 8; i++) {
        out[8 + i] = (uint8_t) ((uint64_t) header->time_ns >> (56 - 8 * i));
    }
}

int
ctr_log_decode(const uint8_t in[CTR_LOG_HEADER], struct ctr_log_header *ret)
{
    uint32_t length = 0;
    uint64_t time = 0;
    for (int i = 0; i < 4; i++) {
        length = length << 8 | in[4 + i];
    }
    for (int i = 0; i < 8; i++) {
        time = time << 8 | in[8 + i];
    }
    if ((in[0] != 1 && in[0] != 2) || in[1] != 0 || in[2] != 0 || in[3] != 0 || length == 0 ||
        length > CTR_LOG_RECORD_MAX || time > INT64_MAX) {
        return -EBADMSG;
    }
    *ret =
        (struct ctr_log_header){.stream = in[0], .length = length, .time_ns = (int64_t) time};
    return 0;
}

int
ctr_log_scan(int fd, int64_t *ret)
{
    uint8_t block[65536];
    int64_t whole = 0;
    *ret = 0;
    for (;;) {
        ssize_t n = pread(fd, block, sizeof block, whole);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        size_t at = 0;
        while (at + CTR_LOG_HEADER <= (size_t) n) {
            struct ctr_log_header header;
            if (ctr_log_decode(block + at, &header) < 0) {
                return -EBADMSG;
            }
            if (at + CTR_LOG_HEADER + header.length > (size_t) n) {
                break;
            }
            at += CTR_LOG_HEADER + header.length;
        }
        if (at == 0) {
            return 0; /* the end, or a cut record */
        }
        whole += (int64_t) at;
        *ret = whole;
    }
}

static int
open_current(struct ctr_log_writer *log)
{
    log->fd = open(log->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return log->fd < 0 ? -errno : 0;
}

/* A damaged file is set aside whole, for whoever wants to look at it. */
static int
set_aside(struct ctr_log_writer *log)
{
    CTR_AUTO(free) char *aside = ctr_printf("%s.damaged", log->path);
    if (aside == NULL || rename(log->path, aside) < 0) {
        return aside == NULL ? -ENOMEM : -errno;
    }
    ctr_log(CTR_LEVEL_WARN, "path=%s msg=\"damaged, kept as %s\"", log->path, aside);
    (void) close(log->fd);
    log->size = 0;
    return open_current(log);
}

/* What an earlier run left: a torn last record is cut away. */
static int
take_over(struct ctr_log_writer *log)
{
    struct stat st;
    if (fstat(log->fd, &st) < 0 || st.st_size == 0) {
        return 0;
    }
    if (ctr_log_scan(log->fd, &log->size) == -EBADMSG) {
        return set_aside(log);
    }
    return log->size < st.st_size && ftruncate(log->fd, log->size) < 0 ? -errno : 0;
}

int
ctr_log_start(struct ctr_log_writer *log, const char *path, int64_t limit,
              struct ctr_error *err)
{
    *log = (struct ctr_log_writer){.fd = -1, .limit = limit / 2};
    log->path = ctr_printf("%s", path);
    log->old = ctr_printf("%s.1", path);
    if (log->path == NULL || log->old == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int code = open_current(log);
    if (code < 0) {
        return ctr_fail(err, code, "log %s: cannot open: %s", path, strerror(-code));
    }
    code = take_over(log);
    return code < 0 ? ctr_fail(err, code, "log %s: %s", path, strerror(-code)) : 0;
}

static int
rotate(struct ctr_log_writer *log)
{
    if (rename(log->path, log->old) < 0) {
        return -errno;
    }
    (void) close(log->fd);
    log->size = 0;
    return open_current(log);
}

/* One record, whole or not at all. */
static int
append(struct ctr_log_writer *log, int stream, const void *bytes, size_t length)
{
    struct ctr_log_header header = {
        .stream = stream, .length = (uint32_t) length, .time_ns = ctr_now_ns()};
    uint8_t head[CTR_LOG_HEADER];
    size_t total = CTR_LOG_HEADER + length;
    if (log->size > 0 && log->size + (int64_t) total > log->limit) {
        int code = rotate(log);
        if (code < 0) {
            return code;
        }
    }
    if (log->fd < 0) {
        return -EBADF;
    }
    ctr_log_encode(&header, head);
    struct iovec parts[2] = {{head, sizeof head}, {(void *) bytes, length}};
    ssize_t n;
    do {
        n = writev(log->fd, parts, 2);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t) total) {
        log->size += n;
        return 0;
    }
    int code = n < 0 ? -errno : -ENOSPC;
    if (n > 0 && ftruncate(log->fd, log->size) < 0) {
        code = -errno;
    }
    return code;
}

void
ctr_log_write(struct ctr_log_writer *log, int stream, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        size_t n = length < CTR_LOG_RECORD_MAX ? length : CTR_LOG_RECORD_MAX;
        int code = append(log, stream, at, n);
        if (code < 0 && !log->broken) {
            ctr_log(CTR_LEVEL_ERROR, "path=%s error=\"output is lost: %s\"", log->path,
                    strerror(-code));
        }
        log->broken = code < 0;
        at += n;
        length -= n;
    }
}

void
ctr_log_finish(struct ctr_log_writer *log)
{
    if (log->path == NULL) {
        return;
    }
    ctr_auto_fd(&log->fd);
    free(log->path);
    free(log->old);
    *log = (struct ctr_log_writer){.fd = -1};
}
