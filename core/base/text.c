/*
 * Small questions about text: prefixes, numbers, sizes, printable forms, and the nearest of several words.
 */
#include "core/base/base.h"
#include <ctype.h>
#include <strings.h>

bool
ctr_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool
ctr_ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

int
ctr_parse_int(const char *text, int64_t min, int64_t max, int64_t *ret)
{
    const char *digits = *text == '-' ? text + 1 : text;
    if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits)) {
        return -EINVAL;
    }
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno != 0 || value < min || value > max) {
        return -ERANGE;
    }
    *ret = value;
    return 0;
}

/* The power of 1024 that a size's suffix means, or -1. */
static int
suffix_power(const char *suffix)
{
    static const char letters[] = "bkmgtp";
    if (*suffix == '\0') {
        return 0;
    }
    const char *letter = strchr(letters, tolower((unsigned char) *suffix));
    if (letter == NULL) {
        return -1;
    }
    int power = (int) (letter - letters);
    const char *rest = suffix + 1;
    bool plain = *rest == '\0';
    bool bytes = power > 0 && (strcasecmp(rest, "b") == 0 || strcasecmp(rest, "ib") == 0);
    return plain || bytes ? power : -1;
}

int
ctr_parse_size(const char *text, uint64_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    int power = suffix_power(text + digits);
    if (digits == 0 || power < 0) {
        return -EINVAL;
    }
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno != 0) {
        return -ERANGE;
    }
    for (; power > 0; power--) {
        if (value > UINT64_MAX / 1024) {
            return -ERANGE;
        }
        value *= 1024;
    }
    *ret = value;
    return 0;
}

const char *
ctr_format_size(uint64_t bytes, char ret[16])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double) bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < CTR_LENGTH(units)) {
        value /= 1000;
        unit++;
    }
    (void) snprintf(ret, 16, "%.3g%s", value, units[unit]);
    return ret;
}

const char *
ctr_format_duration(int64_t seconds, char ret[32])
{
    int64_t minutes = seconds / 60, hours = seconds / 3600 + (seconds % 3600 >= 1800 ? 1 : 0);
    if (seconds < 1) {
        (void) snprintf(ret, 32, "Less than a second");
    } else if (seconds < 60) {
        (void) snprintf(ret, 32, "%d second%s", (int) seconds, seconds == 1 ? "" : "s");
    } else if (minutes < 60) {
        (void) snprintf(ret, 32, minutes == 1 ? "About a minute" : "%d minutes", (int) minutes);
    } else if (hours < 48) {
        (void) snprintf(ret, 32, hours == 1 ? "About an hour" : "%d hours", (int) hours);
    } else if (hours < 24 * 7 * 2) {
        (void) snprintf(ret, 32, "%d days", (int) (hours / 24));
    } else if (hours < 24 * 30 * 2) {
        (void) snprintf(ret, 32, "%d weeks", (int) (hours / 24 / 7));
    } else if (hours < 24 * 365 * 2) {
        (void) snprintf(ret, 32, "%d months", (int) (hours / 24 / 30));
    } else {
        (void) snprintf(ret, 32, "%lld years", (long long) (hours / 24 / 365));
    }
    return ret;
}

/* Decodes one UTF-8 sequence: its length, 0 if it is not well-formed (RFC 3629: no overlong form, surrogate or > 10FFFF). */
static size_t
utf8_decode(const unsigned char *s, size_t length, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (n == 0 || s[0] > 0xf4 || n > length) {
        return 0;
    }
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return 0;
    }
    *ret = c;
    return n;
}

bool
ctr_is_utf8(const char *text, size_t length)
{
    uint32_t c;
    for (size_t i = 0, n; i < length; i += n) {
        n = utf8_decode((const unsigned char *) text + i, length - i, &c);
        if (n == 0) {
            return false;
        }
    }
    return true;
}

size_t
ctr_utf8_printable(const char *text, size_t length)
{
    uint32_t c;
    size_t n = length == 0 ? 0 : utf8_decode((const unsigned char *) text, length, &c);
    if (n == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0)) {
        return 0;
    }
    /* Marks that reorder or hide the text around them. */
    bool bidi = (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
                (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
    return bidi ? 0 : n;
}

char *
ctr_printable(const char *text)
{
    struct ctr_buf buf = {0};
    size_t left = strlen(text);
    while (left > 0) {
        size_t n = ctr_utf8_printable(text, left);
        ctr_buf_add(&buf, n > 0 ? text : "?", n > 0 ? n : 1);
        n = n > 0 ? n : 1;
        text += n;
        left -= n;
    }
    return ctr_buf_take(&buf);
}

#define WORD_MAX 64

size_t
ctr_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > WORD_MAX || m > WORD_MAX) {
        return n > m ? n : m;
    }
    uint8_t d[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (uint8_t) (i + j);
                continue;
            }
            size_t best = (size_t) d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = d[i - 1][j] + 1U < best ? d[i - 1][j] + 1U : best;
            best = d[i][j - 1] + 1U < best ? d[i][j - 1] + 1U : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1U < best) {
                best = d[i - 2][j - 2] + 1U;
            }
            d[i][j] = (uint8_t) best;
        }
    }
    return d[n][m];
}

const char *
ctr_nearest(const char *word, const char *const *list)
{
    size_t limit = strlen(word) / 3 + 1, best = limit + 1;
    const char *nearest = NULL;
    for (; *list != NULL; list++) {
        size_t distance = ctr_distance(word, *list);
        if (distance < best && distance < strlen(*list)) {
            best = distance;
            nearest = *list;
        }
    }
    return nearest;
}
