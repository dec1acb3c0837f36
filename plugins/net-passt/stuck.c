/*
 * A passt that runs but does nothing: that of 2023 can end in a loop of its own when connections close. It is found when the machine sends: what was
 * sent before is not taken, and nothing comes back.
 */
#include "passt-priv.h"
#include <sys/ioctl.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif

#define CHECK_MS 250
#define STUCK_MS 3000

bool
way_is_stuck(struct way *way)
{
    uint64_t now = sw_now_ms();
    int waiting = 0;
    if (now - way->checked_ms < CHECK_MS) {
        return false;
    }
    bool fresh = way->checked_ms == 0;
    way->checked_ms = now;
    if (ioctl(way->fd, SIOCOUTQ, &waiting) != 0) {
        return false;
    }
    if (fresh || waiting == 0 || waiting < way->waiting) {
        way->moved_ms = now;
    }
    way->waiting = waiting;
    return now - way->moved_ms > STUCK_MS;
}
