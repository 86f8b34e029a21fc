#include "data/labelled.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/file.h"
#include "data/labelled_format.h"
#include "data/text_check.h"

const char *const mb_task_names[] = {"classify", "pair", NULL};

/* The columns of each kind. A new kind is a row here and, where its label is more than a text (a score, a set of labels), a
 * member of mb_example that add_example fills. */
static const mb_columns columns_of_kind[] = {
    [MB_TASK_CLASSIFY] = {{[MB_FIELD_LABEL] = "label", [MB_FIELD_TEXT_A] = "text"}},
    [MB_TASK_PAIR] = {{[MB_FIELD_LABEL] = "label", [MB_FIELD_TEXT_A] = "text_a", [MB_FIELD_TEXT_B] = "text_b"}},
};
enum { N_KINDS = sizeof(columns_of_kind) / sizeof(columns_of_kind[0]) };

/* What mb_labelled.reader is. */
typedef struct reader {
    mb_labelled_format format;
    mb_arena storage; /* the texts of the examples */
    size_t capacity;  /* of the examples */
    bool had_any;     /* of them, there still or cleared */
} reader;

static mb_status out_of_memory(const char *name, mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "cannot read '%s': out of memory", name);
}

/* Copies one example's fields into one piece of memory. */
static mb_status add_example(void *context, const mb_span fields[MB_N_FIELDS], int64_t line, mb_error *error) {
    mb_labelled *out = context;
    reader *r = out->reader;
    const mb_span *label = &fields[MB_FIELD_LABEL];
    if (r->format.labels_required && label->n_bytes == 0) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %" PRId64 " has an empty label", out->path, line);
    }
    if (label->n_bytes > 0 && (memchr(label->text, '\t', label->n_bytes) || memchr(label->text, '\n', label->n_bytes))) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %" PRId64 " has a label with a tab or line end in it",
                       out->path, line);
    }
    if (out->n == r->capacity) {
        const size_t capacity = out->n + out->n / 2 + 256;
        mb_example *grown = realloc(out->examples, capacity * sizeof(*grown));
        if (grown == NULL) {
            return out_of_memory(out->path, error);
        }
        out->examples = grown;
        r->capacity = capacity;
    }
    size_t n_bytes = 0;
    for (int i = 0; i < MB_N_FIELDS; i++) {
        n_bytes += fields[i].text == NULL ? 0 : fields[i].n_bytes + 1;
    }
    char *memory = mb_arena_alloc(&r->storage, n_bytes);
    if (memory == NULL) {
        return out_of_memory(out->path, error);
    }
    const char *texts[MB_N_FIELDS] = {NULL};
    for (int i = 0; i < MB_N_FIELDS; i++) {
        if (fields[i].text != NULL) {
            memcpy(memory, fields[i].text, fields[i].n_bytes);
            memory[fields[i].n_bytes] = '\0';
            texts[i] = memory;
            memory += fields[i].n_bytes + 1;
        }
    }
    out->examples[out->n++] = (mb_example){
        .label = label->n_bytes > 0 ? texts[MB_FIELD_LABEL] : NULL,
        .text_a = texts[MB_FIELD_TEXT_A],
        .text_b = texts[MB_FIELD_TEXT_B],
        .line = line,
    };
    r->had_any = true;
    return MB_OK;
}

/* Labels and texts are written to JSON and compared, so unlike a corpus they must be sound UTF-8. */
static mb_status check_text(const mb_labelled *labelled, const char *text, size_t n_bytes, mb_error *error) {
    const reader *r = labelled->reader;
    mb_text_check check = {0};
    mb_text_check_range((const unsigned char *)text, n_bytes, 0, n_bytes, &check);
    if (check.n_nul == 0 && check.n_malformed == 0) {
        return MB_OK;
    }
    return mb_fail(error, MB_ERROR_FORMAT,
                   check.n_nul > 0 ? "cannot read '%s': line %" PRId64 " holds a NUL byte, so it is no text file"
                                   : "cannot read '%s': line %" PRId64 " is not UTF-8; convert it, e.g. with iconv -t UTF-8",
                   labelled->path, r->format.n_lines + 1);
}

mb_status mb_labelled_begin(const char *name, mb_task_kind kind, bool labels_required, mb_labelled *out, mb_error *error) {
    reader *r = calloc(1, sizeof *r);
    *out = (mb_labelled){.path = strdup(name), .reader = r};
    if (out->path == NULL || r == NULL) {
        mb_labelled_free(out);
        return out_of_memory(name, error);
    }
    r->format = (mb_labelled_format){.name = out->path,
                                     .labels_required = labels_required,
                                     .choices = columns_of_kind,
                                     .n_choices = N_KINDS,
                                     .columns = kind == MB_TASK_ANY ? NULL : &columns_of_kind[kind]};
    return MB_OK;
}

mb_status mb_labelled_add_line(mb_labelled *labelled, const char *text, size_t n_bytes, mb_error *error) {
    reader *r = labelled->reader;
    mb_status status = check_text(labelled, text, n_bytes, error);
    mb_span line = {text, n_bytes};
    if (r->format.n_lines == 0 && n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        line = (mb_span){text + 3, n_bytes - 3};
    }
    if (line.n_bytes > 0 && line.text[line.n_bytes - 1] == '\r') {
        line.n_bytes--;
    }
    return status == MB_OK ? mb_labelled_read_line(&r->format, line, add_example, labelled, error) : status;
}

void mb_labelled_clear(mb_labelled *labelled) {
    reader *r = labelled->reader;
    labelled->n = 0;
    mb_arena_reset(&r->storage);
}

mb_status mb_labelled_end(const mb_labelled *labelled, mb_error *error) {
    reader *r = labelled->reader;
    mb_status status = mb_labelled_end_lines(&r->format, error);
    if (status == MB_OK && !r->had_any) {
        status = mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': it holds no examples", labelled->path);
    }
    return status;
}

mb_status mb_labelled_parse(const char *name, const char *text, size_t n_bytes, mb_task_kind kind, bool labels_required,
                            mb_labelled *out, mb_error *error) {
    mb_status status = mb_labelled_begin(name, kind, labels_required, out, error);
    if (status != MB_OK) {
        return status;
    }
    const char *const end = text + n_bytes;
    while (status == MB_OK && text < end) {
        const char *feed = memchr(text, '\n', (size_t)(end - text));
        status = mb_labelled_add_line(out, text, (size_t)((feed == NULL ? end : feed) - text), error);
        text = feed == NULL ? end : feed + 1;
    }
    status = status == MB_OK ? mb_labelled_end(out, error) : status;
    if (status != MB_OK) {
        mb_labelled_free(out);
    }
    return status;
}

mb_status mb_labelled_load(const char *path, mb_task_kind kind, bool labels_required, mb_labelled *out, mb_error *error) {
    *out = (mb_labelled){0};
    const bool is_stdin = strcmp(path, "-") == 0;
    mb_buffer text = {0};
    mb_status status = mb_file_read(is_stdin ? "/dev/stdin" : path, &text, error);
    if (status == MB_OK) {
        status = mb_labelled_parse(is_stdin ? "standard input" : path, text.data == NULL ? "" : text.data, text.n_bytes, kind,
                                   labels_required, out, error);
    }
    mb_buffer_free(&text);
    return status;
}

void mb_labelled_free(mb_labelled *labelled) {
    reader *r = labelled->reader;
    if (r != NULL) {
        mb_arena_free(&r->storage);
    }
    free(r);
    free(labelled->examples);
    free(labelled->path);
    *labelled = (mb_labelled){0};
}

static int compare_labels(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

mb_status mb_labelled_label_names(const mb_labelled *labelled, const char ***names, int32_t *n_names, mb_error *error) {
    *names = NULL;
    *n_names = 0;
    const char **sorted = calloc(labelled->n + 1, sizeof(*sorted));
    if (sorted == NULL) {
        return out_of_memory(labelled->path, error);
    }
    size_t n = 0;
    for (size_t i = 0; i < labelled->n; i++) {
        if (labelled->examples[i].label != NULL) {
            sorted[n++] = labelled->examples[i].label;
        }
    }
    qsort(sorted, n, sizeof(*sorted), compare_labels);
    size_t n_distinct = 0;
    for (size_t i = 0; i < n; i++) {
        if (n_distinct == 0 || strcmp(sorted[n_distinct - 1], sorted[i]) != 0) {
            sorted[n_distinct++] = sorted[i];
        }
    }
    if (n_distinct > INT32_MAX) {
        free(sorted);
        return mb_fail(error, MB_ERROR_FORMAT, "cannot use '%s': it has too many labels", labelled->path);
    }
    *names = sorted;
    *n_names = (int32_t)n_distinct;
    return MB_OK;
}

int32_t mb_label_index(const char *const *names, int32_t n_names, const char *label) {
    const char *const *found = bsearch(&label, names, (size_t)n_names, sizeof(*names), compare_labels);
    return found == NULL ? -1 : (int32_t)(found - names);
}
