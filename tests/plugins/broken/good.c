/* Nothing is wrong with this one. */
#include "broken.h"

BROKEN(.name = "good");
