/* Memory in lifetimes: allocate by moving a pointer, free everything at once.
 *
 * An arena is a list of blocks. mb_arena_reset keeps the memory; when the last lifetime needed more than one block, reset
 * replaces them by one block of the total size, so that a loop whose steps need the same memory allocates nothing from its
 * third step on. Blocks are 64-byte aligned, and so is every allocation. Memory is NOT zeroed. */
#ifndef MB_BASE_ARENA_H
#define MB_BASE_ARENA_H

#include <stddef.h>

typedef struct mb_arena_block mb_arena_block;

typedef struct mb_arena {
    mb_arena_block *block;   /* the newest block, linked to older ones */
    mb_arena_block *dropped; /* by rewinds: the next blocks */
    size_t used_bytes;       /* in the newest block */
    size_t total_bytes;      /* handed out since the last reset */
    size_t peak_bytes;       /* largest total_bytes ever */
} mb_arena;

typedef struct mb_arena_mark {
    mb_arena_block *block;
    size_t used_bytes;
    size_t total_bytes;
} mb_arena_mark;

/* An arena begins as {0}. */
/* NULL when the system has no memory. `n_bytes` 0 gives a valid pointer. */
void *mb_arena_alloc(mb_arena *arena, size_t n_bytes);
/* count * size with overflow check. */
void *mb_arena_alloc_array(mb_arena *arena, size_t count, size_t size_bytes);
/* mark/rewind: drops what was allocated after the mark; blocks newer than the mark's are used again, and freed by the
 * next reset. */
mb_arena_mark mb_arena_get_mark(const mb_arena *arena);
void mb_arena_rewind(mb_arena *arena, mb_arena_mark mark);
void mb_arena_reset(mb_arena *arena);
void mb_arena_free(mb_arena *arena);

#endif
