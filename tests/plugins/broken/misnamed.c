/* Another name than its file. */
#include "broken.h"

BROKEN(.name = "other");
