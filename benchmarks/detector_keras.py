"""Time the detector on the weights and pictures that `detector.py` wrote; print one JSON object."""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from lxmert_tf.runtime import silence_tensorflow

# A convolution as in res5, but not dilated, on 60 regions.
_MAPS, _KERNEL = (60, 14, 14, 512), (3, 3, 512, 512)


def main() -> None:
    """Build the detector, time it, and print the times and the memory."""
    args = _arguments()
    silence_tensorflow()
    import tensorflow as tf

    from lxmert_tf.converters.formats import StoredTensor
    from lxmert_tf.converters.importing import load_tensors
    from lxmert_tf.detector.detector import Detector
    from lxmert_tf.detector.weight_names import detector_variables

    detector = Detector()
    with np.load(args.inputs) as file:
        names = [name for name in file.files if name.startswith("weights/")]
        tensors = {
            name.removeprefix("weights/"): StoredTensor(value.shape, lambda value=value: value)
            for name, value in ((name, file[name]) for name in names)
        }
        images = file["images"][: args.batch_size]
    if not load_tensors(detector_variables(detector), tensors).is_complete():
        sys.exit(f"{args.inputs}: not all weights of the detector are there; write it anew")
    del tensors
    size, count = images.shape[1:3], len(images)
    inputs = {
        "images": tf.constant(images),
        "image_sizes": tf.constant([size] * count, tf.int32),
        "scales": tf.ones([count, 2]),
    }
    seconds, cpu_seconds, regions = _times(
        lambda: detector.predict_on_batch(inputs), args.steps, args.warm_up
    )
    np.savez(args.regions, **regions)
    flops = count_flops(detector.config, *size)
    report = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "gflop": sum(flops.values()) / 1e9,
        "convolution_gflop_per_cpu_second": _convolution_rate(args.steps),
    }
    if args.parts:
        report |= _parts(detector, inputs, flops, args.steps)
    print(json.dumps(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", required=True, metavar="FILE")
    parser.add_argument("--regions", required=True, metavar="FILE", help="file to write")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N")
    parser.add_argument("--warm-up", type=int, default=1, metavar="N")
    parser.add_argument("--steps", type=int, default=3, metavar="N")
    parser.add_argument("--parts", action="store_true", help="time each part alone, too")
    return parser.parse_args()


def _times(run: Callable, steps: int, warm_up: int = 1):
    """Return the seconds and the CPU seconds of each step, and what the function returns."""
    seconds, cpu_seconds = [], []
    for _ in range(warm_up + steps):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = run()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    return seconds[warm_up:], cpu_seconds[warm_up:], result


def count_flops(config, height: int, width: int) -> dict[str, float]:
    """Return the floating-point operations of a picture, by part, as the network is written."""
    half = [-(-side // 2) for side in (height, width)]
    cells = half[0] * half[1]
    flops = {"backbone": 2.0 * cells * 7 * 7 * 3 * config.stem_channels, "res5": 0.0}
    sides = [side // 2 for side in half]
    inputs = config.stem_channels
    for stage, blocks in enumerate(config.blocks):
        inner, outputs = (n * 2**stage for n in (config.bottleneck_channels, config.stage_channels))
        if stage == 3:
            cells = config.max_proposals * 14 * 14
        else:
            sides = [-(-side // (2 if stage else 1)) for side in sides]
            cells = sides[0] * sides[1]
        for block in range(blocks):
            products = inputs * inner + 9 * inner * inner + inner * outputs
            products += 0 if block else inputs * outputs
            flops["res5" if stage == 3 else "backbone"] += 2.0 * cells * products
            inputs = outputs
        if stage == 2:
            anchors = config.num_anchors
            products = (9 * inputs + 5 * anchors) * config.proposal_channels
            flops["proposal head"] = 2.0 * cells * products
    hidden, classes = config.attribute_hidden_size, 5 * config.num_objects + 1
    products = inputs * classes + (inputs + config.class_embedding_size) * hidden
    products += hidden * (config.num_attributes + 1)
    return {**flops, "classifier": 2.0 * config.max_proposals * products}


def _convolution_rate(steps: int) -> float:
    """Return the GFLOP per CPU second of one large convolution, the best of a few."""
    import tensorflow as tf

    maps, kernel = tf.random.normal(_MAPS), tf.random.normal(_KERNEL)
    convolve = tf.function(lambda: tf.nn.conv2d(maps, kernel, 1, "SAME"))
    seconds = _times(convolve, max(steps, 3))[1]
    return 2 * np.prod(_MAPS[:3]) * np.prod(_KERNEL) / min(seconds) / 1e9


def _parts(detector, inputs: dict, flops: dict[str, float], steps: int) -> dict:
    """Return the seconds of each part of a step alone, and how many bins are distinct."""
    import tensorflow as tf
    from tensorflow import keras

    from lxmert_tf.detector.backbone import STRIDE
    from lxmert_tf.detector.roi_pooling import (
        distinct_windows,
        pool_windows,
        region_bins,
        window_maxima,
    )

    def layer(name):
        return detector.get_layer(name)

    proposals, counts = layer("proposal_selection").output
    maps = layer(f"res4_{detector.config.blocks[2] - 1}").output
    sizes = layer("res4_sizes").output
    features, logits = layer("region_features").output, layer("region_classifier").output
    known = dict(
        zip(
            ("maps", "sizes", "head", "proposals", "counts", "features", "logits"),
            keras.Model(
                detector.inputs,
                [maps, sizes, layer("proposal_head").output, proposals, counts, features, logits],
            ).predict_on_batch(inputs),
        )
    )
    backbone = keras.Model(detector.inputs, maps)
    boxes = tf.constant(known["proposals"][0])
    region_maps = tf.zeros([len(boxes)], tf.int32)
    feature_maps = tf.constant(known["maps"])
    region_sizes = tf.tile(tf.constant(known["sizes"][:1]), [len(boxes), 1])

    def windows():
        bins = region_bins(boxes, region_sizes, layer("region_features").grid, STRIDE)
        tables = window_maxima(feature_maps, bins)
        rows, columns = bins[:, 0, :, tf.newaxis], bins[:, 1, tf.newaxis]
        distinct, numbers = distinct_windows(
            tables, region_maps[:, tf.newaxis, tf.newaxis], rows, columns
        )
        return pool_windows(tables, *distinct), numbers

    def call(name, *arguments):
        arguments = tf.nest.map_structure(tf.constant, arguments)
        return tf.function(lambda: layer(name)(*arguments))

    runs = {
        "backbone": tf.function(lambda: backbone(inputs)),
        "proposal head": call("proposal_head", known["maps"], known["sizes"]),
        "proposals (NMS)": call(
            "proposal_selection",
            *known["head"],
            known["sizes"],
            inputs["image_sizes"],
            inputs["scales"],
        ),
        "RoIPool": tf.function(windows),
        "RoIPool and res5": call(
            "region_features", *(known[name] for name in ("maps", "sizes", "proposals", "counts"))
        ),
        "classifier": call("region_classifier", known["features"]),
        "regions (NMS)": call(
            "region_selection",
            *(known[name] for name in ("proposals", "counts", "features")),
            *known["logits"],
            inputs["image_sizes"],
            inputs["scales"],
        ),
    }
    work = {**flops, "RoIPool and res5": flops["res5"]}
    parts = {}
    for name, run in runs.items():
        *times, result = _times(run, steps)
        wall, cpu = map(statistics.median, times)
        gflop = work.get(name, 0.0) / 1e9
        parts[name] = {"seconds": wall, "cpu_seconds": cpu, "gflop": gflop}
        if name == "RoIPool":
            distinct, numbers = (len(part) for part in result)
    return {"parts": parts, "distinct_windows": distinct, "windows": numbers}


if __name__ == "__main__":
    main()
