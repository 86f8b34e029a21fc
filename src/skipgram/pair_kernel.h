/* The arithmetic of Skip-Gram: a few input rows against a few output rows, all pairs at once.
 *
 * For inputs v_i and outputs u_o with labels t_o (1: seen together, 0: a negative, or a turn in a Huffman tree):
 *
 *     f_io = v_i . u_o         loss = - sum_io log sigma(f_io if t_o else -f_io)
 *     g_io = alpha (t_o - sigma(f_io))
 *     v_i += sum_o g_io u_o    u_o += sum_i g_io v_i
 *
 * (Mikolov et al. 2013, equation 4, and Goldberg & Levy 2014. The factor on a negative is -sigma(v . u): the derivative of
 * log sigma(-x) is -sigma(x).) One input is the plain algorithm, a pair at a time. All the words of a window against one set of
 * outputs make the same sums matrix products (Ji et al. 2016, arXiv 1604.04661), small enough to be held in registers. */
#ifndef MB_SKIPGRAM_PAIR_KERNEL_H
#define MB_SKIPGRAM_PAIR_KERNEL_H

#include <stdint.h>

enum { MB_PAIRS_MAX_IN = 128, MB_PAIRS_MAX_OUT = 126, MB_PAIRS_STEP_FLOATS = 168 };
/* Rows are this many floats apart or a multiple of it, aligned to as many, and zero behind their width. */
enum { MB_ROW_FLOATS = 4 };

/* What a call reads and where it adds. For training in place in_sum is in and out_sum is out; else the sums are gradients
 * times alpha, added to rows of their own. A row given twice gets both its changes. */
typedef struct mb_pairs {
    int n_in, n_out;
    const float *in[MB_PAIRS_MAX_IN], *out[MB_PAIRS_MAX_OUT];
    float *in_sum[MB_PAIRS_MAX_IN], *out_sum[MB_PAIRS_MAX_OUT];
    float label[MB_PAIRS_MAX_OUT];                                                   /* 0 or 1 */
    float step[MB_PAIRS_MAX_IN * MB_PAIRS_STEP_FLOATS] __attribute__((aligned(64))); /* work space: f, then g */
} mb_pairs;

/* Sum of losses, kept as a product as long as that does not underflow: a logarithm a pair would cost more than the pair.
 * Begins as {.product = 1}. */
typedef struct mb_loss_sum {
    double product, total;
} mb_loss_sum;
double mb_loss_sum_get(const mb_loss_sum *loss);

/* `width` floats a row, taken up to a multiple of MB_ROW_FLOATS. Adds the losses of the n_in * n_out pairs, as they were before
 * the change. */
void mb_pairs_train(mb_pairs *pairs, int64_t width, float alpha, mb_loss_sum *loss);

#endif
