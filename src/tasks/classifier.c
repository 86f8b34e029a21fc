#include "tasks/classifier.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory: try a smaller --batch-size");
}

/* --- texts to tokens --- */

static size_t text_bytes(const char *text) {
    return text != NULL ? strlen(text) : 0;
}

static bool grow(mb_classifier_set *set, int64_t needed, int64_t *capacity) {
    if (needed <= *capacity && set->ids != NULL && set->types != NULL) {
        return true;
    }
    const int64_t larger = needed > 2 * *capacity ? needed : 2 * *capacity;
    int32_t *ids = reallocarray(set->ids, (size_t)larger, sizeof *ids);
    set->ids = ids != NULL ? ids : set->ids;
    int32_t *types = reallocarray(set->types, (size_t)larger, sizeof *types);
    set->types = types != NULL ? types : set->types;
    *capacity = ids != NULL && types != NULL ? larger : *capacity;
    return ids != NULL && types != NULL;
}

/* Encodes example i without a limit first, to know whether the limit cuts it. */
static mb_status encode_example(const mb_example *example, const mb_tokenizer *tokenizer, int32_t max_length,
                                mb_encoding *encoding, bool *cut, mb_error *error) {
    mb_status status = mb_tokenizer_encode_pair(tokenizer, example->text_a, text_bytes(example->text_a), example->text_b,
                                                text_bytes(example->text_b), 0, encoding, error);
    *cut = status == MB_OK && encoding->n_tokens > (size_t)max_length;
    return *cut ? mb_tokenizer_encode_pair(tokenizer, example->text_a, text_bytes(example->text_a), example->text_b,
                                           text_bytes(example->text_b), (size_t)max_length, encoding, error)
                : status;
}

static mb_status find_label(const mb_labelled *labelled, const mb_example *example, const char *const *labels, int32_t n_labels,
                            const char *labels_of, int32_t *out, mb_error *error) {
    *out = mb_label_index(labels, n_labels, example->label);
    if (*out < 0) {
        return mb_fail(error, MB_ERROR_MISMATCH,
                       "cannot use '%s': line %" PRId64 " has the label '%.100s', which %s does not have", labelled->path,
                       example->line, example->label, labels_of);
    }
    return MB_OK;
}

/* Encodes example i and appends it to the set. */
static mb_status append_example(mb_classifier_set *set, int64_t i, const mb_example *example, const mb_tokenizer *tokenizer,
                                int32_t max_length, mb_encoding *encoding, int64_t *capacity, mb_error *error) {
    bool cut = false;
    mb_status status = encode_example(example, tokenizer, max_length, encoding, &cut, error);
    if (status != MB_OK) {
        return status;
    }
    const int64_t n_tokens = (int64_t)encoding->n_tokens;
    if (!grow(set, set->starts[i] + n_tokens, capacity)) {
        return out_of_memory(error);
    }
    memcpy(set->ids + set->starts[i], encoding->ids, encoding->n_tokens * sizeof *set->ids);
    memcpy(set->types + set->starts[i], encoding->types, encoding->n_tokens * sizeof *set->types);
    set->starts[i + 1] = set->starts[i] + n_tokens;
    set->n_cut += cut;
    set->max_length = n_tokens > set->max_length ? (int32_t)n_tokens : set->max_length;
    return MB_OK;
}

mb_status mb_classifier_set_new(const mb_labelled *labelled, const mb_tokenizer *tokenizer, int32_t max_length,
                                const char *const *labels, int32_t n_labels, const char *labels_of, mb_classifier_set *out,
                                mb_error *error) {
    mb_classifier_set set = {.n = (int64_t)labelled->n};
    mb_encoding encoding = {0};
    int64_t capacity = 0;
    mb_status status = MB_OK;
    set.starts = calloc(labelled->n + 1, sizeof *set.starts);
    set.labels = labels != NULL ? calloc(labelled->n + 1, sizeof *set.labels) : NULL;
    if (set.starts == NULL || (labels != NULL && set.labels == NULL)) {
        status = out_of_memory(error);
    }
    for (int64_t i = 0; i < set.n && status == MB_OK; i++) {
        const mb_example *example = &labelled->examples[i];
        if (labels != NULL) {
            status = find_label(labelled, example, labels, n_labels, labels_of, &set.labels[i], error);
        }
        if (status == MB_OK) {
            status = append_example(&set, i, example, tokenizer, max_length, &encoding, &capacity, error);
        }
    }
    mb_encoding_free(&encoding);
    if (status != MB_OK) {
        mb_classifier_set_free(&set);
        return status;
    }
    *out = set;
    return MB_OK;
}

void mb_classifier_set_free(mb_classifier_set *set) {
    free(set->starts);
    free(set->ids);
    free(set->types);
    free(set->labels);
    *set = (mb_classifier_set){0};
}

/* --- batches --- */

/* A batch is computed in parts of whole examples of at most so many tokens (or of one example that is longer): activations stay
 * in the outer cache, and memory does not grow with the batch. */
enum { PART_TOKENS = 4096 };

mb_status mb_classifier_batch_new(const mb_classifier_set *set, int64_t batch_size, mb_classifier_batch *out, mb_error *error) {
    const int64_t n = batch_size < set->n ? batch_size : set->n, all = n * set->max_length;
    const size_t n_tokens = (size_t)(all < PART_TOKENS || n == 1 ? all : PART_TOKENS + set->max_length);
    *out = (mb_classifier_batch){.capacity = (int32_t)n};
    out->ids = calloc(n_tokens + 1, sizeof *out->ids);
    out->types = calloc(n_tokens + 1, sizeof *out->types);
    out->labels = calloc((size_t)n + 1, sizeof *out->labels);
    out->offsets = calloc((size_t)n + 1, sizeof *out->offsets);
    if (out->ids == NULL || out->types == NULL || out->labels == NULL || out->offsets == NULL) {
        mb_classifier_batch_free(out);
        return out_of_memory(error);
    }
    return MB_OK;
}

void mb_classifier_batch_free(mb_classifier_batch *batch) {
    free(batch->ids);
    free(batch->types);
    free(batch->labels);
    free(batch->offsets);
    *batch = (mb_classifier_batch){0};
}

/* The most parts that a batch can have: two neighbours together are longer than PART_TOKENS. */
static int64_t max_parts(const mb_classifier_set *set, int64_t batch_size) {
    const int64_t n_tokens = batch_size * set->max_length, most = 2 * n_tokens / PART_TOKENS + 1;
    return n_tokens <= PART_TOKENS ? 1 : most < batch_size ? most : batch_size;
}

static void part_begin(mb_classifier_batch *part) {
    part->n = part->max_length = 0;
    part->n_tokens = 0;
}

/* False: the part is full. */
static bool part_add(mb_classifier_batch *part, const mb_classifier_set *set, int64_t example) {
    const int64_t begin = set->starts[example], length = set->starts[example + 1] - begin;
    if (part->n == part->capacity || (part->n > 0 && part->n_tokens + length > PART_TOKENS)) {
        return false;
    }
    memcpy(part->ids + part->n_tokens, set->ids + begin, (size_t)length * sizeof *part->ids);
    memcpy(part->types + part->n_tokens, set->types + begin, (size_t)length * sizeof *part->types);
    part->labels[part->n] = set->labels != NULL ? set->labels[example] : 0;
    part->n_tokens += length;
    part->offsets[++part->n] = (int32_t)part->n_tokens;
    part->max_length = length > part->max_length ? (int32_t)length : part->max_length;
    return true;
}

static mb_tensor *forward(mb_model *model, mb_tape *tape, const mb_classifier_batch *part) {
    const mb_model_input input = {
        .n_tokens = part->n_tokens,
        .ids = part->ids,
        .types = part->types,
        .sequences = {.n = part->n, .offsets = part->offsets, .max_length = part->max_length},
    };
    return mb_model_classify(model, tape, &input);
}

int64_t mb_classifier_batches_per_epoch(const mb_classifier_set *set, int64_t batch_size) {
    return (set->n + batch_size - 1) / batch_size;
}

/* Examples of batch number `index` since the start of training. */
static int64_t batch_count(const mb_classifier_set *set, int64_t batch_size, int64_t index) {
    const int64_t begin = index % mb_classifier_batches_per_epoch(set, batch_size) * batch_size;
    return set->n - begin < batch_size ? set->n - begin : batch_size;
}

/* Example number i of batch `index`. */
static int64_t draw_example(const mb_classifier_set *set, int64_t batch_size, uint64_t seed, int64_t index, int64_t i) {
    const int64_t per_epoch = mb_classifier_batches_per_epoch(set, batch_size);
    return (int64_t)mb_rng_permute(seed, MB_STREAM_SHUFFLE, (uint32_t)(index / per_epoch),
                                   (uint64_t)(index % per_epoch * batch_size + i), (uint64_t)set->n);
}

/* Word dropout on the example that was added last. Only [CLS] and [SEP] are safe: a text of one word may lose it. */
static void hide_words(mb_classifier_batch *part, const mb_word_dropout *dropout, uint64_t seed, uint32_t epoch,
                       int64_t example) {
    int32_t *ids = part->ids + part->offsets[part->n - 1];
    const int32_t n = part->offsets[part->n] - part->offsets[part->n - 1];
    mb_rng_block block = {{0}};
    for (int32_t i = 0; i < n && dropout->probability > 0; i++) {
        if (i % 4 == 0) {
            block = mb_rng_at(seed, MB_STREAM_WORDS, epoch, (uint32_t)example, (uint32_t)i / 4);
        }
        if (ids[i] != dropout->cls_id && ids[i] != dropout->sep_id &&
            (double)mb_rng_uniform(block.v[i % 4]) < dropout->probability) {
            ids[i] = dropout->mask_id;
        }
    }
}

static int32_t argmax(const mb_real *row, int32_t n) {
    int32_t best = 0;
    for (int32_t c = 1; c < n; c++) {
        best = row[c] > row[best] ? c : best;
    }
    return best;
}

/* Adds the gradient of one part. `number`: no other part of the run has it; dropout goes by it. */
static mb_status learn_part(const mb_classifier_trainee *trainee, const mb_classifier_batch *part, int64_t number,
                            mb_step_sums *sums, mb_error *error) {
    if (trainee->optimizer != NULL) {
        mb_optimizer_touch(trainee->optimizer, mb_model_params(trainee->model), part->ids, part->n_tokens);
    }
    mb_tape_begin(trainee->tape, trainee->seed, (uint64_t)number);
    mb_tensor *logits = forward(trainee->model, trainee->tape, part);
    mb_tensor *loss = mb_cross_entropy(trainee->tape, logits, part->labels, 1.0 / (double)sums->n_targets);
    if (loss == NULL || mb_tape_backward(trainee->tape, loss) != MB_OK) {
        return out_of_memory(error);
    }
    const int32_t n_classes = (int32_t)logits->dims[1];
    for (int32_t b = 0; b < part->n; b++) {
        sums->n_correct += argmax(mb_tensor_real(logits) + (int64_t)b * n_classes, n_classes) == part->labels[b];
    }
    sums->loss += (double)mb_tensor_real(loss)[0];
    sums->n_tokens += part->n_tokens;
    return MB_OK;
}

static mb_status learn_batch(const mb_classifier_trainee *trainee, const mb_classifier_set *set, mb_classifier_batch *part,
                             int64_t index, mb_step_sums *sums, mb_error *error) {
    const int64_t n = batch_count(set, part->capacity, index);
    const uint32_t epoch = (uint32_t)(index / mb_classifier_batches_per_epoch(set, part->capacity));
    int64_t number = index * max_parts(set, part->capacity);
    part_begin(part);
    for (int64_t i = 0; i < n; i++) {
        const int64_t example = draw_example(set, part->capacity, trainee->seed, index, i);
        if (!part_add(part, set, example)) {
            const mb_status status = learn_part(trainee, part, number++, sums, error);
            if (status != MB_OK) {
                return status;
            }
            part_begin(part);
            part_add(part, set, example);
        }
        hide_words(part, &trainee->word_dropout, trainee->seed, epoch, example);
    }
    return learn_part(trainee, part, number, sums, error);
}

mb_status mb_classifier_accumulate(const mb_classifier_trainee *trainee, const mb_classifier_set *set,
                                   mb_classifier_batch *batch, int64_t grad_accum, int64_t step, mb_step_sums *sums,
                                   mb_error *error) {
    *sums = (mb_step_sums){0};
    for (int64_t i = 0; i < grad_accum; i++) {
        sums->n_targets += batch_count(set, batch->capacity, step * grad_accum + i);
    }
    mb_status status = MB_OK;
    for (int64_t i = 0; i < grad_accum && status == MB_OK; i++) {
        status = learn_batch(trainee, set, batch, step * grad_accum + i, sums, error);
    }
    return status;
}

/* --- inference --- */

/* softmax(x)_c = exp(x_c - max x) / sum; the shift keeps exp in range. */
static void softmax(const mb_real *logits, int32_t n, float *out) {
    const mb_real largest = logits[argmax(logits, n)];
    double sum = 0;
    for (int32_t c = 0; c < n; c++) {
        sum += exp((double)(logits[c] - largest));
    }
    for (int32_t c = 0; c < n; c++) {
        out[c] = (float)(exp((double)(logits[c] - largest)) / sum);
    }
}

static mb_status predict_part(mb_model *model, mb_tape *inference, const mb_classifier_batch *part, float *probabilities,
                              mb_error *error) {
    mb_tape_begin(inference, 0, 0);
    const mb_tensor *logits = forward(model, inference, part);
    if (logits == NULL) {
        return out_of_memory(error);
    }
    const int32_t n_classes = (int32_t)logits->dims[1];
    for (int32_t b = 0; b < part->n; b++) {
        softmax(mb_tensor_real(logits) + (int64_t)b * n_classes, n_classes, probabilities + (int64_t)b * n_classes);
    }
    return MB_OK;
}

mb_status mb_classifier_predict(mb_model *model, mb_tape *inference, const mb_classifier_set *set, mb_classifier_batch *batch,
                                int64_t begin, int64_t end, float *probabilities, mb_error *error) {
    const int32_t n_classes = mb_model_get_config(model)->n_labels;
    mb_status status = MB_OK;
    for (int64_t next = begin; next < end && status == MB_OK;) {
        float *out = probabilities + (next - begin) * n_classes;
        part_begin(batch);
        while (next < end && part_add(batch, set, next)) {
            next++;
        }
        status = predict_part(model, inference, batch, out, error);
    }
    return status;
}

/* Fills predicted classes and the summed -log p(label). */
static mb_status predict_all(mb_model *model, mb_tape *inference, const mb_classifier_set *set, mb_classifier_batch *batch,
                             const mb_job *job, float *probabilities, int32_t *predicted, double *loss, mb_error *error) {
    const int32_t n_classes = mb_model_get_config(model)->n_labels;
    for (int64_t begin = 0; begin < set->n; begin += batch->capacity) {
        const int64_t end = begin + batch->capacity < set->n ? begin + batch->capacity : set->n;
        mb_status status = mb_classifier_predict(model, inference, set, batch, begin, end, probabilities, error);
        if (status != MB_OK) {
            return status;
        }
        for (int64_t i = begin; i < end; i++) {
            const float *row = probabilities + (i - begin) * n_classes;
            predicted[i] = argmax(row, n_classes);
            const double p = (double)row[set->labels[i]];
            *loss -= log(p < (double)FLT_MIN ? (double)FLT_MIN : p); /* log 0 has no place in a mean; NaN stays NaN */
        }
        mb_job_progress(job, &(mb_progress){.phase = "evaluate",
                                            .unit = "examples",
                                            .done = end,
                                            .total = set->n,
                                            .loss = *loss / (double)end,
                                            .learning_rate = NAN,
                                            .tokens_per_second = NAN,
                                            .elapsed_seconds = NAN,
                                            .eta_seconds = NAN});
    }
    return MB_OK;
}

mb_status mb_classifier_evaluate(mb_model *model, mb_tape *inference, const mb_classifier_set *set, mb_classifier_batch *batch,
                                 const mb_job *job, mb_class_scores *scores, mb_error *error) {
    const int32_t n_classes = mb_model_get_config(model)->n_labels;
    float *probabilities = calloc((size_t)batch->capacity * (size_t)n_classes, sizeof *probabilities);
    int32_t *predicted = calloc((size_t)set->n, sizeof *predicted);
    double loss = 0;
    mb_status status = probabilities == NULL || predicted == NULL ? out_of_memory(error) : MB_OK;
    if (status == MB_OK) {
        status = predict_all(model, inference, set, batch, job, probabilities, predicted, &loss, error);
    }
    if (status == MB_OK && !isfinite(loss)) {
        status = mb_fail(error, MB_ERROR_DIVERGED, "the evaluation's loss is %f: training diverged, try a lower --lr", loss);
    }
    if (status == MB_OK) {
        status = mb_class_scores_compute(predicted, set->labels, set->n, n_classes, scores, error);
        scores->loss = loss / (double)set->n;
    }
    free(probabilities);
    free(predicted);
    return status;
}
