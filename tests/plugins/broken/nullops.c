/* No ops table. */
#include "broken.h"

BROKEN(.name = "nullops", .ops = NULL);
