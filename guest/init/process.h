/*
 * process: the container's processes: how they start, how their bytes flow, how they end.
 *
 * A process is described by the host's JSON (PROCESS in guest/PROTOCOL.guest.md). The parent keeps its pipes or terminal; what the
 * child does between clone and exec is in child.c. The exit event goes out after the last byte of output.
 */
#ifndef CTR_INIT_PROCESS_H
#define CTR_INIT_PROCESS_H

#include "spec.h"
#include <sys/types.h>

/* Parses and starts; the reply to `request` follows when it runs or could not. -1 with fault: nothing was started. */
int process_start(const char *id, const json_t *description, json_int_t request,
                  struct fault *fault);
/* Whether it has executed its program and not ended. */
bool process_runs(const char *id);
int process_signal(const char *id, int number, struct fault *fault);
int process_resize(const char *id, unsigned rows, unsigned cols, struct fault *fault);
/* Kills all; true if anything was left to kill. */
bool process_kill_all(void);
bool process_any(void);
/* Collects what has ended (SIGCHLD). */
void process_reap(void);

/* child.c: the way of the new process to its exec. stdio: its three descriptors, -1 with a tty. Faults go to `status`. */
_Noreturn void child_main(const struct spec *spec, const int stdio[3], int status);

#endif
