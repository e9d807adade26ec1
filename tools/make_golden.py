"""Compute golden data: outputs, gradients and losses of the reference LXMERT for random weights.

The script needs PyTorch and transformers in a separate environment, and nothing of this project:

    python3.11 -m venv oracle && oracle/bin/pip install -r requirements/oracle.txt
    oracle/bin/python tools/make_golden.py --size small --output golden

`LXMERT_GOLDEN=golden make test-all` then compares the models with it. The script writes to a
subfolder of `--output` that is named for the size:

config.json             fields of LxmertConfig
optimizer.json          settings of the optimizer
inputs.npz              a batch with labels (-1: ignored) and the detector's confidences
weights.safetensors     weights, named as in the original code
*_LXRT.pth              the same in three forms of PyTorch checkpoints; not at the published size
outputs.npz             hidden states, logits, losses (`loss_*`, as they enter the total), and
                        `bertadam_losses`: the loss before each step of the optimizer
gradients.safetensors   gradients of the total loss, by name; at the published size only small ones
gradient_norms.json     norms of all gradients, by name

At the published size (228 million weights) weights.safetensors has 0.9 GB and the rest 9 MB;
computing them takes two minutes on two cores and 5 GB of memory.

The model is transformers' LxmertForPreTraining, in float32 and without dropout. The losses are
computed here, because those of transformers differ from the original code's (airsplay/lxmert). Two
properties of the original code may surprise: object and attribute losses are weighted by the
detector's confidence over ALL regions, masked or not; and row 0 of each embedding table gets no
gradient from look-ups (padding_idx=0).
"""

import argparse
import dataclasses
import json
import math
import os
import pathlib
import sys
import tempfile

import numpy as np
import safetensors.numpy
import torch
import transformers
from torch.nn import functional

# The original code divides the losses over regions by the rate at which it masks them.
REGION_LOSS_SCALE = 1 / 0.15
IGNORED = -1

PUBLISHED = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "language_layers": 9,
    "cross_layers": 5,
    "relationship_layers": 5,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "region_feature_size": 2048,
    "region_box_size": 4,
    "num_objects": 1600,
    "num_attributes": 400,
    "num_answers": 9500,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout": 0.1,
    "attention_dropout": 0.1,
    "initializer_range": 0.02,
}
SMALL = {
    **PUBLISHED,
    "hidden_size": 48,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "language_layers": 2,
    "cross_layers": 2,
    "relationship_layers": 1,
    "vocab_size": 211,
    "max_position_embeddings": 64,
    "region_feature_size": 24,
    "num_objects": 13,
    "num_attributes": 7,
    "num_answers": 17,
}
REGION_MASK = {
    **SMALL,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "language_layers": 1,
    "relationship_layers": 2,
    "vocab_size": 97,
    "region_feature_size": 16,
    "num_objects": 11,
    "num_attributes": 5,
    "num_answers": 9,
}
# Fields that transformers names differently.
TRANSFORMERS_FIELDS = {
    "language_layers": "l_layers",
    "cross_layers": "x_layers",
    "relationship_layers": "r_layers",
    "region_feature_size": "visual_feat_dim",
    "region_box_size": "visual_pos_dim",
    "num_objects": "num_object_labels",
    "num_attributes": "num_attr_labels",
    "num_answers": "num_qa_labels",
    "hidden_dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}


@dataclasses.dataclass(frozen=True)
class Size:
    """Sizes of one set of golden data.

    Args:
        config: Fields of LxmertConfig.
        batch: Examples in the batch.
        tokens: Word pieces per sentence.
        regions: Regions per image.
        kernel_scale: Standard deviation of matrices and embedding tables.
        learning_rate: Peak learning rate of the optimizer.
        steps: Steps of the optimizer.
        has_region_mask: Whether some of the regions are padding.
        largest_gradient: Most elements of a gradient that is written; larger ones have only a norm.
        has_torch_files: Whether to write PyTorch checkpoints, too.
    """

    config: dict
    batch: int
    tokens: int
    regions: int
    kernel_scale: float
    learning_rate: float
    steps: int
    has_region_mask: bool = False
    largest_gradient: float = math.inf
    has_torch_files: bool = True


SIZES = {
    "small": Size(SMALL, 5, 9, 6, 0.08, 1e-3, 20),
    "small_region_mask": Size(REGION_MASK, 4, 7, 8, 0.08, 1e-3, 20, has_region_mask=True),
    "published": Size(
        PUBLISHED, 2, 20, 36, 0.02, 1e-4, 5, largest_gradient=10_000, has_torch_files=False
    ),
}


def main() -> int:
    """Parse the command line and write the golden data; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", required=True, choices=SIZES, help="sizes of model and batch")
    parser.add_argument(
        "--output", required=True, type=pathlib.Path, help="parent of the new folder"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    args = parser.parse_args()
    folder = args.output / args.size
    if folder.exists():
        parser.error(f"{folder} already exists; remove it or choose another --output")
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.output, prefix=".golden-") as scratch:
        written = pathlib.Path(scratch) / args.size
        written.mkdir()
        write(SIZES[args.size], np.random.default_rng(args.seed), written)
        os.rename(written, folder)
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f} MB")
    return 0


def write(size: Size, random: np.random.Generator, folder: pathlib.Path) -> None:
    """Write one set of golden data.

    Args:
        size: Sizes of model and batch.
        random: Source of weights and inputs.
        folder: An empty folder.
    """
    model = make_model(size, random)
    inputs = make_inputs(size, random)
    parameters = {release_name(name): p for name, p in model.named_parameters()}
    write_json(folder / "config.json", size.config)
    np.savez(folder / "inputs.npz", **inputs)
    write_weights(parameters, size, folder)

    batch = {name: torch.from_numpy(array) for name, array in inputs.items()}
    outputs = forward(model, batch)
    losses = loss_terms(outputs, batch)
    outputs.update({f"loss_{name}": loss for name, loss in losses.items()})
    outputs["loss_total"] = sum(losses.values())
    arrays = {name: value.detach().numpy() for name, value in outputs.items()}
    outputs["loss_total"].backward()
    write_gradients(parameters, size, folder)

    settings = {
        "lr": size.learning_rate,
        "warmup": 0.1,
        "t_total": size.steps,
        "clip_norm": 1.0,
        "weight_decay": 0.01,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-6,
    }
    write_json(folder / "optimizer.json", settings)
    arrays["bertadam_losses"] = np.array(train(model, batch, settings))
    np.savez(folder / "outputs.npz", **arrays)


def make_model(size: Size, random: np.random.Generator) -> transformers.LxmertForPreTraining:
    """Build a model whose random weights keep every term of its formulas away from zero and one."""
    fields = {TRANSFORMERS_FIELDS.get(name, name): value for name, value in size.config.items()}
    model = transformers.LxmertForPreTraining(transformers.LxmertConfig(**fields)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = random.standard_normal(parameter.shape, np.float32)
            if parameter.ndim > 1:
                values = size.kernel_scale * values
            elif name.endswith("weight"):
                values = 1 + np.float32(0.15) * values
            else:
                values = np.float32(0.05) * values
            parameter.copy_(torch.from_numpy(values))
    return model


def make_inputs(size: Size, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw a batch: sentences of different lengths in two segments, regions, and labels."""
    config = size.config
    words, regions = (size.batch, size.tokens), (size.batch, size.regions)
    lengths = random.integers(size.tokens // 2, size.tokens + 1, size.batch)
    token_mask = np.arange(size.tokens) < lengths[:, None]
    token_ids = random.integers(1, config["vocab_size"], words) * token_mask
    second = np.arange(size.tokens) >= (lengths // 2)[:, None]
    lm_labels = random.integers(0, config["vocab_size"], words)
    is_masked = token_mask & (random.random(words) < 0.3)
    is_masked[:, 1] = True
    matched = np.arange(size.batch) % 2
    answers = random.integers(0, config["num_answers"], size.batch)
    features = (*regions, config["region_feature_size"])
    corners = np.sort(random.random((*regions, 2, 2), np.float32), axis=2)
    inputs = {
        "token_ids": token_ids,
        "token_mask": token_mask.astype(np.int64),
        "segment_ids": (second & token_mask).astype(np.int64),
        # The features of the detector are outputs of a ReLU.
        "region_features": np.maximum(random.standard_normal(features, np.float32), 0),
        "region_boxes": corners.reshape(*regions, 4),
        "lm_labels": np.where(is_masked, lm_labels, IGNORED),
        "matched_labels": matched,
        "answer_labels": np.where(matched, answers, IGNORED),
        "obj_labels": random.integers(0, config["num_objects"], regions),
        "obj_weights": random.random(regions, np.float32),
        "attr_labels": random.integers(0, config["num_attributes"], regions),
        "attr_weights": random.random(regions, np.float32),
        "feat_target": random.standard_normal(features, np.float32),
        "feat_mask": (random.random(regions) < 0.3).astype(np.float32),
    }
    # The detector finds no attribute for some regions.
    inputs["attr_labels"][:, 0] = IGNORED
    if size.has_region_mask:
        counts = random.integers(size.regions // 2, size.regions + 1, size.batch)
        inputs["region_mask"] = (np.arange(size.regions) < counts[:, None]).astype(np.int64)
    return inputs


def forward(model, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return hidden states and logits, named as in outputs.npz."""
    states = model.lxmert(
        input_ids=batch["token_ids"],
        token_type_ids=batch["segment_ids"],
        attention_mask=batch["token_mask"],
        visual_feats=batch["region_features"],
        visual_pos=batch["region_boxes"],
        visual_attention_mask=batch.get("region_mask"),
    )
    lm_logits, matched_logits = model.cls(states.language_output, states.pooled_output)
    regions = model.obj_predict_head(states.vision_output)
    return {
        "language": states.language_output,
        "vision": states.vision_output,
        "pooled": states.pooled_output,
        "lm_logits": lm_logits,
        "matched_logits": matched_logits,
        "obj_logits": regions["obj"],
        "attr_logits": regions["attr"],
        "feat_pred": regions["feat"],
        "answer_logits": model.answer_head(states.pooled_output),
    }


def loss_terms(outputs, batch) -> dict[str, torch.Tensor]:
    """Return the losses of the original code, whose sum is the total."""
    smooth = functional.smooth_l1_loss(outputs["feat_pred"], batch["feat_target"], reduction="none")
    return {
        "masked_lm": cross_entropy(outputs["lm_logits"], batch["lm_labels"]),
        "matched": cross_entropy(outputs["matched_logits"], batch["matched_labels"]),
        "obj": weighted_cross_entropy(
            outputs["obj_logits"], batch["obj_labels"], batch["obj_weights"]
        ),
        "attr": weighted_cross_entropy(
            outputs["attr_logits"], batch["attr_labels"], batch["attr_weights"]
        ),
        "feat": REGION_LOSS_SCALE * (smooth.mean(-1) * batch["feat_mask"]).mean(),
        "answer": cross_entropy(outputs["answer_logits"], batch["answer_labels"]),
    }


def cross_entropy(logits, labels, reduction: str = "mean") -> torch.Tensor:
    """Return the cross-entropy over the positions that have a label."""
    return functional.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction=reduction
    )


def weighted_cross_entropy(logits, labels, confidences) -> torch.Tensor:
    """Return the cross-entropy times the detector's confidence, averaged over all regions."""
    each = cross_entropy(logits, labels, reduction="none")
    return REGION_LOSS_SCALE * (each * confidences.flatten()).mean()


def train(model, batch, settings: dict) -> list[float]:
    """Train with BertAdam and return the loss before each step.

    BertAdam is Adam without bias correction and with decoupled weight decay.
    """
    parameters = list(model.parameters())
    slots = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    losses = []
    for step in range(settings["t_total"]):
        model.zero_grad()
        total = sum(loss_terms(forward(model, batch), batch).values())
        losses.append(total.item())
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings["clip_norm"])
        rate = settings["lr"] * warmup_linear(step / settings["t_total"], settings["warmup"])
        with torch.no_grad():
            for parameter, (first, second) in zip(parameters, slots):
                gradient = parameter.grad
                first.mul_(settings["beta1"]).add_(gradient, alpha=1 - settings["beta1"])
                second.mul_(settings["beta2"]).add_(gradient**2, alpha=1 - settings["beta2"])
                update = first / (second.sqrt() + settings["eps"])
                parameter -= rate * (update + settings["weight_decay"] * parameter)
    return losses


def warmup_linear(progress: float, warmup: float) -> float:
    """Return the factor of the peak rate: 0 to 1 until `warmup`, then back to 0 at progress 1."""
    if progress < warmup:
        return progress / warmup
    return (1 - progress) / (1 - warmup)


def release_name(name: str) -> str:
    """Return the original code's name of a parameter in transformers."""
    return name.replace("lxmert.", "bert.", 1)


def write_weights(parameters, size: Size, folder: pathlib.Path) -> None:
    """Write the weights; PyTorch checkpoints hold the tied masked-LM weights under both names."""
    tensors = {name: parameter.detach() for name, parameter in parameters.items()}
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    safetensors.numpy.save_file(arrays, folder / "weights.safetensors")
    if not size.has_torch_files:
        return
    tied = tensors["bert.embeddings.word_embeddings.weight"]
    state = {**tensors, "cls.predictions.decoder.weight": tied}
    torch.save(state, folder / "zip_LXRT.pth")
    torch.save(state, folder / "legacy_LXRT.pth", _use_new_zipfile_serialization=False)
    prefixed = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save(prefixed, folder / "multigpu_LXRT.pth")


def write_gradients(parameters, size: Size, folder: pathlib.Path) -> None:
    """Write the gradients, large ones only as norms."""
    gradients = {name: parameter.grad.numpy() for name, parameter in parameters.items()}
    norms = {name: float(np.linalg.norm(g.astype(np.float64))) for name, g in gradients.items()}
    write_json(folder / "gradient_norms.json", norms)
    kept = {name: g for name, g in gradients.items() if g.size <= size.largest_gradient}
    safetensors.numpy.save_file(kept, folder / "gradients.safetensors")


def write_json(path: pathlib.Path, content: dict) -> None:
    """Write a mapping as indented JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
