/*
 * Assertions for programmer errors inside the library. They stay on in release builds.
 *
 * check(x) prints the expression, file and line to standard error and aborts when x is false.
 */
#ifndef MANTA_BASE_CHECK_H
#define MANTA_BASE_CHECK_H

#include "scheduler/base/atomics.h"

_Noreturn void check_failed(const char *expression, const char *file, int line);

#define check(x) (likely(x) ? (void)0 : check_failed(#x, __FILE__, __LINE__))

#endif
