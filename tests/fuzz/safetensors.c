/* Any bytes as a safetensors file, alone and as the weights of a model. The first byte chooses: even, the rest is the file;
 * odd, the length in front is set to the header's, so that a change of the header is not refused for its length alone. */
#include <math.h>
#include <string.h>

#include "fuzz/support.h"
#include "model/model.h"
#include "model/safetensors.h"

static void read_tensor(const mb_safetensors *file, const mb_safetensor *tensor) {
    const int64_t count = (int64_t)(tensor->n_bytes / (strcmp(tensor->dtype, "F32") == 0 ? 4 : 2));
    mb_real *numbers = malloc((size_t)count * sizeof *numbers + 1);
    const mb_real *view = NULL;
    CHECK(numbers != NULL);
    if (mb_safetensors_read(file, tensor, numbers, count, NULL) == MB_OK) {
        for (int64_t i = 0; i < count; i++) {
            CHECK(isfinite(numbers[i]));
        }
        if (mb_safetensors_view(file, tensor, count, &view, NULL) == MB_OK && view && count > 0) {
            CHECK(memcmp(view, numbers, (size_t)count * sizeof *numbers) == 0);
        }
    }
    free(numbers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static int copied;
    copied = copied || fuzz_copy("golden/model_classifier/config.json", "config.json");
    if (n_bytes < 9) {
        return 0;
    }
    uint8_t *bytes = malloc(n_bytes);
    CHECK(bytes != NULL);
    const size_t n = n_bytes - 1;
    memcpy(bytes, data + 1, n);
    if (data[0] % 2) {
        const uint8_t *last = memrchr(bytes + 8, '}', n - 8);
        const uint64_t length = last ? (uint64_t)(last + 1 - bytes - 8) : 0;
        memcpy(bytes, &length, sizeof length);
    }
    const char *path = fuzz_write("model.safetensors", bytes, n);
    free(bytes);
    mb_safetensors file;
    if (mb_safetensors_open(path, &file, NULL) == MB_OK) {
        for (size_t i = 0; i < file.n_tensors; i++) {
            CHECK(mb_safetensors_find(&file, file.tensors[i].name) == &file.tensors[i]);
            read_tensor(&file, &file.tensors[i]);
        }
        mb_safetensors_close(&file);
    }
    mb_model *model = NULL;
    if (mb_model_load(fuzz_path(""), MB_HEAD_NONE, NULL, 1, data[0] & 2, &model, NULL) == MB_OK) {
        mb_model_free(model);
    }
    return 0;
}
