#include "autograd/ops.h"

#include <omp.h>

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
 * The work is cut by (sequence, head); inside, queries go in blocks, so scratch is a block's rows of S and not T x T. */

enum { QUERY_BLOCK = 128 };

typedef struct attention_saved {
    mb_sequences sequences;
    int n_heads;
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

static head_view view_of(const mb_sequences *sequences, int64_t task, int n_heads, int64_t width) {
    int64_t b = task / n_heads;
    return (head_view){sequences->offsets[b],
                       sequences->offsets[b + 1] - sequences->offsets[b],
                       width,
                       width / n_heads,
                       sequences->offsets[sequences->n],
                       (int)(task % n_heads)};
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

static void forward_head(const attention_saved *saved, const head_view *v, const mb_real *qkv, mb_real *context,
                         mb_real *scratch) {
    const int64_t stride = 3 * v->width, n_keys = v->length;
    const mb_real *q = qkv + v->start * stride + v->head * v->size, *k = q + v->width, *value = k + v->width;
    const mb_real scale = 1 / mb_sqrt((mb_real)v->size);
    for (int64_t first = 0; first < n_keys; first += QUERY_BLOCK) {
        int64_t n = n_keys - first < QUERY_BLOCK ? n_keys - first : QUERY_BLOCK;
        mb_gemm(false, true, n, n_keys, v->size, scale, q + first * stride, stride, k, stride, 0, scratch, n_keys);
        for (int64_t i = 0; i < n; i++) {
            mb_real *row = scratch + i * n_keys;
            mb_real log_sum_exp = softmax_row(row, n_keys);
            if (saved->log_sum_exp != NULL) {
                saved->log_sum_exp[v->head * v->n_tokens + v->start + first + i] = log_sum_exp;
            }
            if (saved->drops) {
                mb_dropout_row(&saved->site, mask_row(v, first + i), n_keys, row, row);
            }
        }
        mb_gemm(false, false, n, v->size, n_keys, 1, scratch, n_keys, value, stride, 0,
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

static void backward_head(const attention_saved *saved, const head_view *v, const mb_real *qkv, const mb_real *dcontext,
                          mb_real *dqkv, mb_real beta, mb_real *p, mb_real *r) {
    const int64_t stride = 3 * v->width, n_keys = v->length, offset = v->start * stride + v->head * v->size;
    const mb_real *q = qkv + offset, *k = q + v->width, *value = k + v->width;
    mb_real *dq = dqkv + offset, *dk = dq + v->width, *dvalue = dk + v->width;
    const mb_real scale = 1 / mb_sqrt((mb_real)v->size);
    for (int64_t first = 0; first < n_keys; first += QUERY_BLOCK) {
        int64_t n = n_keys - first < QUERY_BLOCK ? n_keys - first : QUERY_BLOCK;
        mb_real key_beta = first == 0 ? beta : 1; /* keys and values collect from every block of queries */
        const mb_real *dout = dcontext + (v->start + first) * v->width + v->head * v->size;
        mb_gemm(false, true, n, n_keys, v->size, scale, q + first * stride, stride, k, stride, 0, p, n_keys);
        for (int64_t i = 0; i < n; i++) { /* P = exp(S - logsumexp), R = dropout(P) */
            mb_real *row = p + i * n_keys;
            mb_real log_sum_exp = saved->log_sum_exp[v->head * v->n_tokens + v->start + first + i];
#pragma omp simd
            for (int64_t j = 0; j < n_keys; j++) {
                row[j] = mb_exp(row[j] - log_sum_exp);
            }
            if (saved->drops) {
                mb_dropout_row(&saved->site, mask_row(v, first + i), n_keys, row, r + i * n_keys);
            }
        }
        /* O = R V */
        mb_gemm(true, false, n_keys, v->size, n, 1, saved->drops ? r : p, n_keys, dout, v->width, key_beta, dvalue, stride);
        mb_gemm(false, true, n, n_keys, v->size, 1, dout, v->width, value, stride, 0, r, n_keys);
        for (int64_t i = 0; i < n; i++) { /* R = dropout(P), P = softmax(S) */
            if (saved->drops) {
                mb_dropout_row(&saved->site, mask_row(v, first + i), n_keys, r + i * n_keys, r + i * n_keys);
            }
            softmax_backward_row(p + i * n_keys, r + i * n_keys, n_keys);
        }
        /* S = scale Q K^T */
        mb_gemm(false, false, n, v->size, n_keys, scale, r, n_keys, k, stride, beta, dq + first * stride, stride);
        mb_gemm(true, false, n_keys, v->size, n, scale, r, n_keys, q + first * stride, stride, key_beta, dk, stride);
    }
}

static int64_t scratch_count(const mb_sequences *sequences) {
    int64_t rows = sequences->max_length < QUERY_BLOCK ? sequences->max_length : QUERY_BLOCK;
    return rows * sequences->max_length;
}

static void attention_backward(mb_tape *tape, mb_node *node) {
    const attention_saved *saved = node->saved;
    mb_tensor *qkv = node->inputs[0];
    int64_t width = node->output->dims[1], count = scratch_count(&saved->sequences);
    mb_real beta;
    mb_real *dqkv = mb_tape_grad(tape, qkv, &beta);
    mb_real *scratch = mb_tape_alloc(tape, (size_t)(omp_get_max_threads() * 2 * count), sizeof *scratch);
    if (dqkv == NULL || scratch == NULL) {
        return;
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < (int64_t)saved->sequences.n * saved->n_heads; task++) {
        head_view v = view_of(&saved->sequences, task, saved->n_heads, width);
        mb_real *mine = scratch + omp_get_thread_num() * 2 * count;
        backward_head(saved, &v, mb_tensor_real(qkv), node->output->grad, dqkv, beta, mine, mine + count);
    }
}

static const mb_op attention_op = {"attention", attention_backward};

mb_tensor *mb_attention(mb_tape *tape, mb_tensor *qkv, const mb_sequences *sequences, int n_heads, double dropout) {
    if (mb_tape_status(tape) != MB_OK) {
        return NULL;
    }
    int64_t n_tokens = qkv->dims[0], width = qkv->dims[1] / 3;
    MB_SHAPE_CHECK(qkv->dims[1] == 3 * width && width % n_heads == 0, "attention", qkv, qkv);
    MB_SHAPE_CHECK(sequences->offsets[sequences->n] == n_tokens, "attention", qkv, qkv);
    int64_t count = scratch_count(sequences);
    mb_tensor *y = mb_tape_tensor(tape, 2, (int64_t[]){n_tokens, width});
    attention_saved *saved = mb_tape_alloc(tape, 1, sizeof *saved);
    mb_real *scratch = mb_tape_alloc(tape, (size_t)(omp_get_max_threads() * count), sizeof *scratch);
    if (y == NULL || saved == NULL || scratch == NULL) {
        return NULL;
    }
    *saved = (attention_saved){.sequences = *sequences, .n_heads = n_heads, .drops = dropout > 0 && mb_tape_recording(tape)};
    if (saved->drops) {
        saved->site = mb_dropout_site_make(mb_tape_seed(tape), mb_tape_step(tape), mb_tape_next_site(tape), dropout);
    }
    mb_node *node = mb_tape_append(tape, &attention_op, y, &qkv, 1);
    if (node != NULL) {
        node->saved = saved;
        saved->log_sum_exp = mb_tape_alloc(tape, (size_t)(n_heads * n_tokens), sizeof(mb_real));
        if (saved->log_sum_exp == NULL) {
            return NULL;
        }
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < (int64_t)sequences->n * n_heads; task++) {
        head_view v = view_of(sequences, task, n_heads, width);
        forward_head(saved, &v, mb_tensor_real(qkv), mb_tensor_real(y), scratch + omp_get_thread_num() * count);
    }
    return y;
}
