#include "tasks/made_up_batch.h"

#include <stdlib.h>

#include "base/rng.h"

static mb_status allocate(const mb_made_up_text *text, mb_batch *batch, mb_error *error) {
    const size_t n_tokens = (size_t)text->n_sequences * (size_t)text->length;
    *batch = (mb_batch){.n_tokens = (int64_t)n_tokens, .n_sequences = text->n_sequences, .max_length = text->length};
    batch->ids = calloc(n_tokens, sizeof *batch->ids);
    batch->types = calloc(n_tokens, sizeof *batch->types);
    batch->masked_rows = calloc(n_tokens, sizeof *batch->masked_rows);
    batch->masked_targets = calloc(n_tokens, sizeof *batch->masked_targets);
    batch->offsets = calloc((size_t)text->n_sequences + 1, sizeof *batch->offsets);
    batch->next_sentence = text->next_sentence ? calloc((size_t)text->n_sequences, sizeof *batch->next_sentence) : NULL;
    if (batch->ids == NULL || batch->types == NULL || batch->masked_rows == NULL || batch->masked_targets == NULL ||
        batch->offsets == NULL || (text->next_sentence && batch->next_sentence == NULL)) {
        mb_batch_free(batch);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory: a batch of %zu tokens does not fit", n_tokens);
    }
    return MB_OK;
}

mb_status mb_made_up_batch(const mb_made_up_text *text, mb_batch *batch, mb_error *error) {
    const mb_status status = allocate(text, batch, error);
    for (int64_t i = 0; status == MB_OK && i < batch->n_tokens; i++) {
        const mb_rng_block random = mb_rng_at(text->seed, MB_STREAM_MASK, 0, (uint32_t)(i >> 32), (uint32_t)i);
        batch->ids[i] = (int32_t)mb_rng_below(random.v[0], (uint32_t)text->vocab_size);
        if ((double)mb_rng_uniform(random.v[1]) < text->mlm_probability || i == 0) {
            batch->masked_rows[batch->n_masked] = (int32_t)i;
            batch->masked_targets[batch->n_masked++] = (int32_t)mb_rng_below(random.v[2], (uint32_t)text->vocab_size);
        }
    }
    for (int32_t b = 0; status == MB_OK && b <= batch->n_sequences; b++) {
        batch->offsets[b] = b * batch->max_length;
    }
    return status;
}
