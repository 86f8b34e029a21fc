/* Status codes and error messages.
 *
 * Every function of minibert that can fail returns an mb_status and takes, last, an mb_error that the caller owns.
 * On failure the error holds one line that names the file (and line or tensor), what is wrong and what to do.
 * A library function never prints, never exits and keeps no global mutable state.
 *
 *     mb_error error;
 *     mb_tokenizer *tokenizer = NULL;
 *     if (mb_tokenizer_load("model", &tokenizer, &error) != MB_OK) {
 *         fprintf(stderr, "%s\n", error.message);
 *         return 1;
 *     }
 */
#ifndef MINIBERT_STATUS_H
#define MINIBERT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* X(code, text): the one list of what can go wrong. */
#define MB_STATUS_TABLE(X)                                                                                        \
    X(MB_OK, "ok")                                                                                                \
    X(MB_ERROR_USAGE, "wrong usage")           /* an option or argument out of range: exit code 2 */              \
    X(MB_ERROR_IO, "input/output error")       /* the system refused to read or write; errno is in the message */ \
    X(MB_ERROR_FORMAT, "bad file")             /* a file was read but is not what it should be */                 \
    X(MB_ERROR_MISMATCH, "files do not match") /* two good files that do not belong together */                   \
    X(MB_ERROR_MEMORY, "out of memory")                                                                           \
    X(MB_ERROR_DIVERGED, "training diverged")                                                                     \
    X(MB_ERROR_INTERRUPTED, "interrupted") /* stopped by a signal after saving */

typedef enum mb_status {
#define MB_STATUS_ENUM(code, text) code,
    MB_STATUS_TABLE(MB_STATUS_ENUM)
#undef MB_STATUS_ENUM
} mb_status;

enum { MB_ERROR_MESSAGE_BYTES = 1024 };

typedef struct mb_error {
    mb_status status;
    char message[MB_ERROR_MESSAGE_BYTES]; /* one line, NUL terminated, cut if longer */
} mb_error;

/* The table's text of a status; never NULL. */
const char *mb_status_text(mb_status status);

/* Writes `status` and the formatted message into `error` (which may be NULL) and returns `status`, so that a function can
 * end with `return mb_fail(error, MB_ERROR_FORMAT, "...")`. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
mb_status
mb_fail(mb_error *error, mb_status status, const char *format, ...);

#ifdef __cplusplus
}
#endif
#endif
