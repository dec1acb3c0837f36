/*
 * Growing byte buffers. A failed allocation is remembered in the buffer, so that a caller adds without checks and asks once
 * at the end. The byte behind `length` is always NUL while data is not NULL.
 */
#include "core/base/base.h"

static bool
reserve(struct ctr_buf *buf, size_t more)
{
    if (buf->failed || more > SIZE_MAX / 4 || buf->length > SIZE_MAX / 4) {
        buf->failed = true;
        return false;
    }
    size_t need = buf->length + more + 1;
    if (need <= buf->capacity) {
        return true;
    }
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < need) {
        capacity *= 2;
    }
    char *data = realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void
ctr_buf_add(struct ctr_buf *buf, const void *bytes, size_t length)
{
    if (!reserve(buf, length)) {
        return;
    }
    if (length > 0) {
        memcpy(buf->data + buf->length, bytes, length);
    }
    buf->length += length;
    buf->data[buf->length] = '\0';
}

void
ctr_buf_puts(struct ctr_buf *buf, const char *text)
{
    ctr_buf_add(buf, text, strlen(text));
}

static void
add_formatted(struct ctr_buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0) {
        buf->failed = true;
        return;
    }
    if (reserve(buf, (size_t) n)) {
        (void) vsnprintf(buf->data + buf->length, (size_t) n + 1, format, args);
        buf->length += (size_t) n;
    }
}

void
ctr_buf_printf(struct ctr_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_formatted(buf, format, args);
    va_end(args);
}

void
ctr_buf_consume(struct ctr_buf *buf, size_t n)
{
    if (buf->data == NULL) {
        return;
    }
    if (n > buf->length) {
        n = buf->length;
    }
    memmove(buf->data, buf->data + n, buf->length - n);
    buf->length -= n;
    buf->data[buf->length] = '\0';
}

void
ctr_buf_clear(struct ctr_buf *buf)
{
    free(buf->data);
    *buf = (struct ctr_buf){0};
}

char *
ctr_buf_take(struct ctr_buf *buf)
{
    ctr_buf_add(buf, "", 0);
    if (buf->failed) {
        ctr_buf_clear(buf);
        return NULL;
    }
    char *text = buf->data;
    *buf = (struct ctr_buf){0};
    return text;
}

char *
ctr_printf(const char *format, ...)
{
    struct ctr_buf buf = {0};
    va_list args;
    va_start(args, format);
    add_formatted(&buf, format, args);
    va_end(args);
    return ctr_buf_take(&buf);
}
