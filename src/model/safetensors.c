#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "safetensors holds little-endian numbers, read here without swapping");

enum { LENGTH_BYTES = 8, MAX_HEADER_BYTES = 100000000 /* the format's own limit */, CHUNK = 1 << 16 };

static const struct {
    const char *name;
    uint64_t n_bytes; /* of one element */
} dtypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I64", 8},     {"I32", 4},     {"I16", 2}, {"I8", 1},
              {"U64", 8}, {"U32", 4}, {"U16", 2},  {"U8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"BOOL", 1}};

/* --- reading: the header --- */

static mb_status bad(const mb_safetensors *file, mb_error *error, const char *what) {
    return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': %s", file->path, what);
}

static mb_status bad_tensor(const mb_safetensors *file, const char *name, mb_error *error, const char *what) {
    return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': tensor '%s' %s", file->path, name, what);
}

static mb_status read_shape(const mb_safetensors *file, const json_t *shape, mb_safetensor *tensor, uint64_t *count,
                            mb_error *error) {
    if (!json_is_array(shape) || json_array_size(shape) > MB_SAFETENSORS_MAX_DIMS) {
        return bad_tensor(file, tensor->name, error, "has no valid shape (expected an array of at most 8 sizes)");
    }
    *count = 1;
    tensor->n_dims = (int)json_array_size(shape);
    for (int i = 0; i < tensor->n_dims; i++) {
        const json_t *size = json_array_get(shape, (size_t)i);
        if (!json_is_integer(size) || json_integer_value(size) < 0) {
            return bad_tensor(file, tensor->name, error, "has a size in its shape that is not a count");
        }
        tensor->dims[i] = json_integer_value(size);
        if (__builtin_mul_overflow(*count, (uint64_t)tensor->dims[i], count)) {
            return bad_tensor(file, tensor->name, error, "has a shape whose product overflows");
        }
    }
    return MB_OK;
}

static mb_status read_dtype(const mb_safetensors *file, const json_t *dtype, mb_safetensor *tensor, uint64_t *element_bytes,
                            mb_error *error) {
    if (!json_is_string(dtype)) {
        return bad_tensor(file, tensor->name, error, "has no dtype");
    }
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(json_string_value(dtype), dtypes[i].name) == 0) {
            strcpy(tensor->dtype, dtypes[i].name);
            *element_bytes = dtypes[i].n_bytes;
            return MB_OK;
        }
    }
    return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': tensor '%s' has the unknown dtype '%.32s'", file->path,
                   tensor->name, json_string_value(dtype));
}

/* `data` is what follows the header. The name is set first, so that a failed entry is freed like a good one. */
static mb_status read_entry(const mb_safetensors *file, const char *name, const json_t *entry, const unsigned char *data,
                            uint64_t data_bytes, mb_safetensor *tensor, mb_error *error) {
    tensor->name = strdup(name);
    if (!tensor->name) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory reading '%s'", file->path);
    }
    if (!json_is_object(entry)) {
        return bad_tensor(file, name, error, "is not described by an object");
    }
    uint64_t element_bytes = 0, count = 0, n_bytes;
    mb_status status = read_dtype(file, json_object_get(entry, "dtype"), tensor, &element_bytes, error);
    if (status == MB_OK) {
        status = read_shape(file, json_object_get(entry, "shape"), tensor, &count, error);
    }
    if (status != MB_OK) {
        return status;
    }
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last)) {
        return bad_tensor(file, name, error, "has no data_offsets (expected [begin, end])");
    }
    const json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin || (uint64_t)end > data_bytes) {
        return bad_tensor(file, name, error, "lies outside the file; the file is damaged or was cut short, get it again");
    }
    if (__builtin_mul_overflow(count, element_bytes, &n_bytes) || n_bytes != (uint64_t)(end - begin)) {
        return bad_tensor(file, name, error, "has a shape and dtype that do not match the bytes it takes");
    }
    tensor->data = data + begin;
    tensor->n_bytes = n_bytes;
    return MB_OK;
}

static int by_position(const void *a, const void *b) {
    const mb_safetensor *x = a, *y = b;
    if (x->data != y->data) {
        return x->data < y->data ? -1 : 1;
    }
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const mb_safetensor *)a)->name, ((const mb_safetensor *)b)->name);
}

/* The format wants the data covered exactly: no overlap, no hole, nothing after the last tensor. */
static mb_status check_layout(mb_safetensors *file, const unsigned char *data, uint64_t data_bytes, mb_error *error) {
    const unsigned char *position = data;
    qsort(file->tensors, file->n_tensors, sizeof *file->tensors, by_position);
    for (size_t i = 0; i < file->n_tensors; i++) {
        const mb_safetensor *tensor = &file->tensors[i];
        if (tensor->data != position) {
            return bad_tensor(file, tensor->name, error,
                              tensor->data < position ? "overlaps another tensor" : "leaves a hole in the data before it");
        }
        position += tensor->n_bytes;
    }
    if ((uint64_t)(position - data) != data_bytes) {
        return bad(file, error, "there is data after the last tensor; the header does not belong to this file");
    }
    qsort(file->tensors, file->n_tensors, sizeof *file->tensors, by_name);
    return MB_OK;
}

static mb_status read_entries(mb_safetensors *file, json_t *header, const unsigned char *data, uint64_t data_bytes,
                              mb_error *error) {
    file->tensors = calloc(json_object_size(header) + 1, sizeof *file->tensors);
    if (!file->tensors) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory reading '%s'", file->path);
    }
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            if (!json_is_object(entry)) {
                return bad(file, error, "__metadata__ is not an object");
            }
            continue;
        }
        mb_status status = read_entry(file, name, entry, data, data_bytes, &file->tensors[file->n_tensors++], error);
        if (status != MB_OK) {
            return status;
        }
    }
    return check_layout(file, data, data_bytes, error);
}

static mb_status read_header(mb_safetensors *file, mb_error *error) {
    uint64_t header_bytes;
    if (file->map.n_bytes < LENGTH_BYTES) {
        return bad(file, error, "it is too short to be a safetensors file");
    }
    memcpy(&header_bytes, file->map.data, LENGTH_BYTES);
    const uint64_t rest_bytes = file->map.n_bytes - LENGTH_BYTES;
    if (header_bytes > MAX_HEADER_BYTES || header_bytes > rest_bytes) {
        return bad(file, error, "its header is longer than the file: it was cut short or is not a safetensors file");
    }
    const unsigned char *text = file->map.data + LENGTH_BYTES;
    if (header_bytes == 0 || text[0] != '{') {
        return bad(file, error, "it has no safetensors header");
    }
    json_error_t json_error;
    json_t *header = NULL;
    mb_status status = mb_json_parse((const char *)text, header_bytes, JSON_REJECT_DUPLICATES, &header, &json_error);
    if (status == MB_ERROR_MEMORY) {
        return mb_fail(error, status, "out of memory reading '%s'", file->path);
    }
    if (!json_is_object(header)) {
        json_decref(header);
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': its header is not valid JSON: %s", file->path,
                       json_error.text);
    }
    status = read_entries(file, header, text + header_bytes, rest_bytes - header_bytes, error);
    json_decref(header);
    return status;
}

mb_status mb_safetensors_open(const char *path, mb_safetensors *out, mb_error *error) {
    *out = (mb_safetensors){0};
    out->path = strdup(path);
    if (!out->path) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory reading '%s'", path);
    }
    mb_status status = mb_map_open(path, &out->map, error);
    if (status == MB_OK) {
        status = read_header(out, error);
    }
    if (status != MB_OK) {
        mb_safetensors_close(out);
    }
    return status;
}

const mb_safetensor *mb_safetensors_find(const mb_safetensors *file, const char *name) {
    const mb_safetensor key = {.name = (char *)(uintptr_t)name};
    return file->n_tensors ? bsearch(&key, file->tensors, file->n_tensors, sizeof key, by_name) : NULL;
}

void mb_safetensors_close(mb_safetensors *file) {
    for (size_t i = 0; i < file->n_tensors; i++) {
        free(file->tensors[i].name);
    }
    free(file->tensors);
    free(file->path);
    mb_map_close(&file->map);
    *file = (mb_safetensors){0};
}

/* --- reading: numbers --- */

static float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static float float_from_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 1023u;
    if (exponent == 0) { /* zero and subnormal: fraction * 2^-24 is exact in a float */
        const float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    const uint32_t wide = exponent == 31 ? 255u : exponent + 127u - 15u;
    return float_from_bits(sign | wide << 23 | fraction << 13);
}

/* Element i at bytes[width * i]; the data of a safetensors file need not be aligned. Returns false for NaN or Inf. */
static bool convert_f32(const unsigned char *bytes, mb_real *out, int64_t count) {
    uint32_t n_bad = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, bytes + 4 * i, 4);
        n_bad += (bits & 0x7f800000u) == 0x7f800000u;
        out[i] = (mb_real)float_from_bits(bits);
    }
    return n_bad == 0;
}

static bool convert_bf16(const unsigned char *bytes, mb_real *out, int64_t count) {
    uint32_t n_bad = 0;
    for (int64_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, 2);
        n_bad += (bits & 0x7f80u) == 0x7f80u;
        out[i] = (mb_real)float_from_bits((uint32_t)bits << 16);
    }
    return n_bad == 0;
}

static bool convert_f16(const unsigned char *bytes, mb_real *out, int64_t count) {
    uint32_t n_bad = 0;
    for (int64_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, 2);
        n_bad += (bits & 0x7c00u) == 0x7c00u;
        out[i] = (mb_real)float_from_half(bits);
    }
    return n_bad == 0;
}

/* False with NaN or Inf among `count` floats. */
static bool all_finite(const float *numbers, int64_t count) {
    uint32_t n_bad = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        n_bad += (bits & 0x7f800000u) == 0x7f800000u;
    }
    return n_bad == 0;
}

static mb_status check_count(const mb_safetensors *file, const mb_safetensor *tensor, uint64_t width, int64_t count,
                             mb_error *error) {
    if (count >= 0 && (uint64_t)count == tensor->n_bytes / width) {
        return MB_OK;
    }
    return mb_fail(error, MB_ERROR_MISMATCH, "cannot read '%s': tensor '%s' has %llu numbers, expected %lld", file->path,
                   tensor->name, (unsigned long long)(tensor->n_bytes / width), (long long)count);
}

static mb_status not_finite(const mb_safetensors *file, const mb_safetensor *tensor, mb_error *error) {
    return bad_tensor(file, tensor->name, error, "holds NaN or infinite numbers; the model that wrote it had diverged");
}

mb_status mb_safetensors_read(const mb_safetensors *file, const mb_safetensor *tensor, mb_real *out, int64_t count,
                              mb_error *error) {
    bool (*convert)(const unsigned char *, mb_real *, int64_t);
    int64_t width;
    if (strcmp(tensor->dtype, "F32") == 0) {
        convert = convert_f32;
        width = 4;
    } else if (strcmp(tensor->dtype, "BF16") == 0) {
        convert = convert_bf16;
        width = 2;
    } else if (strcmp(tensor->dtype, "F16") == 0) {
        convert = convert_f16;
        width = 2;
    } else {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': tensor '%s' is %s; weights must be F32, F16 or BF16",
                       file->path, tensor->name, tensor->dtype);
    }
    mb_status status = check_count(file, tensor, (uint64_t)width, count, error);
    if (status != MB_OK) {
        return status;
    }
    bool good = true;
#pragma omp parallel for schedule(static) reduction(&& : good)
    for (int64_t i = 0; i < count; i += CHUNK) {
        const int64_t n = count - i < CHUNK ? count - i : CHUNK;
        good = convert(tensor->data + width * i, out + i, n) && good;
    }
    return good ? MB_OK : not_finite(file, tensor, error);
}

mb_status mb_safetensors_view(const mb_safetensors *file, const mb_safetensor *tensor, int64_t count, const mb_real **out,
                              mb_error *error) {
    *out = NULL;
    if (sizeof(mb_real) != sizeof(float) || strcmp(tensor->dtype, "F32") != 0 ||
        (uintptr_t)tensor->data % _Alignof(float) != 0) {
        return MB_OK;
    }
    mb_status status = check_count(file, tensor, sizeof(float), count, error);
    if (status != MB_OK) {
        return status;
    }
    const float *numbers = (const void *)tensor->data;
    bool good = true;
#pragma omp parallel for schedule(static) reduction(&& : good)
    for (int64_t i = 0; i < count; i += CHUNK) {
        good = all_finite(numbers + i, count - i < CHUNK ? count - i : CHUNK) && good;
    }
    *out = (const void *)numbers;
    return good ? MB_OK : not_finite(file, tensor, error);
}

mb_map mb_safetensors_take_map(mb_safetensors *file) {
    const mb_map map = file->map;
    file->map = (mb_map){0};
    return map;
}

/* --- writing --- */

static int64_t entry_count(const mb_safetensors_entry *entry) {
    int64_t count = 1;
    for (int i = 0; i < entry->n_dims; i++) {
        count *= entry->dims[i];
    }
    return count;
}

static json_t *entry_to_json(const mb_safetensors_entry *entry, uint64_t begin, uint64_t end) {
    json_t *shape = json_array();
    for (int i = 0; shape && i < entry->n_dims; i++) {
        if (json_array_append_new(shape, json_integer(entry->dims[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)end); /* takes the reference to shape, also on failure */
}

static json_t *make_header(const mb_safetensors_entry *entries, size_t n_entries) {
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt"); /* transformers refuses a file without it */
    uint64_t begin = 0;
    for (size_t i = 0; header && i < n_entries; i++) {
        const uint64_t end = begin + 4 * (uint64_t)entry_count(&entries[i]);
        if (json_object_set_new(header, entries[i].name, entry_to_json(&entries[i], begin, end)) != 0) {
            json_decref(header);
            return NULL;
        }
        begin = end;
    }
    return header;
}

static void write_numbers(mb_writer *writer, const mb_real *data, int64_t count) {
#ifdef MB_REAL_IS_DOUBLE
    float chunk[1024];
    for (int64_t i = 0; i < count; i += 1024) {
        const int64_t n = count - i < 1024 ? count - i : 1024;
        for (int64_t j = 0; j < n; j++) {
            chunk[j] = (float)data[i + j];
        }
        mb_writer_write(writer, chunk, (size_t)n * sizeof *chunk);
    }
#else
    mb_writer_write(writer, data, (size_t)count * sizeof *data);
#endif
}

mb_status mb_safetensors_save(const char *path, const mb_safetensors_entry *entries, size_t n_entries, mb_error *error) {
    json_t *header = make_header(entries, n_entries);
    char *text = header ? mb_json_text(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!text) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory writing '%s'", path);
    }
    mb_writer *writer;
    mb_status status = mb_writer_open(path, &writer, error);
    if (status == MB_OK) {
        /* Spaces after the header put the data on a 64-byte boundary of the file, and so of a map of it. */
        static const char spaces[64] = "                                                                ";
        const size_t text_bytes = strlen(text);
        const size_t padding = (64 - (LENGTH_BYTES + text_bytes) % 64) % 64;
        const uint64_t header_bytes = text_bytes + padding;
        mb_writer_write(writer, &header_bytes, LENGTH_BYTES);
        mb_writer_write(writer, text, text_bytes);
        mb_writer_write(writer, spaces, padding);
        for (size_t i = 0; i < n_entries; i++) {
            write_numbers(writer, entries[i].data, entry_count(&entries[i]));
        }
        status = mb_writer_commit(writer, error);
    }
    free(text);
    return status;
}
