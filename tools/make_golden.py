"""Makes golden numbers: what the reference LXMERT computes, from seeded random weights.

It needs PyTorch and transformers, and nothing of this project, in an environment of their own:

    python3.11 -m venv oracle && oracle/bin/pip install -r requirements/oracle.txt
    oracle/bin/python tools/make_golden.py --size small --output golden

Then `LXMERT_GOLDEN=golden make test-all` compares. `--output` gets a folder named for the size:

config.json             the fields of LxmertConfig
optimizer.json          the settings of the optimizer
inputs.npz              one batch with its labels (-1: ignored) and the detector's confidences
weights.safetensors     under the release's names
*_LXRT.pth              the same in PyTorch's three forms; not at the published size
outputs.npz             hidden states, logits, losses (`loss_*`, as they enter the total), and
                        `bertadam_losses`: the loss before each step of the optimizer
gradients.safetensors   of the total, by name; at the published size vectors and small tables alone
gradient_norms.json     the norm of every gradient, by name

At the published size (228 million weights) weights.safetensors has 0.9 GB, the rest 9 MB; making
them takes two minutes and 5 GB of memory on two cores.

The model is transformers' LxmertForPreTraining, in float32 and without dropout. The losses are
written here, since transformers' differ from the release's. Two things surprise in the release, and
are as there: object and attribute losses are weighted by the detector's confidence over ALL
regions, masked or not; and row 0 of each embedding table gets no gradient from look-ups
(padding_idx=0).
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

# The release divides the losses over regions by the rate at which it masks them.
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
# transformers' names for the fields that it calls otherwise.
THEIR_FIELDS = {
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
    """One set of numbers.

    Args:
        config: the fields of LxmertConfig.
        batch, tokens, regions: of the inputs.
        kernel_scale: standard deviation of matrices and tables.
        learning_rate, steps: of the optimizer.
        has_region_mask: whether some of the regions are padding.
        largest_gradient: gradients of more elements are left to their norms.
        has_torch_files: whether the weights are written for PyTorch too.
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
    """The command line."""
    parser = argparse.ArgumentParser(description="Golden numbers of the reference LXMERT.")
    parser.add_argument("--size", required=True, choices=SIZES)
    parser.add_argument("--output", required=True, type=pathlib.Path, help="the folder of folders")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = args.output / args.size
    if folder.exists():
        parser.error(f"{folder} already exists; remove it, or name another --output")
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.output, prefix=".golden-") as scratch:
        written = pathlib.Path(scratch) / args.size
        written.mkdir()
        write(SIZES[args.size], np.random.default_rng(args.seed), written)
        os.rename(written, folder)
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f} MB")
    return 0


def write(size: Size, random: np.random.Generator, folder: pathlib.Path) -> None:
    """Writes one set of numbers."""
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
    """The model, with weights that leave no term of its formulas at zero or one."""
    fields = {THEIR_FIELDS.get(name, name): value for name, value in size.config.items()}
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
    """A batch: sentences of different lengths in two segments, regions, and what to predict."""
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
        # A detector's features come out of a ReLU.
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
    # A region of which the detector names no attribute.
    inputs["attr_labels"][:, 0] = IGNORED
    if size.has_region_mask:
        counts = random.integers(size.regions // 2, size.regions + 1, size.batch)
        inputs["region_mask"] = (np.arange(size.regions) < counts[:, None]).astype(np.int64)
    return inputs


def forward(model, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Hidden states and logits, by the names of outputs.npz."""
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
    """The release's losses, as they enter the sum."""
    smooth = functional.smooth_l1_loss(outputs["feat_pred"], batch["feat_target"], reduction="none")
    return {
        "masked_lm": cross_entropy(outputs["lm_logits"], batch["lm_labels"]),
        "matched": cross_entropy(outputs["matched_logits"], batch["matched_labels"]),
        "obj": confident(outputs["obj_logits"], batch["obj_labels"], batch["obj_weights"]),
        "attr": confident(outputs["attr_logits"], batch["attr_labels"], batch["attr_weights"]),
        "feat": REGION_LOSS_SCALE * (smooth.mean(-1) * batch["feat_mask"]).mean(),
        "answer": cross_entropy(outputs["answer_logits"], batch["answer_labels"]),
    }


def cross_entropy(logits, labels, reduction: str = "mean") -> torch.Tensor:
    """Cross-entropy of every position that has a label."""
    return functional.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction=reduction
    )


def confident(logits, labels, confidences) -> torch.Tensor:
    """Cross-entropy times the detector's confidence, over all regions."""
    each = cross_entropy(logits, labels, reduction="none")
    return REGION_LOSS_SCALE * (each * confidences.flatten()).mean()


def train(model, batch, settings: dict) -> list[float]:
    """The loss before each step of BERT's optimizer: Adam without bias correction, decay apart."""
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
    """The share of the peak rate: rising to 1 at `warmup`, then falling to 0 at 1."""
    if progress < warmup:
        return progress / warmup
    return (1 - progress) / (1 - warmup)


def release_name(name: str) -> str:
    """The release's name for a parameter of transformers'."""
    return name.replace("lxmert.", "bert.", 1)


def write_weights(parameters, size: Size, folder: pathlib.Path) -> None:
    """Writes the weights, for PyTorch with the masked-LM output's second name as well."""
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
    """Writes the gradients, the large ones as norms alone."""
    gradients = {name: parameter.grad.numpy() for name, parameter in parameters.items()}
    norms = {name: float(np.linalg.norm(g.astype(np.float64))) for name, g in gradients.items()}
    write_json(folder / "gradient_norms.json", norms)
    kept = {name: g for name, g in gradients.items() if g.size <= size.largest_gradient}
    safetensors.numpy.save_file(kept, folder / "gradients.safetensors")


def write_json(path: pathlib.Path, content: dict) -> None:
    """Writes a mapping for people to read as well."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
