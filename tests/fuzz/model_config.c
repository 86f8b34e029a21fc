/* Any bytes as a config.json: alone, and over the weights of a model. A configuration that is read must be written as one that
 * reads the same. */
#include <string.h>

#include "base/json.h"
#include "fuzz/support.h"
#include "model/model.h"

static void check_round_trip(const mb_model_config *config) {
    json_t *json = mb_model_config_to_json(config, config->n_labels > 0 ? "BertForSequenceClassification" : "BertModel");
    char *text = json ? json_dumps(json, 0) : NULL;
    mb_model_config again;
    CHECK(text != NULL);
    CHECK(mb_model_config_load(fuzz_write("again.json", text, strlen(text)), &again, NULL) == MB_OK);
    CHECK(again.vocab_size == config->vocab_size && again.hidden_size == config->hidden_size);
    CHECK(again.n_layers == config->n_layers && again.n_labels == config->n_labels && again.layout == config->layout);
    mb_model_config_free(&again);
    free(text);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static int copied;
    copied = copied || fuzz_copy("golden/model_classifier/model.safetensors", "model.safetensors");
    const char *path = fuzz_write("config.json", data, n_bytes);
    mb_model_config config;
    if (mb_model_config_load(path, &config, NULL) == MB_OK) {
        check_round_trip(&config);
        mb_model_config_free(&config);
    }
    mb_head head = MB_HEAD_NONE;
    mb_model *model = NULL;
    if (mb_model_detect_head(fuzz_path(""), &head, NULL) == MB_OK &&
        mb_model_load(fuzz_path(""), head, NULL, 1, false, &model, NULL) == MB_OK) {
        mb_model_free(model);
    }
    return 0;
}
