"""Measure how fast records are read into batches, at the published sizes.

    .venv/bin/python benchmarks/reading.py --records build/reading

The first run writes random records with 36 x 2048 float16 region features: 2,000 images with 5
sentences each (as in MS COCO) and 200 with 300 (as in Visual Genome). Each case runs in a separate
process and reads the records from the page cache through `answer_batches`. For comparison, it
copies the float32 features of as many examples, which no reader can avoid. The table shows examples
per second of both, and the memory of reading on top of TensorFlow's.
"""

import argparse
import multiprocessing
import os
import pathlib
import resource
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from lxmert_tf.runtime import silence_tensorflow

REGIONS, FEATURE_SIZE, MAX_LENGTH = 36, 2048, 20
# Images and sentences per image.
SETS = {"coco": (2000, 5), "visual-genome": (200, 300)}
WORDS = ("what", "is", "the", "man", "on", "a", "dog", "red", "two", "people", "near", "street")
ANSWERS = tuple(f"answer {number}" for number in range(3129))


def main() -> None:
    """Write the records, read them, and print a table."""
    args = _arguments()
    silence_tensorflow()
    for name in SETS:
        _make_records(pathlib.Path(args.records) / f"{name}.tfrecord", *SETS[name])
    table = Table("records", title=f"Examples per second (load {os.getloadavg()[0]:.1f})")
    for column in ("batch", "reading", "copying", "share", "memory"):
        table.add_column(column, justify="right")
    for name in SETS:
        for batch_size in args.batch_sizes:
            # Peak memory is measured per process.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                case = (pathlib.Path(args.records) / f"{name}.tfrecord", batch_size, args.rounds)
                reading, copying, memory = pool.apply(_measure, case)
            share, memory = f"{reading / copying:.0%}", f"{memory / 1e6:,.0f} MB"
            table.add_row(
                name, str(batch_size), f"{reading:,.0f}", f"{copying:,.0f}", share, memory
            )
    Console().print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--records", required=True, metavar="DIR", help="folder of the records; written if missing"
    )
    parser.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        default=[32, 256],
        metavar="N",
        help="examples per batch (default: 32 256)",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="passes, of which the best counts"
    )
    return parser.parse_args()


def _make_records(path: pathlib.Path, images: int, sentences: int) -> None:
    import tensorflow as tf

    from lxmert_tf.data.schema import encode_scene

    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    random = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(partial)) as writer:
        for number in range(images):
            writer.write(encode_scene(_scene(number, sentences, random)))
    os.replace(partial, path)


def _scene(number: int, sentences: int, random: np.random.Generator):
    from lxmert_tf.data.scene import Scene, SceneImage, Sentence
    from lxmert_tf.regions.extractor import Regions

    corners = np.sort(random.uniform(size=[REGIONS, 2, 2]), axis=1)
    regions = Regions(
        features=random.random([REGIONS, FEATURE_SIZE], np.float32).astype(np.float16),
        boxes=corners.reshape(REGIONS, 4).astype(np.float32),
        object_ids=random.integers(0, 1600, REGIONS),
        object_confidences=random.random(REGIONS, np.float32),
        attribute_ids=random.integers(0, 400, REGIONS),
        attribute_confidences=random.random(REGIONS, np.float32),
    )
    return Scene(
        (SceneImage(f"image-{number}", 480, 640, regions),),
        tuple(
            Sentence(
                f"{number}-{i}",
                " ".join(random.choice(WORDS, random.integers(3, MAX_LENGTH - 2))),
                answers=tuple((str(answer), 0.5) for answer in random.choice(ANSWERS, 3)),
            )
            for i in range(sentences)
        ),
    )


def _measure(path: pathlib.Path, batch_size: int, rounds: int) -> tuple[float, float, float]:
    """Measure one case.

    Returns:
        The best rates of reading and of copying in examples per second, and the memory of both in
        bytes.
    """
    silence_tensorflow()
    from lxmert_tf import LxmertTextPreprocessor
    from lxmert_tf.data.batches import answer_batches, example_batches, read_records
    from lxmert_tf.models.special_pieces import SPECIAL_PIECES

    preprocessor = LxmertTextPreprocessor((*SPECIAL_PIECES, *WORDS), MAX_LENGTH, True)
    preprocessor(WORDS)
    path.read_bytes()
    source = np.zeros([batch_size, REGIONS, FEATURE_SIZE], np.float32)
    target = np.empty_like(source)
    reading, copying = [], []
    before = _peak()
    for epoch in range(rounds):
        examples = example_batches(
            read_records([str(path)]), batch_size, REGIONS, 0, epoch, bucket_by_length=True
        )
        batches = answer_batches(examples, preprocessor, ANSWERS)
        examples, start = 0, time.perf_counter()
        for inputs, _ in batches:
            examples += len(inputs["token_ids"])
        reading.append(examples / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in range(examples // batch_size):
            np.copyto(target, source)
        copying.append(examples / (time.perf_counter() - start))
    return max(reading), max(copying), _peak() - before


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
