/*
 * run.c: run, create, start, attach and exec.
 *
 * In the foreground the order is create, attach, wait, start: no byte of output and no exit can be missed, however short the process lives. Whatever
 * fails on the way, a container that was to be removed is removed.
 */
#include "core/cmd/session.h"
#include "core/cmd/show.h"
#include <fcntl.h>
#include <signal.h>

#define DETACH_KEYS "ctrl-p,ctrl-q"

int
ctl_start_status(const char *message)
{
    static const struct {
        const char *part;
        int status;
    } parts[] = {
        {"executable file not found", 127}, {"no such file or directory", 127},
        {"permission denied", 126},         {"is a directory", 126},
        {"exec format error", 126},
    };
    for (size_t i = 0; i < CTR_LENGTH(parts); i++) {
        if (strstr(message, parts[i].part) != NULL) {
            return parts[i].status;
        }
    }
    return 125;
}

/* --- the ID file --- */

static int
cidfile_open(const struct ctl *ctl, int *ret_fd, struct ctr_error *err)
{
    const char *path = ctl_value(ctl, "cidfile");
    if (path == NULL) {
        return 0;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) {
        return ctr_fail(err, -EEXIST,
                        "--cidfile: %s exists already; remove it if its container is gone",
                        path);
    }
    if (fd < 0) {
        return ctr_fail(err, -errno, "--cidfile: %s: %s", path, strerror(errno));
    }
    *ret_fd = fd;
    return 0;
}

static int
cidfile_write(const struct ctl *ctl, int fd, const char *id, struct ctr_error *err)
{
    int rc = fd >= 0 ? ctr_write_all(fd, id, strlen(id)) : 0;
    return rc == 0 ? 0
                   : ctr_fail(err, rc, "--cidfile: %s: %s", ctl_value(ctl, "cidfile"),
                              strerror(-rc));
}

/* --- create --- */

static int
create_once(struct ctl *ctl, const char *image, char ret_id[80], struct ctr_error *err)
{
    CTR_AUTO(json) json_t *body = ctl_create_body(ctl, image, err);
    if (body == NULL) {
        return err->code;
    }
    const char *name = ctl_value(ctl, "name"), *platform = ctl_value(ctl, "platform");
    struct ctr_buf url = {0};
    CTR_AUTO(free) char *name_part = name != NULL ? ctl_url("&name=%s", name) : NULL;
    CTR_AUTO(free)
    char *platform_part = platform != NULL ? ctl_url("&platform=%s", platform) : NULL;
    ctr_buf_printf(&url, CTL_API "/containers/create?ctr=1%s%s",
                   name_part != NULL ? name_part : "",
                   platform_part != NULL ? platform_part : "");
    CTR_AUTO(free) char *path = ctr_buf_take(&url);
    CTR_AUTO(json) json_t *answer = NULL;
    int rc = ctl_call(ctl, "POST", path, body, &answer, err);
    if (rc < 0) {
        return rc;
    }
    const char *id = ctr_json_str(answer, "Id", "");
    if (id[0] == '\0' || strlen(id) >= 80) {
        return ctr_fail(err, -EPROTO,
                        "the daemon's answer has no container ID; is it of another "
                        "version? see 'ctrctl version'");
    }
    (void) snprintf(ret_id, 80, "%s", id);
    size_t i;
    json_t *warning;
    json_array_foreach(json_object_get(answer, "Warnings"), i, warning)
    {
        if (json_is_string(warning)) {
            ctl_complain("warning: %s", json_string_value(warning));
        }
    }
    return 0;
}

/* Loads or pulls the image if need be, and creates. */
static int
create(struct ctl *ctl, char ret_id[80], struct ctr_error *err)
{
    const char *image = ctl->operands[0], *policy = ctl_value(ctl, "pull");
    const char *platform = ctl_value(ctl, "platform");
    bool quiet = ctl_flag(ctl, "quiet");
    CTR_AUTO(free) char *loaded = NULL;
    CTR_AUTO(json) json_t *check = ctl_create_body(ctl, image, err);
    if (check == NULL) {
        return err->code;
    }
    if (ctl_image_is_path(image)) {
        int rc = ctl_image_load(ctl, image, true, &loaded, err);
        return rc == 0 ? create_once(ctl, loaded, ret_id, err) : rc;
    }
    if (policy != NULL && strcmp(policy, "always") == 0) {
        int rc = ctl_image_pull(ctl, image, platform, quiet, err);
        return rc == 0 ? create_once(ctl, image, ret_id, err) : rc;
    }
    int rc = create_once(ctl, image, ret_id, err);
    bool missing = rc == -ENOENT && strcasestr(err->msg, "image") != NULL;
    if (!missing || (policy != NULL && strcmp(policy, "never") == 0)) {
        return rc;
    }
    if (!quiet) {
        ctl_complain("%s is not here yet, pulling", image);
    }
    *err = (struct ctr_error) CTR_ERROR_INIT;
    rc = ctl_image_pull(ctl, image, platform, quiet, err);
    return rc == 0 ? create_once(ctl, image, ret_id, err) : rc;
}

/* create, with the ID file around it. */
static int
create_with_file(struct ctl *ctl, char ret_id[80], struct ctr_error *err)
{
    CTR_AUTO(fd) int file = -1;
    int rc = cidfile_open(ctl, &file, err);
    rc = rc == 0 ? create(ctl, ret_id, err) : rc;
    if (rc == 0) {
        return cidfile_write(ctl, file, ret_id, err);
    }
    if (file >= 0) {
        (void) unlink(ctl_value(ctl, "cidfile"));
    }
    return rc;
}

static int
create_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    char id[80];
    if (create_with_file(ctl, id, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    printf("%s\n", id);
    return 0;
}

/* --- run --- */

/* The container was to go away and the daemon has had no reason to take it. */
static void
discard(struct ctl *ctl, const char *id)
{
    struct ctr_error none = CTR_ERROR_INIT;
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/containers/%s?force=1", id);
    (void) ctl_call(ctl, "DELETE", path, NULL, NULL, &none);
}

static int
send_start(struct ctl_session *session, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/containers/%s/start", session->id);
    return ctl_http_send(session->ctl, &session->start, "POST", path, CTL_SEND_JSON, NULL, err);
}

static int
attach_container(struct ctl_session *session, bool in, struct ctr_error *err)
{
    CTR_AUTO(free)
    char *path = ctl_url(CTL_API "/containers/%s/attach?stream=1&stdout=1&stderr=1&stdin=%d",
                         session->id, in);
    session->use_stdin = in;
    return ctl_session_attach(session, path, NULL, err);
}

static int
set_keys(struct ctl_session *session, struct ctr_error *err)
{
    const char *keys = ctl_value(session->ctl, "detach-keys");
    return ctl_keys_parse(keys != NULL ? keys : DETACH_KEYS, &session->keys, err);
}

/* What is left to do when the foreground of `run` has ended early. */
static void
after_session(struct ctl_session *session, bool remove)
{
    bool early = session->end == CTL_END_SIGNAL && !session->started;
    bool unread = session->end == CTL_END_OUTPUT_CLOSED && remove;
    if (early || unread) {
        ctl_signals_release();
        discard(session->ctl, session->id);
    }
}

static int
run_foreground(struct ctl *ctl, const char *id)
{
    struct ctr_error err = CTR_ERROR_INIT;
    bool remove = ctl_flag(ctl, "rm");
    struct ctl_session *session = ctl_session_create(ctl, "containers", id, &err);
    if (session == NULL) {
        return ctl_error(ctl, &err);
    }
    session->tty = ctl_flag(ctl, "tty");
    session->proxy = ctl_value(ctl, "sig-proxy") == NULL || ctl_flag(ctl, "sig-proxy");
    int rc = set_keys(session, &err);
    rc = rc == 0 ? attach_container(session, ctl_flag(ctl, "interactive"), &err) : rc;
    rc = rc == 0 ? ctl_session_wait(session, remove ? "removed" : "next-exit", &err) : rc;
    rc = rc == 0 ? send_start(session, &err) : rc;
    rc = rc == 0 ? ctl_session_run(session, &err) : rc;
    int status;
    if (rc < 0) {
        ctl_tty_restore();
        ctl_complain("%s", err.msg);
        status = session->started ? 125 : ctl_start_status(err.msg);
        if (remove && !session->started) {
            discard(ctl, id);
        }
    } else {
        after_session(session, remove);
        status = session->end == CTL_END_SIGNAL && !session->started
                     ? 128 + session->status
                     : ctl_session_status(session, ctl_value(ctl, "name") != NULL
                                                       ? ctl_value(ctl, "name")
                                                       : id);
    }
    ctl_session_destroy(session);
    return status;
}

static int
run_detached(struct ctl *ctl, const char *id)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/containers/%s/start", id);
    if (ctl_call(ctl, "POST", path, NULL, NULL, &err) < 0) {
        ctl_complain("%s", err.msg);
        if (ctl_flag(ctl, "rm")) {
            discard(ctl, id);
        }
        return ctl_start_status(err.msg);
    }
    printf("%s\n", id);
    return 0;
}

/* -t wants a terminal to be made raw if standard input is passed on. */
static int
check_terminal(const struct ctl *ctl, struct ctr_error *err)
{
    if (ctl_flag(ctl, "tty") && ctl_flag(ctl, "interactive") && !ctl_flag(ctl, "detach") &&
        !isatty(0)) {
        return ctr_fail(err, -ENOTTY,
                        "the input device is not a TTY; leave out -t, or run it in "
                        "a terminal");
    }
    return 0;
}

static int
run_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    char id[80];
    if (check_terminal(ctl, &err) < 0 || create_with_file(ctl, id, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    return ctl_flag(ctl, "detach") ? run_detached(ctl, id) : run_foreground(ctl, id);
}

/* The options that run and create share; run has three more in front. */
#define CREATE_OPTIONS                                                                          \
    {"add-host", 0, "NAME:ADDRESS",                                                             \
     "Entry of /etc/hosts; ADDRESS host-gateway opens the host to it (repeatable)"},            \
        {"cidfile", 0, "FILE", "Write the container's ID to a new file", NULL, CTL_WORDS_FILE}, \
        {"cpus", 'c', "NUMBER", "CPUs of its machine, such as 2 (default: the profile's)"},     \
        {"dns", 0, "ADDRESS", "Server for names outside, instead of the host's (repeatable)"},  \
        {"dns-option", 0, "OPTION", "Option of resolv.conf, such as ndots:2 (repeatable)"},     \
        {"dns-search", 0, "DOMAIN", "Domain to look short names up in (repeatable)"},           \
        {"entrypoint", 0, "PROGRAM", "Instead of the image's entrypoint; '' for none"},         \
        {"env", 'e', "NAME=VALUE",                                                              \
         "Environment; NAME alone takes our own value (repeatable)"},                           \
        {"env-file",    0, "FILE", "Environment from lines NAME=VALUE (repeatable)", NULL,      \
         CTL_WORDS_FILE},                                                                       \
        {"hostname", 'h', "NAME", "Host name (default: the first 12 digits of its ID)"},        \
        {"interactive", 'i', NULL, "Pass standard input on"},                                   \
        {"ip", 0, "ADDRESS", "IPv4 address on its first network"},                              \
        {"ip6", 0, "ADDRESS", "IPv6 address on its first network"},                             \
        {"kernel", 0, "FILE", "Guest kernel instead of the profile's", NULL, CTL_WORDS_FILE},   \
        {"label", 'l', "NAME=VALUE", "Label (repeatable)"},                                     \
        {"mac-address", 0, "MAC", "MAC address on its first network"},                          \
        {"memory", 'm', "SIZE",                                                                 \
         "Memory of its machine, such as 512m (default: the profile's)"},                       \
        {"name", 0, "NAME", "Name (default: a made-up one)"},                                   \
        {"network",                                                                             \
         0,                                                                                     \
         "NETWORK[,KEY=VALUE]",                                                                 \
         "Network, or none for no network (repeatable); KEY: ip, ip6, mac, alias, mtu",         \
         NULL,                                                                                  \
         CTL_WORDS_NETWORK},                                                                    \
        {"network-alias", 0, "NAME", "Another name on its first network (repeatable)"},         \
        {"platform", 0, "OS/ARCH", "Platform of the image, such as linux/arm64"},               \
        {"publish", 'p', "[IP:][HOST:]CTR[/PROTO]",                                             \
         "Make a port, or a range such as 8000-8010, reachable from the host (repeatable); "    \
         "PROTO: tcp or udp"},                                                                  \
        {"publish-all", 'P', NULL, "Publish all ports that the image exposes"},                 \
        {"pull", 0, "WHEN", "Fetch the image: always, missing (default) or never",              \
         "always|missing|never"},                                                               \
        {"quiet", 'q', NULL, "No progress of the pull"},                                        \
        {"read-only", 0, NULL, "The root filesystem cannot be written"},                        \
        {"rm", 0, NULL, "Remove the container when it ends"},                                   \
        {"stop-signal", 0,                                                                      \
         "SIGNAL",      "What stop sends (default: the image's, else TERM)",                    \
         NULL,          CTL_WORDS_SIGNAL},                                                      \
        {"stop-timeout", 0, "SECONDS", "How long stop waits before KILL (default 10)"},         \
        {"storage", 0, "NAME", "Storage instance of the profile for its disk"},                 \
        {"tmpfs", 0, "PATH[:OPTIONS]",                                                          \
         "Memory filesystem, OPTIONS such as size=64m (repeatable)"},                           \
        {"tty", 't', NULL, "Give it a terminal"},                                               \
        {"user", 'u', "USER[:GROUP]", "User, by name or number"},                               \
        {"workdir", 'w', "PATH", "Working directory"},                                          \
    {                                                                                           \
        NULL                                                                                    \
    }

static const struct ctl_option run_options[] = {
    {"detach", 'd', NULL, "Run in the background and print the container's ID"},
    {"detach-keys", 0, "KEYS", "Keys that leave it running (default " DETACH_KEYS ")"},
    {"sig-proxy", 0, NULL, "Pass signals on to the process (default true)"},
    CREATE_OPTIONS,
};
static const struct ctl_option create_options[] = {CREATE_OPTIONS};

const struct ctl_command ctl_run = {
    .operands = "IMAGE [COMMAND] [ARG...]",
    .summary = "Run a program in a new container",
    .text = "IMAGE is a reference, or something to load first: oci:PATH[:TAG], ./FOLDER or "
            "./ARCHIVE.\n"
            "What follows IMAGE belongs to the container. The exit status is the program's: "
            "128+N if signal N\n"
            "ended it, 127 if it was not found, 126 if it could not be run, 125 if ctr failed.",
    .examples = "ctrctl run --rm alpine echo hello\n"
                "ctrctl run --rm -it alpine sh\n"
                "ctrctl run -d --name web -p 127.0.0.1:8080:80 nginx\n"
                "tar c src | ctrctl run -i --rm builder sh -c 'tar x && make'\n"
                "ctrctl run --rm oci:build/demo",
    .options = run_options,
    .min_operands = 1,
    .max_operands = -1,
    .stops_at_operand = true,
    .error_status = 125,
    .words = CTL_WORDS_IMAGE,
    .run = run_main,
};
const struct ctl_command ctl_create = {
    .operands = "IMAGE [COMMAND] [ARG...]",
    .summary = "Make a container without starting it",
    .examples = "ctrctl create --name job alpine sleep 60\nctrctl start -a job",
    .options = create_options,
    .min_operands = 1,
    .max_operands = -1,
    .stops_at_operand = true,
    .error_status = 125,
    .words = CTL_WORDS_IMAGE,
    .run = create_main,
};

/* --- start, attach --- */

/* What a foreground needs to know of a container that exists. */
static int
inspect(struct ctl *ctl, const char *name, char ret_id[80], bool *ret_tty, bool *ret_stdin,
        bool *ret_running, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctl_url(CTL_API "/containers/%s/json", name);
    CTR_AUTO(json) json_t *info = NULL;
    int rc = ctl_call(ctl, "GET", path, NULL, &info, err);
    if (rc < 0) {
        return rc;
    }
    const json_t *config = json_object_get(info, "Config");
    (void) snprintf(ret_id, 80, "%s", ctr_json_str(info, "Id", name));
    *ret_tty = ctr_json_bool(config, "Tty", false);
    *ret_stdin = ctr_json_bool(config, "OpenStdin", false);
    *ret_running = ctr_json_bool(json_object_get(info, "State"), "Running", false);
    return 0;
}

/* start -a and attach: follows a container that exists. */
static int
follow(struct ctl *ctl, const char *name, bool start, bool in)
{
    struct ctr_error err = CTR_ERROR_INIT;
    char id[80];
    bool tty = false, open_stdin = false, running = false;
    if (inspect(ctl, name, id, &tty, &open_stdin, &running, &err) < 0) {
        return ctl_error(ctl, &err);
    }
    if (running == start) {
        ctr_fail(&err, -EINVAL,
                 start ? "%s: runs already; see 'ctrctl attach --help'"
                       : "%s: does not run; see 'ctrctl start --help'",
                 name);
        return ctl_error(ctl, &err);
    }
    struct ctl_session *session = ctl_session_create(ctl, "containers", id, &err);
    if (session == NULL) {
        return ctl_error(ctl, &err);
    }
    session->tty = tty;
    session->proxy = ctl_value(ctl, "sig-proxy") == NULL || ctl_flag(ctl, "sig-proxy");
    int rc = set_keys(session, &err);
    rc = rc == 0 ? attach_container(session, in && open_stdin, &err) : rc;
    rc = rc == 0 ? ctl_session_wait(session, start ? "next-exit" : "not-running", &err) : rc;
    rc = rc == 0 && start ? send_start(session, &err) : rc;
    rc = rc == 0 ? ctl_session_run(session, &err) : rc;
    int status;
    if (rc < 0) {
        ctl_tty_restore();
        ctl_complain("%s", err.msg);
        status = start && !session->started ? ctl_start_status(err.msg) : 125;
    } else {
        status = ctl_session_status(session, name);
    }
    ctl_session_destroy(session);
    return status;
}

static int
start_main(struct ctl *ctl)
{
    bool in = ctl_flag(ctl, "interactive");
    if (ctl_flag(ctl, "attach") || in) {
        struct ctr_error err = CTR_ERROR_INIT;
        if (ctl->n_operands > 1) {
            ctr_fail(&err, -EINVAL, "start: -a and -i follow one container; name only one");
            return ctl_error(ctl, &err);
        }
        return follow(ctl, ctl->operands[0], true, in);
    }
    int status = 0;
    for (int i = 0; i < ctl->n_operands; i++) {
        struct ctr_error err = CTR_ERROR_INIT;
        CTR_AUTO(free) char *path = ctl_url(CTL_API "/containers/%s/start", ctl->operands[i]);
        if (ctl_call(ctl, "POST", path, NULL, NULL, &err) < 0) {
            status = ctl_error(ctl, &err);
        } else {
            printf("%s\n", ctl->operands[i]);
            (void) fflush(stdout);
        }
    }
    return status;
}

static const struct ctl_option start_options[] = {
    {"attach", 'a', NULL, "Show its output, pass signals on, end with its exit status"},
    {"detach-keys", 0, "KEYS", "Keys that leave it running (default " DETACH_KEYS ")"},
    {"interactive", 'i', NULL, "As -a, and pass standard input on"},
    {"sig-proxy", 0, NULL, "Pass signals on to the process (default true)"},
    {NULL},
};
const struct ctl_command ctl_start = {
    .operands = "CONTAINER [CONTAINER...]",
    .summary = "Start containers that were created or have ended",
    .examples = "ctrctl start web\nctrctl start -ai shell",
    .options = start_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_CONTAINER,
    .run = start_main,
};

static int
attach_main(struct ctl *ctl)
{
    return follow(ctl, ctl->operands[0], false, !ctl_flag(ctl, "no-stdin"));
}

static const struct ctl_option attach_options[] = {
    {"detach-keys", 0, "KEYS", "Keys that leave it running (default " DETACH_KEYS ")"},
    {"no-stdin", 0, NULL, "Do not pass standard input on"},
    {"sig-proxy", 0, NULL, "Pass signals on to the process (default true)"},
    {NULL},
};
const struct ctl_command ctl_attach = {
    .operands = "CONTAINER",
    .summary = "Connect to a running container's input and output",
    .examples = "ctrctl attach shell",
    .options = attach_options,
    .min_operands = 1,
    .max_operands = 1,
    .error_status = 125,
    .words = CTL_WORDS_RUNNING,
    .run = attach_main,
};
