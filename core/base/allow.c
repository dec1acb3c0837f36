/*
 * What may go out of a network: the grammar of `--allow`, read by ctrctl and ctrd to refuse it early and by ctr-net to obey it.
 *
 *   HOST[:PORT]   *.HOST[:PORT]   CIDR[:PORT]   CIDR6   [CIDR6][:PORT]
 */
#include "core/base/base.h"

#define MAX_HOST 253

/* A name of letters, digits, "-" and "_" whose last label is no number: 10.0.0 is a mistyped address. */
static bool
is_host(const char *name)
{
    size_t label = 0;
    bool digits = true;
    for (const char *at = name; *at != '\0'; at++) {
        bool digit = *at >= '0' && *at <= '9';
        if (*at == '.') {
            if (label == 0) {
                return false;
            }
            label = 0;
            digits = true;
            continue;
        }
        if (!digit && !(*at >= 'a' && *at <= 'z') && *at != '_' &&
            (*at != '-' || label == 0 || at[1] == '.' || at[1] == '\0')) {
            return false;
        }
        digits = digits && digit;
        if (++label > 63) {
            return false;
        }
    }
    return label > 0 && !digits;
}

static bool
parse_host(const char *text, struct ctr_allow *ret)
{
    size_t length = strlen(text);
    ret->below = ctr_starts_with(text, "*.");
    text += ret->below ? 2 : 0;
    length -= ret->below ? 2 : 0;
    if (length > 0 && text[length - 1] == '.') {
        length--; /* the root's dot */
    }
    if (length > MAX_HOST) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        ret->host[i] = (char) (text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    }
    ret->host[length] = '\0';
    return is_host(ret->host);
}

static void
mask(struct ctr_address *address, int prefix)
{
    for (int i = prefix; i < 128; i++) {
        address->bytes[i / 8] &= (uint8_t) ~(0x80 >> (i % 8));
    }
}

/* Cuts the port off: what is before it goes to `what`. false: malformed. */
static bool
split(const char *text, char *what, size_t size, const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    const char *end = text + strlen(text);
    if (text[0] == '[') {
        const char *close = strchr(text, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':')) {
            return false;
        }
        text++;
        end = close;
        colon = close[1] == ':' ? close + 1 : NULL;
    } else if (colon != NULL && strchr(text, ':') != colon) {
        colon = NULL; /* IPv6 without brackets has no port */
    } else if (colon != NULL) {
        end = colon;
    }
    if ((size_t) (end - text) >= size) {
        return false;
    }
    memcpy(what, text, (size_t) (end - text));
    what[end - text] = '\0';
    *ret_port = colon == NULL ? NULL : colon + 1;
    return true;
}

int
ctr_allow_parse(const char *text, struct ctr_allow *ret, struct ctr_error *err)
{
    struct ctr_allow allow = {0};
    char what[MAX_HOST + 4];
    const char *port_text = NULL;
    int64_t port = 0;
    bool good = split(text, what, sizeof what, &port_text);
    if (good && port_text != NULL && ctr_parse_int(port_text, 1, 65535, &port) != 0) {
        return ctr_fail(err, -EINVAL,
                        "allow \"%.300s\": port \"%.20s\" is not within 1 and 65535", text,
                        port_text);
    }
    if (good && ctr_prefix_parse(what, &allow.address, &allow.prefix) == 0) {
        good = text[0] != '[' || allow.address.family == 6;
        mask(&allow.address, allow.prefix);
    } else {
        good = good && text[0] != '[' && parse_host(what, &allow);
    }
    if (!good) {
        return ctr_fail(err, -EINVAL,
                        "allow \"%.300s\": give HOST[:PORT], *.HOST[:PORT], CIDR[:PORT] or "
                        "[CIDR6]:PORT",
                        text);
    }
    allow.port = (uint16_t) port;
    *ret = allow;
    return 0;
}
