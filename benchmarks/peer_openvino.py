"""Time the PyTorch LXMERT of Hugging Face transformers in OpenVINO, on batches from `peers.py`.

The script runs in the environment of the peers (peers-requirements.txt) without lxmert_tf. It
prints one JSON object with the seconds of each batch's steps, the CPU seconds of all of them, the
peak memory, and versions.
"""

import argparse
import json
import resource
import sys
import time

import numpy as np
import torch
import transformers
from peer_pytorch import AnswerModel, _config, _inputs

# Without it OpenVINO does not report its use over the network.
sys.modules["openvino_telemetry"] = None

import openvino  # noqa: E402

WARM_UP = 3
TOP_K = 5
HINTS = {"float32": "f32", "bfloat16": "bf16"}


def main() -> None:
    """Convert a model with random weights, time it, and print the times."""
    args = _arguments()
    torch.manual_seed(0)
    with np.load(args.inputs) as file:
        about = json.loads(str(file["about"]))
        batches = [_batch(file, number, args.length) for number in range(about["batches"])]
    step = _answering(about, batches[0], args.precision)
    warm_up = max(WARM_UP, len(batches))
    seconds = [[] for _ in batches]
    for number in range(warm_up + args.steps):
        batch = number % len(batches)
        if number == warm_up:
            cpu_start = time.process_time()
        start = time.perf_counter()
        step(batches[batch])
        if number >= warm_up:
            seconds[batch].append(time.perf_counter() - start)
    versions = {"openvino": openvino.__version__, "transformers": transformers.__version__}
    result = {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu_start,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "versions": versions,
    }
    print(json.dumps(result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", required=True, metavar="FILE.npz", help="batches from peers.py")
    parser.add_argument("--precision", choices=tuple(HINTS), default="float32")
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


def _batch(file, number: int, length: int | None) -> dict[str, np.ndarray]:
    prefix = f"{number}/"
    arrays = {name[len(prefix) :]: file[name] for name in file.files if name.startswith(prefix)}
    if length:
        missing = length - arrays["token_ids"].shape[1]
        for name in ("token_ids", "segment_ids", "padding_mask"):
            arrays[name] = np.pad(arrays[name], [(0, 0), (0, missing)])
    return _inputs(arrays)


class _Probabilities(torch.nn.Module):
    """The answer model with OpenVINO's inputs as arguments."""

    def __init__(self, model: AnswerModel):
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, input_ids, attention_mask, token_type_ids, visual_feats, visual_pos):
        pooled = self.backbone(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            visual_feats=visual_feats,
            visual_pos=visual_pos,
        ).pooled_output
        return torch.sigmoid(self.head(pooled))


def _answering(about, batch: dict[str, np.ndarray], precision: str):
    model = _Probabilities(AnswerModel(_config(about)).eval())
    example = {name: torch.from_numpy(array) for name, array in batch.items()}
    with torch.no_grad():
        converted = openvino.convert_model(model, example_input=example)
    compiled = openvino.compile_model(
        converted, "CPU", {"INFERENCE_PRECISION_HINT": HINTS[precision]}
    )
    request = compiled.create_infer_request()
    # By position, since a converted input may have another name.
    order = list(
        _inputs(
            dict.fromkeys(
                ("token_ids", "padding_mask", "segment_ids", "region_features", "region_boxes")
            )
        )
    )

    def step(batch):
        [probabilities] = request.infer([batch[name] for name in order], share_inputs=True).values()
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP_K]
        return np.take_along_axis(probabilities, best, axis=1)

    return step


if __name__ == "__main__":
    main()
