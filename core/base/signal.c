/*
 * Signals by name. The numbers are Linux's whatever the host is, since they are sent to processes in a Linux guest.
 */
#include "core/base/base.h"
#include <strings.h>

#define RT_MIN 34
#define RT_MAX 64

static const char *const names[] = {
    NULL,   "HUP",  "INT",  "QUIT", "ILL",    "TRAP",   "ABRT",  "BUS",  "FPE",  "KILL", "USR1",
    "SEGV", "USR2", "PIPE", "ALRM", "TERM",   "STKFLT", "CHLD",  "CONT", "STOP", "TSTP", "TTIN",
    "TTOU", "URG",  "XCPU", "XFSZ", "VTALRM", "PROF",   "WINCH", "IO",   "PWR",  "SYS",
};

static const struct {
    const char *name;
    int number;
} aliases[] = {{"IOT", 6}, {"CLD", 17}, {"POLL", 29}, {"RTMIN", RT_MIN}, {"RTMAX", RT_MAX}};

static int
realtime_number(const char *name)
{
    int64_t n;
    if (strncasecmp(name, "RTMIN+", 6) == 0 &&
        ctr_parse_int(name + 6, 0, RT_MAX - RT_MIN, &n) == 0) {
        return RT_MIN + (int) n;
    }
    if (strncasecmp(name, "RTMAX-", 6) == 0 &&
        ctr_parse_int(name + 6, 0, RT_MAX - RT_MIN, &n) == 0) {
        return RT_MAX - (int) n;
    }
    return -EINVAL;
}

int
ctr_signal_number(const char *text)
{
    int64_t number;
    if (ctr_parse_int(text, 1, RT_MAX, &number) == 0) {
        return (int) number;
    }
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    for (size_t i = 1; i < CTR_LENGTH(names); i++) {
        if (strcasecmp(name, names[i]) == 0) {
            return (int) i;
        }
    }
    for (size_t i = 0; i < CTR_LENGTH(aliases); i++) {
        if (strcasecmp(name, aliases[i].name) == 0) {
            return aliases[i].number;
        }
    }
    return realtime_number(name);
}

const char *
ctr_signal_name(int number)
{
    return number > 0 && (size_t) number < CTR_LENGTH(names) ? names[number] : NULL;
}
