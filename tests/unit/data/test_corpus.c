#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buffer.h"
#include "data/corpus.h"
#include "data/corpus_scan.h"
#include "data/text_check.h"
#include "unit/data/support.h"

typedef struct log_lines {
    mb_buffer warnings;
    int n_reports;
    volatile sig_atomic_t stop;
    int stop_after; /* reports; 0: never */
} log_lines;

static void on_message(void *user, mb_level level, const char *line) {
    if (level == MB_LEVEL_WARNING) {
        mb_buffer_printf(&((log_lines *)user)->warnings, "%s\n", line);
    }
}

static void on_progress(void *user, const mb_progress *progress) {
    log_lines *log = user;
    cr_assert_leq(progress->done, progress->total);
    log->n_reports++;
    log->stop = log->stop_after > 0 && log->n_reports >= log->stop_after;
}

static mb_job job_of(log_lines *log, int n_threads) {
    return (mb_job){
        .user = log, .message = on_message, .progress = on_progress, .stop_signal = &log->stop, .n_threads = n_threads};
}

static mb_status prepare(const char *dir, const char *const *files, size_t n_files, mb_split split, const mb_job *job,
                         char **path, mb_error *error) {
    mb_tokenizer *tokenizer = test_tokenizer_new();
    char *cache = mb_path_join(dir, "cache");
    const mb_corpus_options options = {.files = files, .n_files = n_files, .cache_dir = cache, .split = split};
    mb_status status = mb_corpus_prepare(&options, tokenizer, job, path, error);
    cr_assert_eq(*path != NULL, status == MB_OK);
    free(cache);
    mb_tokenizer_free(tokenizer);
    return status;
}

static mb_shard open_corpus(const char *dir, const char *const *files, size_t n_files, mb_split split) {
    char *path;
    mb_error error;
    cr_assert_eq(prepare(dir, files, n_files, split, NULL, &path, &error), MB_OK, "%s", error.message);
    mb_shard shard;
    cr_assert_eq(mb_shard_open(path, true, &shard, &error), MB_OK, "%s", error.message);
    free(path);
    return shard;
}

/* A shard as text: a line a line, a blank line between documents, pieces of a word joined. */
static char *text_of(const mb_shard *shard) {
    mb_buffer out = {0};
    mb_tokenizer *tokenizer = test_tokenizer_new();
    uint64_t token = 0, line = 0;
    for (uint64_t d = 0; d < shard->n_documents; d++) {
        for (; line < shard->document_ends[d]; line++) {
            const uint64_t start = token;
            for (; token < shard->line_ends[line]; token++) {
                const bool continues = (shard->tokens[token] & MB_SHARD_CONTINUES) != 0;
                const int32_t id = MB_SHARD_ID(shard->tokens[token]);
                const char *piece = mb_tokenizer_piece(tokenizer, id);
                cr_assert_eq(continues, mb_tokenizer_is_continuation(tokenizer, id));
                mb_buffer_printf(&out, "%s%s", token > start && !continues ? " " : "", continues ? piece + 2 : piece);
            }
            mb_buffer_append_text(&out, "\n");
        }
        if (d + 1 < shard->n_documents) {
            mb_buffer_append_text(&out, "\n");
        }
    }
    mb_tokenizer_free(tokenizer);
    return out.data;
}

Test(corpus, lines_and_documents_of_awkward_text) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"ab c\nd\n\ne f\n", "ab c\nd\n\ne f\n"},
        {"ab c", "ab c\n"},
        {"\n\n\n  \n ab\n\n\n\ncd\n\n\n", "ab\n\ncd\n"},
        {"ab\r\ncd\r\n\r\nef\r\n", "ab\ncd\n\nef\n"},
        {"ab\n \t\r\ncd", "ab\n\ncd\n"},
        {"\xef\xbb\xbf"
         "ab\ncd",
         "ab\ncd\n"},
        {"[CLS]ab [SEP] c [MASK] d [PAD]\n[MASK]\ne", "ab c d\ne\n"},
        {"\xe2\x80\x8b\nab\n\n\xe2\x80\x8b\ncd\n\xe2\x80\x8b\nef", "ab\n\ncd\nef\n"}, /* zero width spaces: lines of no token */
        {"ab\n\n\xe2\x80\x8b\n\ncd", "ab\n\ncd\n"},
        {"ab\tc\v d", "ab c d\n"},
    };
    char *dir = test_dir_new();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *file = test_file(dir, "x.txt", cases[i].text);
        mb_shard shard = open_corpus(dir, (const char *const[]){file}, 1, MB_SPLIT_ALL);
        char *got = text_of(&shard);
        cr_expect_str_eq(got, cases[i].expected, "case %zu: %s", i, got);
        free(got);
        mb_shard_close(&shard);
        free(file);
    }
    test_dir_free(dir);
}

Test(corpus, files_follow_each_other_and_end_documents) {
    char *dir = test_dir_new();
    char *files[] = {test_file(dir, "1.txt", "ab\ncd"), test_file(dir, "2.txt", ""), test_file(dir, "3.txt", "ef\n")};
    mb_shard shard = open_corpus(dir, (const char *const *)files, 3, MB_SPLIT_ALL);
    char *got = text_of(&shard);
    cr_expect_str_eq(got, "ab\ncd\n\nef\n");
    free(got);
    mb_shard_close(&shard);
    for (int i = 0; i < 3; i++) {
        free(files[i]);
    }
    test_dir_free(dir);
}

/* n documents of 1..max_lines lines of 1..8 words; every document begins with its number in letters, so all differ. */
static char *make_text(uint32_t stream, uint32_t n_documents, uint32_t max_lines) {
    mb_buffer out = {0};
    uint32_t k = 0;
    for (uint32_t d = 0; d < n_documents; d++) {
        const uint32_t n_lines = 1 + test_random(stream, k++, max_lines);
        for (uint32_t i = 0; i < n_lines; i++) {
            if (i == 0) {
                mb_buffer_printf(&out, "%c%c%c", 'a' + (int)(d % 26), 'a' + (int)(d / 26 % 26), 'a' + (int)(d / 676));
            }
            for (uint32_t n = 1 + test_random(stream, k++, 8); n > 0; n--) {
                mb_buffer_append_text(&out, i == 0 || out.data[out.n_bytes - 1] != '\n' ? " " : "");
                for (uint32_t letters = 1 + test_random(stream, k++, 9); letters > 0; letters--) {
                    mb_buffer_printf(&out, "%c", 'a' + (int)test_random(stream, k++, 26));
                }
            }
            mb_buffer_append_text(&out, "\n");
        }
        if (d + 1 < n_documents) {
            mb_buffer_append_text(&out, "\n");
        }
    }
    return out.data;
}

Test(corpus, every_line_arrives_once_in_order_at_any_number_of_threads) {
    char *dir = test_dir_new(), *text = make_text(50, 3000, 30), *file = test_file(dir, "x.txt", text);
    cr_assert_gt(strlen(text), 1000000, "several pieces of parallel work");
    mb_buffer first = {0};
    mb_error error;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        log_lines log = {0};
        const mb_job job = job_of(&log, n_threads);
        char *path;
        cr_assert_eq(prepare(dir, (const char *const[]){file}, 1, MB_SPLIT_ALL, &job, &path, &error), MB_OK, "%s",
                     error.message);
        cr_expect_gt(log.n_reports, 0);
        cr_expect_eq(log.warnings.n_bytes, 0);
        mb_buffer bytes = {0};
        cr_assert_eq(mb_file_read(path, &bytes, &error), MB_OK);
        if (n_threads == 1) {
            mb_shard shard;
            cr_assert_eq(mb_shard_open(path, true, &shard, &error), MB_OK);
            char *got = text_of(&shard);
            cr_expect_eq(strcmp(got, text), 0, "the shard holds the text, nothing else");
            free(got);
            mb_shard_close(&shard);
            first = bytes;
        } else {
            cr_expect(bytes.n_bytes == first.n_bytes && memcmp(bytes.data, first.data, bytes.n_bytes) == 0, "%d threads",
                      n_threads);
            mb_buffer_free(&bytes);
        }
        cr_assert_eq(mb_path_remove(path, &error), MB_OK);
        free(path);
    }
    mb_buffer_free(&first);
    free(text);
    free(file);
    test_dir_free(dir);
}

Test(corpus, second_run_does_not_write) {
    char *dir = test_dir_new(), *file = test_file(dir, "x.txt", "ab\ncd\n\nef\n");
    char *copy = test_file(dir, "other-name.txt", "ab\ncd\n\nef\n");
    char *cache = mb_path_join(dir, "cache"), *path, *again;
    mb_error error;
    cr_assert_eq(prepare(dir, (const char *const[]){file}, 1, MB_SPLIT_ALL, NULL, &path, &error), MB_OK);
    struct stat before, after;
    cr_assert_eq(stat(path, &before), 0);
    cr_assert_eq(prepare(dir, (const char *const[]){copy}, 1, MB_SPLIT_ALL, NULL, &again, &error), MB_OK);
    cr_expect_str_eq(path, again, "the key is the content, not the name");
    cr_assert_eq(stat(again, &after), 0);
    cr_expect(before.st_ino == after.st_ino && before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
              before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    cr_expect_eq(test_dir_entries(cache), 1);
    free(again);
    /* Other content, another split: other shards. */
    free(copy);
    copy = test_file(dir, "other-name.txt", "ab\ncd\n\neg\n");
    cr_assert_eq(prepare(dir, (const char *const[]){copy}, 1, MB_SPLIT_ALL, NULL, &again, &error), MB_OK);
    cr_expect_str_neq(path, again);
    free(again);
    cr_assert_eq(prepare(dir, (const char *const[]){file}, 1, MB_SPLIT_VALID, NULL, &again, &error), MB_OK);
    cr_expect_str_neq(path, again);
    free(again);
    cr_assert_eq(prepare(dir, (const char *const[]){file, file}, 2, MB_SPLIT_ALL, NULL, &again, &error), MB_OK);
    cr_expect_str_neq(path, again);
    free(again);
    cr_expect_eq(test_dir_entries(cache), 4);
    free(path);
    free(cache);
    free(copy);
    free(file);
    test_dir_free(dir);
}

Test(corpus, another_tokenizer_makes_another_shard) {
    char *dir = test_dir_new(), *file = test_file(dir, "x.txt", "ab\n");
    const char *const pieces[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b"};
    mb_tokenizer_config config = mb_tokenizer_config_default();
    char *paths[3];
    mb_error error;
    for (int i = 0; i < 3; i++) {
        mb_tokenizer *tokenizer;
        config.do_lower_case = i < 2;
        cr_assert_eq(mb_tokenizer_new(pieces, i == 0 ? 6 : 7, &config, &tokenizer, &error), MB_OK);
        const mb_corpus_options options = {.files = (const char *const[]){file}, .n_files = 1, .cache_dir = dir};
        cr_assert_eq(mb_corpus_prepare(&options, tokenizer, NULL, &paths[i], &error), MB_OK, "%s", error.message);
        mb_tokenizer_free(tokenizer);
    }
    cr_expect(strcmp(paths[0], paths[1]) != 0 && strcmp(paths[1], paths[2]) != 0 && strcmp(paths[0], paths[2]) != 0);
    for (int i = 0; i < 3; i++) {
        free(paths[i]);
    }
    free(file);
    test_dir_free(dir);
}

Test(corpus, a_damaged_shard_is_made_anew_with_a_warning) {
    char *dir = test_dir_new(), *file = test_file(dir, "x.txt", "ab\ncd\n\nef\n"), *path, *again;
    mb_error error;
    cr_assert_eq(prepare(dir, (const char *const[]){file}, 1, MB_SPLIT_ALL, NULL, &path, &error), MB_OK);
    mb_buffer sound = {0}, bytes = {0};
    cr_assert_eq(mb_file_read(path, &sound, &error), MB_OK);
    cr_assert(mb_buffer_append(&bytes, sound.data, sound.n_bytes));
    bytes.data[40] ^= 1;
    cr_assert_eq(mb_file_write(path, bytes.data, bytes.n_bytes, &error), MB_OK);
    log_lines log = {0};
    const mb_job job = job_of(&log, 1);
    cr_assert_eq(prepare(dir, (const char *const[]){file}, 1, MB_SPLIT_ALL, &job, &again, &error), MB_OK);
    cr_expect(log.warnings.n_bytes > 0 && strstr(log.warnings.data, "checksum") != NULL);
    mb_buffer_clear(&bytes);
    cr_assert_eq(mb_file_read(again, &bytes, &error), MB_OK);
    cr_expect(bytes.n_bytes == sound.n_bytes && memcmp(bytes.data, sound.data, sound.n_bytes) == 0);
    mb_buffer_free(&log.warnings);
    mb_buffer_free(&bytes);
    mb_buffer_free(&sound);
    free(path);
    free(again);
    free(file);
    test_dir_free(dir);
}

Test(corpus, what_is_no_text_is_refused_and_nothing_is_written) {
    static const struct {
        const char *bytes;
        size_t n_bytes;
        mb_split split;
        const char *message;
    } cases[] = {
        {"", 0, MB_SPLIT_ALL, "no text"},
        {"\n \n\t\r\n", 6, MB_SPLIT_ALL, "no text"},
        {"\xef\xbb\xbf", 3, MB_SPLIT_ALL, "no text"},
        {"[MASK] [CLS]\n", 13, MB_SPLIT_ALL, "no text"},
        {"", 0, MB_SPLIT_TRAIN, "too little text"},
        {"", 0, MB_SPLIT_VALID, "no text"},
        {"ab\ncd\n", 6, MB_SPLIT_TRAIN, "too little text"},
        {"ab\ncd\0ef\n", 9, MB_SPLIT_ALL, "line 2 holds a NUL byte"},
        {"\x7f"
         "ELF\2\1\1\0\0\0\0\0",
         12, MB_SPLIT_ALL, "line 1 holds a NUL byte"},
        {"\xff\xfe"
         "a\0b\0",
         6, MB_SPLIT_ALL, "NUL byte"},
        {"ab\n\xc4\xe3\xba\xc3 cd\n", 11, MB_SPLIT_ALL, "in line 2"}, /* GBK */
    };
    char *dir = test_dir_new(), *cache = mb_path_join(dir, "cache");
    mb_error error;
    char *path;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *file = test_file_bytes(dir, "x.txt", cases[i].bytes, cases[i].n_bytes);
        cr_expect_eq(prepare(dir, (const char *const[]){file}, 1, cases[i].split, NULL, &path, &error), MB_ERROR_FORMAT,
                     "case %zu", i);
        cr_expect(strstr(error.message, "x.txt") && strstr(error.message, cases[i].message), "case %zu: %s", i, error.message);
        cr_expect_eq(test_dir_entries(cache), 0, "case %zu", i);
        free(file);
    }
    char *missing = mb_path_join(dir, "missing.txt");
    cr_expect_eq(prepare(dir, (const char *const[]){missing}, 1, MB_SPLIT_ALL, NULL, &path, &error), MB_ERROR_IO);
    cr_expect_not_null(strstr(error.message, "missing.txt"));
    cr_expect_eq(prepare(dir, (const char *const[]){dir}, 1, MB_SPLIT_ALL, NULL, &path, &error), MB_ERROR_IO);
    cr_expect_eq(prepare(dir, NULL, 0, MB_SPLIT_ALL, NULL, &path, &error), MB_ERROR_USAGE);
    cr_expect_eq(test_dir_entries(cache), 0);
    free(missing);
    free(cache);
    test_dir_free(dir);
}

Test(corpus, a_few_bad_bytes_are_a_warning) {
    char *dir = test_dir_new(), *text = make_text(51, 20, 5);
    const size_t n_bytes = strlen(text);
    cr_assert_gt(n_bytes, 300);
    text[0] = (char)0xe9; /* Latin-1 */
    char *file = test_file(dir, "x.txt", text), *path;
    log_lines log = {0};
    const mb_job job = job_of(&log, 1);
    mb_error error;
    cr_assert_eq(prepare(dir, (const char *const[]){file}, 1, MB_SPLIT_ALL, &job, &path, &error), MB_OK, "%s", error.message);
    cr_assert_not_null(log.warnings.data);
    cr_expect(strstr(log.warnings.data, "x.txt") && strstr(log.warnings.data, "line 1"), "%s", log.warnings.data);
    mb_buffer_free(&log.warnings);
    free(path);
    free(file);
    free(text);
    test_dir_free(dir);
}

Test(corpus, a_stop_leaves_nothing) {
    char *dir = test_dir_new(), *text = make_text(52, 200, 5), *file = test_file(dir, "x.txt", text),
         *cache = mb_path_join(dir, "cache");
    for (int after = 1; after <= 3; after++) { /* while hashing, checking and tokenizing */
        log_lines log = {.stop_after = after};
        const mb_job job = job_of(&log, 1);
        mb_error error;
        char *path;
        cr_expect_eq(prepare(dir, (const char *const[]){file}, 1, MB_SPLIT_TRAIN, &job, &path, &error), MB_ERROR_INTERRUPTED);
        cr_expect_eq(log.n_reports, after);
        cr_expect_eq(test_dir_entries(cache), 0);
    }
    free(cache);
    free(text);
    free(file);
    test_dir_free(dir);
}

/* Whether `document` is one of the blank-line separated documents of `text`. */
static int count_documents(const char *text, const char *document, size_t n_bytes) {
    int n = 0;
    for (const char *at = text; (at = memmem(at, strlen(at), document, n_bytes)) != NULL; at++) {
        const bool begins = at == text || (at - text >= 2 && at[-1] == '\n' && at[-2] == '\n');
        n += begins && (at[n_bytes] == '\0' || at[n_bytes] == '\n');
    }
    return n;
}

static int check_split(const char *dir, const char *text, int *n_train) {
    char *file = test_file(dir, "x.txt", text);
    mb_shard train = open_corpus(dir, (const char *const[]){file}, 1, MB_SPLIT_TRAIN);
    mb_shard valid = open_corpus(dir, (const char *const[]){file}, 1, MB_SPLIT_VALID);
    char *train_text = text_of(&train), *valid_text = text_of(&valid);
    int n_valid = 0;
    *n_train = 0;
    for (const char *document = text; *document != '\0';) { /* each document is on exactly one side */
        const char *end = strstr(document, "\n\n");
        const size_t n_bytes = end == NULL ? strlen(document) : (size_t)(end - document) + 1;
        const int in_train = count_documents(train_text, document, n_bytes),
                  in_valid = count_documents(valid_text, document, n_bytes);
        cr_assert_eq(in_train + in_valid, 1, "%d and %d times: %.*s", in_train, in_valid, (int)n_bytes, document);
        *n_train += in_train;
        n_valid += in_valid;
        document += n_bytes + (end == NULL ? 0 : 1);
    }
    cr_expect_eq(valid.n_documents, (uint64_t)n_valid);
    cr_expect_eq(train.n_documents, (uint64_t)*n_train);
    mb_shard_close(&train);
    mb_shard_close(&valid);
    free(train_text);
    free(valid_text);
    free(file);
    return n_valid;
}

Test(corpus, held_out_split_is_disjoint_complete_and_one_percent) {
    char *dir = test_dir_new(), *text = make_text(53, 3000, 4);
    int n_train;
    const int n_valid = check_split(dir, text, &n_train);
    cr_expect_eq(n_valid + n_train, 3000);
    cr_expect(n_valid >= 30 && n_valid <= 60, "%d of 3000 held out", n_valid);
    free(text);
    static const struct {
        uint32_t n;
        int n_valid;
    } few[] = {{2, 1}, {3, 1}, {4, 2}, {12, 2}, {100, 2}, {250, 3}, {900, 9}}; /* at least this many, whatever the hashes are */
    for (size_t i = 0; i < sizeof(few) / sizeof(few[0]); i++) {
        text = make_text(54, few[i].n, 4);
        const int got = check_split(dir, text, &n_train);
        cr_expect(got >= few[i].n_valid && got <= few[i].n_valid + 8, "%d of %u held out", got, few[i].n);
        free(text);
    }
    test_dir_free(dir);
}

Test(corpus, held_out_documents_stay_held_out_when_the_corpus_grows) {
    char *dir = test_dir_new(), *text = make_text(55, 2000, 3);
    char *file = test_file(dir, "x.txt", text);
    mb_shard valid = open_corpus(dir, (const char *const[]){file}, 1, MB_SPLIT_VALID);
    char *more = make_text(56, 500, 3), *more_file = test_file(dir, "y.txt", more);
    mb_shard valid2 = open_corpus(dir, (const char *const[]){more_file, file}, 2, MB_SPLIT_VALID);
    char *few = text_of(&valid), *many = text_of(&valid2);
    cr_assert_gt(valid.n_documents, 1);
    int n_lost = 0; /* those that only a small corpus takes */
    for (char *document = few, *end; document != NULL; document = end) {
        end = strstr(document, "\n\n");
        const size_t n_bytes = end == NULL ? strlen(document) : (size_t)(end - document) + 1;
        n_lost += count_documents(many, document, n_bytes) != 1;
        end = end == NULL ? NULL : end + 2;
    }
    cr_expect_leq(n_lost, 5, "%d of %lu held-out documents came back", n_lost, valid.n_documents);
    mb_shard_close(&valid);
    mb_shard_close(&valid2);
    free(few);
    free(many);
    free(more);
    free(more_file);
    free(text);
    free(file);
    test_dir_free(dir);
}

Test(corpus, a_long_document_is_held_out_by_runs_of_256_lines) {
    char *dir = test_dir_new(), *text = make_text(57, 1, 1);
    mb_buffer long_text = {0};
    for (int i = 0; i < 256 * 20; i++) { /* one document, no blank line */
        mb_buffer_printf(&long_text, "%c%c%c%c\n", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676, 'z');
    }
    char *file = test_file(dir, "x.txt", long_text.data);
    mb_shard train = open_corpus(dir, (const char *const[]){file}, 1, MB_SPLIT_TRAIN);
    mb_shard valid = open_corpus(dir, (const char *const[]){file}, 1, MB_SPLIT_VALID);
    cr_expect_eq(valid.n_lines, 2 * 256, "at least two of 20 runs");
    cr_expect_eq(train.n_lines, 18 * 256);
    cr_expect_leq(train.n_documents, 3);
    /* Both sides hold runs of the text in order, and a document ends where a run is missing. */
    char *train_text = text_of(&train), *valid_text = text_of(&valid);
    cr_expect_eq(strlen(train_text) + strlen(valid_text), long_text.n_bytes + train.n_documents - 1 + valid.n_documents - 1);
    char *sides[] = {train_text, valid_text};
    for (int i = 0; i < 2; i++) {
        for (char *document = sides[i], *end; document != NULL; document = end) {
            end = strstr(document, "\n\n");
            const size_t n_bytes = end == NULL ? strlen(document) : (size_t)(end - document) + 1;
            const char *found = memmem(long_text.data, long_text.n_bytes, document, n_bytes);
            cr_assert_not_null(found);
            cr_expect_eq((found - long_text.data) % (5 * 256), 0, "runs begin at multiples of 256 lines");
            cr_expect_eq(n_bytes % (5 * 256), 0);
            end = end == NULL ? NULL : end + 2;
        }
    }
    mb_buffer_free(&long_text);
    mb_shard_close(&train);
    mb_shard_close(&valid);
    free(train_text);
    free(valid_text);
    free(file);
    free(text);
    test_dir_free(dir);
}

Test(corpus, a_line_of_many_megabytes_is_cut_at_white_space) {
    char *dir = test_dir_new();
    mb_buffer line = {0};
    for (int i = 0; i < 600000; i++) {
        mb_buffer_append_text(&line, i % 3 == 0 ? "abc " : "de ");
    }
    cr_assert_gt(line.n_bytes, MB_SECTION_MAX_BYTES);
    char *file = test_file(dir, "x.txt", line.data);
    mb_shard shard = open_corpus(dir, (const char *const[]){file}, 1, MB_SPLIT_ALL);
    cr_expect_eq(shard.n_tokens, 600000 / 3 * 7);
    cr_expect_eq(shard.n_documents, 1);
    cr_expect_eq(shard.n_lines, 2);
    mb_shard_close(&shard);
    free(file);
    mb_buffer_free(&line);
    test_dir_free(dir);
}

Test(corpus, sections_tile_text_without_white_space) {
    /* 3-byte characters: no cut falls inside one. */
    const size_t n_characters = 800000;
    unsigned char *bytes = malloc(3 * n_characters);
    for (size_t i = 0; i < n_characters; i++) {
        memcpy(bytes + 3 * i, "\xe4\xb8\xad", 3);
    }
    const mb_map map = {bytes, 3 * n_characters};
    mb_corpus_scanner scanner = {.maps = &map, .n_maps = 1};
    mb_section section;
    size_t at = 0, n_sections = 0;
    while (mb_corpus_scanner_next(&scanner, &section)) {
        cr_assert_eq(section.text, (const char *)bytes + at);
        cr_assert(section.n_bytes % 3 == 0 && section.n_bytes <= MB_SECTION_MAX_BYTES && section.n_bytes > 0);
        cr_assert_eq(section.starts_document, at == 0);
        at += section.n_bytes;
        n_sections++;
    }
    cr_expect_eq(at, map.n_bytes);
    cr_expect_eq(n_sections, 3);
    free(bytes);
}

Test(corpus, a_byte_order_mark_is_not_in_the_first_section) {
    const mb_map maps[] = {{(const unsigned char *)"\xef\xbb\xbf"
                                                   "ab",
                            5},
                           {(const unsigned char *)"\xef\xbb\xbf", 3}};
    mb_corpus_scanner scanner = {.maps = maps, .n_maps = 2};
    mb_section section;
    cr_assert(mb_corpus_scanner_next(&scanner, &section));
    cr_expect(section.n_bytes == 2 && memcmp(section.text, "ab", 2) == 0 && section.starts_document);
    cr_expect(!mb_corpus_scanner_next(&scanner, &section));
}

Test(corpus, utf8_check_against_the_standard) {
    static const struct {
        const char *text;
        uint64_t n_malformed, first;
    } cases[] = {
        {"plain", 0, 0},
        {"\xc3\xa9", 0, 0},
        {"\xe4\xb8\xad", 0, 0},
        {"\xf0\x9f\x98\x80", 0, 0},
        {"\xf4\x8f\xbf\xbf", 0, 0},
        {"a\x80", 1, 1},
        {"a\xc3", 1, 1},
        {"\xc0\xaf", 2, 0},
        {"\xc1\xbf", 2, 0},
        {"\xe0\x9f\xbf", 3, 0},
        {"\xed\xa0\x80", 3, 0},
        {"\xed\x9f\xbf", 0, 0},
        {"\xf0\x8f\xbf\xbf", 4, 0},
        {"\xf4\x90\x80\x80", 4, 0},
        {"\xf5\x80\x80\x80", 4, 0},
        {"\xff\xfe", 2, 0},
        {"\xe4\xb8"
         "ab",
         2, 0},
        {"12345678\xe9"
         "abc",
         1, 8},
        {"1234567\xc3\xa9"
         "9",
         0, 0},
        {"\xe4\xc3\xa9", 1, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        mb_text_check check = {0};
        const size_t n = strlen(cases[i].text);
        cr_expect_eq(mb_text_check_range((const unsigned char *)cases[i].text, n, 0, n, &check), n, "case %zu", i);
        cr_expect_eq(check.n_malformed, cases[i].n_malformed, "case %zu: %" PRIu64, i, check.n_malformed);
        cr_expect(check.n_malformed == 0 || check.first_malformed == cases[i].first, "case %zu", i);
        mb_text_check by_bytes = {0}; /* in steps of one byte, as at the borders of blocks */
        for (size_t at = 0; at < n;) {
            at = mb_text_check_range((const unsigned char *)cases[i].text, n, at, at + 1, &by_bytes);
        }
        cr_expect_eq(by_bytes.n_malformed, cases[i].n_malformed, "case %zu in steps", i);
    }
    for (size_t at = 0; at < 20; at++) { /* a NUL at any place */
        unsigned char text[20];
        memset(text, 'x', sizeof(text));
        text[at] = 0;
        mb_text_check check = {0};
        mb_text_check_range(text, sizeof(text), 0, sizeof(text), &check);
        cr_expect(check.n_nul == 1 && check.first_nul == at && check.n_malformed == 0);
    }
}

/* Every document three times, in three files: dedup leaves the first of each, in its place, and the shard is another one. */
Test(corpus, dedup_leaves_out_copies) {
    char *dir = test_dir_new(), *text = make_text(61, 3000, 4), *cache = mb_path_join(dir, "cache");
    char *files[] = {test_file(dir, "1.txt", text), test_file(dir, "2.txt", text), test_file(dir, "3.txt", text)};
    mb_tokenizer *tokenizer = test_tokenizer_new();
    mb_error error;
    uint64_t n_documents[3][2];
    for (int split = MB_SPLIT_ALL; split <= MB_SPLIT_VALID; split++) {
        for (int dedup = 0; dedup < 2; dedup++) {
            mb_shard shard;
            char *path;
            const mb_corpus_options options = {.files = (const char *const *)files,
                                               .n_files = 3,
                                               .cache_dir = cache,
                                               .split = (mb_split)split,
                                               .dedup = dedup};
            cr_assert_eq(mb_corpus_prepare(&options, tokenizer, NULL, &path, &error), MB_OK, "%s", error.message);
            cr_assert_eq(mb_shard_open(path, true, &shard, &error), MB_OK, "%s", error.message);
            n_documents[split][dedup] = shard.n_documents;
            if (split == MB_SPLIT_ALL && dedup) {
                mb_shard one = open_corpus(dir, (const char *const *)files, 1, MB_SPLIT_ALL);
                cr_assert_eq(shard.n_tokens, one.n_tokens);
                cr_expect_eq(memcmp(shard.tokens, one.tokens, one.n_tokens * sizeof(*one.tokens)), 0);
                mb_shard_close(&one);
            }
            mb_shard_close(&shard);
            free(path);
        }
        cr_expect_eq(n_documents[split][0], 3 * n_documents[split][1]);
    }
    cr_expect_eq(n_documents[MB_SPLIT_ALL][1], 3000);
    cr_expect_eq(n_documents[MB_SPLIT_TRAIN][1] + n_documents[MB_SPLIT_VALID][1], 3000);
    mb_tokenizer_free(tokenizer);
    for (int i = 0; i < 3; i++) {
        free(files[i]);
    }
    free(text);
    free(cache);
    test_dir_free(dir);
}
