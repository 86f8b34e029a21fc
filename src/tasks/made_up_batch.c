#include "tasks/made_up_batch.h"

#include <inttypes.h>
#include <string.h>

#include "base/rng.h"

mb_status mb_made_up_batch(const mb_made_up_text *text, mb_batch *batch, mb_error *error) {
    const int64_t n_tokens = (int64_t)text->n_sequences * text->length;
    *batch = (mb_batch){0};
    if (!mb_batch_reserve(batch, n_tokens, text->n_sequences)) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory: a batch of %" PRId64 " tokens does not fit", n_tokens);
    }
    mb_batch_begin(batch);
    batch->n_tokens = n_tokens;
    batch->n_sequences = text->n_sequences;
    batch->max_length = text->length;
    memset(batch->types, 0, (size_t)n_tokens * sizeof *batch->types);
    memset(batch->next_sentence, 0, (size_t)text->n_sequences * sizeof *batch->next_sentence);
    for (int64_t i = 0; i < n_tokens; i++) {
        const mb_rng_block random = mb_rng_at(text->seed, MB_STREAM_MASK, 0, (uint32_t)(i >> 32), (uint32_t)i);
        batch->ids[i] = (int32_t)mb_rng_below(random.v[0], (uint32_t)text->vocab_size);
        if ((double)mb_rng_uniform(random.v[1]) < text->mlm_probability || i == 0) {
            batch->masked_rows[batch->n_masked] = (int32_t)i;
            batch->masked_targets[batch->n_masked++] = (int32_t)mb_rng_below(random.v[2], (uint32_t)text->vocab_size);
        }
    }
    for (int32_t b = 0; b <= batch->n_sequences; b++) {
        batch->offsets[b] = b * batch->max_length;
    }
    return MB_OK;
}
