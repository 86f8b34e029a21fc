#include "model/layout.h"

#include <string.h>

const mb_layout_names mb_layouts[MB_N_LAYOUTS] = {
    [MB_LAYOUT_BERT] = {.prefix = "bert.",
                        .word_embeddings = "bert.embeddings.word_embeddings.weight",
                        .decoder = "cls.predictions.decoder.weight",
                        .embeddings = "bert.embeddings.",
                        .layers = "bert.encoder.layer.",
                        .layer_format = "bert.encoder.layer.%d.output.dense.weight",
                        .encoder = {"bert.embeddings.", "bert.encoder."}},
    [MB_LAYOUT_MODERNBERT] = {.prefix = "model.",
                              .word_embeddings = "model.embeddings.tok_embeddings.weight",
                              .decoder = "decoder.weight",
                              .embeddings = "model.embeddings.",
                              .layers = "model.layers.",
                              .layer_format = "model.layers.%d.mlp.Wo.weight",
                              .encoder = {"model."}},
};

static const struct {
    const char *prefix, *tensor; /* the tensor's name goes on after the prefix */
    mb_part part;
} parts[MB_N_LAYOUTS][MB_N_PARTS] = {
    [MB_LAYOUT_BERT] = {{"bert.pooler.", "bert.pooler.dense.weight", MB_PART_POOLER},
                        {"cls.predictions.", "cls.predictions.transform.dense.weight", MB_PART_MASKED_LM},
                        {"cls.seq_relationship.", "cls.seq_relationship.weight", MB_PART_NEXT_SENTENCE},
                        {"classifier.", "classifier.weight", MB_PART_CLASSIFIER}},
    [MB_LAYOUT_MODERNBERT] = {{"head.", "head.dense.weight", MB_PART_TRANSFORM},
                              {"decoder.", "decoder.bias", MB_PART_MASKED_LM},
                              {"classifier.", "classifier.weight", MB_PART_CLASSIFIER}},
};

mb_part mb_layout_part(mb_layout layout, const char *view_name) {
    for (int i = 0; i < MB_N_PARTS && parts[layout][i].prefix; i++) {
        if (strncmp(view_name, parts[layout][i].prefix, strlen(parts[layout][i].prefix)) == 0) {
            return parts[layout][i].part;
        }
    }
    return MB_PART_ENCODER;
}

const char *mb_layout_part_tensor(mb_layout layout, mb_part part) {
    for (int i = 0; i < MB_N_PARTS && parts[layout][i].prefix; i++) {
        if (parts[layout][i].part == part) {
            return parts[layout][i].tensor;
        }
    }
    return NULL;
}

const char *mb_head_architecture(mb_layout layout, mb_head head) {
    static const char *const names[MB_N_LAYOUTS][MB_HEAD_TOKEN_CLASSIFIER + 1] = {
        [MB_LAYOUT_BERT] = {"BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification",
                            "BertForTokenClassification"},
        [MB_LAYOUT_MODERNBERT] = {"ModernBertModel", "ModernBertForMaskedLM", NULL, "ModernBertForSequenceClassification",
                                  "ModernBertForTokenClassification"}};
    return names[layout][head];
}

const char *mb_head_description(mb_head head) {
    static const char *const texts[] = {[MB_HEAD_NONE] = "an encoder without an output layer",
                                        [MB_HEAD_MASKED_LM] = "a masked language model",
                                        [MB_HEAD_PRETRAINING] = "a masked language model with a next-sentence head",
                                        [MB_HEAD_CLASSIFIER] = "a sequence classifier",
                                        [MB_HEAD_TOKEN_CLASSIFIER] = "a token classifier"};
    return texts[head];
}
