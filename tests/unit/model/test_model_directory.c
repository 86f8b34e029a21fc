#include <math.h>
#include <stdint.h>

#include "base/json.h"
#include "model/safetensors.h"
#include "support.h"

/* What a test may do to the tensors of a good directory before they are written again. */
typedef struct edit {
    const char *name;    /* of the tensor; NULL: none */
    const char *rename;  /* NULL: the tensor is left out */
    int64_t drop_rows;   /* taken off its first dimension; with rename = name */
    mb_real add;         /* to its first number */
    bool keep_original;  /* also under its own name */
    const char *strip;   /* prefix taken off all names */
    const char *ln_from; /* suffix of all names replaced by ln_to */
    const char *ln_to;
} edit;

static char *edited_name(const char *name, const edit *what) {
    char text[128];
    snprintf(text, sizeof text, "%s", name);
    if (what->strip && strncmp(text, what->strip, strlen(what->strip)) == 0) {
        memmove(text, text + strlen(what->strip), strlen(text) - strlen(what->strip) + 1);
    }
    if (what->ln_from && strlen(text) > strlen(what->ln_from) &&
        strcmp(text + strlen(text) - strlen(what->ln_from), what->ln_from) == 0) {
        strcpy(text + strlen(text) - strlen(what->ln_from), what->ln_to);
    }
    return strdup(text);
}

/* The tensor under another name, shape or with another first number. */
static mb_safetensors_entry changed_entry(const mb_safetensors_entry *entry, int64_t count, const edit *what) {
    mb_safetensors_entry changed = *entry;
    mb_real *values = malloc((size_t)count * sizeof *values);
    memcpy(values, entry->data, (size_t)count * sizeof *values);
    values[0] += what->add;
    changed.data = values;
    changed.name = strdup(what->rename);
    changed.dims[0] -= what->drop_rows;
    return changed;
}

static void edit_weights(const char *dir, const edit *what) {
    char *path = mb_path_join(dir, "model.safetensors");
    mb_error error;
    mb_safetensors file;
    ASSERT_OK(mb_safetensors_open(path, &file, &error), error);
    mb_safetensors_entry *entries = calloc(file.n_tensors + 1, sizeof *entries);
    size_t n = 0;
    for (size_t i = 0; i < file.n_tensors; i++) {
        const mb_safetensor *tensor = &file.tensors[i];
        const int64_t count = (int64_t)(tensor->n_bytes / 4);
        const bool is_meant = what->name && strcmp(tensor->name, what->name) == 0;
        mb_real *values = malloc(tensor->n_bytes);
        ASSERT_OK(mb_safetensors_read(&file, tensor, values, count, &error), error);
        mb_safetensors_entry *entry = &entries[n];
        *entry = (mb_safetensors_entry){.name = edited_name(tensor->name, what), .n_dims = tensor->n_dims, .data = values};
        memcpy(entry->dims, tensor->dims, sizeof entry->dims);
        if (is_meant && what->rename) {
            entries[n + 1] = changed_entry(entry, count, what);
        }
        if (is_meant && !what->keep_original) {
            free((void *)(uintptr_t)entry->name);
            free((void *)(uintptr_t)entry->data);
            *entry = entries[n + 1];
            n += what->rename != NULL;
        } else {
            n += is_meant ? 2 : 1;
        }
    }
    mb_safetensors_close(&file);
    ASSERT_OK(mb_safetensors_save(path, entries, n, &error), error);
    for (size_t i = 0; i < n; i++) {
        free((void *)(uintptr_t)entries[i].name);
        free((void *)(uintptr_t)entries[i].data);
    }
    free(entries);
    free(path);
}

static char *saved_dir(mb_head head) {
    char *dir = make_dir();
    mb_error error;
    mb_model *model = new_tiny(head);
    ASSERT_OK(mb_model_save(model, dir, &error), error);
    mb_model_free(model);
    return dir;
}

static const mb_real *weights_of(mb_model *model, const char *name) {
    const int index = mb_params_find(mb_model_params(model), name);
    cr_assert(index >= 0, "no %s", name);
    return mb_model_params(model)->weights + mb_model_params(model)->views[index].offset;
}

static const mb_head heads[] = {MB_HEAD_NONE, MB_HEAD_MASKED_LM, MB_HEAD_PRETRAINING, MB_HEAD_CLASSIFIER,
                                MB_HEAD_TOKEN_CLASSIFIER};
enum { N_HEADS = sizeof heads / sizeof *heads };

Test(model_directory, save_and_load_gives_the_same_bytes) {
    for (int i = 0; i < N_HEADS; i++) {
        char *dir = saved_dir(heads[i]), *again = make_dir();
        mb_error error;
        mb_model *model;
        mb_head head;
        ASSERT_OK(mb_model_detect_head(dir, &head, &error), error);
        cr_expect_eq(head, heads[i], "%s read as %s", mb_head_architecture(MB_LAYOUT_BERT, heads[i]),
                     mb_head_architecture(MB_LAYOUT_BERT, head));
        ASSERT_OK(mb_model_load(dir, heads[i], NULL, 0, true, &model, &error), error);
        cr_expect_eq(mb_model_n_new_views(model), 0);
        ASSERT_OK(mb_model_save(model, again, &error), error);
        static const char *const names[] = {"config.json", "model.safetensors"};
        for (int f = 0; f < 2; f++) {
            mb_buffer first = read_file(dir, names[f]), second = read_file(again, names[f]);
            cr_expect(first.n_bytes == second.n_bytes && memcmp(first.data, second.data, first.n_bytes) == 0, "%s of %s",
                      names[f], mb_head_architecture(MB_LAYOUT_BERT, heads[i]));
            mb_buffer_free(&first);
            mb_buffer_free(&second);
        }
        mb_model_free(model);
        remove_dir(dir);
        remove_dir(again);
    }
}

Test(model_directory, the_tied_decoder_is_not_stored) {
    char *dir = saved_dir(MB_HEAD_MASKED_LM), *path = mb_path_join(dir, "model.safetensors");
    mb_error error;
    mb_safetensors file;
    ASSERT_OK(mb_safetensors_open(path, &file, &error), error);
    cr_expect_not_null(mb_safetensors_find(&file, "cls.predictions.bias"));
    cr_expect_null(mb_safetensors_find(&file, "cls.predictions.decoder.weight"));
    cr_expect_null(mb_safetensors_find(&file, "bert.pooler.dense.weight"));
    mb_safetensors_close(&file);
    free(path);
    remove_dir(dir);
}

Test(model_directory, for_inference_there_are_no_gradients) {
    char *dir = saved_dir(MB_HEAD_MASKED_LM);
    mb_error error;
    mb_model *model;
    ASSERT_OK(mb_model_load(dir, MB_HEAD_MASKED_LM, NULL, 0, false, &model, &error), error);
    cr_expect_null(mb_model_params(model)->grads);
    mb_model_free(model);
    remove_dir(dir);
}

/* Query, key and value of a layer are one matrix to the encoder: the file's three must land in their places. */
Test(model_directory, fused_views_keep_their_names) {
    mb_model *model = new_tiny(MB_HEAD_NONE);
    const mb_real *query = weights_of(model, "bert.encoder.layer.1.attention.self.query.weight");
    cr_expect_eq(weights_of(model, "bert.encoder.layer.1.attention.self.key.weight"), query + 144);
    cr_expect_eq(weights_of(model, "bert.encoder.layer.1.attention.self.value.weight"), query + 288);
    mb_model_free(model);
}

Test(model_directory, a_classifier_on_a_masked_lm_is_new) {
    char *dir = saved_dir(MB_HEAD_MASKED_LM);
    mb_error error;
    mb_model *model, *other, *source = new_tiny(MB_HEAD_MASKED_LM);
    mb_model_config override = tiny_config();
    const char *labels[] = {"no", "yes", "maybe"};
    ASSERT_OK(mb_model_config_set_labels(&override, labels, 3, &error), error);
    strcpy(override.problem_type, "single_label_classification");
    ASSERT_OK(mb_model_load(dir, MB_HEAD_CLASSIFIER, &override, 5, true, &model, &error), error);
    cr_expect_eq(mb_model_n_new_views(model), 4, "pooler and classifier, weight and bias each");
    cr_expect_str_eq(mb_model_get_config(model)->labels[2], "maybe");
    cr_expect_str_eq(mb_model_get_config(model)->problem_type, "single_label_classification");
    const char *kept = "bert.encoder.layer.1.output.dense.weight";
    cr_expect_eq(memcmp(weights_of(model, kept), weights_of(source, kept), 240 * sizeof(mb_real)), 0);
    const mb_real *fresh = weights_of(model, "classifier.weight");
    double sum = 0;
    for (int i = 0; i < 36; i++) {
        sum += fabs((double)fresh[i]);
        cr_expect(fabs((double)fresh[i]) <= 0.0401);
    }
    cr_expect(sum > 0.1, "the classifier's weights are drawn, not zero");
    ASSERT_OK(mb_model_load(dir, MB_HEAD_CLASSIFIER, &override, 6, true, &other, &error), error);
    cr_expect_neq(memcmp(fresh, weights_of(other, "classifier.weight"), 36 * sizeof(mb_real)), 0, "another seed");
    mb_model_free(model);
    mb_model_free(other);
    mb_model_free(source);
    mb_model_config_free(&override);
    remove_dir(dir);
}

Test(model_directory, a_classifier_for_the_same_labels_is_kept_and_for_others_is_new) {
    char *dir = saved_dir(MB_HEAD_CLASSIFIER);
    mb_error error;
    mb_model *model;
    mb_model_config override = tiny_config();
    const char *same[] = {"a", "b", "c", "d"}, *other[] = {"a", "b", "c", "e"};
    ASSERT_OK(mb_model_config_set_labels(&override, same, 4, &error), error);
    ASSERT_OK(mb_model_load(dir, MB_HEAD_CLASSIFIER, &override, 5, true, &model, &error), error);
    cr_expect_eq(mb_model_n_new_views(model), 0);
    mb_model_free(model);
    ASSERT_OK(mb_model_config_set_labels(&override, other, 4, &error), error);
    ASSERT_OK(mb_model_load(dir, MB_HEAD_CLASSIFIER, &override, 5, true, &model, &error), error);
    cr_expect_eq(mb_model_n_new_views(model), 2);
    mb_model_free(model);
    ASSERT_OK(mb_model_config_set_labels(&override, same, 3, &error), error);
    ASSERT_OK(mb_model_load(dir, MB_HEAD_CLASSIFIER, &override, 5, true, &model, &error), error);
    cr_expect_eq(mb_model_n_new_views(model), 2);
    mb_model_free(model);
    mb_model_config_free(&override);
    remove_dir(dir);
}

Test(model_directory, a_classifier_needs_labels_or_a_fine_tuned_directory) {
    char *dir = saved_dir(MB_HEAD_MASKED_LM);
    mb_error error;
    mb_model *model;
    const mb_model_config no_labels = tiny_config();
    cr_expect_eq(mb_model_load(dir, MB_HEAD_CLASSIFIER, NULL, 0, false, &model, &error), MB_ERROR_MISMATCH);
    cr_expect(strstr(error.message, "classifier"), "%s", error.message);
    cr_expect_eq(mb_model_load(dir, MB_HEAD_CLASSIFIER, &no_labels, 0, false, &model, &error), MB_ERROR_MISMATCH);
    cr_expect_null(model);
    remove_dir(dir);
}

Test(model_directory, a_model_without_pooler_loads_without_one) {
    char *dir = saved_dir(MB_HEAD_MASKED_LM);
    mb_error error;
    mb_model *model;
    ASSERT_OK(mb_model_load(dir, MB_HEAD_NONE, NULL, 0, false, &model, &error), error);
    cr_expect_not(mb_model_has_pooler(model));
    cr_expect_eq(mb_model_n_new_views(model), 0);
    mb_model_free(model);
    remove_dir(dir);
}

Test(model_directory, a_masked_lm_head_on_a_bare_encoder_is_new) {
    char *dir = saved_dir(MB_HEAD_NONE);
    mb_error error;
    mb_model *model;
    ASSERT_OK(mb_model_load(dir, MB_HEAD_MASKED_LM, NULL, 0, true, &model, &error), error);
    cr_expect_eq(mb_model_n_new_views(model), 5);
    mb_model_free(model);
    remove_dir(dir);
}

/* Names as other programs write them; all give the same weights. */
Test(model_directory, other_spellings_of_the_same_model) {
    static const edit edits[] = {
        {.strip = "bert."},
        {.ln_from = "LayerNorm.weight", .ln_to = "LayerNorm.gamma"},
        {.ln_from = "LayerNorm.bias", .ln_to = "LayerNorm.beta"},
        {.name = "cls.predictions.bias", .rename = "cls.predictions.decoder.bias"},
        {.name = "cls.predictions.bias", .rename = "cls.predictions.decoder.bias", .keep_original = true},
        {.name = "bert.embeddings.word_embeddings.weight", .rename = "cls.predictions.decoder.weight", .keep_original = true},
        {.name = "cls.predictions.bias", .rename = "bert.embeddings.position_ids", .keep_original = true},
    };
    mb_model *expected = new_tiny(MB_HEAD_MASKED_LM);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        char *dir = saved_dir(MB_HEAD_MASKED_LM);
        mb_error error;
        mb_model *model;
        edit_weights(dir, &edits[i]);
        ASSERT_OK(mb_model_load(dir, MB_HEAD_MASKED_LM, NULL, 0, true, &model, &error), error);
        cr_expect_eq(mb_model_n_new_views(model), 0, "edit %zu", i);
        const mb_params *a = mb_model_params(model), *b = mb_model_params(expected);
        cr_expect_eq(memcmp(a->weights, b->weights, (size_t)a->count * sizeof *a->weights), 0, "edit %zu", i);
        mb_model_free(model);
        remove_dir(dir);
    }
    mb_model_free(expected);
}

/* Two good files that do not belong together: the message names the tensor. */
Test(model_directory, mismatches_are_refused_by_the_name_of_the_tensor) {
    static const struct {
        edit edit;
        const char *says[2];
    } cases[] = {
        {{.name = "bert.encoder.layer.1.intermediate.dense.bias"}, {"bert.encoder.layer.1.intermediate.dense.bias", "missing"}},
        {{.name = "bert.embeddings.word_embeddings.weight"}, {"word_embeddings", "BERT"}},
        {{.name = "bert.embeddings.word_embeddings.weight", .rename = "bert.embeddings.word_embeddings.weight", .drop_rows = 1},
         {"vocab_size is 37", "36 rows"}},
        {{.name = "bert.encoder.layer.0.output.dense.weight",
          .rename = "bert.encoder.layer.0.output.dense.weight",
          .drop_rows = 2},
         {"bert.encoder.layer.0.output.dense.weight", "(10,20), expected (12,20)"}},
        {{.name = "cls.predictions.bias", .rename = "cls.predictions.bias", .drop_rows = 1}, {"cls.predictions.bias", "(36)"}},
        {{.name = "cls.predictions.transform.dense.bias"}, {"cls.predictions.transform.dense.bias", "missing"}},
        {{.name = "bert.encoder.layer.1.output.dense.weight",
          .rename = "bert.encoder.layer.2.output.dense.weight",
          .keep_original = true},
         {"num_hidden_layers is 2", "layer.2"}},
        {{.name = "bert.embeddings.word_embeddings.weight",
          .rename = "cls.predictions.decoder.weight",
          .keep_original = true,
          .add = 1},
         {"cls.predictions.decoder.weight", "tied"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = saved_dir(MB_HEAD_MASKED_LM);
        mb_error error = {0};
        mb_model *model;
        edit_weights(dir, &cases[i].edit);
        cr_expect_eq(mb_model_load(dir, MB_HEAD_MASKED_LM, NULL, 0, true, &model, &error), MB_ERROR_MISMATCH, "case %zu", i);
        cr_expect_null(model);
        cr_expect(strstr(error.message, "model.safetensors") && strstr(error.message, cases[i].says[0]) &&
                      strstr(error.message, cases[i].says[1]),
                  "case %zu: '%s'", i, error.message);
        remove_dir(dir);
    }
}

Test(model_directory, damaged_weights_are_refused) {
    static const mb_real bad[] = {(mb_real)NAN, (mb_real)INFINITY};
    for (int i = 0; i < 2; i++) {
        char *dir = saved_dir(MB_HEAD_MASKED_LM);
        mb_error error;
        mb_model *model;
        edit_weights(dir, &(edit){.name = "bert.encoder.layer.0.attention.self.key.bias",
                                  .rename = "bert.encoder.layer.0.attention.self.key.bias",
                                  .add = bad[i]});
        cr_expect_eq(mb_model_load(dir, MB_HEAD_MASKED_LM, NULL, 0, true, &model, &error), MB_ERROR_FORMAT);
        cr_expect(strstr(error.message, "layer.0.attention.self.key.bias"), "%s", error.message);
        remove_dir(dir);
    }
}

Test(model_directory, a_weight_file_cut_short_is_refused) {
    char *dir = saved_dir(MB_HEAD_CLASSIFIER), *path = mb_path_join(dir, "model.safetensors");
    mb_buffer whole = read_file(dir, "model.safetensors");
    for (size_t n = 0; n < whole.n_bytes; n += n < 200 ? 1 : 397) {
        mb_error error;
        mb_model *model;
        write_file(path, whole.data, n);
        cr_assert_eq(mb_model_load(dir, MB_HEAD_CLASSIFIER, NULL, 0, false, &model, &error), MB_ERROR_FORMAT, "%zu bytes", n);
        cr_assert_null(model);
    }
    mb_buffer_free(&whole);
    free(path);
    remove_dir(dir);
}

Test(model_directory, missing_files_are_named) {
    char *dir = make_dir();
    mb_error error;
    mb_model *model;
    mb_head head;
    cr_expect_eq(mb_model_load("/nonexistent", MB_HEAD_NONE, NULL, 0, false, &model, &error), MB_ERROR_IO);
    cr_expect(strstr(error.message, "'/nonexistent'"), "%s", error.message);
    cr_expect_eq(mb_model_load(dir, MB_HEAD_NONE, NULL, 0, false, &model, &error), MB_ERROR_IO);
    cr_expect(strstr(error.message, "model.safetensors"), "%s", error.message);
    write_text(dir, "pytorch_model.bin", "x");
    cr_expect_eq(mb_model_detect_head(dir, &head, &error), MB_ERROR_IO);
    cr_expect(strstr(error.message, "pytorch_model.bin"), "%s", error.message);
    remove_dir(dir);
    dir = saved_dir(MB_HEAD_NONE);
    char *config = mb_path_join(dir, "config.json");
    ASSERT_OK(mb_path_remove(config, &error), error);
    cr_expect_eq(mb_model_load(dir, MB_HEAD_NONE, NULL, 0, false, &model, &error), MB_ERROR_IO);
    cr_expect(strstr(error.message, "config.json"), "%s", error.message);
    free(config);
    remove_dir(dir);
}

Test(model_directory, saving_where_no_directory_can_be_is_an_error) {
    char *dir = make_dir();
    char *file = mb_path_join(dir, "file"), *below = mb_path_join(file, "model");
    mb_error error;
    mb_model *model = new_tiny(MB_HEAD_NONE);
    write_file(file, "x", 1);
    cr_expect_eq(mb_model_save(model, below, &error), MB_ERROR_IO);
    cr_expect(strstr(error.message, "file"), "%s", error.message);
    mb_model_free(model);
    free(below);
    free(file);
    remove_dir(dir);
}

Test(model_directory, the_head_is_what_the_tensors_are_when_the_architecture_is_unknown) {
    for (int i = 0; i < N_HEADS; i++) {
        char *dir = saved_dir(heads[i]), *path = mb_path_join(dir, "config.json");
        mb_error error;
        mb_head head;
        json_t *json;
        ASSERT_OK(mb_json_load(path, &json, &error), error);
        json_object_del(json, "architectures");
        ASSERT_OK(mb_json_save(path, json, &error), error);
        ASSERT_OK(mb_model_detect_head(dir, &head, &error), error);
        cr_expect_eq(head, heads[i], "%s read as %s", mb_head_architecture(MB_LAYOUT_BERT, heads[i]),
                     mb_head_architecture(MB_LAYOUT_BERT, head));
        json_object_set_new(json, "architectures", json_pack("[s]", "BertForMaskedLM")); /* which only some of them bear out */
        ASSERT_OK(mb_json_save(path, json, &error), error);
        ASSERT_OK(mb_model_detect_head(dir, &head, &error), error);
        cr_expect_eq(head, heads[i] == MB_HEAD_PRETRAINING ? MB_HEAD_MASKED_LM : heads[i]);
        json_decref(json);
        free(path);
        remove_dir(dir);
    }
}

Test(model_directory, weights_of_a_checkpoint_must_be_complete) {
    char *dir = saved_dir(MB_HEAD_MASKED_LM), *path = mb_path_join(dir, "model.safetensors");
    mb_error error;
    mb_model_config config = tiny_config();
    mb_model *model, *same = new_tiny(MB_HEAD_MASKED_LM), *larger;
    ASSERT_OK(mb_model_new(&config, MB_HEAD_MASKED_LM, 99, &model, &error), error);
    ASSERT_OK(mb_model_load_weights(model, path, &error), error);
    cr_expect_eq(memcmp(mb_model_params(model)->weights, mb_model_params(same)->weights,
                        (size_t)mb_model_params(model)->count * sizeof(mb_real)),
                 0);
    ASSERT_OK(mb_model_new(&config, MB_HEAD_PRETRAINING, 99, &larger, &error), error);
    cr_expect_eq(mb_model_load_weights(larger, path, &error), MB_ERROR_MISMATCH);
    cr_expect(strstr(error.message, "bert.pooler.dense.weight"), "%s", error.message);
    mb_model_free(model);
    mb_model_free(same);
    mb_model_free(larger);
    free(path);
    remove_dir(dir);
}

/* Directories that transformers wrote (scripts/golden/model.py). */
Test(model_directory, heads_of_directories_by_transformers) {
    mb_error error;
    mb_head head;
    mb_model *model;
    ASSERT_OK(mb_model_detect_head(MB_TESTS_DIR "/golden/model_pretraining", &head, &error), error);
    cr_expect_eq(head, MB_HEAD_PRETRAINING);
    ASSERT_OK(mb_model_detect_head(MB_TESTS_DIR "/golden/model_classifier", &head, &error), error);
    cr_expect_eq(head, MB_HEAD_CLASSIFIER);
    static const mb_head readable[] = {MB_HEAD_NONE, MB_HEAD_MASKED_LM, MB_HEAD_PRETRAINING};
    for (int i = 0; i < 3; i++) {
        ASSERT_OK(mb_model_load(MB_TESTS_DIR "/golden/model_pretraining", readable[i], NULL, 0, true, &model, &error), error);
        cr_expect_eq(mb_model_n_new_views(model), 0);
        mb_model_free(model);
    }
}
