#!/usr/bin/env python3
"""Makes tests/golden/model_*: small seeded BERTs written by transformers, a batch, and what PyTorch computes in double precision.

    python3 scripts/golden/model.py [tests/golden]        (needs torch, transformers and safetensors)

model_pretraining/, model_classifier/     directories as save_pretrained writes them
model_gelu, _gelu_new, _relu.safetensors  the batch (I32, packed: no padding), logits, losses and every named gradient of
                                          BertForPreTraining with that activation
model_classifier.safetensors              the same of BertForSequenceClassification
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForPreTraining, BertForSequenceClassification

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


def randomize(model):
    """Weights large enough that every part matters; the biases and LayerNorms too, which transformers makes constant."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.normal_(0.0, 0.3)
            if "LayerNorm.weight" in name:
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


if __name__ == "__main__":
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden")
    directory.mkdir(parents=True, exist_ok=True)
    pretraining(directory)
    classifier(directory)
