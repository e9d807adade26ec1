"""Time the detector of transformers' research project on what `detector.py` wrote.

The script runs in a separate environment (peers-requirements.txt) without lxmert_tf. It prints one
JSON object with the seconds of each step, the peak memory, and versions.
"""

import argparse
import json
import resource
import sys
import time

import numpy as np
import torch
import torchvision

# The sections of config.yaml of unc-nlp/frcnn-vg-finetuned that the network reads.
CONFIG = {
    "model": {"device": "cpu", "max_pool": True, "pixel_mean": [0.0, 0.0, 0.0]},
    "backbone": {"freeze_at": 2},
    "proposal_generator": {"hidden_channels": 512, "min_size": 0.0},
    "anchor_generator": {
        "sizes": [[64, 128, 256, 512]],
        "aspect_ratios": [[0.5, 1.0, 2.0]],
        "offset": 0,
    },
    "rpn": {
        "batch_size_per_image": 1,
        "pre_nms_topk_test": 6000,
        "post_nms_topk_test": 300,
        "pre_nms_topk_train": 12000,
        "post_nms_topk_train": 2000,
        "in_features": ["res4"],
        "boundary_thresh": -1.0,
        "iou_thresholds": [0.3, 0.7],
        "iou_labels": [0, -1, 1],
        "positive_fraction": 0.5,
        "bbox_reg_weights": [1.0, 1.0, 1.0, 1.0],
        "smooth_l1_beta": 0.0,
        "loss_weight": 1.0,
        "nms_thresh": 0.7,
    },
    "roi_heads": {
        "num_classes": 1600,
        "in_features": ["res4"],
        "iou_thresholds": [0.5],
        "iou_labels": [0, 1],
        "positive_fraction": 0.25,
        "score_thresh_test": 0.2,
        "nms_thresh_test": [0.5, 0.6, 0.7],
        "proposal_append_gt": True,
    },
    "roi_box_head": {
        "bbox_reg_weights": [10.0, 10.0, 5.0, 5.0],
        "smooth_l1_beta": 0.0,
        "pooler_resolution": 14,
        "pooler_sampling_ratio": 0,
        "res5halve": False,
        "attr": True,
        "num_attrs": 400,
        "cls_agnostic_bbox_reg": False,
    },
    "resnets": {
        "depth": 101,
        "out_features": ["res4"],
        "num_groups": 1,
        "norm": "BN",
        "width_per_group": 64,
        "stride_in_1x1": True,
        "res5_dilation": 1,
        "res2_out_channels": 256,
        "stem_out_channels": 64,
    },
    "min_detections": 36,
    "max_detections": 36,
}


def main() -> None:
    """Build the detector, time it, and print the times."""
    args = _arguments()
    sys.path.insert(0, args.peer)
    import modeling_frcnn
    from utils import Config

    # The peer's own function fails for more than one picture.
    modeling_frcnn.norm_box = _normalized
    model = modeling_frcnn.GeneralizedRCNN(Config(CONFIG)).eval()
    with np.load(args.inputs) as file:
        names = [name for name in file.files if name.startswith("weights/")]
        weights = {name.removeprefix("weights/"): torch.from_numpy(file[name]) for name in names}
        images = torch.from_numpy(file["images"][: args.batch_size]).permute(0, 3, 1, 2)
    loaded = model.load_state_dict(weights, strict=False)
    assert not loaded.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in loaded.missing_keys)
    images = images.contiguous()
    sizes = torch.tensor([list(images.shape[2:])] * len(images))
    scales = torch.ones([len(images), 2])
    seconds, cpu_seconds = [], []
    for step in range(args.warm_up + args.steps):
        start, cpu_start = time.perf_counter(), time.process_time()
        regions = model(
            images,
            sizes,
            scales_yx=scales,
            max_detections=36,
            padding="max_detections",
            return_tensors="pt",
        )
        if step >= args.warm_up:
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu_start)
    np.savez(args.regions, features=regions["roi_features"])
    report = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
    }
    print(json.dumps(report))


def _normalized(boxes: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    return boxes / sizes.flip(1).repeat(1, 2)[:, None]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, metavar="DIR", help="checkout of the project")
    parser.add_argument("--inputs", required=True, metavar="FILE")
    parser.add_argument("--regions", required=True, metavar="FILE", help="file to write")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N")
    parser.add_argument("--warm-up", type=int, default=1, metavar="N")
    parser.add_argument("--steps", type=int, default=3, metavar="N")
    return parser.parse_args()


if __name__ == "__main__":
    main()
