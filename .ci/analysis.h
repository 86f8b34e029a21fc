/* Read before every file by clang-tidy alone: mb_fail returns the status that it is given, which its declaration does not say.
 * Without this the analyser follows failures as if they had been successes. */
#include "minibert/status.h"
#define mb_fail(error, status, ...) (mb_fail(error, status, __VA_ARGS__), (status))
