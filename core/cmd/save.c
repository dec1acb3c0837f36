/*
 * save.c: images out of the store, as an archive on standard output or in a file, or as a folder.
 */
#include "core/cmd/session.h"
#include "core/cmd/show.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

/* Where the archive goes. A regular file is written under another name first, so that a half one never stands under its own. */
struct target {
    int fd;
    char *temporary; /* NULL: written in place (standard output, a device, a pipe) */
    const char *path;
};

static int
target_open(struct target *target, const char *path, struct ctr_error *err)
{
    struct stat st;
    *target = (struct target){.fd = 1, .path = path};
    if (path == NULL) {
        return isatty(1) ? ctr_fail(err, -EINVAL,
                                    "save: standard output is a terminal; name a file with -o "
                                    "FILE, or pipe it on")
                         : 0;
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        target->fd = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        target->temporary = ctr_printf("%s.XXXXXX", path);
        target->fd = target->temporary != NULL ? mkostemp(target->temporary, O_CLOEXEC) : -1;
    }
    if (target->fd < 0) {
        return ctr_fail(err, -errno, "save: %s: %s", path, strerror(errno));
    }
    if (target->temporary != NULL) { /* mkostemp's are for us alone */
        mode_t mask = umask(077);
        (void) umask(mask);
        (void) fchmod(target->fd, 0666 & ~mask);
    }
    return 0;
}

/* Puts a whole archive under its name, or takes a half one away. */
static int
target_close(struct target *target, int rc, struct ctr_error *err)
{
    if (target->fd > 1) {
        if (rc == 0 && target->temporary != NULL && fsync(target->fd) < 0) {
            rc = ctr_fail(err, -errno, "save: %s: %s", target->path, strerror(errno));
        }
        if (close(target->fd) < 0 && rc == 0) {
            rc = ctr_fail(err, -errno, "save: %s: %s", target->path, strerror(errno));
        }
    }
    if (rc == 0 && target->temporary != NULL) {
        CTR_AUTO(free) char *folder = ctr_parent_dir(target->path);
        rc = rename(target->temporary, target->path) < 0
                 ? ctr_fail(err, -errno, "save: %s: %s", target->path, strerror(errno))
                 : ctr_sync_dir(folder != NULL ? folder : ".", err);
    }
    if (rc < 0 && target->fd > 1 && target->temporary != NULL) {
        (void) unlink(target->temporary);
    }
    free(target->temporary);
    return rc;
}

/* A signal that came: -ECANCELED for one that ends us, *ret_number; 0 for others. */
static int
take_signals(int signals, int *ret_number, struct ctr_error *err)
{
    uint8_t number;
    while (read(signals, &number, 1) == 1) {
        if (number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT) {
            *ret_number = number;
            return ctr_fail(err, -ECANCELED, "save: interrupted; nothing was saved");
        }
    }
    return 0;
}

static int
copy_body(struct ctl_http *http, int fd, int *ret_signal, struct ctr_error *err)
{
    CTR_AUTO(free) char *bytes = malloc(CTL_PIECE);
    int rc =
        bytes != NULL ? ctl_http_head(http, -1, err) : ctr_fail(err, -ENOMEM, "out of memory");
    while (rc == 0 || rc == -EINTR) {
        if (rc == -EINTR) {
            rc = take_signals(http->wake, ret_signal, err);
            if (rc < 0) {
                break;
            }
            *err = (struct ctr_error) CTR_ERROR_INIT;
            rc = http->status == 0 ? ctl_http_head(http, -1, err) : 0;
            continue;
        }
        ssize_t n = ctl_http_read(http, bytes, CTL_PIECE, -1, err);
        if (n == 0) {
            break;
        }
        rc = n < 0 ? (int) n : ctr_write_all(fd, bytes, (size_t) n);
        if (n > 0 && rc < 0) {
            *ret_signal = rc == -EPIPE ? SIGPIPE : 0; /* nobody reads: that ends us quietly */
            rc = ctr_fail(err, rc, "save: the archive cannot be written: %s", strerror(-rc));
        }
    }
    return rc;
}

/* "format=…&platform=…&names=…&names=…"; caller frees. */
static char *
save_url(const struct ctl *ctl, const char *format, const char *folder)
{
    CTR_AUTO(buf) struct ctr_buf url = {0};
    const char *platform = ctl_value(ctl, "platform");
    CTR_AUTO(free)
    char *head = ctl_url("/ctr/v1/images/save?format=%s&platform=%s&path=%s", format,
                         platform != NULL ? platform : "", folder != NULL ? folder : "");
    ctr_buf_puts(&url, head != NULL ? head : "");
    for (int i = 0; i < ctl->n_operands; i++) {
        CTR_AUTO(free) char *name = ctl_url("&names=%s", ctl->operands[i]);
        ctr_buf_puts(&url, name != NULL ? name : "");
    }
    return head != NULL ? ctr_buf_take(&url) : NULL;
}

static int
save_archive(struct ctl *ctl, const char *format, const char *path, struct ctr_error *err)
{
    struct target target;
    CTR_AUTO(free) char *url = save_url(ctl, format, NULL);
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    int signal = 0;
    int rc = target_open(&target, path, err);
    rc = rc == 0 ? ctl_http_send(ctl, &http, "GET", url, CTL_SEND_JSON, NULL, err) : rc;
    if (rc == 0) {
        http.wake = ctl_signals_catch(err);
        rc = http.wake < 0 ? http.wake : copy_body(&http, target.fd, &signal, err);
        ctl_signals_release();
    }
    rc = target_close(&target, rc, err);
    if (signal != 0 && signal != SIGINT) {
        ctl_signals_die(signal);
    }
    return rc;
}

static int
save_folder(struct ctl *ctl, const char *path, struct ctr_error *err)
{
    if (path == NULL) {
        return ctr_fail(err, -EINVAL, "save: --format oci-dir needs a folder: -o FOLDER");
    }
    CTR_AUTO(free) char *absolute = ctr_expand_path(path, NULL);
    CTR_AUTO(free) char *url = absolute != NULL ? save_url(ctl, "oci-dir", absolute) : NULL;
    CTR_AUTO(http) struct ctl_http http = CTL_HTTP_INIT;
    struct ctl_progress progress = {CTL_PROGRESS_QUIET, .interrupted = "save: interrupted"};
    int rc = ctl_http_send(ctl, &http, "GET", url, CTL_SEND_JSON, NULL, err);
    return rc == 0 ? ctl_progress(&http, &progress, err) : rc;
}

static int
save_main(struct ctl *ctl)
{
    struct ctr_error err = CTR_ERROR_INIT;
    const char *format = ctl_value(ctl, "format"), *path = ctl_value(ctl, "output");
    bool folder = format != NULL && strcmp(format, "oci-dir") == 0;
    int rc = folder ? save_folder(ctl, path, &err)
                    : save_archive(ctl, format != NULL ? format : "docker-archive", path, &err);
    return rc < 0 ? ctl_error(ctl, &err) : 0;
}

static const struct ctl_option save_options[] = {
    {"format", 0, "FORMAT", "docker-archive (default), oci-archive or oci-dir",
     "docker-archive|oci-archive|oci-dir"},
    {"output", 'o', "PATH",
     "File, or with oci-dir a folder: new, empty or a layout (default: standard output)", NULL,
     CTL_WORDS_FILE},
    {"platform", 0, "OS/ARCH", "Only this platform (default: all that are here)"},
    {NULL},
};
const struct ctl_command ctl_save = {
    .operands = "IMAGE [IMAGE...]",
    .summary = "Write images into an archive or an OCI layout",
    .text =
        "A docker-archive is also an OCI layout, so that 'docker load', 'skopeo' and 'ctrctl "
        "load' read it and\ndigests stay what they are.",
    .examples = "ctrctl save alpine busybox | zstd > images.tar.zst\n"
                "ctrctl save -o app.tar --format oci-archive app:1\n"
                "ctrctl save -o layout --format oci-dir app:1",
    .options = save_options,
    .min_operands = 1,
    .max_operands = -1,
    .words = CTL_WORDS_IMAGE,
    .run = save_main,
};
