/* The safetensors format (github.com/huggingface/safetensors, README "Format"):
 *   bytes 0-7          N, little-endian uint64: length of the header
 *   bytes 8 .. 8+N-1   JSON object: name -> {"dtype": "F32"|"F16"|"BF16", "shape": [...], "data_offsets": [begin, end]}
 *   the rest           data, row-major, little-endian; offsets count from here
 */
#ifndef MB_MODEL_SAFETENSORS_H
#define MB_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "minibert/status.h"
#include "tensor/tensor.h"

enum { MB_SAFETENSORS_MAX_DIMS = 8 };

typedef struct mb_safetensor {
    char *name;
    char dtype[8];
    int n_dims;
    int64_t dims[MB_SAFETENSORS_MAX_DIMS];
    const unsigned char *data;
    uint64_t n_bytes;
} mb_safetensor;

typedef struct mb_safetensors {
    mb_map map;
    mb_safetensor *tensors; /* sorted by name */
    size_t n_tensors;
    char *path;
} mb_safetensors;

/* Maps the file and checks the header whole: sizes, offsets inside the file, no duplicate names, and data covered exactly (no
 * overlaps, no holes, nothing after the last tensor, as the format demands). */
mb_status mb_safetensors_open(const char *path, mb_safetensors *out, mb_error *error);
const mb_safetensor *mb_safetensors_find(const mb_safetensors *file, const char *name); /* NULL when absent */
/* Converts F32, F16 or BF16 to mb_real; `count` elements must be what the tensor holds. NaN or Inf is an error. */
mb_status mb_safetensors_read(const mb_safetensors *file, const mb_safetensor *tensor, mb_real *out, int64_t count,
                              mb_error *error);
/* The numbers where they lie in the map, checked like mb_safetensors_read; NULL when they are no F32 or not aligned (then
 * they must be read). */
mb_status mb_safetensors_view(const mb_safetensors *file, const mb_safetensor *tensor, int64_t count, const mb_real **out,
                              mb_error *error);
/* The map becomes the caller's, to be closed by mb_map_close; what lies in it stays there when the file is closed. */
mb_map mb_safetensors_take_map(mb_safetensors *file);
void mb_safetensors_close(mb_safetensors *file);

/* One tensor to write, as F32. */
typedef struct mb_safetensors_entry {
    const char *name;
    int n_dims;
    int64_t dims[MB_SAFETENSORS_MAX_DIMS];
    const mb_real *data;
} mb_safetensors_entry;
/* Data in the order of the entries, beginning at a multiple of 64 bytes. Appears under `path` only when whole. */
mb_status mb_safetensors_save(const char *path, const mb_safetensors_entry *entries, size_t n_entries, mb_error *error);

#endif
