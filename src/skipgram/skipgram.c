#include "skipgram/skipgram.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "skipgram/word_training.h"
#include "skipgram/word_vectors.h"

/* word2vec.c's are 0.025, and 0.05 for CBOW. Where a window's words share their negatives the higher one gives better vectors
 * of Skip-Gram, too. */
static const double DEFAULT_ALPHA = 0.05, DEFAULT_PAIR_ALPHA = 0.025;
enum { MAX_TREE_PATH = 64 };

/* All that a run holds; each is {0} until made. */
typedef struct run {
    const mb_skipgram_options *options;
    const mb_job *job;
    mb_map text;
    mb_vocabulary vocabulary;
    mb_alias_table negatives;
    mb_huffman tree;
    mb_subwords subwords;
    uint32_t *keep;
    mb_word_model model;
    mb_word_training training;
    double began_at;
} run;

static void run_free(run *r) {
    mb_map_close(&r->text);
    mb_vocabulary_free(&r->vocabulary);
    mb_alias_table_free(&r->negatives);
    mb_huffman_free(&r->tree);
    mb_subwords_free(&r->subwords);
    free(r->keep);
    mb_word_model_free(&r->model);
}

static mb_status check_options(const mb_skipgram_options *options, mb_error *error) {
    if (!options->corpus || !options->out) {
        return mb_fail(error, MB_ERROR_USAGE, "%s",
                       options->corpus ? "--out FILE is missing: where the vectors go"
                                       : "--corpus FILE is missing: the text to learn from");
    }
    if (options->classes != 0) {
        return mb_fail(error, MB_ERROR_USAGE, "--classes: word classes, as word2vec.c makes them, are not made here");
    }
    if (options->negative == 0 && !options->hs) {
        return mb_fail(error, MB_ERROR_USAGE, "with --negative 0, --hs is needed: there is nothing else to learn from");
    }
    if (options->save_context && options->negative == 0) {
        return mb_fail(error, MB_ERROR_USAGE, "--save-context needs negative sampling: --hs alone has no vectors of contexts");
    }
    if (options->max_chars > 0 && options->min_chars > options->max_chars) {
        return mb_fail(error, MB_ERROR_USAGE, "--minn %lld is more than --maxn %lld", (long long)options->min_chars,
                       (long long)options->max_chars);
    }
    if (options->save_ngrams && options->max_chars == 0) {
        return mb_fail(error, MB_ERROR_USAGE, "--save-ngrams needs --maxn: without it there are no n-grams");
    }
    return MB_OK;
}

static mb_subword_options subword_options(const mb_skipgram_options *options) {
    return (mb_subword_options){
        .min_chars = options->min_chars, .max_chars = options->max_chars, .n_buckets = options->buckets};
}

static mb_status read_text(run *r, mb_error *error) {
    const mb_skipgram_options *options = r->options;
    const mb_vocabulary_options vocabulary_options = {
        .min_count = options->min_count, .max_words = options->max_vocabulary, .unknown = options->unknown};
    mb_status status = mb_map_open(options->corpus, &r->text, error);
    if (status == MB_OK && options->read_vocabulary) {
        status = mb_vocabulary_load(options->read_vocabulary, &vocabulary_options, &r->vocabulary, error);
    } else if (status == MB_OK) {
        status = mb_vocabulary_count(&r->text, options->corpus, &vocabulary_options, r->job, &r->vocabulary, error);
    }
    if (status == MB_OK) {
        mb_job_message(r->job, MB_LEVEL_INFO, "%lld words, %lld of them with a vector, which %lld different ones have",
                       (long long)r->vocabulary.n_text_words, (long long)r->vocabulary.n_words,
                       (long long)r->vocabulary.words.n);
    }
    return status;
}

static mb_word_format format_of(const mb_skipgram_options *options) {
    return options->binary ? MB_WORD_FORMAT_BINARY : (mb_word_format)options->format;
}

static mb_status prepare_sampling(run *r, mb_error *error) {
    const mb_lexicon *words = &r->vocabulary.words;
    r->keep = calloc((size_t)words->n, sizeof *r->keep);
    if (!r->keep) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for %lld words", (long long)words->n);
    }
    mb_keep_thresholds(words->counts, words->n, r->vocabulary.n_words, r->options->sample, r->keep);
    mb_status status = mb_alias_table_init(&r->negatives, words->counts, words->n, r->options->exponent, error);
    if (status == MB_OK && r->options->hs) {
        status = mb_huffman_init(&r->tree, words->counts, words->n, MAX_TREE_PATH, error);
    }
    if (status == MB_OK) {
        const mb_subword_options subwords = subword_options(r->options);
        status = mb_subwords_init(&r->subwords, &subwords, words, error);
    }
    if (!r->options->save_vocabulary && format_of(r->options) != MB_WORD_FORMAT_NPY) { /* which has them beside it */
        mb_lexicon_drop_counts(&r->vocabulary.words);
    }
    return status;
}

static mb_status load_first_vectors(run *r, mb_error *error) {
    mb_word_vectors vectors;
    mb_status status = mb_word_vectors_load(r->options->init, &vectors, error);
    if (status != MB_OK) {
        return status;
    }
    int64_t n_found = 0;
    if (vectors.width != r->model.width) {
        status = mb_fail(error, MB_ERROR_MISMATCH, "'%s' has vectors of %lld numbers; use --size %lld", r->options->init,
                         (long long)vectors.width, (long long)vectors.width);
    }
    for (int64_t word = 0; status == MB_OK && word < r->vocabulary.words.n; word++) {
        size_t n_bytes;
        const char *bytes = mb_lexicon_get(&r->vocabulary.words, word, &n_bytes);
        const int64_t from = mb_lexicon_find(&vectors.words, bytes, n_bytes);
        if (from >= 0) {
            memcpy(mb_word_model_in(&r->model, word), vectors.data + from * vectors.width,
                   (size_t)vectors.width * sizeof(float));
            n_found++;
        }
    }
    if (status == MB_OK) {
        mb_job_message(r->job, MB_LEVEL_INFO, "'%s' has %lld of the %lld words", r->options->init, (long long)n_found,
                       (long long)r->vocabulary.words.n);
    }
    mb_word_vectors_free(&vectors);
    return status;
}

static mb_status make_model(run *r, mb_error *error) {
    const mb_skipgram_options *options = r->options;
    const int64_t n = r->vocabulary.words.n;
    r->model = (mb_word_model){
        .width = options->size,
        .n_words = n,
        .n_in_rows = n + (options->max_chars > 0 ? options->buckets : 0),
        .n_out_rows = (options->negative > 0 ? n : 0) + (options->hs ? n : 0),
        .subwords = options->max_chars > 0 ? &r->subwords : NULL,
        .cbow = options->cbow,
    };
    const mb_status status = mb_word_model_init(&r->model, (uint64_t)options->seed, error);
    return status == MB_OK && options->init ? load_first_vectors(r, error) : status;
}

static mb_status train(run *r, mb_error *error) {
    const mb_skipgram_options *options = r->options;
    const mb_example_source source = {
        .text = &r->text,
        .vocabulary = &r->vocabulary,
        .keep = r->keep,
        .negatives = &r->negatives,
        .tree = options->hs ? &r->tree : NULL,
        .tree_row = options->negative > 0 ? (uint32_t)r->vocabulary.words.n : 0,
        .window = (int)options->window,
        .n_negatives = (int)options->negative,
        .fixed_window = options->fixed_window,
        .one_pair = options->engine == MB_ENGINE_PLAIN && !options->cbow,
        .seed = (uint64_t)options->seed,
        .n_epochs = options->epochs,
    };
    r->training = (mb_word_training){
        .source = &source,
        .model = &r->model,
        .alpha = options->alpha > 0 ? options->alpha
                 : source.one_pair  ? DEFAULT_PAIR_ALPHA
                                    : DEFAULT_ALPHA,
        .job = r->job,
    };
    return options->deterministic ? mb_word_training_run_ordered(&r->training, error)
                                  : mb_word_training_run(&r->training, error);
}

static mb_status save(run *r, mb_error *error) {
    const mb_skipgram_options *options = r->options;
    const mb_lexicon *words = &r->vocabulary.words;
    const int64_t width = r->model.width, stride = r->model.stride;
    const mb_word_format format = format_of(options);
    mb_status status = MB_OK;
    mb_word_model_squeeze(&r->model);
    if (options->save_ngrams) { /* before the words' rows take in their n-grams, which stay as they are */
        status =
            mb_rows_save_npy(options->save_ngrams, r->model.in + words->n * stride, options->buckets, width, stride, error);
    }
    if (status == MB_OK && r->model.subwords) {
        status = mb_word_model_fold(&r->model, error);
    }
    if (status == MB_OK) {
        status = mb_word_vectors_save(options->out, format, words, r->model.in, width, stride, error);
    }
    if (status == MB_OK && options->save_context) {
        status = mb_word_vectors_save(options->save_context, format, words, r->model.out, width, stride, error);
    }
    if (status == MB_OK && options->save_vocabulary) {
        status = mb_vocabulary_save(&r->vocabulary, options->save_vocabulary, error);
    }
    return status;
}

static mb_status describe(const run *r, json_t **result, mb_error *error) {
    const mb_word_training *t = &r->training;
    const double seconds = mb_clock_seconds() - r->began_at;
    const double n_read = (double)r->vocabulary.n_text_words * (double)r->options->epochs;
    *result = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "vectors", r->options->out, "vocabulary",
                        (json_int_t)r->vocabulary.words.n, "size", (json_int_t)r->model.width, "text_words",
                        (json_int_t)r->vocabulary.n_text_words, "trained_words", (json_int_t)t->n_words, "loss", t->loss,
                        "train_seconds", t->seconds, "words_per_second", t->seconds > 0 ? (double)n_read / t->seconds : 0.0,
                        "seconds", seconds);
    return *result ? MB_OK : mb_fail(error, MB_ERROR_MEMORY, "out of memory for the result");
}

/* Counting takes tables of many times the words that are chosen. glibc would come to hold what they leave free beneath the
 * matrices; as mappings of their own they go back to the system. */
static void map_large_blocks(void) {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 17);
#endif
}

mb_status mb_skipgram(const mb_skipgram_options *options, const mb_job *job, json_t **result, mb_error *error) {
    run r = {.options = options, .job = job, .began_at = mb_clock_seconds()};
    *result = NULL;
    map_large_blocks();
    mb_status status = check_options(options, error);
    if (status == MB_OK) {
        status = read_text(&r, error);
    }
    if (status == MB_OK) {
        status = prepare_sampling(&r, error);
    }
    if (status == MB_OK) {
        status = make_model(&r, error);
    }
    if (status == MB_OK) {
        status = train(&r, error);
    }
    if (status == MB_OK) {
        status = save(&r, error);
    }
    if (status == MB_OK) {
        status = describe(&r, result, error);
    }
    run_free(&r);
    return status;
}
