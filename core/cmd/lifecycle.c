/*
 * lifecycle.c: commands that do one thing to each container named: stop, restart, kill, rm, wait, rename. One that fails does not keep the
 * others from being tried.
 */
#include "core/cmd/http.h"

int
ctl_each(struct ctl *ctl, int (*one)(struct ctl *ctl, const char *name, struct ctr_error *err),
         bool echo)
{
    int status = 0;
    for (int i = 0; i < ctl->n_operands; i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        if (one(ctl, ctl->operands[i], &err) < 0) {
            status = ctl_error(ctl, &err);
        } else if (echo) {
            printf("%s\n", ctl->operands[i]);
            (void) fflush(stdout);
        }
    }
    return status;
}

static int
check_signal(const struct ctl *ctl, const char **ret, struct ctr_error *err)
{
    *ret = ctl_value(ctl, "signal");
    if (*ret != NULL && ctr_signal_number(*ret) < 0) {
        return ctr_fail(err, -EINVAL,
                        "--signal: '%s' is no signal; try TERM, KILL, HUP or a "
                        "number",
                        *ret);
    }
    return 0;
}

static int
stop_like(struct ctl *ctl, const char *name, const char *verb, struct ctr_error *err)
{
    const char *signal, *timeout = ctl_value(ctl, "timeout");
    int64_t seconds;
    if (check_signal(ctl, &signal, err) < 0) {
        return err->code;
    }
    if (timeout != NULL && ctr_parse_int(timeout, -1, INT32_MAX, &seconds) < 0) {
        return ctr_fail(err, -EINVAL, "--timeout: '%s' must be a number of seconds", timeout);
    }
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/containers/%s/%s", name, verb);
    struct ctr_buf url = {0};
    ctr_buf_puts(&url, path != NULL ? path : "");
    if (timeout != NULL) {
        ctr_buf_printf(&url, "?t=%lld", (long long) seconds);
    }
    if (signal != NULL) {
        ctr_buf_printf(&url, "%csignal=%s", timeout != NULL ? '&' : '?', signal);
    }
    CTR_AUTO(free) char *whole = ctr_buf_take(&url);
    return ctl_call(ctl, "POST", path != NULL ? whole : NULL, NULL, NULL, err);
}

static int
stop_one(struct ctl *ctl, const char *name, struct ctr_error *err)
{
    return stop_like(ctl, name, "stop", err);
}
static int
restart_one(struct ctl *ctl, const char *name, struct ctr_error *err)
{
    return stop_like(ctl, name, "restart", err);
}
static int
stop_main(struct ctl *ctl)
{
    return ctl_each(ctl, stop_one, true);
}
static int
restart_main(struct ctl *ctl)
{
    return ctl_each(ctl, restart_one, true);
}

static const struct ctl_option stop_options[] = {
    {"signal", 's', "SIGNAL", "Signal to send (default: the image's, else TERM)", NULL,
     CTL_WORDS_SIGNAL},
    {"timeout", 't', "SECONDS", "How long to wait before KILL (default 10; -1: for ever)"},
    {NULL},
};
const struct ctl_command ctl_stop = {
    .operands = "CONTAINER [CONTAINER...]",
    .summary = "Stop running containers",
    .text = "Sends the stop signal, waits, sends KILL, and at last ends the virtual machine: "
            "stop always ends.",
    .examples = "ctrctl stop web\nctrctl stop -t 1 -s INT web db",
    .options = stop_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_RUNNING,
    .run = stop_main,
};
const struct ctl_command ctl_restart = {
    .operands = "CONTAINER [CONTAINER...]",
    .summary = "Stop containers and start them again",
    .examples = "ctrctl restart web",
    .options = stop_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_CONTAINER,
    .run = restart_main,
};

static int
kill_one(struct ctl *ctl, const char *name, struct ctr_error *err)
{
    const char *signal;
    if (check_signal(ctl, &signal, err) < 0) {
        return err->code;
    }
    CTR_AUTO(free)
    char *path = ctl_url(CTL_API "/containers/%s/kill?signal=%s", name,
                         signal != NULL ? signal : "KILL");
    return ctl_call(ctl, "POST", path, NULL, NULL, err);
}
static int
kill_main(struct ctl *ctl)
{
    return ctl_each(ctl, kill_one, true);
}

static const struct ctl_option kill_options[] = {
    {"signal", 's', "SIGNAL", "Signal to send (default KILL)", NULL, CTL_WORDS_SIGNAL},
    {NULL},
};
const struct ctl_command ctl_kill = {
    .operands = "CONTAINER [CONTAINER...]",
    .summary = "Send a signal to running containers",
    .examples = "ctrctl kill web\nctrctl kill -s HUP web",
    .options = kill_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_RUNNING,
    .run = kill_main,
};

static int
rm_one(struct ctl *ctl, const char *name, struct ctr_error *err)
{
    bool force = ctl_flag(ctl, "force");
    CTR_AUTO(free)
    char *path =
        ctl_url(CTL_API "/containers/%s?force=%d&v=%d", name, force, ctl_flag(ctl, "volumes"));
    int rc = ctl_call(ctl, "DELETE", path, NULL, NULL, err);
    return rc == -ENOENT && force ? 0 : rc;
}
static int
rm_main(struct ctl *ctl)
{
    return ctl_each(ctl, rm_one, true);
}

static const struct ctl_option rm_options[] = {
    {"force", 'f', NULL, "Kill it first if it runs; one that is not there is no error"},
    {"volumes", 'v', NULL,
     "Accepted for docker's sake: a container's disk always goes with it"},
    {NULL},
};
const struct ctl_command ctl_rm = {
    .operands = "CONTAINER [CONTAINER...]",
    .summary = "Remove containers",
    .examples = "ctrctl rm web\nctrctl rm -f $(ctrctl ps -aq)",
    .options = rm_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_CONTAINER,
    .run = rm_main,
};

static int
wait_one(struct ctl *ctl, const char *name, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/containers/%s/wait", name);
    CTR_AUTO(json) json_t *answer = NULL;
    int rc = ctl_call(ctl, "POST", path, NULL, &answer, err);
    if (rc == 0) {
        printf("%lld\n", (long long) ctr_json_int(answer, "StatusCode", 125));
        (void) fflush(stdout);
    }
    return rc;
}
static int
wait_main(struct ctl *ctl)
{
    return ctl_each(ctl, wait_one, false);
}
const struct ctl_command ctl_wait = {
    .operands = "CONTAINER [CONTAINER...]",
    .summary = "Wait until containers end and print their exit codes",
    .examples = "ctrctl wait job",
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_RUNNING,
    .run = wait_main,
};

static int
rename_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free)
    char *path =
        ctl_url(CTL_API "/containers/%s/rename?name=%s", ctl->operands[0], ctl->operands[1]);
    return ctl_call(ctl, "POST", path, NULL, NULL, &err) < 0 ? ctl_error(ctl, &err) : 0;
}
const struct ctl_command ctl_rename = {
    .operands = "CONTAINER NEW_NAME",
    .summary = "Give a container another name",
    .examples = "ctrctl rename eager_turing web",
    .min_operands = 2,
    .max_operands = 2,
    .words = CTL_WORDS_CONTAINER,
    .run = rename_main,
};
