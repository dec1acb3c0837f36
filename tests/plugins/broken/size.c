/* A description that ends too early. */
#include "broken.h"

BROKEN(.name = "size", .size = 24);
