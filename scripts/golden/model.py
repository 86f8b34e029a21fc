#!/usr/bin/env python3
"""Makes tests/golden/model_*: small seeded BERTs and ModernBERTs written by transformers, a batch, and what PyTorch computes in double precision.

    python3 scripts/golden/model.py [tests/golden]        (needs torch, transformers and safetensors)

model_pretraining/, model_classifier/     directories as save_pretrained writes them
model_gelu, _gelu_new, _relu.safetensors  the batch (I32, packed: no padding), logits, losses and every named gradient of
                                          BertForPreTraining with that activation
model_classifier.safetensors              the same of BertForSequenceClassification
model_modernbert/, _modernbert_classifier/ and the .safetensors beside them: the same of ModernBertForMaskedLM, and of
                                          ModernBertForSequenceClassification with every bias, mean pooling and another pattern of
                                          local layers; in both a local layer sees less than the longest sequence
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForSequenceClassification,
)

LENGTHS = [7, 1, 12, 4]  # 1: a sequence of [CLS] alone; 12: the longest the model has positions for
SIZES = dict(
    vocab_size=40,
    hidden_size=20,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=28,
    max_position_embeddings=12,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    attn_implementation="eager",
)
MODERN_SIZES = dict(
    vocab_size=40,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=12,
    local_attention=5,
    pad_token_id=0,
    cls_token_id=2,
    sep_token_id=3,
    bos_token_id=2,
    eos_token_id=3,
    attn_implementation="eager",
)


def randomize(model):
    """Weights large enough that every part matters; the biases and LayerNorms too, which transformers makes constant."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.normal_(0.0, 0.3)
            if "LayerNorm.weight" in name or "norm.weight" in name:
                parameter.add_(1.0)


def make_batch():
    n, longest = len(LENGTHS), max(LENGTHS)
    ids = torch.randint(1, SIZES["vocab_size"], (n, longest))
    types = torch.zeros_like(ids)
    mask = torch.zeros_like(ids)
    for b, length in enumerate(LENGTHS):
        mask[b, :length] = 1
        types[b, length // 2 : length] = 1
    return {"input_ids": ids * mask, "token_type_ids": types * mask, "attention_mask": mask}


def packed(batch, values):
    return values[batch["attention_mask"].bool()]


def int32(values):
    return torch.as_tensor(values).to(torch.int32).contiguous()


def write(path, ints, reals, model):
    tensors = {name: int32(value) for name, value in ints.items()}
    tensors |= {name: value.detach().to(torch.float32).contiguous().clone() for name, value in reals.items()}
    for name, parameter in model.named_parameters():
        tensors["grad." + name] = parameter.grad.to(torch.float32).contiguous()
    save_file(tensors, path)


def batch_ints(batch):
    offsets = [0]
    for length in LENGTHS:
        offsets.append(offsets[-1] + length)
    return {"ids": packed(batch, batch["input_ids"]), "types": packed(batch, batch["token_type_ids"]), "offsets": offsets}


def pretraining(out):
    torch.manual_seed(20181011)
    model = BertForPreTraining(BertConfig(**SIZES))
    randomize(model)
    model.save_pretrained(out / "model_pretraining")
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    batch = make_batch()
    rows = [1, 3, 6, 7, 8, 12, 19, 23]  # packed token numbers, the sequence of length 1 among them
    targets = torch.randint(1, SIZES["vocab_size"], (len(rows),))
    next_sentence = torch.tensor([0, 1, 1, 0])
    labels = torch.full((sum(LENGTHS),), -100)
    labels[rows] = targets
    padded = torch.full_like(batch["input_ids"], -100)
    padded[batch["attention_mask"].bool()] = labels
    for activation in ("gelu", "gelu_new", "relu"):
        model = BertForPreTraining(BertConfig(**SIZES, hidden_act=activation))
        model.load_state_dict(weights)
        model.double().eval()
        outputs = model(**batch, labels=padded, next_sentence_label=next_sentence, output_hidden_states=True)
        outputs.loss.backward()
        masked_lm = torch.nn.functional.cross_entropy(packed(batch, outputs.prediction_logits)[rows], targets)
        ints = batch_ints(batch) | {"rows": rows, "targets": targets, "next_sentence": next_sentence}
        reals = {f"hidden.{i}": packed(batch, hidden) for i, hidden in enumerate(outputs.hidden_states)} | {
            "masked_lm_logits": packed(batch, outputs.prediction_logits)[rows],
            "masked_lm_loss": masked_lm.reshape(1),
            "next_sentence_logits": outputs.seq_relationship_logits,
            "loss": outputs.loss.reshape(1),
        }
        write(out / f"model_{activation}.safetensors", ints, reals, model)


def classifier(out):
    torch.manual_seed(20190524)
    config = BertConfig(**SIZES, num_labels=3, id2label={0: "bad", 1: "so-so", 2: "好"}, problem_type="single_label_classification")
    model = BertForSequenceClassification(config)
    randomize(model)
    model.save_pretrained(out / "model_classifier")
    model.double().eval()
    batch = make_batch()
    labels = torch.tensor([2, 0, 1, 2])
    outputs = model(**batch, labels=labels)
    outputs.loss.backward()
    reals = {"logits": outputs.logits, "loss": outputs.loss.reshape(1)}
    write(out / "model_classifier.safetensors", batch_ints(batch) | {"labels": labels}, reals, model)


def sequences_alone(batch):
    """Each sequence by itself: transformers' sliding window leaves a padded query nothing to see, which gives NaN."""
    return [batch["input_ids"][b : b + 1, :length] for b, length in enumerate(LENGTHS)]


def modern_ints(batch):
    return batch_ints(batch | {"token_type_ids": torch.zeros_like(batch["input_ids"])})


def modernbert(out):
    torch.manual_seed(20241218)
    model = ModernBertForMaskedLM(ModernBertConfig(**MODERN_SIZES, global_attn_every_n_layers=2))
    randomize(model)
    model.save_pretrained(out / "model_modernbert")
    model.double().eval()
    batch = make_batch()
    rows = [1, 3, 6, 7, 8, 12, 19, 23]
    targets = torch.randint(1, MODERN_SIZES["vocab_size"], (len(rows),))
    outputs = [model(input_ids=ids, output_hidden_states=True) for ids in sequences_alone(batch)]
    logits = torch.cat([output.logits[0] for output in outputs])[rows]
    loss = torch.nn.functional.cross_entropy(logits, targets)
    loss.backward()
    layers = zip(*(output.hidden_states for output in outputs), strict=True)
    reals = {f"hidden.{i}": torch.cat([hidden[0] for hidden in layer]) for i, layer in enumerate(layers)}
    reals |= {"masked_lm_logits": logits, "loss": loss.reshape(1)}
    write(out / "model_modernbert.safetensors", modern_ints(batch) | {"rows": rows, "targets": targets}, reals, model)


def modernbert_classifier(out):
    torch.manual_seed(20250113)
    config = ModernBertConfig(
        **MODERN_SIZES,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        hidden_activation="gelu_new",
        classifier_activation="relu",
        classifier_pooling="mean",
        attention_bias=True,
        mlp_bias=True,
        norm_bias=True,
        classifier_bias=True,
        num_labels=3,
        problem_type="single_label_classification",
    )
    model = ModernBertForSequenceClassification(config)
    randomize(model)
    model.save_pretrained(out / "model_modernbert_classifier")
    model.double().eval()
    batch = make_batch()
    labels = torch.tensor([2, 0, 1, 2])
    logits = torch.cat([model(input_ids=ids).logits for ids in sequences_alone(batch)])
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()
    reals = {"logits": logits, "loss": loss.reshape(1)}
    write(out / "model_modernbert_classifier.safetensors", modern_ints(batch) | {"labels": labels}, reals, model)


if __name__ == "__main__":
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden")
    directory.mkdir(parents=True, exist_ok=True)
    pretraining(directory)
    classifier(directory)
    modernbert(directory)
    modernbert_classifier(directory)
