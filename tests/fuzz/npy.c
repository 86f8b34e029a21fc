/* Any bytes as an npy file of numbers. */
#include <math.h>

#include "base/file.h"
#include "fuzz/support.h"
#include "tasks/vector_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    const char *path = fuzz_write("vectors.npy", data, n_bytes);
    mb_map map = {0};
    mb_npy_header header;
    CHECK(mb_map_open(path, &map, NULL) == MB_OK);
    if (mb_npy_parse(&map, path, &header, NULL) == MB_OK) {
        CHECK(header.data_offset + (size_t)header.n * (size_t)header.width * header.element_bytes == n_bytes);
    }
    mb_map_close(&map);
    mb_vectors vectors;
    mb_texts texts = {0};
    if (mb_vectors_load(path, &vectors, &texts, NULL) == MB_OK) {
        for (int64_t i = 0; i < vectors.n * vectors.width; i++) {
            CHECK(isfinite(vectors.data[i]));
        }
        mb_vectors_free(&vectors);
    }
    mb_texts_free(&texts);
    return 0;
}
