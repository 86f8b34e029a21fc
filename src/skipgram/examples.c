#include "skipgram/examples.h"

#include <string.h>

#include "base/rng.h"
#include "skipgram/random_streams.h"
#include "skipgram/text_words.h"

enum { RELEASE_BYTES = 1 << 16 };

void mb_example_stream_init(mb_example_stream *stream, const mb_example_source *source, int index, int n_ranges) {
    const __uint128_t n_bytes = source->text->n_bytes;
    const size_t from = (size_t)(n_bytes * (unsigned)index / (unsigned)n_ranges);
    const size_t to = (size_t)(n_bytes * ((unsigned)index + 1) / (unsigned)n_ranges);
    const mb_rng_block block = mb_rng_at(source->seed, MB_STREAM_SKIPGRAM_TEXT, (uint32_t)index, (uint32_t)n_ranges, 0);
    stream->source = source;
    stream->begin = mb_text_range_begin(source->text, from);
    stream->limit = source->text->data + to;
    stream->at = stream->released = stream->begin;
    stream->random = (uint64_t)block.v[0] << 32 | block.v[1];
    stream->epochs_left = source->n_epochs;
    stream->n_words = 0;
    stream->n_sentence = stream->centre = stream->n_context = stream->next_context = 0;
}

static void read_sentence(mb_example_stream *s) {
    const mb_example_source *source = s->source;
    const unsigned char *end = source->text->data + source->text->n_bytes;
    mb_text_word word;
    s->n_sentence = s->centre = 0;
    while (s->n_sentence < MB_SENTENCE_WORDS && mb_text_next_word(&s->at, s->limit, end, &word)) {
        if (word.begins_line && s->n_sentence > 0) {
            s->at = word.bytes; /* it begins the next sentence */
            break;
        }
        const int64_t id = mb_vocabulary_find(source->vocabulary, word.bytes, word.n_bytes);
        if (id < 0) {
            continue;
        }
        s->n_words++;
        const uint32_t keep = source->keep[id];
        if (keep == UINT32_MAX || mb_lcg_next(&s->random) <= keep) {
            s->sentence[s->n_sentence++] = (uint32_t)id;
        }
    }
    if (s->at - s->released >= RELEASE_BYTES) {
        mb_text_release(source->text, s->released, s->at);
        s->released = s->at;
    }
}

/* The context of the next centre that has any; false when there is no more text. */
static bool next_window(mb_example_stream *s) {
    const int window = s->source->window;
    s->n_context = s->next_context = 0;
    while (s->n_context == 0) {
        s->centre++;
        if (s->centre >= s->n_sentence) {
            read_sentence(s);
            if (s->n_sentence == 0) {
                if (--s->epochs_left <= 0) {
                    return false;
                }
                s->at = s->released = s->begin;
            }
            s->centre = -1;
            continue;
        }
        const int reach = s->source->fixed_window ? window : 1 + (int)(mb_lcg_next(&s->random) % (uint32_t)window);
        const int first = s->centre > reach ? s->centre - reach : 0;
        const int last = s->centre + reach < s->n_sentence ? s->centre + reach : s->n_sentence - 1;
        for (int i = first; i <= last; i++) {
            if (i != s->centre) {
                s->context[s->n_context++] = s->sentence[i];
            }
        }
    }
    return true;
}

static void add_output(mb_example *out, uint32_t row, float label) {
    out->out[out->n_out] = row;
    out->label[out->n_out] = label;
    out->n_out++;
}

static void add_outputs(mb_example_stream *s, uint32_t centre, mb_example *out) {
    const mb_example_source *source = s->source;
    out->n_out = 0;
    if (source->n_negatives > 0) {
        add_output(out, centre, 1);
        for (int i = 0; i < source->n_negatives; i++) {
            const uint32_t negative = mb_alias_table_draw(source->negatives, &s->random);
            if (negative != centre) {
                add_output(out, negative, 0);
            }
        }
    }
    if (source->tree) {
        for (uint32_t i = source->tree->starts[centre]; i < source->tree->starts[centre + 1]; i++) {
            add_output(out, source->tree_row + source->tree->nodes[i], source->tree->turns[i] ? 0 : 1);
        }
    }
}

bool mb_example_stream_next(mb_example_stream *s, mb_example *out) {
    if (s->next_context == s->n_context && !next_window(s)) {
        return false;
    }
    out->is_new_window = s->next_context == 0;
    out->n_in = s->source->one_pair ? 1 : s->n_context;
    memcpy(out->in, s->context + s->next_context, (size_t)out->n_in * sizeof *out->in);
    s->next_context += out->n_in;
    add_outputs(s, s->sentence[s->centre], out);
    return true;
}
