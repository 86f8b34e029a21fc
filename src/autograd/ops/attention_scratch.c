#include "autograd/ops/attention_scratch.h"

#include "tensor/gemm_bf16.h"
#include "tensor/gemm_packed.h"

enum { CACHE_LINE = 64 };

/* Numbers of the largest second factor: K or V of all keys, or the block's rows of Q or dO, or in bf16's backward of R or dS.
 */
static int64_t packed_count(mb_dtype dtype, int64_t rows, int64_t keys, int64_t size, bool backward) {
    const int64_t most = rows > keys ? rows : keys;
    if (dtype == MB_BF16) {
        const int64_t halves = (int64_t)(sizeof(mb_real) / sizeof(mb_bf16));
        const int64_t of_size = mb_bf16_packed_count(most, size), scores = backward ? mb_bf16_packed_count(rows, keys) : 0;
        return (of_size > scores ? of_size : scores) / halves;
    }
    const int64_t plain = mb_packed_count(most, size), transposed = mb_packed_count(size, most);
    return plain > transposed ? plain : transposed;
}

bool mb_attention_plan_scratch(mb_tape *tape, const mb_attention_saved *saved, bool backward, mb_attention_plan *plan) {
    const int64_t longest = saved->sequences.max_length, size = saved->width / saved->options.n_heads;
    const int64_t rows = longest < saved->block ? longest : saved->block, reach = saved->options.reach;
    const int64_t keys = saved->options.is_local && 2 * reach < longest - rows ? rows + 2 * reach : longest;
    const bool turned = saved->options.rotary != NULL, bf16 = saved->dtype == MB_BF16;
    const int64_t per_line = CACHE_LINE / (int64_t)sizeof(mb_real), halves = (int64_t)(sizeof(mb_real) / sizeof(mb_bf16));
    const int64_t padded = mb_bf16_padded(keys);
    *plan = (mb_attention_plan){.scores = rows * padded,
                                .kept = bf16                       ? mb_bf16_padded(rows) * padded / halves
                                        : backward && saved->drops ? rows * padded
                                                                   : 0,
                                .turned = turned ? mb_bf16_padded(longest) * size : 0,
                                .block = turned && backward ? rows * size : 0,
                                .apart = (turned || (bf16 && longest > rows)) && backward ? longest * size : 0,
                                .packed = packed_count(saved->dtype, rows, keys, size, backward)};
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

mb_attention_scratch mb_attention_my_scratch(const mb_attention_saved *saved, const mb_attention_plan *plan, bool backward) {
    mb_real *at = plan->memory + mb_tape_thread() * plan->share;
    mb_attention_scratch mine = {.packed = at, .apart = plan->apart > 0};
    at += plan->packed;
    mine.p = take(&at, plan->scores);
    mb_real *kept = take(&at, plan->kept);
    mine.r = (mb_part){.data = plan->kept > 0 ? kept : mine.p, .dtype = saved->dtype};
    mine.d = take(&at, backward ? plan->scores : 0);
    mine.q = take(&at, plan->turned);
    mine.k = take(&at, plan->turned);
    mine.dq = take(&at, plan->block);
    mine.dk = take(&at, plan->apart);
    mine.dvalue = take(&at, plan->apart);
    mine.row = take(&at, saved->width / saved->options.n_heads);
    return mine;
}

static void multiply_bf16(mb_bf16 *packed, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, mb_real alpha,
                          mb_part a, mb_part b, bool add, mb_part c) {
    mb_bf16_factor left = {
        .data = a.data, .stride = a.stride, .transposed = trans_a, .is_real = a.dtype != MB_BF16, .is_padded = a.is_padded};
    mb_bf16_factor right = {.data = b.data, .stride = b.stride, .transposed = trans_b, .is_real = b.dtype != MB_BF16};
    mb_bf16_store store = {.c = c.data, .stride = c.stride, .alpha = (float)alpha, .beta = add ? 1 : 0};
    const int64_t depth = mb_bf16_padded(k);
    const bool to_bf16 = c.dtype == MB_BF16;
    if (trans_a && !trans_b && n < m) { /* C^T = B^T A: of the two, B is less to turn */
        left.transposed = false;
        right.transposed = true;
        mb_bf16_pack(&left, k, m, depth, packed);
        mb_bf16_gemm(n, m, k, &right, (mb_bf16_packed){packed, depth},
                     to_bf16 ? mb_bf16_to_bf16_transposed(&store) : mb_bf16_to_real_transposed(&store));
        return;
    }
    mb_bf16_pack(&right, k, n, depth, packed);
    mb_bf16_gemm(m, n, k, &left, (mb_bf16_packed){packed, depth}, to_bf16 ? mb_bf16_to_bf16(&store) : mb_bf16_to_real(&store));
}

void mb_attention_multiply(const mb_attention_scratch *mine, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                           mb_real alpha, mb_part a, mb_part b, bool add, mb_part c) {
    if (mine->r.dtype == MB_BF16) {
        multiply_bf16(mine->packed, trans_a, trans_b, m, n, k, alpha, a, b, add, c);
        return;
    }
    mb_pack(trans_b, k, n, b.data, b.stride, alpha, mine->packed);
    mb_packed_gemm(m, n, k, trans_a ? mb_left_transposed(a.data, a.stride) : mb_left_rows(a.data, a.stride), mine->packed,
                   mb_to_rows(c.data, c.stride, add));
}
