/*
 * ctr-net(8): one network's data plane. Started by ctrd with its configuration on standard input.
 */
#include "core/carrier/carrier.h"

int
main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        return printf("ctr-net %s\n", CTR_VERSION) < 0;
    }
    if (argc > 1 || isatty(STDIN_FILENO)) {
        (void) fprintf(stderr,
                       "ctr-net: ctrd starts this program and gives it its network on standard "
                       "input; see ctr-net(8)\n");
        return 2;
    }
    return ctr_net_main();
}
