/*
 * The written form of bytes and digests: lower-case hex. Computing a digest is the image room's work.
 */
#include "core/base/base.h"

void
ctr_hex(const uint8_t *bytes, size_t n, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = digits[bytes[i] >> 4];
        ret[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret[2 * n] = '\0';
}

bool
ctr_is_hex(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (!digit && !(text[i] >= 'a' && text[i] <= 'f')) {
            return false;
        }
    }
    return true;
}

bool
ctr_is_digest(const char *text)
{
    return text != NULL && ctr_starts_with(text, "sha256:") && ctr_is_hex(text + 7, 64) &&
           text[7 + 64] == '\0';
}
