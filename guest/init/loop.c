/* loop.c: epoll, one event at a time. */
#include "loop.h"
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <unistd.h>

static int poller = -1;

int
loop_init(void)
{
    poller = epoll_create1(EPOLL_CLOEXEC);
    return poller < 0 ? -1 : 0;
}

int
watch_set(struct watch *watch, uint32_t events)
{
    if (watch->fd < 0 || events == watch->events) {
        return 0;
    }
    struct epoll_event event = {.events = events, .data.ptr = watch};
    int op = watch->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (events == 0) {
        op = EPOLL_CTL_DEL;
    }
    if (epoll_ctl(poller, op, watch->fd, &event) < 0) {
        return -1;
    }
    watch->events = events;
    return 0;
}

void
watch_close(struct watch *watch)
{
    if (watch->fd >= 0) {
        (void) watch_set(watch, 0);
        (void) close(watch->fd);
        watch->fd = -1;
    }
}

void
loop_step(void)
{
    struct epoll_event event;
    int n = epoll_wait(poller, &event, 1, -1);
    if (n == 1) {
        struct watch *watch = event.data.ptr;
        watch->ready(watch, event.events);
    }
}
