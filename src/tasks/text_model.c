#include "tasks/text_model.h"

#include "tasks/tokenizer_fit.h"

static mb_status check(const mb_text_model *m, const char *dir, mb_head head, mb_error *error) {
    if (head != MB_HEAD_NONE && mb_model_n_new_views(m->model) > 0) {
        return mb_fail(error, MB_ERROR_MISMATCH, "'%s' holds no %s: the weights of its output layer are missing", dir,
                       mb_head_architecture(mb_model_get_config(m->model)->layout, head));
    }
    return mb_tokenizer_fit_check(m->tokenizer, mb_model_get_config(m->model), dir, error);
}

mb_status mb_text_model_load(const char *dir, mb_head head, const mb_job *job, mb_text_model *out, mb_error *error) {
    *out = (mb_text_model){0};
    mb_status status = mb_model_load(dir, head, NULL, 0, false, &out->model, error);
    if (status == MB_OK) {
        status = mb_tokenizer_load(dir, &out->tokenizer, error);
    }
    if (status == MB_OK) {
        status = check(out, dir, head, error);
    }
    if (status == MB_OK && job && job->bf16) {
        status = mb_model_set_dtype(out->model, MB_BF16, false, error);
    }
    if (status != MB_OK) {
        mb_text_model_free(out);
    }
    return status;
}

void mb_text_model_free(mb_text_model *model) {
    mb_model_free(model->model);
    mb_tokenizer_free(model->tokenizer);
    *model = (mb_text_model){0};
}
