/* pretrain: the option table and the checks that one option's type and bounds cannot express. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "model/config.h"
#include "tasks/pretrain_run.h"
#include "train/optimizer.h"
#include "train/schedule.h"

/* In the order of mb_mask_style. */
static const char *const mask_style_names[] = {"bert", "mask", NULL};
const char *const mb_pretrain_attention_names[] = {"random", "near", NULL};

#define FIELD(name) offsetof(mb_pretrain_options, name)
const mb_option mb_pretrain_option_table[] = {
    {"corpus", MB_OPTION_TEXT_LIST, FIELD(corpus), NULL, "FILE...", .help = "UTF-8 text; a blank line ends a document",
     .required = true},
    {"out", MB_OPTION_TEXT, FIELD(out), NULL, "DIR", .help = "the model directory to make", .required = true},
    {"valid", MB_OPTION_TEXT_LIST, FIELD(valid), NULL, "FILE...", .help = "held-out text; without it a fixed 1% of the corpus"},
    {"tokenizer", MB_OPTION_TEXT, FIELD(tokenizer), NULL, "DIR",
     .help = "use this tokenizer; without it a vocabulary is trained"},
    {"vocab-size", MB_OPTION_INT, FIELD(vocab_size), "30522", "N", .help = "wordpieces of the vocabulary to train", .min = 16,
     .max = 1e6},
    {"cased", MB_OPTION_BOOL, FIELD(cased), "false", NULL, .help = "keep case and accents in the vocabulary to train"},
    {"dedup", MB_OPTION_BOOL, FIELD(dedup), "false", NULL,
     .help = "leave out a document that is a copy of one before it, byte for byte"},
    {"cache-dir", MB_OPTION_TEXT, FIELD(cache_dir), NULL, "DIR",
     .help = "where the tokenized text is kept; without it OUT/cache"},
    {"init", MB_OPTION_TEXT, FIELD(init), NULL, "DIR", .help = "go on from this model (domain adaptation), with its tokenizer"},
    {"init-embeddings", MB_OPTION_TEXT, FIELD(init_embeddings), NULL, "WHAT",
     .help = "what the embeddings of a new model begin as; skipgram: vectors learnt from the text first (default recipe); "
             "none: random; FILE: "
             "word vectors"},
    {"init-attention", MB_OPTION_CHOICE, FIELD(init_attention), "random", NULL,
     .help = "what the attention of a new model begins with; near: a look at the tokens beside (default recipe, --arch "
             "modern); random",
     .choices = mb_pretrain_attention_names},
    {"arch", MB_OPTION_CHOICE, FIELD(arch), "modern", NULL,
     .help = "architecture of a new model; modern: ModernBERT's, bert: BERT's", .choices = mb_model_arch_names},
    {"recipe", MB_OPTION_CHOICE, FIELD(recipe), "default", NULL,
     .help = "where the settings that are not given come from; see above", .choices = mb_pretrain_recipe_names},
    {"optimizer", MB_OPTION_CHOICE, FIELD(optimizer), "muon", NULL,
     .help = "muon: for the encoder's matrices, and AdamW for all else", .choices = mb_optimizer_names},
    {"size", MB_OPTION_CHOICE, FIELD(size), "mini", NULL,
     .help = "layers/width: tiny 2/128, mini 4/256, small 4/512, medium 8/512, base 12/768", .choices = mb_model_size_names},
    {"layers", MB_OPTION_INT, FIELD(layers), "0", "L", .help = "encoder layers; 0: as --size", .min = 0, .max = MB_MAX_LAYERS},
    {"hidden", MB_OPTION_INT, FIELD(hidden), "0", "H", .help = "hidden size; 0: as --size", .min = 0, .max = 16384},
    {"heads", MB_OPTION_INT, FIELD(heads), "0", "A", .help = "attention heads; 0: as --size, or one for every 64 of --hidden",
     .min = 0, .max = 1024},
    {"intermediate", MB_OPTION_INT, FIELD(intermediate), "0", "I",
     .help = "feed-forward size; 0: four times the hidden size, with --arch modern 8/3 of it", .min = 0, .max = 65536},
    {"global-attn-every-n-layers", MB_OPTION_INT, FIELD(global_every), "3", "N",
     .help = "--arch modern: layers 0, N, 2N ... see the whole sequence, the others what is near", .min = 1,
     .max = MB_MAX_LAYERS},
    {"local-attention", MB_OPTION_INT, FIELD(local_attention), "128", "T",
     .help = "--arch modern: the tokens that are near, half of them on either side", .min = 1, .max = 8192},
    {"seq-length", MB_OPTION_INT, FIELD(seq_length), "128", "T", .help = "tokens of a sequence, and positions of a new model",
     .min = 8, .max = 8192},
    {"batch-size", MB_OPTION_INT, FIELD(batch_size), "32", "B",
     .help = "sequences of a batch; with a --budget below 10 minutes 16, from 2 hours on 64", .min = 1, .max = 65536},
    {"grad-accum", MB_OPTION_INT, FIELD(grad_accum), "1", "N",
     .help = "batches of one step: equals a batch N times as big, in the "
             "memory of one",
     .min = 1, .max = 65536},
    {"batch-ramp", MB_OPTION_REAL, FIELD(batch_ramp), "0", "F",
     .help = "share of the run in which the batch grows, from a quarter to the whole; 0: the whole from the start", .min = 0,
     .max = 1},
    {"depth-ramp", MB_OPTION_REAL, FIELD(depth_ramp), "0", "F",
     .help = "share of the run in which only the lower half of the layers is computed and trained; the others join in as ones "
             "that add nothing yet (default recipe: 0.4, with a --budget below 10 minutes 0.75); 0: all layers from the start",
     .min = 0, .max = 1},
    {"sampled-softmax", MB_OPTION_REAL, FIELD(sampled_softmax), "0", "F",
     .help =
         "share of the run in which the loss is computed over a sample of the vocabulary, about a quarter of it, another for "
         "every batch (default recipe: 0.9); evaluations are over all of it; 0: so is the loss from the start",
     .min = 0, .max = 1},
    {"mlm-probability", MB_OPTION_REAL, FIELD(mlm_probability), "0.4", "P", .help = "share of the tokens to predict", .min = 0,
     .max = 0.9, .exclusive_min = true},
    {"mlm-probability-end", MB_OPTION_REAL, FIELD(mlm_probability_end), "0", "P",
     .help = "the share at the end of the run, reached in a straight line; 0: the same to the end", .min = 0, .max = 0.9},
    {"mask-style", MB_OPTION_CHOICE, FIELD(mask_style), "bert", NULL,
     .help = "what stands in a token's place; bert: [MASK] in 80% of cases, another token in 10%, itself in 10%; mask: [MASK]",
     .choices = mask_style_names},
    {"whole-word-masking", MB_OPTION_BOOL, FIELD(whole_word_masking), "false", NULL,
     .help = "mask all pieces of a word together"},
    {"span-masking", MB_OPTION_BOOL, FIELD(span_masking), "false", NULL,
     .help = "mask runs of 1 to 10 words, 3.8 on average (SpanBERT), at the same share of the tokens"},
    {"nsp", MB_OPTION_BOOL, FIELD(nsp), "false", NULL, .help = "also predict whether the second half follows the first"},
    {"steps", MB_OPTION_INT, FIELD(steps), "0", "N", .help = "length of the run in optimizer steps", .min = 0, .max = 1e12},
    {"epochs", MB_OPTION_REAL, FIELD(epochs), "0", "E",
     .help = "length of the run in passes over the corpus; with neither --steps nor "
             "--budget: 1",
     .min = 0, .max = 1e6},
    {"budget", MB_OPTION_SECONDS, FIELD(budget_seconds), "0", "TIME",
     .help =
         "length of the run by the clock: 30s, 10m, 2h. The rate follows the clock too: no two such runs are equal to the byte",
     .min = 0, .max = 1e9},
    {"lr", MB_OPTION_REAL, FIELD(lr), "2e-3", "RATE", .help = "peak learning rate", .exclusive_min = true},
    {"word-rate", MB_OPTION_REAL, FIELD(word_rate), "1", "F",
     .help = "the word embeddings learn F times as fast; default recipe, with Muon and a --budget below 10 minutes: 0.25",
     .min = 0, .max = 1000},
    {"warmup", MB_OPTION_REAL, FIELD(warmup), "0.05", "F", .help = "share of the run in which the rate rises", .min = 0,
     .max = 1},
    {"lr-schedule", MB_OPTION_CHOICE, FIELD(lr_schedule), "trapezoid", NULL,
     .help = "how the rate falls after that; trapezoid: late, and to 0", .choices = mb_schedule_names},
    {"decay-fraction", MB_OPTION_REAL, FIELD(decay_fraction), "0.5", "F",
     .help = "share of the run in which the rate of a trapezoid falls", .min = 0, .max = 1},
    {"weight-decay", MB_OPTION_REAL, FIELD(weight_decay), "0.01", "D", .help = "of matrices; biases and LayerNorm have none",
     .min = 0, .max = 100},
    {"muon-lr", MB_OPTION_REAL, FIELD(muon_lr), "0", "RATE",
     .help =
         "peak learning rate of the encoder's matrices with Muon; 0: as --lr, with a --budget below 10 minutes 1.5 times that",
     .min = 0, .max = 1e30},
    {"muon-momentum", MB_OPTION_REAL, FIELD(muon_momentum), "0.95", "M",
     .help = "Nesterov momentum of Muon; with a --budget below 10 minutes 0.9", .min = 0, .max = 0.999999},
    {"adam-beta1", MB_OPTION_REAL, FIELD(adam_beta1), "0.9", "B", .help = "decay of the first moment", .min = 0,
     .max = 0.999999},
    {"adam-beta2", MB_OPTION_REAL, FIELD(adam_beta2), "0.98", "B", .help = "decay of the second moment", .min = 0,
     .max = 0.999999},
    {"adam-eps", MB_OPTION_REAL, FIELD(adam_eps), "1e-6", "E", .help = "added to the root of the second moment",
     .exclusive_min = true},
    {"max-grad-norm", MB_OPTION_REAL, FIELD(max_grad_norm), "1", "X",
     .help = "gradients are scaled down to this norm; 0: never", .min = 0, .max = 1e30},
    {"dropout", MB_OPTION_REAL, FIELD(dropout), "0", "P", .help = "of hidden states and attention", .min = 0, .max = 0.9},
    {"eval-every", MB_OPTION_INT, FIELD(eval_every), "0", "N", .help = "steps between evaluations; 0: ten in a run", .min = 0,
     .max = 1e12},
    {"save-every", MB_OPTION_INT, FIELD(save_every), "0", "N", .help = "steps between checkpoints; 0: every 5 minutes",
     .min = 0, .max = 1e12},
    {"keep", MB_OPTION_INT, FIELD(keep), "2", "N", .help = "checkpoints kept", .min = 1, .max = 1e6},
    {"resume", MB_OPTION_BOOL, FIELD(resume), "false", NULL, .help = "go on from the newest checkpoint in OUT"},
    {"dry-run", MB_OPTION_BOOL, FIELD(dry_run), "false", NULL,
     .help = "show the model, its memory and the time of a step; write nothing"},
    {0},
};

static mb_status check_readable(const mb_text_list *files, mb_error *error) {
    for (size_t i = 0; i < files->n; i++) {
        if (access(files->items[i], R_OK) != 0) {
            return mb_fail(error, MB_ERROR_IO, "cannot read '%s': %s", files->items[i], strerror(errno));
        }
    }
    return MB_OK;
}

bool mb_pretrain_embeddings_are(const mb_pretrain_options *o, const char *what) {
    return strcmp(o->init_embeddings != NULL ? o->init_embeddings : "none", what) == 0;
}

mb_status mb_pretrain_options_check(const mb_pretrain_options *o, mb_error *error) {
    if (o->corpus.n == 0 || o->out == NULL) {
        return mb_fail(error, MB_ERROR_USAGE, "pretrain needs --corpus and --out");
    }
    if ((o->steps > 0) + (o->epochs > 0) + (o->budget_seconds > 0) > 1) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "--steps, --epochs and --budget each set the length of the run: give one of them");
    }
    if (!isfinite(o->lr) || o->lr <= 0 || o->batch_size < 1 || o->grad_accum < 1 || o->seq_length < 8) {
        return mb_fail(error, MB_ERROR_USAGE, "--lr, --batch-size and --grad-accum must be above 0, --seq-length at least 8");
    }
    if (o->init != NULL && (o->layers != 0 || o->hidden != 0 || o->heads != 0 || o->intermediate != 0)) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "--init takes the shape of '%s': leave out --layers, --hidden, --heads and "
                       "--intermediate",
                       o->init);
    }
    if (o->init != NULL && !mb_pretrain_embeddings_are(o, "none")) {
        return mb_fail(error, MB_ERROR_USAGE, "--init has embeddings already: leave out --init-embeddings");
    }
    if (o->init_attention == MB_PRETRAIN_ATTENTION_NEAR && (o->init != NULL || o->arch != MB_LAYOUT_MODERNBERT)) {
        return mb_fail(error, MB_ERROR_USAGE, "--init-attention near is for a new model of --arch modern: leave it out");
    }
    if (o->depth_ramp > 0 && (o->init != NULL || o->arch != MB_LAYOUT_MODERNBERT)) {
        return mb_fail(error, MB_ERROR_USAGE, "--depth-ramp is for a new model of --arch modern: leave it out");
    }
    if (o->nsp && o->init == NULL && o->arch == MB_LAYOUT_MODERNBERT) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "--nsp: a ModernBERT has no next-sentence head; leave it out, or use --arch bert");
    }
    if (o->batch_ramp > 0 && o->batch_size * o->grad_accum % 4 != 0) {
        return mb_fail(error, MB_ERROR_USAGE,
                       "--batch-ramp begins with a quarter of the batch: make --batch-size a multiple of 4");
    }
    if (o->span_masking && o->whole_word_masking) {
        return mb_fail(error, MB_ERROR_USAGE, "--span-masking masks whole words already: leave out --whole-word-masking");
    }
    const mb_schedule schedule = {(mb_schedule_shape)o->lr_schedule, o->warmup, o->decay_fraction};
    mb_status status = mb_schedule_check(&schedule, error);
    status = status == MB_OK ? check_readable(&o->corpus, error) : status;
    return status == MB_OK ? check_readable(&o->valid, error) : status;
}

mb_status mb_pretrain_new_config(const mb_pretrain_options *o, size_t vocab_size, mb_model_config *out, mb_error *error) {
    mb_status status = mb_model_config_preset(mb_model_size_names[o->size], out, error);
    if (status != MB_OK) {
        return status;
    }
    out->vocab_size = (int32_t)vocab_size;
    /* Positions beyond the training sequences would stay random: a model has only those that it learns. */
    out->max_positions = (int32_t)o->seq_length;
    if (o->layers > 0) {
        out->n_layers = (int32_t)o->layers;
    }
    if (o->hidden > 0) {
        out->hidden_size = (int32_t)o->hidden;
        out->n_heads = o->hidden < 64 ? 1 : (int32_t)(o->hidden / 64); /* 64: the head size of every published BERT */
        out->intermediate_size = 4 * (int32_t)o->hidden;
    }
    if (o->arch == MB_LAYOUT_MODERNBERT) {
        mb_model_config_make_modern(out);
        mb_model_config_set_global_every(out, (int32_t)o->global_every);
        out->local_attention = (int32_t)o->local_attention;
    }
    if (o->heads > 0) {
        out->n_heads = (int32_t)o->heads;
    }
    if (o->intermediate > 0) {
        out->intermediate_size = (int32_t)o->intermediate;
    }
    out->hidden_dropout = out->embedding_dropout = out->attention_dropout = out->classifier_dropout = o->dropout;
    status = mb_model_config_check(out, "the model's shape", error);
    if (status != MB_OK) {
        mb_model_config_free(out);
    }
    return status;
}
