/*
 * Times: nanoseconds since the epoch inside, RFC 3339 outside.
 */
#include "core/base/base.h"

#define SECOND INT64_C(1000000000)

static int64_t
clock_ns(clockid_t clock)
{
    struct timespec now;
    (void) clock_gettime(clock, &now);
    return (int64_t) now.tv_sec * SECOND + now.tv_nsec;
}

int64_t
ctr_now_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

int64_t
ctr_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

const char *
ctr_format_time(int64_t ns, char ret[40])
{
    if (ns == 0) {
        memcpy(ret, "0001-01-01T00:00:00Z", sizeof "0001-01-01T00:00:00Z");
        return ret;
    }
    int64_t seconds = ns / SECOND, rest = ns % SECOND;
    if (rest < 0) {
        rest += SECOND;
        seconds--;
    }
    time_t t = (time_t) seconds;
    struct tm tm;
    (void) gmtime_r(&t, &tm);
    size_t n = strftime(ret, 40, "%Y-%m-%dT%H:%M:%S", &tm);
    (void) snprintf(ret + n, 40 - n, ".%09dZ", (int) rest);
    return ret;
}

/* Reads exactly n digits as a number; NULL if they are not there. */
static const char *
digits(const char *text, int n, int *ret)
{
    int value = 0;
    for (; n > 0; n--, text++) {
        if (*text < '0' || *text > '9') {
            return NULL;
        }
        value = value * 10 + (*text - '0');
    }
    *ret = value;
    return text;
}

/* Reads ".123" as nanoseconds, 1 to 9 digits (more are ignored); text itself where there is no dot. */
static const char *
fraction(const char *text, int64_t *ret)
{
    *ret = 0;
    if (*text != '.') {
        return text;
    }
    int64_t scale = SECOND / 10;
    const char *at = text + 1;
    for (; *at >= '0' && *at <= '9'; at++) {
        *ret += (*at - '0') * scale;
        scale /= 10;
    }
    return at > text + 1 ? at : NULL;
}

static int
add_ns(int64_t seconds, int64_t ns, int64_t *ret)
{
    int64_t product;
    if (__builtin_mul_overflow(seconds, SECOND, &product) ||
        __builtin_add_overflow(product, ns, &product)) {
        return -ERANGE;
    }
    *ret = product;
    return 0;
}

/* "+02:00", "Z" or nothing (local time), to the end of the text. */
static int
zone_seconds(const char *text, struct tm *tm, int64_t *ret)
{
    int hours, minutes;
    if (*text == '\0') {
        tm->tm_isdst = -1;
        *ret = (int64_t) mktime(tm);
        return 0;
    }
    *ret = (int64_t) timegm(tm);
    if ((*text == 'Z' || *text == 'z') && text[1] == '\0') {
        return 0;
    }
    int sign = *text == '+' ? -1 : *text == '-' ? 1 : 0;
    const char *at = sign == 0 ? NULL : digits(text + 1, 2, &hours);
    at = at == NULL || *at != ':' ? NULL : digits(at + 1, 2, &minutes);
    if (at == NULL || *at != '\0' || hours > 23 || minutes > 59) {
        return -EINVAL;
    }
    *ret += sign * (hours * 3600 + minutes * 60);
    return 0;
}

/* The date's "2006-01-02"; NULL if it is not there. */
static const char *
read_day(const char *text, struct tm *tm)
{
    const char *at = digits(text, 4, &tm->tm_year);
    at = at == NULL || *at != '-' ? NULL : digits(at + 1, 2, &tm->tm_mon);
    return at == NULL || *at != '-' ? NULL : digits(at + 1, 2, &tm->tm_mday);
}

/* "15:04:05" with a fraction perhaps. */
static const char *
read_clock(const char *text, struct tm *tm, int64_t *ret_ns)
{
    const char *at = digits(text, 2, &tm->tm_hour);
    at = at == NULL || *at != ':' ? NULL : digits(at + 1, 2, &tm->tm_min);
    at = at == NULL || *at != ':' ? NULL : digits(at + 1, 2, &tm->tm_sec);
    return at == NULL ? NULL : fraction(at, ret_ns);
}

static bool
in_range(const struct tm *tm)
{
    return tm->tm_mon >= 1 && tm->tm_mon <= 12 && tm->tm_mday >= 1 && tm->tm_mday <= 31 &&
           tm->tm_hour <= 23 && tm->tm_min <= 59 && tm->tm_sec <= 60;
}

static int
parse_date(const char *text, int64_t *ret)
{
    struct tm tm = {0};
    int64_t ns = 0, seconds;
    const char *at = read_day(text, &tm);
    if (at != NULL && *at != '\0') {
        at = strchr("Tt ", *at) == NULL ? NULL : read_clock(at + 1, &tm, &ns);
    }
    if (at == NULL || !in_range(&tm)) {
        return -EINVAL;
    }
    tm.tm_year -= 1900;
    tm.tm_mon--;
    int code = zone_seconds(at, &tm, &seconds);
    return code != 0 ? code : add_ns(seconds, ns, ret);
}

/* "1h30m", "10m", "45s", "250ms": the time that long ago. */
static int
parse_ago(const char *text, int64_t *ret)
{
    int64_t total = 0;
    while (*text != '\0') {
        char *end;
        if (*text < '0' || *text > '9') {
            return -EINVAL;
        }
        errno = 0;
        int64_t n = strtoll(text, &end, 10);
        int64_t unit = ctr_starts_with(end, "ms") ? SECOND / 1000
                       : *end == 's'              ? SECOND
                       : *end == 'm'              ? 60 * SECOND
                       : *end == 'h'              ? 3600 * SECOND
                                                  : 0;
        if (unit == 0) {
            return -EINVAL;
        }
        if (errno != 0 || __builtin_mul_overflow(n, unit, &n) ||
            __builtin_add_overflow(total, n, &total)) {
            return -ERANGE;
        }
        text = end + (unit == SECOND / 1000 ? 2 : 1);
    }
    *ret = ctr_now_ns() - total;
    return 0;
}

int
ctr_parse_time(const char *text, int64_t *ret_ns)
{
    int64_t seconds, ns;
    if (strcmp(text, "0001-01-01T00:00:00Z") == 0) {
        *ret_ns = 0;
        return 0;
    }
    size_t n = strspn(text, "0123456789");
    if (n == 0) {
        return -EINVAL;
    }
    if (n == 4 && text[n] == '-') {
        return parse_date(text, ret_ns);
    }
    if (text[n] != '\0' && text[n] != '.') {
        return parse_ago(text, ret_ns);
    }
    const char *end = fraction(text + n, &ns);
    if (end == NULL || *end != '\0') {
        return -EINVAL;
    }
    errno = 0;
    seconds = strtoll(text, NULL, 10);
    return errno != 0 ? -ERANGE : add_ns(seconds, ns, ret_ns);
}
