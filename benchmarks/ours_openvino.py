"""Export a model with random weights for OpenVINO, or time one on batches written by `peers.py`.

    .venv/bin/python benchmarks/ours_openvino.py --export DIR --model base --precision float32
    .venv/bin/python benchmarks/ours_openvino.py --load DIR --inputs FILE.npz --steps 8

Two processes, because a model that was exported is answered without TensorFlow. The second prints
one JSON object with the seconds of each batch's steps, the CPU seconds of all of them, and the peak
memory.
"""

import argparse
import json
import pathlib
import resource
import time

import numpy as np

from lxmert_tf.benchmarking.settings import MODELS, model_sizes

WARM_UP = 3


def main() -> None:
    """Export or time a model."""
    args = _arguments()
    if args.export:
        _export(args)
    else:
        print(json.dumps(_time(args)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--export", metavar="DIR", help="write a model to this new directory")
    what.add_argument("--load", type=pathlib.Path, metavar="DIR", help="time this model")
    parser.add_argument("--model", choices=MODELS, default="base", help="sizes to export")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "int8"), default="float32")
    parser.add_argument("--inputs", metavar="FILE.npz", help="batches from peers.py")
    parser.add_argument("--steps", type=int, default=8, metavar="N", help="timed steps")
    return parser.parse_args()


def _export(args: argparse.Namespace) -> None:
    from tensorflow import keras

    from lxmert_tf import LxmertAnswerClassifier
    from lxmert_tf.benchmarking.workloads import vocabulary
    from lxmert_tf.serving import export_openvino

    keras.utils.set_random_seed(0)
    config = model_sizes(args.model, "answer")
    model = LxmertAnswerClassifier(
        config,
        vocabulary=vocabulary(config),
        answers=[f"answer {i}" for i in range(config.num_answers)],
    )
    export_openvino(model, args.export, args.precision)


def _time(args: argparse.Namespace) -> dict:
    from lxmert_tf.serving.openvino_session import OpenVinoSession

    with np.load(args.inputs) as file:
        about = json.loads(str(file["about"]))
        batches = [_batch(file, number) for number in range(about["batches"])]
    session = OpenVinoSession(args.load)
    warm_up = max(WARM_UP, len(batches))
    seconds: list[list[float]] = [[] for _ in batches]
    cpu_start = 0.0
    for number in range(warm_up + args.steps):
        batch = number % len(batches)
        if number == warm_up:
            cpu_start = time.process_time()
        start = time.perf_counter()
        session.run("serving_default", batches[batch])
        if number >= warm_up:
            seconds[batch].append(time.perf_counter() - start)
    return {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu_start,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "precision": session.precision,
    }


def _batch(file, number: int) -> dict:
    arrays = {
        name: file[f"{number}/{name}"]
        for name in ("token_ids", "padding_mask", "region_features", "region_boxes", "region_mask")
    }
    lengths = arrays["padding_mask"].sum(axis=1)
    return {
        # The vocabulary's pieces are whole words, see `lxmert_tf.benchmarking.workloads`.
        "question": [
            " ".join(f"w{piece}" for piece in ids[1 : length - 1])
            for ids, length in zip(arrays["token_ids"], lengths)
        ],
        "region_features": arrays["region_features"],
        "region_boxes": arrays["region_boxes"],
        "region_count": arrays["region_mask"].sum(axis=1),
    }


if __name__ == "__main__":
    main()
