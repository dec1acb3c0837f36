/*
 * bars.h: the state of many layers on a terminal, drawn in place: a line for each and one for all, with bytes, speed and time left.
 *
 * There are never more lines than the terminal has rows, so that moving up always finds them again: layers that are under way come first, and the
 * last line tells how many are not shown. When all is over every layer gets its line.
 */
#ifndef CTR_CMD_BARS_H
#define CTR_CMD_BARS_H

#include "core/cmd/cmd.h"

struct ctl_bars;
struct ctl_bars *ctl_bars_create(FILE *out); /* NULL: out of memory */
void ctl_bars_destroy(struct ctl_bars *bars);
/* A step of the layer `id`. total 0: unknown. */
void ctl_bars_step(struct ctl_bars *bars, const char *id, const char *status, int64_t current,
                   int64_t total);
/* A line of its own: above the bars, or below them if they are all done. */
void ctl_bars_line(struct ctl_bars *bars, const char *text);
void ctl_bars_resize(struct ctl_bars *bars); /* the terminal has another size now */
void ctl_bars_tick(struct ctl_bars *bars);   /* time has passed: speeds are drawn anew */
void ctl_bars_end(struct ctl_bars *bars); /* draws the last state; the next step begins anew */

/* Whether a status is the last one of its layer: "Pull complete", "Already exists", "Pushed" … */
bool ctl_bars_is_done(const char *status);

#endif
