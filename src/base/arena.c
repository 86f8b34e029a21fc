#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/memory.h"

enum { ALIGNMENT = 64, MIN_BLOCK_BYTES = 1 << 16 };

struct mb_arena_block {
    mb_arena_block *older;
    size_t n_bytes; /* after the header */
};

/* The header takes one alignment unit, so that the payload is aligned. */
static unsigned char *payload(mb_arena_block *block) {
    return (unsigned char *)block + ALIGNMENT;
}

static mb_arena_block *new_block(size_t n_bytes) {
    mb_arena_block *block = mb_memory_alloc(ALIGNMENT + n_bytes);
    if (block != NULL) {
        block->older = NULL;
        block->n_bytes = n_bytes;
    }
    return block;
}

/* One that a rewind has dropped, or a new one. */
static mb_arena_block *take_block(mb_arena *arena, size_t needed_bytes, size_t wanted_bytes) {
    for (mb_arena_block **link = &arena->dropped; *link != NULL; link = &(*link)->older) {
        if ((*link)->n_bytes >= needed_bytes) {
            mb_arena_block *block = *link;
            *link = block->older;
            return block;
        }
    }
    return new_block(wanted_bytes);
}

static void free_blocks(mb_arena_block **blocks) {
    while (*blocks != NULL) {
        mb_arena_block *older = (*blocks)->older;
        free(*blocks);
        *blocks = older;
    }
}

void *mb_arena_alloc(mb_arena *arena, size_t n_bytes) {
    if (n_bytes > SIZE_MAX / 2) {
        return NULL;
    }
    size_t rounded = (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (arena->block == NULL || rounded > arena->block->n_bytes - arena->used_bytes) {
        size_t doubled = arena->block == NULL ? MIN_BLOCK_BYTES : arena->block->n_bytes;
        mb_arena_block *block = take_block(arena, rounded, rounded > doubled ? rounded : doubled);
        if (block == NULL) {
            return NULL;
        }
        block->older = arena->block;
        arena->block = block;
        arena->used_bytes = 0;
    }
    void *result = payload(arena->block) + arena->used_bytes;
    arena->used_bytes += rounded;
    arena->total_bytes += rounded;
    if (arena->total_bytes > arena->peak_bytes) {
        arena->peak_bytes = arena->total_bytes;
    }
    return result;
}

void *mb_arena_alloc_array(mb_arena *arena, size_t count, size_t size_bytes) {
    size_t n_bytes;
    return __builtin_mul_overflow(count, size_bytes, &n_bytes) ? NULL : mb_arena_alloc(arena, n_bytes);
}

mb_arena_mark mb_arena_get_mark(const mb_arena *arena) {
    return (mb_arena_mark){arena->block, arena->used_bytes, arena->total_bytes};
}

void mb_arena_rewind(mb_arena *arena, mb_arena_mark mark) {
    while (arena->block != mark.block) {
        mb_arena_block *older = arena->block->older;
        arena->block->older = arena->dropped;
        arena->dropped = arena->block;
        arena->block = older;
    }
    arena->used_bytes = mark.used_bytes;
    arena->total_bytes = mark.total_bytes;
}

void mb_arena_reset(mb_arena *arena) {
    /* More than one block now, or blocks that a rewind dropped: the next lifetime should find one block that holds it all. */
    if (arena->block != NULL && (arena->block->older != NULL || arena->peak_bytes > arena->block->n_bytes)) {
        /* Blocks end with unusable tails, so the peak alone might not fit again: half a block more does. */
        size_t wanted = arena->peak_bytes + arena->peak_bytes / 16 + MIN_BLOCK_BYTES;
        wanted = wanted / ALIGNMENT * ALIGNMENT;
        size_t peak = arena->peak_bytes;
        mb_arena_free(arena);
        arena->peak_bytes = peak;
        arena->block = new_block(wanted); /* NULL: the next allocation tries again and reports */
    }
    arena->used_bytes = 0;
    arena->total_bytes = 0;
}

void mb_arena_free(mb_arena *arena) {
    free_blocks(&arena->block);
    free_blocks(&arena->dropped);
    *arena = (mb_arena){0};
}
