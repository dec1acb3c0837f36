/*
 * bars.c: see bars.h. Speeds are smoothed over samples of half a second; the sum counts the bytes of layers that are or were carried over the
 * network, each once.
 */
#include "core/cmd/bars.h"
#include "core/cmd/session.h"

enum {
    CTL_BARS_MAX = 1024,
    CTL_BAR_WIDTH = 24,
    CTL_REDRAW_NS = 80 * 1000 * 1000,
    CTL_SAMPLE_NS = 500 * 1000 * 1000
};

struct rate {
    int64_t at, bytes; /* of the last sample */
    double per_second;
    bool known;
};

struct bar {
    char id[32];
    char status[64];
    int64_t current, total;
    int64_t moved, size; /* over the network */
    struct rate rate;
};

struct ctl_bars {
    FILE *out;
    struct bar *bars;
    size_t n;
    size_t drawn; /* lines on the screen above the cursor */
    int widths[CTL_BARS_MAX +
               2]; /* theirs, for a terminal that wraps them when it gets narrower */
    int rows, cols;
    int64_t began, last;
    struct rate rate; /* of all */
};

/* --- words --- */

bool
ctl_bars_is_done(const char *status)
{
    static const char *const heads[] = {
        "Pull complete", "Already exists", "Pushed", "Layer already exists",
        "Mounted",       "Skipped",        "Failed"};
    for (size_t i = 0; i < CTR_LENGTH(heads); i++) {
        if (ctr_starts_with(status, heads[i])) {
            return true;
        }
    }
    return false;
}

static bool
is_transfer(const char *status)
{
    return strcmp(status, "Downloading") == 0 || strcmp(status, "Pushing") == 0;
}

/* "7s", "3m05s", "2h10m" */
static const char *
short_time(int64_t seconds, char ret[16])
{
    if (seconds < 60) {
        (void) snprintf(ret, 16, "%ds", (int) seconds);
    } else if (seconds < 3600) {
        (void) snprintf(ret, 16, "%dm%02ds", (int) (seconds / 60), (int) (seconds % 60));
    } else {
        int64_t hours = seconds / 3600 < 999 ? seconds / 3600 : 999;
        (void) snprintf(ret, 16, "%dh%02dm", (int) hours, (int) (seconds / 60 % 60));
    }
    return ret;
}

/* --- speed --- */

static void
sample(struct rate *rate, int64_t bytes, int64_t now)
{
    if (rate->at == 0 || bytes < rate->bytes) {
        *rate = (struct rate){.at = now, .bytes = bytes};
        return;
    }
    int64_t passed = now - rate->at;
    if (passed < CTL_SAMPLE_NS) {
        return;
    }
    double fresh = (double) (bytes - rate->bytes) * 1e9 / (double) passed;
    rate->per_second = rate->known ? rate->per_second * 0.6 + fresh * 0.4 : fresh;
    rate->known = true;
    rate->at = now;
    rate->bytes = bytes;
}

/* "  8.1MB/s  5s left", or nothing while it is not known. */
static void
add_speed(struct ctr_buf *text, const struct rate *rate, int64_t left)
{
    char speed[16], time[16];
    if (!rate->known) {
        return;
    }
    ctr_buf_printf(text, "  %s/s", ctr_format_size((uint64_t) rate->per_second, speed));
    if (left > 0 && rate->per_second >= 1) {
        double seconds = (double) left / rate->per_second;
        ctr_buf_printf(text, "  %s left",
                       short_time(seconds < 3.6e6 ? (int64_t) seconds + 1 : 3600000, time));
    }
}

/* --- lines --- */

static void
put_line(struct ctl_bars *all, const char *text)
{
    int width = all->cols - 1;
    size_t length = strlen(text);
    width = length < (size_t) width ? (int) length : width;
    fprintf(all->out, "\r\033[K%.*s\n", width, text);
    all->widths[all->drawn++] = width;
}

static void
draw_bar(struct ctl_bars *all, struct bar *bar)
{
    char now[16], total[16];
    struct ctr_buf text = {0};
    ctr_buf_printf(&text, "%s: %s", bar->id, bar->status);
    if (bar->total > 0 && bar->current < bar->total) {
        if (all->cols >= 72) {
            char filled[CTL_BAR_WIDTH + 1];
            size_t n = (size_t) ((double) bar->current / (double) bar->total * CTL_BAR_WIDTH);
            for (size_t i = 0; i < CTL_BAR_WIDTH; i++) {
                filled[i] = (char) (i < n ? '=' : i == n ? '>' : ' ');
            }
            filled[CTL_BAR_WIDTH] = '\0';
            ctr_buf_printf(&text, " [%s]", filled);
        }
        ctr_buf_printf(&text, " %s/%s", ctr_format_size((uint64_t) bar->current, now),
                       ctr_format_size((uint64_t) bar->total, total));
        add_speed(&text, &bar->rate, bar->total - bar->current);
    } else if (bar->current > 0 && bar->total == 0) {
        ctr_buf_printf(&text, " %s", ctr_format_size((uint64_t) bar->current, now));
    }
    put_line(all, text.failed ? bar->id : text.data);
    ctr_buf_clear(&text);
}

/* "Total: 120MB/500MB  45MB/s  8s left, 3 of 6 done, 2 not shown" */
static void
draw_sum(struct ctl_bars *all, size_t hidden, bool end)
{
    int64_t moved = 0, size = 0, now = ctr_monotonic_ns();
    size_t done = 0;
    for (size_t i = 0; i < all->n; i++) {
        moved += all->bars[i].moved;
        size += all->bars[i].size;
        done += ctl_bars_is_done(all->bars[i].status);
    }
    if (size == 0) {
        return;
    }
    char a[16], b[16], time[16];
    struct ctr_buf text = {0};
    ctr_buf_printf(&text, "Total: %s/%s", ctr_format_size((uint64_t) moved, a),
                   ctr_format_size((uint64_t) size, b));
    if (end && moved == size) {
        ctr_buf_printf(&text, " in %s",
                       short_time((now - all->began + 999999999) / 1000000000, time));
    } else {
        sample(&all->rate, moved, now);
        add_speed(&text, &all->rate, size - moved);
        ctr_buf_printf(&text, ", %zu of %zu done", done, all->n);
    }
    if (hidden > 0) {
        ctr_buf_printf(&text, ", %zu not shown", hidden);
    }
    put_line(all, text.failed ? "Total" : text.data);
    ctr_buf_clear(&text);
}

/* --- the screen --- */

static void
wipe(struct ctl_bars *all)
{
    size_t rows = 0;
    for (size_t i = 0; i < all->drawn; i++) { /* more than one where it was cut narrower */
        rows += 1 + (size_t) (all->widths[i] > 0 ? (all->widths[i] - 1) / all->cols : 0);
    }
    if (rows > 0) {
        fprintf(all->out, "\033[%zuA\r\033[J", rows);
    }
    all->drawn = 0;
}

static void
move_up(struct ctl_bars *all)
{
    if (all->drawn > 0) {
        fprintf(all->out, "\033[%zuA", all->drawn);
    }
    all->drawn = 0;
}

/* Who is shown first where there is not room for all: 2 what moves, 1 what waits, 0 what is done. */
static size_t
rank_of(const struct bar *bar)
{
    return bar->current < bar->total ? 2 : !ctl_bars_is_done(bar->status);
}

/* Draws what fits; with `end` all of them. */
static void
draw(struct ctl_bars *all, bool end)
{
    size_t lines = all->rows > 4 ? (size_t) all->rows - 2 : 2, before = all->drawn, shown = 0;
    size_t room = end || all->n <= lines ? all->n : lines, ranked[3] = {0}, places[3];
    int64_t now = ctr_monotonic_ns();
    all->last = now;
    for (size_t i = 0; i < all->n; i++) {
        ranked[rank_of(&all->bars[i])]++;
        sample(&all->bars[i].rate, all->bars[i].current, now);
    }
    for (size_t rank = 3; rank-- > 0;) {
        places[rank] = ranked[rank] < room ? ranked[rank] : room;
        room -= places[rank];
    }
    move_up(all);
    for (size_t i = 0; i < all->n; i++) {
        size_t rank = rank_of(&all->bars[i]);
        if (places[rank] > 0) {
            places[rank]--;
            shown++;
            draw_bar(all, &all->bars[i]);
        }
    }
    draw_sum(all, all->n - shown, end);
    if (all->drawn < before) {
        fprintf(all->out, "\033[J");
    }
    (void) fflush(all->out);
}

struct ctl_bars *
ctl_bars_create(FILE *out)
{
    struct ctl_bars *all = calloc(1, sizeof *all);
    if (all != NULL) {
        all->out = out;
        ctl_bars_resize(all);
    }
    return all;
}

void
ctl_bars_destroy(struct ctl_bars *bars)
{
    if (bars != NULL) {
        free(bars->bars);
        free(bars);
    }
}

void
ctl_bars_resize(struct ctl_bars *bars)
{
    int rows = 24, cols = 80;
    (void) ctl_tty_size(&rows, &cols);
    bars->rows = rows;
    bars->cols = cols > 1 ? cols : 2;
    if (bars->drawn > 0) {
        wipe(bars);
        draw(bars, false);
    }
}

static struct bar *
find_bar(struct ctl_bars *all, const char *id)
{
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->bars[i].id, id) == 0) {
            return &all->bars[i];
        }
    }
    struct bar *grown =
        all->n < CTL_BARS_MAX ? realloc(all->bars, (all->n + 1) * sizeof *all->bars) : NULL;
    if (grown == NULL) {
        return NULL;
    }
    all->bars = grown;
    struct bar *bar = &grown[all->n++];
    *bar = (struct bar){.total = 0};
    (void) snprintf(bar->id, sizeof bar->id, "%s", id);
    return bar;
}

void
ctl_bars_step(struct ctl_bars *bars, const char *id, const char *status, int64_t current,
              int64_t total)
{
    struct bar *bar = find_bar(bars, id);
    if (bar == NULL) {
        return;
    }
    bars->began = bars->began == 0 ? ctr_monotonic_ns() : bars->began;
    if (strcmp(status, "Extracting") == 0 && bar->moved < bar->size) {
        return; /* at once with the download, which says more */
    }
    bool changed = strcmp(bar->status, status) != 0;
    if (changed) {
        bar->rate = (struct rate){.at = 0};
        bar->moved = bar->size; /* it has come over, whatever follows */
        (void) snprintf(bar->status, sizeof bar->status, "%s", status);
    }
    bar->current = current > 0 ? current : 0;
    bar->total = total > 0 ? total : 0;
    if (is_transfer(status) && bar->total > 0) {
        bar->moved = bar->current < bar->total ? bar->current : bar->total;
        bar->size = bar->total;
    }
    if (changed || ctr_monotonic_ns() - bars->last >= CTL_REDRAW_NS) {
        draw(bars, false);
    }
}

void
ctl_bars_line(struct ctl_bars *bars, const char *text)
{
    bool done = true;
    for (size_t i = 0; i < bars->n; i++) {
        const char *status = bars->bars[i].status;
        done &= ctl_bars_is_done(status) || strcmp(status, "Download complete") == 0;
    }
    if (done) {
        ctl_bars_end(bars);
    }
    wipe(bars);
    fprintf(bars->out, "%s\n", text);
    if (bars->n > 0) {
        draw(bars, false);
    }
}

void
ctl_bars_tick(struct ctl_bars *bars)
{
    if (bars->n > 0) {
        draw(bars, false);
    }
}

void
ctl_bars_end(struct ctl_bars *bars)
{
    if (bars->n > 0) {
        draw(bars, true);
    }
    bars->n = 0;
    bars->drawn = 0;
    bars->began = 0;
    bars->rate = (struct rate){.at = 0};
}
