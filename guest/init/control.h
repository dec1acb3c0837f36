/* control: stream 1, where the host asks and the guest answers and tells, in JSON (guest/PROTOCOL.guest.md). */
#ifndef CTR_INIT_CONTROL_H
#define CTR_INIT_CONTROL_H

#include "fault.h"
#include "mux.h"
#include <jansson.h>

/* The host has opened stream 1: says hello. */
void control_open(struct stream *stream);
/* Forgets stream and messages; for tests. */
void control_finish(void);
/* The answer to boot and exec: {"pid":N}, or the fault. */
void control_answer_pid(json_int_t request, int pid, const struct fault *fault);
/* {"event":"exit",…} */
void control_exited(const char *id, int code, int signal, bool oom);
/* main.c: the container's init is over; and the host asks for the end. */
void control_init_ended(void);
void control_power_off(void);

#endif
