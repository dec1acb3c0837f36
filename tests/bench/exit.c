/*
 * The init of the bench's baseline: powers the machine off at once.
 */
#include <sys/reboot.h>
#include <unistd.h>

int
main(void)
{
    return reboot(RB_POWER_OFF);
}
