/* Arithmetic that is meant to wrap around: hashes, random numbers, and the exponent that mb_exp shifts out of a number's last
 * bits. scripts/integers.sh takes any other for a mistake. */
#ifndef MB_BASE_WRAPS_H
#define MB_BASE_WRAPS_H

#ifdef __clang__
#define MB_WRAPS __attribute__((no_sanitize("unsigned-integer-overflow", "unsigned-shift-base")))
#else
#define MB_WRAPS
#endif

#endif
