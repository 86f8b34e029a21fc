#include "tasks/trained_task.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

const char *const mb_trained_task_names[] = {"auto", "classify", "pair", NULL};

static mb_status read_task(const char *dir, mb_task_kind *out, mb_error *error) {
    char *path = mb_path_join(dir, "training.json");
    json_t *record = NULL;
    const char *name = NULL;
    bool found = false;
    if (path == NULL) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    mb_status status = MB_OK;
    if (mb_path_exists(path)) {
        status = mb_json_load(path, &record, error);
        status = status == MB_OK ? mb_json_get_text(record, path, "task", &name, error) : status;
    }
    for (int i = 0; status == MB_OK && name != NULL && !found; i++) {
        if (mb_task_names[i] == NULL) {
            status = mb_fail(error, MB_ERROR_FORMAT, "cannot use '%s': unknown task '%.50s'", path, name);
        } else if (strcmp(mb_task_names[i], name) == 0) {
            *out = (mb_task_kind)i;
            found = true;
        }
    }
    json_decref(record);
    free(path);
    return status;
}

mb_status mb_trained_task(const char *dir, int choice, mb_task_kind *out, mb_error *error) {
    *out = (mb_task_kind)(choice - 1); /* "auto" is MB_TASK_ANY */
    return choice > 0 ? MB_OK : read_task(dir, out, error);
}
