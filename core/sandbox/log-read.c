/*
 * Reading a container's log while the sandbox writes it. The reader keeps its file open over rotations: at its end it looks
 * whether container.log still is that file; if not, it goes on with container.log.1 or container.log, whichever comes next.
 * Every header is checked, since the file may be cut anywhere by a crash or damaged on disk.
 */
#include "core/sandbox/sandbox-priv.h"

#include <fcntl.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/inotify.h>
#endif

struct ctr_log_reader {
    char *current, *old; /* container.log and container.log.1 */
    int fd;              /* -1: none open yet */
    int64_t offset;
    int64_t skip; /* lines still to be passed over */
    int notify;
    uint8_t record[CTR_LOG_HEADER + CTR_LOG_RECORD_MAX];
};

static int
open_log(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 && errno != ENOENT ? -errno : fd;
}

static bool
same_file(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

/* Opens the file that follows the one at hand. 1: there is one, 0: not yet, negative: failure. */
static int
advance(struct ctr_log_reader *reader)
{
    const char *next = reader->old;
    if (reader->fd >= 0) {
        if (same_file(reader->fd, reader->current)) {
            return 0;
        }
        next = same_file(reader->fd, reader->old) ? reader->current : reader->old;
    }
    int fd = open_log(next);
    if (fd < 0 && next == reader->old) {
        fd = open_log(reader->current);
    }
    if (fd < 0) {
        return fd == -1 ? 0 : fd;
    }
    ctr_auto_fd(&reader->fd);
    reader->fd = fd;
    reader->offset = 0;
    return 1;
}

static ssize_t
read_at(int fd, void *bytes, size_t length, int64_t offset)
{
    ssize_t n;
    do {
        n = pread(fd, bytes, length, offset);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* The next whole record of the open file: 1, 0 (none yet) or a negative code. */
static int
read_record(struct ctr_log_reader *reader, struct ctr_log_header *ret)
{
    ssize_t n = read_at(reader->fd, reader->record, sizeof reader->record, reader->offset);
    if (n < CTR_LOG_HEADER) {
        return n < 0 ? (int) n : 0;
    }
    if (ctr_log_decode(reader->record, ret) < 0) {
        return -EBADMSG;
    }
    if ((size_t) n < CTR_LOG_HEADER + ret->length) {
        return 0;
    }
    reader->offset += CTR_LOG_HEADER + ret->length;
    return 1;
}

static int64_t
count_lines(const char *bytes, size_t length)
{
    int64_t lines = 0;
    for (const char *p = bytes; (p = memchr(p, '\n', length - (size_t) (p - bytes))) != NULL;
         p++) {
        lines++;
    }
    return lines;
}

/* Passes over skipped lines within a record; returns where the wanted bytes begin. */
static size_t
skip_lines(struct ctr_log_reader *reader, const char *bytes, size_t length)
{
    size_t at = 0;
    while (reader->skip > 0 && at < length) {
        const char *end = memchr(bytes + at, '\n', length - at);
        if (end == NULL) {
            return length;
        }
        reader->skip--;
        at = (size_t) (end - bytes) + 1;
    }
    return at;
}

static void
drain_notify(struct ctr_log_reader *reader)
{
    char events[4096];
    while (reader->notify >= 0 && read(reader->notify, events, sizeof events) > 0) {
    }
}

int
ctr_log_next(struct ctr_log_reader *reader, struct ctr_log_record *ret, struct ctr_error *err)
{
    bool drained = false;
    for (;;) {
        struct ctr_log_header header;
        int code = reader->fd >= 0 ? read_record(reader, &header) : 0;
        if (code < 0) {
            return ctr_fail(err, code, "log %s: %s at byte %lld", reader->current,
                            code == -EBADMSG ? "damaged record" : strerror(-code),
                            (long long) reader->offset);
        }
        if (code == 0) {
            code = advance(reader);
            if (code < 0) {
                return ctr_fail(err, code, "log %s: %s", reader->current, strerror(-code));
            }
            if (code == 0 && drained) {
                return 0;
            }
            if (code == 0) {
                drain_notify(reader); /* then one more look, so that nothing is missed */
                drained = true;
            }
            continue;
        }
        const char *bytes = (const char *) reader->record + CTR_LOG_HEADER;
        size_t from = skip_lines(reader, bytes, header.length);
        if (from == header.length) {
            continue;
        }
        *ret = (struct ctr_log_record){.stream = header.stream,
                                       .time_ns = header.time_ns,
                                       .bytes = bytes + from,
                                       .length = header.length - from};
        return 1;
    }
}

/* Lines in all that is there now, an unfinished last one included; then back to the start. */
static int
count_all(struct ctr_log_reader *reader, int64_t *ret, struct ctr_error *err)
{
    struct ctr_log_record record;
    int64_t lines = 0;
    bool open_line = false;
    int code;
    while ((code = ctr_log_next(reader, &record, err)) > 0) {
        lines += count_lines(record.bytes, record.length);
        open_line = record.bytes[record.length - 1] != '\n';
    }
    ctr_auto_fd(&reader->fd);
    reader->fd = -1;
    *ret = lines + (open_line ? 1 : 0);
    return code == -EBADMSG ? 0 : code;
}

static int
watch_folder(const char *folder)
{
#ifdef __linux__
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd >= 0 && inotify_add_watch(fd, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
        (void) close(fd);
        return -1;
    }
    return fd;
#else
    (void) folder;
    return -1;
#endif
}

int
ctr_log_open(const char *folder, int64_t tail, struct ctr_log_reader **ret,
             struct ctr_error *err)
{
    struct ctr_log_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    reader->fd = -1;
    reader->notify = watch_folder(folder);
    reader->current = ctr_printf("%s/container.log", folder);
    reader->old = ctr_printf("%s/container.log.1", folder);
    int code = reader->current == NULL || reader->old == NULL
                   ? ctr_fail(err, -ENOMEM, "out of memory")
                   : 0;
    if (code == 0 && tail >= 0) {
        int64_t lines = 0;
        code = count_all(reader, &lines, err);
        reader->skip = lines > tail ? lines - tail : 0;
    }
    if (code < 0) {
        ctr_log_close(reader);
        return code;
    }
    *ret = reader;
    return 0;
}

int
ctr_log_fd(const struct ctr_log_reader *reader)
{
    return reader->notify;
}

void
ctr_log_close(struct ctr_log_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    ctr_auto_fd(&reader->fd);
    ctr_auto_fd(&reader->notify);
    free(reader->current);
    free(reader->old);
    free(reader);
}
