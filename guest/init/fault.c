/* fault.c: errors in the host's words, and notes on the console. */
#include "fault.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int
fault_set(struct fault *fault, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void) snprintf(fault->code, sizeof fault->code, "%s", code);
    (void) vsnprintf(fault->message, sizeof fault->message, format, args);
    va_end(args);
    return -1;
}

int
fault_errno(struct fault *fault, const char *code, const char *format, ...)
{
    int number = errno;
    va_list args;
    va_start(args, format);
    (void) snprintf(fault->code, sizeof fault->code, "%s", code);
    int n = vsnprintf(fault->message, sizeof fault->message, format, args);
    va_end(args);
    if (n >= 0 && (size_t) n < sizeof fault->message) {
        (void) snprintf(fault->message + n, sizeof fault->message - (size_t) n, ": %s",
                        fault_reason(number));
    }
    errno = number;
    return -1;
}

const char *
fault_reason(int number)
{
    static char text[96];
    const char *reason = strerrordesc_np(number);
    if (reason == NULL) {
        (void) snprintf(text, sizeof text, "error %d", number);
        return text;
    }
    (void) snprintf(text, sizeof text, "%s", reason);
    text[0] = (char) tolower((unsigned char) text[0]);
    return text;
}

void
note(const char *format, ...)
{
    char line[512] = "ctr-init: ";
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line + 10, sizeof line - 11, format, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    size_t length = 10 + ((size_t) n < sizeof line - 11 ? (size_t) n : sizeof line - 12);
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char) line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[length++] = '\n';
    (void) !write(STDERR_FILENO, line, length);
}
