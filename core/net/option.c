/*
 * The grammars of --network, --add-host and --allow. Each says what is wrong with its argument in one line that shows it.
 */
#include "core/net/net.h"
#include <ctype.h>

#define MTU_MIN 576
#define MTU_MAX 65520

/* 1 to 253 letters, digits, '-', '_' and '.', without an empty part or one of more than 63: what a name in DNS may be. */
static bool
is_host_name(const char *text)
{
    size_t part = 0, n = 0;
    for (; text[n] != '\0'; n++) {
        bool dot = text[n] == '.';
        if (n >= 253 || (dot && part == 0) ||
            (!dot && !isalnum((unsigned char) text[n]) && strchr("-_", text[n]) == NULL)) {
            return false;
        }
        part = dot ? 0 : part + 1;
        if (part > 63 || (part == 1 && text[n] == '-')) {
            return false;
        }
    }
    return part > 0 && text[n - 1] != '-';
}

/* --- --network --- */

int
ctr_network_name_check(const char *name, struct ctr_error *err)
{
    if (strcmp(name, "host") == 0 || ctr_starts_with(name, "container:")) {
        return ctr_fail(err, -EINVAL,
                        "network %.80s is not supported: a container is a machine with a "
                        "network of its own; publish its ports with -p, and let it reach the "
                        "host by --add-host host.docker.internal:host-gateway",
                        name);
    }
    if (!ctr_is_name(name) || strlen(name) > 63) {
        return ctr_fail(err, -EINVAL,
                        "network \"%.80s\" is not a name: 1 to 63 letters, digits, '_', '.' "
                        "and '-', the first a letter or digit",
                        name);
    }
    return 0;
}

/* Six bytes of one machine, not of a group. */
static int
check_mac(const char *text, struct ctr_error *err)
{
    unsigned any = 0;
    bool ok = strlen(text) == 17;
    for (size_t i = 0; ok && i < 17; i++) {
        ok = i % 3 == 2 ? text[i] == ':' : isxdigit((unsigned char) text[i]) != 0;
        any |= (unsigned) (i % 3 != 2 && text[i] != '0');
    }
    if (!ok || any == 0) {
        return ctr_fail(err, -EINVAL,
                        "mac=\"%.60s\" is not a MAC address such as 02:42:0a:00:00:05", text);
    }
    if (strchr("13579bdfBDF", text[1]) != NULL) {
        return ctr_fail(
            err, -EINVAL,
            "mac=\"%.60s\" is the MAC address of a group; the first byte must be even", text);
    }
    return 0;
}

/* An address of that family, as it is written by us. */
static int
set_address(json_t *option, const char *key, const char *value, unsigned family,
            struct ctr_error *err)
{
    struct ctr_address address;
    char text[CTR_ADDRESS_TEXT];
    if (ctr_address_parse(value, &address) != 0 || address.family != family) {
        return ctr_fail(err, -EINVAL, "%s=\"%.60s\" is not an IPv%u address", key, value,
                        family);
    }
    return json_object_set_new(option, key, json_string(ctr_address_format(&address, text)));
}

static int
set_mac(json_t *option, const char *value, struct ctr_error *err)
{
    char lower[18] = "";
    if (check_mac(value, err) != 0) {
        return err->code;
    }
    for (size_t i = 0; i < 17; i++) {
        lower[i] = (char) tolower((unsigned char) value[i]);
    }
    return json_object_set_new(option, "mac", json_string(lower));
}

static int
set_alias(json_t *option, const char *value, struct ctr_error *err)
{
    if (!is_host_name(value)) {
        return ctr_fail(err, -EINVAL, "alias=\"%.80s\" is not a host name", value);
    }
    json_t *aliases = json_object_get(option, "aliases");
    if (aliases == NULL) {
        aliases = json_array();
        (void) json_object_set_new(option, "aliases", aliases);
    }
    return json_array_append_new(aliases, json_string(value));
}

static int
set_mtu(json_t *option, const char *value, struct ctr_error *err)
{
    int64_t mtu;
    if (ctr_parse_int(value, MTU_MIN, MTU_MAX, &mtu) != 0) {
        return ctr_fail(err, -EINVAL, "mtu=\"%.40s\" is not a number from %d to %d", value,
                        MTU_MIN, MTU_MAX);
    }
    return json_object_set_new(option, "mtu", json_integer(mtu));
}

static int
set_name(json_t *option, const char *value, struct ctr_error *err)
{
    int code = ctr_network_name_check(value, err);
    return code != 0 ? code : json_object_set_new(option, "network", json_string(value));
}

int
ctr_network_option_set(json_t *endpoint, const char *key, const char *value,
                       struct ctr_error *err)
{
    if (strcmp(key, "alias") != 0 && json_object_get(endpoint, key) != NULL) {
        return ctr_fail(err, -EINVAL, "%s= is there twice", key);
    }
    if (strcmp(key, "ip") == 0 || strcmp(key, "ip6") == 0) {
        return set_address(endpoint, key, value, key[2] == '6' ? 6 : 4, err);
    }
    if (strcmp(key, "mac") == 0) {
        return set_mac(endpoint, value, err);
    }
    if (strcmp(key, "alias") == 0) {
        return set_alias(endpoint, value, err);
    }
    if (strcmp(key, "mtu") == 0) {
        return set_mtu(endpoint, value, err);
    }
    static const char *const keys[] = {"ip", "ip6", "mac", "alias", "mtu", NULL};
    const char *near = ctr_nearest(key, keys);
    return ctr_fail(err, -EINVAL, "\"%.40s\" is not known%s%s%s; use ip, ip6, mac, alias, mtu",
                    key, near != NULL ? ", the nearest is \"" : "", near != NULL ? near : "",
                    near != NULL ? "\"" : "");
}

/* One "KEY=VALUE" of --network; docker's words for the keys are known too. */
static int
set_pair(json_t *option, const char *key, const char *value, struct ctr_error *err)
{
    if (strcmp(key, "name") != 0) {
        return ctr_network_option_set(option, strcmp(key, "mac-address") == 0 ? "mac" : key,
                                      value, err);
    }
    return json_object_get(option, "network") != NULL
               ? ctr_fail(err, -EINVAL, "name= is there twice")
               : set_name(option, value, err);
}

/* Each field of the text, cut at its commas. */
static int
parse_fields(json_t *option, char *fields, struct ctr_error *err)
{
    int code = 0;
    bool first = true;
    for (char *field = fields, *next; field != NULL && code == 0; field = next, first = false) {
        next = strchr(field, ',');
        if (next != NULL) {
            *next++ = '\0';
        }
        char *equal = strchr(field, '=');
        if (equal != NULL) {
            *equal = '\0';
            code = set_pair(option, field, equal + 1, err);
        } else if (first) {
            code = set_name(option, field, err);
        } else {
            code = ctr_fail(err, -EINVAL, "\"%.60s\" must be KEY=VALUE, such as ip=10.0.0.5",
                            field);
        }
    }
    return code;
}

static int
check_whole(const json_t *option, struct ctr_error *err)
{
    const char *name = ctr_json_str(option, "network", "");
    if (*name == '\0') {
        return ctr_fail(err, -EINVAL,
                        "no name of a network; write NAME,ip=… or name=NAME,ip=…");
    }
    if (strcmp(name, "none") == 0 && json_object_size(option) > 1) {
        return ctr_fail(err, -EINVAL, "none is no network and takes no addresses or aliases");
    }
    return 0;
}

json_t *
ctr_network_option_parse(const char *text, struct ctr_error *err)
{
    CTR_AUTO(free) char *fields = strdup(text);
    CTR_AUTO(json) json_t *option = json_object();
    int code = fields == NULL || option == NULL ? -ENOMEM : parse_fields(option, fields, err);
    code = code == 0 ? check_whole(option, err) : code;
    if (code == 0) {
        return ctr_steal(&option);
    }
    if (err->code == 0) {
        (void) ctr_fail(err, -EINVAL, "out of memory, or not UTF-8");
    }
    (void) ctr_prefix(err, "--network %.100s", text);
    return NULL;
}

/* --- --add-host --- */

static bool
is_extra_address(const char *value, bool brackets)
{
    struct ctr_address address;
    return (!brackets && strcmp(value, "host-gateway") == 0) ||
           (ctr_address_parse(value, &address) == 0 && (!brackets || address.family == 6));
}

char *
ctr_extra_host_parse(const char *text, struct ctr_error *err)
{
    size_t length = strcspn(text, ":=");
    CTR_AUTO(free) char *name = strndup(text, length);
    CTR_AUTO(free) char *value = text[length] == '\0' ? NULL : strdup(text + length + 1);
    if (name == NULL || value == NULL || !is_host_name(name)) {
        (void) ctr_fail(err, -EINVAL,
                        "--add-host %.200s: want NAME:ADDRESS, or NAME:host-gateway for the "
                        "host itself",
                        text);
        return NULL;
    }
    size_t last = strlen(value);
    bool brackets = value[0] == '[' && last > 2 && value[last - 1] == ']';
    if (brackets) {
        value[last - 1] = '\0';
    }
    if (!is_extra_address(value + brackets, brackets)) {
        (void) ctr_fail(err, -EINVAL,
                        "--add-host %.200s: \"%.60s\" is neither an IP address nor "
                        "host-gateway",
                        text, text + length + 1);
        return NULL;
    }
    char *ret = ctr_printf("%s:%s", name, value + brackets);
    if (ret == NULL) {
        (void) ctr_fail(err, -ENOMEM, "out of memory");
    }
    return ret;
}

/* --- --allow --- */

int
ctr_allow_check(const char *text, struct ctr_error *err)
{
    struct ctr_allow allow;
    return ctr_allow_parse(text, &allow, err);
}
