/*
 * Reading spans. A file that ends too early is damaged.
 */
#include "plugins/storage-erofs/span.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

int
span_read(const struct span *span, uint64_t offset, uint8_t *bytes, size_t length)
{
    if (span->bytes != NULL) {
        memcpy(bytes, span->bytes + offset, length);
        return 0;
    }
    for (size_t done = 0; done < length;) {
        ssize_t n =
            pread(span->fd, bytes + done, length - done, (off_t) (span->at + offset + done));
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return n == 0 ? -EBADMSG : -errno;
        }
        done += n > 0 ? (size_t) n : 0;
    }
    return 0;
}
