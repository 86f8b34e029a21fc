#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"

Test(arena, allocations_are_aligned_and_apart) {
    mb_arena arena = {0};
    unsigned char *a = mb_arena_alloc(&arena, 3), *b = mb_arena_alloc(&arena, 200000), *c = mb_arena_alloc(&arena, 0);
    cr_assert(a != NULL && b != NULL && c != NULL);
    cr_expect_eq((uintptr_t)a % 64, 0);
    cr_expect_eq((uintptr_t)b % 64, 0);
    memset(a, 1, 3);
    memset(b, 2, 200000);
    cr_expect_eq(a[2], 1);
    mb_arena_free(&arena);
}

Test(arena, a_repeated_lifetime_settles_in_one_block) {
    mb_arena arena = {0};
    void *first[50], *again[50];
    for (int step = 0; step < 4; step++) {
        mb_arena_reset(&arena);
        for (int i = 0; i < 50; i++) {
            void *p = mb_arena_alloc(&arena, 30000);
            cr_assert_not_null(p);
            (step == 2 ? first : again)[i] = p;
        }
    }
    cr_expect_arr_eq(first, again, sizeof first, "the third and fourth lifetime use the same memory");
    mb_arena_free(&arena);
}

Test(arena, rewinding_gives_memory_back) {
    mb_arena arena = {0};
    mb_arena_alloc(&arena, 100);
    mb_arena_mark mark = mb_arena_get_mark(&arena);
    void *a = mb_arena_alloc(&arena, 64);
    void *large = mb_arena_alloc(&arena, 1 << 20); /* a new block, dropped by the rewind */
    void *larger = mb_arena_alloc(&arena, 3 << 20);
    mb_arena_rewind(&arena, mark);
    cr_expect_eq(mb_arena_alloc(&arena, 64), a);
    cr_expect_eq(mb_arena_alloc(&arena, 3 << 20), larger, "the first dropped block that is large enough");
    cr_expect_eq(mb_arena_alloc(&arena, 1 << 20), large);
    cr_expect(arena.peak_bytes >= 1 << 20);
    mb_arena_free(&arena);
}

Test(arena, refuses_what_overflows) {
    mb_arena arena = {0};
    cr_expect_null(mb_arena_alloc_array(&arena, SIZE_MAX / 4, 8));
    cr_expect_null(mb_arena_alloc(&arena, SIZE_MAX - 10));
    mb_arena_free(&arena);
}
