/* A function of which the compiler makes a version of its own wherever it is called, with what is constant there: of a loop
 * whose length it knows nothing is left over, and short rows stay in registers. (`inline` alone is a hint, and gcc does not
 * take it for a long function.) */
#ifndef MB_BASE_SPECIALIZED_H
#define MB_BASE_SPECIALIZED_H

#define MB_SPECIALIZED static inline __attribute__((always_inline))

/* function(..., n), with n a constant to the compiler where it is `whole`, as it almost always is (mb_bf16_store_bf16 took
 * 3.4% of a mini's step before it, 1.5% with it). */
#define MB_FOR_WHOLE(function, whole, n, ...) ((n) == (whole) ? function(__VA_ARGS__, whole) : function(__VA_ARGS__, n))

#endif
