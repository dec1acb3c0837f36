/* Bytes from and to a caller's descriptor, and out of a blob. See stream.h. */
#include "core/image/stream.h"
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define STREAM_STEP_MS 200 /* between two looks at whether a cancel came */

/* Files are always ready. */
static int
stream_wait(struct image_op *op, int fd, short events, struct ctr_error *err)
{
    for (;;) {
        if (ctr_transfer_cancelled(&op->transfer)) {
            return ctr_fail_cancelled(err);
        }
        struct pollfd wait = {.fd = fd, .events = events};
        int ready = poll(&wait, 1, STREAM_STEP_MS);
        if (ready > 0) {
            return 0;
        }
        if (ready < 0 && errno != EINTR) {
            return ctr_fail(err, -errno, "poll: %s", strerror(errno));
        }
    }
}

ssize_t
stream_read(struct image_op *op, int fd, void *bytes, size_t length, struct ctr_error *err)
{
    for (;;) {
        int rc = stream_wait(op, fd, POLLIN, err);
        if (rc < 0) {
            return rc;
        }
        ssize_t n = read(fd, bytes, length);
        if (n >= 0) {
            return n;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return ctr_fail(err, -errno, "read: %s", strerror(errno));
        }
    }
}

/* After poll said that there is room. A socket is told not to wait; a pipe that has room takes PIPE_BUF bytes at once. */
static ssize_t
stream_put(int fd, mode_t type, const char *bytes, size_t length)
{
    if (S_ISSOCK(type)) {
        return send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    return write(fd, bytes, S_ISREG(type) || length < PIPE_BUF ? length : PIPE_BUF);
}

int
stream_write(struct image_op *op, int fd, const void *bytes, size_t length,
             struct ctr_error *err)
{
    const char *from = bytes;
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return ctr_fail(err, -errno, "write: %s", strerror(errno));
    }
    while (length > 0) {
        int rc = stream_wait(op, fd, POLLOUT, err);
        if (rc < 0) {
            return rc;
        }
        ssize_t n = stream_put(fd, st.st_mode, from, length);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return ctr_fail(err, -errno, "write: %s%s", strerror(errno),
                            errno == ENOSPC  ? "; free some space there"
                            : errno == EPIPE ? "; who read it has gone"
                                             : "");
        }
        from += n > 0 ? n : 0;
        length -= n > 0 ? (size_t) n : 0;
    }
    return 0;
}

/* --- blobs --- */

struct blob_reader {
    struct image_op *op;
    const char *digest, *status;
    int fd;
    uint64_t size, done, shown;
    char *piece;
    struct ctr_sha256 *sha;
};

static int
blob_run(struct blob_reader *reader,
         int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err),
         void *arg, struct ctr_error *err)
{
    size_t n = 0;
    do {
        if (ctr_transfer_cancelled(&reader->op->transfer)) {
            return ctr_fail_cancelled(err);
        }
        int rc = ctr_read_all(reader->fd, reader->piece, STREAM_PIECE, &n);
        if (rc < 0) {
            return ctr_fail(err, rc, "read blob %s: %s", reader->digest, strerror(-rc));
        }
        /* A file that grew meanwhile is not what was announced: its hash will say so. */
        uint64_t left = reader->size - reader->done;
        size_t told = n < left ? n : (size_t) left;
        ctr_sha256_add(reader->sha, reader->piece, n);
        rc = sink != NULL && told > 0 ? sink(arg, reader->piece, told, err) : 0;
        if (rc < 0) {
            return rc;
        }
        reader->done += told;
        if (reader->done - reader->shown >= ((uint64_t) 1 << 20) ||
            reader->done == reader->size) {
            reader->shown = reader->done;
            ctr_transfer_step(&reader->op->transfer, reader->digest, reader->status,
                              reader->done, reader->size);
        }
    } while (n == STREAM_PIECE);
    return 0;
}

int
stream_blob(struct image_op *op, const char *digest, const char *status,
            int (*sink)(void *arg, const void *bytes, size_t length, struct ctr_error *err),
            void *arg, struct ctr_error *err)
{
    struct blob_reader reader = {.op = op, .digest = digest, .status = status, .fd = -1};
    int rc = ctr_blob_open(op->images->store, digest, &reader.fd, &reader.size, err);
    if (rc < 0) {
        return rc;
    }
    reader.piece = malloc(STREAM_PIECE);
    reader.sha = ctr_sha256_create();
    rc = reader.piece == NULL || reader.sha == NULL
             ? ctr_fail(err, -ENOMEM, "read blob %s: out of memory", digest)
             : blob_run(&reader, sink, arg, err);
    if (rc == 0) {
        char found[72];
        ctr_sha256_finish(reader.sha, found);
        if (strcmp(found, digest) != 0) {
            (void) ctr_blob_set_aside(op->images->store, digest);
            rc = ctr_fail(err, -EBADMSG,
                          "blob %s is damaged on disk and was set aside; pull the image again",
                          digest);
        }
    }
    ctr_sha256_destroy(reader.sha);
    free(reader.piece);
    (void) close(reader.fd);
    return rc;
}
