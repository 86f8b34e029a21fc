#include <math.h>
#include <stdint.h>

#include "base/rng.h"
#include "model/safetensors.h"
#include "support.h"

/* A file of the given header text and number of data bytes (0, 1, 2 ...), made by hand. */
static void write_raw(const char *path, const char *header, size_t n_data_bytes) {
    mb_buffer bytes = {0};
    const uint64_t header_bytes = strlen(header);
    mb_buffer_append(&bytes, &header_bytes, 8);
    mb_buffer_append(&bytes, header, header_bytes);
    for (size_t i = 0; i < n_data_bytes; i++) {
        mb_buffer_append(&bytes, &(unsigned char){(unsigned char)i}, 1);
    }
    write_file(path, bytes.data, bytes.n_bytes);
    mb_buffer_free(&bytes);
}

/* Two matrices and an empty vector. */
static void save_sample(const char *path) {
    static const mb_real x[6] = {1, -2, 3.5f, 0, 1e-30f, -1e30f}, y[2] = {7, 8};
    const mb_safetensors_entry entries[] = {{.name = "z.x", .n_dims = 2, .dims = {2, 3}, .data = x},
                                            {.name = "a.y", .n_dims = 1, .dims = {2}, .data = y},
                                            {.name = "empty", .n_dims = 1, .dims = {0}, .data = x}};
    mb_error error;
    ASSERT_OK(mb_safetensors_save(path, entries, 3, &error), error);
}

Test(safetensors, round_trip) {
    char *dir = make_dir(), *path = mb_path_join(dir, "x.safetensors");
    save_sample(path);
    mb_error error;
    mb_safetensors file;
    ASSERT_OK(mb_safetensors_open(path, &file, &error), error);
    cr_assert_eq(file.n_tensors, 3);
    const mb_safetensor *x = mb_safetensors_find(&file, "z.x");
    cr_assert_not_null(x);
    cr_expect_str_eq(x->dtype, "F32");
    cr_expect(x->n_dims == 2 && x->dims[0] == 2 && x->dims[1] == 3);
    mb_real values[6];
    ASSERT_OK(mb_safetensors_read(&file, x, values, 6, &error), error);
    cr_expect(values[0] == 1 && values[1] == -2 && values[4] == 1e-30f && values[5] == -1e30f);
    cr_expect_eq(mb_safetensors_read(&file, x, values, 5, &error), MB_ERROR_MISMATCH);
    cr_expect_null(mb_safetensors_find(&file, "z"));
    cr_expect_eq((uintptr_t)(x->data - file.map.data) % 64, 0, "data begin at a multiple of 64 bytes");
    const char *metadata = "{\"__metadata__\":{\"format\":\"pt\"}";
    cr_expect_eq(memcmp(file.map.data + 8, metadata, strlen(metadata)), 0);
    mb_safetensors_close(&file);
    free(path);
    remove_dir(dir);
}

Test(safetensors, a_file_cut_short_anywhere_is_refused) {
    char *dir = make_dir(), *path = mb_path_join(dir, "x.safetensors"), *cut = mb_path_join(dir, "cut.safetensors");
    save_sample(path);
    mb_buffer bytes = read_file(dir, "x.safetensors");
    for (size_t n = 0; n < bytes.n_bytes; n++) {
        mb_error error = {0};
        mb_safetensors file;
        write_file(cut, bytes.data, n);
        cr_assert_eq(mb_safetensors_open(cut, &file, &error), MB_ERROR_FORMAT, "cut to %zu bytes", n);
        cr_assert(strstr(error.message, "cut.safetensors"), "%s", error.message);
    }
    mb_buffer_free(&bytes);
    free(cut);
    free(path);
    remove_dir(dir);
}

/* Random bytes in the header: refused, or read as tensors that lie inside the file. */
Test(safetensors, a_damaged_header_never_reaches_outside_the_file) {
    char *dir = make_dir(), *path = mb_path_join(dir, "x.safetensors");
    save_sample(path);
    const mb_buffer good = read_file(dir, "x.safetensors");
    char *bytes = malloc(good.n_bytes);
    int n_refused = 0;
    for (uint32_t trial = 0; trial < 4000; trial++) {
        memcpy(bytes, good.data, good.n_bytes);
        for (uint32_t flip = 0; flip <= trial % 3; flip++) {
            const mb_rng_block random = mb_rng_at(1, MB_STREAM_TEST, trial, flip, 0);
            const size_t at = mb_rng_below(random.v[0], (uint32_t)good.n_bytes - 32);
            bytes[at] = trial % 2 ? (char)random.v[1] : "0123456789[]{},:\""[random.v[1] % 17];
        }
        write_file(path, bytes, good.n_bytes);
        mb_error error;
        mb_safetensors file;
        if (mb_safetensors_open(path, &file, &error) != MB_OK) {
            n_refused++;
            continue;
        }
        for (size_t i = 0; i < file.n_tensors; i++) {
            const mb_safetensor *tensor = &file.tensors[i];
            cr_assert(tensor->data >= file.map.data && tensor->data + tensor->n_bytes <= file.map.data + file.map.n_bytes);
        }
        mb_safetensors_close(&file);
    }
    cr_expect(n_refused > 2000, "only %d of 4000 damaged headers were refused", n_refused);
    free(bytes);
    mb_buffer good_bytes = good;
    mb_buffer_free(&good_bytes);
    free(path);
    remove_dir(dir);
}

#define X(dtype, shape, offsets) "{\"x\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

Test(safetensors, lying_headers_are_refused) {
    static const struct {
        const char *header;
        size_t n_data_bytes;
        const char *says;
    } cases[] = {
        {X("\"F32\"", "[2,2]", "[0,16]"), 16, NULL}, /* the good one that the others vary */
        {X("\"F32\"", "[2,2]", "[0,16]"), 15, "outside"},
        {X("\"F32\"", "[2,2]", "[0,16]"), 17, "after the last"},
        {X("\"F32\"", "[2,3]", "[0,16]"), 16, "do not match"},
        {X("\"F16\"", "[2,2]", "[0,16]"), 16, "do not match"},
        {X("\"F99\"", "[2,2]", "[0,16]"), 16, "F99"},
        {X("7", "[2,2]", "[0,16]"), 16, "dtype"},
        {X("\"F32\"", "[-2,-2]", "[0,16]"), 16, "size"},
        {X("\"F32\"", "[2,2.0]", "[0,16]"), 16, "size"},
        {X("\"F32\"", "4", "[0,16]"), 16, "shape"},
        {X("\"F32\"", "[1,1,1,1,1,1,1,1,4]", "[0,16]"), 16, "shape"},
        {X("\"F32\"", "[4294967296,4294967296]", "[0,16]"), 16, "overflows"},
        {X("\"F32\"", "[4611686018427387905]", "[0,4]"), 4, "do not match"}, /* 4 * size = 4 modulo 2^64 */
        {X("\"F32\"", "[2,2]", "[4,20]"), 20, "hole"},
        {X("\"F32\"", "[2,2]", "[16,0]"), 16, "outside"},
        {X("\"F32\"", "[2,2]", "[-16,0]"), 16, "outside"},
        {X("\"F32\"", "[2,2]", "[0]"), 16, "data_offsets"},
        {X("\"F32\"", "[2,2]", "[0,16,32]"), 16, "data_offsets"},
        {X("\"F32\"", "[2,2]", "\"0,16\""), 16, "data_offsets"},
        {X("\"F32\"", "[2,2]", "[0,18446744073709551616]"), 16, "JSON"},
        {"{\"x\":7}", 0, "object"},
        {"[]", 0, "header"},
        {"", 0, "header"},
        {" {}", 0, "header"},
        {"{}{}", 0, "JSON"},
        {"{\"__metadata__\":3}", 0, "__metadata__"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"y\":{\"dtype\":\"U8\",\"shape\":[4],"
         "\"data_offsets\":[2,6]}}",
         6, "overlaps"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"y\":{\"dtype\":\"U8\",\"shape\":[4],"
         "\"data_offsets\":[0,4]}}",
         4, "overlaps"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"x\":{\"dtype\":\"U8\",\"shape\":[4],"
         "\"data_offsets\":[4,8]}}",
         8, "JSON"}, /* the same name twice */
    };
    char *dir = make_dir(), *path = mb_path_join(dir, "x.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mb_error error = {0};
        mb_safetensors file;
        write_raw(path, cases[i].header, cases[i].n_data_bytes);
        const mb_status status = mb_safetensors_open(path, &file, &error);
        if (!cases[i].says) {
            cr_expect_eq(status, MB_OK, "%s: %s", cases[i].header, error.message);
            mb_safetensors_close(&file);
            continue;
        }
        cr_expect_eq(status, MB_ERROR_FORMAT, "%s", cases[i].header);
        cr_expect(strstr(error.message, cases[i].says) && strstr(error.message, path), "%s: '%s'", cases[i].header,
                  error.message);
    }
    free(path);
    remove_dir(dir);
}

Test(safetensors, a_header_length_beyond_the_file_or_the_limit_is_refused) {
    static const uint64_t lengths[] = {3, 100, 100000001, UINT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX - 7};
    char *dir = make_dir(), *path = mb_path_join(dir, "x.safetensors");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char bytes[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        memcpy(bytes, &lengths[i], 8);
        write_file(path, bytes, sizeof bytes);
        mb_error error;
        mb_safetensors file;
        cr_expect_eq(mb_safetensors_open(path, &file, &error), MB_ERROR_FORMAT);
        cr_expect(strstr(error.message, "longer than the file"), "%s", error.message);
    }
    free(path);
    remove_dir(dir);
}

Test(safetensors, a_missing_file_is_an_input_error) {
    mb_error error;
    mb_safetensors file;
    cr_expect_eq(mb_safetensors_open("/nonexistent/x.safetensors", &file, &error), MB_ERROR_IO);
    cr_expect(strstr(error.message, "/nonexistent/x.safetensors"));
}

/* Numbers of two bytes at an odd place of the file (the header's length decides), with their values. */
static void check_half(const char *dtype, const uint16_t *bits, const double *values, int n) {
    char *dir = make_dir(), *path = mb_path_join(dir, "x.safetensors");
    char header[256];
    mb_buffer bytes = {0};
    snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", dtype, n, 2 * n);
    if (strlen(header) % 2 == 0) {
        strcat(header, " ");
    }
    const uint64_t header_bytes = strlen(header);
    mb_buffer_append(&bytes, &header_bytes, 8);
    mb_buffer_append(&bytes, header, header_bytes);
    mb_buffer_append(&bytes, bits, 2 * (size_t)n);
    write_file(path, bytes.data, bytes.n_bytes);
    mb_error error;
    mb_safetensors file;
    mb_real got[16];
    ASSERT_OK(mb_safetensors_open(path, &file, &error), error);
    ASSERT_OK(mb_safetensors_read(&file, mb_safetensors_find(&file, "x"), got, n, &error), error);
    for (int i = 0; i < n; i++) {
        cr_expect(got[i] == (mb_real)values[i] && !signbit(got[i]) == !signbit(values[i]), "%s %04x: %g, expected %g", dtype,
                  bits[i], (double)got[i], values[i]);
    }
    mb_safetensors_close(&file);
    mb_buffer_free(&bytes);
    free(path);
    remove_dir(dir);
}

Test(safetensors, f16_values) {
    static const uint16_t bits[] = {0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0400, 0x03ff, 0x0001, 0x8001, 0x3555};
    static const double values[] = {0, -0.0, 1, -2, 65504, 0x1p-14, 1023 * 0x1p-24, 0x1p-24, -0x1p-24, 1365 * 0x1p-12};
    check_half("F16", bits, values, 10);
}

Test(safetensors, bf16_values) {
    static const uint16_t bits[] = {0x0000, 0x8000, 0x3f80, 0xc000, 0x7f7f, 0x0080, 0x0001, 0x3eab};
    static const double values[] = {0, -0.0, 1, -2, 255 * 0x1p120, 0x1p-126, 0x1p-133, 171 * 0x1p-9};
    check_half("BF16", bits, values, 8);
}

Test(safetensors, nan_and_infinity_are_refused_by_the_name_of_the_tensor) {
    static const mb_real bad[] = {(mb_real)NAN, (mb_real)INFINITY, (mb_real)-INFINITY};
    char *dir = make_dir(), *path = mb_path_join(dir, "x.safetensors");
    enum { COUNT = 200000 }; /* several chunks */
    mb_real *values = calloc(COUNT, sizeof *values);
    for (int i = 0; i < 3; i++) {
        mb_error error;
        mb_safetensors file;
        values[COUNT - 1 - 70000 * i] = bad[i];
        const mb_safetensors_entry entry = {.name = "layer.weight", .n_dims = 1, .dims = {COUNT}, .data = values};
        ASSERT_OK(mb_safetensors_save(path, &entry, 1, &error), error);
        ASSERT_OK(mb_safetensors_open(path, &file, &error), error);
        cr_expect_eq(mb_safetensors_read(&file, &file.tensors[0], values, COUNT, &error), MB_ERROR_FORMAT);
        cr_expect(strstr(error.message, "layer.weight") && strstr(error.message, "NaN"), "%s", error.message);
        mb_safetensors_close(&file);
        memset(values, 0, COUNT * sizeof *values);
    }
    free(values);
    free(path);
    remove_dir(dir);
}

Test(safetensors, integers_are_not_weights) {
    char *dir = make_dir(), *path = mb_path_join(dir, "x.safetensors");
    mb_error error;
    mb_safetensors file;
    mb_real values[2];
    write_raw(path, X("\"I64\"", "[2]", "[0,16]"), 16);
    ASSERT_OK(mb_safetensors_open(path, &file, &error), error);
    cr_expect_eq(mb_safetensors_read(&file, &file.tensors[0], values, 2, &error), MB_ERROR_FORMAT);
    cr_expect(strstr(error.message, "I64") && strstr(error.message, "'x'"), "%s", error.message);
    mb_safetensors_close(&file);
    free(path);
    remove_dir(dir);
}
