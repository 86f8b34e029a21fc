/* Text as a stream of lines, a block at a time: memory is bounded however long the file is, and order is kept.
 *
 *     mb_text_input *input;
 *     mb_text_block block = {0};
 *     status = mb_text_input_open("-", &input, &error);
 *     while (status == MB_OK && (status = mb_text_input_next(input, 1000, 1 << 20, job, &block, &error)) == MB_OK && block.n)
 * ...
 */
#ifndef MB_TASKS_TEXT_INPUT_H
#define MB_TASKS_TEXT_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/job.h"
#include "minibert/status.h"

typedef struct mb_text_line {
    const char *text; /* not NUL terminated; without "\n" or "\r\n" */
    size_t n_bytes;
    size_t offset; /* private */
} mb_text_line;

typedef struct mb_text_block {
    mb_text_line *lines;
    size_t n;             /* 0 at the end of the input */
    int64_t first_number; /* 1-based number of lines[0] in the input */
    size_t capacity;
} mb_text_block;
void mb_text_block_free(mb_text_block *block);

typedef struct mb_text_input mb_text_input;

/* `path` NULL or "-": standard input. */
mb_status mb_text_input_open(const char *path, mb_text_input **out, mb_error *error);
/* From now on lines of a pipe are handed out when no more have come for a while, little to a reader who waits for what is made
 * of them, much to a program that writes; those of a terminal always are at once. Else they wait until the block is full. Does
 * nothing for a file. */
void mb_text_input_answer_early(mb_text_input *input);
/* Up to max_lines lines, of about max_bytes together, at least one; their text lives until the next call. Errors: MB_ERROR_IO;
 * MB_ERROR_FORMAT for a NUL byte (no text file has one) or a line beyond 64 MiB; MB_ERROR_INTERRUPTED when `job` (may be NULL)
 * is asked to stop. */
mb_status mb_text_input_next(mb_text_input *input, size_t max_lines, size_t max_bytes, const mb_job *job, mb_text_block *block,
                             mb_error *error);
const char *mb_text_input_name(const mb_text_input *input); /* for messages */
int64_t mb_text_input_n_lines(const mb_text_input *input);  /* handed out so far */
/* Tells `job` how far a job is that has done with the lines handed out, since they were opened; `n_tokens` went through a model
 * (0: none are counted). */
void mb_text_input_report(const mb_text_input *input, const mb_job *job, const char *phase, int64_t n_tokens);
void mb_text_input_close(mb_text_input *input); /* fine on NULL */

#endif
