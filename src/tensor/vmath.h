/* Elementary functions that the compiler vectorises inside a loop. In fp32 they are polynomials of stated error; in the double
 * build (gradient checks) they are libm's. */
#ifndef MB_TENSOR_VMATH_H
#define MB_TENSOR_VMATH_H

#include <math.h>
#include <stdint.h>

#include "base/wraps.h"
#include "tensor/tensor.h"

#ifdef MB_REAL_IS_DOUBLE
#define MB_REAL_C(x) x
static inline double mb_exp(double x) {
    return exp(x);
}
static inline double mb_sqrt(double x) {
    return sqrt(x);
}
static inline double mb_abs(double x) {
    return fabs(x);
}
static inline double mb_copysign(double x, double sign) {
    return copysign(x, sign);
}
#else
#define MB_REAL_C(x) x##f
static inline float mb_sqrt(float x) {
    return sqrtf(x);
}
static inline float mb_abs(float x) {
    return fabsf(x);
}
static inline float mb_copysign(float x, float sign) {
    return copysignf(x, sign);
}

/* Polynomials are in Estrin's form, by powers of the square: as many operations as Horner's, and a third of the time until the
 * last one is done, which is what a loop waits for.
 *
 * e^x for x up to 88, which is not looked at, as most of what is raised here is 0 or less: x = n ln 2 + r with |r| <= ln 2 / 2,
 * then 2^n times a degree-6 polynomial for e^r (Cephes expf's reduction; the coefficients are Taylor's with a minimax last
 * term). Relative error < 1.2e-7 on [-87, 88]; below -87 it stays at e^-87, never a denormal, which would be slow. */
MB_WRAPS static inline float mb_exp(float x) {
    x = x < -87.0f ? -87.0f : x;
    /* 1.5 2^23 + 127: a sum with it is rounded to an integer, whose last bits are those of n + 127, the exponent of 2^n. */
    const float shifter = 12583039.0f;
    union {
        float f;
        uint32_t i;
    } shifted = {x * 1.44269504088896341f + shifter}, scale;
    float n = shifted.f - shifter;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts */
    float square = r * r;
    float low = 1.6666665459e-1f * r + 5.0000001201e-1f, middle = 8.3334519073e-3f * r + 4.1665795894e-2f;
    float high = 1.9875691500e-4f * r + 1.3981999507e-3f;
    float p = ((high * square + middle) * square + low) * square + (r + 1.0f);
    scale.i = shifted.i << 23;
    return p * scale.f;
}
#endif

/* Phi(x), the normal distribution function, and its density phi(x) = e^(-x^2/2) / sqrt(2 pi), which share one exponential.
 * fp32: 1 - Phi(|x|) = e^(-x^2/2) P(|x|), P of degree 10 such that the largest error of the product is smallest (Lawson's
 * iteration on [0, 7]). Absolute error of Phi < 1.5e-7 with rounding. Abramowitz & Stegun 7.1.26 has half
 * the degree, a division and a larger error. */
static inline mb_real mb_normal_cdf(mb_real x, mb_real *density) {
    mb_real e = mb_exp(MB_REAL_C(-0.5) * x * x);
    *density = e * MB_REAL_C(0.3989422804014327);
#ifdef MB_REAL_IS_DOUBLE
    return 0.5 * erfc(-x * 0.7071067811865476);
#else
    float a = fabsf(x);
    a = a > 14.0f ? 14.0f : a; /* where e no longer falls */
    float square = a * a, fourth = square * square;
    float low = (-1.32513806e-1f * a + 2.49916792e-1f) * square + (-3.98936510e-1f * a + 4.99999940e-1f);
    float middle = (-1.97463017e-3f * a + 7.93939736e-3f) * square + (-2.43139397e-2f * a + 6.11548945e-2f);
    float high = 1.63169523e-6f * square + (-3.52078787e-5f * a + 3.39739141e-4f);
    float tail = ((high * fourth + middle) * fourth + low) * e; /* 1 - Phi(|x|) */
    return x < 0.0f ? tail : 1.0f - tail;
#endif
}

static inline mb_real mb_tanh(mb_real x) {
#ifdef MB_REAL_IS_DOUBLE
    return tanh(x);
#else
    /* (1 - q) / (1 + q) with q = e^(-2|x|); below 0.05 the odd Taylor terms, where 1 - q would cancel. Relative error < 3e-7.
     */
    float a = fabsf(x), q = mb_exp(-2.0f * a);
    float large = (1.0f - q) / (1.0f + q), square = a * a;
    float small = a * (1.0f + square * (-0.33333334f + square * (0.13333334f - square * 0.053968254f)));
    float t = a < 0.05f ? small : large;
    return x < 0.0f ? -t : t;
#endif
}

#endif
