#include <string.h>

#include "autograd/ops.h"
#include "autograd/ops/attention_scratch.h"
#include "base/specialized.h"
#include "tensor/gemm_bf16.h"
#include "tensor/stream.h"
#include "tensor/sums.h"
#include "tensor/vmath.h"

/* Scaled dot-product attention inside each packed sequence (Vaswani et al. 2017, section 3.2). For one head of one sequence:
 *
 *   S = scale Q K^T     P = softmax rows of S     R = dropout(P)     O = R V
 *
 *   dV = R^T dO     dR = dO V^T     dP = mask * dR     dS = P (dP - rowsum(P dP))     dQ = scale dS K     dK = scale dS^T Q
 *
 * P is not stored: forward keeps each row's maximum and sum, and backward makes P again from Q and K (Dao et al. 2022,
 * section 3.1). The work is cut by (sequence, head); inside, queries go in blocks, so scratch is a block's rows of S and not T
 * x T.
 *
 * Local attention (Beltagy et al. 2020, section 3.1): a block of queries is multiplied by the keys that any of them reaches,
 * and each row's softmax runs over its own; the rest of the row is 0.
 *
 * Rotary positions (Su et al. 2021, section 3.4.2): Q and K of a head are turned as they are copied out of qkv, and their
 * gradients turned back, by the negative angle, as they are added to dqkv. */

enum { QUERY_BLOCK = 128, LOCAL_QUERY_BLOCK = 64 };

/* The rows and columns of one head of one sequence. */
typedef struct head_view {
    int64_t start, length; /* T tokens from this one on */
    int64_t width, size, n_tokens;
    int head;
} head_view;

static head_view view_of(const mb_attention_saved *saved, int64_t task) {
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

static query_block block_at(const mb_attention_saved *saved, int64_t length, int64_t first) {
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

static columns columns_of(const mb_attention_saved *saved, const query_block *b, int64_t i) {
    if (!saved->options.is_local) {
        return (columns){0, b->n_keys};
    }
    const int64_t query = b->first + i - b->first_key, reach = saved->options.reach;
    return (columns){query > reach ? query - reach : 0, b->n_keys - query <= reach ? b->n_keys : query + reach + 1};
}

static void clear_other_columns(mb_real *row, columns seen, int64_t n_keys) {
    if (seen.begin > 0) {
        memset(row, 0, (size_t)seen.begin * sizeof *row);
    }
    if (seen.end < n_keys) {
        memset(row + seen.end, 0, (size_t)(n_keys - seen.end) * sizeof *row);
    }
}

/* Row number for the dropout mask: unique for (head, query token). */
static uint32_t mask_row(const head_view *v, int64_t query) {
    return (uint32_t)(v->head * v->n_tokens + v->start + query);
}

/* A row of S becomes one of P in three steps, each over a few rows: one row alone has to wait for its maximum and then for its
 * sum. It is filled up to `padded` numbers, a multiple of a vector's, as the last few of a row would take as long as all before
 * them: with what changes no maximum, and then with what changes no sum and as a probability is not yet a denormal. */
enum { SOFTMAX_ROWS = 16 };

/* The numbers from the n-th to the `padded`-th, which are in the last 32. */
MB_SPECIALIZED void fill_row(mb_real *restrict s, int64_t n, int64_t padded, mb_real value) {
    mb_real *restrict last = s + padded - MB_BF16_BLOCK;
    const int32_t kept = (int32_t)(n - (padded - MB_BF16_BLOCK));
#pragma omp simd
    for (int32_t j = 0; j < MB_BF16_BLOCK; j++) {
        last[j] = j < kept ? last[j] : value;
    }
}

MB_SPECIALIZED mb_real largest_of_row(mb_real *restrict s, int64_t n, int64_t padded) {
    const mb_real far_below = 50;
    if (n < padded) {
        fill_row(s, n, padded, s[0]);
    }
    mb_real max = s[0];
#pragma omp simd reduction(max : max)
    for (int64_t j = 0; j < padded; j++) {
        max = s[j] > max ? s[j] : max;
    }
    if (n < padded) {
        fill_row(s, n, padded, max - far_below);
    }
    return max;
}

/* Returns 1 / their sum. */
MB_SPECIALIZED mb_real exponentials_of_row(mb_real *restrict s, int64_t n, mb_real max) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        s[j] = mb_exp(s[j] - max);
    }
    return 1 / mb_sum(s, n);
}

MB_SPECIALIZED void scale_row(mb_real *restrict s, int64_t n, mb_real factor) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        s[j] *= factor;
    }
}

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

/* Where the head's queries (or keys) are read: in qkv, or turned, in `turned` (T,D), rounded there on a bf16 tape. */
static mb_part positioned(const mb_attention_saved *saved, const head_view *v, mb_part rows, void *turned, mb_real *row) {
    if (saved->options.rotary == NULL) {
        return rows;
    }
    const mb_part to = {.data = turned, .stride = v->size, .dtype = rows.dtype, .is_padded = true};
    for (int64_t t = 0; t < v->length; t++) {
        const mb_rows from = mb_part_row(rows, t, v->size), out = mb_part_row(to, t, v->size);
        mb_real *made = mb_rows_place(&out, 0, row);
        turn(saved->options.rotary, t, 1, mb_rows_read(&from, 0, row), made);
        mb_rows_put(&out, 0, made);
    }
    return to;
}

/* The head's rows of a (N,3H) matrix, query, key or value. */
static mb_part head_of(void *qkv, mb_dtype dtype, const head_view *v, int which) {
    return mb_part_at((mb_part){.data = qkv, .stride = 3 * v->width, .dtype = dtype}, v->start,
                      v->head * v->size + which * v->width);
}
/* ... and of a (N,H) one. */
static mb_part head_of_context(void *context, mb_dtype dtype, const head_view *v) {
    return mb_part_at((mb_part){.data = context, .stride = v->width, .dtype = dtype}, v->start, v->head * v->size);
}

/* A block's rows of q or dO as a product's first factor: what is read beyond them is the next sequences' rows, which must be
 * there, or scratch; it becomes rows that nobody takes. */
static mb_part rows_of_queries(mb_part rows, const head_view *v, const query_block *b) {
    mb_part part = mb_part_at(rows, b->first, 0);
    part.is_padded = part.dtype == MB_BF16 && v->size == mb_bf16_padded(v->size) &&
                     (rows.is_padded || v->start + b->first + mb_bf16_padded(b->n) <= v->n_tokens);
    return part;
}

/* The first rows of a scratch, each of the block's keys. */
static mb_part rows_of_block(mb_part rows, const query_block *b) {
    return (mb_part){.data = rows.data, .stride = b->n_keys, .dtype = rows.dtype};
}

/* Rounds a row that was made in mb_real; on an fp32 tape there is nothing to round and `out` is the row itself. */
static void round_row(const mb_real *row, int64_t n, mb_part out) {
    if (out.dtype == MB_BF16) {
        mb_bf16_write(row, n, out.data);
    }
}

/* Rows [begin, end) of a block that see all of its keys. */
MB_SPECIALIZED void softmax_whole_rows(int64_t n, int64_t n_keys, mb_softmax_row *made, mb_real *p, int64_t stride) {
    for (int64_t i = 0; i < n; i++) {
        made[i].max = largest_of_row(p + i * stride, n_keys, stride);
    }
    for (int64_t i = 0; i < n; i++) {
        made[i].inverse_sum = exponentials_of_row(p + i * stride, stride, made[i].max);
    }
    for (int64_t i = 0; i < n; i++) {
        scale_row(p + i * stride, stride, made[i].inverse_sum);
    }
}

static void softmax_local_rows(const mb_attention_saved *saved, const query_block *b, int64_t begin, int64_t n,
                               mb_softmax_row *made, mb_real *p, int64_t stride) {
    columns seen[SOFTMAX_ROWS];
    for (int64_t i = 0; i < n; i++) {
        seen[i] = columns_of(saved, b, begin + i);
        const int64_t n_seen = seen[i].end - seen[i].begin;
        made[i].max = largest_of_row(p + i * stride + seen[i].begin, n_seen, n_seen);
    }
    for (int64_t i = 0; i < n; i++) {
        made[i].inverse_sum = exponentials_of_row(p + i * stride + seen[i].begin, seen[i].end - seen[i].begin, made[i].max);
    }
    for (int64_t i = 0; i < n; i++) {
        scale_row(p + i * stride + seen[i].begin, seen[i].end - seen[i].begin, made[i].inverse_sum);
        clear_other_columns(p + i * stride, seen[i], stride);
    }
}

/* S of rows [begin, end) of a block, at most SOFTMAX_ROWS, to P, in place; what backward needs to make P again is kept. */
static void probabilities(const mb_attention_saved *saved, const head_view *v, const query_block *b, int64_t begin, int64_t end,
                          mb_real *p, int64_t stride) {
    mb_softmax_row made[SOFTMAX_ROWS];
    const int64_t n = end - begin;
    mb_real *rows = p + begin * stride;
    if (saved->options.is_local) {
        softmax_local_rows(saved, b, begin, n, made, rows, stride);
    } else if (stride == MB_BF16_BLOCK) { /* lengths that the compiler knows: of a row of 32 there is no loop left */
        softmax_whole_rows(n, b->n_keys, made, rows, MB_BF16_BLOCK);
    } else if (stride == 2 * MB_BF16_BLOCK) {
        softmax_whole_rows(n, b->n_keys, made, rows, 2 * MB_BF16_BLOCK);
    } else {
        softmax_whole_rows(n, b->n_keys, made, rows, stride);
    }
    if (saved->softmax != NULL) {
        memcpy(saved->softmax + v->head * v->n_tokens + v->start + b->first + begin, made, (size_t)n * sizeof *made);
    }
}

static void forward_head(const mb_attention_saved *saved, const head_view *v, void *qkv, void *context,
                         const mb_attention_scratch *mine) {
    const mb_part q = positioned(saved, v, head_of(qkv, saved->dtype, v, 0), mine->q, mine->row);
    const mb_part k = positioned(saved, v, head_of(qkv, saved->dtype, v, 1), mine->k, mine->row);
    const mb_part value = head_of(qkv, saved->dtype, v, 2), out = head_of_context(context, saved->dtype, v);
    const mb_real scale = 1 / mb_sqrt((mb_real)v->size);
    for (int64_t first = 0; first < v->length; first += saved->block) {
        const query_block b = block_at(saved, v->length, first);
        const int64_t stride = mb_bf16_padded(b.n_keys);
        const mb_part r = {.data = mine->r.data, .stride = stride, .dtype = mine->r.dtype, .is_padded = true};
        mb_attention_multiply(mine, false, true, b.n, b.n_keys, v->size, scale, rows_of_queries(q, v, &b),
                              mb_part_at(k, b.first_key, 0), false, mb_real_part(mine->p, stride));
        for (int64_t begin = 0; begin < b.n; begin += SOFTMAX_ROWS) {
            const int64_t end = b.n - begin < SOFTMAX_ROWS ? b.n : begin + SOFTMAX_ROWS;
            probabilities(saved, v, &b, begin, end, mine->p, stride);
            for (int64_t i = begin; i < end; i++) {
                mb_real *row = mine->p + i * stride;
                if (saved->drops) {
                    mb_dropout_row(&saved->site, mask_row(v, first + i), b.n_keys, row, row);
                }
                round_row(row, stride, mb_part_at(r, i, 0));
            }
        }
        mb_attention_multiply(mine, false, false, b.n, v->size, b.n_keys, 1, r, mb_part_at(value, b.first_key, 0), false,
                              mb_part_at(out, first, 0));
    }
}

/* From dR to dP, in place: what was dropped is 0 in R. (So is what is too small for R, and P dP then is as small.) */
static void undrop_row(mb_part r, mb_real scale, int64_t n, mb_real *restrict d) {
    if (r.dtype == MB_BF16) {
        const mb_bf16 *restrict kept = r.data;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            d[j] = kept[j] != 0 ? d[j] * scale : 0;
        }
    } else {
        const mb_real *restrict kept = r.data;
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            d[j] = kept[j] != 0 ? d[j] * scale : 0;
        }
    }
}

/* From dP to scale-free dS, in place, given P. */
static void softmax_backward_row(const mb_real *restrict p, mb_real *restrict d, int64_t n) {
    const mb_real dot = mb_dot(p, d, n);
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        d[j] = p[j] * (d[j] - dot);
    }
}

/* P of a block, and R = dropout(P). Beside it the lines come that the gradients of q, k and v will be written to: a mini's
 * backward takes 11.2 ms for 12.7. */
static void probabilities_again(const mb_attention_saved *saved, const head_view *v, const query_block *b, mb_part dq,
                                const mb_attention_scratch *mine) {
    const size_t n_bytes = (size_t)v->size * mb_dtype_size(dq.dtype);
    for (int64_t i = 0; i < b->n; i++) {
        for (int which = 0; which < 3; which++) {
            mb_prefetch_write(mb_part_at(dq, b->first + i, which * v->width).data, n_bytes);
        }
        mb_real *row = mine->p + i * b->n_keys;
        const columns seen = columns_of(saved, b, i);
        const mb_softmax_row made = saved->softmax[v->head * v->n_tokens + v->start + b->first + i];
#pragma omp simd
        for (int64_t j = seen.begin; j < seen.end; j++) {
            row[j] = mb_exp(row[j] - made.max) * made.inverse_sum;
        }
        clear_other_columns(row, seen, b->n_keys);
        mb_real *dropped = mine->d + i * b->n_keys; /* where d is not yet */
        const mb_part r = mb_part_at(rows_of_block(mine->r, b), i, 0);
        if (saved->drops) {
            dropped = r.dtype == MB_BF16 ? dropped : r.data;
            mb_dropout_row(&saved->site, mask_row(v, b->first + i), b->n_keys, row, dropped);
        }
        round_row(saved->drops ? dropped : row, b->n_keys, r);
    }
}

/* rows = beta rows + d, where `turns`, turned back: the gradient of what `positioned` read. */
static void put_back(const mb_attention_saved *saved, bool turns, int64_t first, int64_t n, int64_t size, mb_real *d,
                     mb_real beta, mb_part rows) {
    for (int64_t t = 0; t < n; t++) {
        mb_real *from = d + t * size;
        if (turns) {
            turn(saved->options.rotary, first + t, -1, from, from);
        }
        const mb_rows to = mb_part_row(rows, t, size);
        mb_rows_add(&to, 0, beta, from);
    }
}

/* Where a head's gradients of k and v collect from every block of queries: in place, or in scratch. */
typedef struct collected {
    mb_part dk, dvalue;
    mb_real beta; /* of the first contribution */
} collected;

/* Blocks of local attention overlap in their keys, and no block sees them all: begin with zeros and add. */
static void clear_collected(const collected *c, const head_view *v) {
    for (int64_t t = 0; t < v->length; t++) {
        memset(mb_part_at(c->dk, t, 0).data, 0, (size_t)v->size * mb_dtype_size(c->dk.dtype));
        memset(mb_part_at(c->dvalue, t, 0).data, 0, (size_t)v->size * mb_dtype_size(c->dvalue.dtype));
    }
}

/* Given P and R of a block, dP and then scale-free dS, as a product takes it. */
static mb_part score_gradients(const mb_attention_saved *saved, const head_view *v, const query_block *b, mb_part dout,
                               mb_part value, const mb_attention_scratch *mine) {
    mb_attention_multiply(mine, false, true, b->n, b->n_keys, v->size, 1, dout, mb_part_at(value, b->first_key, 0), false,
                          mb_real_part(mine->d, b->n_keys));
    const mb_part r = rows_of_block(mine->r, b);
    for (int64_t i = 0; i < b->n; i++) { /* R = dropout(P), P = softmax(S); P is 0 outside of what the query sees */
        mb_real *row = mine->d + i * b->n_keys;
        if (saved->drops) {
            undrop_row(mb_part_at(r, i, 0), saved->site.scale, b->n_keys, row);
        }
        softmax_backward_row(mine->p + i * b->n_keys, row, b->n_keys);
        round_row(row, b->n_keys, mb_part_at(r, i, 0));
    }
    return r.dtype == MB_BF16 ? r : mb_real_part(mine->d, b->n_keys);
}

static void backward_head(const mb_attention_saved *saved, const head_view *v, void *qkv, void *dcontext, void *dqkv,
                          mb_real beta, const mb_attention_scratch *mine) {
    const bool turned = saved->options.rotary != NULL, apart = mine->apart;
    const mb_part q = positioned(saved, v, head_of(qkv, saved->dtype, v, 0), mine->q, mine->row);
    const mb_part k = positioned(saved, v, head_of(qkv, saved->dtype, v, 1), mine->k, mine->row);
    const mb_part value = head_of(qkv, saved->dtype, v, 2), dcontext_head = head_of_context(dcontext, saved->dtype, v);
    const mb_part dq = head_of(dqkv, saved->dtype, v, 0), dk = head_of(dqkv, saved->dtype, v, 1);
    const mb_part dvalue = head_of(dqkv, saved->dtype, v, 2);
    const collected sums = apart ? (collected){mb_real_part(mine->dk, v->size), mb_real_part(mine->dvalue, v->size), 0}
                                 : (collected){dk, dvalue, beta};
    const mb_real scale = 1 / mb_sqrt((mb_real)v->size);
    if (saved->options.is_local && sums.beta == 0) {
        clear_collected(&sums, v);
    }
    for (int64_t first = 0; first < v->length; first += saved->block) {
        const query_block b = block_at(saved, v->length, first);
        const bool adds = saved->options.is_local || first > 0 || sums.beta != 0;
        const mb_part dout = rows_of_queries(dcontext_head, v, &b), block_q = rows_of_queries(q, v, &b),
                      block_k = mb_part_at(k, b.first_key, 0);
        mb_attention_multiply(mine, false, true, b.n, b.n_keys, v->size, scale, block_q, block_k, false,
                              mb_real_part(mine->p, b.n_keys));
        probabilities_again(saved, v, &b, dq, mine);
        /* O = R V */
        mb_attention_multiply(mine, true, false, b.n_keys, v->size, b.n, 1, rows_of_block(mine->r, &b), dout, adds,
                              mb_part_at(sums.dvalue, b.first_key, 0));
        const mb_part ds = score_gradients(saved, v, &b, dout, value, mine);
        /* S = scale Q K^T */
        mb_attention_multiply(mine, false, false, b.n, v->size, b.n_keys, scale, ds, block_k, !turned && beta != 0,
                              turned ? mb_real_part(mine->dq, v->size) : mb_part_at(dq, first, 0));
        if (turned) {
            put_back(saved, true, first, b.n, v->size, mine->dq, beta, mb_part_at(dq, first, 0));
        }
        mb_attention_multiply(mine, true, false, b.n_keys, v->size, b.n, scale, ds, block_q, adds,
                              mb_part_at(sums.dk, b.first_key, 0));
    }
    if (apart) {
        put_back(saved, turned, 0, v->length, v->size, mine->dk, beta, dk);
        put_back(saved, false, 0, v->length, v->size, mine->dvalue, beta, dvalue);
    }
}

static void attention_backward(mb_tape *tape, mb_node *node) {
    const mb_attention_saved *saved = node->saved;
    mb_tensor *qkv = node->inputs[0];
    mb_real beta;
    void *dqkv = mb_tape_grad(tape, qkv, &beta);
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    mb_attention_plan plan;
    if (dqkv == NULL || !mb_attention_plan_scratch(tape, saved, true, &plan)) {
        return;
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < (int64_t)saved->sequences.n * saved->options.n_heads; task++) {
        const head_view v = view_of(saved, task);
        const mb_attention_scratch mine = mb_attention_my_scratch(saved, &plan, true);
        backward_head(saved, &v, qkv->data, node->output->grad, dqkv, beta, &mine);
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

static mb_attention_saved *new_saved(mb_tape *tape, const mb_tensor *qkv, const mb_sequences *sequences,
                                     const mb_attention_options *options) {
    mb_attention_saved *saved = mb_tape_alloc(tape, 1, sizeof *saved);
    if (saved == NULL) {
        return NULL;
    }
    *saved = (mb_attention_saved){.sequences = *sequences,
                                  .options = *options,
                                  .width = qkv->dims[1] / 3,
                                  .block = QUERY_BLOCK,
                                  .dtype = qkv->dtype,
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
    mb_attention_saved *saved = new_saved(tape, qkv, sequences, options);
    if (y == NULL || saved == NULL) {
        return NULL;
    }
    mb_node *node = mb_tape_append(tape, &attention_op, y, &qkv, 1);
    if (node != NULL) {
        node->saved = saved;
        saved->softmax = mb_tape_alloc(tape, (size_t)(options->n_heads * qkv->dims[0]), sizeof *saved->softmax);
    }
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    mb_attention_plan plan;
    if (!mb_attention_plan_scratch(tape, saved, false, &plan)) {
        return NULL;
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < (int64_t)sequences->n * options->n_heads; task++) {
        const head_view v = view_of(saved, task);
        const mb_attention_scratch mine = mb_attention_my_scratch(saved, &plan, false);
        forward_head(saved, &v, qkv->data, y->data, &mine);
    }
    mb_tape_scratch_drop(tape, mark);
    return mb_tape_end(tape, node, y);
}
