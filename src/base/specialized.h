/* A function of which the compiler makes a version of its own wherever it is called, with what is constant there: of a loop
 * whose length it knows nothing is left over, and short rows stay in registers. (`inline` alone is a hint, and gcc does not
 * take it for a long function.) */
#ifndef MB_BASE_SPECIALIZED_H
#define MB_BASE_SPECIALIZED_H

#define MB_SPECIALIZED static inline __attribute__((always_inline))

#endif
