/*
 * ctr-init: PID 1 of the virtual machine of one container. See guest/PROTOCOL.guest.md for what it is told, root.h for what it does
 * to the machine.
 *
 * The end: when the container's init is over (or the host asks, or its channel closes) everything is killed, the filesystems
 * are let go, and the machine powers off after the host has acknowledged all that was sent.
 */
#include "control.h"
#include "loop.h"
#include "mux.h"
#include "process.h"
#include "root.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define LAST_WORDS_S 10 /* how long the host may take to read the last of it */

static enum { RUNNING, ENDING, FLUSHING, OVER } state;
static struct watch signals, patience;

void
control_init_ended(void)
{
    if (state == RUNNING) {
        state = ENDING;
    }
}

void
control_power_off(void)
{
    control_init_ended();
}

static void
closed(const char *reason)
{
    note("channel: %s", reason);
    state = OVER;
}

static void
flushed(void)
{
    state = OVER;
}

static void
out_of_patience(struct watch *watch, uint32_t events)
{
    state = OVER;
}

static void
signal_ready(struct watch *watch, uint32_t events)
{
    struct signalfd_siginfo info;
    while (read(watch->fd, &info, sizeof info) == (ssize_t) sizeof info) {
        if (info.ssi_signo != SIGCHLD) {
            control_init_ended();
        }
    }
    process_reap();
}

static int
watch_signals(void)
{
    sigset_t set;
    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGCHLD);
    (void) sigaddset(&set, SIGTERM);
    (void) sigaddset(&set, SIGINT);
    (void) sigprocmask(SIG_BLOCK, &set, NULL);
    (void) signal(SIGPIPE, SIG_IGN);
    signals = (struct watch){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
                             .ready = signal_ready};
    return watch_set(&signals, EPOLLIN);
}

/* Nothing runs any more: asks the host whether it has read everything, and meanwhile cleans up. */
static void
say_farewell(void)
{
    struct itimerspec wait = {.it_value = {.tv_sec = LAST_WORDS_S}};
    patience = (struct watch){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
                              .ready = out_of_patience};
    (void) timerfd_settime(patience.fd, 0, &wait, NULL);
    (void) watch_set(&patience, EPOLLIN);
    state = FLUSHING;
    mux_flush(flushed);
    root_unmount();
}

int
main(void)
{
    struct fault fault = {0};
    int channel = root_start(&fault);
    if (channel < 0 || loop_init() < 0 || watch_signals() < 0 ||
        mux_init(channel, control_open, closed) < 0) {
        note("cannot start: %s", fault.message);
        root_power_off();
    }
    while (state != OVER) {
        loop_step();
        mux_settle();
        if (state == ENDING) {
            (void) process_kill_all();
            if (!process_any()) {
                say_farewell();
            }
        }
    }
    (void) process_kill_all();
    root_unmount();
    root_power_off();
}
