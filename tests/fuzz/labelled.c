/* Any bytes as labelled examples, TSV or JSONL, of each kind, with and without labels. */
#include <string.h>

#include "data/labelled.h"
#include "fuzz/support.h"

static void use(const mb_labelled *labelled, bool has_labels) {
    size_t n_bytes = 0;
    for (size_t i = 0; i < labelled->n; i++) {
        const mb_example *example = &labelled->examples[i];
        CHECK(example->line >= 1);
        n_bytes += strlen(example->text_a) + (example->text_b ? strlen(example->text_b) : 0);
    }
    const char **names = NULL;
    int32_t n_names = 0;
    if (has_labels && mb_labelled_label_names(labelled, &names, &n_names, NULL) == MB_OK) {
        for (size_t i = 0; i < labelled->n; i++) {
            CHECK(mb_label_index(names, n_names, labelled->examples[i].label) >= 0);
        }
        free(names);
    }
    CHECK(n_bytes < (size_t)1 << 40);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    for (int kind = MB_TASK_ANY; kind < 0 || mb_task_names[kind]; kind++) {
        for (int required = 0; required < 2; required++) {
            mb_labelled labelled = {0};
            if (mb_labelled_parse("input", (const char *)data, n_bytes, (mb_task_kind)kind, required, &labelled, NULL) ==
                MB_OK) {
                use(&labelled, required);
                mb_labelled_free(&labelled);
            }
        }
    }
    return 0;
}
