#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "data/batch.h"
#include "data/sequences.h"
#include "unit/data/support.h"

typedef struct fixture {
    char *dir;
    mb_shard shard;
    mb_tokenizer *tokenizer;
    mb_batcher *batcher;
    mb_batch_options options;
} fixture;

static const test_shard_options text = {
    .stream = 20, .n_documents = 83, .max_lines = 8, .max_line_tokens = 25, .max_word_tokens = 3};
static const mb_batch_options plain = {.seq_length = 64, .batch_size = 8, .mask_probability = 0.15, .seed = 11};

/* In place: the batcher keeps the address of the shard. */
static void open_fixture(fixture *f, const test_shard_options *shard_options, const mb_batch_options *options) {
    *f = (fixture){.dir = test_dir_new(), .tokenizer = test_tokenizer_new(), .options = *options};
    test_shard_new(f->dir, shard_options, &f->shard);
    mb_error error;
    cr_assert_eq(mb_batcher_new(&f->shard, f->tokenizer, options, &f->batcher, &error), MB_OK, "%s", error.message);
}

/* Another batcher over the same shard. */
static void change_options(fixture *f, const mb_batch_options *options) {
    mb_error error;
    mb_batcher_free(f->batcher);
    f->options = *options;
    cr_assert_eq(mb_batcher_new(&f->shard, f->tokenizer, options, &f->batcher, &error), MB_OK, "%s", error.message);
}

static void close_fixture(fixture *f) {
    mb_batcher_free(f->batcher);
    mb_tokenizer_free(f->tokenizer);
    mb_shard_close(&f->shard);
    test_dir_free(f->dir);
}

static void get(const fixture *f, int64_t index, mb_batch *batch) {
    mb_error error;
    cr_assert_eq(mb_batcher_get(f->batcher, index, batch, &error), MB_OK, "%s", error.message);
    cr_assert_eq(batch->offsets[0], 0);
    cr_assert_eq(batch->offsets[batch->n_sequences], batch->n_tokens);
    int32_t longest = 0;
    int64_t masked = 0;
    for (int32_t i = 0; i < batch->n_sequences; i++) {
        const int32_t begin = batch->offsets[i], end = batch->offsets[i + 1];
        longest = end - begin > longest ? end - begin : longest;
        cr_assert(end - begin >= 3 && end - begin <= f->options.seq_length, "sequence of %d tokens", end - begin);
        cr_assert_eq(batch->ids[begin], TEST_CLS);
        cr_assert_eq(batch->ids[end - 1], TEST_SEP);
        const int64_t before = masked;
        while (masked < batch->n_masked && batch->masked_rows[masked] < end) {
            cr_assert(batch->masked_rows[masked] > begin &&
                      (masked == 0 || batch->masked_rows[masked] > batch->masked_rows[masked - 1]));
            masked++;
        }
        cr_assert_gt(masked, before, "sequence %d has no masked token", i);
    }
    cr_assert_eq(masked, batch->n_masked);
    cr_assert_eq(longest, batch->max_length);
}

static void unmask(mb_batch *batch) {
    for (int64_t i = 0; i < batch->n_masked; i++) {
        batch->ids[batch->masked_rows[i]] = batch->masked_targets[i];
    }
}

static bool batches_equal(const mb_batch *a, const mb_batch *b) {
    return a->n_tokens == b->n_tokens && a->n_sequences == b->n_sequences && a->n_masked == b->n_masked &&
           memcmp(a->ids, b->ids, (size_t)a->n_tokens * 4) == 0 && memcmp(a->types, b->types, (size_t)a->n_tokens * 4) == 0 &&
           memcmp(a->offsets, b->offsets, (size_t)(a->n_sequences + 1) * 4) == 0 &&
           memcmp(a->masked_rows, b->masked_rows, (size_t)a->n_masked * 4) == 0 &&
           memcmp(a->masked_targets, b->masked_targets, (size_t)a->n_masked * 4) == 0;
}

/* The sequence of the plan whose tokens these are, by comparing with the shard; each is found at most once, -1 if none. */
static int64_t find_sequence(const fixture *f, const mb_sequence_plan *plan, const int32_t *ids, int32_t n, const bool *seen) {
    for (uint64_t s = 0; s < plan->n; s++) {
        int32_t at = 1;
        bool equal = !seen[s];
        for (uint64_t r = plan->first_runs[s]; r < plan->first_runs[s + 1] && equal; r++) {
            const mb_run run = mb_sequence_plan_run(plan, r);
            for (uint64_t t = run.start; t < run.end && equal; t++, at++) {
                equal = at < n && ids[at] == MB_SHARD_ID(f->shard.tokens[t]);
            }
            equal = equal && at < n && ids[at++] == TEST_SEP;
        }
        if (equal && at == n) {
            return (int64_t)s;
        }
    }
    return -1;
}

Test(batch, an_epoch_holds_every_token_once) {
    fixture f;
    open_fixture(&f, &text, &plain);
    mb_sequence_plan plan;
    mb_error error;
    cr_assert_eq(mb_sequence_plan_new(&f.shard, plain.seq_length, false, &plan, &error), MB_OK);
    cr_assert_eq(mb_batcher_n_sequences(f.batcher), (int64_t)plan.n);
    const int64_t n_batches = mb_batcher_batches_per_epoch(f.batcher);
    cr_assert_eq(n_batches, ((int64_t)plan.n + 7) / 8);
    cr_assert_neq(plan.n % 8, 0, "the last batch is a smaller one");
    mb_batch batch = {0};
    int64_t *order = calloc(plan.n, sizeof(*order)); /* of the epoch before, at first that of the text */
    for (uint64_t s = 0; s < plan.n; s++) {
        order[s] = (int64_t)s;
    }
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        bool *seen = calloc(plan.n, sizeof(*seen));
        uint64_t n_seen = 0;
        int n_in_order = 0;
        for (int64_t b = 0; b < n_batches; b++) {
            get(&f, epoch * n_batches + b, &batch);
            cr_assert_eq(batch.n_sequences, b + 1 < n_batches ? 8 : (int32_t)(plan.n % 8));
            unmask(&batch);
            for (int32_t i = 0; i < batch.n_sequences; i++) {
                const int32_t begin = batch.offsets[i];
                const int64_t s = find_sequence(&f, &plan, batch.ids + begin, batch.offsets[i + 1] - begin, seen);
                cr_assert_geq(s, 0, "epoch %ld batch %ld sequence %d is not in the plan, or twice", epoch, b, i);
                seen[s] = true;
                n_in_order += s == order[n_seen];
                order[n_seen++] = s;
            }
            for (int64_t t = 0; t < batch.n_tokens; t++) {
                cr_assert_eq(batch.types[t], 0);
            }
        }
        cr_expect_eq(n_seen, plan.n);
        cr_expect_lt(n_in_order, (int)plan.n / 4, "the order is another one than before epoch %ld", epoch);
        free(seen);
    }
    free(order);
    cr_expect(mb_batcher_fill(f.batcher) > 0.5 && mb_batcher_fill(f.batcher) <= 1);
    mb_batch_free(&batch);
    mb_sequence_plan_free(&plan);
    close_fixture(&f);
}

Test(batch, depends_on_seed_and_index_alone) {
    fixture f;
    open_fixture(&f, &text, &plain);
    const int64_t n_batches = mb_batcher_batches_per_epoch(f.batcher);
    mb_batch a = {0}, b = {0}, c = {0};
    get(&f, 3, &a);
    get(&f, 3 + n_batches, &b);
    cr_expect(!batches_equal(&a, &b), "another epoch, another order and other masks");
    get(&f, 4, &c);
    get(&f, 3, &c);
    cr_expect(batches_equal(&a, &c), "whatever was asked for before");
    mb_batch_options options = plain;
    options.seed++;
    change_options(&f, &options);
    get(&f, 3, &c);
    cr_expect(!batches_equal(&a, &c), "another seed");
    change_options(&f, &plain);
    get(&f, 3, &c);
    cr_expect(batches_equal(&a, &c), "a new batcher");
    mb_batch_free(&a);
    mb_batch_free(&b);
    mb_batch_free(&c);
    close_fixture(&f);
}

Test(batch, masks_of_a_sequence_are_redrawn_each_epoch) {
    const mb_batch_options options = {.seq_length = 64, .batch_size = 1000, .mask_probability = 0.15, .seed = 3};
    fixture f;
    open_fixture(&f, &text, &options);
    cr_assert_eq(mb_batcher_batches_per_epoch(f.batcher), 1);
    const uint64_t n = (uint64_t)mb_batcher_n_sequences(f.batcher);
    mb_batch a = {0}, b = {0};
    get(&f, 0, &a);
    get(&f, 1, &b);
    cr_assert_eq(a.n_tokens, b.n_tokens);
    /* Compare the masks of each sequence in both epochs: find it by its unmasked ids. */
    mb_batch plain_a = {0}, plain_b = {0};
    get(&f, 0, &plain_a);
    get(&f, 1, &plain_b);
    unmask(&plain_a);
    unmask(&plain_b);
    uint64_t n_same = 0, n_compared = 0;
    for (uint64_t i = 0; i < n; i++) {
        const int32_t begin = a.offsets[i], length = a.offsets[i + 1] - begin;
        for (uint64_t j = 0; j < n && length >= 48; j++) {
            const int32_t other = b.offsets[j];
            if (b.offsets[j + 1] - other == length &&
                memcmp(plain_a.ids + begin, plain_b.ids + other, (size_t)length * 4) == 0) {
                n_compared++;
                n_same += memcmp(a.ids + begin, b.ids + other, (size_t)length * 4) == 0;
            }
        }
    }
    cr_assert_gt(n_compared, n / 2);
    cr_expect_eq(n_same, 0, "%lu of %lu sequences keep their masks", n_same, n_compared);
    mb_batch_free(&a);
    mb_batch_free(&b);
    mb_batch_free(&plain_a);
    mb_batch_free(&plain_b);
    close_fixture(&f);
}

Test(batch, is_the_same_on_any_number_of_threads) {
    mb_batch_options options = plain;
    options.mask_unit = MB_MASK_WORDS;
    fixture f;
    open_fixture(&f, &text, &options);
    enum { N = 24 };
    mb_batch expected[N] = {{0}};
    for (int64_t i = 0; i < N; i++) {
        get(&f, i, &expected[i]);
    }
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        mb_batch got[N] = {{0}};
        mb_status status[N];
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 1)
        for (int64_t i = 0; i < N; i++) {
            mb_error error;
            status[i] = mb_batcher_get(f.batcher, N - 1 - i, &got[N - 1 - i], &error);
        }
        for (int64_t i = 0; i < N; i++) {
            cr_assert_eq(status[i], MB_OK);
            cr_expect(batches_equal(&expected[i], &got[i]), "batch %ld at %d threads", i, n_threads);
            mb_batch_free(&got[i]);
        }
    }
    for (int64_t i = 0; i < N; i++) {
        mb_batch_free(&expected[i]);
    }
    close_fixture(&f);
}

Test(batch, evaluation_has_fixed_order_and_masks) {
    mb_batch_options options = plain;
    options.evaluation = true;
    fixture f;
    open_fixture(&f, &text, &options);
    mb_sequence_plan plan;
    mb_error error;
    cr_assert_eq(mb_sequence_plan_new(&f.shard, plain.seq_length, false, &plan, &error), MB_OK);
    bool *seen = calloc(plan.n, sizeof(*seen));
    const int64_t n_batches = mb_batcher_batches_per_epoch(f.batcher);
    mb_batch a = {0}, b = {0};
    for (int64_t i = 0; i < n_batches; i++) {
        get(&f, i, &a);
        get(&f, i + n_batches, &b);
        cr_expect(batches_equal(&a, &b), "the second pass is the first");
        unmask(&a);
        for (int32_t k = 0; k < a.n_sequences; k++) {
            const int64_t s = find_sequence(&f, &plan, a.ids + a.offsets[k], a.offsets[k + 1] - a.offsets[k], seen);
            cr_assert_eq(s, i * 8 + k, "in the order of the text");
            seen[s] = true;
        }
    }
    /* The masks do not depend on how the sequences are batched. */
    get(&f, 0, &a);
    options.batch_size = 3;
    change_options(&f, &options);
    get(&f, 0, &b);
    cr_assert_eq(b.n_sequences, 3);
    cr_expect_arr_eq(a.ids, b.ids, (size_t)b.n_tokens * 4);
    free(seen);
    mb_sequence_plan_free(&plan);
    mb_batch_free(&a);
    mb_batch_free(&b);
    close_fixture(&f);
}

Test(batch, grows_once_and_is_reused) {
    fixture f;
    open_fixture(&f, &text, &plain);
    mb_batch batch = {0};
    get(&f, 0, &batch);
    const mb_batch before = batch;
    for (int64_t i = 1; i < 60; i++) {
        get(&f, i, &batch);
        cr_assert(batch.ids == before.ids && batch.offsets == before.offsets && batch.masked_rows == before.masked_rows &&
                  batch.capacity_tokens == before.capacity_tokens);
    }
    mb_batch_free(&batch);
    mb_batch_free(&batch);
    close_fixture(&f);
}

/* The run of the shard that equals the n ids; -1 if none. */
static int64_t find_run(const mb_shard *shard, const int32_t *ids, int32_t n) {
    for (uint64_t at = 0; at + (uint64_t)n <= shard->n_tokens; at++) {
        int32_t i = 0;
        while (i < n && MB_SHARD_ID(shard->tokens[at + (uint64_t)i]) == ids[i]) {
            i++;
        }
        if (i == n) {
            return (int64_t)at;
        }
    }
    return -1;
}

Test(batch, next_sentence_pairs_are_what_their_labels_say) {
    mb_batch_options options = plain;
    options.next_sentence = true;
    fixture f;
    open_fixture(&f, &text, &options);
    mb_batch batch = {0};
    double n = 0, n_next = 0, length_next = 0, length_other = 0;
    const int64_t n_batches = mb_batcher_batches_per_epoch(f.batcher);
    for (int64_t index = 0; index < 4 * n_batches; index++) {
        get(&f, index, &batch);
        unmask(&batch);
        for (int32_t s = 0; s < batch.n_sequences; s++) {
            const int32_t begin = batch.offsets[s], end = batch.offsets[s + 1];
            int32_t middle = begin + 1;
            while (batch.ids[middle] != TEST_SEP) {
                middle++;
            }
            for (int32_t i = begin; i < end; i++) {
                cr_assert_eq(batch.types[i], i > middle, "types are 0 up to the first [SEP], then 1");
            }
            const int32_t n_a = middle - begin - 1, n_b = end - 1 - (middle + 1);
            cr_assert(n_a > 0 && n_b > 0);
            /* Texts of a few tokens occur in several places: no judgement on those. */
            if (n_a < 6 || n_b < 6) {
                continue;
            }
            const int64_t a = find_run(&f.shard, batch.ids + begin + 1, n_a),
                          b = find_run(&f.shard, batch.ids + middle + 1, n_b);
            cr_assert(a >= 0 && b >= 0);
            n++;
            if (batch.next_sentence[s] == 0) {
                cr_assert_eq(b, a + n_a, "b follows a");
                n_next++;
                length_next += n_b;
            } else {
                cr_assert_eq(batch.next_sentence[s], 1);
                cr_assert_neq(mb_shard_document_of(&f.shard, (uint64_t)a), mb_shard_document_of(&f.shard, (uint64_t)b),
                              "b is from another document");
                length_other += n_b;
            }
        }
    }
    cr_assert_gt(n, 300);
    cr_expect_lt(fabs(n_next - n / 2) / sqrt(n / 4), 5, "%.0f of %.0f are next", n_next, n);
    cr_log_info("mean length of b: next %.1f, other %.1f", length_next / n_next, length_other / (n - n_next));
    mb_batch_free(&batch);
    close_fixture(&f);
}

Test(batch, other_second_sentences_come_from_everywhere) {
    /* Documents of one line of one distinct token each: the label and the document can be read off the ids. */
    char *dir = test_dir_new(), *path = mb_path_join(dir, "x.shard");
    mb_shard_writer *writer;
    mb_error error;
    cr_assert_eq(mb_shard_writer_open(path, 0, TEST_VOCAB_SIZE, &writer, &error), MB_OK);
    for (uint32_t i = 0; i < 10; i++) {
        mb_shard_writer_add_line(writer, (uint32_t[]){TEST_FIRST_TEXT_ID + i}, 1, true);
    }
    cr_assert_eq(mb_shard_writer_commit(writer, &error), MB_OK);
    mb_shard shard;
    cr_assert_eq(mb_shard_open(path, true, &shard, &error), MB_OK);
    mb_tokenizer *tokenizer = test_tokenizer_new();
    const mb_batch_options options = {
        .seq_length = 16, .batch_size = 10, .mask_probability = 0.15, .next_sentence = true, .seed = 2};
    mb_batcher *batcher;
    cr_assert_eq(mb_batcher_new(&shard, tokenizer, &options, &batcher, &error), MB_OK);
    double counts[10][10] = {{0}};
    mb_batch batch = {0};
    for (int64_t index = 0; index < 900; index++) {
        cr_assert_eq(mb_batcher_get(batcher, index, &batch, &error), MB_OK);
        unmask(&batch);
        for (int s = 0; s < 10; s++) {
            cr_assert_eq(batch.next_sentence[s], 1, "one token has no second half");
            counts[batch.ids[5 * s + 1] - TEST_FIRST_TEXT_ID][batch.ids[5 * s + 3] - TEST_FIRST_TEXT_ID]++;
        }
    }
    for (int a = 0; a < 10; a++) {
        for (int b = 0; b < 10; b++) {
            if (a == b) {
                cr_expect_eq(counts[a][b], 0);
            } else {
                cr_expect_float_eq(counts[a][b], 100, 5 * sqrt(100), "%d beside %d: %.0f times", a, b, counts[a][b]);
            }
        }
    }
    mb_batch_free(&batch);
    mb_batcher_free(batcher);
    mb_tokenizer_free(tokenizer);
    mb_shard_close(&shard);
    free(path);
    test_dir_free(dir);
}

Test(batch, bad_options_are_refused) {
    static const struct {
        mb_batch_options options;
        const char *message;
    } cases[] = {
        {{.seq_length = 2, .batch_size = 1, .mask_probability = 0.15}, "sequence length 2"},
        {{.seq_length = -1, .batch_size = 1, .mask_probability = 0.15}, "sequence length -1"},
        {{.seq_length = 4, .batch_size = 1, .mask_probability = 0.15, .next_sentence = true}, "sequence length 4"},
        {{.seq_length = 64, .batch_size = 0, .mask_probability = 0.15}, "batch size 0"},
        {{.seq_length = 64, .batch_size = -3, .mask_probability = 0.15}, "batch size -3"},
        {{.seq_length = 1 << 20, .batch_size = 1, .mask_probability = 0.15}, "sequence length 1048576"},
        {{.seq_length = 65536, .batch_size = 32768, .mask_probability = 0.15}, "too large"},
        {{.seq_length = 64, .batch_size = 8, .mask_probability = 0}, "mask probability 0"},
        {{.seq_length = 64, .batch_size = 8, .mask_probability = 1.5}, "mask probability 1.5"},
    };
    fixture f;
    open_fixture(&f, &text, &plain);
    mb_error error;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mb_batcher *batcher;
        cr_expect_eq(mb_batcher_new(&f.shard, f.tokenizer, &cases[i].options, &batcher, &error), MB_ERROR_USAGE, "case %zu", i);
        cr_expect_null(batcher);
        cr_expect_not_null(strstr(error.message, cases[i].message), "case %zu: %s", i, error.message);
    }
    mb_batch batch = {0};
    cr_expect_eq(mb_batcher_get(f.batcher, -1, &batch, &error), MB_ERROR_USAGE);
    mb_batcher *batcher;
    mb_shard other = f.shard;
    other.vocab_size++;
    cr_expect_eq(mb_batcher_new(&other, f.tokenizer, &plain, &batcher, &error), MB_ERROR_MISMATCH);
    close_fixture(&f);

    static const test_shard_options one = {
        .stream = 21, .n_documents = 1, .max_lines = 9, .max_line_tokens = 9, .max_word_tokens = 1};
    open_fixture(&f, &one, &plain);
    mb_batch_options pairs = plain;
    pairs.next_sentence = true;
    cr_expect_eq(mb_batcher_new(&f.shard, f.tokenizer, &pairs, &batcher, &error), MB_ERROR_USAGE);
    cr_expect_not_null(strstr(error.message, "two documents"));
    close_fixture(&f);
}

Test(batch, unigram_entropy_of_known_counts) {
    char *dir = test_dir_new(), *path = mb_path_join(dir, "x.shard");
    mb_shard_writer *writer;
    mb_error error;
    cr_assert_eq(mb_shard_writer_open(path, 0, TEST_VOCAB_SIZE, &writer, &error), MB_OK);
    const uint32_t tokens[] = {7, 7 | MB_SHARD_CONTINUES, 7, 7, 9, 9, 50, 51}; /* 1/2, 1/4, 1/8, 1/8: 1.75 bits */
    mb_shard_writer_add_line(writer, tokens, 8, true);
    cr_assert_eq(mb_shard_writer_commit(writer, &error), MB_OK);
    mb_shard shard;
    cr_assert_eq(mb_shard_open(path, true, &shard, &error), MB_OK);
    cr_expect_float_eq(mb_shard_unigram_entropy(&shard), 1.75 * log(2), 1e-12);
    mb_shard_close(&shard);
    free(path);
    test_dir_free(dir);
}

/* The share falls in a straight line over the run, as a function of the index, or of what the clock says. */
Test(batch, the_share_of_masks_follows_the_run) {
    mb_batch_options options = plain;
    options.mask_probability = 0.4;
    options.mask_probability_end = 0.1;
    fixture f;
    open_fixture(&f, &text, &options);
    const int64_t length = 8 * mb_batcher_batches_per_epoch(f.batcher);
    mb_batch b = {0};
    for (int clock = 0; clock < 2; clock++) {
        mb_batcher_set_run_length(f.batcher, clock ? 0 : length);
        double n_masked[4] = {0}, n_tokens[4] = {0};
        for (int64_t i = 0; i < length; i++) {
            mb_batcher_set_progress(f.batcher, clock ? ((double)i + 0.5) / (double)length : 0.9);
            get(&f, i, &b);
            n_masked[4 * i / length] += (double)b.n_masked;
            n_tokens[4 * i / length] += (double)(b.n_tokens - 2 * b.n_sequences);
        }
        for (int quarter = 0; quarter < 4; quarter++) {
            const double expected = 0.4 - 0.3 * (quarter + 0.5) / 4, share = n_masked[quarter] / n_tokens[quarter];
            cr_expect_float_eq(share, expected, 0.04, "quarter %d: %.3f, expected %.3f", quarter, share, expected);
        }
    }
    mb_batch_free(&b);
    close_fixture(&f);
}
