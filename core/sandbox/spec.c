/*
 * FOLDER/sandbox.json: what ctrd wants this sandbox to be. ctrd is trusted, but a half-written or older file must give an
 * error that names the member, never a crash. Descriptors that the file names are inherited ones: they are checked to
 * be open, above the standard four, and become close-on-exec here.
 */
#include "core/sandbox/sandbox-priv.h"

#include <fcntl.h>

struct reader {
    const char *file;
    const char *section; /* "" or "machine." */
    struct ctr_error *err;
};

static int
wrong(const struct reader *reader, const char *key, const char *expected)
{
    return ctr_fail(reader->err, -EINVAL, "%s: \"%s%s\" must be %s", reader->file,
                    reader->section, key, expected);
}

static int
text(const struct reader *reader, const json_t *object, const char *key, const char *def,
     const char **ret)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL && def != NULL) {
        *ret = def;
        return 0;
    }
    if (!json_is_string(value)) {
        return wrong(reader, key, "a text");
    }
    *ret = json_string_value(value);
    return 0;
}

static int
path(const struct reader *reader, const json_t *object, const char *key, const char **ret)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value) || json_string_value(value)[0] != '/') {
        return wrong(reader, key, "an absolute path");
    }
    *ret = json_string_value(value);
    return 0;
}

/* def < min: the member is required. */
static int
number(const struct reader *reader, const json_t *object, const char *key, int64_t min,
       int64_t max, int64_t def, int64_t *ret)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL && def >= min) {
        *ret = def;
        return 0;
    }
    int64_t n = json_is_integer(value) ? json_integer_value(value) : min - 1;
    if (!json_is_integer(value) || n < min || n > max) {
        char expected[80];
        (void) snprintf(expected, sizeof expected, "a number from %lld to %lld",
                        (long long) min, (long long) max);
        return wrong(reader, key, expected);
    }
    *ret = n;
    return 0;
}

static int
inherited_fd(const struct reader *reader, const json_t *object, const char *key, int *ret)
{
    int64_t fd;
    int code = number(reader, object, key, 4, 65535, 3, &fd);
    if (code < 0) {
        return code;
    }
    int flags = fcntl((int) fd, F_GETFD);
    if (flags < 0 || (flags & FD_CLOEXEC) != 0) {
        return wrong(reader, key, "an inherited open descriptor that no other entry names");
    }
    (void) fcntl((int) fd, F_SETFD, flags | FD_CLOEXEC);
    *ret = (int) fd;
    return 0;
}

static int
read_disk(struct reader *reader, const json_t *json, struct ctr_disk *disk)
{
    static const char *const roles[] = {
        [CTR_DISK_ROOT] = "root", [CTR_DISK_LOWER] = "lower", [CTR_DISK_UPPER] = "upper"};
    *disk = (struct ctr_disk){.size = sizeof *disk, .format = CTR_DISK_RAW};
    const char *format, *role;
    int64_t bytes;
    int code = path(reader, json, "path", &disk->path);
    code = code < 0 ? code : text(reader, json, "format", "raw", &format);
    code = code < 0 ? code : text(reader, json, "role", NULL, &role);
    code = code < 0 ? code : text(reader, json, "fstype", "", &disk->fstype);
    code = code < 0 ? code : text(reader, json, "options", "", &disk->options);
    code = code < 0 ? code : number(reader, json, "bytes", 0, INT64_MAX, 0, &bytes);
    if (code < 0) {
        return code;
    }
    if (strcmp(format, "vmdk") == 0) {
        disk->format = CTR_DISK_VMDK;
    } else if (strcmp(format, "raw") != 0) {
        return wrong(reader, "format", "\"raw\" or \"vmdk\"");
    }
    for (uint32_t i = 1; i < CTR_LENGTH(roles); i++) {
        disk->role = strcmp(role, roles[i]) == 0 ? i : disk->role;
    }
    if (disk->role == 0) {
        return wrong(reader, "role", "root, lower or upper");
    }
    disk->bytes = (uint64_t) bytes;
    disk->flags = (ctr_json_bool(json, "read_only", false) ? CTR_DISK_READ_ONLY : 0u) |
                  (ctr_json_bool(json, "discard", false) ? CTR_DISK_DISCARD : 0u);
    if (disk->format == CTR_DISK_VMDK && (disk->flags & CTR_DISK_READ_ONLY) == 0) {
        return wrong(reader, "read_only", "true for a vmdk disk");
    }
    return 0;
}

static int
read_disks(struct reader *reader, const json_t *list, struct ctr_spec *spec)
{
    size_t n = json_array_size(list);
    if (list != NULL && (!json_is_array(list) || n > 64)) {
        return wrong(reader, "disks", "a list of at most 64");
    }
    spec->disks = calloc(n + 1, sizeof *spec->disks);
    if (spec->disks == NULL) {
        return ctr_fail(reader->err, -ENOMEM, "out of memory");
    }
    reader->section = "machine.disks.";
    for (size_t i = 0; i < n; i++) {
        int code = read_disk(reader, json_array_get(list, i), &spec->disks[i]);
        if (code < 0) {
            return code;
        }
    }
    spec->machine.disks = spec->disks;
    spec->machine.n_disks = (uint32_t) n;
    return 0;
}

static int
read_port(struct reader *reader, const json_t *json, struct ctr_port *port, uint8_t mac[6],
          struct ctr_spec_port *kept)
{
    const char *address, *native;
    int64_t kind, mtu;
    *port = (struct ctr_port){.size = sizeof *port, .fd = -1};
    int code = number(reader, json, "kind", 1, INT32_MAX, 0, &kind);
    code = code < 0 ? code : number(reader, json, "mtu", 68, 65535, 1500, &mtu);
    code = code < 0 ? code : text(reader, json, "mac", NULL, &address);
    code = code < 0 ? code : text(reader, json, "native", "", &native);
    if (code < 0) {
        return code;
    }
    unsigned m[6];
    int end = 0;
    if (sscanf(address, "%2x:%2x:%2x:%2x:%2x:%2x%n", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5],
               &end) != 6 ||
        address[end] != '\0') {
        return wrong(reader, "mac", "an address like 02:42:0a:58:00:02");
    }
    for (int i = 0; i < 6; i++) {
        mac[i] = (uint8_t) m[i];
    }
    port->kind = (uint32_t) kind;
    port->mtu = (uint32_t) mtu;
    (void) snprintf(port->native, sizeof port->native, "%s", native);
    code = kind == CTR_PORT_NATIVE ? 0 : inherited_fd(reader, json, "fd", &port->fd);
    return code < 0 || !ctr_json_has(json, "keep")
               ? code
               : inherited_fd(reader, json, "keep", &kept->keep);
}

static int
read_ports(struct reader *reader, const json_t *list, struct ctr_spec *spec)
{
    size_t n = json_array_size(list);
    int64_t spares;
    reader->section = "";
    if (list != NULL && (!json_is_array(list) || n > CTR_PORTS_MAX)) {
        return wrong(reader, "ports", "a list of at most 16");
    }
    if (number(reader, spec->json, "spare_ports", 0, CTR_PORTS_MAX, 0, &spares) < 0) {
        return reader->err->code;
    }
    spares = spares < CTR_PORTS_MAX - (int64_t) n ? spares : CTR_PORTS_MAX - (int64_t) n;
    spec->ports = calloc(n + (size_t) spares + 1, sizeof *spec->ports);
    spec->macs = calloc(n + (size_t) spares + 1, sizeof *spec->macs);
    spec->kept = calloc(n + (size_t) spares + 1, sizeof *spec->kept);
    if (spec->ports == NULL || spec->macs == NULL || spec->kept == NULL) {
        return ctr_fail(reader->err, -ENOMEM, "out of memory");
    }
    reader->section = "ports.";
    for (size_t i = 0; i < n; i++) {
        spec->kept[i].keep = -1;
        spec->machine.n_ports++;
        int code = read_port(reader, json_array_get(list, i), &spec->ports[i], spec->macs[i],
                             &spec->kept[i]);
        if (code < 0) {
            return code;
        }
    }
    spec->machine.ports = spec->ports;
    spec->machine.macs = (const uint8_t(*)[6]) spec->macs;
    return ctr_spare_add(spec, (uint32_t) spares, reader->err);
}

static int
read_attach(struct reader *reader, const json_t *list, struct ctr_spec *spec)
{
    size_t n = json_array_size(list);
    reader->section = "";
    if (list != NULL && (!json_is_array(list) || n > 16)) {
        return wrong(reader, "attach", "a list of at most 16");
    }
    spec->attach = calloc(n + 1, sizeof *spec->attach);
    if (spec->attach == NULL) {
        return ctr_fail(reader->err, -ENOMEM, "out of memory");
    }
    reader->section = "attach.";
    for (size_t i = 0; i < n; i++) {
        const json_t *json = json_array_get(list, i);
        struct ctr_spec_attach *attach = &spec->attach[i];
        int code = inherited_fd(reader, json, "fd", &attach->fd);
        if (code < 0) {
            return code;
        }
        attach->in = ctr_json_bool(json, "stdin", false);
        attach->out = ctr_json_bool(json, "stdout", false);
        attach->err = ctr_json_bool(json, "stderr", false);
        spec->n_attach++;
    }
    return 0;
}

static int
read_machine(struct reader *reader, const json_t *json, struct ctr_spec *spec)
{
    struct ctr_machine *machine = &spec->machine;
    int64_t cpus, memory;
    if (!json_is_object(json)) {
        return wrong(reader, "machine", "an object");
    }
    reader->section = "machine.";
    int code = text(reader, json, "arch", NULL, &machine->arch);
    code = code < 0 ? code : number(reader, json, "cpus", 1, 1024, 1, &cpus);
    code = code < 0 ? code
                    : number(reader, json, "memory", 1 << 20, INT64_MAX, 256 << 20, &memory);
    code = code < 0 ? code : path(reader, json, "kernel", &machine->kernel);
    code = code < 0 ? code : path(reader, json, "initramfs", &machine->initramfs);
    code = code < 0 ? code : text(reader, json, "cmdline", "", &machine->cmdline);
    code = code < 0 ? code : read_disks(reader, json_object_get(json, "disks"), spec);
    if (code < 0) {
        return code;
    }
    machine->cpus = (uint32_t) cpus;
    machine->memory = (uint64_t) memory & ~((UINT64_C(1) << 20) - 1);
    return 0;
}

static int
read_rest(struct reader *reader, const char *folder, struct ctr_spec *spec)
{
    const json_t *json = spec->json;
    int64_t console_size, stop_signal;
    reader->section = "";
    spec->boot = json_object_get(json, "boot");
    if (!json_is_object(json_object_get(spec->boot, "process"))) {
        return wrong(reader, "boot.process", "an object");
    }
    spec->tty = ctr_json_bool(json_object_get(spec->boot, "process"), "tty", false);
    spec->open_stdin = ctr_json_bool(json, "open_stdin", false);
    spec->stdin_once = ctr_json_bool(json, "stdin_once", false);
    spec->ephemeral = ctr_json_bool(json, "ephemeral", false);
    int code = path(reader, json, "socket", &spec->socket);
    code = code < 0 ? code : path(reader, json, "run_dir", &spec->run_dir);
    code = code < 0 ? code : path(reader, json, "log", &spec->log);
    code = code < 0
               ? code
               : number(reader, json, "log_size", 65536, INT64_MAX, 64 << 20, &spec->log_size);
    code = code < 0
               ? code
               : number(reader, json, "console_size", 4096, 1 << 30, 256 << 10, &console_size);
    code = code < 0 ? code
                    : number(reader, json, "boot_timeout", 1, 86400, 120, &spec->boot_timeout);
    code = code < 0 ? code
                    : number(reader, json, "stop_timeout", -1, 86400, 10, &spec->stop_timeout);
    code = code < 0 ? code : number(reader, json, "stop_signal", 1, 64, 15, &stop_signal);
    if (code < 0) {
        return code;
    }
    spec->stop_signal = (int) stop_signal;
    spec->console = ctr_printf("%s/console.ring", folder);
    if (spec->console == NULL) {
        return ctr_fail(reader->err, -ENOMEM, "out of memory");
    }
    spec->machine.id = spec->id;
    spec->machine.console = spec->console;
    spec->machine.console_bytes = (uint64_t) console_size;
    return 0;
}

static int
read_vmm(struct reader *reader, const json_t *json, struct ctr_spec *spec)
{
    reader->section = "vmm.";
    int code = path(reader, json, "plugin", &spec->plugin);
    code = code < 0 ? code : text(reader, json, "instance", "default", &spec->instance);
    spec->options = json_object_get(json, "options");
    return code;
}

int
ctr_spec_read(const char *folder, struct ctr_spec *ret, struct ctr_error *err)
{
    CTR_AUTO(free) char *file = ctr_printf("%s/sandbox.json", folder);
    if (file == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    *ret = (struct ctr_spec){.machine.size = sizeof ret->machine};
    ret->json = ctr_read_json(file, CTR_SPEC_MAX, err);
    if (ret->json == NULL) {
        return err != NULL && err->code != 0 ? err->code : -EINVAL;
    }
    struct reader reader = {.file = file, .section = "", .err = err};
    int code = text(&reader, ret->json, "id", NULL, &ret->id);
    /* The descriptors first: whoever waits behind them hears of any later error. */
    code = code < 0 ? code : read_attach(&reader, json_object_get(ret->json, "attach"), ret);
    code = code < 0 ? code : read_ports(&reader, json_object_get(ret->json, "ports"), ret);
    code = code < 0 ? code : read_vmm(&reader, json_object_get(ret->json, "vmm"), ret);
    code = code < 0 ? code : read_machine(&reader, json_object_get(ret->json, "machine"), ret);
    return code < 0 ? code : read_rest(&reader, folder, ret);
}

void
ctr_spec_finish(struct ctr_spec *spec)
{
    for (size_t i = 0; i < spec->n_attach; i++) {
        ctr_client_close(spec->attach[i].fd);
    }
    for (uint32_t i = 0; i < spec->machine.n_ports; i++) {
        ctr_auto_fd(&spec->ports[i].fd);
        ctr_auto_fd(&spec->kept[i].keep);
    }
    free(spec->attach);
    free(spec->ports);
    free(spec->macs);
    free(spec->kept);
    free(spec->disks);
    free(spec->console);
    json_decref(spec->json);
    *spec = (struct ctr_spec){0};
}
