/*
 * progress.c: what a pull or load tells, on standard error: a bar for each layer on a terminal, a line for each change of status elsewhere.
 *
 * The number of bars is bounded by the terminal's height, so that moving up always finds them again.
 */
#include "core/cmd/session.h"
#include "core/cmd/show.h"

enum { CTL_BARS = 40, CTL_BAR_WIDTH = 30, CTL_REDRAW_NS = 80 * 1000 * 1000 };

struct ctl_bar {
    char id[32];
    char status[48];
    int64_t current, total;
};

struct ctl_bars {
    struct ctl_bar bars[CTL_BARS];
    size_t n, max;
    size_t drawn; /* lines on the screen above the cursor */
    int width;
    bool terminal;
    int64_t last;
};

static void
draw_bar(const struct ctl_bars *all, const struct ctl_bar *bar)
{
    char text[256], now[16], total[16], filled[CTL_BAR_WIDTH + 1];
    if (bar->total > 0 && bar->current < bar->total) {
        size_t n = (size_t) ((double) bar->current / (double) bar->total * CTL_BAR_WIDTH);
        for (size_t i = 0; i < CTL_BAR_WIDTH; i++) {
            filled[i] = (char) (i < n ? '=' : i == n ? '>' : ' ');
        }
        filled[CTL_BAR_WIDTH] = '\0';
        (void) snprintf(text, sizeof text, "%s: %s [%s] %s/%s", bar->id, bar->status, filled,
                        ctr_format_size((uint64_t) bar->current, now),
                        ctr_format_size((uint64_t) bar->total, total));
    } else if (bar->current > 0 && bar->total == 0) {
        (void) snprintf(text, sizeof text, "%s: %s %s", bar->id, bar->status,
                        ctr_format_size((uint64_t) bar->current, now));
    } else {
        (void) snprintf(text, sizeof text, "%s: %s", bar->id, bar->status);
    }
    fprintf(stderr, "\r\033[K%.*s\n", all->width - 1, text);
}

static void
draw(struct ctl_bars *all, bool force)
{
    int64_t now = ctr_monotonic_ns();
    if (!force && now - all->last < CTL_REDRAW_NS) {
        return;
    }
    all->last = now;
    if (all->drawn > 0) {
        fprintf(stderr, "\033[%zuA", all->drawn);
    }
    for (size_t i = 0; i < all->n; i++) {
        draw_bar(all, &all->bars[i]);
    }
    all->drawn = all->n;
    (void) fflush(stderr);
}

static struct ctl_bar *
find_bar(struct ctl_bars *all, const char *id)
{
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->bars[i].id, id) == 0) {
            return &all->bars[i];
        }
    }
    if (all->n == all->max) {
        return NULL;
    }
    struct ctl_bar *bar = &all->bars[all->n++];
    (void) snprintf(bar->id, sizeof bar->id, "%s", id);
    return bar;
}

/* A line of its own: below the bars, which begin anew behind it. */
static void
tell_line(struct ctl_bars *all, const char *text)
{
    if (all->terminal && all->n > 0) {
        draw(all, true);
    }
    CTR_AUTO(free) char *copy = strdup(text);
    if (copy != NULL) {
        copy[strcspn(copy, "\r\n")] = '\0';
    }
    CTR_AUTO(free) char *safe = copy != NULL ? ctr_printable(copy) : NULL;
    if (safe != NULL && safe[0] != '\0') {
        fprintf(stderr, "%s\n", safe);
    }
    all->n = 0;
    all->drawn = 0;
}

static void
tell_step(struct ctl_bars *all, const char *raw_id, const json_t *message)
{
    CTR_AUTO(free) char *id = ctr_printable(raw_id);
    CTR_AUTO(free) char *status = ctr_printable(ctr_json_str(message, "status", ""));
    if (id == NULL || status == NULL) {
        return;
    }
    const json_t *detail = json_object_get(message, "progressDetail");
    struct ctl_bar *bar = find_bar(all, id);
    bool changed = bar == NULL || strcmp(bar->status, status) != 0;
    if (bar != NULL) {
        (void) snprintf(bar->status, sizeof bar->status, "%s", status);
        int64_t current = ctr_json_int(detail, "current", 0);
        int64_t total = ctr_json_int(detail, "total", 0);
        bar->current = current > 0 ? current : 0;
        bar->total = total > 0 ? total : 0;
    }
    if (all->terminal) {
        draw(all, changed);
    } else if (changed && bar != NULL) {
        fprintf(stderr, "%s: %s\n", id, status);
    }
}

static void
tell(struct ctl_bars *all, const json_t *message)
{
    const char *stream = ctr_json_str(message, "stream", NULL);
    const char *id = ctr_json_str(message, "id", "");
    const char *status = ctr_json_str(message, "status", NULL);
    if (stream != NULL) {
        tell_line(all, stream);
    } else if (status != NULL && id[0] != '\0') {
        /* docker's "latest: Pulling from library/busybox" is a headline, not a step */
        if (ctr_starts_with(status, "Pulling from")) {
            CTR_AUTO(free) char *line = ctr_printf("%s: %s", id, status);
            tell_line(all, line != NULL ? line : status);
        } else {
            tell_step(all, id, message);
        }
    } else if (status != NULL) {
        tell_line(all, status);
    }
}

int
ctl_progress(struct ctl_http *http, bool quiet, void (*each)(void *arg, const json_t *message),
             void *arg, struct ctr_error *err)
{
    struct ctl_bars *all = calloc(1, sizeof *all);
    if (all == NULL) {
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    int rows = 24, cols = 80;
    (void) ctl_tty_size(&rows, &cols);
    all->terminal = isatty(2);
    all->width = cols > 20 && cols < 256 ? cols : 80;
    all->max =
        all->terminal && rows - 2 < CTL_BARS ? (rows > 4 ? (size_t) rows - 2 : 2) : CTL_BARS;
    struct ctr_buf line = {0};
    json_t *message = NULL;
    int rc;
    while ((rc = ctl_http_line(http, &line, &message, err)) == 1) {
        const char *failed = ctr_json_str(message, "error", NULL);
        if (failed != NULL) {
            rc = ctr_fail(err, -EIO, "%s", failed);
            json_decref(message);
            break;
        }
        if (each != NULL) {
            each(arg, message);
        }
        if (!quiet) {
            tell(all, message);
        }
        json_decref(message);
    }
    if (all->terminal && !quiet && all->n > 0) {
        draw(all, true);
    }
    ctr_buf_clear(&line);
    free(all);
    return rc;
}
