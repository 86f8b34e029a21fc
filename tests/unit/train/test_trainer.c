#include <math.h>
#include <stdatomic.h>

#include "data/prefetch.h"
#include "tiny.h"
#include "train/checkpoint_files.h"

/* --- calls of the allocator, counted while `counting` --- */

#if defined(__SANITIZE_ADDRESS__)
#define COUNTS_ALLOCATIONS 0 /* the sanitizer owns malloc */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

static atomic_bool counting;
static atomic_int n_allocations;

#if COUNTS_ALLOCATIONS
extern void *__libc_malloc(size_t n_bytes);
extern void *__libc_calloc(size_t count, size_t n_bytes);
extern void *__libc_realloc(void *old, size_t n_bytes);
extern void *__libc_memalign(size_t alignment, size_t n_bytes);

static void count_allocation(void) {
    if (atomic_load_explicit(&counting, memory_order_relaxed)) {
        atomic_fetch_add(&n_allocations, 1);
    }
}

void *malloc(size_t n_bytes) {
    count_allocation();
    return __libc_malloc(n_bytes);
}
void *calloc(size_t count, size_t n_bytes) {
    count_allocation();
    return __libc_calloc(count, n_bytes);
}
void *realloc(void *old, size_t n_bytes) {
    count_allocation();
    return __libc_realloc(old, n_bytes);
}
void *aligned_alloc(size_t alignment, size_t n_bytes) {
    count_allocation();
    return __libc_memalign(alignment, n_bytes);
}
int posix_memalign(void **out, size_t alignment, size_t n_bytes) {
    count_allocation();
    *out = __libc_memalign(alignment, n_bytes);
    return *out == NULL ? 12 : 0; /* ENOMEM */
}
#endif

enum { WARM_STEPS = 30, COUNTED_STEPS = 60 };

/* The trainer's step as pretraining makes it, batches from the prefetch thread included. */
typedef struct counted_run {
    tiny_run tiny;
    mb_prefetch *prefetch;
} counted_run;

static mb_status counted_accumulate(void *context, int64_t step, mb_step_sums *sums, mb_error *error) {
    counted_run *run = context;
    const mb_batch *group[2];
    if (step == WARM_STEPS) {
        atomic_store(&counting, true);
    }
    if (step == WARM_STEPS + COUNTED_STEPS) {
        atomic_store(&counting, false);
    }
    mb_status status = mb_prefetch_next(run->prefetch, 2, group, error);
    return status != MB_OK ? status
                           : mb_masked_lm_accumulate(run->tiny.model, run->tiny.tape, group, 2,
                                                     &(mb_masked_lm_objective){.seed = 5}, 2 * step, sums, error);
}

Test(trainer, a_steady_step_calls_no_allocator) {
    if (!COUNTS_ALLOCATIONS) {
        cr_skip_test("the sanitizer owns malloc");
    }
    counted_run run = {0};
    mb_error error;
    tiny_run_begin(&run.tiny, 4, 0.1);
    ASSERT_OK(mb_prefetch_new(run.tiny.batcher, 0, 4, &run.prefetch, &error), error);
    run.tiny.trainer.n_steps = WARM_STEPS + COUNTED_STEPS + 1;
    run.tiny.trainer.context = &run;
    run.tiny.trainer.accumulate = counted_accumulate;
    ASSERT_OK(mb_trainer_run(&run.tiny.trainer, &error), error);
    cr_assert_eq(atomic_load(&n_allocations), 0, "%d calls of the allocator in %d steps", atomic_load(&n_allocations),
                 COUNTED_STEPS);
    atomic_store(&counting, true);    /* the counter itself works */
    void *volatile block = malloc(1); /* clang would leave the pair out */
    free(block);
    atomic_store(&counting, false);
    cr_assert_geq(atomic_load(&n_allocations), 1);
    mb_prefetch_free(run.prefetch);
    tiny_run_end(&run.tiny);
}

/* --- accumulation --- */

static mb_real *gradients_of(int32_t batch_size, int32_t n_batches, int64_t *count, double *loss) {
    tiny_run run;
    mb_error error;
    mb_batch batches[8] = {{0}};
    const mb_batch *group[8];
    mb_step_sums sums;
    tiny_run_begin(&run, batch_size, 0);
    for (int32_t i = 0; i < n_batches; i++) {
        ASSERT_OK(mb_batcher_get(run.batcher, i, &batches[i], &error), error);
        group[i] = &batches[i];
    }
    ASSERT_OK(
        mb_masked_lm_accumulate(run.model, run.tape, group, n_batches, &(mb_masked_lm_objective){.seed = 5}, 0, &sums, &error),
        error);
    const mb_params *params = mb_model_params(run.model);
    mb_real *grads = malloc((size_t)params->count * sizeof *grads);
    memcpy(grads, params->grads, (size_t)params->count * sizeof *grads);
    *count = params->count;
    *loss = sums.loss;
    for (int32_t i = 0; i < n_batches; i++) {
        mb_batch_free(&batches[i]);
    }
    tiny_run_end(&run);
    return grads;
}

Test(trainer, accumulated_batches_give_the_gradient_of_the_big_batch) {
    int64_t count = 0;
    double loss_one = 0, loss_four = 0, largest = 0;
    mb_real *one = gradients_of(8, 1, &count, &loss_one), *four = gradients_of(2, 4, &count, &loss_four);
    for (int64_t i = 0; i < count; i++) {
        cr_assert(fabs((double)(one[i] - four[i])) < 1e-6, "gradient %ld: %.9f and %.9f", (long)i, (double)one[i],
                  (double)four[i]);
        largest = fmax(largest, fabs((double)one[i]));
    }
    cr_assert_gt(largest, 1e-3, "the gradients are not all zero");
    cr_assert(fabs(loss_one - loss_four) < 1e-6);
    free(one);
    free(four);
}

/* --- going on after a stop --- */

static void load_newest(tiny_run *run, const char *dir, int64_t expected_step) {
    mb_error error;
    bool found = false;
    ASSERT_OK(mb_checkpoint_load_newest(dir, run->model, &run->optimizer, &run->trainer.state, &found, &run->job, &error),
              error);
    cr_assert(found);
    cr_assert_eq(run->trainer.state.step, expected_step, "step %ld", (long)run->trainer.state.step);
}

/* A run of 2 N steps, or one that is stopped after N. */
static void resume_run_begin(tiny_run *run, mb_optimizer_kind kind, int64_t n_steps, const char *out_dir) {
    mb_error error;
    tiny_run_begin(run, 4, 0.1);
    mb_optimizer_options options = run->optimizer.options;
    options.kind = kind;
    mb_optimizer_free(&run->optimizer);
    ASSERT_OK(mb_optimizer_init(&run->optimizer, mb_model_params(run->model), &options, &error), error);
    run->trainer.n_steps = n_steps;
    run->trainer.out_dir = out_dir;
}

static void check_resume(mb_optimizer_kind kind) {
    enum { N = 20 };
    char *straight = make_dir(), *broken = make_dir();
    mb_error error;
    tiny_run run;
    resume_run_begin(&run, kind, 2 * N, straight);
    ASSERT_OK(mb_trainer_run(&run.trainer, &error), error);
    tiny_run_end(&run);

    resume_run_begin(&run, kind, 2 * N, broken);
    run.stop_at = N;
    cr_assert_eq(mb_trainer_run(&run.trainer, &error), MB_ERROR_INTERRUPTED);
    cr_assert_not_null(strstr(error.message, "--resume"), "%s", error.message);
    cr_assert_eq(run.trainer.state.step, N);
    tiny_run_end(&run);

    resume_run_begin(&run, kind, 2 * N, broken);
    load_newest(&run, broken, N);
    ASSERT_OK(mb_trainer_run(&run.trainer, &error), error);
    tiny_run_end(&run);

    char *a = mb_checkpoint_path(straight, "", 2 * N), *b = mb_checkpoint_path(broken, "", 2 * N);
    assert_same_file(a, b, "model.safetensors");
    assert_same_file(a, b, "optimizer.safetensors");
    free(a);
    free(b);
    remove_dir(straight);
    remove_dir(broken);
}

Test(trainer, stopped_and_resumed_gives_the_same_bytes_as_straight_through) {
    check_resume(MB_OPTIMIZER_ADAMW);
    check_resume(MB_OPTIMIZER_MUON);
}

Test(trainer, another_optimizers_checkpoint_is_refused) {
    for (int kind = 0; kind < 2; kind++) {
        char *dir = make_dir();
        mb_error error;
        tiny_run run;
        bool found = false;
        resume_run_begin(&run, (mb_optimizer_kind)kind, 2, dir);
        ASSERT_OK(mb_trainer_run(&run.trainer, &error), error);
        tiny_run_end(&run);
        resume_run_begin(&run, (mb_optimizer_kind)(1 - kind), 4, dir);
        cr_assert_eq(mb_checkpoint_load_newest(dir, run.model, &run.optimizer, &run.trainer.state, &found, &run.job, &error),
                     MB_ERROR_MISMATCH);
        cr_assert_not_null(strstr(error.message, "another --optimizer"), "%s", error.message);
        tiny_run_end(&run);
        remove_dir(dir);
    }
}

/* --- divergence --- */

Test(trainer, divergence_leaves_the_last_good_checkpoint) {
    char *dir = make_dir();
    mb_error error;
    tiny_run run;
    tiny_run_begin(&run, 4, 0);
    run.trainer.out_dir = dir;
    run.trainer.n_steps = 5;
    ASSERT_OK(mb_trainer_run(&run.trainer, &error), error); /* ends with a checkpoint of step 5 */
    run.trainer.n_steps = 100;
    run.trainer.learning_rate = 1e30;
    run.trainer.save_every = 1;
    run.trainer.keep = 1;
    cr_assert_eq(mb_trainer_run(&run.trainer, &error), MB_ERROR_DIVERGED);
    cr_assert_not_null(strstr(error.message, "--lr"), "%s", error.message);
    tiny_run_end(&run);

    /* What is left is whole, and a step from it is finite. */
    tiny_run_begin(&run, 4, 0);
    bool found = false;
    ASSERT_OK(mb_checkpoint_load_newest(dir, run.model, &run.optimizer, &run.trainer.state, &found, NULL, &error), error);
    cr_assert(found);
    mb_step_sums sums;
    ASSERT_OK(tiny_accumulate(&run, run.trainer.state.step, &sums, &error), error);
    cr_assert(isfinite(sums.loss));
    cr_assert(isfinite(mb_params_grad_norm(mb_model_params(run.model))));
    tiny_run_end(&run);
    remove_dir(dir);
}

/* A loss far above the first, finite all the time; the run is interrupted on the way. */
static mb_status rising_accumulate(void *context, int64_t step, mb_step_sums *sums, mb_error *error) {
    mb_status status = tiny_accumulate(context, step, sums, error);
    sums->loss = step < 10 ? 3 : 30;
    return status;
}

Test(trainer, a_loss_that_stays_above_the_first_ends_the_run_at_the_same_step_when_resumed) {
    char *dir = make_dir();
    mb_error error;
    tiny_run run;
    bool found = false;
    for (int part = 0; part < 2; part++) {
        tiny_run_begin(&run, 1, 0);
        run.trainer.out_dir = dir;
        run.trainer.n_steps = 1000;
        run.trainer.accumulate = rising_accumulate;
        run.stop_at = part == 0 ? 150 : -1;
        ASSERT_OK(mb_checkpoint_load_newest(dir, run.model, &run.optimizer, &run.trainer.state, &found, NULL, &error), error);
        cr_assert_eq(found, part == 1);
        cr_assert_eq(mb_trainer_run(&run.trainer, &error), part == 0 ? MB_ERROR_INTERRUPTED : MB_ERROR_DIVERGED);
        cr_assert_eq(run.trainer.state.step, part == 0 ? 150 : 10 + 300);
        tiny_run_end(&run);
    }
    cr_assert_not_null(strstr(error.message, "3.0000 at the start"), "%s", error.message);
    remove_dir(dir);
}

/* --- what a run does when --- */

typedef struct log_run {
    tiny_run tiny;
    int n_evaluations, n_final;
} log_run;

static mb_status log_accumulate(void *context, int64_t step, mb_step_sums *sums, mb_error *error) {
    return tiny_accumulate(&((log_run *)context)->tiny, step, sums, error);
}

static mb_status log_evaluate(void *context, int64_t step, bool final, json_t *record, mb_error *error) {
    (void)error;
    log_run *run = context;
    run->n_evaluations++;
    run->n_final += final;
    json_object_set_new(record, "loss", json_real((double)step));
    return MB_OK;
}

Test(trainer, records_evaluations_and_checkpoints_come_when_due) {
    char *dir = make_dir();
    mb_error error;
    log_run run = {0};
    tiny_run_begin(&run.tiny, 4, 0);
    mb_trainer *t = &run.tiny.trainer;
    ASSERT_OK(mb_metrics_open(dir, -1, &t->metrics, &error), error);
    t->context = &run;
    t->accumulate = log_accumulate;
    t->evaluate = log_evaluate;
    t->n_steps = 12;
    t->out_dir = dir;
    t->log_every = 5;
    t->eval_every = 4;
    t->save_every = 3;
    t->keep = 3;
    ASSERT_OK(mb_trainer_run(t, &error), error);
    ASSERT_OK(mb_metrics_close(t->metrics, &error), error);
    cr_assert_eq(run.n_evaluations, 3);
    cr_assert_eq(run.n_final, 1);

    int64_t *steps = NULL;
    size_t n = 0;
    ASSERT_OK(mb_checkpoint_list(dir, &steps, &n, &error), error);
    cr_assert_eq(n, 3);
    cr_assert(steps[0] == 12 && steps[1] == 9 && steps[2] == 6);
    free(steps);

    static const struct {
        const char *event;
        int step;
    } expected[] = {{"evaluation", 4}, {"train", 5}, {"evaluation", 8}, {"train", 10}, {"train", 12}, {"evaluation", 12}};
    mb_buffer text = read_file(dir, "metrics.jsonl");
    char *rest = text.data;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        char *line = strsep(&rest, "\n");
        json_t *record = json_loads(line, 0, NULL);
        cr_assert_str_eq(json_string_value(json_object_get(record, "event")), expected[i].event, "%s", line);
        cr_assert_eq(json_integer_value(json_object_get(record, "step")), expected[i].step, "%s", line);
        cr_assert(json_is_real(json_object_get(record, "loss")), "%s", line);
        json_decref(record);
    }
    cr_assert_str_empty(rest);
    mb_buffer_free(&text);
    tiny_run_end(&run.tiny);
    remove_dir(dir);
}

/* A clock that goes on by as much at each look at it, however fast the machine is; 0: the real one. */
static double seconds_a_look;

double __real_mb_clock_seconds(void);
double __wrap_mb_clock_seconds(void);
double __wrap_mb_clock_seconds(void) {
    static double now = 1000;
    return seconds_a_look > 0 ? now += seconds_a_look : __real_mb_clock_seconds();
}

/* A clock budget ends on time, fully decayed, and a resume counts the time before. */
typedef struct rate_log {
    double last_rate, usual_low, usual_high; /* of the last report */
    int64_t n_steps;
} rate_log;

static void note_rate(void *user, const mb_progress *progress) {
    rate_log *log = user;
    log->last_rate = progress->learning_rate;
    log->usual_low = progress->usual_low;
    log->usual_high = progress->usual_high;
    log->n_steps++;
}

Test(trainer, a_budget_is_kept_by_the_clock) {
    mb_error error;
    tiny_run run;
    rate_log log = {0};
    tiny_run_begin(&run, 4, 0);
    run.job.user = &log;
    run.job.progress = note_rate;
    run.trainer.budget_seconds = 0.5;
    seconds_a_look = 0.001;
    double began = mb_clock_seconds();
    ASSERT_OK(mb_trainer_run(&run.trainer, &error), error);
    double took = mb_clock_seconds() - began;
    cr_assert(took >= 0.5 && took < 0.55, "took %.3f seconds", took);
    cr_assert(log.n_steps > 20 && log.n_steps < 250, "%ld steps", (long)log.n_steps);
    cr_assert_lt(log.last_rate, 0.05 * run.trainer.learning_rate, "the last rate was %g", log.last_rate);

    const int64_t steps = run.trainer.state.step;
    run.trainer.budget_seconds = 0.4; /* all spent before this call */
    ASSERT_OK(mb_trainer_run(&run.trainer, &error), error);
    cr_assert_eq(run.trainer.state.step, steps);
    tiny_run_end(&run);
}

/* Between what the loss usually is by now, in runs that are of the kind that was measured. */
Test(trainer, reports_name_the_usual_loss) {
    for (int asked = 0; asked < 2; asked++) {
        mb_error error;
        tiny_run run;
        rate_log log = {0};
        double low = 0, high = 0;
        tiny_run_begin(&run, 4, 0);
        run.job.user = &log;
        run.job.progress = note_rate;
        run.trainer.n_steps = 4;
        run.trainer.unigram_entropy = 7;
        run.trainer.usual_loss = asked == 1;
        run.trainer.state.n_tokens_seen = 1000000;
        ASSERT_OK(mb_trainer_run(&run.trainer, &error), error);
        const double fallen = 1 - log.last_rate / run.trainer.learning_rate;
        cr_assert(mb_masked_lm_usual(7, run.trainer.state.n_tokens_seen, fallen, &low, &high));
        cr_expect_float_eq(log.usual_low, asked * low, 1e-9, "%f", log.usual_low);
        cr_expect_float_eq(log.usual_high, asked * high, 1e-9, "%f", log.usual_high);
        tiny_run_end(&run);
    }
}

/* A run by the clock, stopped and resumed: its time before the stop counts, and so does its progress. */
Test(trainer, a_resumed_budget_goes_on_with_the_time_that_is_left) {
    char *dir = make_dir();
    mb_error error;
    tiny_run run;
    rate_log log = {0};
    tiny_run_begin(&run, 4, 0);
    run.trainer.budget_seconds = 1000;
    seconds_a_look = 0.001;
    run.trainer.schedule = (mb_schedule){MB_SCHEDULE_TRAPEZOID, 0.01, 0.5};
    run.trainer.state.elapsed_seconds = 400; /* as if it had run for so long */
    run.trainer.out_dir = dir;
    run.stop_at = 2;
    cr_assert_eq(mb_trainer_run(&run.trainer, &error), MB_ERROR_INTERRUPTED);
    tiny_run_end(&run);

    tiny_run_begin(&run, 4, 0);
    load_newest(&run, dir, 2);
    cr_assert(run.trainer.state.elapsed_seconds > 400 && run.trainer.state.elapsed_seconds < 401);
    cr_assert(fabs(run.trainer.state.progress - 0.4) < 0.001, "progress %.3f", run.trainer.state.progress);
    run.trainer.state.elapsed_seconds = 999.7;
    run.trainer.budget_seconds = 1000;
    run.trainer.schedule = (mb_schedule){MB_SCHEDULE_TRAPEZOID, 0.01, 0.5};
    run.job.user = &log;
    run.job.progress = note_rate;
    const double began = mb_clock_seconds();
    ASSERT_OK(mb_trainer_run(&run.trainer, &error), error);
    cr_assert_lt(mb_clock_seconds() - began, 0.35);
    cr_assert_gt(log.n_steps, 10);
    cr_assert_lt(log.last_rate, 1e-3 * run.trainer.learning_rate, "the last rate was %g", log.last_rate);
    tiny_run_end(&run);
    remove_dir(dir);
}

/* --- it learns --- */

Test(trainer, learns_a_made_up_language_far_below_its_unigram_entropy) {
    mb_error error;
    tiny_run run;
    mb_masked_lm_score before, after;
    mb_batcher *held_out = NULL;
    tiny_run_begin(&run, 16, 0);
    const mb_batch_options options = {
        .seq_length = TINY_SEQ_LENGTH, .batch_size = 16, .mask_probability = 0.15, .seed = 99, .evaluation = true};
    ASSERT_OK(mb_batcher_new(&run.shard, run.tokenizer, &options, &held_out, &error), error);
    const mb_masked_lm_evaluation what = {.batcher = held_out};
    mb_tape *inference = mb_tape_new(false);
    ASSERT_OK(mb_masked_lm_evaluate(run.model, inference, &what, &run.batch, &before, &error), error);
    run.trainer.n_steps = 400;
    run.trainer.learning_rate = 1e-2;
    ASSERT_OK(mb_trainer_run(&run.trainer, &error), error);
    ASSERT_OK(mb_masked_lm_evaluate(run.model, inference, &what, &run.batch, &after, &error), error);
    const double entropy = mb_shard_unigram_entropy(&run.shard);
    cr_assert(fabs(entropy - log(TINY_WORDS)) < 0.01, "entropy %.4f", entropy);
    cr_assert_gt(before.loss, 0.95 * entropy);
    cr_assert_lt(after.loss, 0.5 * entropy, "loss %.4f, unigram entropy %.4f, accuracy %.3f", after.loss, entropy,
                 after.accuracy);
    cr_assert_eq(after.n_sequences, 400);
    mb_tape_free(inference);
    mb_batcher_free(held_out);
    tiny_run_end(&run);
}

Test(masked_lm, an_evaluation_is_the_same_at_any_batch_size) {
    mb_error error;
    mb_masked_lm_score scores[2];
    for (int i = 0; i < 2; i++) {
        tiny_run run;
        mb_batcher *batcher = NULL;
        tiny_run_begin(&run, 4, 0.1);
        const mb_batch_options options = {.seq_length = TINY_SEQ_LENGTH,
                                          .batch_size = i == 0 ? 3 : 50,
                                          .mask_probability = 0.15,
                                          .seed = 1,
                                          .evaluation = true};
        ASSERT_OK(mb_batcher_new(&run.shard, run.tokenizer, &options, &batcher, &error), error);
        const mb_masked_lm_evaluation what = {.batcher = batcher};
        mb_tape *inference = mb_tape_new(false);
        ASSERT_OK(mb_masked_lm_evaluate(run.model, inference, &what, &run.batch, &scores[i], &error), error);
        mb_tape_free(inference);
        mb_batcher_free(batcher);
        tiny_run_end(&run);
    }
    cr_assert_eq(scores[0].n_masked, scores[1].n_masked);
    cr_assert(fabs(scores[0].loss - scores[1].loss) < 1e-5);
    cr_assert_eq(scores[0].accuracy, scores[1].accuracy);
}
