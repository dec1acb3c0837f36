/*
 * The log: one line of key=value pairs to stderr, in one write(2), so that lines of several processes do not mix.
 *
 * A format that begins with `key=` is taken as pairs; any other is one message and gets quoted as msg="…". What the
 * arguments bring in can never start a new line or move a terminal's cursor.
 */
#include "core/base/base.h"
#include <ctype.h>

static char process_name[32] = "ctr";
static int max_level = CTR_LEVEL_INFO;

void
ctr_log_init(const char *process, int level)
{
    (void) snprintf(process_name, sizeof process_name, "%s", process);
    max_level = level;
}

static bool
begins_with_key(const char *format)
{
    size_t n = 0;
    while (islower((unsigned char) format[n]) || format[n] == '_') {
        n++;
    }
    return n > 0 && format[n] == '=';
}

/* Copies text into [out,end) with what is not printable escaped; returns the new end. */
static char *
escape(char *out, const char *end, const char *text, bool quoted)
{
    static const char digits[] = "0123456789abcdef";
    size_t left = strlen(text);
    while (left > 0 && end - out > 8) {
        size_t n = ctr_utf8_printable(text, left);
        if (n > 0) {
            if (quoted && (*text == '"' || *text == '\\')) {
                *out++ = '\\';
            }
            memcpy(out, text, n);
            out += n;
        } else if (*text == '\n') {
            *out++ = '\\';
            *out++ = 'n';
            n = 1;
        } else {
            unsigned char c = (unsigned char) *text;
            *out++ = '\\';
            *out++ = 'x';
            *out++ = digits[c >> 4];
            *out++ = digits[c & 15];
            n = 1;
        }
        text += n;
        left -= n;
    }
    return out;
}

void
ctr_log(int level, const char *format, ...)
{
    static const char *const levels[] = {"error", "error", "warn", "info", "debug"};
    if (level > max_level || level < CTR_LEVEL_ERROR || level > CTR_LEVEL_DEBUG) {
        return;
    }
    int saved = errno;
    char text[3072], line[4096], when[40];
    va_list args;
    va_start(args, format);
    (void) vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool pairs = begins_with_key(format);
    int n = snprintf(line, sizeof line, "time=%s level=%s process=%s ",
                     ctr_format_time(ctr_now_ns(), when), levels[level], process_name);
    char *out = line + n, *end = line + sizeof line - 2;
    if (!pairs) {
        memcpy(out, "msg=\"", 5);
        out += 5;
    }
    out = escape(out, end, text, !pairs);
    if (!pairs) {
        *out++ = '"';
    }
    *out++ = '\n';
    (void) ctr_write_all(STDERR_FILENO, line, (size_t) (out - line));
    errno = saved;
}
