/* Whole lines, as many at a time as there are: a regular file is mapped and is one block; from a pipe or a terminal come the
 * lines that have arrived, so that a program at the other end may wait for the answer to its line. Lines may hold any bytes and
 * be of any length that memory holds. */
#ifndef MB_CLI_LINE_SOURCE_H
#define MB_CLI_LINE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/job.h"
#include "minibert/status.h"

typedef struct mb_line_block {
    const char *text; /* lives until the next call */
    size_t n_bytes;   /* ends with a line feed, but perhaps at the end of the input; 0 at the end */
} mb_line_block;

typedef struct mb_line_source mb_line_source;

/* `fd` stays the caller's; `name` (borrowed) is for messages. */
mb_status mb_line_source_open(int fd, const char *name, mb_line_source **out, mb_error *error);
/* Errors: IO, MEMORY, and INTERRUPTED when `job` is asked to stop. */
mb_status mb_line_source_next(mb_line_source *source, const mb_job *job, mb_line_block *block, mb_error *error);
bool mb_line_source_is_file(const mb_line_source *source);
void mb_line_source_close(mb_line_source *source); /* fine on NULL */

#endif
