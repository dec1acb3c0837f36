/*
 * Reading the guest's console for messages: the ring is two files, PATH.1 (older) and PATH, each at most half of the bound.
 * What stands there was written by the guest: only its last few KiB are looked at, and made printable.
 */
#include "core/sandbox/sandbox-priv.h"

#include <fcntl.h>
#include <sys/stat.h>

static void
add_tail(struct ctr_buf *buf, const char *path, size_t max)
{
    CTR_AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || max == 0) {
        return;
    }
    CTR_AUTO(free) char *bytes = malloc(max);
    off_t from = st.st_size > (off_t) max ? st.st_size - (off_t) max : 0;
    ssize_t n = bytes == NULL ? -1 : pread(fd, bytes, max, from);
    if (n > 0) {
        ctr_buf_add(buf, bytes, (size_t) n);
    }
}

char *
ctr_console_tail(const char *path, size_t max)
{
    struct ctr_buf buf = {0};
    struct stat st;
    size_t have = stat(path, &st) == 0 ? (size_t) st.st_size : 0;
    if (have < max) {
        CTR_AUTO(free) char *old = ctr_printf("%s.1", path);
        if (old != NULL) {
            add_tail(&buf, old, max - have);
        }
    }
    add_tail(&buf, path, max);
    for (size_t i = 0; i < buf.length; i++) {
        unsigned char c = (unsigned char) buf.data[i];
        if ((c < 0x20 && c != '\n') || c >= 0x7f) {
            buf.data[i] = ' ';
        }
    }
    return buf.length == 0 ? (ctr_buf_clear(&buf), NULL) : ctr_buf_take(&buf);
}

static char *
copy_line(const char *from, const char *to)
{
    while (from < to && *from == ' ') {
        from++;
    }
    while (to > from && to[-1] == ' ') {
        to--;
    }
    int n = to - from > 300 ? 300 : (int) (to - from);
    return n == 0 ? NULL : ctr_printf("%.*s", n, from);
}

char *
ctr_console_line(const char *path, const char *needle)
{
    CTR_AUTO(free) char *tail = ctr_console_tail(path, 64 * 1024);
    if (tail == NULL) {
        return NULL;
    }
    char *found = NULL;
    for (char *line = tail; *line != '\0';) {
        char *end = line + strcspn(line, "\n");
        char saved = *end;
        *end = '\0';
        if (needle == NULL || strstr(line, needle) != NULL) {
            char *copy = copy_line(line, end);
            if (copy != NULL) {
                free(found);
                found = copy;
            }
            if (copy != NULL && needle != NULL) {
                break;
            }
        }
        line = saved == '\0' ? end : end + 1;
    }
    return found;
}
