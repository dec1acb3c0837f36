/*
 * VMDK descriptors as vmm-qemu reads them: what it takes adds up.
 */
#include "plugins/vmm-qemu/vmdk.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vmdk vmdk;
    struct ctr_error err = CTR_ERROR_INIT;
    uint64_t sectors = 0;
    int status = vmdk_parse((const char *) data, size, &vmdk, &err);
    for (size_t i = 0; status == 0 && i < vmdk.n; i++) {
        sectors += vmdk.extents[i].sectors;
        if (vmdk.extents[i].path[0] != '/' || vmdk.extents[i].sectors == 0) {
            abort();
        }
    }
    if (status == 0 && (vmdk.n == 0 || sectors != vmdk.sectors)) {
        abort();
    }
    if (status != 0 && err.msg[0] == '\0') {
        abort();
    }
    vmdk_finish(&vmdk);
    return 0;
}
