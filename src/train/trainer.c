#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/masked_lm.h"

static const double save_interval_seconds = 300, log_interval_seconds = 5;
enum { DEFAULT_EVALUATIONS = 10 };

/* What the loop remembers beside the trainer's state. */
typedef struct loop {
    mb_params *params;
    double started, elapsed_before; /* clock and state.elapsed_seconds when this call began */
    double last_save, last_log;     /* clock */
    int64_t first_step, last_saved_step, last_evaluated_step;
    int evaluations_due;             /* of DEFAULT_EVALUATIONS, how many intervals of the run are over */
    double learning_rate, grad_norm; /* of the last step */
    int64_t n_tokens;                /* since the last record, in this call */
} loop;

static double elapsed_seconds(const loop *l) {
    return l->elapsed_before + mb_clock_seconds() - l->started;
}

/* How much of the run is over, in [0, 1]. */
static double progress_of_run(const mb_trainer *t, const loop *l) {
    return t->budget_seconds > 0 ? elapsed_seconds(l) / t->budget_seconds : (double)t->state.step / (double)t->n_steps;
}

/* The rate is that of the middle of the step: neither the first nor the last update of a run is lost to a rate of 0. */
static double rate_of_step(const mb_trainer *t, double progress) {
    double middle = t->budget_seconds > 0 ? progress : progress + 0.5 / (double)t->n_steps;
    return t->learning_rate * mb_schedule_factor(&t->schedule, middle);
}

static loop loop_begin(mb_trainer *t) {
    loop l = {.params = mb_model_params(t->model), .started = mb_clock_seconds(), .elapsed_before = t->state.elapsed_seconds};
    l.last_save = l.last_log = l.started;
    l.first_step = l.last_saved_step = t->state.step;
    l.last_evaluated_step = -1;
    l.evaluations_due = (int)(DEFAULT_EVALUATIONS * fmin(1, progress_of_run(t, &l)));
    return l;
}

/* --- what can go wrong --- */

static mb_status check_finite(const mb_trainer *t, double loss, double grad_norm, double rate, mb_error *error) {
    if (isfinite(loss) && isfinite(grad_norm)) {
        return MB_OK;
    }
    return mb_fail(error, MB_ERROR_DIVERGED,
                   "training diverged at step %" PRId64 ": %s is %f. Try a lower --lr (the rate was %g, the peak is %g) or a "
                   "longer --warmup%s",
                   t->state.step + 1, isfinite(loss) ? "the gradient norm" : "the loss", isfinite(loss) ? grad_norm : loss,
                   rate, t->learning_rate, t->out_dir != NULL ? "; checkpoints made before are whole" : "");
}

static mb_status watch_loss(mb_trainer *t, double loss, mb_error *error) {
    if (!mb_loss_watch_add(&t->state.loss_watch, loss)) {
        return MB_OK;
    }
    return mb_fail(error, MB_ERROR_DIVERGED,
                   "training diverged at step %" PRId64
                   ": the loss was %.4f at the start and has long been above it, now at %.4f. "
                   "Try a lower --lr (the peak is %g) or a longer --warmup%s",
                   t->state.step, mb_loss_watch_first(&t->state.loss_watch), t->state.loss_watch.recent, t->learning_rate,
                   t->out_dir != NULL ? "; checkpoints made before are whole" : "");
}

static mb_status check_weights(const mb_trainer *t, const mb_params *params, mb_error *error) {
    for (int64_t i = 0; i < params->count; i++) {
        if (!isfinite(params->weights[i])) {
            return mb_fail(error, MB_ERROR_DIVERGED, "training diverged at step %" PRId64 ": a weight is %f. Try a lower --lr",
                           t->state.step, (double)params->weights[i]);
        }
    }
    return MB_OK;
}

static mb_status interrupted(const mb_trainer *t, mb_error *error) {
    if (t->out_dir == NULL) {
        return mb_fail(error, MB_ERROR_INTERRUPTED, "stopped after step %" PRId64 "; nothing was written", t->state.step);
    }
    return mb_fail(error, MB_ERROR_INTERRUPTED,
                   "stopped after step %" PRId64 ", saved in '%s/checkpoints': run the same command with --resume to go on",
                   t->state.step, t->out_dir);
}

/* --- checkpoints --- */

static bool save_is_due(const mb_trainer *t, const loop *l) {
    if (t->out_dir == NULL || t->state.step == l->last_saved_step) {
        return false;
    }
    return t->save_every > 0 ? t->state.step % t->save_every == 0 : mb_clock_seconds() - l->last_save >= save_interval_seconds;
}

static mb_status save(mb_trainer *t, loop *l, mb_error *error) {
    if (t->out_dir == NULL) {
        return MB_OK;
    }
    t->state.elapsed_seconds = elapsed_seconds(l);
    t->state.progress = fmin(1, progress_of_run(t, l));
    mb_optimizer_catch_up(t->optimizer, l->params);
    mb_status status = mb_checkpoint_save(t->out_dir, t->model, t->optimizer, &t->state, t->keep, error);
    l->last_saved_step = t->state.step;
    l->last_save = mb_clock_seconds();
    return status;
}

/* --- records --- */

static mb_status append_record(const mb_trainer *t, json_t *record, mb_error *error) {
    mb_status status = record == NULL ? mb_fail(error, MB_ERROR_MEMORY, "out of memory") : MB_OK;
    if (status == MB_OK && t->metrics != NULL) {
        status = mb_metrics_append(t->metrics, record, error);
    }
    json_decref(record);
    return status;
}

static json_t *record_begin(const mb_trainer *t, const char *event) {
    json_t *record =
        json_pack("{s:s, s:I, s:I, s:f, s:f}", "event", event, "step", (json_int_t)t->state.step, "tokens",
                  (json_int_t)t->state.n_tokens_seen, "seconds", t->state.elapsed_seconds, "progress", t->state.progress);
    if (record != NULL && t->run > 0 && json_object_set_new(record, "run", json_integer(t->run)) != 0) {
        json_decref(record);
        return NULL;
    }
    return record;
}

static bool log_is_due(const mb_trainer *t, const loop *l) {
    return t->log_every > 0 ? t->state.step % t->log_every == 0 : mb_clock_seconds() - l->last_log >= log_interval_seconds;
}

/* One record of the steps since the last one. */
static mb_status log_steps(mb_trainer *t, loop *l, mb_error *error) {
    const double now = mb_clock_seconds(), seconds = fmax(now - l->last_log, 1e-9);
    json_t *record = NULL;
    const bool any = t->state.unrecorded.n_steps > 0;
    const double n_targets = (double)t->state.unrecorded.n_targets;
    if (any) {
        record = record_begin(t, t->phase);
        json_t *more = json_pack("{s:f, s:f, s:f, s:f, s:f}", "loss", t->state.unrecorded.loss_sum / n_targets, "accuracy",
                                 (double)t->state.unrecorded.n_correct / n_targets, "learning_rate", l->learning_rate,
                                 "grad_norm", l->grad_norm, "tokens_per_second", (double)l->n_tokens / seconds);
        if (record == NULL || more == NULL || json_object_update(record, more) != 0) {
            json_decref(record);
            record = NULL;
        }
        json_decref(more);
    }
    mb_status status = any ? append_record(t, record, error) : MB_OK;
    l->last_log = now;
    l->n_tokens = 0;
    memset(&t->state.unrecorded, 0, sizeof t->state.unrecorded);
    return status;
}

static bool evaluation_is_due(const mb_trainer *t, loop *l) {
    const double progress = progress_of_run(t, l);
    if (t->evaluate == NULL || progress >= 1) { /* the last evaluation comes after the loop */
        return false;
    }
    if (t->eval_every > 0) {
        return t->state.step % t->eval_every == 0;
    }
    const int over = (int)(DEFAULT_EVALUATIONS * progress);
    const bool due = over > l->evaluations_due;
    l->evaluations_due = over;
    return due;
}

static mb_status evaluate(mb_trainer *t, loop *l, bool final, mb_error *error) {
    const double began = mb_clock_seconds();
    t->state.elapsed_seconds = elapsed_seconds(l);
    mb_optimizer_catch_up(t->optimizer, l->params);
    json_t *record = record_begin(t, "evaluation");
    if (record == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    mb_status status = t->evaluate(t->context, t->state.step, final, record, error);
    l->last_log += mb_clock_seconds() - began; /* tokens per second count training alone */
    if (status != MB_OK) {
        json_decref(record);
        return status;
    }
    if (t->state.step == l->first_step) { /* a finished run that was resumed: this evaluation is on record */
        json_decref(record);
        return MB_OK;
    }
    return append_record(t, record, error);
}

/* --- the loop --- */

static void account(mb_trainer *t, loop *l, const mb_step_sums *sums, double rate, double grad_norm) {
    t->state.step++;
    t->state.n_tokens_seen += sums->n_tokens;
    t->state.n_batches += sums->n_batches;
    t->state.elapsed_seconds = elapsed_seconds(l);
    l->learning_rate = rate;
    l->grad_norm = grad_norm;
    l->n_tokens += sums->n_tokens;
    t->state.unrecorded.loss_sum += sums->loss * (double)sums->n_targets;
    t->state.unrecorded.n_targets += sums->n_targets;
    t->state.unrecorded.n_correct += sums->n_correct;
    t->state.unrecorded.n_steps++;

    const double now = mb_clock_seconds();
    const double seconds_per_step = (now - l->started) / (double)(t->state.step - l->first_step);
    const double mean_loss = t->state.unrecorded.loss_sum / (double)t->state.unrecorded.n_targets;
    double usual_low = 0, usual_high = 0;
    if (t->usual_loss) {
        const double fallen = t->state.progress > t->schedule.warmup ? 1 - rate / t->learning_rate : 0;
        (void)mb_masked_lm_usual(t->unigram_entropy, t->state.n_tokens_seen, fallen, &usual_low, &usual_high);
    }
    mb_job_progress(t->job, &(mb_progress){
                                .phase = t->phase,
                                .unit = "steps",
                                .done = t->state.step,
                                .total = t->budget_seconds > 0 ? 0 : t->n_steps,
                                .loss = mean_loss,
                                .stage = mb_masked_lm_stage(mean_loss, t->unigram_entropy),
                                .usual_low = usual_low,
                                .usual_high = usual_high,
                                .learning_rate = rate,
                                .tokens_per_second = (double)l->n_tokens / fmax(now - l->last_log, 1e-9),
                                .elapsed_seconds = t->state.elapsed_seconds,
                                .eta_seconds = t->budget_seconds > 0 ? fmax(0, t->budget_seconds - t->state.elapsed_seconds)
                                                                     : seconds_per_step * (double)(t->n_steps - t->state.step),
                            });
}

static mb_status finish(mb_trainer *t, loop *l, mb_error *error) {
    mb_optimizer_catch_up(t->optimizer, l->params);
    mb_status status = check_weights(t, l->params, error);
    status = status == MB_OK ? log_steps(t, l, error) : status;
    status = status == MB_OK && t->evaluate != NULL ? evaluate(t, l, true, error) : status;
    return status == MB_OK && t->state.step != l->last_saved_step ? save(t, l, error) : status;
}

mb_status mb_trainer_run(mb_trainer *t, mb_error *error) {
    loop l = loop_begin(t);
    mb_status status = MB_OK;
    mb_model_pack_weights(t->model); /* a checkpoint may have replaced them */
    while (status == MB_OK && (t->state.progress = fmin(1, progress_of_run(t, &l))) < 1) {
        const double rate = rate_of_step(t, t->state.progress);
        mb_step_sums sums = {0};
        status = t->accumulate(t->context, t->state.step, &sums, error);
        if (status != MB_OK) {
            break;
        }
        const double grad_norm = mb_optimizer_grad_norm(t->optimizer, l.params);
        status = check_finite(t, sums.loss, grad_norm, rate, error);
        const bool stop = mb_job_should_stop(t->job);
        const bool saved = t->state.step > 0 && t->state.step == l.last_saved_step;
        if (status == MB_OK && ((stop && !saved) || save_is_due(t, &l))) {
            status = save(t, &l, error); /* the weights before this update: the step just made shows that they are good */
        }
        if (status == MB_OK && stop) {
            status = interrupted(t, error);
        }
        if (status != MB_OK) {
            break;
        }
        mb_optimizer_update(t->optimizer, l.params, rate, mb_clip_factor(grad_norm, t->max_grad_norm));
        mb_model_pack_weights(t->model);
        account(t, &l, &sums, rate, grad_norm);
        status = watch_loss(t, sums.loss, error);
        if (status == MB_OK && log_is_due(t, &l)) {
            status = log_steps(t, &l, error);
        }
        if (status == MB_OK && evaluation_is_due(t, &l)) {
            status = evaluate(t, &l, false, error);
        }
    }
    return status == MB_OK ? finish(t, &l, error) : status;
}
