/* Built for another major ABI. */
#include "broken.h"

BROKEN(.name = "abi", .abi_major = CTR_ABI_MAJOR + 1);
