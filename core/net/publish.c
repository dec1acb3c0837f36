/*
 * The grammar of `-p`: [IP:]HOST:CTR[/tcp|udp], or CTR alone for a free host port.
 */
#include "core/net/net.h"

/* One port of `text` (all of the -p argument, for the message). An empty one is 0 where `empty_ok`. */
static int
parse_port(const char *port, bool empty_ok, const char *whose, const char *text, int64_t *ret,
           struct ctr_error *err)
{
    if (*port == '\0' && empty_ok) {
        *ret = 0;
        return 0;
    }
    if (strchr(port, '-') != NULL) {
        return ctr_fail(err, -EINVAL,
                        "-p %.200s: ranges of ports are not known; give each port with a -p of "
                        "its own",
                        text);
    }
    if (strspn(port, "0123456789") != strlen(port) ||
        ctr_parse_int(port, empty_ok ? 0 : 1, 65535, ret) != 0) {
        return ctr_fail(err, -EINVAL,
                        "-p %.200s: the %s port \"%.40s\" is not a number from 1 to 65535",
                        text, whose, port);
    }
    return 0;
}

/* Cuts "/tcp" or "/udp" off. */
static int
parse_proto(char *spec, const char *text, const char **ret, struct ctr_error *err)
{
    char *slash = strchr(spec, '/');
    *ret = "tcp";
    if (slash == NULL) {
        return 0;
    }
    *slash = '\0';
    if (strcasecmp(slash + 1, "udp") == 0) {
        *ret = "udp";
    } else if (strcasecmp(slash + 1, "tcp") != 0) {
        return ctr_fail(err, -EPROTONOSUPPORT,
                        "-p %.200s: protocol \"%.40s\" is not known; use tcp or udp", text,
                        slash + 1);
    }
    return 0;
}

/* Cuts spec at its colons, from the right: "IP:HOST:CTR". Parts that are not there stay NULL. */
static int
split(char *spec, const char *text, char *parts[3], struct ctr_error *err)
{
    size_t n = 0;
    if (strchr(spec, '[') != NULL) {
        return ctr_fail(err, -EAFNOSUPPORT,
                        "-p %.200s: IPv6 addresses cannot be published yet; use an IPv4 one",
                        text);
    }
    for (char *colon = NULL; (colon = strrchr(spec, ':')) != NULL; n++) {
        if (n == 2) {
            return ctr_fail(err, -EINVAL, "-p %.200s: want [IP:]HOST:CONTAINER[/tcp|udp]",
                            text);
        }
        *colon = '\0';
        parts[2 - n] = colon + 1;
    }
    parts[2 - n] = spec;
    return 0;
}

json_t *
ctr_publish_parse(const char *text, struct ctr_error *err)
{
    CTR_AUTO(free) char *spec = strdup(text);
    char *parts[3] = {NULL, NULL, NULL};
    const char *proto;
    if (spec == NULL) {
        (void) ctr_fail(err, -ENOMEM, "-p: out of memory");
        return NULL;
    }
    if (parse_proto(spec, text, &proto, err) != 0 || split(spec, text, parts, err) != 0) {
        return NULL;
    }
    uint32_t address = 0;
    if (parts[0] != NULL && ctr_ipv4_parse(parts[0], &address) != 0) {
        (void) ctr_fail(err, -EINVAL,
                        "-p %.200s: host address \"%.40s\" is not an IPv4 address", text,
                        parts[0]);
        return NULL;
    }
    int64_t host = 0, port = 0;
    if (parse_port(parts[1] != NULL ? parts[1] : "", true, "host", text, &host, err) != 0 ||
        parse_port(parts[2], false, "container", text, &port, err) != 0) {
        return NULL;
    }
    char dotted[16];
    json_t *ret = json_pack("{s:s, s:s, s:I, s:I}", "proto", proto, "host_address",
                            ctr_ipv4_format(address, dotted), "host_port", (json_int_t) host,
                            "port", (json_int_t) port);
    if (ret == NULL) {
        (void) ctr_fail(err, -ENOMEM, "-p: out of memory");
    }
    return ret;
}
