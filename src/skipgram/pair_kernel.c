#include "skipgram/pair_kernel.h"

#include <math.h>
#include <string.h>

#include "base/specialized.h"

/* Vectors of the compiler's own (GCC and clang): the same source is AVX2 and AVX-512. */
#ifdef __AVX512F__
#include <immintrin.h>
enum { LANES = 16, TILE_IN = 4 };
typedef float vec __attribute__((vector_size(64), may_alias));
typedef float row_vec __attribute__((vector_size(64), aligned(16), may_alias)); /* in a row, aligned as rows are */
#else
enum { LANES = 8, TILE_IN = 2 };
typedef float vec __attribute__((vector_size(32), may_alias));
typedef float row_vec __attribute__((vector_size(32), aligned(16), may_alias));
#endif
typedef float vec8 __attribute__((vector_size(32), aligned(32), may_alias));
typedef int32_t int8 __attribute__((vector_size(32), aligned(32), may_alias));
typedef float vec4 __attribute__((vector_size(16), aligned(16), may_alias));
typedef double dvec8 __attribute__((vector_size(64)));

/* Outputs held in registers at once: 6 outputs, their 6 sums and 3 more vectors fill the 16 of AVX2. Skip-Gram with 5
 * negatives has 6. Products of TILE_IN inputs with them have as many sums as there is room for: 12 of 16, and 24 of AVX-512's
 * 32. */
enum { TILE_OUT = 6, STEP_LANES = 8 };

/* LANES numbers of a row or, at its end, MB_ROW_FLOATS and zeros. */
MB_SPECIALIZED vec load(const float *at, int n) {
    if (n == LANES) {
        return *(const row_vec *)at;
    }
    const vec4 x = *(const vec4 *)at;
#ifdef __AVX512F__
    return (vec)_mm512_zextps128_ps512(x); /* gcc 12 would make a shuffle by way of memory */
#else
    return __builtin_shufflevector(x, (vec4){0}, 0, 1, 2, 3, 4, 5, 6, 7);
#endif
}
MB_SPECIALIZED void add(float *at, vec x, int n) {
    if (n == LANES) {
        *(row_vec *)at += x;
    } else {
        *(vec4 *)at += __builtin_shufflevector(x, x, 0, 1, 2, 3);
    }
}
MB_SPECIALIZED vec broadcast(float x) {
    return x - (vec){0};
}
MB_SPECIALIZED vec8 broadcast8(float x) {
    return x - (vec8){0};
}

MB_SPECIALIZED vec8 fold(vec x) {
#ifdef __AVX512F__
    return __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    return x;
#endif
}

/* The sums of four vectors' lanes. */
MB_SPECIALIZED vec4 sum_lanes(vec a16, vec b16, vec c16, vec d16) {
    const vec8 a = fold(a16), b = fold(b16), c = fold(c16), d = fold(d16);
    const vec8 ab =
        __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13) + __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
    const vec8 cd =
        __builtin_shufflevector(c, d, 0, 8, 1, 9, 4, 12, 5, 13) + __builtin_shufflevector(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
    const vec8 abcd =
        __builtin_shufflevector(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) + __builtin_shufflevector(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
    return __builtin_shufflevector(abcd, abcd, 0, 1, 2, 3) + __builtin_shufflevector(abcd, abcd, 4, 5, 6, 7);
}

MB_SPECIALIZED void dot_column(const float *const *in, int n_in, const float *const *out, int n_out, int64_t d, int n,
                               vec sum[TILE_IN][8]) {
    vec x[TILE_IN];
#pragma GCC unroll 4
    for (int i = 0; i < n_in; i++) {
        x[i] = load(in[i] + d, n);
    }
#pragma GCC unroll 8
    for (int o = 0; o < n_out; o++) {
        const vec row = load(out[o] + d, n);
#pragma GCC unroll 4
        for (int i = 0; i < n_in; i++) {
            sum[i][o] += x[i] * row;
        }
    }
}

/* f of `n_in` (1, 2 or TILE_IN) inputs and `n_out` outputs, constants where this is inlined; `step` has STEP_LANES floats for
 * an input at least, `pitch` from one input to the next. */
MB_SPECIALIZED void dot_tile(const float *const *in, int n_in, const float *const *out, int n_out, int64_t width, float *step,
                             int pitch) {
    vec sum[TILE_IN][8] = {{{0}}};
    int64_t d = 0;
    for (; d + LANES <= width; d += LANES) {
        dot_column(in, n_in, out, n_out, d, LANES, sum);
    }
    for (; d < width; d += MB_ROW_FLOATS) {
        dot_column(in, n_in, out, n_out, d, MB_ROW_FLOATS, sum);
    }
#pragma GCC unroll 4
    for (int i = 0; i < n_in; i++) {
        *(vec4 *)(step + i * pitch) = sum_lanes(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
        if (n_out > 4) {
            *(vec4 *)(step + i * pitch + 4) = sum_lanes(sum[i][4], sum[i][5], sum[i][5], sum[i][5]);
        }
    }
}

/* `n` numbers of all inputs and `n_out` outputs: u_o and their changes stay in registers while the inputs pass. */
MB_SPECIALIZED void update_column(const mb_pairs *p, int64_t d, int n, int begin, int n_out, const float *step, int pitch,
                                  vec *later) {
    vec row[TILE_OUT], change[TILE_OUT];
#pragma GCC unroll 8
    for (int o = 0; o < n_out; o++) {
        row[o] = load(p->out[begin + o] + d, n);
        change[o] = (vec){0};
    }
    for (int i = 0; i < p->n_in; i++) {
        const vec in = load(p->in[i] + d, n);
        vec in_change = {0};
#pragma GCC unroll 8
        for (int o = 0; o < n_out; o++) {
            const vec g = broadcast(step[i * pitch + o]);
            in_change += g * row[o];
            change[o] += g * in;
        }
        if (later) {
            later[i] += in_change;
        } else {
            add(p->in_sum[i] + d, in_change, n);
        }
    }
#pragma GCC unroll 8
    for (int o = 0; o < n_out; o++) {
        add(p->out_sum[begin + o] + d, change[o], n);
    }
}

MB_SPECIALIZED void update_tile(const mb_pairs *p, int64_t width, int n_out, const float *step, int pitch) {
    int64_t d = 0;
    for (; d + LANES <= width; d += LANES) {
        update_column(p, d, LANES, 0, n_out, step, pitch, NULL);
    }
    for (; d < width; d += MB_ROW_FLOATS) {
        update_column(p, d, MB_ROW_FLOATS, 0, n_out, step, pitch, NULL);
    }
}

/* Calls f(..., n_out, ...) with n_out a constant. */
#define WITH_CONSTANT(n, CALL) \
    switch (n) {               \
    case 1:                    \
        CALL(1);               \
        break;                 \
    case 2:                    \
        CALL(2);               \
        break;                 \
    case 3:                    \
        CALL(3);               \
        break;                 \
    case 4:                    \
        CALL(4);               \
        break;                 \
    case 5:                    \
        CALL(5);               \
        break;                 \
    default:                   \
        CALL(6);               \
        break;                 \
    }

/* `n` (1, 2 or TILE_IN) inputs from `i` on, and one tile's outputs. */
MB_SPECIALIZED void dot_outputs(mb_pairs *p, int i, int n, int tile, int64_t width, int pitch) {
    const int begin = tile * TILE_OUT, left = p->n_out - begin, n_out = left < TILE_OUT ? left : TILE_OUT;
    float *step = p->step + i * pitch + tile * STEP_LANES;
#define DOT(n_out) dot_tile(p->in + i, n, p->out + begin, n_out, width, step, pitch)
    WITH_CONSTANT(n_out, DOT)
}

/* `step` of an input: a tile's outputs in STEP_LANES floats, tile after tile. */
static void dots(mb_pairs *p, int64_t width, int n_tiles) {
    const int pitch = n_tiles * STEP_LANES;
    for (int t = 0; t < n_tiles; t++) {
        int i = 0;
        for (; i + TILE_IN <= p->n_in; i += TILE_IN) {
            dot_outputs(p, i, TILE_IN, t, width, pitch);
        }
        for (; i + 2 <= p->n_in; i += 2) {
            dot_outputs(p, i, 2, t, width, pitch);
        }
        if (i < p->n_in) {
            dot_outputs(p, i, 1, t, width, pitch);
        }
    }
}

/* The inputs must not change before the last tile has read them. */
MB_SPECIALIZED void update_tiles(const mb_pairs *p, int64_t d, int n, int n_tiles) {
    vec later[MB_PAIRS_MAX_IN];
    memset(later, 0, (size_t)p->n_in * sizeof *later);
    for (int t = 0; t < n_tiles; t++) {
        const int begin = t * TILE_OUT, left = p->n_out - begin, n_out = left < TILE_OUT ? left : TILE_OUT;
        const float *step = p->step + t * STEP_LANES;
#define UPDATE_COLUMN(n_out) update_column(p, d, n, begin, n_out, step, n_tiles *STEP_LANES, later)
        WITH_CONSTANT(n_out, UPDATE_COLUMN)
    }
    for (int i = 0; i < p->n_in; i++) {
        add(p->in_sum[i] + d, later[i], n);
    }
}

static void update(const mb_pairs *p, int64_t width, int n_tiles) {
    if (n_tiles == 1) {
#define UPDATE(n) update_tile(p, width, n, p->step, STEP_LANES)
        WITH_CONSTANT(p->n_out, UPDATE)
        return;
    }
    int64_t d = 0;
    for (; d + LANES <= width; d += LANES) {
        update_tiles(p, d, LANES, n_tiles);
    }
    for (; d < width; d += MB_ROW_FLOATS) {
        update_tiles(p, d, MB_ROW_FLOATS, n_tiles);
    }
}

/* sigma(x) = 1 / (1 + e^-x); e^y as 2^n e^r with |r| <= ln 2 / 2 (Cephes' expf), y kept within +-80. Relative error < 3e-7. */
MB_SPECIALIZED vec8 sigmoid(vec8 x) {
    const vec8 limit = broadcast8(80.0f);
    vec8 y = -x;
    int8 mask = y > limit;
    y = (vec8)(((int8)limit & mask) | ((int8)y & ~mask));
    mask = y < -limit;
    y = (vec8)(((int8)-limit & mask) | ((int8)y & ~mask));
    const vec8 shifter = broadcast8(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    const vec8 shifted = y * 1.44269504088896341f + shifter, n = shifted - shifter;
    const vec8 r = y - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts */
    vec8 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const int8 power = ((int8)shifted - 0x4B400000 + 127) << 23;
    return 1.0f / (1.0f + p * (vec8)power);
}

double mb_loss_sum_get(const mb_loss_sum *loss) {
    return loss->total - log(loss->product);
}

/* Multiplies by the product of eight numbers in [1e-36, 1]. */
MB_SPECIALIZED void add_loss(mb_loss_sum *loss, vec8 probabilities) {
    const dvec8 wide = __builtin_convertvector(probabilities, dvec8);
    const double factor = ((wide[0] * wide[1]) * (wide[2] * wide[3])) * ((wide[4] * wide[5]) * (wide[6] * wide[7]));
    const double product = loss->product * factor; /* factor >= 1e-288 */
    if (product > 1e-300) {
        loss->product = product;
    } else {
        loss->total -= log(loss->product);
        loss->product = factor;
    }
}

/* f to g, and the loss. */
static void steps(mb_pairs *p, int n_tiles, float alpha, mb_loss_sum *loss) {
    enum { ROWS_A_PRODUCT = 4 }; /* 1e-9 to the fourth is no denormal */
    const vec8 floor8 = broadcast8(1e-9f);
    for (int t = 0; t < n_tiles; t++) {
        const int begin = t * TILE_OUT, left = p->n_out - begin, n_out = left < TILE_OUT ? left : TILE_OUT;
        vec8 label = {0}, unused = broadcast8(1);
        for (int o = 0; o < n_out; o++) {
            label[o] = p->label[begin + o];
            unused[o] = 0;
        }
        const int8 is_negative = label == broadcast8(0);
        vec8 product = broadcast8(1);
        for (int i = 0; i < p->n_in; i++) {
            vec8 *at = (vec8 *)(p->step + (i * n_tiles + t) * STEP_LANES);
            const vec8 s = sigmoid(*at);
            *at = (label - s) * alpha;
            vec8 probability = (vec8)((is_negative & (int8)(1.0f - s)) | (~is_negative & (int8)s));
            const int8 is_small = probability<floor8, is_unused = unused> broadcast8(0);
            probability = (vec8)((is_small & (int8)floor8) | (~is_small & (int8)probability));
            probability = (vec8)((is_unused & (int8)broadcast8(1)) | (~is_unused & (int8)probability));
            product *= probability;
            if (i % ROWS_A_PRODUCT == ROWS_A_PRODUCT - 1 || i == p->n_in - 1) {
                add_loss(loss, product);
                product = broadcast8(1);
            }
        }
    }
}

void mb_pairs_train(mb_pairs *pairs, int64_t width, float alpha, mb_loss_sum *loss) {
    const int n_tiles = (pairs->n_out + TILE_OUT - 1) / TILE_OUT;
    if (pairs->n_in > 0 && n_tiles > 0) {
        dots(pairs, width, n_tiles);
        steps(pairs, n_tiles, alpha, loss);
        update(pairs, width, n_tiles);
    }
}
