#include "data/masking.h"

#include <math.h>

#include "base/rng.h"
#include "data/shard.h"

/* The counter of the draw that picks a word for a sequence without any: no position is so large. */
#define FORCED_POSITION UINT32_MAX

/* SpanBERT's lengths: geometric, cut off at 10 words. */
enum { SPAN_MAX_WORDS = 10 };
static const double span_goes_on = 0.8;

/* The chance that a span has at least `n_words`. */
static double span_reaches(int n_words) {
    const double tail = pow(span_goes_on, SPAN_MAX_WORDS);
    return (pow(span_goes_on, n_words - 1) - tail) / (1 - tail);
}

/* The share of words that spans cover which begin at a word with chance `begins`: it is left out only if no span of the words
 * up to SPAN_MAX_WORDS - 1 before it reaches it. */
static double span_cover(double begins) {
    double left_out = 1;
    for (int n = 1; n <= SPAN_MAX_WORDS; n++) {
        left_out *= 1 - begins * span_reaches(n);
    }
    return 1 - left_out;
}

void mb_masker_set_probability(mb_masker *masker, double probability) {
    if (masker->unit == MB_MASK_SPANS) { /* the chance whose cover is wanted, by halving */
        double low = 0, high = 1;
        for (int i = 0; i < 40; i++) {
            const double middle = (low + high) / 2;
            *(span_cover(middle) < probability ? &low : &high) = middle;
        }
        probability = high;
    }
    masker->probability = (float)probability;
}

/* A length of a span, from a number in [0, 1). */
static int span_words(float u) {
    int n_words = 1;
    while (n_words < SPAN_MAX_WORDS && (double)u < span_reaches(n_words + 1)) {
        n_words++;
    }
    return n_words;
}

mb_status mb_masker_init(mb_masker *masker, const mb_tokenizer *tokenizer, double probability, mb_mask_unit unit,
                         mb_mask_style style, uint64_t seed, mb_error *error) {
    if (!(probability > 0 && probability <= 1)) { /* also refuses NaN */
        return mb_fail(error, MB_ERROR_USAGE, "mask probability %g is out of range: above 0, at most 1", probability);
    }
    *masker = (mb_masker){
        .seed = seed,
        .unit = unit,
        .style = style,
        .cls_id = mb_tokenizer_special(tokenizer, MB_SPECIAL_CLS),
        .sep_id = mb_tokenizer_special(tokenizer, MB_SPECIAL_SEP),
        .mask_id = mb_tokenizer_special(tokenizer, MB_SPECIAL_MASK),
        .vocab_size = (int32_t)mb_tokenizer_vocab_size(tokenizer),
    };
    mb_masker_set_probability(masker, probability);
    for (int which = MB_SPECIAL_PAD; which <= MB_SPECIAL_MASK; which++) { /* insertion sort without repeats */
        const int32_t id = mb_tokenizer_special(tokenizer, (mb_special)which);
        int32_t at = masker->n_specials;
        while (at > 0 && masker->specials[at - 1] > id) {
            at--;
        }
        if (at > 0 && masker->specials[at - 1] == id) {
            continue;
        }
        for (int32_t i = masker->n_specials; i > at; i--) {
            masker->specials[i] = masker->specials[i - 1];
        }
        masker->specials[at] = id;
        masker->n_specials++;
    }
    if (masker->vocab_size <= masker->n_specials) {
        return mb_fail(error, MB_ERROR_MISMATCH,
                       "the vocabulary holds nothing but special tokens: there is nothing to mask with");
    }
    return MB_OK;
}

/* Uniform over the ids that are not special. */
static int32_t random_id(const mb_masker *masker, uint32_t word) {
    int32_t id = (int32_t)mb_rng_below(word, (uint32_t)(masker->vocab_size - masker->n_specials));
    for (int32_t i = 0; i < masker->n_specials; i++) {
        id += id >= masker->specials[i];
    }
    return id;
}

static int32_t corrupt(const mb_masker *masker, const mb_rng_block *draw, int32_t id) {
    if (masker->style == MB_MASK_STYLE_MASK) {
        return masker->mask_id;
    }
    const float action = mb_rng_uniform(draw->v[1]);
    if (action < 0.8f) {
        return masker->mask_id;
    }
    return action < 0.9f ? random_id(masker, draw->v[2]) : id;
}

static bool is_text(const mb_masker *masker, int32_t token) {
    const int32_t id = MB_SHARD_ID((uint32_t)token);
    return id != masker->cls_id && id != masker->sep_id;
}

/* Whether position i begins what is chosen as a whole: any text token, or with words and spans a text token that begins a word
 * (or continues one that was cut off, at the start of a run). */
static bool begins_group(const mb_masker *masker, const int32_t *ids, int32_t i) {
    return masker->unit == MB_MASK_PIECES || ids[i] >= 0 || i == 0 || !is_text(masker, ids[i - 1]);
}

int64_t mb_masker_apply(const mb_masker *masker, uint32_t epoch, uint32_t sequence, int32_t *ids, int32_t n, int32_t first_row,
                        int32_t *rows, int32_t *targets) {
    int64_t n_masked = 0;
    uint32_t n_groups = 0;
    int n_words = 0;                  /* still to be chosen, with this one */
    for (int32_t i = 0; i < n; i++) { /* choose; ids keep their bit 31 until all groups are known */
        if (!is_text(masker, ids[i])) {
            n_words = 0;
            continue;
        }
        if (begins_group(masker, ids, i)) {
            n_groups++;
            const mb_rng_block draw = mb_rng_at(masker->seed, MB_STREAM_MASK, epoch, sequence, (uint32_t)i);
            n_words -= n_words > 0;
            if (mb_rng_uniform(draw.v[0]) < masker->probability) {
                const int length = masker->unit == MB_MASK_SPANS ? span_words(mb_rng_uniform(draw.v[3])) : 1;
                n_words = length > n_words ? length : n_words;
            }
        }
        if (n_words > 0) {
            rows[n_masked++] = i;
        }
    }
    if (n_masked == 0 && n_groups > 0) {
        const mb_rng_block draw = mb_rng_at(masker->seed, MB_STREAM_MASK, epoch, sequence, FORCED_POSITION);
        const uint32_t wanted = mb_rng_below(draw.v[0], n_groups) + 1;
        uint32_t group = 0;
        for (int32_t i = 0; i < n && group <= wanted; i++) {
            group += is_text(masker, ids[i]) && begins_group(masker, ids, i);
            if (group == wanted && is_text(masker, ids[i])) {
                rows[n_masked++] = i;
            }
        }
    }
    for (int32_t i = 0; i < n; i++) {
        ids[i] = MB_SHARD_ID((uint32_t)ids[i]);
    }
    for (int64_t k = 0; k < n_masked; k++) {
        const int32_t i = rows[k];
        const mb_rng_block draw = mb_rng_at(masker->seed, MB_STREAM_MASK, epoch, sequence, (uint32_t)i);
        targets[k] = ids[i];
        ids[i] = corrupt(masker, &draw, ids[i]);
        rows[k] = first_row + i;
    }
    return n_masked;
}
