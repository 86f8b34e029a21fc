#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "skipgram/examples.h"
#include "unit/skipgram/support.h"

/* A source over a text with all its words and a uniform choice of everything. */
typedef struct fixture {
    mb_map text;
    mb_vocabulary vocabulary;
    mb_alias_table negatives;
    mb_huffman tree;
    uint32_t *keep;
    mb_example_source source;
    mb_example_stream stream;
    mb_example example;
} fixture;

static fixture *fixture_new(const char *text, int window) {
    fixture *f = calloc(1, sizeof *f);
    mb_error error;
    f->text = test_map(text);
    const mb_vocabulary_options options = {.min_count = 1};
    cr_assert_eq(mb_vocabulary_count(&f->text, "text", &options, NULL, &f->vocabulary, &error), MB_OK, "%s", error.message);
    const mb_lexicon *words = &f->vocabulary.words;
    cr_assert_eq(mb_alias_table_init(&f->negatives, words->counts, words->n, 0.75, &error), MB_OK);
    f->keep = malloc((size_t)words->n * sizeof *f->keep);
    mb_keep_thresholds(words->counts, words->n, f->vocabulary.n_words, 0, f->keep);
    f->source = (mb_example_source){.text = &f->text,
                                    .vocabulary = &f->vocabulary,
                                    .keep = f->keep,
                                    .negatives = &f->negatives,
                                    .window = window,
                                    .n_negatives = 2,
                                    .fixed_window = true,
                                    .one_pair = true,
                                    .seed = 1,
                                    .n_epochs = 1};
    return f;
}

static void fixture_free(fixture *f) {
    mb_vocabulary_free(&f->vocabulary);
    mb_alias_table_free(&f->negatives);
    mb_huffman_free(&f->tree);
    free(f->keep);
    free(f);
}

static uint32_t word(const fixture *f, const char *text) {
    const int64_t id = mb_lexicon_find(&f->vocabulary.words, text, strlen(text));
    cr_assert_geq(id, 0, "'%s' has no number", text);
    return (uint32_t)id;
}

/* How often `in` meets `out` as a pair of the text; checks the shape of all examples. */
static int count_pairs(fixture *f, const char *in, const char *out) {
    int n = 0;
    mb_example_stream_init(&f->stream, &f->source, 0, 1);
    while (mb_example_stream_next(&f->stream, &f->example)) {
        const mb_example *e = &f->example;
        cr_assert_eq(e->label[0], 1.0f);
        for (int o = 1; o < e->n_out; o++) {
            cr_assert_eq(e->label[o], 0.0f);
            cr_assert_neq(e->out[o], e->out[0], "the word itself is no negative");
        }
        for (int i = 0; i < e->n_in; i++) {
            n += e->in[i] == word(f, in) && e->out[0] == word(f, out);
        }
    }
    return n;
}

Test(examples, the_articles_sentence_gives_the_articles_pairs) {
    static const char *const words[] = {"The", "cat", "sits", "on", "the", "mat."};
    static const bool near_cat[] = {true, false, true, true, false, false};
    fixture *f = fixture_new("The cat sits on the mat.\n", 2);
    for (int one_pair = 0; one_pair < 2; one_pair++) {
        f->source.one_pair = one_pair;
        for (int i = 0; i < 6; i++) {
            cr_assert_eq(count_pairs(f, "cat", words[i]), near_cat[i], "cat, %s", words[i]);
            cr_assert_eq(count_pairs(f, words[i], "cat"), near_cat[i], "%s, cat", words[i]);
        }
    }
    cr_assert_eq(f->stream.n_words, 6);
    fixture_free(f);
}

Test(examples, a_line_is_a_sentence) {
    fixture *f = fixture_new("a b\nc d\n\n\ne", 5);
    cr_assert_eq(count_pairs(f, "a", "b"), 1);
    cr_assert_eq(count_pairs(f, "b", "c"), 0);
    cr_assert_eq(count_pairs(f, "d", "e"), 0);
    cr_assert_eq(count_pairs(f, "d", "c"), 1);
    cr_assert_eq(f->stream.n_words, 5, "a word alone counts as read");
    fixture_free(f);
}

Test(examples, each_word_is_in_one_range_whatever_their_number) {
    char *text = test_paired_text(300);
    fixture *f = fixture_new(text, 5);
    for (int n_ranges = 1; n_ranges < 40; n_ranges += 7) {
        int64_t n_words = 0;
        for (int r = 0; r < n_ranges; r++) {
            mb_example_stream_init(&f->stream, &f->source, r, n_ranges);
            while (mb_example_stream_next(&f->stream, &f->example)) {
            }
            n_words += f->stream.n_words;
        }
        cr_assert_eq(n_words, f->vocabulary.n_words, "%d ranges: %lld words", n_ranges, (long long)n_words);
    }
    fixture_free(f);
    free(text);
}

Test(examples, epochs_read_the_text_again) {
    fixture *f = fixture_new("a b c", 1);
    f->source.n_epochs = 3;
    cr_assert_eq(count_pairs(f, "a", "b"), 3);
    cr_assert_eq(f->stream.n_words, 9);
    fixture_free(f);
}

Test(examples, windows_are_drawn_evenly) {
    mb_buffer text = {0};
    for (int i = 0; i < 40000; i++) {
        mb_buffer_printf(&text, "w%d ", i % 900);
    }
    fixture *f = fixture_new(text.data, 4);
    f->source.fixed_window = f->source.one_pair = false;
    int reach[5] = {0}, n = 0;
    mb_example_stream_init(&f->stream, &f->source, 0, 1);
    while (mb_example_stream_next(&f->stream, &f->example)) {
        const int k = f->example.n_in;
        if (k % 2 == 0) {
            reach[k / 2]++;
            n++;
        }
    }
    for (int k = 1; k <= 4; k++) {
        cr_assert_float_eq(reach[k] / (double)n, 0.25, 0.012, "reach %d: %d of %d", k, reach[k], n);
    }
    fixture_free(f);
    mb_buffer_free(&text);
}

Test(examples, frequent_words_are_passed_over_as_often_as_the_rule_says) {
    mb_buffer text = {0};
    for (int i = 0; i < 60000; i++) {
        mb_buffer_printf(&text, "the w%d ", i % 500);
    }
    fixture *f = fixture_new(text.data, 1);
    const double sample = 1e-2, share = 0.5, expected = sqrt(sample / share) + sample / share;
    mb_keep_thresholds(f->vocabulary.words.counts, f->vocabulary.words.n, f->vocabulary.n_words, sample, f->keep);
    cr_assert_eq(f->keep[word(f, "w7")], UINT32_MAX);
    f->source.one_pair = false;
    int n = 0;
    mb_example_stream_init(&f->stream, &f->source, 0, 1);
    while (mb_example_stream_next(&f->stream, &f->example)) {
        n += f->example.out[0] == word(f, "the");
    }
    cr_assert_float_eq(n / 60000.0, expected, 0.005, "kept %d of 60000, expected %.3f", n, expected);
    fixture_free(f);
    mb_buffer_free(&text);
}

Test(examples, negatives_are_drawn_by_count_to_the_power) {
    static const int64_t counts[] = {1000, 100, 10, 1, 5000, 16};
    static const double exponents[] = {0.75, 0, 1, -0.5};
    for (size_t x = 0; x < 4; x++) {
        mb_alias_table table;
        mb_error error;
        cr_assert_eq(mb_alias_table_init(&table, counts, 6, exponents[x], &error), MB_OK);
        double total = 0;
        int drawn[6] = {0};
        enum { N = 400000 };
        uint64_t random = 12345;
        for (int i = 0; i < N; i++) {
            drawn[mb_alias_table_draw(&table, &random)]++;
        }
        for (int i = 0; i < 6; i++) {
            total += pow((double)counts[i], exponents[x]);
        }
        for (int i = 0; i < 6; i++) {
            const double p = pow((double)counts[i], exponents[x]) / total;
            cr_assert_float_eq(drawn[i] / (double)N, p, 5 * sqrt(p / N) + 1e-6, "exponent %.2f, %d: %d drawn", exponents[x], i,
                               drawn[i]);
        }
        mb_alias_table_free(&table);
    }
}

Test(examples, the_huffman_tree_of_a_textbook) {
    /* 45 16 13 12 9 5: codes of 1 3 3 3 4 4 turns (Cormen et al., section 16.3) */
    static const int64_t counts[] = {45, 16, 13, 12, 9, 5};
    static const uint32_t lengths[] = {1, 3, 3, 3, 4, 4};
    mb_huffman tree;
    mb_error error;
    cr_assert_eq(mb_huffman_init(&tree, counts, 6, 64, &error), MB_OK, "%s", error.message);
    cr_assert_eq(tree.longest, 4);
    double kraft = 0;
    for (int i = 0; i < 6; i++) {
        const uint32_t length = tree.starts[i + 1] - tree.starts[i];
        cr_assert_eq(length, lengths[i], "word %d: %u turns", i, length);
        cr_assert_eq(tree.nodes[tree.starts[i]], 4u, "every path begins at the root, the node made last");
        kraft += pow(0.5, length);
        for (int j = 0; j < i; j++) { /* no code is the beginning of another */
            const uint32_t other = tree.starts[j + 1] - tree.starts[j], n = other < length ? other : length;
            cr_assert_neq(memcmp(tree.turns + tree.starts[i], tree.turns + tree.starts[j], n), 0, "words %d and %d", i, j);
        }
    }
    cr_assert_float_eq(kraft, 1, 1e-12);
    mb_huffman_free(&tree);
    cr_assert_eq(mb_huffman_init(&tree, counts, 6, 3, &error), MB_ERROR_FORMAT);
}

Test(examples, hierarchical_softmax_gives_the_path_beside_the_negatives) {
    fixture *f = fixture_new("a a a a b b c", 1);
    mb_error error;
    cr_assert_eq(mb_huffman_init(&f->tree, f->vocabulary.words.counts, 3, 64, &error), MB_OK);
    f->source.tree = &f->tree;
    f->source.tree_row = 3;
    f->source.n_negatives = 0;
    mb_example_stream_init(&f->stream, &f->source, 0, 1);
    /* c and b make node 0, that and a the root. As in word2vec.c the lesser of two turns by 0, and 0 is the label 1. */
    int n_a = 0, n_b = 0, n_c = 0;
    while (mb_example_stream_next(&f->stream, &f->example)) {
        const mb_example *e = &f->example;
        cr_assert_eq(e->out[0], 3u + 1u, "the root is the last node made");
        if (e->n_out == 1) {
            cr_assert_eq(e->label[0], 0.0f, "a is the right branch of the root");
            n_a++;
        } else {
            cr_assert_eq(e->n_out, 2);
            cr_assert_eq(e->label[0], 1.0f, "b and c are in its left branch");
            cr_assert_eq(e->out[1], 3u);
            n_b += e->label[1] == 0.0f;
            n_c += e->label[1] == 1.0f;
        }
    }
    cr_assert(n_a == 7 && n_b == 4 && n_c == 1, "a %d, b %d, c %d pairs", n_a, n_b, n_c);
    fixture_free(f);
}
