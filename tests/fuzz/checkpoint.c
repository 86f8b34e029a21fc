/* Any bytes as one of a checkpoint's files. The first byte chooses which: 0 state.json as it is; 1 state.json with a checksum
 * that holds; 2 config.json, 3 model.safetensors, 4 optimizer.safetensors, under a state.json that vouches for them. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "fuzz/support.h"
#include "train/checkpoint.h"
#include "train/checkpoint_files.h"

enum { N_FILES = 4, FIRST_SEALED = 2 };
static const char *const names[N_FILES] = {"state.json", "config.json", "model.safetensors", "optimizer.safetensors"};
static const char directory[] = "checkpoints/step-00000001/";

static mb_model *model;
static mb_optimizer optimizer;
static mb_buffer good[N_FILES];

static const char *name_of(int file) {
    static char name[64];
    snprintf(name, sizeof name, "%s%s", directory, names[file]);
    return name;
}

static void set_up(void) {
    mb_model_config config;
    CHECK(mb_model_config_preset("tiny", &config, NULL) == MB_OK);
    config.vocab_size = 8;
    config.hidden_size = config.intermediate_size = 4;
    config.n_heads = 2;
    config.n_layers = 1;
    config.max_positions = 4;
    const mb_optimizer_options options = {.beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-6};
    const mb_train_state state = {.step = 1, .n_tokens_seen = 12, .elapsed_seconds = 0.5, .progress = 0.25, .seed = 1};
    CHECK(mb_model_new(&config, MB_HEAD_MASKED_LM, 1, &model, NULL) == MB_OK);
    CHECK(mb_optimizer_init(&optimizer, mb_model_params(model), &options, NULL) == MB_OK);
    CHECK(mb_checkpoint_save(fuzz_path(""), model, &optimizer, &state, 1, NULL) == MB_OK);
    for (int file = 0; file < N_FILES; file++) {
        CHECK(mb_file_read(fuzz_path(name_of(file)), &good[file], NULL) == MB_OK);
    }
    mb_model_config_free(&config);
}

/* The object with the checksum that train/checkpoint_files.c would give it; false when it is none. */
static bool write_repaired(const char *text, size_t n_bytes) {
    json_t *object = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, NULL);
    json_object_del(object, "xxh64");
    char *compact = json_is_object(object) ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    char hash[17], *whole = NULL;
    if (compact != NULL) {
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)mb_hash_bytes(compact, strlen(compact)));
        CHECK(json_object_set_new(object, "xxh64", json_string(hash)) == 0);
        whole = json_dumps(object, 0);
        CHECK(whole != NULL);
        fuzz_write(name_of(0), whole, strlen(whole));
    }
    free(compact);
    free(whole);
    json_decref(object);
    return compact != NULL;
}

static bool write_input(int kind, const uint8_t *data, size_t n_bytes) {
    if (kind < FIRST_SEALED) {
        if (kind == 0) {
            fuzz_write(name_of(0), data, n_bytes);
        }
        return kind == 0 || write_repaired((const char *)data, n_bytes);
    }
    fuzz_write(name_of(kind - 1), data, n_bytes);
    CHECK(mb_checkpoint_seal(fuzz_path("checkpoints/step-00000001"), &(mb_train_state){.step = 1}, NULL) == MB_OK);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    if (model == NULL) {
        set_up();
    }
    const int kind = n_bytes > 0 ? data[0] % (N_FILES + 1) : 0;
    mb_train_state state = {0};
    bool found = false;
    if (n_bytes > 0 && write_input(kind, data + 1, n_bytes - 1) &&
        mb_checkpoint_load_newest(fuzz_path(""), model, &optimizer, &state, &found, NULL, NULL) == MB_OK) {
        const mb_params *params = mb_model_params(model);
        CHECK(found && state.step >= 0 && isfinite(state.elapsed_seconds) && isfinite(state.progress));
        for (int64_t i = 0; i < params->count; i++) {
            CHECK(isfinite(params->weights[i]) && isfinite(optimizer.moment1[i]) && isfinite(optimizer.moment2[i]));
        }
    }
    fuzz_write(name_of(0), good[0].data, good[0].n_bytes);
    if (kind >= FIRST_SEALED) {
        fuzz_write(name_of(kind - 1), good[kind - 1].data, good[kind - 1].n_bytes);
    }
    return 0;
}
