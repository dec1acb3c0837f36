/*
 * core/conf: profiles. An INI file (inih) that picks the backends of one engine.
 *
 * Sections: [engine], [vmm], [storage], [net], [registry], each with `plugin = NAME` (registry: `chain = a, b`), named instances
 * [storage.NAME], option sections of a plugin ([vmm.qemu], [storage.ext4], [net.switch], [registry.file]) and
 * [registry.host "HOST[:PORT]"]. A section [kind.NAME] without a `plugin` key sets options of plugin NAME (the instance NAME is that plugin);
 * with `plugin = X` it is an instance called NAME of plugin X. Keys of [engine] and [registry.host …] are tables here; keys of plugins are checked later
 * against the plugin's own option table, by ctr_options_create. Every error names file, line and the nearest known key.
 * A profile must name a vmm, a storage and a net plugin: core knows none. The registry chain may be absent or empty.
 */
#ifndef CTR_CONF_H
#define CTR_CONF_H

#include "core/base/base.h"
#include <ctr/plugin.h>

/* The [engine] table. Strings are never NULL, "" where unset. Paths are absolute. */
struct ctr_conf_engine {
    char *data; /* data root; CTR_DATA overrides */
    char *
        run; /* sockets; CTR_RUN overrides; default $XDG_RUNTIME_DIR/ctr/PROFILE, /run/ctr/PROFILE for root, else /tmp/ctr-UID/PROFILE */
    char *plugins; /* further plugin folders, ':'-separated, before PREFIX/lib/ctr/plugins */
    char *
        kernel; /* guest kernel; "": PREFIX/share/ctr/guest/ARCH/vmlinux (ARCH: amd64, arm64) */
    char *initramfs;   /* guest initramfs; "": PREFIX/share/ctr/guest/ARCH/initramfs */
    char *kernel_args; /* appended to the kernel's parameters */
    char *platform;    /* "linux/amd64"; "": that of the host */
    int64_t cpus;      /* per container, default 1 */
    uint64_t memory;   /* per container, default 256M */
    uint64_t disk;     /* per container, default 64G, sparse */
    bool disk_set;     /* the profile says so; else the storage instance's own size decides */
    uint64_t log_size; /* cap of one container's log file, default 64M; two files are kept */
    uint64_t console_size; /* bound of the console ring, default 256K */
    uint64_t max_image;    /* bytes that an image may unpack to, default 64G */
    int64_t
        boot_timeout;  /* seconds until a guest that does not answer is given up, default 120 */
    char *subnet;      /* of the default network, default 10.88.0.0/16 */
    bool subnet_set;   /* the profile says so; else it moves if the host uses these addresses */
    bool ipv6;         /* the default network has IPv6, too */
    char *subnets;     /* where other networks get theirs from: CIDRs */
    int64_t mtu;       /* of the default network, default 1500 */
    char *dns;         /* resolver for names from outside; "": the host's */
    char *resolv_conf; /* the file with the host's resolvers, default /etc/resolv.conf */
    int64_t
        spare_ports; /* network interfaces of a machine for networks that it joins later, default 2 */
};

/* A plugin instance that the profile asks for. */
struct ctr_conf_instance {
    int kind;   /* enum ctr_kind */
    char *name; /* "default", "fast", "file" … */
    char *plugin;
    int line; /* of its section, or of the chain that names it */
    struct ctr_conf_pair {
        char *key, *value;
        int line;
    } * pairs;
    size_t n_pairs;
};

#define CTR_CONF_MAX_MIRRORS 8
/* [registry.host "…"] */
struct ctr_conf_host {
    char *host;            /* host[:port] */
    char *ca;              /* PEM file, "" */
    char *client_cert;     /* PEM file, "" */
    char *client_key;      /* PEM file, "" */
    char *proxy;           /* URL, "": by the environment */
    bool plain_http;       /* default: only for a literal loopback address */
    uint64_t upload_chunk; /* bytes of one request of a push, 0: a blob at once */
    char **mirrors;        /* [SCHEME://]HOST[:PORT][/PATH], asked first for pulls */
    size_t n_mirrors;
};

struct ctr_conf {
    char *name; /* "default", or the file's name without .ini */
    char *file; /* absolute */
    struct ctr_conf_engine engine;
    struct ctr_conf_instance *
        instances; /* kinds' defaults are named "default"; registry instances in the chain's order */
    size_t n_instances;
    struct ctr_conf_host *hosts;
    size_t n_hosts;
};

/* Loads a profile by name (CTR_PROFILE when NULL, else "default") or by path (has a '/' or ends in ".ini"). A name is looked up in
 * $XDG_CONFIG_HOME/ctr (~/.config/ctr), /etc/ctr, PREFIX/etc/ctr. CTR_DATA and CTR_RUN are applied. */
int ctr_conf_load(const char *name_or_path, struct ctr_conf **ret, struct ctr_error *err);
/* The same from a buffer; `file` is for messages. The fuzz target's entry. */
int ctr_conf_parse(const char *name, const char *file, const char *text, size_t length,
                   struct ctr_conf **ret, struct ctr_error *err);
void ctr_conf_destroy(struct ctr_conf *conf); /* takes NULL */

/* The instance of a kind by name ("default" when NULL); NULL if there is none. */
const struct ctr_conf_instance *
ctr_conf_instance(const struct ctr_conf *conf, int kind, const char *name);
/* host entry by exact host[:port], or NULL. */
const struct ctr_conf_host *ctr_conf_host(const struct ctr_conf *conf, const char *host);

/* Checked options of an instance. */
struct ctr_options;
/* Checks an instance's pairs against a plugin's table: unknown key (with the nearest), wrong type, out of range are errors with
 * `file:line:`. */
int ctr_options_create(const struct ctr_conf *conf, const struct ctr_conf_instance *instance,
                       const struct ctr_option *table, size_t n_table, struct ctr_options **ret,
                       struct ctr_error *err);
/* The same from a JSON object {"key": "text"} (what ctrd hands to ctr-sandbox and ctr-net). */
int ctr_options_from_json(const json_t *object, const struct ctr_option *table, size_t n_table,
                          struct ctr_options **ret, struct ctr_error *err);
void ctr_options_destroy(struct ctr_options *options); /* takes NULL */
const char *ctr_options_string(const struct ctr_options *options, const char *name);
int64_t ctr_options_int(const struct ctr_options *options, const char *name);
bool ctr_options_bool(const struct ctr_options *options, const char *name);
/* {"key": "text"} of an instance's pairs; new reference or NULL. */
json_t *ctr_conf_instance_json(const struct ctr_conf_instance *instance);

/* Help on the [engine] and [registry.host] tables for ctr.conf(5)'s test: calls each(arg, key, type, default, help). */
void ctr_conf_each_key(void (*each)(void *arg, const char *key, const char *type,
                                    const char *def, const char *help),
                       void *arg);
void ctr_conf_each_host_key(void (*each)(void *arg, const char *key, const char *type,
                                         const char *def, const char *help),
                            void *arg);

#endif
