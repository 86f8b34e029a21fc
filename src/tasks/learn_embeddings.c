#include "tasks/learn_embeddings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/batch.h"
#include "skipgram/skipgram.h"
#include "tasks/init_embeddings.h"

/* The pieces of every n-th document, a line a line. */
static mb_status write_pieces(const mb_learn_embeddings *what, const char *path, mb_error *error) {
    const mb_shard *shard = what->shard;
    const uint64_t wanted = (uint64_t)what->n_tokens,
                   every = shard->n_tokens > wanted ? (shard->n_tokens + wanted - 1) / wanted : 1;
    mb_writer *writer = NULL;
    mb_status status = mb_writer_open(path, &writer, error);
    for (uint64_t document = 0; status == MB_OK && document < shard->n_documents; document += every) {
        const uint64_t first = document == 0 ? 0 : shard->document_ends[document - 1], end = shard->document_ends[document];
        for (uint64_t line = first; line < end; line++) {
            for (uint64_t t = line == 0 ? 0 : shard->line_ends[line - 1]; t < shard->line_ends[line]; t++) {
                const char *piece = mb_tokenizer_piece(what->tokenizer, MB_SHARD_ID(shard->tokens[t]));
                mb_writer_write(writer, piece, strlen(piece));
                mb_writer_write(writer, " ", 1);
            }
            mb_writer_write(writer, "\n", 1);
        }
    }
    return status == MB_OK ? mb_writer_commit(writer, error) : status;
}

static mb_status learn(const mb_learn_embeddings *what, const char *pieces, const char *vectors, int64_t width,
                       const mb_job *job, mb_error *error) {
    mb_skipgram_options options;
    mb_option_set set = {0};
    const mb_option *const tables[] = {mb_skipgram_option_table, NULL};
    void *const targets[] = {&options, NULL};
    memset(&options, 0, sizeof options);
    mb_status status = mb_option_set_init(&set, tables, targets, error);
    if (status == MB_OK) {
        json_t *result = NULL;
        options.corpus = pieces;
        options.out = vectors;
        options.size = width;
        options.epochs = 1;
        options.min_count = 1;
        options.binary = true;
        options.deterministic = true;
        options.seed = (int64_t)what->seed;
        status = mb_skipgram(&options, job, &result, error);
        json_decref(result);
        mb_option_set_free(&set);
    }
    return status;
}

static mb_status begin_output_bias(const mb_shard *shard, mb_model *model, mb_error *error) {
    if (shard->vocab_size != (uint32_t)mb_model_get_config(model)->vocab_size) {
        return mb_fail(error, MB_ERROR_MISMATCH, "the text has ids of %u pieces, the model has %d", shard->vocab_size,
                       (int)mb_model_get_config(model)->vocab_size);
    }
    uint64_t *counts = mb_shard_count_ids(shard);
    if (!counts) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    mb_model_begin_output_bias(model, counts);
    free(counts);
    return MB_OK;
}

mb_status mb_learn_embeddings_run(const mb_learn_embeddings *what, mb_model *model, const mb_job *job, mb_error *error) {
    const int64_t width = mb_model_get_config(model)->hidden_size;
    const double began = mb_clock_seconds();
    const int64_t there = (int64_t)what->shard->n_tokens;
    if (there < MB_LEARN_LEAST || what->n_tokens < MB_LEARN_LEAST) {
        mb_job_message(job, MB_LEVEL_INFO, "embeddings begin at random: Skip-Gram learns little from fewer than %d tokens",
                       MB_LEARN_LEAST);
        return MB_OK;
    }
    char *pieces = mb_path_join(what->dir, "embeddings.pieces"), *vectors = mb_path_join(what->dir, "embeddings.vec");
    mb_status status = pieces && vectors ? write_pieces(what, pieces, error) : mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    status = status == MB_OK ? learn(what, pieces, vectors, width, job, error) : status;
    status = status == MB_OK ? mb_init_embeddings(model, what->tokenizer, vectors, what->seed, NULL, error) : status;
    status = status == MB_OK ? begin_output_bias(what->shard, model, error) : status;
    mb_error ignored; /* what is left behind the next run writes over; the first error is the one to report */
    const bool removed =
        (!pieces || mb_path_remove(pieces, &ignored) == MB_OK) && (!vectors || mb_path_remove(vectors, &ignored) == MB_OK);
    if (status == MB_OK && !removed) {
        *error = ignored;
        status = ignored.status;
    }
    free(pieces);
    free(vectors);
    if (status == MB_OK) {
        mb_job_message(job, MB_LEVEL_INFO, "embeddings begin as Skip-Gram vectors of %.1f million tokens, learnt in %.1f s",
                       1e-6 * (double)(there < what->n_tokens ? there : what->n_tokens), mb_clock_seconds() - began);
    }
    return status;
}
