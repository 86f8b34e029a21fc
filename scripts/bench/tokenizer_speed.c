/* How fast mb_tokenizer_encode is, without reading or printing: bench_tokenizer MODEL FILE ROUNDS THREADS prints one JSON line
 * a round. Lines are found before the clock starts, as they are for the peers. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/job.h"
#include "base/threads.h"
#include "minibert/tokenizer.h"

enum { LINES_A_PIECE = 256 };

static int fail(const mb_error *error) {
    fprintf(stderr, "bench_tokenizer: %s\n", error->message);
    return 1;
}

int main(int argc, char **argv) {
    mb_error error;
    mb_tokenizer *tokenizer = NULL;
    mb_map map = {0};
    if (argc != 5) {
        fprintf(stderr, "usage: bench_tokenizer MODEL FILE ROUNDS THREADS\n");
        return 2;
    }
    if (mb_tokenizer_load(argv[1], &tokenizer, &error) != MB_OK || mb_map_open(argv[2], &map, &error) != MB_OK) {
        return fail(&error);
    }
    const char *text = (const char *)map.data;
    const char **lines = malloc((map.n_bytes + 2) * sizeof *lines);
    if (lines == NULL) {
        return 1;
    }
    size_t n_lines = 0;
    for (const char *at = text; at < text + map.n_bytes; n_lines++) {
        const char *feed = memchr(at, '\n', (size_t)(text + map.n_bytes - at));
        lines[n_lines] = at;
        at = feed == NULL ? text + map.n_bytes : feed + 1;
    }
    lines[n_lines] = text + map.n_bytes + 1;
    const int n_threads = mb_threads_set(atoi(argv[4]));
    mb_encoding *encodings = calloc((size_t)n_threads, sizeof *encodings);
    for (int round = 0; encodings != NULL && round < atoi(argv[3]); round++) {
        size_t n_tokens = 0, n_failed = 0, n_bytes = 0;
        const double start = mb_clock_seconds(), cpu_start = (double)clock() / CLOCKS_PER_SEC;
#pragma omp parallel for schedule(dynamic, LINES_A_PIECE) reduction(+ : n_tokens, n_failed, n_bytes)
        for (size_t i = 0; i < n_lines; i++) {
            mb_encoding *encoding = &encodings[omp_get_thread_num()];
            const size_t n = (size_t)(lines[i + 1] - lines[i]) - 1;
            n_failed += mb_tokenizer_encode(tokenizer, lines[i], n, encoding, NULL) != MB_OK;
            n_tokens += encoding->n_tokens;
            n_bytes += n;
        }
        const double seconds = mb_clock_seconds() - start, cpu_seconds = (double)clock() / CLOCKS_PER_SEC - cpu_start;
        printf("{\"mb_s\": %.2f, \"mtok_s\": %.2f, \"tokens\": %zu, \"failed\": %zu, \"threads\": %d, \"cpu_mb_s\": %.2f}\n",
               (double)n_bytes / seconds / 1e6, (double)n_tokens / seconds / 1e6, n_tokens, n_failed, n_threads,
               (double)n_bytes / cpu_seconds / 1e6);
    }
    for (int i = 0; encodings != NULL && i < n_threads; i++) {
        mb_encoding_free(&encodings[i]);
    }
    free(encodings);
    free(lines);
    mb_map_close(&map);
    mb_tokenizer_free(tokenizer);
    return 0;
}
