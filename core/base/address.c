/*
 * IP addresses and prefixes as text. Strict: no octal, no short forms, no zones.
 */
#include "core/base/base.h"
#include <arpa/inet.h>

int
ctr_ipv4_parse(const char *text, uint32_t *ret)
{
    uint32_t address = 0;
    for (int part = 0; part < 4; part++) {
        size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 3 || (digits > 1 && text[0] == '0')) {
            return -EINVAL; /* 010 is 8 for some and 10 for others */
        }
        unsigned value = 0;
        for (size_t i = 0; i < digits; i++) {
            value = value * 10 + (unsigned) (text[i] - '0');
        }
        if (value > 255 || text[digits] != (part < 3 ? '.' : '\0')) {
            return -EINVAL;
        }
        address = address << 8 | value;
        text += digits + (part < 3);
    }
    *ret = address;
    return 0;
}

const char *
ctr_ipv4_format(uint32_t address, char ret[16])
{
    (void) snprintf(ret, 16, "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
                    address >> 8 & 255, address & 255);
    return ret;
}

int
ctr_address_parse(const char *text, struct ctr_address *ret)
{
    struct ctr_address address = {.family = 6};
    uint32_t v4;
    if (ctr_ipv4_parse(text, &v4) == 0) {
        address = (struct ctr_address){
            .family = 4,
            .bytes = {(uint8_t) (v4 >> 24), (uint8_t) (v4 >> 16), (uint8_t) (v4 >> 8),
                      (uint8_t) v4},
        };
    } else if (inet_pton(AF_INET6, text, address.bytes) != 1) {
        return -EINVAL;
    }
    *ret = address;
    return 0;
}

const char *
ctr_address_format(const struct ctr_address *address, char ret[CTR_ADDRESS_TEXT])
{
    ret[0] = '\0';
    if (address->family != 0) {
        (void) inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, ret,
                         CTR_ADDRESS_TEXT);
    }
    return ret;
}

uint32_t
ctr_address_ipv4(const struct ctr_address *address)
{
    const uint8_t *b = address->bytes;
    return address->family != 4
               ? 0
               : (uint32_t) b[0] << 24 | (uint32_t) b[1] << 16 | (uint32_t) b[2] << 8 | b[3];
}

int
ctr_prefix_parse(const char *text, struct ctr_address *ret, int *ret_prefix)
{
    char copy[CTR_ADDRESS_TEXT];
    const char *slash = strchr(text, '/');
    size_t n = slash == NULL ? strlen(text) : (size_t) (slash - text);
    struct ctr_address address;
    int64_t prefix;
    if (n >= sizeof copy) {
        return -EINVAL;
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    if (ctr_address_parse(copy, &address) != 0) {
        return -EINVAL;
    }
    prefix = address.family == 4 ? 32 : 128;
    if (slash != NULL && ctr_parse_int(slash + 1, 0, prefix, &prefix) != 0) {
        return -EINVAL;
    }
    *ret = address;
    *ret_prefix = (int) prefix;
    return 0;
}

bool
ctr_prefix_has(const struct ctr_address *prefix, int length, const struct ctr_address *address)
{
    if (prefix->family != address->family) {
        return false;
    }
    for (int i = 0; i < length; i++) {
        int bit = 0x80 >> (i % 8);
        if (((prefix->bytes[i / 8] ^ address->bytes[i / 8]) & bit) != 0) {
            return false;
        }
    }
    return true;
}
