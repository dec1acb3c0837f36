/*
 * The grammar of `-p`: [IP:|[IP6]:][HOST[-END]]:CTR[-END][/tcp|udp], or CTR[-END] alone for free host ports.
 *
 * Two ranges of one length go together port by port; a range of host ports before one port of the container means any free
 * one of them.
 */
#include "core/net/net.h"

#define WANT "want [IP:][HOST[-END]]:CONTAINER[-END][/tcp|udp]"

struct range {
    int64_t first, last; /* 0: any */
};

/* The argument of -p in its parts. */
struct publish {
    const char *text; /* all of it, for messages */
    const char *proto;
    char address[CTR_ADDRESS_TEXT];
    struct range host, container;
};

static int
parse_number(const char *number, const char *whose, const char *text, int64_t min, int64_t *ret,
             struct ctr_error *err)
{
    if (strspn(number, "0123456789") != strlen(number) ||
        ctr_parse_int(number, min, 65535, ret) != 0) {
        return ctr_fail(err, -EINVAL,
                        "-p %.200s: the %s port \"%.40s\" is not a number from 1 to 65535",
                        text, whose, number);
    }
    return 0;
}

/* "80" or "80-90"; "0" is 0 where `any_ok`, and so is nothing at all. */
static int
parse_range(char *part, bool any_ok, const char *whose, const char *text, struct range *ret,
            struct ctr_error *err)
{
    *ret = (struct range){0, 0};
    if (*part == '\0' && any_ok) {
        return 0;
    }
    char *dash = strchr(part, '-');
    if (dash == NULL) {
        int code = parse_number(part, whose, text, any_ok ? 0 : 1, &ret->first, err);
        ret->last = ret->first;
        return code;
    }
    *dash = '\0';
    if (parse_number(part, whose, text, 1, &ret->first, err) != 0 ||
        parse_number(dash + 1, whose, text, 1, &ret->last, err) != 0) {
        return err->code;
    }
    if (ret->last < ret->first) {
        return ctr_fail(err, -EINVAL,
                        "-p %.200s: the range of %s ports ends before it begins; write %d-%d",
                        text, whose, (int) ret->last, (int) ret->first);
    }
    return 0;
}

/* Cuts "/tcp" or "/udp" off. */
static int
parse_proto(char *spec, struct publish *ret, struct ctr_error *err)
{
    char *slash = strchr(spec, '/');
    ret->proto = "tcp";
    if (slash == NULL) {
        return 0;
    }
    *slash = '\0';
    if (strcasecmp(slash + 1, "sctp") == 0) {
        return ctr_fail(err, -EPROTONOSUPPORT,
                        "-p %.200s: \"sctp\" is not carried by any network; use tcp or udp",
                        ret->text);
    }
    if (strcasecmp(slash + 1, "udp") == 0) {
        ret->proto = "udp";
    } else if (strcasecmp(slash + 1, "tcp") != 0) {
        return ctr_fail(err, -EPROTONOSUPPORT,
                        "-p %.200s: protocol \"%.40s\" is not known; use tcp or udp", ret->text,
                        slash + 1);
    }
    return 0;
}

/* What stands before the host's ports: an IPv4 address, or an IPv6 one in brackets, which are cut off already. */
static int
parse_address(const char *part, bool six, struct publish *ret, struct ctr_error *err)
{
    struct ctr_address address;
    if (ctr_address_parse(part, &address) != 0 || (address.family == 6) != six) {
        return ctr_fail(err, -EINVAL,
                        "-p %.200s: host address \"%.60s\" is not an IPv%c address%s",
                        ret->text, part, six ? '6' : '4', six ? "" : "; IPv6 goes in brackets");
    }
    (void) ctr_address_format(&address, ret->address);
    return 0;
}

/* Cuts "[IP6]:" off the front: *ret_rest is what is behind it, or `spec` if there are no brackets. */
static int
parse_brackets(char *spec, struct publish *ret, char **ret_rest, struct ctr_error *err)
{
    *ret_rest = spec;
    if (spec[0] != '[') {
        return 0;
    }
    char *end = strchr(spec, ']');
    if (end == NULL || end[1] != ':') {
        return ctr_fail(err, -EINVAL, "-p %.200s: \"[\" without \"]:\" behind it; " WANT,
                        ret->text);
    }
    *end = '\0';
    *ret_rest = end + 2;
    return parse_address(spec + 1, true, ret, err);
}

/* "IP:HOST:CTR", "HOST:CTR" or "CTR"; the latter not behind [IP6]. */
static int
parse_parts(char *spec, struct publish *ret, struct ctr_error *err)
{
    char *rest, nothing[1] = "", *host = nothing;
    if (parse_brackets(spec, ret, &rest, err) != 0) {
        return err->code;
    }
    bool six = rest != spec;
    char *container = strrchr(rest, ':');
    if (container != NULL) {
        *container++ = '\0';
        char *before = strrchr(rest, ':');
        host = before != NULL ? before + 1 : rest;
        if (before != NULL) {
            *before = '\0';
        }
        if (before != NULL && (six || strchr(rest, ':') != NULL)) {
            return ctr_fail(err, -EINVAL, "-p %.200s: too many colons; " WANT "%s", ret->text,
                            six ? "" : ", with an IPv6 address in brackets");
        }
        if (before != NULL && parse_address(rest, false, ret, err) != 0) {
            return err->code;
        }
    } else if (six) {
        return ctr_fail(err, -EINVAL, "-p %.200s: no port of the container; " WANT, ret->text);
    } else {
        container = rest;
    }
    int code = parse_range(host, true, "host", ret->text, &ret->host, err);
    return code != 0
               ? code
               : parse_range(container, false, "container", ret->text, &ret->container, err);
}

static int
check_ranges(const struct publish *p, struct ctr_error *err)
{
    int64_t hosts = p->host.last - p->host.first,
            ports = p->container.last - p->container.first;
    if (p->host.first == 0 || ports == 0 || hosts == ports) {
        return 0;
    }
    return ctr_fail(
        err, -EINVAL,
        "-p %.200s: %d host ports cannot go to %d container ports; give both ranges "
        "the same length",
        p->text, (int) hosts + 1, (int) ports + 1);
}

static json_t *
port_of(const struct publish *p, int64_t offset)
{
    bool any_of = p->container.first == p->container.last && p->host.first < p->host.last;
    int64_t host = p->host.first == 0 || any_of ? p->host.first : p->host.first + offset;
    json_t *port = json_pack("{s:s, s:s, s:I, s:I}", "proto", p->proto, "host_address",
                             p->address, "host_port", (json_int_t) host, "port",
                             (json_int_t) (p->container.first + offset));
    if (any_of && port != NULL) {
        (void) json_object_set_new(port, "host_port_end", json_integer(p->host.last));
    }
    return port;
}

json_t *
ctr_publish_parse(const char *text, struct ctr_error *err)
{
    struct publish p = {.text = text, .address = "0.0.0.0"};
    CTR_AUTO(free) char *spec = strdup(text);
    CTR_AUTO(json) json_t *ports = json_array();
    if (spec == NULL || ports == NULL) {
        (void) ctr_fail(err, -ENOMEM, "-p: out of memory");
        return NULL;
    }
    if (parse_proto(spec, &p, err) != 0 || parse_parts(spec, &p, err) != 0 ||
        check_ranges(&p, err) != 0) {
        return NULL;
    }
    for (int64_t i = 0; i <= p.container.last - p.container.first; i++) {
        if (json_array_append_new(ports, port_of(&p, i)) != 0) {
            (void) ctr_fail(err, -ENOMEM, "-p: out of memory");
            return NULL;
        }
    }
    return ctr_steal(&ports);
}
