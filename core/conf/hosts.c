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

/* One list of keys, from which come parsing, range errors, and the list that ctr.conf(5) is compared with. */
#define AT(field) offsetof(struct ctr_conf_host, field)
static const struct host_key {
    struct ctr_option option;
    size_t offset;
} table[] = {
    {{.type = CTR_OPTION_PATH,
      .name = "ca",
      .help = "certificates in PEM form that the registry's own is checked against"},
     AT(ca)},
    {{.type = CTR_OPTION_PATH,
      .name = "client_cert",
      .help = "certificate in PEM form that we show to the registry"},
     AT(client_cert)},
    {{.type = CTR_OPTION_PATH,
      .name = "client_key",
      .help = "private key of client_cert in PEM form; none: it is in the same file"},
     AT(client_key)},
    {{.type = CTR_OPTION_BOOL, .name = "plain_http", .help = "talk to it without encryption"},
     AT(plain_http)},
    {{.type = CTR_OPTION_STRING,
      .name = "mirrors",
      .help = "addresses that are asked first for pulls, separated by commas or blanks"},
     AT(mirrors)},
    {{.type = CTR_OPTION_STRING,
      .name = "proxy",
      .help = "address of the proxy for it; none: as the environment says"},
     AT(proxy)},
    {{.type = CTR_OPTION_SIZE,
      .name = "upload_chunk",
      .min = 64 << 10,
      .max = (int64_t) 16 << 30,
      .help = "a push sends layers in pieces of this size; none: whole"},
     AT(upload_chunk)},
};

const char *const *
ctr_host_keys(void)
{
    static const char *names[CTR_LENGTH(table) + 1];
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        names[i] = table[i].option.name;
    }
    return names;
}

void
ctr_conf_each_host_key(void (*each)(void *arg, const char *key, const char *type,
                                    const char *def, const char *help),
                       void *arg)
{
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        each(arg, table[i].option.name, ctr_option_type_name(table[i].option.type), "",
             table[i].option.help);
    }
}

/* [http[s]://]HOST[:PORT][/PATH], the path one that a repository's name may begin with. */
static bool
is_mirror(const char *text)
{
    const char *at = ctr_starts_with(text, "https://")  ? text + 8
                     : ctr_starts_with(text, "http://") ? text + 7
                                                        : text;
    size_t n = strcspn(at, "/");
    char host[300];
    if (n >= sizeof host || strlen(at) > 500) {
        return false;
    }
    memcpy(host, at, n);
    host[n] = '\0';
    return is_host(host) && strstr(at, "..") == NULL && strstr(at, "//") == NULL &&
           (at[n] == '\0' || at[strlen(at) - 1] != '/') &&
           strspn(at + n, "abcdefghijklmnopqrstuvwxyz0123456789._-/") == strlen(at + n);
}

static int
set_mirrors(struct ctr_conf_host *host, char *text, struct ctr_error *err)
{
    char *rest = NULL;
    for (char *one = strtok_r(text, ", \t", &rest); one != NULL;
         one = strtok_r(NULL, ", \t", &rest)) {
        if (!is_mirror(one)) {
            return ctr_fail(err, -EINVAL,
                            "mirrors: \"%.200s\" is no address of a mirror: write HOST, "
                            "HOST:PORT or https://HOST/PATH in lower case",
                            one);
        }
        if (host->n_mirrors == CTR_CONF_MAX_MIRRORS) {
            return ctr_fail(err, -ERANGE, "mirrors: more than %d", CTR_CONF_MAX_MIRRORS);
        }
        char **more = realloc(host->mirrors, (host->n_mirrors + 1) * sizeof *more);
        host->mirrors = more != NULL ? more : host->mirrors;
        char *copy = more != NULL ? strdup(one) : NULL;
        if (copy == NULL) {
            return ctr_fail(err, -ENOMEM, "out of memory");
        }
        host->mirrors[host->n_mirrors++] = copy;
    }
    return 0;
}

static int
set_value(struct ctr_conf_host *host, const struct host_key *key, char **text, int64_t number,
          struct ctr_error *err)
{
    char *at = (char *) host + key->offset;
    if (key->offset == AT(mirrors)) {
        return set_mirrors(host, *text, err);
    }
    switch (key->option.type) {
    case CTR_OPTION_BOOL:
        *(bool *) at = number != 0;
        break;
    case CTR_OPTION_SIZE:
        *(uint64_t *) at = (uint64_t) number;
        break;
    default:
        free(*(char **) at);
        *(char **) at = ctr_steal(text);
    }
    return 0;
}

static int
set_pair(struct ctr_conf *conf, struct ctr_conf_host *host, const struct ctr_section *section,
         const struct ctr_conf_pair *pair, struct ctr_error *err)
{
    size_t i = 0;
    while (i < CTR_LENGTH(table) && strcmp(table[i].option.name, pair->key) != 0) {
        i++;
    }
    if (i == CTR_LENGTH(table)) {
        return ctr_conf_unknown_key(err, conf->file, pair, section->name, ctr_host_keys());
    }
    CTR_AUTO(free) char *base = ctr_parent_dir(conf->file);
    CTR_AUTO(free) char *text = NULL;
    int64_t number = 0;
    struct ctr_error why = CTR_ERROR_INIT;
    int code = base == NULL
                   ? ctr_fail(&why, -ENOMEM, "out of memory")
                   : ctr_value_parse(&table[i].option, pair->value, base, &text, &number, &why);
    code = code != 0 ? code : set_value(host, &table[i], &text, number, &why);
    return code != 0 ? ctr_conf_fail(err, code, conf->file, pair->line, "%s", why.msg) : 0;
}

/* Every text is there, empty where unset. */
static int
host_init(struct ctr_conf_host *host, char *take_name)
{
    *host = (struct ctr_conf_host){.host = take_name};
    bool ok = true;
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        int32_t type = table[i].option.type;
        if (table[i].offset != AT(mirrors) &&
            (type == CTR_OPTION_PATH || type == CTR_OPTION_STRING)) {
            char **at = (char **) ((char *) host + table[i].offset);
            *at = strdup("");
            ok = ok && *at != NULL;
        }
    }
    return ok ? 0 : -ENOMEM;
}

void
ctr_host_finish(struct ctr_conf_host *host)
{
    for (size_t i = 0; i < host->n_mirrors; i++) {
        free(host->mirrors[i]);
    }
    free(host->mirrors);
    free(host->host);
    free(host->ca);
    free(host->client_cert);
    free(host->client_key);
    free(host->proxy);
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
    if (host_init(host, ctr_steal(&name)) != 0) {
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
