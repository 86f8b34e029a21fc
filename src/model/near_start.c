/* Weights that begin with a look at what is near (model.h, mb_model_begin_near). */
#include <math.h>

#include "model/layers.h"

/* How the numbers were chosen: scripts/ablate/RESULTS.md, "A first look at what is near". */
static const double least_angle = 0.1; /* radians a token: frequencies above it tell near from far */
static const double strength = 4;      /* of the best place's score over the average one's */
static const double head_distance = 3; /* tokens between the places where neighbouring heads look */
static const double farthest = 6;      /* tokens, of the outermost head */
static const double head_gain = 0.2;   /* of the masked-LM head's matrix: GELU is near x / 2 for numbers so small */
static const double common_length = 1; /* of the direction that embeddings share, over that of what else they are made of */

/* The direction that all embeddings share: +1, -1, +1 ... over sqrt(H), which LayerNorm keeps, as its sum is 0. */
static double common(int64_t i, int64_t h) {
    return (i % 2 == 0 ? 1 : -1) / sqrt((double)h);
}

static mb_real *weights_of(mb_model *model, const mb_tensor *tensor) {
    return model->params.weights + mb_model_view(model, tensor)->offset;
}

/* Tokens from a query to the place that head `head` looks at. */
static double place_of(int32_t head, int32_t n_heads) {
    const double middle = 0.5 * (n_heads - 1);
    const double distance = middle * head_distance > farthest ? farthest / middle : head_distance;
    return distance * (head - middle);
}

static void share_a_direction(mb_model *model) {
    const int64_t h = model->config.hidden_size, count = (int64_t)model->config.vocab_size * h;
    const double length = common_length * model->config.initializer_range * sqrt((double)h);
    mb_real *embeddings = weights_of(model, model->embeddings.word);
    for (int64_t i = 0; i < count; i++) {
        embeddings[i] += (mb_real)(length * common(i % h, h));
    }
}

/* Queries and keys read the direction that all tokens share, a number of about `size`, into the planes that rotate fast; the
 * query's planes are turned towards the head's place. So the score of places p and q is the same for all tokens:
 *     strength * mean over planes of cos(angle (p + place - q)) */
static void look(mb_model *model, int32_t layer, double size) {
    const mb_model_config *config = &model->config;
    const int64_t h = config->hidden_size, d = h / config->n_heads;
    const double theta = config->is_local[layer] ? config->local_theta : config->global_theta;
    const int64_t fast = (int64_t)ceil((double)d / 2 * log(1 / least_angle) / log(theta)), n = fast < d / 2 ? fast : d / 2;
    const double gain = sqrt(strength * sqrt((double)d) / (double)n) / size;
    mb_real *queries = weights_of(model, model->layers[layer].qkv.weight), *keys = queries + h * h;
    for (int64_t row = 0; row < config->n_heads * n; row++) {
        const int64_t head = row / n, plane = row % n, first = (head * d + plane) * h, second = first + d / 2 * h;
        const double turn = pow(theta, -2 * (double)plane / (double)d) * place_of((int32_t)head, config->n_heads);
        for (int64_t i = 0; i < h; i++) {
            const double x = gain * common(i, h);
            queries[first + i] += (mb_real)(x * cos(turn));
            queries[second + i] += (mb_real)(x * sin(turn));
            keys[first + i] += (mb_real)x;
        }
    }
}

/* m += gain I */
static void add_identity(mb_real *m, int64_t h, double gain) {
    for (int64_t i = 0; i < h; i++) {
        m[i * h + i] += (mb_real)gain;
    }
}

void mb_model_begin_near(mb_model *model) {
    const mb_model_config *config = &model->config;
    const int64_t h = config->hidden_size;
    if (config->layout != MB_LAYOUT_MODERNBERT) {
        return;
    }
    share_a_direction(model);
    for (int32_t l = 0; l < config->n_layers; l++) {
        look(model, l, sqrt((double)h / (1 + 1 / (common_length * common_length))));
        add_identity(weights_of(model, model->layers[l].qkv.weight) + 2 * h * h, h, 1); /* values: what is there */
        add_identity(weights_of(model, model->layers[l].attention_output.weight), h, 1 / sqrt((double)config->n_layers));
    }
    if (model->heads.transform.weight) {
        mb_real *m = weights_of(model, model->heads.transform.weight);
        for (int64_t i = 0; i < h * h; i++) { /* all but the shared direction */
            m[i] += (mb_real)(head_gain * ((i / h == i % h) - common(i / h, h) * common(i % h, h)));
        }
    }
}
