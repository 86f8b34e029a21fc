/* Arithmetic that is meant to wrap around: hashes and random numbers; and a NaN that goes through an integer, in mb_exp.
 * scripts/integers.sh takes any other for a mistake. */
#ifndef MB_BASE_WRAPS_H
#define MB_BASE_WRAPS_H

#ifdef __clang__
#define MB_WRAPS __attribute__((no_sanitize("unsigned-integer-overflow", "unsigned-shift-base", "float-cast-overflow")))
#else
#define MB_WRAPS
#endif

#endif
