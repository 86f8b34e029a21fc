#include "base/json.h"
#include "support.h"

/* Writes `text` to a config.json and loads it. */
static mb_status load_text(const char *text, mb_model_config *config, mb_error *error) {
    char *dir = make_dir();
    char *path = mb_path_join(dir, "config.json");
    write_file(path, text, strlen(text));
    const mb_status status = mb_model_config_load(path, config, error);
    free(path);
    remove_dir(dir);
    return status;
}

#define BASIC                                                                                                                \
    "\"vocab_size\": 37, \"hidden_size\": 12, \"num_hidden_layers\": 2, \"num_attention_heads\": 3, \"intermediate_size\": " \
    "20, "                                                                                                                   \
    "\"max_position_embeddings\": 9"

Test(config, presets) {
    static const struct {
        const char *name;
        int32_t layers, hidden, heads, intermediate;
    } sizes[] = {{"tiny", 2, 128, 2, 512},
                 {"mini", 4, 256, 4, 1024},
                 {"small", 4, 512, 8, 2048},
                 {"medium", 8, 512, 8, 2048},
                 {"base", 12, 768, 12, 3072}};
    mb_error error;
    mb_model_config config;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ASSERT_OK(mb_model_config_preset(sizes[i].name, &config, &error), error);
        cr_expect_eq(config.n_layers, sizes[i].layers);
        cr_expect_eq(config.hidden_size, sizes[i].hidden);
        cr_expect_eq(config.n_heads, sizes[i].heads);
        cr_expect_eq(config.intermediate_size, sizes[i].intermediate);
        cr_expect_eq(config.max_positions, 512);
        config.vocab_size = 100;
        ASSERT_OK(mb_model_config_check(&config, "test", &error), error);
    }
    cr_expect_eq(mb_model_config_preset("huge", &config, &error), MB_ERROR_USAGE);
    cr_expect(strstr(error.message, "huge") && strstr(error.message, "medium"));
}

Test(config, round_trip) {
    mb_error error;
    mb_model_config config = tiny_config(), back;
    const char *labels[] = {"net", "a \"quoted\" one", "好"};
    ASSERT_OK(mb_model_config_set_labels(&config, labels, 3, &error), error);
    strcpy(config.problem_type, "multi_label_classification");
    config.activation = MB_ACTIVATION_GELU_TANH;
    config.hidden_dropout = 0.125;
    config.attention_dropout = 0.1;
    config.classifier_dropout = 0.3;
    config.type_vocab_size = 5;
    config.pad_token_id = 4;
    char *dir = make_dir();
    char *path = mb_path_join(dir, "config.json");
    json_t *json = mb_model_config_to_json(&config, "BertForSequenceClassification");
    ASSERT_OK(mb_json_save(path, json, &error), error);
    ASSERT_OK(mb_model_config_load(path, &back, &error), error);
    cr_expect_str_eq(json_string_value(json_object_get(json, "torch_dtype")), "float32");
    json_t *again = mb_model_config_to_json(&back, "BertForSequenceClassification");
    char *first = json_dumps(json, JSON_REAL_PRECISION(9)), *second = json_dumps(again, JSON_REAL_PRECISION(9));
    cr_expect_str_eq(first, second);
    cr_expect_eq(back.activation, MB_ACTIVATION_GELU_TANH);
    cr_expect_eq(back.layer_norm_epsilon, 1e-12);
    cr_expect_eq(back.classifier_dropout, 0.3);
    cr_expect_str_eq(back.labels[1], labels[1]);
    cr_expect_str_eq(back.problem_type, config.problem_type);
    free(first);
    free(second);
    json_decref(json);
    json_decref(again);
    free(path);
    remove_dir(dir);
    mb_model_config_free(&config);
    mb_model_config_free(&back);
}

Test(config, defaults_are_those_of_transformers) {
    mb_error error;
    mb_model_config config;
    ASSERT_OK(load_text("{" BASIC ", \"hidden_dropout_prob\": 0.25, \"classifier_dropout\": null}", &config, &error), error);
    cr_expect_eq(config.activation, MB_ACTIVATION_GELU);
    cr_expect_eq(config.layer_norm_epsilon, 1e-12);
    cr_expect_eq(config.attention_dropout, 0.1);
    cr_expect_eq(config.classifier_dropout, 0.25, "null: the hidden dropout");
    cr_expect_eq(config.initializer_range, 0.02);
    cr_expect_eq(config.type_vocab_size, 2);
    cr_expect_eq(config.n_labels, 0);
    mb_model_config_free(&config);
    ASSERT_OK(load_text("{" BASIC ", \"architectures\": [\"BertForSequenceClassification\"]}", &config, &error), error);
    cr_expect_eq(config.n_labels, 2);
    cr_expect_str_eq(config.labels[1], "LABEL_1");
    mb_model_config_free(&config);
    ASSERT_OK(load_text("{" BASIC ", \"num_labels\": 12}", &config, &error), error);
    cr_expect_eq(config.n_labels, 12);
    cr_expect_str_eq(config.labels[11], "LABEL_11");
    mb_model_config_free(&config);
}

Test(config, id2label_is_ordered_by_number) {
    mb_error error;
    mb_model_config config;
    ASSERT_OK(load_text("{" BASIC ", \"id2label\": {\"10\": \"k\", \"2\": \"c\", \"0\": \"a\", \"1\": \"b\", \"3\": \"d\", "
                        "\"4\": \"e\", \"5\": \"f\", \"6\": \"g\", \"7\": \"h\", \"8\": \"i\", \"9\": \"j\"}}",
                        &config, &error),
              error);
    cr_assert_eq(config.n_labels, 11);
    for (int32_t i = 0; i < 11; i++) {
        cr_expect_eq(config.labels[i][0], 'a' + i);
    }
    mb_model_config_free(&config);
}

Test(config, activation_names) {
    static const struct {
        const char *name;
        mb_activation activation;
    } names[] = {{"gelu", MB_ACTIVATION_GELU},
                 {"gelu_new", MB_ACTIVATION_GELU_TANH},
                 {"gelu_pytorch_tanh", MB_ACTIVATION_GELU_TANH},
                 {"relu", MB_ACTIVATION_RELU}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        mb_error error;
        mb_model_config config;
        char text[512];
        snprintf(text, sizeof text, "{" BASIC ", \"hidden_act\": \"%s\"}", names[i].name);
        ASSERT_OK(load_text(text, &config, &error), error);
        cr_expect_eq(config.activation, names[i].activation, "%s", names[i].name);
        mb_model_config_free(&config);
    }
}

Test(config, bad_files_are_refused_by_name) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "JSON"},
        {"[1]", "object"},
        {"{", "JSON"},
        {"{}", "vocab_size"},
        {"{\"vocab_size\": 37}", "hidden_size"},
        {"{" BASIC ", \"model_type\": \"roberta\"}", "roberta"},
        {"{" BASIC ", \"model_type\": 3}", "model_type"},
        {"{" BASIC ", \"position_embedding_type\": \"relative_key\"}", "relative_key"},
        {"{" BASIC ", \"is_decoder\": true}", "decoder"},
        {"{" BASIC ", \"add_cross_attention\": true}", "decoder"},
        {"{" BASIC ", \"hidden_act\": \"silu\"}", "silu"},
        {"{" BASIC ", \"problem_type\": \"ranking\"}", "ranking"},
        {"{" BASIC ", \"layer_norm_eps\": 0}", "layer_norm_eps"},
        {"{" BASIC ", \"layer_norm_eps\": \"small\"}", "layer_norm_eps"},
        {"{" BASIC ", \"hidden_dropout_prob\": 1}", "hidden_dropout_prob"},
        {"{" BASIC ", \"hidden_dropout_prob\": -0.1}", "hidden_dropout_prob"},
        {"{" BASIC ", \"initializer_range\": -1}", "initializer_range"},
        {"{" BASIC ", \"type_vocab_size\": 0}", "type_vocab_size"},
        {"{" BASIC ", \"pad_token_id\": 37}", "pad_token_id"},
        {"{" BASIC ", \"id2label\": {}}", "id2label"},
        {"{" BASIC ", \"id2label\": {\"0\": \"a\", \"2\": \"b\"}}", "id2label"},
        {"{" BASIC ", \"id2label\": {\"0\": 7}}", "id2label"},
        {"{" BASIC ", \"id2label\": {\"0\": \"a\"}, \"num_labels\": 2}", "num_labels"},
        {"{" BASIC ", \"num_labels\": 1000000000}", "num_labels"},
        {"{" BASIC ", \"vocab_size\": 37}", "JSON"}, /* a key given twice */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mb_error error = {0};
        mb_model_config config;
        cr_expect_eq(load_text(cases[i].text, &config, &error), MB_ERROR_FORMAT, "%s", cases[i].text);
        cr_expect(strstr(error.message, "config.json") && strstr(error.message, cases[i].says), "%s: '%s'", cases[i].text,
                  error.message);
        cr_expect_null(strchr(error.message, '\n'));
    }
}

/* Each size: missing, zero, negative, absurd, not a number. */
Test(config, bad_sizes_are_refused_by_name) {
    static const char *const keys[] = {"vocab_size",          "hidden_size",       "num_hidden_layers",
                                       "num_attention_heads", "intermediate_size", "max_position_embeddings"};
    static const char *const values[] = {"null", "0", "-3", "1099511627776", "3.5", "\"9\"", "[9]"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            char text[1024] = "{";
            for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
                snprintf(text + strlen(text), sizeof text - strlen(text), "%s\"%s\": %s", i ? ", " : "", keys[i],
                         i == k ? values[v] : "12");
            }
            strcat(text, "}");
            mb_error error = {0};
            mb_model_config config;
            cr_expect_eq(load_text(text, &config, &error), MB_ERROR_FORMAT, "%s", text);
            cr_expect(strstr(error.message, keys[k]), "%s: '%s'", text, error.message);
        }
    }
}

Test(config, check_names_its_source) {
    mb_error error;
    mb_model_config config = tiny_config();
    config.n_heads = 5;
    cr_expect_eq(mb_model_config_check(&config, "--heads", &error), MB_ERROR_USAGE);
    cr_expect(strstr(error.message, "--heads") && strstr(error.message, "multiple"), "%s", error.message);
}

Test(config, labels_are_copied_and_must_be_text) {
    mb_error error;
    mb_model_config config = tiny_config(), copy;
    char name[] = "good";
    const char *labels[] = {name, "bad"}, *broken[] = {"fine", "\xff\xfe"};
    ASSERT_OK(mb_model_config_set_labels(&config, labels, 2, &error), error);
    name[0] = 'x';
    cr_expect_str_eq(config.labels[0], "good");
    cr_expect_eq(mb_model_config_set_labels(&config, broken, 2, &error), MB_ERROR_FORMAT);
    cr_expect_eq(config.n_labels, 2, "unchanged on failure");
    ASSERT_OK(mb_model_config_copy(&config, &copy, &error), error);
    mb_model_config_free(&config);
    cr_expect_str_eq(copy.labels[1], "bad");
    mb_model_config_free(&copy);
}
