#include "tasks/text_input.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"

enum { CHUNK_BYTES = 1 << 18, MAX_LINE_BYTES = 1 << 26 };
enum { PATIENCE_MS = 20 }; /* of a reader who is to be answered early */

struct mb_text_input {
    char *path; /* NULL: standard input */
    int fd;
    bool at_end;
    int patience_ms;   /* how long lines that are there wait for more; -1: until the block is full */
    mb_buffer buffer;  /* bytes read and not yet dropped */
    size_t begin;      /* of the first line not handed out, in buffer */
    size_t scanned;    /* no line feed in buffer between begin and here */
    int64_t n_lines;   /* handed out */
    uint64_t n_bytes;  /* handed out */
    uint64_t of_bytes; /* size of a regular file, else 0 */
    double opened_at;  /* mb_clock_seconds */
};

void mb_text_block_free(mb_text_block *block) {
    free(block->lines);
    *block = (mb_text_block){0};
}

const char *mb_text_input_name(const mb_text_input *input) {
    return input->path ? input->path : "standard input";
}

mb_status mb_text_input_open(const char *path, mb_text_input **out, mb_error *error) {
    *out = NULL;
    mb_text_input *input = calloc(1, sizeof *input);
    if (!input) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the input");
    }
    input->opened_at = mb_clock_seconds();
    input->fd = STDIN_FILENO;
    if (path && strcmp(path, "-") != 0) {
        input->path = strdup(path);
        input->fd = input->path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (input->fd < 0) {
            const mb_status status = input->path ? mb_fail(error, MB_ERROR_IO, "cannot open '%s': %s", path, strerror(errno))
                                                 : mb_fail(error, MB_ERROR_MEMORY, "out of memory for the input");
            mb_text_input_close(input);
            return status;
        }
    }
    struct stat info;
    if (fstat(input->fd, &info) == 0 && S_ISREG(info.st_mode)) {
        input->of_bytes = (uint64_t)info.st_size;
    }
    input->patience_ms = isatty(input->fd) == 1 ? 0 : -1;
    *out = input;
    return MB_OK;
}

void mb_text_input_close(mb_text_input *input) {
    if (!input) {
        return;
    }
    if (input->path && input->fd >= 0) {
        close(input->fd);
    }
    mb_buffer_free(&input->buffer);
    free(input->path);
    free(input);
}

void mb_text_input_answer_early(mb_text_input *input) {
    if (input->patience_ms < 0 && !input->of_bytes) { /* a file has all that it will have */
        input->patience_ms = PATIENCE_MS;
    }
}

int64_t mb_text_input_n_lines(const mb_text_input *input) {
    return input->n_lines;
}

void mb_text_input_report(const mb_text_input *input, const mb_job *job, const char *phase, int64_t n_tokens) {
    const double seconds = mb_clock_seconds() - input->opened_at;
    const double fraction = input->of_bytes ? (double)input->n_bytes / (double)input->of_bytes : 0;
    const mb_progress progress = {
        .phase = phase,
        .unit = "lines",
        .done = input->n_lines,
        .loss = NAN,
        .learning_rate = NAN,
        .tokens_per_second = n_tokens > 0 && seconds > 0 ? (double)n_tokens / seconds : (double)NAN,
        .elapsed_seconds = seconds,
        .eta_seconds = fraction > 0 ? seconds / fmin(fraction, 1) - seconds : (double)NAN,
    };
    mb_job_progress(job, &progress);
}

/* Whether nothing has come for as long as the lines that are there can wait. */
static bool is_paused(const mb_text_input *input) {
    struct pollfd question = {.fd = input->fd, .events = POLLIN};
    return input->patience_ms >= 0 && poll(&question, 1, input->patience_ms) == 0;
}

/* The lines handed out by the last call make room. */
static void drop_consumed(mb_text_input *input) {
    mb_buffer *buffer = &input->buffer;
    if (input->begin) {
        memmove(buffer->data, buffer->data + input->begin, buffer->n_bytes - input->begin);
        buffer->n_bytes -= input->begin;
        input->scanned -= input->begin;
        input->begin = 0;
    }
}

static mb_status read_more(mb_text_input *input, const mb_job *job, mb_error *error) {
    if (!mb_buffer_reserve(&input->buffer, CHUNK_BYTES)) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory reading %s", mb_text_input_name(input));
    }
    ssize_t n;
    do {
        if (mb_job_should_stop(job)) {
            return mb_fail(error, MB_ERROR_INTERRUPTED, "interrupted");
        }
        n = read(input->fd, input->buffer.data + input->buffer.n_bytes, CHUNK_BYTES);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return mb_fail(error, MB_ERROR_IO, "cannot read '%s': %s", mb_text_input_name(input), strerror(errno));
    }
    input->at_end = n == 0;
    input->buffer.n_bytes += (size_t)n;
    return MB_OK;
}

static mb_status add_line(mb_text_input *input, mb_text_block *block, size_t end, size_t next, mb_error *error) {
    if (block->n == block->capacity) {
        const size_t capacity = block->capacity ? 2 * block->capacity : 256;
        mb_text_line *lines = realloc(block->lines, capacity * sizeof *lines);
        if (!lines) {
            return mb_fail(error, MB_ERROR_MEMORY, "out of memory reading %s", mb_text_input_name(input));
        }
        block->lines = lines;
        block->capacity = capacity;
    }
    const char *text = input->buffer.data + input->begin;
    size_t n_bytes = end - input->begin;
    input->n_lines++;
    if (n_bytes && memchr(text, '\0', n_bytes)) {
        return mb_fail(error, MB_ERROR_FORMAT, "'%s' is not a text file: line %lld has a NUL byte", mb_text_input_name(input),
                       (long long)input->n_lines);
    }
    if (n_bytes && text[n_bytes - 1] == '\r') {
        n_bytes--;
    }
    /* The buffer may yet move: `text` is set when the block is whole. */
    block->lines[block->n++] = (mb_text_line){.offset = input->begin, .n_bytes = n_bytes};
    input->n_bytes += next - input->begin;
    input->begin = input->scanned = next;
    return MB_OK;
}

mb_status mb_text_input_next(mb_text_input *input, size_t max_lines, size_t max_bytes, const mb_job *job, mb_text_block *block,
                             mb_error *error) {
    block->n = 0;
    block->first_number = input->n_lines + 1;
    drop_consumed(input);
    mb_status status = MB_OK;
    while (status == MB_OK && block->n < max_lines && (block->n == 0 || input->begin < max_bytes)) {
        const size_t n_bytes = input->buffer.n_bytes;
        const char *feed =
            n_bytes > input->scanned ? memchr(input->buffer.data + input->scanned, '\n', n_bytes - input->scanned) : NULL;
        if (feed) {
            const size_t end = (size_t)(feed - input->buffer.data);
            status = add_line(input, block, end, end + 1, error);
            continue;
        }
        input->scanned = n_bytes;
        if (input->at_end) {
            if (n_bytes > input->begin) { /* a last line without a line feed */
                status = add_line(input, block, n_bytes, n_bytes, error);
            }
            break;
        }
        if (block->n && is_paused(input)) {
            break;
        }
        if (n_bytes - input->begin > MAX_LINE_BYTES) {
            return mb_fail(error, MB_ERROR_FORMAT, "'%s': line %lld is longer than %d MiB", mb_text_input_name(input),
                           (long long)input->n_lines + 1, MAX_LINE_BYTES >> 20);
        }
        status = read_more(input, job, error);
    }
    if (status == MB_OK && mb_job_should_stop(job)) {
        status = mb_fail(error, MB_ERROR_INTERRUPTED, "interrupted");
    }
    for (size_t i = 0; i < block->n; i++) {
        block->lines[i].text = input->buffer.data + block->lines[i].offset;
    }
    return status;
}
