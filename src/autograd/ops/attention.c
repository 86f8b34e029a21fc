#include "autograd/ops.h"

#include <string.h>

#include "tensor/dropout_mask.h"
#include "tensor/gemm.h"
#include "tensor/gemm_bf16.h"
#include "tensor/rows.h"
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

enum { QUERY_BLOCK = 128, LOCAL_QUERY_BLOCK = 64, CACHE_LINE = 64 };

typedef struct attention_saved {
    mb_sequences sequences;
    mb_attention_options options;
    int64_t width, block;
    mb_real *log_sum_exp; /* (A,N) */
    mb_dropout_site site;
    bool drops;
    mb_dtype dtype; /* of qkv, the context and their gradients */
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

/* A part of a matrix: its rows are `stride` numbers apart. */
typedef struct part {
    void *data;
    int64_t stride;
    mb_dtype dtype;
} part;

static part part_at(part p, int64_t row, int64_t column) {
    return (part){(char *)p.data + (size_t)(row * p.stride + column) * mb_dtype_size(p.dtype), p.stride, p.dtype};
}
static part real_part(mb_real *data, int64_t stride) {
    return (part){data, stride, MB_REAL_DTYPE};
}
static mb_rows row_of(part p, int64_t row, int64_t n) {
    return mb_rows_over(part_at(p, row, 0).data, p.dtype, n);
}

/* c = alpha op(a)[m,k] op(b)[k,n] + beta c. Where the tape's activations are bf16 the product is one of bf16 numbers, whatever
 * scores and turned rows are kept in. `packed`: room for b, or NULL on an fp32 tape. */
static void multiply(mb_bf16 *packed, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, mb_real alpha, part a,
                     part b, mb_real beta, part c) {
    if (packed == NULL) {
        mb_gemm(trans_a, trans_b, m, n, k, alpha, a.data, a.stride, b.data, b.stride, beta, c.data, c.stride);
        return;
    }
    const mb_bf16_factor left = {.data = a.data, .stride = a.stride, .transposed = trans_a, .is_real = a.dtype != MB_BF16};
    const mb_bf16_factor right = {.data = b.data, .stride = b.stride, .transposed = trans_b, .is_real = b.dtype != MB_BF16};
    mb_bf16_store store = {.c = c.data, .stride = c.stride, .alpha = (float)alpha, .beta = (float)beta};
    const int64_t depth = mb_bf16_padded(k);
    mb_bf16_pack(&right, k, n, depth, packed);
    mb_bf16_gemm(m, n, k, &left, (mb_bf16_packed){packed, depth}, c.dtype == MB_BF16 ? mb_bf16_store_bf16 : mb_bf16_store_real,
                 &store);
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

/* What one thread works in. */
typedef struct scratch {
    mb_real *p;           /* a block's rows of S, then P */
    part r;               /* its rows of R as a product takes them, and on a bf16 tape at last of dS */
    mb_real *d;           /* of dR, then dS: in backward alone */
    mb_real *q, *k;       /* (T,D) turned: with rotary positions alone */
    mb_real *dq;          /* a block's gradient of q, and in backward where it is turned back, or bf16: */
    mb_real *dk, *dvalue; /* the gradients of all k and v */
    mb_real *row;         /* (D) */
    mb_bf16 *packed;      /* the second factor of a product; NULL on an fp32 tape */
    bool apart;           /* dk and dvalue are used */
} scratch;

/* Where the head's queries (or keys) are read: in qkv, or turned, in `turned` (T,D). */
static part positioned(const attention_saved *saved, const head_view *v, part rows, mb_real *turned, mb_real *row) {
    if (saved->options.rotary == NULL) {
        return rows;
    }
    for (int64_t t = 0; t < v->length; t++) {
        const mb_rows from = row_of(rows, t, v->size);
        turn(saved->options.rotary, t, 1, mb_rows_read(&from, 0, row), turned + t * v->size);
    }
    return real_part(turned, v->size);
}

/* The head's rows of a (N,3H) matrix, query, key or value. */
static part head_of(void *qkv, mb_dtype dtype, const head_view *v, int which) {
    return part_at((part){qkv, 3 * v->width, dtype}, v->start, v->head * v->size + which * v->width);
}
/* ... and of a (N,H) one. */
static part head_of_context(void *context, mb_dtype dtype, const head_view *v) {
    return part_at((part){context, v->width, dtype}, v->start, v->head * v->size);
}

/* The first rows of a scratch, each of the block's keys. */
static part rows_of_block(part rows, const query_block *b) {
    return (part){rows.data, b->n_keys, rows.dtype};
}

/* Rounds a row that was made in mb_real; on an fp32 tape there is nothing to round and `out` is the row itself. */
static void round_row(const mb_real *row, int64_t n, part out) {
    if (out.dtype == MB_BF16) {
        mb_bf16_write(row, n, out.data);
    }
}

static void forward_head(const attention_saved *saved, const head_view *v, void *qkv, void *context, const scratch *mine) {
    const part q = positioned(saved, v, head_of(qkv, saved->dtype, v, 0), mine->q, mine->row);
    const part k = positioned(saved, v, head_of(qkv, saved->dtype, v, 1), mine->k, mine->row);
    const part value = head_of(qkv, saved->dtype, v, 2), out = head_of_context(context, saved->dtype, v);
    const mb_real scale = 1 / mb_sqrt((mb_real)v->size);
    for (int64_t first = 0; first < v->length; first += saved->block) {
        const query_block b = block_at(saved, v->length, first);
        const part r = rows_of_block(mine->r, &b);
        multiply(mine->packed, false, true, b.n, b.n_keys, v->size, scale, part_at(q, first, 0), part_at(k, b.first_key, 0), 0,
                 real_part(mine->p, b.n_keys));
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
            round_row(row, b.n_keys, part_at(r, i, 0));
        }
        multiply(mine->packed, false, false, b.n, v->size, b.n_keys, 1, r, part_at(value, b.first_key, 0), 0,
                 part_at(out, first, 0));
    }
}

/* From dR to dP, in place: what was dropped is 0 in R. (So is what is too small for R, and P dP then is as small.) */
static void undrop_row(part r, mb_real scale, int64_t n, mb_real *restrict d) {
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
        mb_real *dropped = mine->d + i * b->n_keys; /* where d is not yet */
        const part r = part_at(rows_of_block(mine->r, b), i, 0);
        if (saved->drops) {
            dropped = r.dtype == MB_BF16 ? dropped : r.data;
            mb_dropout_row(&saved->site, mask_row(v, b->first + i), b->n_keys, row, dropped);
        }
        round_row(saved->drops ? dropped : row, b->n_keys, r);
    }
}

/* rows = beta rows + d, where `turns`, turned back: the gradient of what `positioned` read. */
static void put_back(const attention_saved *saved, bool turns, int64_t first, int64_t n, int64_t size, mb_real *d, mb_real beta,
                     part rows) {
    for (int64_t t = 0; t < n; t++) {
        mb_real *from = d + t * size;
        if (turns) {
            turn(saved->options.rotary, first + t, -1, from, from);
        }
        const mb_rows to = row_of(rows, t, size);
        mb_rows_add(&to, 0, beta, from);
    }
}

/* Where a head's gradients of k and v collect from every block of queries: in place, or in scratch. */
typedef struct collected {
    part dk, dvalue;
    mb_real beta; /* of the first contribution */
} collected;

/* Blocks of local attention overlap in their keys, and no block sees them all: begin with zeros and add. */
static void clear_collected(const collected *c, const head_view *v) {
    for (int64_t t = 0; t < v->length; t++) {
        memset(part_at(c->dk, t, 0).data, 0, (size_t)v->size * mb_dtype_size(c->dk.dtype));
        memset(part_at(c->dvalue, t, 0).data, 0, (size_t)v->size * mb_dtype_size(c->dvalue.dtype));
    }
}

/* Given P and R of a block, dP and then scale-free dS, as a product takes it. */
static part score_gradients(const attention_saved *saved, const head_view *v, const query_block *b, part dout, part value,
                            const scratch *mine) {
    multiply(mine->packed, false, true, b->n, b->n_keys, v->size, 1, dout, part_at(value, b->first_key, 0), 0,
             real_part(mine->d, b->n_keys));
    const part r = rows_of_block(mine->r, b);
    for (int64_t i = 0; i < b->n; i++) { /* R = dropout(P), P = softmax(S); P is 0 outside of what the query sees */
        mb_real *row = mine->d + i * b->n_keys;
        if (saved->drops) {
            undrop_row(part_at(r, i, 0), saved->site.scale, b->n_keys, row);
        }
        softmax_backward_row(mine->p + i * b->n_keys, row, b->n_keys);
        round_row(row, b->n_keys, part_at(r, i, 0));
    }
    return r.dtype == MB_BF16 ? r : real_part(mine->d, b->n_keys);
}

static void backward_head(const attention_saved *saved, const head_view *v, void *qkv, void *dcontext, void *dqkv, mb_real beta,
                          const scratch *mine) {
    const bool turned = saved->options.rotary != NULL, apart = mine->apart;
    const part q = positioned(saved, v, head_of(qkv, saved->dtype, v, 0), mine->q, mine->row);
    const part k = positioned(saved, v, head_of(qkv, saved->dtype, v, 1), mine->k, mine->row);
    const part value = head_of(qkv, saved->dtype, v, 2), dcontext_head = head_of_context(dcontext, saved->dtype, v);
    const part dq = head_of(dqkv, saved->dtype, v, 0), dk = head_of(dqkv, saved->dtype, v, 1);
    const part dvalue = head_of(dqkv, saved->dtype, v, 2);
    const collected sums =
        apart ? (collected){real_part(mine->dk, v->size), real_part(mine->dvalue, v->size), 0} : (collected){dk, dvalue, beta};
    const mb_real scale = 1 / mb_sqrt((mb_real)v->size);
    if (saved->options.is_local && sums.beta == 0) {
        clear_collected(&sums, v);
    }
    for (int64_t first = 0; first < v->length; first += saved->block) {
        const query_block b = block_at(saved, v->length, first);
        const mb_real adds = saved->options.is_local || first > 0 ? 1 : sums.beta;
        const part dout = part_at(dcontext_head, first, 0), block_q = part_at(q, first, 0),
                   block_k = part_at(k, b.first_key, 0);
        multiply(mine->packed, false, true, b.n, b.n_keys, v->size, scale, block_q, block_k, 0, real_part(mine->p, b.n_keys));
        probabilities_again(saved, v, &b, mine);
        /* O = R V */
        multiply(mine->packed, true, false, b.n_keys, v->size, b.n, 1, rows_of_block(mine->r, &b), dout, adds,
                 part_at(sums.dvalue, b.first_key, 0));
        const part ds = score_gradients(saved, v, &b, dout, value, mine);
        /* S = scale Q K^T */
        multiply(mine->packed, false, false, b.n, v->size, b.n_keys, scale, ds, block_k, turned ? 0 : beta,
                 turned ? real_part(mine->dq, v->size) : part_at(dq, first, 0));
        if (turned) {
            put_back(saved, true, first, b.n, v->size, mine->dq, beta, part_at(dq, first, 0));
        }
        multiply(mine->packed, true, false, b.n_keys, v->size, b.n, scale, ds, block_q, adds, part_at(sums.dk, b.first_key, 0));
    }
    if (apart) {
        put_back(saved, turned, 0, v->length, v->size, mine->dk, beta, dk);
        put_back(saved, false, 0, v->length, v->size, mine->dvalue, beta, dvalue);
    }
}

/* The scratch of all threads, in one piece; `share` is what each gets. In numbers; 0: a part that is not needed. */
typedef struct scratch_plan {
    int64_t scores, kept, turned, block, apart, packed, share; /* kept: R where it is not P itself */
    mb_real *memory;
} scratch_plan;

static bool plan_scratch(mb_tape *tape, const attention_saved *saved, bool backward, scratch_plan *plan) {
    const int64_t longest = saved->sequences.max_length, size = saved->width / saved->options.n_heads;
    const int64_t rows = longest < saved->block ? longest : saved->block, reach = saved->options.reach;
    const int64_t keys = saved->options.is_local && 2 * reach < longest - rows ? rows + 2 * reach : longest;
    const bool turned = saved->options.rotary != NULL, bf16 = saved->dtype == MB_BF16;
    const int64_t per_line = CACHE_LINE / (int64_t)sizeof(mb_real);
    /* K or V of all keys, or the block's rows of Q or dO */
    const int64_t packed = mb_bf16_padded(keys > rows ? keys : rows) * mb_bf16_padded(size);
    const int64_t halves = (int64_t)(sizeof(mb_real) / sizeof(mb_bf16));
    *plan = (scratch_plan){.scores = rows * keys,
                           .kept = bf16                       ? (rows * keys + halves - 1) / halves
                                   : backward && saved->drops ? rows * keys
                                                              : 0,
                           .turned = turned ? longest * size : 0,
                           .block = turned && backward ? rows * size : 0,
                           .apart = (turned || bf16) && backward ? longest * size : 0,
                           .packed = bf16 ? packed / halves : 0};
    plan->share =
        plan->packed + plan->kept + plan->scores * (backward ? 2 : 1) + 2 * plan->turned + plan->block + 2 * plan->apart + size;
    plan->share = (plan->share + per_line - 1) / per_line * per_line;
    plan->memory = mb_tape_alloc(tape, (size_t)(mb_tape_max_threads() * plan->share), sizeof *plan->memory);
    return plan->memory != NULL;
}

static mb_real *take(mb_real **at, int64_t n) {
    mb_real *begin = *at;
    *at += n;
    return begin;
}

static scratch my_scratch(const attention_saved *saved, const scratch_plan *plan, bool backward) {
    mb_real *at = plan->memory + mb_tape_thread() * plan->share;
    scratch mine = {.packed = plan->packed > 0 ? (mb_bf16 *)(void *)at : NULL, .apart = plan->apart > 0};
    at += plan->packed;
    mine.p = take(&at, plan->scores);
    mb_real *kept = take(&at, plan->kept);
    mine.r = (part){plan->kept > 0 ? kept : mine.p, 0, saved->dtype};
    mine.d = take(&at, backward ? plan->scores : 0);
    mine.q = take(&at, plan->turned);
    mine.k = take(&at, plan->turned);
    mine.dq = take(&at, plan->block);
    mine.dk = take(&at, plan->apart);
    mine.dvalue = take(&at, plan->apart);
    mine.row = take(&at, saved->width / saved->options.n_heads);
    return mine;
}

static void attention_backward(mb_tape *tape, mb_node *node) {
    const attention_saved *saved = node->saved;
    mb_tensor *qkv = node->inputs[0];
    mb_real beta;
    void *dqkv = mb_tape_grad(tape, qkv, &beta);
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    scratch_plan plan;
    if (dqkv == NULL || !plan_scratch(tape, saved, true, &plan)) {
        return;
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < (int64_t)saved->sequences.n * saved->options.n_heads; task++) {
        const head_view v = view_of(saved, task);
        const scratch mine = my_scratch(saved, &plan, true);
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
        const scratch mine = my_scratch(saved, &plan, false);
        forward_head(saved, &v, qkv->data, y->data, &mine);
    }
    mb_tape_scratch_drop(tape, mark);
    return mb_tape_end(tape, node, y);
}
