/* Calls a function that nobody has. */
#include "broken.h"

void ctr_nobody_has_this(void);

CTR_EXPORT void call_it(void);

void
call_it(void)
{
    ctr_nobody_has_this();
}

BROKEN(.name = "nosymbol");
