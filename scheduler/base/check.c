#include "scheduler/base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn cold void check_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: check failed: %s\n", file, line, expression);
    abort();
}
