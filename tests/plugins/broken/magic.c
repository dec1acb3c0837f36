/* Not our magic. */
#include "broken.h"

BROKEN(.name = "magic", .magic = 0x12345678);
