/*
 * ctr/error.h: the one error type of ctr, for the core and for plugins.
 *
 * A call that can fail returns 0 or a negative errno value, and takes a last argument
 * `struct ctr_error *err`. The caller owns it, its size is fixed, so that it needs no memory and
 * crosses the plugin ABI. A message is one line: what was wrong, where, and what to do next.
 */
#ifndef CTR_ERROR_H
#define CTR_ERROR_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct ctr_error {
    uint32_t size; /* sizeof(struct ctr_error), set by the owner */
    int32_t code;  /* negative errno value, 0 while nothing failed */
    char msg[1016];
};

#define CTR_ERROR_INIT                                                                         \
    {                                                                                          \
        .size = sizeof(struct ctr_error)                                                       \
    }

/* Records a failure and returns `code`, so that `return ctr_fail(err, -ENOENT, "…")` is the way to fail.
 * What: replaces any earlier message. `err` may be NULL. Control characters in the text become '?'. */
__attribute__((format(printf, 3, 4))) static inline int
ctr_fail(struct ctr_error *err, int code, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        (void) vsnprintf(err->msg, sizeof err->msg, format, args);
        va_end(args);
        err->code = code;
        for (char *p = err->msg; *p != '\0'; p++) {
            if ((unsigned char) *p < 0x20 || *p == 0x7f) {
                *p = '?';
            }
        }
    }
    return code;
}

/* Puts "context: " in front of the message on its way up and returns the error's code. */
__attribute__((format(printf, 2, 3))) static inline int
ctr_prefix(struct ctr_error *err, const char *format, ...)
{
    if (err == NULL) {
        return -1;
    }
    char context[sizeof err->msg];
    va_list args;
    va_start(args, format);
    (void) vsnprintf(context, sizeof context, format, args);
    va_end(args);
    int code = err->code;
    char old[sizeof err->msg];
    memcpy(old, err->msg, sizeof old);
    return ctr_fail(err, code, "%.500s: %.500s", context, old);
}

#endif
