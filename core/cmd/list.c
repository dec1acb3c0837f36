/*
 * list.c: ps, logs and inspect.
 */
#include "core/cmd/session.h"
#include "core/cmd/show.h"

/* --- ps --- */

static const struct ctl_column ps_columns[] = {
    {"ID", "CONTAINER ID"},   {"Names", "NAMES"},          {"Image", "IMAGE"},
    {"Command", "COMMAND"},   {"CreatedAt", "CREATED AT"}, {"RunningFor", "CREATED"},
    {"Ports", "PORTS"},       {"State", "STATE"},          {"Status", "STATUS"},
    {"Networks", "NETWORKS"}, {"Labels", "LABELS"},        {NULL, NULL},
};

static void
add_port(struct ctr_buf *buf, const json_t *port)
{
    const char *ip = ctr_json_str(port, "IP", "");
    int64_t outside = ctr_json_int(port, "PublicPort", 0);
    if (buf->length > 0) {
        ctr_buf_puts(buf, ", ");
    }
    if (outside > 0) {
        bool six = strchr(ip, ':') != NULL;
        ctr_buf_printf(buf, "%s%s%s:%lld->", six ? "[" : "", ip, six ? "]" : "",
                       (long long) outside);
    }
    ctr_buf_printf(buf, "%lld/%s", (long long) ctr_json_int(port, "PrivatePort", 0),
                   ctr_json_str(port, "Type", "tcp"));
}

static char *
ports_of(const json_t *container)
{
    struct ctr_buf buf = {0};
    size_t i;
    json_t *port;
    json_array_foreach(json_object_get(container, "Ports"), i, port)
    {
        add_port(&buf, port);
    }
    ctr_buf_puts(&buf, ""); /* without ports it is an empty text, not NULL */
    return ctr_buf_take(&buf);
}

/* The command in quotes, cut to 20 characters of it as docker does. */
static char *
command_of(const json_t *container, bool whole)
{
    const char *text = ctr_json_str(container, "Command", "");
    if (whole || strlen(text) <= 20) {
        return ctr_printf("\"%s\"", text);
    }
    size_t n = 19;
    while (n > 0 && ((unsigned char) text[n] & 0xc0) == 0x80) {
        n--;
    }
    return ctr_printf("\"%.*s…\"", (int) n, text);
}

static const char *
name_of(const json_t *container)
{
    const char *name =
        json_string_value(json_array_get(json_object_get(container, "Names"), 0));
    return name == NULL ? "" : name[0] == '/' ? name + 1 : name;
}

static json_t *
ps_row(const struct ctl *ctl, const json_t *container)
{
    bool whole = ctl_flag(ctl, "no-trunc");
    const char *id = ctr_json_str(container, "Id", "");
    char short_id[13], since[32], at[64] = "";
    (void) snprintf(short_id, sizeof short_id, "%.12s", id);
    int64_t created = ctr_json_int(container, "Created", 0);
    time_t seconds = (time_t) created;
    struct tm tm;
    if (localtime_r(&seconds, &tm) != NULL) {
        (void) !strftime(at, sizeof at, "%Y-%m-%d %H:%M:%S %z %Z", &tm);
    }
    CTR_AUTO(free) char *command = command_of(container, whole);
    CTR_AUTO(free) char *ports = ports_of(container);
    CTR_AUTO(free) char *labels = ctl_joined(json_object_get(container, "Labels"), true);
    CTR_AUTO(free)
    char *networks = ctl_joined(
        json_object_get(json_object_get(container, "NetworkSettings"), "Networks"), false);
    CTR_AUTO(free)
    char *ago = ctr_printf("%s ago", ctr_format_duration(time(NULL) - created, since));
    if (command == NULL || ports == NULL || labels == NULL || networks == NULL || ago == NULL) {
        return NULL;
    }
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "ID", whole ? id : short_id, "Names",
        name_of(container), "Image", ctr_json_str(container, "Image", ""), "Command", command,
        "CreatedAt", at, "RunningFor", ago, "Ports", ports, "State",
        ctr_json_str(container, "State", ""), "Status", ctr_json_str(container, "Status", ""),
        "Networks", networks, "Labels", labels);
}

static int
ps_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *containers = NULL;
    CTR_AUTO(free) char *filters = ctl_filters(ctl, &err);
    if (filters == NULL) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(free)
    char *path =
        ctl_url(CTL_API "/containers/json?all=%d&filters=%s", ctl_flag(ctl, "all"), filters);
    if (ctl_call(ctl, "GET", path, NULL, &containers, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    CTR_AUTO(json) json_t *rows = json_array();
    size_t i;
    json_t *container;
    json_array_foreach(containers, i, container)
    {
        (void) json_array_append_new(rows, ps_row(ctl, container));
    }
    const char *format = ctl_flag(ctl, "quiet") ? "{{.ID}}" : ctl_value(ctl, "format");
    const char *standard = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t"
                           "{{.Ports}}\t{{.Names}}";
    return ctl_show(rows, ps_columns, standard, format, &err) < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option ps_options[] = {
    {"all", 'a', NULL, "Those that do not run too"},
    {"filter", 'f', "KEY=VALUE", "Only those with this name, id, label, status … (repeatable)"},
    {"format", 0, "FORMAT", "table, json, 'table TEMPLATE' or a template: '{{.Names}}'"},
    {"no-trunc", 0, NULL, "Whole IDs and commands"},
    {"quiet", 'q', NULL, "Only IDs"},
    {NULL},
};
const struct ctl_command ctl_ps = {
    .operands = "",
    .summary = "List containers",
    .examples = "ctrctl ps -a\nctrctl ps --format 'table {{.Names}}\\t{{.Status}}'\n"
                "ctrctl ps -a --format json",
    .options = ps_options,
    .run = ps_main,
};

/* --- logs --- */

static int
write_out(int fd, const char *bytes, size_t length, struct ctr_error *err)
{
    int rc = ctr_write_all(fd, bytes, length);
    return rc == 0 ? 0
                   : ctr_fail(err, rc, "standard %s: %s; the output is not complete",
                              fd == 2 ? "error" : "output", strerror(-rc));
}

static int
copy_logs(struct ctl_http *http, bool framed, struct ctr_error *err)
{
    struct ctl_frames frames = {.framed = framed};
    CTR_AUTO(free) char *bytes = malloc(CTL_PIECE);
    if (bytes == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    for (;;) {
        ssize_t n = ctl_http_read(http, bytes, CTL_PIECE, -1, err);
        if (n <= 0) {
            return (int) n;
        }
        const char *piece;
        size_t at = 0, length;
        int rc;
        while ((rc = ctl_frames_next(&frames, bytes, &at, (size_t) n, CTL_PIECE, &piece,
                                     &length)) == 1) {
            rc = write_out(frames.fd, piece, length, err);
            if (rc < 0) {
                return rc;
            }
        }
        if (rc < 0) {
            return ctr_fail(err, rc,
                            "logs: the daemon's stream has a bad frame; see 'ctrctl "
                            "system logs'");
        }
    }
}

/* The number of lines as the API wants it, "all" by default. */
static int
check_tail(const struct ctl *ctl, const char **ret, struct ctr_error *err)
{
    const char *tail = ctl_value(ctl, "tail");
    int64_t n;
    *ret = tail == NULL ? "all" : tail;
    if (strcmp(*ret, "all") != 0 && ctr_parse_int(*ret, 0, INT32_MAX, &n) < 0) {
        return ctr_fail(err, -EINVAL, "--tail: '%s' must be a number of lines or all", *ret);
    }
    return 0;
}

static int
logs_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *tail, *name = ctl->operands[0];
    CTR_AUTO(free) char *inspect = ctl_url(CTL_API "/containers/%s/json", name);
    CTR_AUTO(json) json_t *info = NULL;
    if (check_tail(ctl, &tail, &err) < 0 ||
        ctl_call(ctl, "GET", inspect, NULL, &info, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    bool tty = ctr_json_bool(json_object_get(info, "Config"), "Tty", false);
    CTR_AUTO(free)
    char *path =
        ctl_url(CTL_API "/containers/%s/logs?stdout=1&stderr=1&follow=%d&timestamps=%d&tail=%s",
                ctr_json_str(info, "Id", name), ctl_flag(ctl, "follow"),
                ctl_flag(ctl, "timestamps"), tail);
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    int rc = ctl_http_send(ctl, &http, "GET", path, CTL_SEND_JSON, NULL, &err);
    rc = rc == 0 ? ctl_http_head(&http, -1, &err) : rc;
    rc = rc == 0 ? copy_logs(&http, !tty, &err) : rc;
    return rc < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option logs_options[] = {
    {"follow", 'f', NULL, "Go on with what is still to come"},
    {"tail", 'n', "LINES", "Only the last lines (default all)"},
    {"timestamps", 't', NULL, "Each line's time in front"},
    {NULL},
};
const struct ctl_command ctl_logs = {
    .operands = "CONTAINER",
    .summary = "Show what a container has written",
    .text = "Standard output and standard error of the container come out on ours.",
    .examples = "ctrctl logs web\nctrctl logs -f -n 10 web",
    .options = logs_options,
    .min_operands = 1,
    .max_operands = 1,
    .words = CTL_WORDS_CONTAINER,
    .run = logs_main,
};

/* --- inspect --- */

/* A container, an image or a network of that name. */
static json_t *
find(struct ctl *ctl, const char *name, const char *type, struct ctr_error *err)
{
    json_t *found = NULL;
    int rc = -ENOENT;
    if (type == NULL || strcmp(type, "container") == 0) {
        CTR_AUTO(free) char *path = ctl_url(CTL_API "/containers/%s/json", name);
        rc = ctl_call(ctl, "GET", path, NULL, &found, err);
    }
    if (rc == -ENOENT && (type == NULL || strcmp(type, "image") == 0)) {
        CTR_AUTO(free) char *path = ctl_url(CTL_API "/images/%s/json", name);
        rc = ctl_call(ctl, "GET", path, NULL, &found, err);
    }
    if (rc == -ENOENT && (type == NULL || strcmp(type, "network") == 0)) {
        CTR_AUTO(free) char *path = ctl_url(CTL_API "/networks/%s", name);
        rc = ctl_call(ctl, "GET", path, NULL, &found, err);
    }
    if (rc == -ENOENT && type == NULL) {
        ctr_fail(err, rc,
                 "%s: no such container, image or network; see 'ctrctl ps -a', 'ctrctl images' "
                 "and 'ctrctl network ls'",
                 name);
    }
    return found;
}

static int
inspect_all(struct ctl *ctl, const char *type)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *format = ctl_value(ctl, "format");
    CTR_AUTO(json) json_t *all = json_array();
    CTR_AUTO(buf) struct ctr_buf troubles = {0};
    CTR_AUTO(buf) struct ctr_buf nothing = {0};
    if (format != NULL && strcmp(format, "json") != 0 &&
        ctl_template(format, NULL, true, &nothing, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    for (int i = 0; i < ctl->n_operands; i++) {
        struct ctr_error one = CTR_ERROR_INIT;
        json_t *found = find(ctl, ctl->operands[i], type, &one);
        if (found == NULL) {
            ctr_buf_printf(&troubles, "%s\n", one.msg);
        } else {
            (void) json_array_append_new(all, found);
        }
    }
    int rc = 0;
    if (format == NULL || strcmp(format, "json") == 0) {
        rc = ctl_show_document(all, format, &err);
    } else {
        size_t i;
        json_t *one;
        json_array_foreach(all, i, one)
        {
            rc = rc == 0 ? ctl_show_document(one, format, &err) : rc;
        }
    }
    int status = rc < 0 ? ctl_error(ctl, &err) : 0;
    for (char *line = troubles.length > 0 ? troubles.data : NULL; line != NULL && *line;) {
        size_t length = strcspn(line, "\n");
        ctl_complain("%.*s", (int) length, line);
        line += length + 1;
        status = 1;
    }
    return status;
}

static int
inspect_main(struct ctl *ctl)
{
    return inspect_all(ctl, ctl_value(ctl, "type"));
}
static int
image_inspect_main(struct ctl *ctl)
{
    return inspect_all(ctl, "image");
}

static int
network_inspect_main(struct ctl *ctl)
{
    return inspect_all(ctl, "network");
}

static const struct ctl_option inspect_options[] = {
    {"format", 'f', "FORMAT", "json, or a template: '{{.State.Status}}'"},
    {"type", 0, "TYPE", "container, image or network (default: whichever there is)",
     "container|image|network"},
    {NULL},
};
const struct ctl_command ctl_inspect = {
    .operands = "NAME [NAME...]",
    .summary = "Show all there is to know of containers, images or networks, as JSON",
    .examples = "ctrctl inspect web\nctrctl inspect -f '{{.State.ExitCode}}' job\n"
                "ctrctl inspect -f '{{json .Config.Env}}' web",
    .options = inspect_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_CONTAINER,
    .run = inspect_main,
};

static const struct ctl_option image_inspect_options[] = {
    {"format", 'f', "FORMAT", "json, or a template: '{{.Architecture}}'"},
    {NULL},
};
const struct ctl_command ctl_image_inspect = {
    .operands = "IMAGE [IMAGE...]",
    .summary = "Show all there is to know of images, as JSON",
    .examples = "ctrctl image inspect -f '{{.Id}}' alpine",
    .options = image_inspect_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_IMAGE,
    .run = image_inspect_main,
};

static const struct ctl_option network_inspect_options[] = {
    {"format", 'f', "FORMAT", "json, or a template: '{{.Ctr.Egress}}'"},
    {NULL},
};
const struct ctl_command ctl_network_inspect = {
    .operands = "NETWORK [NETWORK...]",
    .summary = "Show all there is to know of networks, as JSON",
    .examples = "ctrctl network inspect front\n"
                "ctrctl network inspect -f '{{json .Ctr.Refused}}' jobs",
    .options = network_inspect_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_NETWORK,
    .run = network_inspect_main,
};
