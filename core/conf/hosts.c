/*
 * [registry.host "HOST[:PORT]"]: what is special about one registry host.
 */
#include "core/conf/conf-priv.h"
#include <ctype.h>

#define PREFIX "registry.host"

bool
ctr_section_is_host(const char *name)
{
    return ctr_starts_with(name, PREFIX) && (name[sizeof PREFIX - 1] == '\0' ||
                                             strchr(" \t\"", name[sizeof PREFIX - 1]) != NULL);
}

/* host[:port] in lower case: letters, digits, '.', '-', '_', or an IPv6 address is written [::1]:5000 elsewhere and not allowed here,
 * since the section's own bracket would end. */
static bool
is_host(const char *text)
{
    size_t n = strcspn(text, ":");
    int64_t port;
    for (size_t i = 0; i < n; i++) {
        bool known = islower((unsigned char) text[i]) || isdigit((unsigned char) text[i]) ||
                     strchr(".-_", text[i]) != NULL;
        if (!known) {
            return false;
        }
    }
    return n > 0 && n <= 253 &&
           (text[n] == '\0' || ctr_parse_int(text + n + 1, 1, 65535, &port) == 0);
}

/* The host between the quotes; caller frees. */
static int
host_of(const struct ctr_conf *conf, const struct ctr_section *section, char **ret,
        struct ctr_error *err)
{
    const char *at = section->name + sizeof PREFIX - 1;
    at += strspn(at, " \t");
    size_t n = strlen(at);
    CTR_AUTO(free) char *host = n > 2 ? strndup(at + 1, n - 2) : NULL;
    if (n > 2 && host == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", conf->file);
    }
    if (n < 3 || at[0] != '"' || at[n - 1] != '"' || !is_host(host)) {
        return ctr_conf_fail(
            err, -EINVAL, conf->file, section->line,
            "[%s]: write [registry.host \"HOST\"] or \"HOST:PORT\" in lower case, "
            "without https://",
            section->name);
    }
    *ret = ctr_steal(&host);
    return 0;
}

static int
set_pair(struct ctr_conf *conf, struct ctr_conf_host *host, const struct ctr_section *section,
         const struct ctr_conf_pair *pair, struct ctr_error *err)
{
    static const struct ctr_option options[] = {
        {.type = CTR_OPTION_PATH, .name = "ca"},
        {.type = CTR_OPTION_BOOL, .name = "plain_http"},
    };
    static const char *const keys[] = {"ca", "plain_http", NULL};
    bool ca = strcmp(pair->key, "ca") == 0;
    if (!ca && strcmp(pair->key, "plain_http") != 0) {
        return ctr_conf_unknown_key(err, conf->file, pair, section->name, keys);
    }
    CTR_AUTO(free) char *base = ctr_parent_dir(conf->file);
    CTR_AUTO(free) char *text = NULL;
    int64_t number = 0;
    struct ctr_error why = CTR_ERROR_INIT;
    int code = base == NULL ? ctr_fail(&why, -ENOMEM, "out of memory")
                            : ctr_value_parse(&options[ca ? 0 : 1], pair->value, base, &text,
                                              &number, &why);
    if (code != 0) {
        return ctr_conf_fail(err, code, conf->file, pair->line, "%s", why.msg);
    }
    if (ca) {
        free(host->ca);
        host->ca = ctr_steal(&text);
    } else {
        host->plain_http = number != 0;
    }
    return 0;
}

/* Two sections may differ in their blanks and still name one host. */
static int
check_twice(const struct ctr_conf *conf, const struct ctr_section *section, const char *host,
            struct ctr_error *err)
{
    if (ctr_conf_host(conf, host) == NULL) {
        return 0;
    }
    return ctr_conf_fail(err, -EEXIST, conf->file, section->line,
                         "[%s]: this host has a section already: join the two", section->name);
}

static int
add_host(struct ctr_conf *conf, const struct ctr_section *section, struct ctr_error *err)
{
    CTR_AUTO(free) char *name = NULL;
    int code = host_of(conf, section, &name, err);
    code = code != 0 ? code : check_twice(conf, section, name, err);
    if (code != 0) {
        return code;
    }
    struct ctr_conf_host *hosts = realloc(conf->hosts, (conf->n_hosts + 1) * sizeof *hosts);
    if (hosts == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", conf->file);
    }
    conf->hosts = hosts;
    struct ctr_conf_host *host = &hosts[conf->n_hosts++];
    *host = (struct ctr_conf_host){.host = ctr_steal(&name), .ca = strdup("")};
    if (host->ca == NULL) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", conf->file);
    }
    for (size_t i = 0; code == 0 && i < section->n_pairs; i++) {
        code = set_pair(conf, host, section, &section->pairs[i], err);
    }
    return code;
}

int
ctr_hosts_fill(struct ctr_conf *conf, struct ctr_doc *doc, struct ctr_error *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < doc->n_sections; i++) {
        if (ctr_section_is_host(doc->sections[i].name)) {
            code = add_host(conf, &doc->sections[i], err);
        }
    }
    return code;
}
