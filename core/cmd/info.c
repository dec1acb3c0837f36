/*
 * info.c: info, version, plugin ls and plugin show.
 */
#include "core/cmd/show.h"

/* --- info --- */

static void
line(const char *label, const char *value)
{
    CTR_AUTO(free) char *safe = ctr_printable(value);
    if (safe != NULL && safe[0] != '\0') {
        printf("%-16s %s\n", label, safe);
    }
}

/* A list with commas between: of text, or of {name, plugin}. */
static void
list_line(const char *label, const json_t *list)
{
    struct ctr_buf buf = {0};
    size_t i;
    json_t *one;
    json_array_foreach((json_t *) list, i, one)
    {
        const char *name = ctr_json_str(one, "name", "");
        const char *plugin = ctr_json_str(one, "plugin", name);
        ctr_buf_printf(&buf, "%s%s", i > 0 ? ", " : "",
                       json_is_string(one) ? json_string_value(one) : name);
        if (strcmp(plugin, name) != 0) {
            ctr_buf_printf(&buf, " (%s)", plugin);
        }
    }
    if (buf.length > 0) {
        line(label, buf.data);
    }
    ctr_buf_clear(&buf);
}

static void
print_vmm(const json_t *vmm)
{
    if (!json_is_object(vmm)) {
        return;
    }
    const char *trouble = ctr_json_str(vmm, "error", "");
    const char *plugin = ctr_json_str(vmm, "plugin", "");
    const char *version = ctr_json_str(vmm, "version", plugin);
    bool named = strstr(version, plugin) != NULL; /* the version says it already */
    CTR_AUTO(free)
    char *text = ctr_printf("%s%s%s, %s", named ? "" : plugin, named ? "" : " ", version,
                            ctr_json_str(vmm, "accel", "?"));
    line("VMM:", text != NULL && trouble[0] == '\0' ? text : trouble);
    if (trouble[0] == '\0') {
        line("Isolation:", ctr_json_bool(vmm, "hardware", false)
                               ? "hardware virtualization"
                               : "emulated: not a security boundary");
    }
}

static void
print_info(const json_t *info, const json_t *own)
{
    char size[16];
    line("Profile:", ctr_json_str(own, "profile", ""));
    line("File:", ctr_json_str(own, "file", ""));
    line("Version:", ctr_json_str(info, "ServerVersion", ""));
    printf("%-16s %lld (%lld running, %lld stopped)\n",
           "Containers:", (long long) ctr_json_int(info, "Containers", 0),
           (long long) ctr_json_int(info, "ContainersRunning", 0),
           (long long) ctr_json_int(info, "ContainersStopped", 0));
    printf("%-16s %lld\n", "Images:", (long long) ctr_json_int(info, "Images", 0));
    print_vmm(json_object_get(own, "vmm"));
    line("Kernel:", ctr_json_str(own, "kernel", ""));
    list_line("Storage:", json_object_get(own, "storages"));
    line("Network:", ctr_json_str(own, "net", ""));
    list_line("Registry:", json_object_get(own, "registry"));
    line("Data:", ctr_json_str(own, "data", ctr_json_str(info, "DockerRootDir", "")));
    line("Sockets:", ctr_json_str(own, "run", ""));
    line("Host:", ctr_json_str(info, "OperatingSystem", ""));
    line("Architecture:", ctr_json_str(info, "Architecture", ""));
    printf("%-16s %lld\n", "CPUs:", (long long) ctr_json_int(info, "NCPU", 0));
    int64_t memory = ctr_json_int(info, "MemTotal", 0);
    line("Memory:", memory > 0 ? ctr_format_size((uint64_t) memory, size) : "");
    size_t i;
    json_t *warning;
    json_array_foreach(json_object_get(info, "Warnings"), i, warning)
    {
        if (json_is_string(warning)) {
            ctl_complain("warning: %s", json_string_value(warning));
        }
    }
}

static int
info_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *info = NULL;
    CTR_AUTO(json) json_t *own = NULL;
    if (ctl_call(ctl, "GET", CTL_API "/info", NULL, &info, &err) < 0 ||
        ctl_call(ctl, "GET", "/ctr/v1/info", NULL, &own, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    const char *format = ctl_value(ctl, "format");
    if (format == NULL) {
        print_info(info, own);
        return 0;
    }
    (void) json_object_set(info, "Ctr", own);
    return ctl_show_document(info, format, &err) < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option info_options[] = {
    {"format", 'f', "FORMAT", "json, or a template: '{{.ContainersRunning}}'"},
    {NULL},
};
const struct ctl_command ctl_info = {
    .operands = "",
    .summary = "Show what the daemon has and uses",
    .examples = "ctrctl info\nctrctl info -f '{{.Ctr.vmm.accel}}'",
    .options = info_options,
    .run = info_main,
};

/* --- version --- */

static int
version_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *server = json_null();
    int fd = ctl_connect(ctl, false, &err);
    if (fd >= 0) {
        (void) close(fd);
        if (ctl_call(ctl, "GET", CTL_API "/version", NULL, &server, &err) < 0) {
            return ctl_error(ctl, &err);
        }
    } else if (err.code != -ENOENT || ctl->conf == NULL) {
        return ctl_error(ctl, &err);
    }
    const char *format = ctl_value(ctl, "format");
    if (format != NULL) {
        CTR_AUTO(json)
        json_t *both = json_pack("{s:{s:s,s:s},s:O}", "Client", "Version", CTL_VERSION,
                                 "ApiVersion", CTL_API_VERSION, "Server", server);
        return both == NULL || ctl_show_document(both, format, &err) < 0 ? ctl_error(ctl, &err)
                                                                         : 0;
    }
    printf("Client:\n %-14s %s\n %-14s %s\n\nServer:\n", "Version:", CTL_VERSION,
           "API version:", CTL_API_VERSION);
    if (!json_is_object(server)) {
        printf(" The daemon does not run\n");
        return 0;
    }
    static const char *const rows[][2] = {{"Version:", "Version"},
                                          {"API version:", "ApiVersion"},
                                          {"OS:", "Os"},
                                          {"Architecture:", "Arch"},
                                          {"Kernel:", "KernelVersion"}};
    for (size_t i = 0; i < CTR_LENGTH(rows); i++) {
        CTR_AUTO(free) char *safe = ctr_printable(ctr_json_str(server, rows[i][1], ""));
        printf(" %-14s %s\n", rows[i][0], safe != NULL ? safe : "");
    }
    return 0;
}

static const struct ctl_option version_options[] = {
    {"format", 'f', "FORMAT", "json, or a template: '{{.Server.Version}}'"},
    {NULL},
};
const struct ctl_command ctl_version = {
    .operands = "",
    .summary = "Show the versions of ctrctl and of the daemon, if it runs",
    .examples = "ctrctl version -f '{{.Client.Version}}'",
    .options = version_options,
    .run = version_main,
};

/* --- plugins --- */

static const struct ctl_column plugin_columns[] = {
    {"Kind", "KIND"},    {"Name", "NAME"},     {"Version", "VERSION"}, {"ABI", "ABI"},
    {"Used", "USED AS"}, {"Status", "STATUS"}, {"Path", "PATH"},       {NULL, NULL},
};

static json_t *
fetch_plugins(struct ctl *ctl, struct ctr_error *err)
{
    json_t *plugins = NULL;
    (void) ctl_call(ctl, "GET", "/ctr/v1/plugins", NULL, &plugins, err);
    return plugins;
}

static char *
used_as(const json_t *plugin)
{
    struct ctr_buf buf = {0};
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(plugin, "used"), i, one)
    {
        ctr_buf_printf(&buf, "%s%s", i > 0 ? ", " : "",
                       json_is_string(one) ? json_string_value(one) : "");
    }
    return buf.length > 0 ? ctr_buf_take(&buf) : strdup("");
}

static json_t *
plugin_row(const json_t *plugin)
{
    const char *refused = ctr_json_str(plugin, "error", "");
    CTR_AUTO(free) char *used = used_as(plugin);
    CTR_AUTO(free)
    char *status = ctr_printf("%s%s", refused[0] != '\0' ? "refused: " : "ok", refused);
    const json_t *abi = json_object_get(plugin, "abi");
    CTR_AUTO(free)
    char *number = json_is_integer(abi)
                       ? ctr_printf("%lld", (long long) json_integer_value(abi))
                       : strdup(json_is_string(abi) ? json_string_value(abi) : "");
    if (used == NULL || status == NULL || number == NULL) {
        return NULL;
    }
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "Kind", ctr_json_str(plugin, "kind", ""),
                     "Name", ctr_json_str(plugin, "name", ""), "Version",
                     ctr_json_str(plugin, "version", ""), "ABI", number, "Used", used, "Status",
                     status, "Path", ctr_json_str(plugin, "path", ""));
}

static int
plugin_ls_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *plugins = fetch_plugins(ctl, &err);
    if (plugins == NULL) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(json) json_t *rows = json_array();
    size_t i;
    json_t *plugin;
    json_array_foreach(plugins, i, plugin)
    {
        (void) json_array_append_new(rows, plugin_row(plugin));
    }
    return ctl_show(rows, plugin_columns,
                    "{{.Kind}}\t{{.Name}}\t{{.Version}}\t{{.Used}}\t{{.Path}}\t{{.Status}}",
                    ctl_value(ctl, "format"), &err) < 0
               ? ctl_error(ctl, &err)
               : 0;
}

static const struct ctl_option plugin_ls_options[] = {
    {"format", 0, "FORMAT",
     "table, json, 'table TEMPLATE' or a template: '{{.Kind}}-{{.Name}}'"},
    {NULL},
};
const struct ctl_command ctl_plugin_ls = {
    .operands = "",
    .summary = "List the plugins that were found, and those that were refused and why",
    .examples = "ctrctl plugin ls",
    .options = plugin_ls_options,
    .run = plugin_ls_main,
};

/* "ext4", "storage-ext4" or the whole path. */
static bool
is_plugin(const json_t *plugin, const char *name)
{
    const char *own = ctr_json_str(plugin, "name", "");
    CTR_AUTO(free) char *full = ctr_printf("%s-%s", ctr_json_str(plugin, "kind", ""), own);
    return strcmp(own, name) == 0 || (full != NULL && strcmp(full, name) == 0) ||
           strcmp(ctr_json_str(plugin, "path", ""), name) == 0;
}

/* A default or bound, be it text or a number. */
static void
print_member(const json_t *option, const char *key, const char *label)
{
    const json_t *value = json_object_get(option, key);
    if (value == NULL || json_is_null(value) ||
        (json_is_string(value) && json_string_length(value) == 0)) {
        return;
    }
    if (json_is_string(value)) {
        CTR_AUTO(free) char *safe = ctr_printable(json_string_value(value));
        printf(" %s %s", label, safe != NULL ? safe : "");
    } else {
        struct ctr_error none = CTR_ERROR_INIT;
        printf(" %s ", label);
        (void) ctl_print_json(stdout, value, 0, &none);
    }
}

static void
print_plugin(const json_t *plugin)
{
    CTR_AUTO(json) json_t *row = plugin_row(plugin);
    static const char *const keys[] = {"Kind", "Name",   "Version", "ABI",
                                       "Used", "Status", "Path"};
    for (size_t i = 0; i < CTR_LENGTH(keys); i++) {
        CTR_AUTO(free) char *label = ctr_printf("%s:", keys[i]);
        line(label != NULL ? label : "", ctr_json_str(row, keys[i], ""));
    }
    line("What it is:", ctr_json_str(plugin, "help", ""));
    const json_t *options = json_object_get(plugin, "options");
    size_t i;
    json_t *option;
    if (json_array_size(options) > 0) {
        printf("\nOptions, in the profile's section [%s.%s]:\n", ctr_json_str(row, "Kind", ""),
               ctr_json_str(row, "Name", ""));
    }
    json_array_foreach((json_t *) options, i, option)
    {
        CTR_AUTO(free) char *name = ctr_printable(ctr_json_str(option, "name", ""));
        CTR_AUTO(free) char *type = ctr_printable(ctr_json_str(option, "type", ""));
        CTR_AUTO(free) char *help = ctr_printable(ctr_json_str(option, "help", ""));
        printf("  %-16s %s", name != NULL ? name : "", type != NULL ? type : "");
        print_member(option, "choices", "of");
        if (ctr_json_int(option, "max", 0) != 0) {
            print_member(option, "min", "from");
            print_member(option, "max", "to");
        }
        print_member(option, "default", "default");
        printf("\n  %-16s %s\n", "", help != NULL ? help : "");
    }
}

static int
plugin_show_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *plugins = fetch_plugins(ctl, &err);
    if (plugins == NULL) {
        return ctl_error(ctl, &err);
    }
    const char *format = ctl_value(ctl, "format");
    size_t i, found = 0;
    json_t *plugin;
    json_array_foreach(plugins, i, plugin)
    {
        if (!is_plugin(plugin, ctl->operands[0])) {
            continue;
        }
        if (format != NULL && ctl_show_document(plugin, format, &err) < 0) {
            return ctl_error(ctl, &err);
        }
        if (format == NULL) {
            printf("%s", found > 0 ? "\n" : "");
            print_plugin(plugin);
        }
        found++;
    }
    if (found > 0) {
        return 0;
    }
    ctr_fail(&err, -ENOENT,
             "plugin show: there is no plugin '%s'; 'ctrctl plugin ls' lists all",
             ctl->operands[0]);
    return ctl_error(ctl, &err);
}

static const struct ctl_option plugin_show_options[] = {
    {"format", 'f', "FORMAT", "json, or a template: '{{.path}}'"},
    {NULL},
};
const struct ctl_command ctl_plugin_show = {
    .operands = "NAME",
    .summary = "Show one plugin and its options",
    .examples = "ctrctl plugin show storage-ext4",
    .options = plugin_show_options,
    .min_operands = 1,
    .max_operands = 1,
    .words = CTL_WORDS_PLUGIN,
    .run = plugin_show_main,
};
