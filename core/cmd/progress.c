/*
 * progress.c: follows what a pull, push, load or import tells: bars on a terminal, a line for each change of status elsewhere, or the
 * daemon's own lines. An interrupt ends it at once: the daemon sees that nobody listens and stops within a second.
 */
#include "core/cmd/bars.h"
#include "core/cmd/session.h"
#include "core/cmd/show.h"
#include <signal.h>

enum { CTL_TICK_MS = 500 };

struct follower {
    struct ctl_bars *bars; /* a terminal; NULL: lines */
    json_t *
        told; /* lines: those that were told; two of a layer may alternate while its work overlaps */
    bool json;
};

int
ctl_progress_mode(const struct ctl *ctl, enum ctl_progress_mode *ret, struct ctr_error *err)
{
    const char *text = ctl_value(ctl, "progress");
    bool quiet = ctl_flag(ctl, "quiet");
    *ret = isatty(2) ? CTL_PROGRESS_TTY : CTL_PROGRESS_PLAIN;
    if (quiet && text != NULL && strcmp(text, "auto") != 0) {
        return ctr_fail(err, -EINVAL, "--quiet and --progress %s do not go together", text);
    }
    if (quiet) {
        *ret = CTL_PROGRESS_QUIET;
    } else if (text != NULL && strcmp(text, "tty") == 0) {
        *ret = CTL_PROGRESS_TTY;
    } else if (text != NULL && strcmp(text, "plain") == 0) {
        *ret = CTL_PROGRESS_PLAIN;
    } else if (text != NULL && strcmp(text, "json") == 0) {
        *ret = CTL_PROGRESS_JSON;
    }
    return 0;
}

/* --- what is told --- */

static void
tell_line(struct follower *follower, const char *text)
{
    CTR_AUTO(free) char *copy = strndup(text, strcspn(text, "\r\n"));
    CTR_AUTO(free) char *safe = copy != NULL ? ctr_printable(copy) : NULL;
    if (safe == NULL || safe[0] == '\0') {
        return;
    }
    if (follower->bars != NULL) {
        ctl_bars_line(follower->bars, safe);
    } else {
        fprintf(stderr, "%s\n", safe);
    }
}

static void
tell_step(struct follower *follower, const char *raw_id, const json_t *message)
{
    CTR_AUTO(free) char *id = ctr_printable(raw_id);
    CTR_AUTO(free) char *status = ctr_printable(ctr_json_str(message, "status", ""));
    if (id == NULL || status == NULL) {
        return;
    }
    const json_t *detail = json_object_get(message, "progressDetail");
    if (follower->bars != NULL) {
        ctl_bars_step(follower->bars, id, status, ctr_json_int(detail, "current", 0),
                      ctr_json_int(detail, "total", 0));
        return;
    }
    CTR_AUTO(free) char *line = ctr_printf("%s: %s", id, status);
    if (line != NULL && json_object_get(follower->told, line) == NULL) {
        (void) json_object_set_new(follower->told, line, json_true());
        fprintf(stderr, "%s\n", line);
    }
}

static void
tell(struct follower *follower, const json_t *message)
{
    const char *stream = ctr_json_str(message, "stream", NULL);
    const char *id = ctr_json_str(message, "id", "");
    const char *status = ctr_json_str(message, "status", NULL);
    if (follower->json) {
        struct ctr_error err = CTR_ERROR_INIT;
        (void) ctl_print_json(stdout, message, 0, &err);
        (void) fputc('\n', stdout);
        (void) fflush(stdout);
    } else if (stream != NULL) {
        tell_line(follower, stream);
    } else if (status != NULL && id[0] != '\0') {
        /* docker's "latest: Pulling from library/busybox" is a headline, not a step */
        if (ctr_starts_with(status, "Pulling from")) {
            CTR_AUTO(free) char *line = ctr_printf("%s: %s", id, status);
            tell_line(follower, line != NULL ? line : status);
        } else {
            tell_step(follower, id, message);
        }
    } else if (status != NULL) {
        tell_line(follower, status);
    }
}

/* --- following --- */

/* Signals that came: a new size is taken over, an interrupt ends it with -ECANCELED, the others end us. */
static int
take_signals(struct follower *follower, int signals, const char *interrupted,
             struct ctr_error *err)
{
    uint8_t number;
    while (read(signals, &number, 1) == 1) {
        if (number == SIGWINCH && follower->bars != NULL) {
            ctl_bars_resize(follower->bars);
        } else if (number == SIGINT) {
            return ctr_fail(err, -ECANCELED, "%s", interrupted);
        } else if (number == SIGHUP || number == SIGTERM || number == SIGQUIT) {
            ctl_signals_die(number);
        }
    }
    return 0;
}

/* The next message; 1, 0 at the end, or a negative code. */
static int
next_message(struct follower *follower, struct ctl_http *http, struct ctr_buf *line,
             const char *interrupted, json_t **ret, struct ctr_error *err)
{
    for (;;) {
        int timeout = follower->bars != NULL ? CTL_TICK_MS : -1;
        int rc = ctl_http_line(http, line, timeout, ret, err);
        if (rc == -ETIMEDOUT && follower->bars != NULL) {
            ctl_bars_tick(follower->bars);
        } else if (rc == -EINTR && http->wake >= 0) {
            rc = take_signals(follower, http->wake, interrupted, err);
            if (rc < 0) {
                return rc;
            }
        } else {
            return rc;
        }
        *err = (struct ctr_error) CTR_ERROR_INIT;
    }
}

static int
follow(struct follower *follower, struct ctl_http *http, const struct ctl_progress *options,
       struct ctr_error *err)
{
    CTR_AUTO(buf) struct ctr_buf line = {0};
    json_t *message = NULL;
    int rc;
    while ((rc = next_message(follower, http, &line, options->interrupted, &message, err)) ==
           1) {
        const char *failed = ctr_json_str(message, "error", NULL);
        if (options->each != NULL) {
            options->each(options->arg, message);
        }
        if (options->mode != CTL_PROGRESS_QUIET && (failed == NULL || follower->json)) {
            tell(follower, message);
        }
        if (failed != NULL) {
            rc = ctr_fail(err, -EIO, "%s", failed);
        }
        json_decref(message);
        if (rc < 0) {
            break;
        }
    }
    return rc;
}

/* The reply's head, which comes with the first message. */
static int
await_head(struct follower *follower, struct ctl_http *http, const char *interrupted,
           struct ctr_error *err)
{
    int rc;
    while ((rc = ctl_http_head(http, -1, err)) == -EINTR && http->wake >= 0) {
        *err = (struct ctr_error) CTR_ERROR_INIT;
        rc = take_signals(follower, http->wake, interrupted, err);
        if (rc < 0) {
            break;
        }
    }
    return rc;
}

int
ctl_progress(struct ctl_http *http, const struct ctl_progress *options, struct ctr_error *err)
{
    struct follower follower = {.json = options->mode == CTL_PROGRESS_JSON,
                                .told = json_object()};
    int rc = follower.told == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
    if (rc == 0 && options->mode == CTL_PROGRESS_TTY) {
        follower.bars = ctl_bars_create(stderr);
        rc = follower.bars == NULL ? ctr_fail(err, -ENOMEM, "out of memory") : 0;
    }
    if (rc == 0 && options->interrupted != NULL) {
        http->wake = ctl_signals_catch(err);
        rc = http->wake < 0 ? http->wake : 0;
    }
    rc = rc == 0 ? await_head(&follower, http, options->interrupted, err) : rc;
    rc = rc == 0 ? follow(&follower, http, options, err) : rc;
    if (follower.bars != NULL) {
        ctl_bars_end(follower.bars);
    }
    if (http->wake >= 0) {
        ctl_signals_release();
        http->wake = -1;
    }
    ctl_bars_destroy(follower.bars);
    json_decref(follower.told);
    return rc;
}
