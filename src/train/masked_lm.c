#include "train/masked_lm.h"

#include <inttypes.h>
#include <math.h>

static mb_model_input input_of(const mb_batch *batch) {
    return (mb_model_input){
        .n_tokens = batch->n_tokens,
        .ids = batch->ids,
        .types = batch->types,
        .sequences = {.n = batch->n_sequences, .offsets = batch->offsets, .max_length = batch->max_length},
    };
}

static mb_status memory_error(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory in the model: try a smaller --batch-size");
}

/* The masked-LM loss; *logits: of the next sentence, where that is asked. It reads [CLS] too, so that all rows are computed. */
static mb_tensor *losses(mb_model *model, mb_tape *tape, const mb_model_input *input, const mb_masked_tokens *masked,
                         bool next_sentence, double scale, int64_t *n_correct, mb_tensor **logits) {
    if (!next_sentence) {
        return mb_model_masked_lm(model, tape, input, masked, scale, n_correct);
    }
    mb_tensor *hidden = mb_model_encode(model, tape, input, NULL);
    *logits = mb_model_next_sentence_logits(model, tape, input, hidden);
    return mb_model_masked_lm_loss(model, tape, hidden, masked, scale, n_correct);
}

static mb_masked_tokens masked_of(const mb_batch *batch) {
    return (mb_masked_tokens){.n = batch->n_masked, .rows = batch->masked_rows, .targets = batch->masked_targets};
}

mb_status mb_masked_lm_accumulate(mb_model *model, mb_tape *tape, const mb_batch *const *batches, int32_t n_batches,
                                  const mb_masked_lm_objective *objective, int64_t first, mb_step_sums *sums, mb_error *error) {
    const bool next_sentence = objective->next_sentence;
    *sums = (mb_step_sums){.n_batches = n_batches};
    int64_t n_sequences = 0;
    for (int32_t i = 0; i < n_batches; i++) {
        sums->n_targets += batches[i]->n_masked;
        sums->n_tokens += batches[i]->n_tokens;
        n_sequences += batches[i]->n_sequences;
    }
    for (int32_t i = 0; i < n_batches; i++) {
        const mb_batch *batch = batches[i];
        const mb_model_input input = input_of(batch);
        const uint64_t number = (uint64_t)first + (uint64_t)i;
        mb_masked_tokens masked = masked_of(batch);
        if (objective->sampler != NULL) {
            masked.sample = mb_class_sampler_draw(objective->sampler, objective->seed, number, masked.targets, masked.n);
        }
        int64_t n_correct = 0;
        mb_tape_begin(tape, objective->seed, number);
        mb_tensor *logits = NULL; /* of the next sentence */
        mb_tensor *loss =
            losses(model, tape, &input, &masked, next_sentence, 1.0 / (double)sums->n_targets, &n_correct, &logits);
        if (next_sentence) {
            loss = mb_add(tape, loss, mb_cross_entropy(tape, logits, batch->next_sentence, 1.0 / (double)n_sequences));
        }
        if (loss == NULL || mb_tape_backward(tape, loss) != MB_OK) {
            return memory_error(error);
        }
        sums->loss += (double)mb_tensor_real(loss)[0];
        sums->n_correct += n_correct;
    }
    return MB_OK;
}

/* --- what a loss means --- */

const char *mb_masked_lm_stage(double loss, double unigram_entropy) {
    if (!(unigram_entropy > 0) || !isfinite(loss)) {
        return NULL;
    }
    if (loss > 1.02 * unigram_entropy) {
        return "learning word frequencies";
    }
    return loss > MB_PLATEAU_END * unigram_entropy ? "at word frequencies" : "using context";
}

bool mb_masked_lm_usual(double unigram_entropy, int64_t n_tokens, double fallen, double *low, double *high) {
    static const double of_entropy = 0.77, exponent = 0.08, gain_of_falling = 0.06, margin = 0.12;
    enum { FEWEST = 400000, MOST = 40000000 };
    if (!(unigram_entropy > 0) || n_tokens < FEWEST || n_tokens > MOST) {
        return false;
    }
    const double usual =
        unigram_entropy * of_entropy * pow(1e-6 * (double)n_tokens, -exponent) * (1 - gain_of_falling * fallen);
    *low = (1 - margin) * usual;
    *high = (1 + margin) * usual;
    return true;
}

/* --- evaluation --- */

typedef struct totals {
    double masked_loss, next_loss;
    int64_t n_masked, n_correct, n_sequences, n_pairs, n_next_correct;
} totals;

static mb_status add_batch(mb_model *model, mb_tape *tape, const mb_batch *batch, bool next_sentence, totals *sum,
                           mb_error *error) {
    const mb_model_input input = input_of(batch);
    int64_t n_correct = 0;
    mb_tape_begin(tape, 0, 0);
    mb_tensor *logits = NULL, *next_loss = NULL;
    const mb_masked_tokens masked = masked_of(batch);
    mb_tensor *loss = losses(model, tape, &input, &masked, next_sentence, 1.0 / (double)batch->n_masked, &n_correct, &logits);
    if (loss == NULL) {
        return memory_error(error);
    }
    sum->masked_loss += (double)mb_tensor_real(loss)[0] * (double)batch->n_masked;
    sum->n_masked += batch->n_masked;
    sum->n_correct += n_correct;
    sum->n_sequences += batch->n_sequences;
    if (next_sentence) {
        next_loss = mb_cross_entropy(tape, logits, batch->next_sentence, 1);
        if (next_loss == NULL) {
            return memory_error(error);
        }
        sum->next_loss += (double)mb_tensor_real(next_loss)[0];
        sum->n_pairs += batch->n_sequences;
        for (int32_t b = 0; b < batch->n_sequences; b++) {
            const mb_real *row = mb_tensor_real(logits) + 2 * (int64_t)b;
            sum->n_next_correct += (row[1] > row[0]) == batch->next_sentence[b];
        }
    }
    return MB_OK;
}

mb_status mb_masked_lm_evaluate(mb_model *model, mb_tape *tape, const mb_masked_lm_evaluation *what, mb_batch *batch,
                                mb_masked_lm_score *score, mb_error *error) {
    totals sum = {0};
    const int64_t n_batches = mb_batcher_batches_per_epoch(what->batcher);
    for (int64_t i = 0; i < n_batches && (what->max_sequences == 0 || sum.n_sequences < what->max_sequences); i++) {
        mb_status status = mb_batcher_get(what->batcher, i, batch, error);
        status = status == MB_OK ? add_batch(model, tape, batch, what->next_sentence, &sum, error) : status;
        if (status != MB_OK) {
            return status;
        }
        if (what->stoppable && mb_job_should_stop(what->job)) {
            return mb_fail(error, MB_ERROR_INTERRUPTED, "stopped during the evaluation");
        }
        mb_job_progress(what->job, &(mb_progress){.phase = "evaluate",
                                                  .unit = "batches",
                                                  .done = i + 1,
                                                  .total = n_batches,
                                                  .loss = sum.masked_loss / (double)sum.n_masked,
                                                  .learning_rate = NAN,
                                                  .tokens_per_second = NAN,
                                                  .elapsed_seconds = NAN,
                                                  .eta_seconds = NAN});
    }
    const double loss = sum.masked_loss / (double)sum.n_masked;
    if (!isfinite(loss) || !isfinite(sum.next_loss)) {
        return mb_fail(error, MB_ERROR_DIVERGED, "the evaluation's loss is %f: training diverged, try a lower --lr", loss);
    }
    *score = (mb_masked_lm_score){
        .loss = loss,
        .perplexity = exp(loss),
        .accuracy = (double)sum.n_correct / (double)sum.n_masked,
        .n_masked = sum.n_masked,
        .n_sequences = sum.n_sequences,
        .next_sentence_loss = sum.n_pairs > 0 ? sum.next_loss / (double)sum.n_pairs : NAN,
        .next_sentence_accuracy = sum.n_pairs > 0 ? (double)sum.n_next_correct / (double)sum.n_pairs : NAN,
    };
    return MB_OK;
}

/* JSON has no infinity: a perplexity beyond double (a loss over 709) is written as null. */
static json_t *real_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

mb_status mb_masked_lm_score_to_json(const mb_masked_lm_score *score, json_t *object, mb_error *error) {
    int failed = json_object_set_new(object, "loss", real_or_null(score->loss));
    failed |= json_object_set_new(object, "perplexity", real_or_null(score->perplexity));
    failed |= json_object_set_new(object, "accuracy", real_or_null(score->accuracy));
    failed |= json_object_set_new(object, "masked_tokens", json_integer(score->n_masked));
    failed |= json_object_set_new(object, "sequences", json_integer(score->n_sequences));
    if (isfinite(score->next_sentence_loss)) {
        failed |= json_object_set_new(object, "next_sentence_loss", json_real(score->next_sentence_loss));
        failed |= json_object_set_new(object, "next_sentence_accuracy", json_real(score->next_sentence_accuracy));
    }
    return failed ? mb_fail(error, MB_ERROR_MEMORY, "out of memory") : MB_OK;
}
