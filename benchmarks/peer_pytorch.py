"""Time the PyTorch LXMERT of Hugging Face transformers on batches written by `peers.py`.

The script runs in a separate environment (peers-requirements.txt) without lxmert_tf. It prints one
JSON object with the seconds of each batch's steps, the peak memory, and versions.
"""

import argparse
import json
import resource
import time

import numpy as np
import torch
import transformers
from torch import nn
from torch._inductor import config as inductor_config
from transformers import LxmertConfig, LxmertForPreTraining, LxmertModel

WARM_UP = 3
LEARNING_RATE, WEIGHT_DECAY, CLIP_NORM, EPSILON = 1e-5, 0.01, 1.0, 1e-6
TOP_K = 5
# Label that PyTorch's cross-entropy ignores; in the files it is -1.
IGNORED = -100
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    """Build a model with random weights, time it, and print the times."""
    args = _arguments()
    torch.manual_seed(0)
    with np.load(args.inputs) as file:
        about = json.loads(str(file["about"]))
        batches = [_batch(file, number, args) for number in range(about["batches"])]
    step = (_answering if about["task"] == "answer" else _training)(about, args)
    warm_up = max(WARM_UP, len(batches))
    seconds = [[] for _ in batches]
    for number in range(warm_up + args.steps):
        batch = number % len(batches)
        start = time.perf_counter()
        step(batches[batch])
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        if number >= warm_up:
            seconds[batch].append(time.perf_counter() - start)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"seconds": seconds, "peak_memory_mb": memory, "versions": versions}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", required=True, metavar="FILE.npz", help="batches from peers.py")
    parser.add_argument("--mode", choices=("eager", "compile"), default="eager")
    parser.add_argument(
        "--precision",
        choices=("float32", "autocast", "bfloat16"),
        default="float32",
        help="autocast: bfloat16 products of float32 weights; bfloat16: also the weights, for "
        "answering only (default: %(default)s)",
    )
    parser.add_argument(
        "--length",
        type=int,
        metavar="N",
        help="pad to N word pieces instead of the longest sentence",
    )
    parser.add_argument(
        "--steps", type=int, default=8, metavar="N", help="timed steps (default: 8)"
    )
    return parser.parse_args()


def _batch(file, number: int, args) -> dict[str, torch.Tensor]:
    prefix = f"{number}/"
    arrays = {name[len(prefix) :]: file[name] for name in file.files if name.startswith(prefix)}
    if args.length:
        missing = args.length - arrays["token_ids"].shape[1]
        for name in ("token_ids", "segment_ids", "padding_mask", "masked_lm_labels"):
            if name in arrays:
                fill = -1 if name == "masked_lm_labels" else 0
                arrays[name] = np.pad(arrays[name], [(0, 0), (0, missing)], constant_values=fill)
    tensors = {name: torch.from_numpy(array).to(DEVICE) for name, array in arrays.items()}
    if args.mode == "compile" and not args.length:
        for name in ("token_ids", "segment_ids", "padding_mask", "masked_lm_labels"):
            if name in tensors:
                torch._dynamo.mark_dynamic(tensors[name], 1)
    return tensors


def _config(about) -> LxmertConfig:
    sizes = about["config"]
    return LxmertConfig(
        vocab_size=sizes["vocab_size"],
        hidden_size=sizes["hidden_size"],
        num_attention_heads=sizes["num_attention_heads"],
        intermediate_size=sizes["intermediate_size"],
        l_layers=sizes["language_layers"],
        x_layers=sizes["cross_layers"],
        r_layers=sizes["relationship_layers"],
        visual_feat_dim=sizes["region_feature_size"],
        num_qa_labels=sizes["num_answers"],
        num_object_labels=sizes["num_objects"],
        num_attr_labels=sizes["num_attributes"],
        hidden_dropout_prob=sizes["hidden_dropout"],
        attention_probs_dropout_prob=sizes["attention_dropout"],
        max_position_embeddings=sizes["max_position_embeddings"],
    )


class AnswerModel(nn.Module):
    """LXMERT with the answer head of the paper.

    It returns the best answers, or the loss if the batch has scores.
    """

    def __init__(self, config: LxmertConfig):
        super().__init__()
        self.backbone = LxmertModel(config)
        hidden = config.hidden_size
        self.head = nn.Sequential(
            nn.Linear(hidden, 2 * hidden),
            nn.GELU(),
            nn.LayerNorm(2 * hidden, eps=1e-12),
            nn.Linear(2 * hidden, config.num_qa_labels),
        )

    def forward(self, batch):
        pooled = self.backbone(**_inputs(batch)).pooled_output
        logits = self.head(pooled).float()
        if "scores" not in batch:
            return torch.topk(torch.sigmoid(logits), min(TOP_K, logits.shape[1]))
        loss = nn.functional.binary_cross_entropy_with_logits
        return loss(logits, batch["scores"], reduction="none").sum(dim=1).mean()


class PretrainingModel(nn.Module):
    """LXMERT with the heads of all pre-training tasks; it returns the loss."""

    def __init__(self, config: LxmertConfig):
        super().__init__()
        self.model = LxmertForPreTraining(config)

    def forward(self, batch):
        def labels(name):
            return batch[name].long().masked_fill(batch[name] < 0, IGNORED)

        return self.model(
            **_inputs(batch),
            labels=labels("masked_lm_labels"),
            matched_label=labels("matched_labels"),
            ans=labels("answer_labels"),
            obj_labels={
                "obj": (batch["object_labels"].long(), batch["object_confidences"]),
                "attr": (batch["attribute_labels"].long(), batch["attribute_confidences"]),
                "feat": (batch["region_feature_targets"], batch["region_feature_mask"]),
            },
        ).loss


def _inputs(batch):
    return {
        "input_ids": batch["token_ids"],
        "attention_mask": batch["padding_mask"],
        "token_type_ids": batch["segment_ids"],
        "visual_feats": batch["region_features"],
        "visual_pos": batch["region_boxes"],
    }


def _answering(about, args):
    model = AnswerModel(_config(about)).to(DEVICE).eval()
    if args.precision == "bfloat16":
        model = model.bfloat16()
    if args.mode == "compile":
        inductor_config.freezing = True
        model = torch.compile(model)
    # Freezing fails in inference_mode.
    without_gradients = torch.no_grad if args.mode == "compile" else torch.inference_mode

    def step(batch):
        if args.precision == "bfloat16":
            regions = ("region_features", "region_boxes")
            batch = {**batch, **{name: batch[name].bfloat16() for name in regions}}
        with without_gradients(), _autocast(args):
            model(batch)

    return step


def _training(about, args):
    cls = PretrainingModel if about["task"] == "pretrain" else AnswerModel
    model = cls(_config(about)).to(DEVICE).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), LEARNING_RATE, eps=EPSILON, weight_decay=WEIGHT_DECAY, fused=True
    )
    parameters = list(model.parameters())
    if args.mode == "compile":
        model = torch.compile(model)

    def step(batch):
        with _autocast(args):
            loss = model(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _autocast(args):
    return torch.autocast(DEVICE, torch.bfloat16, enabled=args.precision == "autocast")


if __name__ == "__main__":
    main()
