#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/sequences.h"
#include "unit/data/support.h"

static mb_sequence_plan plan_of(const mb_shard *shard, int32_t seq_length, bool pairs) {
    mb_sequence_plan plan;
    mb_error error;
    cr_assert_eq(mb_sequence_plan_new(shard, seq_length, pairs, &plan, &error), MB_OK, "%s", error.message);
    return plan;
}

static bool is_line_start(const mb_shard *shard, uint64_t token) {
    const uint64_t line = mb_shard_line_of(shard, token);
    return token == (line == 0 ? 0 : shard->line_ends[line - 1]);
}

static bool is_document_start(const mb_shard *shard, uint64_t token) {
    const uint64_t document = mb_shard_document_of(shard, token);
    return token == (document == 0 ? 0 : mb_shard_document_end(shard, document - 1));
}

/* A run that ends inside its document: as full as whole lines make it, and cut within a line only where they do not. */
static void check_cut(const mb_shard *shard, mb_run run, uint64_t room) {
    const uint64_t n = run.end - run.start;
    if (8 * n < 7 * room) { /* only to keep the next word, or the next line's first one, whole */
        uint64_t word_end = run.end + 1;
        while (word_end < shard->n_tokens && (shard->tokens[word_end] & MB_SHARD_CONTINUES)) {
            word_end++;
        }
        cr_assert_gt(word_end - run.start, room, "the run at %lu is cut too early", run.start);
    } else if (!is_line_start(shard, run.end)) {
        const uint64_t line = mb_shard_line_of(shard, run.end);
        const uint64_t whole = line == 0 ? 0 : shard->line_ends[line - 1];
        cr_assert(whole <= run.start || 8 * (whole - run.start) < 7 * room, "the run at %lu cuts a line without need",
                  run.start);
        if (shard->tokens[run.end] & MB_SHARD_CONTINUES) { /* a word is cut only if it is longer than the run */
            uint64_t word = run.end;
            while (word > run.start && (shard->tokens[word] & MB_SHARD_CONTINUES)) {
                word--;
            }
            cr_assert_eq(word, run.start, "the run at %lu cuts a word without need", run.start);
        }
    }
}

/* Checks the rules of the header on every sequence, by slow and separate means. */
static void check_plan(const mb_shard *shard, const mb_sequence_plan *plan, int32_t seq_length, bool pairs) {
    const uint64_t length = (uint64_t)seq_length, room = length - (pairs ? 3 : 2);
    uint64_t n_positions = 0;
    unsigned char *times = calloc(shard->n_tokens, 1);
    for (uint64_t i = 0; i < plan->n; i++) {
        uint64_t positions = 1;
        cr_assert_lt(plan->first_runs[i], plan->first_runs[i + 1], "sequence %lu is empty", i);
        cr_assert(!pairs || plan->first_runs[i] == i, "a pair is made of one run");
        for (uint64_t r = plan->first_runs[i]; r < plan->first_runs[i + 1]; r++) {
            const mb_run run = mb_sequence_plan_run(plan, r);
            cr_assert(run.start < run.end && run.end <= shard->n_tokens);
            const uint64_t document = mb_shard_document_of(shard, run.start),
                           document_end = mb_shard_document_end(shard, document);
            cr_assert_leq(run.end, document_end, "run %lu holds two documents", r);
            if (r > plan->first_runs[i]) {
                cr_assert(is_document_start(shard, run.start) && run.end == document_end, "only whole documents join");
            }
            if (run.end < document_end) {
                cr_assert_eq(plan->first_runs[i + 1] - plan->first_runs[i], 1, "nothing joins a document that goes on");
                check_cut(shard, run, room);
            }
            positions += run.end - run.start + 1;
            for (uint64_t t = run.start; t < run.end; t++) {
                times[t]++;
            }
        }
        cr_assert_leq(positions + (pairs ? 1 : 0), length, "sequence %lu is too long", i);
        n_positions += positions;
    }
    for (uint64_t t = 0; t < shard->n_tokens; t++) {
        cr_assert_eq(times[t], 1, "token %lu lies in %d runs", t, times[t]);
    }
    free(times);
    cr_assert_eq(plan->n_positions, n_positions);
}

Test(sequences, follow_the_rules_on_random_text) {
    static const test_shard_options shards[] = {
        {.stream = 1, .n_documents = 300, .max_lines = 1, .max_line_tokens = 12, .max_word_tokens = 3},
        {.stream = 2, .n_documents = 50, .max_lines = 40, .max_line_tokens = 30, .max_word_tokens = 3},
        {.stream = 3, .n_documents = 10, .max_lines = 4, .max_line_tokens = 700, .max_word_tokens = 4},
        {.stream = 4, .n_documents = 20, .max_lines = 5, .max_line_tokens = 100, .max_word_tokens = 60},
        {.stream = 10, .n_documents = 400, .max_lines = 3, .max_line_tokens = 200, .max_word_tokens = 2},
        {.stream = 5, .n_documents = 1, .max_lines = 1, .max_line_tokens = 1, .max_word_tokens = 1},
    };
    static const int32_t lengths[] = {5, 6, 16, 33, 128, 512};
    char *dir = test_dir_new();
    for (size_t i = 0; i < sizeof(shards) / sizeof(shards[0]); i++) {
        mb_shard shard;
        test_shard_new(dir, &shards[i], &shard);
        for (size_t j = 0; j < sizeof(lengths) / sizeof(lengths[0]); j++) {
            for (int pairs = 0; pairs < 2; pairs++) {
                mb_sequence_plan plan = plan_of(&shard, lengths[j], pairs);
                check_plan(&shard, &plan, lengths[j], pairs);
                mb_sequence_plan_free(&plan);
            }
        }
        mb_shard_close(&shard);
    }
    test_dir_free(dir);
}

/* Hand-worked: room for 8 tokens. Documents of 3, 3, 1, 8, 20 (lines 7, 7, 6) and 2 tokens. */
Test(sequences, hand_worked_example) {
    static const uint32_t lines[][2] = {{3, 1}, {3, 1}, {1, 1}, {8, 1}, {7, 1}, {7, 0}, {6, 0}, {2, 1}};
    char *dir = test_dir_new(), *path = mb_path_join(dir, "x.shard");
    mb_shard_writer *writer;
    mb_error error;
    const uint32_t tokens[8] = {5, 6, 7, 8, 9, 10, 11, 12};
    cr_assert_eq(mb_shard_writer_open(path, 0, TEST_VOCAB_SIZE, &writer, &error), MB_OK);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        mb_shard_writer_add_line(writer, tokens, lines[i][0], lines[i][1] != 0);
    }
    cr_assert_eq(mb_shard_writer_commit(writer, &error), MB_OK);
    mb_shard shard;
    cr_assert_eq(mb_shard_open(path, true, &shard, &error), MB_OK);
    mb_sequence_plan plan = plan_of(&shard, 10, false);
    /* 3 and 3 share a sequence of 9 positions; 1 with its [SEP] would make 11. It waits for company. 8 fills a sequence; of the
     * 20, 7 (7/8 of the room: whole lines), 7 and 6, behind which 2 with its [SEP] would make 11: it joins the 1. */
    static const uint64_t expected[][3] = {{0, 3, 0},  {3, 6, 0},   {6, 7, 1},   {35, 37, 1},
                                           {7, 15, 2}, {15, 22, 3}, {22, 29, 4}, {29, 35, 5}};
    cr_assert_eq(plan.n, 6);
    for (uint64_t s = 0, r = 0; s < plan.n; s++) {
        for (; r < plan.first_runs[s + 1]; r++) {
            const mb_run run = mb_sequence_plan_run(&plan, r);
            cr_expect(run.start == expected[r][0] && run.end == expected[r][1] && s == expected[r][2],
                      "run %lu: %lu to %lu in %lu", r, run.start, run.end, s);
        }
    }
    cr_assert_eq(plan.first_runs[plan.n], 8);
    cr_assert_eq(plan.n_positions, 9 + 6 + 10 + 9 + 9 + 8);
    mb_sequence_plan_free(&plan);
    plan = plan_of(&shard, 11, false); /* [CLS] 3 [SEP] 3 [SEP] 1 [SEP] = 11 */
    cr_assert_eq(plan.first_runs[1], 3);
    mb_sequence_plan_free(&plan);
    mb_shard_close(&shard);
    free(path);
    test_dir_free(dir);
}

Test(sequences, are_well_filled_where_documents_allow) {
    /* Long documents, documents short beside the sequence, and documents of any length up to one and a half sequences. */
    static const test_shard_options shards[] = {
        {.stream = 6, .n_documents = 60, .max_lines = 200, .max_line_tokens = 60, .max_word_tokens = 3},
        {.stream = 7, .n_documents = 3000, .max_lines = 2, .max_line_tokens = 12, .max_word_tokens = 3},
        {.stream = 9, .n_documents = 3000, .max_lines = 1, .max_line_tokens = 190, .max_word_tokens = 3},
    };
    char *dir = test_dir_new();
    for (size_t i = 0; i < sizeof(shards) / sizeof(shards[0]); i++) {
        mb_shard shard;
        test_shard_new(dir, &shards[i], &shard);
        mb_sequence_plan plan = plan_of(&shard, 128, false);
        const double fill = (double)plan.n_positions / ((double)plan.n * 128);
        cr_expect_gt(fill, 0.92, "shard %zu: %.3f", i, fill);
        mb_sequence_plan_free(&plan);
        mb_shard_close(&shard);
    }
    test_dir_free(dir);
}

Test(sequences, too_short_a_length_is_refused) {
    char *dir = test_dir_new();
    mb_shard shard;
    test_shard_new(
        dir, &(test_shard_options){.stream = 8, .n_documents = 3, .max_lines = 2, .max_line_tokens = 9, .max_word_tokens = 2},
        &shard);
    static const struct {
        int32_t length;
        bool pairs;
        mb_status status;
    } cases[] = {{2, false, MB_ERROR_USAGE},        {3, false, MB_OK},
                 {0, false, MB_ERROR_USAGE},        {-7, false, MB_ERROR_USAGE},
                 {4, true, MB_ERROR_USAGE},         {5, true, MB_OK},
                 {INT32_MIN, true, MB_ERROR_USAGE}, {1 << 20, false, MB_ERROR_USAGE},
                 {INT32_MAX, false, MB_ERROR_USAGE}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mb_sequence_plan plan;
        mb_error error;
        cr_expect_eq(mb_sequence_plan_new(&shard, cases[i].length, cases[i].pairs, &plan, &error), cases[i].status, "length %d",
                     cases[i].length);
        mb_sequence_plan_free(&plan);
    }
    mb_shard_close(&shard);
    test_dir_free(dir);
}
