/*
 * pump: one direction of a process's bytes between a descriptor and a stream, with back-pressure both ways.
 *
 * Reading stops while the stream has no room; what the host sends waits in the stream while the descriptor is full.
 */
#ifndef CTR_INIT_PUMP_H
#define CTR_INIT_PUMP_H

#include "loop.h"
#include "mux.h"

struct pump {
    struct watch watch; /* first member: the watch is the pump. fd -1: done */
    struct stream *stream;
    bool draining; /* the process is gone: no more bytes now means the end */
    void (*done)(struct pump *pump);
    void *owner;
};

/* Takes the non-blocking fd. `done` is told once, never inside the start. */
int pump_start_out(struct pump *pump, int take_fd);
int pump_start_in(struct pump *pump, int take_fd);
/* The process has ended: what is there is still read, then `done`. */
void pump_drain(struct pump *pump);
void pump_out_step(struct pump *pump);
void pump_in_step(struct pump *pump);

#endif
