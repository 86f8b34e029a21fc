#include <math.h>

#include "tiny.h"
#include "train/checkpoint_files.h"

/* Warnings that a load gave. */
typedef struct warnings {
    int n;
    char last[512];
} warnings;

static void note_warning(void *user, mb_level level, const char *text) {
    warnings *w = user;
    if (level == MB_LEVEL_WARNING) {
        w->n++;
        snprintf(w->last, sizeof w->last, "%s", text);
    }
}

static mb_train_state state_at(int64_t step) {
    return (mb_train_state){.step = step,
                            .n_tokens_seen = 100 * step,
                            .elapsed_seconds = 0.1 + (double)step / 3,
                            .seed = UINT64_MAX,
                            .corpus_fingerprint = 0x8123456789abcdef,
                            .tokenizer_fingerprint = 42};
}

/* A model and an optimizer whose every number says which step they are of. */
typedef struct subject {
    mb_model *model;
    mb_optimizer optimizer;
} subject;

static subject make_subject(void) {
    subject s = {.model = tiny_model(0)};
    mb_error error;
    const mb_optimizer_options options = {.beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-6};
    ASSERT_OK(mb_optimizer_init(&s.optimizer, mb_model_params(s.model), &options, &error), error);
    return s;
}

static void free_subject(subject *s) {
    mb_optimizer_free(&s->optimizer);
    mb_model_free(s->model);
}

static void set_numbers(subject *s, int64_t step) {
    const mb_params *params = mb_model_params(s->model);
    for (size_t v = 0; v < params->n_views; v++) {
        for (int64_t i = params->views[v].offset; i < params->views[v].offset + params->views[v].count; i++) {
            params->weights[i] = (float)(i + step) / 3;
            s->optimizer.moment1[i] = (float)(i + step) / 7;
            s->optimizer.moment2[i] = (float)(i + step) / 11;
        }
    }
}

static void save_at(const char *dir, subject *s, int64_t step, int64_t keep) {
    mb_error error;
    const mb_train_state state = state_at(step);
    set_numbers(s, step);
    ASSERT_OK(mb_checkpoint_save(dir, s->model, &s->optimizer, &state, keep, &error), error);
}

static void assert_loads(const char *dir, int64_t expected_step, int expected_warnings) {
    subject loaded = make_subject(), expected = make_subject();
    set_numbers(&expected, expected_step);
    warnings w = {0};
    const mb_job job = {.user = &w, .message = note_warning};
    mb_train_state state = {0};
    bool found = false;
    mb_error error;
    ASSERT_OK(mb_checkpoint_load_newest(dir, loaded.model, &loaded.optimizer, &state, &found, &job, &error), error);
    cr_assert(found);
    cr_assert_eq(w.n, expected_warnings, "%d warnings, the last '%s'", w.n, w.last);
    const mb_train_state wanted = state_at(expected_step);
    cr_assert_eq(state.step, wanted.step);
    cr_assert_eq(state.n_tokens_seen, wanted.n_tokens_seen);
    cr_assert_eq(state.elapsed_seconds, wanted.elapsed_seconds);
    cr_assert_eq(state.seed, wanted.seed);
    cr_assert_eq(state.corpus_fingerprint, wanted.corpus_fingerprint);
    cr_assert_eq(state.tokenizer_fingerprint, wanted.tokenizer_fingerprint);
    cr_assert_eq(loaded.optimizer.step, expected_step);
    const mb_params *a = mb_model_params(loaded.model), *b = mb_model_params(expected.model);
    const size_t n_bytes = (size_t)a->count * sizeof(mb_real);
    cr_assert(memcmp(a->weights, b->weights, n_bytes) == 0, "other weights");
    cr_assert(memcmp(loaded.optimizer.moment1, expected.optimizer.moment1, n_bytes) == 0, "other first moments");
    cr_assert(memcmp(loaded.optimizer.moment2, expected.optimizer.moment2, n_bytes) == 0, "other second moments");
    free_subject(&loaded);
    free_subject(&expected);
}

/* Turns one bit of a file of a checkpoint. */
static void damage(const char *dir, int64_t step, const char *name, double where) {
    char *checkpoint = mb_checkpoint_path(dir, "", step), *path = mb_path_join(checkpoint, name);
    mb_buffer bytes = read_file(checkpoint, name);
    FILE *file = fopen(path, "r+b");
    cr_assert_not_null(file);
    long at = (long)(where * (double)(bytes.n_bytes - 1));
    cr_assert_eq(fseek(file, at, SEEK_SET), 0);
    cr_assert_neq(fputc(bytes.data[at] ^ 1, file), EOF);
    cr_assert_eq(fclose(file), 0);
    mb_buffer_free(&bytes);
    free(checkpoint);
    free(path);
}

Test(checkpoint, comes_back_to_the_last_bit) {
    char *dir = make_dir();
    subject s = make_subject();
    save_at(dir, &s, 7, 2);
    assert_loads(dir, 7, 0);
    free_subject(&s);
    remove_dir(dir);
}

Test(checkpoint, only_the_newest_are_kept_and_a_step_can_be_saved_again) {
    char *dir = make_dir();
    subject s = make_subject();
    mb_error error;
    for (int64_t step = 1; step <= 4; step++) {
        save_at(dir, &s, step, 2);
    }
    save_at(dir, &s, 4, 2);
    int64_t *steps = NULL;
    size_t n = 0;
    ASSERT_OK(mb_checkpoint_list(dir, &steps, &n, &error), error);
    cr_assert_eq(n, 2);
    cr_assert_eq(steps[0], 4);
    cr_assert_eq(steps[1], 3);
    free(steps);
    assert_loads(dir, 4, 0);
    free_subject(&s);
    remove_dir(dir);
}

Test(checkpoint, a_damaged_one_is_reported_and_the_one_before_is_used) {
    static const struct {
        const char *name;
        double where; /* fraction of the file */
    } damages[] = {{"model.safetensors", 0.9}, {"model.safetensors", 0.01}, {"optimizer.safetensors", 0.5},
                   {"config.json", 0.5},       {"state.json", 0.3},         {"state.json", 0.9}};
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        char *dir = make_dir();
        subject s = make_subject();
        save_at(dir, &s, 1, 2);
        save_at(dir, &s, 2, 2);
        damage(dir, 2, damages[i].name, damages[i].where);
        assert_loads(dir, 1, 1);
        free_subject(&s);
        remove_dir(dir);
    }
}

Test(checkpoint, what_a_crash_left_behind_is_not_a_checkpoint) {
    char *dir = make_dir();
    subject s = make_subject();
    mb_error error;
    save_at(dir, &s, 1, 2);
    char *leftover = mb_checkpoint_path(dir, ".new-", 2);
    ASSERT_OK(mb_dir_make(leftover, &error), error);
    assert_loads(dir, 1, 0);
    save_at(dir, &s, 3, 2);
    cr_assert(!mb_path_exists(leftover), "the next save clears it away");
    free(leftover);
    free_subject(&s);
    remove_dir(dir);
}

Test(checkpoint, none_is_not_an_error_but_only_broken_ones_are) {
    char *dir = make_dir();
    subject s = make_subject();
    mb_train_state state = {0};
    bool found = true;
    mb_error error;
    ASSERT_OK(mb_checkpoint_load_newest(dir, s.model, &s.optimizer, &state, &found, NULL, &error), error);
    cr_assert(!found);
    save_at(dir, &s, 1, 2);
    damage(dir, 1, "model.safetensors", 0.5);
    cr_assert_eq(mb_checkpoint_load_newest(dir, s.model, &s.optimizer, &state, &found, NULL, &error), MB_ERROR_FORMAT);
    free_subject(&s);
    remove_dir(dir);
}

Test(checkpoint, another_shape_is_refused_by_the_name_of_the_difference) {
    char *dir = make_dir();
    subject s = make_subject();
    save_at(dir, &s, 1, 2);
    mb_model_config config;
    mb_error error;
    ASSERT_OK(mb_model_config_copy(mb_model_get_config(s.model), &config, &error), error);
    config.intermediate_size += 8;
    mb_model_free(s.model);
    ASSERT_OK(mb_model_new(&config, MB_HEAD_MASKED_LM, 1, &s.model, &error), error);
    mb_model_config_free(&config);
    mb_train_state state = {0};
    bool found = false;
    cr_assert_eq(mb_checkpoint_load_newest(dir, s.model, &s.optimizer, &state, &found, NULL, &error), MB_ERROR_MISMATCH);
    cr_assert_not_null(strstr(error.message, "intermediate_size is 64, this run's is 72"), "%s", error.message);
    free_subject(&s);
    remove_dir(dir);
}

Test(checkpoint, is_a_model_directory) {
    char *dir = make_dir();
    subject s = make_subject();
    mb_error error;
    mb_model *model = NULL;
    save_at(dir, &s, 1, 2);
    char *path = mb_checkpoint_path(dir, "", 1);
    ASSERT_OK(mb_model_load(path, MB_HEAD_MASKED_LM, NULL, 0, false, &model, &error), error);
    cr_assert_eq(mb_model_n_new_views(model), 0);
    mb_model_free(model);
    free(path);
    free_subject(&s);
    remove_dir(dir);
}
