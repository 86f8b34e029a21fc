#include <math.h>

#include "base/json.h"
#include "model/model.h"
#include "training_support.h"

/* A label is told by one word: "owl" in the texts of birds, "pig" in those of mammals, "koi" in those of fish. */
static const char *write_labelled(workplace *w, const char *name, uint32_t seed, uint32_t n, bool pairs) {
    static const char *const labels[] = {"mammal", "bird", "fish"}, *const telling[] = {"pig", "owl", "koi"};
    static const char *const filler[] = {"ant", "bee", "toad", "newt", "rat", "dog"};
    mb_buffer text = {0};
    mb_buffer_append_text(&text, pairs ? "label\ttext_a\ttext_b\n" : "label\ttext\n");
    for (uint32_t i = 0; i < n; i++) {
        const mb_rng_block r = mb_rng_at(seed, MB_STREAM_TEST, 1, 0, i);
        const uint32_t c = i % 3;
        cr_assert(mb_buffer_printf(&text, "%s\t%s %s%c%s %s\n", labels[c], filler[r.v[0] % 6], telling[c], pairs ? '\t' : ' ',
                                   filler[r.v[1] % 6], filler[r.v[2] % 6]));
    }
    const char *path = write_text(w, name, text.data);
    mb_buffer_free(&text);
    return path;
}

/* A model to start from: two steps of pretraining. */
static const char *write_model(workplace *w, const char *name) {
    const char *corpus = write_language(w, "corpus.txt", 1, 120), *tokenizer = write_tokenizer(w, "tokenizer", "zebra");
    const char *out = path_of(w, name);
    mb_pretrain_options o = small_pretrain(&corpus, out, tokenizer);
    json_t *result = NULL;
    mb_error error;
    o.steps = 2;
    o.hidden = 64; /* with 32 every other seed, in PyTorch as here, stops where two of the labels are one */
    ASSERT_OK(mb_pretrain(&o, NULL, &result, &error), error);
    json_decref(result);
    return out;
}

static mb_finetune_options small_finetune(const char *model, const char *train, const char *dev, const char *out) {
    mb_finetune_options o = {0};
    set_defaults(mb_finetune_option_table, &o);
    o.model = model;
    o.train = train;
    o.dev = dev;
    o.out = out;
    o.lr = 1e-3;
    o.batch_size = 8;
    o.epochs = 20;
    o.seed = 1;
    return o;
}

static json_t *finetune(const mb_finetune_options *options) {
    json_t *result = NULL;
    mb_error error;
    ASSERT_OK(mb_finetune(options, NULL, &result, &error), error);
    cr_assert_not_null(result);
    return result;
}

static void refuses(const mb_finetune_options *options, mb_status expected, const char *says) {
    json_t *result = NULL;
    mb_error error = {0};
    mb_status status = mb_finetune(options, NULL, &result, &error);
    cr_assert_eq(status, expected, "status '%s': %s", mb_status_text(status), error.message);
    ASSERT_SAYS(error, says);
}

static json_t *evaluate(const char *model, const char *data) {
    mb_evaluate_options o = {0};
    set_defaults(mb_evaluate_option_table, &o);
    o.model = model;
    o.data = data;
    json_t *result = NULL;
    mb_error error;
    ASSERT_OK(mb_evaluate(&o, NULL, NULL, &result, &error), error);
    return result;
}

/* The rows that predict writes. */
static char *predict(const char *model, const char *input, int format, int64_t batch_size) {
    mb_predict_options o = {0};
    set_defaults(mb_predict_option_table, &o);
    o.model = model;
    o.input = input;
    o.format = format;
    o.batch_size = batch_size;
    char *text = NULL;
    size_t n_bytes = 0;
    mb_error error;
    FILE *rows = open_memstream(&text, &n_bytes);
    ASSERT_OK(mb_predict(&o, NULL, rows, &error), error);
    cr_assert_eq(fclose(rows), 0);
    return text;
}

Test(finetune, tells_apart_what_can_be_told_apart) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"), *out = path_of(&w, "classifier");
    const char *train = write_labelled(&w, "train.tsv", 1, 90, false), *dev = write_labelled(&w, "dev.tsv", 2, 30, false);
    const char *test = write_labelled(&w, "test.tsv", 3, 33, false);
    mb_finetune_options o = small_finetune(model, train, dev, out);
    json_t *result = finetune(&o);
    cr_assert_eq(number(result, "accuracy"), 1, "accuracy %.3f", number(result, "accuracy"));
    cr_assert_eq(number(result, "macro_f1"), 1);
    cr_assert_eq(number(result, "matthews"), 1);
    cr_assert_float_eq(number(result, "majority"), 1.0 / 3, 1e-9);
    json_decref(result);

    /* The labels in byte order, as Hugging Face reads them. */
    json_t *config = load_json(path_of(&w, "classifier/config.json"));
    const json_t *names = json_object_get(config, "id2label");
    cr_assert_str_eq(json_string_value(json_object_get(names, "0")), "bird");
    cr_assert_str_eq(json_string_value(json_object_get(names, "1")), "fish");
    cr_assert_str_eq(json_string_value(json_object_get(names, "2")), "mammal");
    json_decref(config);

    json_t *scores = evaluate(out, test);
    cr_assert_eq(number(scores, "accuracy"), 1);
    cr_assert_eq(number(scores, "examples"), 33);
    json_decref(scores);

    /* Predictions: a line an input, in order, the same at any batch size. */
    char *rows = predict(out, test, 0, 32), *rows5 = predict(out, test, 0, 5);
    static const char *const expected[] = {"mammal", "bird", "fish"};
    int n_rows = 0;
    char *rest5 = rows5;
    for (char *rest = rows, *row = strsep(&rest, "\n"); rest != NULL; row = strsep(&rest, "\n"), n_rows++) {
        cr_assert(strncmp(row, expected[n_rows % 3], strlen(expected[n_rows % 3])) == 0, "row %d: %s", n_rows, row);
        const double score = atof(strchr(row, '\t') + 1), score5 = atof(strchr(strsep(&rest5, "\n"), '\t') + 1);
        cr_assert_float_eq(score, score5, 2e-6);
        cr_assert(score > 1.0 / 3 && score <= 1, "row %d: %s", n_rows, row);
    }
    cr_assert_eq(n_rows, 33);
    free(rows);
    free(rows5);

    const char *texts = write_text(&w, "texts.jsonl", "{\"text\": \"ant owl\"}\n{\"text\": \"koi\"}\n");
    rows = predict(out, texts, 1, 32);
    char *second = strchr(rows, '\n') + 1;
    json_t *row = json_loads(second, 0, NULL);
    cr_assert_str_eq(json_string_value(json_object_get(row, "label")), "fish");
    const json_t *all = json_object_get(row, "scores");
    cr_assert_float_eq(number(all, "bird") + number(all, "fish") + number(all, "mammal"), 1, 1e-5);
    cr_assert_eq(number(all, "fish"), number(row, "score"));
    json_decref(row);
    free(rows);
    workplace_end(&w);
}

Test(finetune, pairs_of_texts) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"), *out = path_of(&w, "classifier");
    const char *train = write_labelled(&w, "train.tsv", 1, 90, true), *dev = write_labelled(&w, "dev.tsv", 2, 30, true);
    mb_finetune_options o = small_finetune(model, train, dev, out);
    o.task = 1;
    json_t *result = finetune(&o);
    cr_assert_eq(number(result, "accuracy"), 1);
    json_decref(result);
    json_t *scores = evaluate(out, dev); /* the directory knows that it is for pairs */
    cr_assert_eq(number(scores, "accuracy"), 1);
    json_decref(scores);
    workplace_end(&w);
}

Test(finetune, is_a_function_of_the_seed) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"), *train = write_labelled(&w, "train.tsv", 1, 40, false);
    mb_finetune_options o = small_finetune(model, train, NULL, path_of(&w, "a"));
    o.epochs = 1;
    json_decref(finetune(&o));
    o.out = path_of(&w, "b");
    json_decref(finetune(&o));
    assert_same_path(path_of(&w, "a/model.safetensors"), path_of(&w, "b/model.safetensors"));
    o.out = path_of(&w, "c");
    o.seed = 2;
    json_decref(finetune(&o));
    mb_buffer a = read_path(path_of(&w, "a/model.safetensors")), c = read_path(path_of(&w, "c/model.safetensors"));
    cr_assert(memcmp(a.data, c.data, a.n_bytes) != 0);
    mb_buffer_free(&a);
    mb_buffer_free(&c);
    workplace_end(&w);
}

Test(finetune, several_runs_give_mean_and_deviation_and_keep_the_best) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"), *out = path_of(&w, "classifier");
    const char *train = write_labelled(&w, "train.tsv", 1, 30, false), *dev = write_labelled(&w, "dev.tsv", 2, 30, false);
    mb_finetune_options o = small_finetune(model, train, dev, out);
    o.runs = 3;
    o.epochs = 1;
    o.lr = 1e-3;
    json_t *result = finetune(&o);
    const json_t *runs = json_object_get(result, "runs");
    cr_assert_eq(json_array_size(runs), 3);
    double mean = 0, best = 0, squares = 0;
    for (size_t i = 0; i < 3; i++) {
        const double accuracy = number(json_array_get(runs, i), "accuracy");
        cr_assert_eq(number(json_array_get(runs, i), "seed"), 1 + (double)i);
        mean += accuracy / 3;
        best = fmax(best, accuracy);
    }
    for (size_t i = 0; i < 3; i++) {
        squares += pow(number(json_array_get(runs, i), "accuracy") - mean, 2);
    }
    cr_assert_float_eq(number(json_object_get(result, "mean"), "accuracy"), mean, 1e-12);
    cr_assert_float_eq(number(json_object_get(result, "std"), "accuracy"), sqrt(squares / 2), 1e-12);
    cr_assert_eq(number(result, "accuracy"), best);
    json_decref(result);
    json_t *scores = evaluate(out, dev); /* what was written is the best run */
    cr_assert_eq(number(scores, "accuracy"), best);
    json_decref(scores);
    workplace_end(&w);
}

/* Largest difference of a tensor between two directories. */
static double difference_in(mb_head head, const char *dir_a, const char *dir_b, const char *prefix) {
    mb_model *a = NULL, *b = NULL;
    mb_error error;
    double largest = 0;
    ASSERT_OK(mb_model_load(dir_a, head, NULL, 0, false, &a, &error), error);
    ASSERT_OK(mb_model_load(dir_b, head, NULL, 0, false, &b, &error), error);
    const mb_params *pa = mb_model_params(a), *pb = mb_model_params(b);
    for (size_t v = 0; v < pa->n_views; v++) {
        const int other = mb_params_find(pb, pa->views[v].name);
        if (other >= 0 && strstr(pa->views[v].name, prefix) != NULL) {
            for (int64_t i = 0; i < pa->views[v].count; i++) {
                largest =
                    fmax(largest,
                         fabs((double)(mb_params_weights(pa, &pa->views[v])[i] - mb_params_weights(pb, &pb->views[other])[i])));
            }
        }
    }
    mb_model_free(a);
    mb_model_free(b);
    return largest;
}

static double difference(const char *dir_a, const char *dir_b, const char *prefix) {
    return difference_in(MB_HEAD_NONE, dir_a, dir_b, prefix);
}

/* The weights in `mean` are the means of those in the others, which differ. */
static void assert_mean(const char *dir_a, const char *dir_b, const char *mean) {
    const char *const dirs[] = {dir_a, dir_b, mean};
    mb_model *models[3] = {0};
    const mb_params *params[3];
    mb_error error;
    double largest = 0, apart = 0;
    for (int i = 0; i < 3; i++) {
        ASSERT_OK(mb_model_load(dirs[i], MB_HEAD_CLASSIFIER, NULL, 0, true, &models[i], &error), error);
        params[i] = mb_model_params(models[i]);
    }
    for (int64_t i = 0; i < params[0]->count; i++) {
        const double a = (double)params[0]->weights[i], b = (double)params[1]->weights[i];
        largest = fmax(largest, fabs((double)params[2]->weights[i] - (a + b) / 2));
        apart = fmax(apart, fabs(a - b));
    }
    cr_assert_gt(apart, 1e-3);
    cr_assert_lt(largest, 1e-6);
    for (int i = 0; i < 3; i++) {
        mb_model_free(models[i]);
    }
}

Test(finetune, runs_may_be_merged) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"), *train = write_labelled(&w, "train.tsv", 1, 30, false);
    const char *dev = write_labelled(&w, "dev.tsv", 2, 30, false);
    mb_finetune_options o = small_finetune(model, train, NULL, path_of(&w, "one"));
    o.epochs = 0.01; /* one step */
    o.lr = 1e-12;
    json_decref(finetune(&o));
    const char *one = o.out;
    o.out = path_of(&w, "three");
    o.runs = 3;
    o.merge_runs = true;
    json_decref(finetune(&o));
    cr_assert_lt(difference_in(MB_HEAD_CLASSIFIER, one, o.out, ""), 1e-7, "the mean of what hardly moved from one beginning");

    o = small_finetune(model, train, dev, path_of(&w, "merged"));
    o.runs = 3;
    o.merge_runs = true;
    json_t *result = finetune(&o), *scores = evaluate(o.out, dev);
    cr_assert_str_eq(json_string_value(json_object_get(result, "kept")), "mean of the runs");
    cr_assert_eq(number(result, "accuracy"), 1);
    cr_assert_eq(number(scores, "accuracy"), 1, "what was written is what was scored");
    cr_assert_float_eq(number(scores, "loss"), number(result, "loss"), 1e-9);
    json_decref(result);
    json_decref(scores);
    /* From a model that has a classifier, so that runs with other seeds begin with it too. */
    o = small_finetune(one, train, NULL, path_of(&w, "a"));
    o.epochs = 1;
    json_decref(finetune(&o));
    o.out = path_of(&w, "b");
    o.seed = 2;
    json_decref(finetune(&o));
    o.out = path_of(&w, "mean");
    o.seed = 1;
    o.runs = 2;
    o.merge_runs = true;
    json_decref(finetune(&o));
    assert_mean(path_of(&w, "a"), path_of(&w, "b"), o.out);
    workplace_end(&w);
}

Test(finetune, a_frozen_encoder_and_one_from_scratch) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"), *train = write_labelled(&w, "train.tsv", 1, 40, false);
    mb_finetune_options o = small_finetune(model, train, NULL, path_of(&w, "frozen"));
    o.epochs = 1;
    o.freeze_encoder = true;
    json_decref(finetune(&o));
    cr_assert_eq(difference(model, o.out, "encoder.layer"), 0);
    cr_assert_eq(difference(model, o.out, "embeddings"), 0);
    o.out = path_of(&w, "tuned");
    o.freeze_encoder = false;
    json_decref(finetune(&o));
    cr_assert_gt(difference(model, o.out, "encoder.layer"), 0);
    cr_assert_lt(difference(model, o.out, "word_embeddings"), 0.05, "no more than a few small steps away");
    o.out = path_of(&w, "scratch");
    o.from_scratch = true;
    o.epochs = 0.01; /* one step */
    o.lr = 1e-9;
    json_decref(finetune(&o));
    cr_assert_gt(difference(model, o.out, "encoder.layer"), 0.01, "weights of its own");
    workplace_end(&w);
}

Test(finetune, nothing_can_be_learnt_from_words_that_are_hidden) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"), *dev = write_labelled(&w, "dev.tsv", 2, 30, false);
    mb_finetune_options o =
        small_finetune(model, write_labelled(&w, "train.tsv", 1, 90, false), dev, path_of(&w, "classifier"));
    o.word_dropout = 1;
    json_t *result = finetune(&o);
    cr_assert_lt(number(result, "accuracy"), 0.7, "accuracy %.3f", number(result, "accuracy"));
    json_decref(result);
    workplace_end(&w);
}

/* Fine-tunes, and tells whether it was warned that all dev texts get one label. */
static bool warns_of_one_answer(const mb_finetune_options *options) {
    notes n = {.stop_at_step = 0};
    const mb_job job = job_of(&n);
    json_t *result = NULL;
    mb_error error;
    ASSERT_OK(mb_finetune(options, &job, &result, &error), error);
    json_decref(result);
    return strstr(n.text, "warning: run 1 gives all") != NULL;
}

#define SEEN_ROWS "label\ttext\nseen\tpig ant\nseen\tpig bee\nseen\tpig rat\nseen\tpig dog\nseen\tpig newt\nseen\tpig toad\n"

/* Hidden texts of equal length, six "seen" to two "rare": nothing is left but the labels' shares. */
Test(finetune, a_classifier_with_one_answer_is_told_of) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"),
               *data = write_text(&w, "data.tsv", SEEN_ROWS "rare\towl ant\nrare\towl bee\n");
    mb_finetune_options o = small_finetune(model, data, data, path_of(&w, "hidden"));
    o.epochs = 150;
    o.word_dropout = 1;
    cr_assert(warns_of_one_answer(&o));
    o.out = path_of(&w, "read");
    o.word_dropout = 0;
    cr_assert(!warns_of_one_answer(&o));
    o.out = path_of(&w, "one");
    o.dev = write_text(&w, "dev.tsv", SEEN_ROWS); /* which has one answer */
    cr_assert(!warns_of_one_answer(&o));
    workplace_end(&w);
}

/* The mean loss of the first or last n_wanted steps of --adapt-epochs. */
static double adapt_loss(const char *out, size_t n_wanted, bool last) {
    char *path = mb_path_join(out, "metrics.jsonl");
    mb_buffer text = read_path(path);
    double losses[512], sum = 0;
    size_t n = 0;
    for (char *line = strtok(text.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        json_t *record = json_loads(line, 0, NULL);
        if (strcmp(json_string_value(json_object_get(record, "event")), "adapt") == 0) {
            cr_assert_lt(n, 512);
            losses[n++] = number(record, "loss");
        }
        json_decref(record);
    }
    cr_assert_geq(n, 2 * n_wanted);
    for (size_t i = 0; i < n_wanted; i++) {
        sum += losses[last ? n - 1 - i : i] / (double)n_wanted;
    }
    mb_buffer_free(&text);
    free(path);
    return sum;
}

Test(finetune, adapting_learns_the_texts_and_goes_on_from_there) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"), *train = write_labelled(&w, "train.tsv", 1, 200, false);
    mb_finetune_options o = small_finetune(model, train, NULL, path_of(&w, "a"));
    o.adapt_epochs = 200; /* a step each */
    o.epochs = 0.01;      /* one step */
    o.freeze_encoder = true;
    o.log_every = 1;
    json_decref(finetune(&o));
    cr_assert_lt(adapt_loss(o.out, 5, true), adapt_loss(o.out, 5, false) - 1);
    cr_assert_gt(difference(model, o.out, "encoder.layer"), 0.01, "the encoder that was adapted");
    cr_assert_gt(difference(model, o.out, "embeddings"), 0.01);
    const char *first = o.out;
    o.out = path_of(&w, "b");
    o.lr = 1e-2;
    json_decref(finetune(&o));
    cr_assert_eq(difference(first, o.out, "encoder.layer"), 0, "a function of the seed");
    cr_assert_eq(difference(first, o.out, "embeddings"), 0);
    o.out = path_of(&w, "c");
    o.seed = 2;
    json_decref(finetune(&o));
    cr_assert_gt(difference(first, o.out, "encoder.layer"), 0);
    workplace_end(&w);
}

Test(finetune, what_cannot_be_right_is_refused_and_leaves_nothing) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"), *train = write_labelled(&w, "train.tsv", 1, 12, false);
    const char *out = path_of(&w, "classifier");
    mb_finetune_options o = small_finetune(model, train, NULL, out), bad = o;
    bad.dev = write_text(&w, "dev.tsv", "label\ttext\nbird\towl\nreptile\tnewt\n");
    refuses(&bad, MB_ERROR_MISMATCH, "line 3 has the label 'reptile'");
    bad = o;
    bad.train = write_text(&w, "single.tsv", "label\ttext\nbird\towl\nbird\tlark\n");
    refuses(&bad, MB_ERROR_FORMAT, "at least two labels");
    bad = o;
    bad.runs = 2;
    refuses(&bad, MB_ERROR_USAGE, "--dev");
    bad.runs = 1;
    bad.merge_runs = true;
    refuses(&bad, MB_ERROR_USAGE, "--runs 2");
    bad = o;
    bad.out = model;
    refuses(&bad, MB_ERROR_USAGE, "the model itself");
    bad = o;
    bad.adapt_epochs = 1;
    bad.from_scratch = true;
    refuses(&bad, MB_ERROR_USAGE, "--adapt-epochs");
    bad.from_scratch = false;
    bad.train = write_text(&w, "empty.tsv", "label\ttext\nbird\t\nfish\t\n");
    refuses(&bad, MB_ERROR_FORMAT, "texts are empty");
    bad = o;
    bad.lr = 1e30;
    bad.epochs = 20;
    refuses(&bad, MB_ERROR_DIVERGED, "--lr");
    cr_assert(!mb_path_exists(out));

    o.epochs = 1;
    json_decref(finetune(&o));
    refuses(&o, MB_ERROR_USAGE, "already holds a model");
    o.overwrite = true;
    json_decref(finetune(&o));
    workplace_end(&w);
}

Test(finetune, a_tokenizer_of_another_model_is_refused) {
    workplace w = workplace_begin();
    const char *model = write_model(&w, "model"), *train = write_labelled(&w, "train.tsv", 1, 12, false);
    mb_finetune_options o = small_finetune(model, train, NULL, path_of(&w, "classifier"));
    /* One piece more than the model has embeddings for. */
    mb_error error;
    mb_buffer vocab = read_path(path_of(&w, "model/vocab.txt"));
    cr_assert(mb_buffer_append_text(&vocab, "yak\n"));
    ASSERT_OK(mb_file_write(path_of(&w, "model/vocab.txt"), vocab.data, vocab.n_bytes, &error), error);
    ASSERT_OK(mb_path_remove(path_of(&w, "model/tokenizer.json"), &error), error);
    mb_buffer_free(&vocab);
    refuses(&o, MB_ERROR_MISMATCH, "26");
    workplace_end(&w);
}
