/*
 * ctr-sandbox: owns the virtual machine of one container. Started by ctrd; see ctr-sandbox(8).
 */
#include "core/sandbox/sandbox.h"

#include <stdio.h>
#include <string.h>

int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void) puts("ctr-sandbox " CTR_VERSION);
        return 0;
    }
    if (argc != 2 || argv[1][0] != '/') {
        (void) fputs("usage: ctr-sandbox FOLDER (absolute; holds sandbox.json)\n", stderr);
        return 2;
    }
    return ctr_sandbox_main(argv[1]);
}
