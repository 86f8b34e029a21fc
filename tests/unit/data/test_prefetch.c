#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "data/prefetch.h"
#include "unit/data/support.h"

typedef struct fixture {
    char *dir;
    mb_shard shard;
    mb_tokenizer *tokenizer;
    mb_batcher *batcher;
} fixture;

/* In place: the batcher keeps the address of the shard. */
static void open_fixture(fixture *f) {
    static const test_shard_options text = {
        .stream = 30, .n_documents = 60, .max_lines = 6, .max_line_tokens = 20, .max_word_tokens = 3};
    static const mb_batch_options options = {.seq_length = 48, .batch_size = 4, .mask_probability = 0.15, .seed = 5};
    *f = (fixture){.dir = test_dir_new(), .tokenizer = test_tokenizer_new()};
    test_shard_new(f->dir, &text, &f->shard);
    mb_error error;
    cr_assert_eq(mb_batcher_new(&f->shard, f->tokenizer, &options, &f->batcher, &error), MB_OK, "%s", error.message);
}

static void close_fixture(fixture *f) {
    mb_batcher_free(f->batcher);
    mb_tokenizer_free(f->tokenizer);
    mb_shard_close(&f->shard);
    test_dir_free(f->dir);
}

Test(prefetch, hands_out_the_same_batches_in_order) {
    fixture f;
    open_fixture(&f);
    static const struct {
        int64_t first;
        int32_t n_slots, group;
    } cases[] = {{0, 1, 1}, {7, 2, 1}, {3, 6, 3}, {1000, 5, 4}, {2, 4, 4}};
    mb_error error;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mb_prefetch *prefetch;
        cr_assert_eq(mb_prefetch_new(f.batcher, cases[i].first, cases[i].n_slots, &prefetch, &error), MB_OK);
        mb_batch expected = {0};
        int64_t index = cases[i].first;
        for (int round = 0; round < 40; round++) {
            const mb_batch *batches[8];
            cr_assert_eq(mb_prefetch_next(prefetch, cases[i].group, batches, &error), MB_OK, "%s", error.message);
            for (int32_t k = 0; k < cases[i].group; k++, index++) {
                cr_assert_eq(mb_batcher_get(f.batcher, index, &expected, &error), MB_OK);
                cr_assert_eq(batches[k]->n_tokens, expected.n_tokens, "case %zu batch %ld", i, index);
                cr_assert_arr_eq(batches[k]->ids, expected.ids, (size_t)expected.n_tokens * 4);
                cr_assert_eq(batches[k]->n_masked, expected.n_masked);
                cr_assert_arr_eq(batches[k]->masked_rows, expected.masked_rows, (size_t)expected.n_masked * 4);
            }
        }
        cr_expect_geq(mb_prefetch_waited_seconds(prefetch), 0);
        cr_expect_lt(mb_prefetch_waited_seconds(prefetch), 60);
        mb_batch_free(&expected);
        mb_prefetch_free(prefetch);
    }
    close_fixture(&f);
}

Test(prefetch, stops_at_any_moment) {
    fixture f;
    open_fixture(&f);
    mb_error error;
    for (int taken = 0; taken < 40; taken++) {
        mb_prefetch *prefetch;
        cr_assert_eq(mb_prefetch_new(f.batcher, 0, 3, &prefetch, &error), MB_OK);
        for (int i = 0; i < taken % 5; i++) {
            const mb_batch *batch;
            cr_assert_eq(mb_prefetch_next(prefetch, 1, &batch, &error), MB_OK);
        }
        mb_prefetch_free(prefetch);
    }
    mb_prefetch_free(NULL);
    close_fixture(&f);
}

Test(prefetch, reports_a_failure_in_its_turn) {
    fixture f;
    open_fixture(&f);
    mb_prefetch *prefetch;
    mb_error error;
    cr_assert_eq(mb_prefetch_new(f.batcher, -1, 3, &prefetch, &error), MB_OK); /* there is no batch -1 */
    const mb_batch *batch;
    for (int i = 0; i < 3; i++) {
        error.message[0] = '\0';
        cr_expect_eq(mb_prefetch_next(prefetch, 1, &batch, &error), MB_ERROR_USAGE);
        cr_expect_not_null(strstr(error.message, "-1"));
    }
    mb_prefetch_free(prefetch);
    close_fixture(&f);
}

Test(prefetch, bad_sizes_are_refused) {
    fixture f;
    open_fixture(&f);
    mb_prefetch *prefetch;
    mb_error error;
    cr_expect_eq(mb_prefetch_new(f.batcher, 0, 0, &prefetch, &error), MB_ERROR_USAGE);
    cr_expect_null(prefetch);
    cr_assert_eq(mb_prefetch_new(f.batcher, 0, 2, &prefetch, &error), MB_OK);
    const mb_batch *batches[3];
    cr_expect_eq(mb_prefetch_next(prefetch, 0, batches, &error), MB_ERROR_USAGE);
    cr_expect_eq(mb_prefetch_next(prefetch, 3, batches, &error), MB_ERROR_USAGE);
    cr_expect_eq(mb_prefetch_next(prefetch, 2, batches, &error), MB_OK);
    mb_prefetch_free(prefetch);
    close_fixture(&f);
}
