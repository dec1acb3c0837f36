/*
 * Which servers answer for the outside: the nameserver lines of the host's resolv.conf (resolv.conf(5)), followed when the file changes, and addresses as text.
 * Search lists and options are the containers' own affair.
 */
#include "core/dns/dns-priv.h"
#include <arpa/inet.h>
#include <net/if.h>

#define DNS_PORT 53
#define LOOK_NS 1000000000LL
#define CONF_MAX 65536

static int
parse_v6(char *text, uint16_t port, union ctr_dns_server *ret)
{
    union ctr_dns_server server = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
    char *zone = strchr(text, '%');
    if (zone != NULL) {
        *zone = '\0';
        server.v6.sin6_scope_id = if_nametoindex(zone + 1);
    }
    if ((zone != NULL && server.v6.sin6_scope_id == 0) ||
        inet_pton(AF_INET6, text, &server.v6.sin6_addr) != 1) {
        return -EINVAL;
    }
    *ret = server;
    return 0;
}

static int
parse_v4(const char *text, uint16_t port, union ctr_dns_server *ret)
{
    uint32_t address;
    if (ctr_ipv4_parse(text, &address) != 0) {
        return -EINVAL;
    }
    *ret = (union ctr_dns_server){.v4 = {.sin_family = AF_INET,
                                         .sin_port = htons(port),
                                         .sin_addr.s_addr = htonl(address)}};
    return 0;
}

/* Cuts ":PORT" off: behind ']' or, where that is not an IPv6 address, behind the only colon. */
static int
cut_port(char *text, uint16_t *ret)
{
    int64_t port = DNS_PORT;
    char *close = text[0] == '[' ? strchr(text, ']') : NULL;
    char *colon = close != NULL ? close + 1 : strchr(text, ':');
    if (close != NULL) {
        *close = '\0';
        if (*colon == '\0') {
            *ret = DNS_PORT;
            return 0;
        }
    } else if (text[0] == '[') {
        return -EINVAL;
    }
    if (colon != NULL && (close != NULL || strchr(colon + 1, ':') == NULL)) {
        if (*colon != ':' || ctr_parse_int(colon + 1, 1, 65535, &port) != 0) {
            return -EINVAL;
        }
        *colon = '\0';
    }
    *ret = (uint16_t) port;
    return 0;
}

int
ctr_dns_server_parse(const char *text, union ctr_dns_server *ret)
{
    char copy[INET6_ADDRSTRLEN + IF_NAMESIZE + 16];
    uint16_t port;
    if (snprintf(copy, sizeof copy, "%s", text) >= (int) sizeof copy ||
        cut_port(copy, &port) != 0) {
        return -EINVAL;
    }
    if (copy[0] == '[') {
        return parse_v6(copy + 1, port, ret);
    }
    return strchr(copy, ':') != NULL ? parse_v6(copy, port, ret) : parse_v4(copy, port, ret);
}

/* One line, [text,end). */
static void
parse_line(const char *text, const char *end, struct ctr_dns_servers *ret)
{
    char word[128];
    static const char key[] = "nameserver";
    size_t left = (size_t) (end - text);
    if (left < sizeof key || memcmp(text, key, sizeof key - 1) != 0) {
        return;
    }
    text += sizeof key - 1;
    size_t blanks = strspn(text, " \t"), n = strcspn(text + blanks, " \t\r\n#;");
    if (blanks == 0 || n == 0 || n >= sizeof word || ret->n == CTR_DNS_SERVERS) {
        return;
    }
    memcpy(word, text + blanks, n);
    word[n] = '\0';
    /* Another program's file: what we do not understand there, we pass over, as it does. */
    if (ctr_dns_server_parse(word, &ret->at[ret->n]) == 0) {
        ret->n++;
    }
}

void
ctr_dns_conf_parse(const char *text, struct ctr_dns_servers *ret)
{
    *ret = (struct ctr_dns_servers){0};
    while (*text != '\0') {
        const char *end = text + strcspn(text, "\n");
        parse_line(text, end, ret);
        text = end + (*end == '\n');
    }
}

int
ctr_dns_conf_init(struct ctr_dns_conf *conf, const char *path, struct ctr_error *err)
{
    *conf = (struct ctr_dns_conf){.path = strdup(path)};
    return conf->path == NULL ? ctr_fail(err, -ENOMEM, "%s: out of memory", path) : 0;
}

void
ctr_dns_conf_finish(struct ctr_dns_conf *conf)
{
    free(conf->path);
    conf->path = NULL;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void
look(struct ctr_dns_conf *conf)
{
    struct stat now = {0};
    if (stat(conf->path, &now) != 0) {
        now = (struct stat){0};
    }
    if (conf->looked != 0 && same_file(&now, &conf->seen)) {
        return;
    }
    CTR_AUTO(free) char *text = NULL;
    size_t length;
    struct ctr_dns_servers none = {0};
    conf->seen = now;
    conf->servers = none;
    if (ctr_read_file(conf->path, CONF_MAX, &text, &length, NULL) == 0) {
        ctr_dns_conf_parse(text, &conf->servers);
    }
}

const struct ctr_dns_servers *
ctr_dns_conf_servers(struct ctr_dns_conf *conf)
{
    int64_t now = ctr_monotonic_ns();
    if (conf->looked == 0 || now - conf->looked >= LOOK_NS) {
        look(conf);
        conf->looked = now;
    }
    return &conf->servers;
}
