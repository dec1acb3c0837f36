/*
 * ctrctl: the command line. Everything is in the command tables (commands.c); this file only makes sure that descriptors 0, 1 and 2 exist, so
 * that no socket ever stands where output goes.
 */
#include "core/cmd/cmd.h"
#include <fcntl.h>

static void
open_standard(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void) open("/dev/null", O_RDWR);
        }
    }
}

int
main(int argc, char **argv)
{
    open_standard();
    return ctl_main(argc, argv);
}
