#include "train/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/safetensors.h"
#include "train/checkpoint_files.h"

static const char *const moment_prefixes[] = {"moment1.", "moment2."};
enum { N_MOMENTS = 2, MAX_NAME = 128 };

static void moment_name(char out[MAX_NAME], int moment, const mb_param *view) {
    snprintf(out, MAX_NAME, "%s%s", moment_prefixes[moment], view->name);
}

static int64_t moment_count(const mb_optimizer *optimizer, int moment, const mb_param *view) {
    return moment == 0 ? view->count : mb_optimizer_moment2_count(optimizer, view);
}

/* --- saving --- */

static mb_status save_moments(const char *dir, const mb_params *params, const mb_optimizer *optimizer, mb_error *error) {
    const size_t most = N_MOMENTS * params->n_views;
    mb_safetensors_entry *entries = calloc(most + 1, sizeof *entries);
    char(*names)[MAX_NAME] = calloc(most + 1, sizeof *names);
    char *path = mb_path_join(dir, "optimizer.safetensors");
    mb_status status = MB_OK;
    if (entries == NULL || names == NULL || path == NULL) {
        status = mb_fail(error, MB_ERROR_MEMORY, "cannot save a checkpoint in '%s': out of memory", dir);
    } else {
        for (size_t i = 0; i < most; i++) {
            const mb_param *view = &params->views[i % params->n_views];
            const int moment = (int)(i / params->n_views);
            moment_name(names[i], moment, view);
            entries[i] = (mb_safetensors_entry){.name = names[i], .n_dims = view->n_dims};
            memcpy(entries[i].dims, view->dims, sizeof view->dims);
            if (moment_count(optimizer, moment, view) < view->count) { /* one number a row */
                entries[i].n_dims = 1;
            }
            entries[i].data = (moment == 0 ? optimizer->moment1 : optimizer->moment2) + view->offset;
        }
        status = mb_safetensors_save(path, entries, most, error);
    }
    free(entries);
    free(names);
    free(path);
    return status;
}

/* The new directory takes its name in one rename; one of the same step is first moved aside, never half overwritten. */
static mb_status publish(const char *fresh, const char *final, const char *old, mb_error *error) {
    mb_status status = mb_dir_sync(fresh, error);
    if (status == MB_OK && mb_path_exists(final)) {
        status = mb_path_rename(final, old, error);
    }
    status = status == MB_OK ? mb_path_rename(fresh, final, error) : status;
    return status == MB_OK ? mb_path_remove(old, error) : status;
}

static mb_status remove_all_but(const char *out_dir, int64_t keep, mb_error *error) {
    int64_t *steps = NULL;
    size_t n = 0;
    mb_status status = mb_checkpoint_list(out_dir, &steps, &n, error);
    for (size_t i = keep < 1 ? 1 : (size_t)keep; i < n && status == MB_OK; i++) {
        char *path = mb_checkpoint_path(out_dir, "", steps[i]);
        status = path == NULL ? mb_fail(error, MB_ERROR_MEMORY, "out of memory") : mb_path_remove(path, error);
        free(path);
    }
    free(steps);
    return status;
}

mb_status mb_checkpoint_save(const char *out_dir, const mb_model *model, const mb_optimizer *optimizer,
                             const mb_train_state *state, int64_t keep, mb_error *error) {
    char *fresh = mb_checkpoint_path(out_dir, ".new-", state->step), *old = mb_checkpoint_path(out_dir, ".old-", state->step);
    char *final = mb_checkpoint_path(out_dir, "", state->step);
    mb_status status = MB_OK;
    if (fresh == NULL || old == NULL || final == NULL) {
        status = mb_fail(error, MB_ERROR_MEMORY, "cannot save a checkpoint in '%s': out of memory", out_dir);
    }
    status = status == MB_OK ? mb_checkpoint_sweep(out_dir, error) : status;
    status = status == MB_OK ? mb_dir_make(fresh, error) : status;
    status = status == MB_OK ? mb_model_save(model, fresh, error) : status;
    status = status == MB_OK ? save_moments(fresh, mb_model_params((mb_model *)(uintptr_t)model), optimizer, error) : status;
    status = status == MB_OK ? mb_checkpoint_seal(fresh, state, error) : status;
    status = status == MB_OK ? publish(fresh, final, old, error) : status;
    status = status == MB_OK ? remove_all_but(out_dir, keep, error) : status;
    if (status != MB_OK && fresh != NULL) {
        mb_path_remove(fresh, NULL); /* the first error is the one to report */
    }
    free(fresh);
    free(old);
    free(final);
    return status;
}

/* --- loading --- */

mb_status mb_model_config_match(const mb_model_config *wanted, const mb_model_config *found, const char *found_in,
                                mb_error *error) {
    const struct {
        const char *name;
        int32_t wanted, found;
    } dims[] = {
        {"vocab_size", wanted->vocab_size, found->vocab_size},
        {"num_hidden_layers", wanted->n_layers, found->n_layers},
        {"hidden_size", wanted->hidden_size, found->hidden_size},
        {"num_attention_heads", wanted->n_heads, found->n_heads},
        {"intermediate_size", wanted->intermediate_size, found->intermediate_size},
        {"max_position_embeddings", wanted->max_positions, found->max_positions},
        {"type_vocab_size", wanted->type_vocab_size, found->type_vocab_size},
    };
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        if (dims[i].wanted != dims[i].found) {
            return mb_fail(error, MB_ERROR_MISMATCH,
                           "'%s' holds another model: its %s is %d, this run's is %d; resume with the options it was started "
                           "with, or give another --out",
                           found_in, dims[i].name, (int)dims[i].found, (int)dims[i].wanted);
        }
    }
    return MB_OK;
}

static mb_status check_shape(const char *dir, const mb_model *model, mb_error *error) {
    char *path = mb_path_join(dir, "config.json");
    if (path == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    mb_model_config config = {0};
    mb_status status = mb_model_config_load(path, &config, error);
    if (status == MB_OK) {
        status = mb_model_config_match(mb_model_get_config(model), &config, dir, error);
        mb_model_config_free(&config);
    }
    free(path);
    return status;
}

/* One moment of one view. One of another size: the view was another optimizer's. */
static mb_status read_moment(const mb_safetensors *file, const mb_param *view, int moment, mb_optimizer *optimizer,
                             mb_error *error) {
    char name[MAX_NAME];
    moment_name(name, moment, view);
    const mb_safetensor *tensor = mb_safetensors_find(file, name);
    const int64_t count = moment_count(optimizer, moment, view);
    if (tensor == NULL || tensor->n_dims != (count < view->count ? 1 : view->n_dims)) {
        return mb_fail(error, MB_ERROR_MISMATCH,
                       "'%s' has no '%s' that fits: it was made with another --optimizer than %s, or by an older minibert; "
                       "resume with that, "
                       "or begin a run with --init and another --out",
                       file->path, name, mb_optimizer_names[optimizer->options.kind]);
    }
    mb_real *out = (moment == 0 ? optimizer->moment1 : optimizer->moment2) + view->offset;
    return mb_safetensors_read(file, tensor, out, count, error);
}

static mb_status read_moments(const char *dir, const mb_params *params, mb_optimizer *optimizer, mb_error *error) {
    char *path = mb_path_join(dir, "optimizer.safetensors");
    mb_safetensors file = {0};
    mb_status status =
        path == NULL ? mb_fail(error, MB_ERROR_MEMORY, "out of memory") : mb_safetensors_open(path, &file, error);
    if (status == MB_OK) {
        for (size_t i = 0; i < N_MOMENTS * params->n_views && status == MB_OK; i++) {
            status = read_moment(&file, &params->views[i / N_MOMENTS], (int)(i % N_MOMENTS), optimizer, error);
        }
        mb_safetensors_close(&file);
    }
    free(path);
    return status;
}

static mb_status load_whole(const char *dir, mb_model *model, mb_optimizer *optimizer, mb_error *error) {
    mb_status status = check_shape(dir, model, error);
    char *weights = mb_path_join(dir, "model.safetensors");
    if (status == MB_OK && weights == NULL) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    status = status == MB_OK ? mb_model_load_weights(model, weights, error) : status;
    free(weights);
    return status == MB_OK ? read_moments(dir, mb_model_params(model), optimizer, error) : status;
}

mb_status mb_checkpoint_load_newest(const char *out_dir, mb_model *model, mb_optimizer *optimizer, mb_train_state *state,
                                    bool *found, const mb_job *job, mb_error *error) {
    *found = false;
    int64_t *steps = NULL;
    size_t n = 0;
    mb_status status = mb_checkpoint_list(out_dir, &steps, &n, error);
    for (size_t i = 0; i < n && status == MB_OK && !*found; i++) {
        char *dir = mb_checkpoint_path(out_dir, "", steps[i]);
        mb_error broken = {0};
        if (dir == NULL) {
            status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
        } else if (mb_checkpoint_verify(dir, state, &broken) == MB_OK) {
            status = load_whole(dir, model, optimizer, error);
            optimizer->step = state->step;
            *found = status == MB_OK;
        } else if (broken.status == MB_ERROR_MEMORY) {
            status = mb_fail(error, broken.status, "%s", broken.message);
        } else {
            mb_job_message(job, MB_LEVEL_WARNING, "%s; trying the checkpoint before it", broken.message);
        }
        free(dir);
    }
    free(steps);
    if (status == MB_OK && n > 0 && !*found) {
        status =
            mb_fail(error, MB_ERROR_FORMAT, "no checkpoint in '%s/checkpoints' is whole: remove it to start anew", out_dir);
    }
    return status;
}
