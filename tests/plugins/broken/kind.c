/* A kind that does not exist yet. */
#include "broken.h"

BROKEN(.name = "kind", .kind = 77);
