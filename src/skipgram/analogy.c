#include "skipgram/analogy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "skipgram/text_words.h"
#include "skipgram/word_lookup.h"
#include "tensor/gemm.h"

static const char *const method_names[] = {"add", "multiply", NULL};

#define FIELD(name) offsetof(mb_analogy_options, name)
const mb_option mb_analogy_option_table[] = {
    {.name = "vectors",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(vectors),
     .argument = "FILE",
     .help = "word vectors: word2vec text or binary, or npy with FILE.vocab beside it",
     .required = true},
    {.name = "method",
     .type = MB_OPTION_CHOICE,
     .offset = FIELD(method),
     .default_text = "add",
     .choices = method_names,
     .help = "how cosines are joined: 3CosAdd or 3CosMul"},
    {.name = "restrict",
     .type = MB_OPTION_INT,
     .offset = FIELD(restrict_words),
     .default_text = "30000",
     .argument = "N",
     .help = "the answer is one of the first N words; 0: of all",
     .min = 0,
     .max = 4e9},
    {.name = "questions",
     .type = MB_OPTION_TEXT,
     .offset = FIELD(questions),
     .argument = "QUESTIONS",
     .help = "four words a line, ': name' before a section",
     .required = true,
     .positional = true},
    {0},
};

enum { BLOCK_CANDIDATES = 2048, BLOCK_CUES = 64, SECTION_NAME_BYTES = 128 };

typedef struct question {
    int32_t section;
    int32_t cue[3]; /* a, b, c as numbers of cues */
    uint32_t row[4];
    float best;
    uint32_t answer;
} question;

typedef struct score {
    int64_t correct, asked, passed_over;
} score;

typedef struct section {
    char name[SECTION_NAME_BYTES];
    score score;
} section;

typedef struct analogies {
    const mb_analogy_options *options;
    const mb_word_lookup *lookup;
    int64_t n_candidates;
    question *questions;
    int64_t n_questions, question_capacity;
    section *sections;
    int64_t n_sections;
    int32_t *cue_of_row; /* n_candidates; -1: the word is in no question */
    uint32_t *cue_rows;  /* the different words of all questions */
    int64_t n_cues;
} analogies;

static void analogies_free(analogies *a) {
    free(a->questions);
    free(a->sections);
    free(a->cue_of_row);
    free(a->cue_rows);
}

static mb_status out_of_memory(const analogies *a, mb_error *error) {
    return mb_fail(error, MB_ERROR_MEMORY, "out of memory for the questions of '%s'", a->options->questions);
}

/* --- questions --- */

static bool add_section(analogies *a, const unsigned char *name, size_t n_bytes) {
    section *sections = realloc(a->sections, (size_t)(a->n_sections + 1) * sizeof *sections);
    if (!sections) {
        return false;
    }
    a->sections = sections;
    section *added = &sections[a->n_sections++];
    *added = (section){0};
    n_bytes = n_bytes < SECTION_NAME_BYTES - 1 ? n_bytes : SECTION_NAME_BYTES - 1;
    while (n_bytes > 0 && (name[n_bytes] & 0xC0) == 0x80) {
        n_bytes--;
    }
    memcpy(added->name, name, n_bytes);
    return true;
}

static bool add_question(analogies *a, const mb_text_word *words) {
    question q = {.section = (int32_t)(a->n_sections - 1), .best = -INFINITY, .answer = UINT32_MAX};
    for (int k = 0; k < 4; k++) {
        const int64_t row = mb_word_lookup_find(a->lookup, words[k].bytes, words[k].n_bytes);
        if (row < 0 || row >= a->n_candidates) {
            a->sections[q.section].score.passed_over++;
            return true;
        }
        q.row[k] = (uint32_t)row;
    }
    if (a->n_questions == a->question_capacity) {
        const int64_t capacity = a->question_capacity ? 2 * a->question_capacity : 4096;
        question *questions = realloc(a->questions, (size_t)capacity * sizeof *questions);
        if (!questions) {
            return false;
        }
        a->questions = questions;
        a->question_capacity = capacity;
    }
    for (int k = 0; k < 3; k++) {
        if (a->cue_of_row[q.row[k]] < 0) {
            a->cue_of_row[q.row[k]] = (int32_t)a->n_cues;
            a->cue_rows[a->n_cues++] = q.row[k];
        }
        q.cue[k] = a->cue_of_row[q.row[k]];
    }
    a->questions[a->n_questions++] = q;
    return true;
}

static mb_status read_line(analogies *a, const unsigned char *at, const unsigned char *end, int64_t line, mb_error *error) {
    mb_text_word words[5] = {{0}};
    int n = 0;
    while (n < 5 && mb_text_next_word(&at, end, end, &words[n])) {
        n++;
    }
    if (n == 0) {
        return MB_OK;
    }
    bool fine = true;
    if (words[0].bytes[0] == ':') {
        const unsigned char *name = words[0].n_bytes > 1 ? words[0].bytes + 1 : n > 1 ? words[1].bytes : end;
        while (end > name && mb_is_white(end[-1])) {
            end--;
        }
        fine = add_section(a, name, (size_t)(end - name));
    } else if (n != 4) {
        return mb_fail(error, MB_ERROR_FORMAT, "cannot read '%s': line %lld is neither four words nor ': section'",
                       a->options->questions, (long long)line);
    } else {
        fine = (a->n_sections > 0 || add_section(a, (const unsigned char *)"", 0)) && add_question(a, words);
    }
    return fine ? MB_OK : out_of_memory(a, error);
}

static mb_status read_questions(analogies *a, mb_error *error) {
    mb_map map;
    mb_status status = mb_map_open(a->options->questions, &map, error);
    if (status != MB_OK) {
        return status;
    }
    const unsigned char *at = map.data, *end = map.data + map.n_bytes;
    for (int64_t line = 1; status == MB_OK && at < end; line++) {
        const unsigned char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        status = read_line(a, at, stop, line, error);
        at = stop < end ? stop + 1 : end;
    }
    mb_map_close(&map);
    if (status == MB_OK && a->n_sections == 0) {
        return mb_fail(error, MB_ERROR_FORMAT, "'%s' has no questions", a->options->questions);
    }
    return status;
}

/* --- answers --- */

static float join(int method, float a, float b, float c) {
    if (method == MB_ANALOGY_ADD) {
        return b - a + c;
    }
    const float epsilon = 0.001f; /* Levy & Goldberg's */
    return (1 + b) * (1 + c) / (4 * ((1 + a) / 2 + epsilon));
}

/* `cosines`: (n_cues, n) of all cues with candidates [begin, begin + n). */
static void offer(const analogies *a, question *q, const float *cosines, int64_t begin, int64_t n) {
    const float *to_a = cosines + q->cue[0] * n, *to_b = cosines + q->cue[1] * n, *to_c = cosines + q->cue[2] * n;
    for (int64_t i = 0; i < n; i++) {
        const float value = join(a->options->method, to_a[i], to_b[i], to_c[i]);
        const uint32_t row = (uint32_t)(begin + i);
        if (value > q->best && row != q->row[0] && row != q->row[1] && row != q->row[2]) {
            q->best = value;
            q->answer = row;
        }
    }
}

static mb_status answer(analogies *a, mb_error *error) {
    const int64_t width = a->lookup->vectors->width;
    const float *data = a->lookup->vectors->data;
    float *cues = malloc((size_t)a->n_cues * (size_t)width * sizeof *cues + 1);
    float *cosines = malloc((size_t)a->n_cues * BLOCK_CANDIDATES * sizeof *cosines + 1);
    if (!cues || !cosines) {
        free(cues);
        free(cosines);
        return out_of_memory(a, error);
    }
    for (int64_t i = 0; i < a->n_cues; i++) {
        memcpy(cues + i * width, data + a->cue_rows[i] * width, (size_t)width * sizeof *cues);
    }
    for (int64_t begin = 0; a->n_cues > 0 && begin < a->n_candidates; begin += BLOCK_CANDIDATES) {
        const int64_t n = a->n_candidates - begin < BLOCK_CANDIDATES ? a->n_candidates - begin : BLOCK_CANDIDATES;
#pragma omp parallel for schedule(static)
        for (int64_t cue = 0; cue < a->n_cues; cue += BLOCK_CUES) {
            const int64_t m = a->n_cues - cue < BLOCK_CUES ? a->n_cues - cue : BLOCK_CUES;
            mb_gemm(false, true, m, n, width, 1, cues + cue * width, width, data + begin * width, width, 0, cosines + cue * n,
                    n);
        }
#pragma omp parallel for schedule(static)
        for (int64_t k = 0; k < a->n_questions; k++) {
            offer(a, &a->questions[k], cosines, begin, n);
        }
    }
    free(cues);
    free(cosines);
    for (int64_t k = 0; k < a->n_questions; k++) {
        score *s = &a->sections[a->questions[k].section].score;
        s->asked++;
        s->correct += a->questions[k].answer == a->questions[k].row[3];
    }
    return MB_OK;
}

/* --- the result --- */

static void add_score(score *to, const score *from) {
    to->correct += from->correct;
    to->asked += from->asked;
    to->passed_over += from->passed_over;
}

static json_t *score_json(const score *s) {
    return json_pack("{s:I, s:I, s:I, s:o}", "correct", (json_int_t)s->correct, "asked", (json_int_t)s->asked, "passed_over",
                     (json_int_t)s->passed_over, "accuracy",
                     s->asked ? json_real((double)s->correct / (double)s->asked) : json_null());
}

static mb_status describe(const analogies *a, json_t **result, mb_error *error) {
    score total = {0}, semantic = {0}, syntactic = {0};
    json_t *sections = json_array();
    bool fine = sections;
    for (int64_t i = 0; i < a->n_sections; i++) {
        const section *s = &a->sections[i];
        json_t *object = score_json(&s->score), *named = json_object();
        add_score(&total, &s->score);
        add_score(strncmp(s->name, "gram", 4) == 0 ? &syntactic : &semantic, &s->score);
        fine = fine && object && named &&
               json_object_set_new(named, "name", json_stringn_nocheck(s->name, strlen(s->name))) == 0 &&
               json_object_update(named, object) == 0 && json_array_append(sections, named) == 0;
        json_decref(object);
        json_decref(named);
    }
    *result = fine ? json_pack("{s:s, s:I, s:o, s:o, s:o, s:O}", "method", method_names[a->options->method], "restrict",
                               (json_int_t)a->n_candidates, "total", score_json(&total), "semantic", score_json(&semantic),
                               "syntactic", score_json(&syntactic), "sections", sections)
                   : NULL;
    json_decref(sections);
    return *result ? MB_OK : out_of_memory(a, error);
}

static mb_status run(analogies *a, json_t **result, mb_error *error) {
    const int64_t n = a->lookup->vectors->words.n, limit = a->options->restrict_words;
    a->n_candidates = limit > 0 && limit < n ? limit : n;
    a->cue_of_row = malloc((size_t)a->n_candidates * sizeof *a->cue_of_row);
    a->cue_rows = malloc((size_t)a->n_candidates * sizeof *a->cue_rows);
    if (!a->cue_of_row || !a->cue_rows) {
        return out_of_memory(a, error);
    }
    memset(a->cue_of_row, 0xFF, (size_t)a->n_candidates * sizeof *a->cue_of_row); /* -1 */
    mb_status status = read_questions(a, error);
    if (status == MB_OK) {
        status = answer(a, error);
    }
    return status == MB_OK ? describe(a, result, error) : status;
}

mb_status mb_analogy(const mb_analogy_options *options, json_t **result, mb_error *error) {
    mb_word_vectors vectors;
    mb_word_lookup lookup = {0};
    *result = NULL;
    mb_status status = mb_word_vectors_load(options->vectors, &vectors, error);
    if (status != MB_OK) {
        return status;
    }
    analogies a = {.options = options, .lookup = &lookup};
    status = mb_word_lookup_init(&lookup, &vectors, error);
    if (status == MB_OK) {
        status = run(&a, result, error);
    }
    analogies_free(&a);
    mb_word_lookup_free(&lookup);
    mb_word_vectors_free(&vectors);
    return status;
}
