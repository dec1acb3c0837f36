/*
 * events.c: what happens, a line each, as docker prints it.
 */
#include "core/cmd/show.h"

/* "2026-11-24T18:33:42.123456789+00:00" of this place's time. */
static void
time_text(int64_t ns, char *ret, size_t size)
{
    time_t seconds = (time_t) (ns / 1000000000);
    struct tm tm;
    char date[32] = "", zone[8] = "";
    if (localtime_r(&seconds, &tm) != NULL) {
        (void) !strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
        (void) !strftime(zone, sizeof zone, "%z", &tm);
    }
    (void) snprintf(ret, size, "%s.%09d%.3s:%s", date, (int) (ns % 1000000000), zone,
                    strlen(zone) > 3 ? zone + 3 : "");
}

/* "(exitCode=0, image=demo, name=web)", sorted by name. */
static void
add_attributes(struct ctr_buf *line, const json_t *attributes)
{
    CTR_AUTO(json) json_t *sorted = json_object();
    CTR_AUTO(free) char *text = json_dumps(attributes, JSON_SORT_KEYS);
    sorted = text == NULL ? sorted : (json_decref(sorted), json_loads(text, 0, NULL));
    const char *key;
    json_t *value;
    size_t n = 0;
    json_object_foreach(sorted, key, value)
    {
        ctr_buf_printf(line, "%s%s=%s", n++ == 0 ? " (" : ", ", key,
                       json_is_string(value) ? json_string_value(value) : "");
    }
    ctr_buf_puts(line, n > 0 ? ")" : "");
}

static int
print_event(const json_t *event, struct ctr_error *err)
{
    const json_t *actor = json_object_get(event, "Actor");
    CTR_AUTO(buf) struct ctr_buf line = {0};
    char time[64];
    time_text(ctr_json_int(event, "timeNano", 0), time, sizeof time);
    ctr_buf_printf(&line, "%s %s %s %s", time, ctr_json_str(event, "Type", ""),
                   ctr_json_str(event, "Action", ""), ctr_json_str(actor, "ID", ""));
    add_attributes(&line, json_object_get(actor, "Attributes"));
    CTR_AUTO(free) char *safe = line.length > 0 ? ctr_printable(line.data) : NULL;
    if (safe == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    printf("%s\n", safe);
    return 0;
}

static int
show_event(const struct ctl *ctl, const json_t *event, struct ctr_error *err)
{
    const char *format = ctl_value(ctl, "format");
    int rc = format == NULL ? print_event(event, err) : ctl_show_document(event, format, err);
    if (rc == 0 && fflush(stdout) != 0) {
        return ctr_fail(err, -errno, "standard output: %s", strerror(errno));
    }
    return rc;
}

static int
check_format(const struct ctl *ctl, struct ctr_error *err)
{
    const char *format = ctl_value(ctl, "format");
    CTR_AUTO(buf) struct ctr_buf nothing = {0};
    return format == NULL || strcmp(format, "json") == 0
               ? 0
               : ctl_template(format, NULL, true, &nothing, err);
}

static int
follow(struct ctl *ctl, struct ctr_error *err)
{
    CTR_AUTO(free) char *filters = check_format(ctl, err) < 0 ? NULL : ctl_filters(ctl, err);
    if (filters == NULL) {
        return err->code;
    }
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/events?filters=%s", filters);
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    CTR_AUTO(buf) struct ctr_buf line = {0};
    int rc = ctl_http_send(ctl, &http, "GET", path, CTL_SEND_JSON, NULL, err);
    rc = rc < 0 ? rc : ctl_http_head(&http, -1, err);
    while (rc == 0) {
        json_t *event = NULL;
        rc = ctl_http_line(&http, &line, -1, &event, err);
        CTR_AUTO(json) json_t *owned = event;
        if (rc <= 0) {
            break;
        }
        rc = show_event(ctl, owned, err);
    }
    return rc;
}

static int
events_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    return follow(ctl, &err) < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option events_options[] = {
    {"filter", 'f', "KEY=VALUE",
     "Only those of this type, event, container or network (repeatable)"},
    {"format", 0, "FORMAT", "json, or a template: '{{.Action}} {{.Actor.Attributes.name}}'"},
    {NULL},
};
const struct ctl_command ctl_events = {
    .operands = "",
    .summary = "Show what happens, as it happens",
    .text = "Containers that are created, start and end; networks that are made, connected and "
            "refuse packets.\nCtrl-C ends it.",
    .examples = "ctrctl events --filter type=container --filter event=die\n"
                "ctrctl events --filter event=refuse --format json",
    .options = events_options,
    .run = events_main,
};
