/* Unsigned arithmetic that is meant to wrap around: hashes and random numbers. scripts/integers.sh takes any other for a
 * mistake. */
#ifndef MB_BASE_WRAPS_H
#define MB_BASE_WRAPS_H

#ifdef __clang__
#define MB_WRAPS __attribute__((no_sanitize("unsigned-integer-overflow", "unsigned-shift-base")))
#else
#define MB_WRAPS
#endif

#endif
