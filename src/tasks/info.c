#include "tasks/info.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/shard.h"
#include "model/safetensors.h"
#include "tasks/info_model.h"
#include "tasks/vector_reader.h"

#define FIELD(name) offsetof(mb_info_options, name)
const mb_option mb_info_option_table[] = {
    {.name = "tensors", .type = MB_OPTION_BOOL, .offset = FIELD(tensors), .help = "list every tensor with its shape"},
    {.name = "path",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(path),
     .argument = "DIR|FILE",
     .help = "a model directory, or a safetensors, shard or npy file",
     .required = true,
     .positional = true},
    {0},
};

static mb_status out_of_memory(mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the description");
}

static bool describe_tensor(mb_buffer *out, const mb_safetensor *tensor) {
    bool fine = mb_buffer_printf(out, "  %-8s", tensor->dtype);
    char shape[128] = "(";
    size_t used = 1;
    for (int i = 0; i < tensor->n_dims; i++) {
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%s%" PRId64, i ? "," : "", tensor->dims[i]);
        if (used >= sizeof shape) {
            used = sizeof shape - 1;
        }
    }
    return fine && mb_buffer_printf(out, " %s)%*s %s\n", shape, used < 16 ? (int)(16 - used) : 0, "", tensor->name);
}

static mb_status info_safetensors(const char *path, mb_buffer *out, mb_error *error) {
    mb_safetensors file = {0};
    mb_status status = mb_safetensors_open(path, &file, error);
    if (status != MB_OK) {
        return status;
    }
    int64_t n_numbers = 0;
    bool fine = mb_buffer_printf(out, "safetensors: %zu tensors, %zu bytes\n", file.n_tensors, file.map.n_bytes);
    for (size_t i = 0; i < file.n_tensors; i++) {
        int64_t count = 1;
        for (int d = 0; d < file.tensors[i].n_dims; d++) {
            count *= file.tensors[i].dims[d];
        }
        n_numbers += count;
        fine = fine && describe_tensor(out, &file.tensors[i]);
    }
    fine = fine && mb_buffer_printf(out, "%" PRId64 " numbers\n", n_numbers);
    mb_safetensors_close(&file);
    return fine ? MB_OK : out_of_memory(error);
}

static mb_status info_npy(const mb_map *map, const char *path, mb_buffer *out, mb_error *error) {
    mb_npy_header header;
    const mb_status status = mb_npy_parse(map, path, &header, error);
    if (status != MB_OK) {
        return status;
    }
    return mb_buffer_printf(out, "npy: %" PRId64 " x %" PRId64 ", %s\n", header.n, header.width, header.type)
               ? MB_OK
               : out_of_memory(error);
}

static mb_status info_shard(const char *path, mb_buffer *out, mb_error *error) {
    mb_shard shard = {0};
    const mb_status status = mb_shard_open(path, true, &shard, error);
    if (status != MB_OK) {
        return status;
    }
    const bool fine = mb_buffer_printf(out,
                                       "token shard: %" PRIu64 " tokens, %" PRIu64 " lines, %" PRIu64 " documents\n"
                                       "vocabulary %u, fingerprint %016" PRIx64 "\n",
                                       shard.n_tokens, shard.n_lines, shard.n_documents, shard.vocab_size, shard.fingerprint);
    mb_shard_close(&shard);
    return fine ? MB_OK : out_of_memory(error);
}

static bool ends_with(const char *text, const char *suffix) {
    const size_t n = strlen(text), n_suffix = strlen(suffix);
    return n >= n_suffix && strcmp(text + n - n_suffix, suffix) == 0;
}

mb_status mb_info(const mb_info_options *options, mb_buffer *out, mb_error *error) {
    const char *path = options->path;
    if (mb_path_is_dir(path)) {
        return mb_info_model(path, options->tensors, out, error);
    }
    mb_map map = {0};
    mb_status status = mb_map_open(path, &map, error);
    if (status != MB_OK) {
        return status;
    }
    if (mb_npy_is(&map)) {
        status = info_npy(&map, path, out, error);
    } else if (ends_with(path, ".safetensors") || (map.n_bytes > 9 && map.data[8] == '{')) {
        status = info_safetensors(path, out, error);
    } else if (map.n_bytes > 7 && memcmp(map.data, "MBSHARD", 7) == 0) {
        status = info_shard(path, out, error);
    } else {
        status = mb_fail(error, MB_ERROR_FORMAT, "'%s' is no model directory and no safetensors, shard or npy file", path);
    }
    mb_map_close(&map);
    return status;
}
