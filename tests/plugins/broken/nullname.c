/* No name. */
#include "broken.h"

BROKEN(.version = "1.0");
