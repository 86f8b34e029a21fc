/* pretrain: the run that does not get beyond word frequencies. */
#include <inttypes.h>

#include "model/config.h"
#include "tasks/pretrain_run.h"
#include "train/optimizer.h"

/* Within these a mini has left the word frequencies with either optimizer at any rate that works, ModernBERT's layout within
 * half of them (CONTRIBUTING.md, "Recipes"). */
enum { PLATEAU_TOKENS = 2000000, MANY_STEPS = 500 };
static const double low_rate = 2e-4, high_adamw_rate = 3e-3, high_muon_rate = 1e-2;

const char *mb_pretrain_plateau_cause(const mb_pretrain_options *o, int64_t step, int64_t n_tokens, double loss,
                                      double unigram_entropy) {
    if (n_tokens < PLATEAU_TOKENS || loss <= MB_PLATEAU_END * unigram_entropy) {
        return NULL;
    }
    const bool muon = o->optimizer == MB_OPTIMIZER_MUON;
    if ((!muon && o->lr > high_adamw_rate) || (muon && o->muon_lr > high_muon_rate)) {
        return "the learning rate is high for it: try --lr 2e-3, or 1e-3 with --arch bert";
    }
    if (o->lr < low_rate) {
        return "the learning rate is low for a run of minutes or hours: try --lr 1e-3";
    }
    if (step < MANY_STEPS) {
        return "it has made few steps: a smaller --batch-size makes more of them from the same text";
    }
    if (o->mlm_probability > 0.5) {
        return "so many tokens are masked that little context is left: try --mlm-probability 0.3";
    }
    if (o->init == NULL && o->arch == MB_LAYOUT_BERT) {
        return "learned positions take long to be of use: --arch modern gets there within a million tokens";
    }
    return "is it running text, a sentence or paragraph a line, documents parted by blank lines? Lists, tables and shuffled "
           "words "
           "have no context to use";
}

void mb_pretrain_warn_of_plateau(mb_pretrain_run *run, int64_t step) {
    const char *cause =
        mb_pretrain_plateau_cause(run->options, step, run->state->n_tokens_seen, run->score.loss, run->unigram_entropy);
    if (cause != NULL && !run->warned) {
        run->warned = true;
        mb_job_message(run->job, MB_LEVEL_WARNING,
                       "after %.1f million tokens and %" PRId64 " steps the model still guesses by word frequencies; %s",
                       1e-6 * (double)run->state->n_tokens_seen, step, cause);
    }
}
