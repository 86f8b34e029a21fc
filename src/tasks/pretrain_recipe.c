/* pretrain: where the settings come from that the user does not give. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/config.h"
#include "tasks/pretrain_run.h"
#include "train/optimizer.h"
#include "train/schedule.h"

enum { RECIPE_DEFAULT, RECIPE_CLASSIC };
const char *const mb_pretrain_recipe_names[] = {"default", "classic", NULL};

/* Writes what a recipe's text, "--name value --name value", says of options that were not given. */
static mb_status apply(mb_option_set *set, const char *settings, mb_error *error) {
    char name[64], value[64];
    int length = 0;
    for (; sscanf(settings, " --%63s %63s%n", name, value, &length) == 2; settings += length) {
        const mb_status status = mb_option_set_default(set, name, value, error);
        if (status != MB_OK) {
            return status;
        }
    }
    return MB_OK;
}

/* More and larger steps while there is little time, fewer and surer ones when there is much (CONTRIBUTING.md, "Recipes"). */
static bool is_short(double budget_seconds) {
    static const double little = 600;
    return budget_seconds > 0 && budget_seconds < little;
}
static bool is_long(double budget_seconds) {
    static const double much = 7200;
    return budget_seconds >= much;
}

/* What the default recipe was chosen with. */
static bool is_new_modern(const mb_pretrain_options *o) {
    return o->recipe == RECIPE_DEFAULT && o->init == NULL && o->arch == MB_LAYOUT_MODERNBERT;
}

/* Matrices learn faster while there is little time. Embeddings that begin as Skip-Gram vectors then do best near them
 * (scripts/ablate/RESULTS.md, "The embeddings' rate"). */
static mb_status apply_muon_rates(mb_option_set *set, mb_pretrain_options *o, mb_error *error) {
    const bool is_hasty = is_short(o->budget_seconds);
    mb_status status = is_hasty ? mb_option_set_default(set, "muon-momentum", "0.9", error) : MB_OK;
    if (status == MB_OK && is_hasty && is_new_modern(o) && mb_pretrain_embeddings_are(o, "skipgram")) {
        status = mb_option_set_default(set, "word-rate", "0.25", error);
    }
    if (o->muon_lr == 0) {
        o->muon_lr = (is_hasty ? 1.5 : 1) * o->lr;
    }
    return status;
}

mb_status mb_pretrain_apply_recipe(mb_option_set *set, mb_pretrain_options *o, mb_error *error) {
    mb_status status = o->nsp ? mb_option_set_default(set, "arch", "bert", error) : MB_OK; /* the one with such a head */
    if (status == MB_OK && o->recipe == RECIPE_DEFAULT && o->init == NULL) {
        status = mb_option_set_default(set, "init-embeddings", "skipgram", error);
    }
    if (status == MB_OK && is_new_modern(o)) {
        status = mb_option_set_default(set, "init-attention", "near", error);
        status = status == MB_OK ? mb_option_set_default(set, "depth-ramp", is_short(o->budget_seconds) ? "0.75" : "0.4", error)
                                 : status;
        status = status == MB_OK ? mb_option_set_default(set, "sampled-softmax", "0.9", error) : status;
    }
    if (status == MB_OK && o->recipe == RECIPE_CLASSIC) {
        status = apply(set, MB_RECIPE_CLASSIC, error);
    } else if (status == MB_OK && (o->init != NULL || o->arch == MB_LAYOUT_BERT)) {
        status = apply(set, MB_RECIPE_BERT, error);
    } else if (status == MB_OK && is_short(o->budget_seconds)) {
        status = mb_option_set_default(set, "batch-size", "16", error);
    } else if (status == MB_OK && is_long(o->budget_seconds)) {
        status = mb_option_set_default(set, "batch-size", "64", error);
    }
    if (status == MB_OK && o->optimizer == MB_OPTIMIZER_MUON) {
        status = apply_muon_rates(set, o, error);
    }
    return status;
}

bool mb_pretrain_is_usual(const mb_pretrain_options *o) {
    const char *size = mb_model_size_names[o->size];
    const bool is_small = strcmp(size, "tiny") == 0 || strcmp(size, "mini") == 0;
    const bool is_preset = o->layers == 0 && o->hidden == 0 && o->heads == 0 && o->intermediate == 0;
    const bool usual_masks = o->mlm_probability == 0.4 && o->mlm_probability_end == 0; /* more of them, a higher loss */
    return is_new_modern(o) && is_small && is_preset && usual_masks && o->optimizer == MB_OPTIMIZER_MUON &&
           mb_pretrain_embeddings_are(o, "skipgram") && o->init_attention == MB_PRETRAIN_ATTENTION_NEAR;
}

/* "0.003, all else at 0.002, word embeddings at 0.0005" */
static void write_rates(const mb_pretrain_options *o, char *out, size_t n_bytes) {
    const bool has_own = o->optimizer == MB_OPTIMIZER_MUON && o->muon_lr > 0 && o->muon_lr != o->lr;
    char rest[48] = "", words[48] = "";
    if (has_own) {
        snprintf(rest, sizeof rest, ", all else at %g", o->lr);
    }
    if (o->word_rate != 1) {
        snprintf(words, sizeof words, ", word embeddings at %g", o->word_rate * o->lr);
    }
    snprintf(out, n_bytes, "%g%s%s", has_own ? o->muon_lr : o->lr, rest, words);
}

void mb_pretrain_tell_recipe(const mb_pretrain_options *o, const mb_job *job) {
    char end[32] = "", rates[128], ramp[96] = "", depth[96] = "", sample[96] = "";
    write_rates(o, rates, sizeof rates);
    if (o->batch_ramp > 0) {
        snprintf(ramp, sizeof ramp, " (a quarter of it at first, whole after %g%% of the run)", 100 * o->batch_ramp);
    }
    if (o->depth_ramp > 0) {
        snprintf(depth, sizeof depth, ", half the layers for %g%% of the run", 100 * o->depth_ramp);
    }
    if (o->sampled_softmax > 0) {
        snprintf(sample, sizeof sample, ", a sample of the vocabulary for %g%%", 100 * o->sampled_softmax);
    }
    if (o->mlm_probability_end > 0) {
        snprintf(end, sizeof end, " to %g%%", 100 * o->mlm_probability_end);
    }
    mb_job_message(job, MB_LEVEL_INFO,
                   "recipe: %s%s, %s at %s, %s, batch %" PRId64 "x%" PRId64
                   "%s, %g%%%s masked, dropout %g%s%s%s%s (--recipe, or one flag each)",
                   mb_pretrain_recipe_names[o->recipe],
                   o->init != NULL                   ? ""
                   : o->arch == MB_LAYOUT_MODERNBERT ? ", modern"
                                                     : ", bert",
                   mb_optimizer_names[o->optimizer], rates, mb_schedule_names[o->lr_schedule], o->batch_size * o->grad_accum,
                   o->seq_length, ramp, 100 * o->mlm_probability, end, o->dropout,
                   mb_pretrain_embeddings_are(o, "skipgram") ? ", embeddings from Skip-Gram" : "",
                   o->init_attention == MB_PRETRAIN_ATTENTION_NEAR ? ", attention to what is near" : "", depth, sample);
}
