/*
 * loop: an epoll loop for one thread. Events are taken one at a time, so that a callback may remove and free any watch.
 */
#ifndef CTR_INIT_LOOP_H
#define CTR_INIT_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct watch {
    int fd;
    uint32_t events; /* EPOLL…, 0: not watched at all, not even for hang-up */
    void (*ready)(struct watch *watch, uint32_t events);
};

int loop_init(void);
/* Watches, changes or (events 0) pauses. 0 or -1 with errno. */
int watch_set(struct watch *watch, uint32_t events);
/* Stops watching and closes the fd; -1 fds are fine. */
void watch_close(struct watch *watch);
/* Waits for one event and handles it. */
void loop_step(void);

#endif
