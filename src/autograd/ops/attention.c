#include "autograd/ops.h"

#include <omp.h>
#include <string.h>

#include "tensor/dropout_mask.h"
#include "tensor/gemm.h"
#include "tensor/vmath.h"

/* Scaled dot-product attention inside each packed sequence (Vaswani et al. 2017, section 3.2). For one head of one sequence:
 *
 *   S = scale Q K^T     P = softmax rows of S     R = dropout(P)     O = R V
 *
 *   dV = R^T dO     dR = dO V^T     dP = mask * dR     dS = P (dP - rowsum(P dP))     dQ = scale dS K     dK = scale dS^T Q
 *
 * P is not stored: forward keeps each row's log-sum-exp and backward makes P again from Q and K (Dao et al. 2022, section 3.1).
 * The work is cut by (sequence, head); inside, queries go in blocks, so scratch is a block's rows of S and not T x T.
 *
 * Local attention (Beltagy et al. 2020, section 3.1): a block of queries is multiplied by the keys that any of them reaches,
 * and each row's softmax runs over its own; the rest of the row is 0.
 *
 * Rotary positions (Su et al. 2021, section 3.4.2): Q and K of a head are turned as they are copied out of qkv, and their
 * gradients turned back, by the negative angle, as they are added to dqkv. */

enum { QUERY_BLOCK = 128, LOCAL_QUERY_BLOCK = 64 };

typedef struct attention_saved {
    mb_sequences sequences;
    mb_attention_options options;
    int64_t width, block;
    mb_real *log_sum_exp; /* (A,N) */
    mb_dropout_site site;
    bool drops;
} attention_saved;

/* The rows and columns of one head of one sequence. */
typedef struct head_view {
    int64_t start, length; /* T tokens from this one on */
    int64_t width, size, n_tokens;
    int head;
} head_view;

static head_view view_of(const attention_saved *saved, int64_t task) {
    const mb_sequences *sequences = &saved->sequences;
    const int n_heads = saved->options.n_heads;
    int64_t b = task / n_heads;
    return (head_view){sequences->offsets[b],
                       sequences->offsets[b + 1] - sequences->offsets[b],
                       saved->width,
                       saved->width / n_heads,
                       sequences->offsets[sequences->n],
                       (int)(task % n_heads)};
}

/* A block of queries and the keys that they reach. */
typedef struct query_block {
    int64_t first, n, first_key, n_keys;
} query_block;

static query_block block_at(const attention_saved *saved, int64_t length, int64_t first) {
    const int64_t n = length - first < saved->block ? length - first : saved->block, reach = saved->options.reach;
    if (!saved->options.is_local) {
        return (query_block){first, n, 0, length};
    }
    const int64_t first_key = first > reach ? first - reach : 0;
    const int64_t end = length - (first + n) < reach ? length : first + n + reach;
    return (query_block){first, n, first_key, end - first_key};
}

/* The keys that query i of the block reaches, as columns of the block's rows. */
typedef struct columns {
    int64_t begin, end;
} columns;

static columns columns_of(const attention_saved *saved, const query_block *b, int64_t i) {
    if (!saved->options.is_local) {
        return (columns){0, b->n_keys};
    }
    const int64_t query = b->first + i - b->first_key, reach = saved->options.reach;
    return (columns){query > reach ? query - reach : 0, b->n_keys - query <= reach ? b->n_keys : query + reach + 1};
}

static void clear_other_columns(mb_real *row, columns seen, int64_t n_keys) {
    memset(row, 0, (size_t)seen.begin * sizeof *row);
    memset(row + seen.end, 0, (size_t)(n_keys - seen.end) * sizeof *row);
}

/* Row number for the dropout mask: unique for (head, query token). */
static uint32_t mask_row(const head_view *v, int64_t query) {
    return (uint32_t)(v->head * v->n_tokens + v->start + query);
}

/* One row of S to P, in place; returns log sum exp S. */
static mb_real softmax_row(mb_real *restrict s, int64_t n) {
    mb_real max = s[0], sum = 0;
#pragma omp simd reduction(max : max)
    for (int64_t j = 0; j < n; j++) {
        max = s[j] > max ? s[j] : max;
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        s[j] = mb_exp(s[j] - max);
        sum += s[j];
    }
    mb_real inverse = 1 / sum;
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        s[j] *= inverse;
    }
    return max + (mb_real)log((double)sum);
}

/* Rows of D elements each. */
typedef struct rows_view {
    const mb_real *data;
    int64_t stride;
} rows_view;

/* out = x turned by `sign` times the angles of its position; out may be x. */
static void turn(const mb_rotary_table *table, int64_t position, mb_real sign, const mb_real *x, mb_real *out) {
    const int64_t half = table->half;
    const mb_real *c = table->cosines + position * half, *s = table->sines + position * half;
#pragma omp simd
    for (int64_t j = 0; j < half; j++) {
        const mb_real left = x[j], right = x[half + j], sine = sign * s[j];
        out[j] = left * c[j] - right * sine;
        out[half + j] = right * c[j] + left * sine;
    }
}

/* Where the head's queries (or keys) are read: in qkv, or turned, in `turned` (T,D). */
static rows_view positioned(const attention_saved *saved, const head_view *v, const mb_real *rows, mb_real *turned) {
    if (saved->options.rotary == NULL) {
        return (rows_view){rows, 3 * v->width};
    }
    for (int64_t t = 0; t < v->length; t++) {
        turn(saved->options.rotary, t, 1, rows + t * 3 * v->width, turned + t * v->size);
    }
    return (rows_view){turned, v->size};
}

/* What one thread works in. */
typedef struct scratch {
    mb_real *p, *r;   /* a block's rows of P and R; r in backward alone */
    mb_real *q, *k;   /* (T,D) turned; these and the next two with rotary positions alone */
    mb_real *dq, *dk; /* a block's gradient of q, all of k's; in backward alone */
} scratch;

static void forward_head(const attention_saved *saved, const head_view *v, const mb_real *qkv, mb_real *context,
                         const scratch *mine) {
    const int64_t stride = 3 * v->width;
    const mb_real *start = qkv + v->start * stride + v->head * v->size, *value = start + 2 * v->width;
    const rows_view q = positioned(saved, v, start, mine->q), k = positioned(saved, v, start + v->width, mine->k);
    const mb_real scale = 1 / mb_sqrt((mb_real)v->size);
    for (int64_t first = 0; first < v->length; first += saved->block) {
        const query_block b = block_at(saved, v->length, first);
        mb_gemm(false, true, b.n, b.n_keys, v->size, scale, q.data + first * q.stride, q.stride,
                k.data + b.first_key * k.stride, k.stride, 0, mine->p, b.n_keys);
        for (int64_t i = 0; i < b.n; i++) {
            mb_real *row = mine->p + i * b.n_keys;
            const columns seen = columns_of(saved, &b, i);
            mb_real log_sum_exp = softmax_row(row + seen.begin, seen.end - seen.begin);
            clear_other_columns(row, seen, b.n_keys);
            if (saved->log_sum_exp != NULL) {
                saved->log_sum_exp[v->head * v->n_tokens + v->start + first + i] = log_sum_exp;
            }
            if (saved->drops) {
                mb_dropout_row(&saved->site, mask_row(v, first + i), b.n_keys, row, row);
            }
        }
        mb_gemm(false, false, b.n, v->size, b.n_keys, 1, mine->p, b.n_keys, value + b.first_key * stride, stride, 0,
                context + (v->start + first) * v->width + v->head * v->size, v->width);
    }
}

/* From dR to scale-free dS, in place, given P. */
static void softmax_backward_row(const mb_real *restrict p, mb_real *restrict d, int64_t n) {
    mb_real dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t j = 0; j < n; j++) {
        dot += p[j] * d[j];
    }
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        d[j] = p[j] * (d[j] - dot);
    }
}

/* P = exp(S - logsumexp) of a block, and R = dropout(P). */
static void probabilities_again(const attention_saved *saved, const head_view *v, const query_block *b, const scratch *mine) {
    for (int64_t i = 0; i < b->n; i++) {
        mb_real *row = mine->p + i * b->n_keys;
        const columns seen = columns_of(saved, b, i);
        mb_real log_sum_exp = saved->log_sum_exp[v->head * v->n_tokens + v->start + b->first + i];
#pragma omp simd
        for (int64_t j = seen.begin; j < seen.end; j++) {
            row[j] = mb_exp(row[j] - log_sum_exp);
        }
        clear_other_columns(row, seen, b->n_keys);
        if (saved->drops) {
            mb_dropout_row(&saved->site, mask_row(v, b->first + i), b->n_keys, row, mine->r + i * b->n_keys);
        }
    }
}

static void clear_rows(mb_real *rows, int64_t n_rows, int64_t stride, int64_t size) {
    for (int64_t t = 0; t < n_rows; t++) {
        memset(rows + t * stride, 0, (size_t)size * sizeof *rows);
    }
}

/* rows = beta rows + d turned back: the gradient of what `positioned` read. */
static void turn_back(const attention_saved *saved, int64_t first, int64_t n, int64_t size, mb_real *d, mb_real beta,
                      mb_real *rows, int64_t stride) {
    for (int64_t t = 0; t < n; t++) {
        mb_real *from = d + t * size, *to = rows + t * stride;
        turn(saved->options.rotary, first + t, -1, from, from);
        for (int64_t j = 0; j < size; j++) {
            to[j] = (beta == 0 ? 0 : to[j]) + from[j];
        }
    }
}

static void backward_head(const attention_saved *saved, const head_view *v, const mb_real *qkv, const mb_real *dcontext,
                          mb_real *dqkv, mb_real beta, const scratch *mine) {
    const bool turned = saved->options.rotary != NULL, local = saved->options.is_local;
    const int64_t stride = 3 * v->width, offset = v->start * stride + v->head * v->size;
    const mb_real *value = qkv + offset + 2 * v->width;
    const rows_view q = positioned(saved, v, qkv + offset, mine->q);
    const rows_view k = positioned(saved, v, qkv + offset + v->width, mine->k);
    mb_real *dq = dqkv + offset, *dk = turned ? mine->dk : dq + v->width, *dvalue = dq + 2 * v->width;
    const mb_real scale = 1 / mb_sqrt((mb_real)v->size);
    if (local) { /* blocks overlap in their keys, and no block sees them all: begin with zeros and add */
        clear_rows(dk, turned || beta == 0 ? v->length : 0, k.stride, v->size);
        clear_rows(dvalue, beta == 0 ? v->length : 0, stride, v->size);
    }
    for (int64_t first = 0; first < v->length; first += saved->block) {
        const query_block b = block_at(saved, v->length, first);
        const bool adds = local || first > 0; /* keys and values collect from every block of queries */
        const mb_real *dout = dcontext + (v->start + first) * v->width + v->head * v->size;
        const mb_real *block_q = q.data + first * q.stride, *block_k = k.data + b.first_key * k.stride;
        mb_gemm(false, true, b.n, b.n_keys, v->size, scale, block_q, q.stride, block_k, k.stride, 0, mine->p, b.n_keys);
        probabilities_again(saved, v, &b, mine);
        /* O = R V */
        mb_gemm(true, false, b.n_keys, v->size, b.n, 1, saved->drops ? mine->r : mine->p, b.n_keys, dout, v->width,
                adds ? 1 : beta, dvalue + b.first_key * stride, stride);
        mb_gemm(false, true, b.n, b.n_keys, v->size, 1, dout, v->width, value + b.first_key * stride, stride, 0, mine->r,
                b.n_keys);
        for (int64_t i = 0; i < b.n; i++) { /* R = dropout(P), P = softmax(S); P is 0 outside of what the query sees */
            mb_real *row = mine->r + i * b.n_keys;
            if (saved->drops) {
                mb_dropout_row(&saved->site, mask_row(v, first + i), b.n_keys, row, row);
            }
            softmax_backward_row(mine->p + i * b.n_keys, row, b.n_keys);
        }
        /* S = scale Q K^T */
        mb_gemm(false, false, b.n, v->size, b.n_keys, scale, mine->r, b.n_keys, block_k, k.stride, turned ? 0 : beta,
                turned ? mine->dq : dq + first * stride, q.stride);
        mb_gemm(true, false, b.n_keys, v->size, b.n, scale, mine->r, b.n_keys, block_q, q.stride,
                adds     ? 1
                : turned ? 0
                         : beta,
                dk + b.first_key * k.stride, k.stride);
        if (turned) {
            turn_back(saved, first, b.n, v->size, mine->dq, beta, dq + first * stride, stride);
        }
    }
    if (turned) {
        turn_back(saved, 0, v->length, v->size, dk, beta, dq + v->width, stride);
    }
}

/* The scratch of all threads, in one piece; `share` is what each gets. */
typedef struct scratch_plan {
    int64_t scores, head, block, share;
    mb_real *memory;
} scratch_plan;

static bool plan_scratch(mb_tape *tape, const attention_saved *saved, bool backward, scratch_plan *plan) {
    const int64_t longest = saved->sequences.max_length, size = saved->width / saved->options.n_heads;
    const int64_t rows = longest < saved->block ? longest : saved->block, reach = saved->options.reach;
    const int64_t keys = saved->options.is_local && 2 * reach < longest - rows ? rows + 2 * reach : longest;
    const bool turned = saved->options.rotary != NULL;
    *plan = (scratch_plan){rows * keys, turned ? longest * size : 0, turned ? rows * size : 0, 0, NULL};
    plan->share = plan->scores + 2 * plan->head + (backward ? plan->scores + plan->head + plan->block : 0);
    plan->memory = mb_tape_alloc(tape, (size_t)(omp_get_max_threads() * plan->share), sizeof *plan->memory);
    return plan->memory != NULL;
}

static scratch my_scratch(const scratch_plan *plan, bool backward) {
    mb_real *at = plan->memory + omp_get_thread_num() * plan->share;
    scratch mine = {.p = at, .q = at + plan->scores, .k = at + plan->scores + plan->head};
    if (backward) {
        mine.r = mine.k + plan->head;
        mine.dk = mine.r + plan->scores;
        mine.dq = mine.dk + plan->head;
    }
    return mine;
}

static void attention_backward(mb_tape *tape, mb_node *node) {
    const attention_saved *saved = node->saved;
    mb_tensor *qkv = node->inputs[0];
    mb_real beta;
    mb_real *dqkv = mb_tape_grad(tape, qkv, &beta);
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    scratch_plan plan;
    if (dqkv == NULL || !plan_scratch(tape, saved, true, &plan)) {
        return;
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < (int64_t)saved->sequences.n * saved->options.n_heads; task++) {
        const head_view v = view_of(saved, task);
        const scratch mine = my_scratch(&plan, true);
        backward_head(saved, &v, mb_tensor_real(qkv), node->output->grad, dqkv, beta, &mine);
    }
    mb_tape_scratch_drop(tape, mark);
}

static const mb_op attention_op = {"attention", attention_backward};

static void check_shapes(const mb_tensor *qkv, const mb_sequences *sequences, const mb_attention_options *options) {
    const int64_t width = qkv->dims[1] / 3;
    MB_SHAPE_CHECK(qkv->dims[1] == 3 * width && width % options->n_heads == 0, "attention", qkv, qkv);
    MB_SHAPE_CHECK(sequences->offsets[sequences->n] == qkv->dims[0], "attention", qkv, qkv);
    if (options->rotary != NULL) {
        MB_SHAPE_CHECK(2 * options->rotary->half == width / options->n_heads, "attention", qkv, qkv);
        MB_SHAPE_CHECK(options->rotary->n_positions >= sequences->max_length, "attention", qkv, qkv);
    }
}

static attention_saved *new_saved(mb_tape *tape, const mb_tensor *qkv, const mb_sequences *sequences,
                                  const mb_attention_options *options) {
    attention_saved *saved = mb_tape_alloc(tape, 1, sizeof *saved);
    if (saved == NULL) {
        return NULL;
    }
    *saved = (attention_saved){.sequences = *sequences,
                               .options = *options,
                               .width = qkv->dims[1] / 3,
                               .block = QUERY_BLOCK,
                               .drops = options->dropout > 0 && mb_tape_recording(tape)};
    if (saved->options.reach >= sequences->max_length - 1) { /* everything is within reach */
        saved->options.is_local = false;
    }
    if (saved->options.is_local && saved->options.reach <= LOCAL_QUERY_BLOCK) {
        saved->block = LOCAL_QUERY_BLOCK; /* a larger block would be multiplied by more keys that most of it does not see */
    }
    if (saved->drops) {
        saved->site = mb_dropout_site_make(mb_tape_seed(tape), mb_tape_step(tape), mb_tape_next_site(tape), options->dropout);
    }
    return saved;
}

mb_tensor *mb_attention(mb_tape *tape, mb_tensor *qkv, const mb_sequences *sequences, const mb_attention_options *options) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    check_shapes(qkv, sequences, options);
    mb_tensor *y = mb_tape_tensor(tape, 2, (int64_t[]){qkv->dims[0], qkv->dims[1] / 3});
    attention_saved *saved = new_saved(tape, qkv, sequences, options);
    if (y == NULL || saved == NULL) {
        return NULL;
    }
    mb_node *node = mb_tape_append(tape, &attention_op, y, &qkv, 1);
    if (node != NULL) {
        node->saved = saved;
        saved->log_sum_exp = mb_tape_alloc(tape, (size_t)(options->n_heads * qkv->dims[0]), sizeof(mb_real));
    }
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    scratch_plan plan;
    if (!plan_scratch(tape, saved, false, &plan)) {
        return NULL;
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < (int64_t)sequences->n * options->n_heads; task++) {
        const head_view v = view_of(saved, task);
        const scratch mine = my_scratch(&plan, false);
        forward_head(saved, &v, mb_tensor_real(qkv), mb_tensor_real(y), &mine);
    }
    mb_tape_scratch_drop(tape, mark);
    return y;
}
