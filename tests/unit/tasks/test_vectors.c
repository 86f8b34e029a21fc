/* The writer of vector files against their reader, and the reader against damaged files. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "small_model.h"
#include "tasks/vector_reader.h"
#include "tasks/vector_writer.h"

enum { N = 3, WIDTH = 5 };
static const float data[N * WIDTH] = {1, -0.0f, 1e-38f, 3.4e38f, 0.1f, 1.0f / 3, 7, 8, 9, 10, -1, -2, -3, 1.17549421e-38f, -5};
static const char *const texts[N] = {"one", "two words", "\xE5\xBA\x86"};
static char *dir, *path;

static void begin(void) {
    dir = small_dir();
    path = small_path(dir, "vectors");
}

static void end(void) {
    mb_path_remove(dir, NULL);
    free(path);
    free(dir);
}

TestSuite(vectors, .init = begin, .fini = end);

static void write_file(mb_vector_format format, bool spans) {
    mb_error error;
    mb_vector_writer *writer = NULL;
    remove(path);
    cr_assert_eq(mb_vector_writer_open(path, NULL, format, WIDTH, &writer, &error), MB_OK, "%s", error.message);
    for (int i = 0; i < N; i++) {
        const mb_vector_label label = {.text = texts[i],
                                       .n_bytes = strlen(texts[i]),
                                       .is_span = spans,
                                       .line = i + 1,
                                       .start = 2,
                                       .end = 4,
                                       .byte_start = 3,
                                       .byte_end = 6};
        cr_assert_eq(mb_vector_writer_add(writer, &label, data + i * WIDTH, &error), MB_OK);
    }
    cr_expect(!mb_path_exists(path), "the file must not appear before it is whole");
    cr_assert_eq(mb_vector_writer_commit(writer, &error), MB_OK, "%s", error.message);
}

static void expect_data(const mb_vectors *vectors) {
    cr_assert(vectors->n == N && vectors->width == WIDTH);
    for (int i = 0; i < N * WIDTH; i++) {
        cr_expect_eq(memcmp(&vectors->data[i], &data[i], sizeof(float)), 0, "number %d", i);
    }
}

Test(vectors, npy_gives_back_every_bit) {
    mb_error error;
    mb_vectors vectors;
    mb_texts none = {0};
    write_file(MB_VECTOR_NPY, false);
    cr_assert_eq(mb_vectors_load(path, &vectors, &none, &error), MB_OK, "%s", error.message);
    expect_data(&vectors);
    cr_expect_eq(none.n, 0);
    mb_vectors_free(&vectors);
    mb_map map;
    cr_assert_eq(mb_map_open(path, &map, &error), MB_OK);
    cr_expect_eq((map.n_bytes - sizeof data) % 64, 0, "the data of an npy file begin at a multiple of 64 bytes");
    cr_expect_eq(memcmp(map.data + map.n_bytes - sizeof data, data, sizeof data), 0);
    cr_expect_eq(map.data[map.n_bytes - sizeof data - 1], '\n');
    mb_map_close(&map);
}

Test(vectors, word2vec_gives_back_numbers_and_words) {
    mb_error error;
    mb_vectors vectors;
    mb_texts words = {0};
    write_file(MB_VECTOR_WORD2VEC, false);
    cr_assert_eq(mb_vectors_load(path, &vectors, &words, &error), MB_OK, "%s", error.message);
    expect_data(&vectors);
    static const char *const expected[N] = {"one", "two_words", "\xE5\xBA\x86"};
    cr_assert_eq(words.n, N);
    for (int i = 0; i < N; i++) {
        size_t n_bytes;
        const char *word = mb_texts_get(&words, i, &n_bytes);
        cr_expect(n_bytes == strlen(expected[i]) && memcmp(word, expected[i], n_bytes) == 0);
    }
    mb_vectors_free(&vectors);
    mb_texts_free(&words);
}

Test(vectors, text_formats_say_what_a_row_is) {
    write_file(MB_VECTOR_JSONL, true);
    char *text = small_read(path);
    cr_expect(strstr(text,
                     "{\"line\": 2, \"start\": 2, \"end\": 4, \"byte_start\": 3, \"byte_end\": 6, \"text\": \"two words\", "
                     "\"vector\": [0.333333343, 7, 8, 9, 10]}\n"),
              "%s", text);
    free(text);
    write_file(MB_VECTOR_JSONL, false);
    text = small_read(path);
    cr_expect(strstr(text, "{\"text\": \"two words\", \"vector\": [0.333333343, "), "%s", text);
    free(text);
    write_file(MB_VECTOR_TSV, false);
    text = small_read(path);
    cr_expect(strstr(text, "\n0.333333343\t7\t8\t9\t10\n"), "%s", text);
    free(text);
    write_file(MB_VECTOR_TSV, true);
    text = small_read(path);
    cr_expect(strstr(text, "\n2\t2\t4\ttwo_words\t0.333333343\t7\t8\t9\t10\n"), "%s", text);
    free(text);
}

Test(vectors, nothing_is_left_of_an_aborted_file) {
    mb_error error;
    mb_vector_writer *writer = NULL;
    cr_assert_eq(mb_vector_writer_open(path, NULL, MB_VECTOR_NPY, WIDTH, &writer, &error), MB_OK);
    cr_assert_eq(mb_vector_writer_add(writer, NULL, data, &error), MB_OK);
    mb_vector_writer_abort(writer);
    cr_expect_eq(rmdir(dir), 0, "the directory must be empty");
    cr_expect_eq(mb_vector_writer_open(path, NULL, MB_VECTOR_NPY, WIDTH, &writer, &error), MB_ERROR_IO);
    cr_expect_null(writer);
}

/* A device or a pipe stays what it is: here a named pipe, read by a second process. */
Test(vectors, a_pipe_is_written_to_and_not_replaced) {
    static const mb_vector_format formats[] = {MB_VECTOR_NPY, MB_VECTOR_TSV};
    for (int f = 0; f < 2; f++) {
        mb_error error;
        struct stat info;
        remove(path);
        cr_assert_eq(mkfifo(path, 0600), 0);
        const pid_t reader = fork();
        cr_assert_geq(reader, 0);
        if (reader == 0) { /* exit code 0 when as many bytes came as the format has */
            FILE *in = fopen(path, "r");
            size_t n = 0;
            while (in && fgetc(in) != EOF) {
                n++;
            }
            _exit(f == 0 ? n != 128 + sizeof data : n < sizeof data);
        }
        mb_vector_writer *writer = NULL;
        cr_assert_eq(mb_vector_writer_open(path, NULL, formats[f], WIDTH, &writer, &error), MB_OK, "%s", error.message);
        for (int i = 0; i < N; i++) {
            const mb_vector_label label = {.text = texts[i], .n_bytes = strlen(texts[i])};
            cr_assert_eq(mb_vector_writer_add(writer, &label, data + i * WIDTH, &error), MB_OK);
        }
        cr_assert_eq(mb_vector_writer_commit(writer, &error), MB_OK, "%s", error.message);
        int result = -1;
        cr_assert_eq(waitpid(reader, &result, 0), reader);
        cr_expect_eq(result, 0, "the reader did not get what was written");
        cr_expect(stat(path, &info) == 0 && S_ISFIFO(info.st_mode), "the pipe was replaced by a file");
    }
}

Test(vectors, every_cut_of_a_file_is_refused) {
    static const mb_vector_format formats[] = {MB_VECTOR_NPY, MB_VECTOR_WORD2VEC};
    for (int f = 0; f < 2; f++) {
        mb_error error;
        mb_buffer whole = {0};
        write_file(formats[f], false);
        cr_assert_eq(mb_file_read(path, &whole, &error), MB_OK);
        for (size_t n = 0; n + 2 < whole.n_bytes; n++) { /* without the last digit word2vec would be another, good file */
            mb_vectors vectors;
            mb_texts words = {0};
            cr_assert_eq(mb_file_write(path, whole.data, n, &error), MB_OK);
            cr_expect_eq(mb_vectors_load(path, &vectors, &words, &error), MB_ERROR_FORMAT, "%zu bytes", n);
            cr_expect_null(vectors.data);
            cr_expect(strstr(error.message, path));
            mb_texts_free(&words);
        }
        mb_buffer_free(&whole);
    }
}

Test(vectors, foreign_and_false_files_are_refused) {
    static const char *const files[] = {
        "",
        "hello",
        "3 2\na 1 2\nb 1 2\n",
        "1 2\na 1 2\nb 1 2\n",
        "1 2\na 1 2 3\n",
        "1 2\na 1 nan\n",
        "1 2\na 1 x\n",
        "1 2\n 1 2\n",
        "1 0\na\n",
        "-1 2\na 1 2\n",
        "999999999999999999 999999999999999999\na 1 2\n",
        "99999999 2\na 1 2\n",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        mb_error error;
        mb_vectors vectors;
        mb_texts words = {0};
        small_file(path, files[i]);
        cr_expect_eq(mb_vectors_load(path, &vectors, &words, &error), MB_ERROR_FORMAT, "file %zu", i);
        mb_texts_free(&words);
    }
}

/* Headers that promise what the file does not hold, or what is not read. */
Test(vectors, npy_headers_are_checked) {
    static const struct {
        const char *header;
        size_t n_data;
        mb_status status;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24, MB_OK},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2,3)}\n", 48, MB_OK},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }\n", 24, MB_OK},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 20, MB_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n", 24, MB_ERROR_FORMAT},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24, MB_ERROR_FORMAT},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }\n", 24, MB_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 1), }\n", 24, MB_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3), }\n", 24, MB_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }\n", 0, MB_ERROR_FORMAT},
        {"{'descr': '<f4', 'shape': (2, 3), }\n", 24, MB_ERROR_FORMAT},
        {"{", 24, MB_ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mb_error error;
        mb_buffer file = {0};
        const unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)strlen(cases[i].header), 0};
        const char zeros[64] = {0};
        cr_assert(mb_buffer_append(&file, start, sizeof start) && mb_buffer_append_text(&file, cases[i].header) &&
                  mb_buffer_append(&file, zeros, cases[i].n_data));
        cr_assert_eq(mb_file_write(path, file.data, file.n_bytes, &error), MB_OK);
        mb_vectors vectors;
        mb_texts none = {0};
        cr_expect_eq(mb_vectors_load(path, &vectors, &none, &error), cases[i].status, "case %zu: %s", i, error.message);
        mb_vectors_free(&vectors);
        mb_buffer_free(&file);
    }
}
