/*
 * The [engine] section: one table of keys, from which come parsing, defaults, range errors, and the list that ctr.conf(5) is
 * compared with.
 */
#include "core/conf/conf-priv.h"
#include <arpa/inet.h>

#define KIB ((int64_t) 1 << 10)
#define MIB ((int64_t) 1 << 20)
#define GIB ((int64_t) 1 << 30)
#define TIB ((int64_t) 1 << 40)

/* A check beyond the type: what is wrong with the value, or NULL. */
static const char *check_platform(const char *text);
static const char *check_subnet(const char *text);
static const char *check_subnets(const char *text);
static const char *check_address(const char *text);

struct engine_key {
    const char *name;
    int32_t type;
    size_t offset;
    const char *def;
    int64_t min, max;
    const char *(*check)(const char *text);
    const char *help;
};

#define AT(field) offsetof(struct ctr_conf_engine, field)

static const struct engine_key table[] = {
    {"data", CTR_OPTION_PATH, AT(data), "", 0, 0, NULL,
     "folder of images, containers and state; empty: ~/.local/share/ctr, /var/lib/ctr for "
     "root"},
    {"run", CTR_OPTION_PATH, AT(run), "", 0, 0, NULL,
     "folder of sockets; empty: $XDG_RUNTIME_DIR/ctr/PROFILE, /run/ctr/PROFILE for root"},
    {"plugins", CTR_OPTION_STRING, AT(plugins), "", 0, 0, NULL,
     "more plugin folders, separated by ':', searched before PREFIX/lib/ctr/plugins"},
    {"kernel", CTR_OPTION_PATH, AT(kernel), "", 0, 0, NULL,
     "guest kernel; empty: PREFIX/share/ctr/guest/ARCH/vmlinux"},
    {"initramfs", CTR_OPTION_PATH, AT(initramfs), "", 0, 0, NULL,
     "guest initramfs; empty: PREFIX/share/ctr/guest/ARCH/initramfs"},
    {"kernel_args", CTR_OPTION_STRING, AT(kernel_args), "", 0, 0, NULL,
     "appended to the kernel's parameters"},
    {"platform", CTR_OPTION_STRING, AT(platform), "", 0, 0, check_platform,
     "linux/amd64 or linux/arm64; empty: that of the host"},
    {"cpus", CTR_OPTION_INT, AT(cpus), "1", 1, 256, NULL, "virtual CPUs of a container"},
    {"memory", CTR_OPTION_SIZE, AT(memory), "256M", 32 * MIB, 16 * TIB, NULL,
     "memory of a container"},
    {"disk", CTR_OPTION_SIZE, AT(disk), "64G", 16 * MIB, 16 * TIB, NULL,
     "size of a container's disk; only what is written takes space"},
    {"log_size", CTR_OPTION_SIZE, AT(log_size), "64M", 16 * KIB, 1 * TIB, NULL,
     "largest size of a container's log file; the one before is kept"},
    {"console_size", CTR_OPTION_SIZE, AT(console_size), "256K", 4 * KIB, 1 * GIB, NULL,
     "how much of a VM's console is kept"},
    {"max_image", CTR_OPTION_SIZE, AT(max_image), "64G", 1 * MIB, 16 * TIB, NULL,
     "most bytes that an image may unpack to"},
    {"boot_timeout", CTR_OPTION_INT, AT(boot_timeout), "120", 1, 3600, NULL,
     "seconds until a guest that does not answer is given up"},
    {"subnet", CTR_OPTION_STRING, AT(subnet), "10.88.0.0/16", 0, 0, check_subnet,
     "IPv4 addresses of the default network; if the host uses these itself and this is not "
     "set, "
     "others of subnets"},
    {"ipv6", CTR_OPTION_BOOL, AT(ipv6), "false", 0, 0, NULL,
     "the default network has IPv6 addresses, too"},
    {"subnets", CTR_OPTION_STRING, AT(subnets),
     "10.89.0.0/16, 10.90.0.0/16, 172.30.0.0/16, 192.168.128.0/17", 0, 0, check_subnets,
     "IPv4 networks that are cut into /24 for networks created without a subnet"},
    {"mtu", CTR_OPTION_INT, AT(mtu), "65520", 576, 65520, NULL,
     "largest packet on the default network, in bytes"},
    {"dns", CTR_OPTION_STRING, AT(dns), "", 0, 0, check_address,
     "IPv4 address of the resolver for names from outside; empty: those of the host"},
    {"resolv_conf", CTR_OPTION_PATH, AT(resolv_conf), "/etc/resolv.conf", 0, 0, NULL,
     "file that names the host's resolvers"},
    {"spare_ports", CTR_OPTION_INT, AT(spare_ports), "2", 0, 8, NULL,
     "network interfaces of a machine that wait for networks it joins while it runs"},
};

static const char *
check_platform(const char *text)
{
    bool known =
        *text == '\0' || strcmp(text, "linux/amd64") == 0 || strcmp(text, "linux/arm64") == 0;
    return known ? NULL : "must be linux/amd64 or linux/arm64";
}

static const char *
check_address(const char *text)
{
    struct in_addr address;
    return *text == '\0' || inet_pton(AF_INET, text, &address) == 1
               ? NULL
               : "must be an IPv4 address, as 192.0.2.1";
}

static const char *
check_subnet(const char *text)
{
    char host[16] = "";
    const char *slash = strchr(text, '/');
    struct in_addr address;
    int64_t prefix;
    if (slash == NULL || (size_t) (slash - text) >= sizeof host ||
        ctr_parse_int(slash + 1, 8, 29, &prefix) != 0) {
        return "must be an IPv4 network with a prefix from 8 to 29, as 10.88.0.0/16";
    }
    memcpy(host, text, (size_t) (slash - text));
    if (inet_pton(AF_INET, host, &address) != 1) {
        return "must be an IPv4 network, as 10.88.0.0/16";
    }
    bool host_bits = (ntohl(address.s_addr) & (UINT32_MAX >> prefix)) != 0;
    return host_bits ? "must have no bits set behind the prefix, as 10.88.0.0/16" : NULL;
}

static const char *
check_subnets(const char *text)
{
    char one[24];
    const char *wrong = "must name at least one IPv4 network, as 10.89.0.0/16";
    for (text += strspn(text, ", "); *text != '\0'; text += strspn(text, ", ")) {
        size_t n = strcspn(text, ", ");
        (void) snprintf(one, sizeof one, "%.*s", n < sizeof one ? (int) n : 0, text);
        wrong = check_subnet(one);
        if (wrong != NULL) {
            return wrong;
        }
        text += n;
    }
    return wrong;
}

static void
set_string(struct ctr_conf_engine *engine, size_t offset, char *take_text)
{
    char **at = (char **) ((char *) engine + offset);
    free(*at);
    *at = take_text;
}

/* Parses one value into its field. base: folder that relative paths start from. */
static int
set_key(struct ctr_conf_engine *engine, const struct engine_key *key, const char *text,
        const char *base, struct ctr_error *err)
{
    struct ctr_option option = {
        .type = key->type, .name = key->name, .min = key->min, .max = key->max};
    CTR_AUTO(free) char *value = NULL;
    int64_t number = 0;
    int code = ctr_value_parse(&option, text, base, &value, &number, err);
    if (code != 0) {
        return code;
    }
    const char *wrong = key->check == NULL ? NULL : key->check(text);
    if (wrong != NULL) {
        return ctr_fail(err, -EINVAL, "%s: \"%s\" %s", key->name, text, wrong);
    }
    if (key->type == CTR_OPTION_INT || key->type == CTR_OPTION_SIZE) {
        memcpy((char *) engine + key->offset, &number, sizeof number);
    } else if (key->type == CTR_OPTION_BOOL) {
        *(bool *) ((char *) engine + key->offset) = number != 0;
    } else {
        set_string(engine, key->offset, ctr_steal(&value));
    }
    return 0;
}

static const struct engine_key *
find_key(const char *name)
{
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

const char *const *
ctr_engine_keys(void)
{
    static const char *names[CTR_LENGTH(table) + 1];
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        names[i] = table[i].name;
    }
    return names;
}

static int
set_defaults(struct ctr_conf_engine *engine, struct ctr_error *err)
{
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        if (*table[i].def == '\0') {
            char *empty = strdup("");
            if (empty == NULL) {
                return ctr_fail(err, -ENOMEM, "profile: out of memory");
            }
            set_string(engine, table[i].offset, empty);
            continue;
        }
        int code = set_key(engine, &table[i], table[i].def, NULL, err);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

/* Where an unset data root lies. A profile of another name gets a root of its own. */
static char *
default_data(const char *profile)
{
    bool plain = strcmp(profile, "default") == 0;
    CTR_AUTO(free)
    char *root =
        geteuid() == 0 ? strdup("/var/lib/ctr") : ctr_expand_path("~/.local/share/ctr", NULL);
    return root == NULL ? NULL
                        : ctr_printf("%s%s%s", root, plain ? "" : "-", plain ? "" : profile);
}

static char *
default_run(const char *profile)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    if (geteuid() == 0) {
        return ctr_printf("/run/ctr/%s", profile);
    }
    if (xdg != NULL && xdg[0] == '/') {
        return ctr_printf("%s/ctr/%s", xdg, profile);
    }
    return ctr_printf("/tmp/ctr-%u/%s", (unsigned) geteuid(), profile);
}

/* Makes each folder of a ':' list absolute. */
static int
expand_list(char **list, const char *base)
{
    CTR_AUTO(buf) struct ctr_buf out = {0};
    ctr_buf_puts(&out, "");
    for (const char *at = *list; *at != '\0';) {
        size_t n = strcspn(at, ":");
        CTR_AUTO(free) char *one = strndup(at, n);
        CTR_AUTO(free) char *full = one == NULL ? NULL : ctr_expand_path(one, base);
        if (full == NULL) {
            return -ENOMEM;
        }
        if (n > 0) {
            ctr_buf_printf(&out, "%s%s", out.length > 0 ? ":" : "", full);
        }
        at += n + (at[n] == ':');
    }
    char *text = ctr_buf_take(&out);
    if (text == NULL) {
        return -ENOMEM;
    }
    free(*list);
    *list = text;
    return 0;
}

/* What depends on the profile's name and place. */
static int
complete(struct ctr_conf *conf, const char *base, struct ctr_error *err)
{
    struct ctr_conf_engine *engine = &conf->engine;
    if (*engine->data == '\0') {
        set_string(engine, AT(data), default_data(conf->name));
    }
    if (*engine->run == '\0') {
        set_string(engine, AT(run), default_run(conf->name));
    }
    if (engine->data == NULL || engine->run == NULL ||
        expand_list(&engine->plugins, base) != 0) {
        return ctr_fail(err, -ENOMEM, "%s: out of memory", conf->file);
    }
    return 0;
}

int
ctr_engine_fill(struct ctr_conf *conf, const struct ctr_section *section, struct ctr_error *err)
{
    int code = set_defaults(&conf->engine, err);
    CTR_AUTO(free) char *base = ctr_parent_dir(conf->file);
    if (code != 0 || base == NULL) {
        return code != 0 ? code : ctr_fail(err, -ENOMEM, "%s: out of memory", conf->file);
    }
    for (size_t i = 0; section != NULL && i < section->n_pairs; i++) {
        const struct ctr_conf_pair *pair = &section->pairs[i];
        const struct engine_key *key = find_key(pair->key);
        if (key == NULL) {
            return ctr_conf_unknown_key(err, conf->file, pair, "engine", ctr_engine_keys());
        }
        struct ctr_error why = CTR_ERROR_INIT;
        code = set_key(&conf->engine, key, pair->value, base, &why);
        if (code != 0) {
            return ctr_conf_fail(err, code, conf->file, pair->line, "%s", why.msg);
        }
        conf->engine.disk_set |= key->offset == AT(disk);
        conf->engine.subnet_set |= key->offset == AT(subnet);
    }
    return complete(conf, base, err);
}

void
ctr_engine_finish(struct ctr_conf_engine *engine)
{
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        if (table[i].type == CTR_OPTION_STRING || table[i].type == CTR_OPTION_PATH) {
            set_string(engine, table[i].offset, NULL);
        }
    }
}

void
ctr_conf_each_key(void (*each)(void *arg, const char *key, const char *type, const char *def,
                               const char *help),
                  void *arg)
{
    for (size_t i = 0; i < CTR_LENGTH(table); i++) {
        each(arg, table[i].name, ctr_option_type_name(table[i].type), table[i].def,
             table[i].help);
    }
}
