"""The golden numbers of the reference implementations, stage by stage and from the file."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf.detector.backbone import half, max_pool
from lxmert_tf.detector.boxes import caffe_anchors, centered_anchors, clip_boxes, decode_boxes
from lxmert_tf.detector.config import DetectorConfig
from lxmert_tf.detector.image_preparation import prepare_image, resized_size
from lxmert_tf.detector.roi_pooling import pool_bins, region_bins, window_maxima
from lxmert_tf.detector.selection import CaffeSelection
from lxmert_tf.detector.suppression import suppress_boxes
from tests.lxmert_tf.detector import golden_detector
from tests.lxmert_tf.detector.golden_detector import CONFIG, arrays, assert_near, assert_regions

RATIOS = (0.5, 1.0, 2.0)
FLAVORS = ("hf", "caffe")


def test_anchors():
    golden = arrays("unit/anchors.npz")
    order = golden["caffe_to_hf_index"]
    for name, sizes in (("published", (64, 128, 256, 512)), ("small", (24, 48, 96, 192))):
        theirs = golden["hf_published" if name == "published" else "hf_small_config"]
        assert_near(centered_anchors(sizes, RATIOS), theirs, 1e-5)
        ours = caffe_anchors(sizes, RATIOS)
        np.testing.assert_array_equal(ours[order], golden[f"caffe_{name}_ratio_major"])


def test_boxes_from_deltas():
    golden = arrays("unit/box_decode.npz")
    boxes, deltas = golden["boxes"], golden["deltas"]
    scaled = golden["deltas_x10_10_5_5"]
    limits = {"rtol": 1e-6, "atol": 1e-4}
    ours = decode_boxes(boxes, deltas)
    np.testing.assert_allclose(ours, golden["hf_weights_1"], **limits)
    ours = decode_boxes(boxes, scaled, (10.0, 10.0, 5.0, 5.0))
    np.testing.assert_allclose(ours, golden["hf_weights_10_10_5_5"], **limits)
    ours = decode_boxes(boxes, deltas, inclusive=True)
    np.testing.assert_allclose(ours, golden["caffe"], **limits)
    # 180 rows and 150 columns.
    clipped = clip_boxes(ours[tf.newaxis], np.int32([[180, 150]]), inclusive=True)[0]
    np.testing.assert_allclose(clipped, golden["caffe_clipped_to_180x150"], **limits)


def test_roi_pooling():
    golden = arrays("unit/roi_pool.npz")
    maps = golden["features_nchw"].transpose(0, 2, 3, 1)
    count = len(golden["rois"])
    sizes = np.repeat(np.int32([maps.shape[1:3]]), count, axis=0)
    pool = tf.function(
        lambda maps, boxes: pool_bins(
            window_maxima(maps, region_bins(boxes, sizes, 14, 16)),
            np.zeros([count], np.int32),
            region_bins(boxes, sizes, 14, 16),
        )
    )
    ours = pool(maps, golden["rois"][:, 1:])
    np.testing.assert_array_equal(ours, golden["output"].transpose(0, 2, 3, 1))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("flavor", FLAVORS)
def test_suppression(flavor, threshold):
    golden = arrays("unit/nms.npz")
    scores = golden["scores"]
    kept = suppress_boxes(
        golden["boxes"][np.newaxis], scores[np.newaxis], threshold, 60, flavor == "caffe"
    )[0].numpy()
    order = np.argsort(-scores, kind="stable")
    np.testing.assert_array_equal(order[kept[order]], golden[f"{flavor}_keep_{threshold}"])


@pytest.mark.parametrize("sides", [(48, 80), (20, 26)])
@pytest.mark.parametrize("flavor", FLAVORS)
def test_resizing(flavor, sides):
    golden = arrays("unit/resize.npz")
    rules = {"shorter_side": sides[0], "longest_side": sides[1]}
    config = DetectorConfig.from_dict({"flavor": flavor, flavor: rules})
    if flavor == "hf":
        config = dataclasses.replace(config, pixel_means=(0.0, 0.0, 0.0))
    pixels, scales = prepare_image(golden["image_bgr"][..., ::-1], config)
    middle = "" if flavor == "hf" else "minus_mean_"
    theirs = golden[f"{flavor}_{middle}{sides[0]}_{sides[1]}"]
    assert_near(tf.transpose(pixels, [2, 0, 1]), theirs, 2e-3 if flavor == "hf" else 1e-4)
    if flavor == "caffe":
        assert_near(scales, [golden[f"caffe_scale_{sides[0]}_{sides[1]}"]] * 2, 1e-6)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_sizes(flavor):
    golden = arrays("unit/size_rule.npz")
    config = DetectorConfig(flavor=flavor)
    ours = [resized_size(*sides, config) for sides in golden["hw"]]
    name = "hf_800_1333" if flavor == "hf" else "caffe_600_1000"
    np.testing.assert_array_equal([size for size, _ in ours], golden[name])
    if flavor == "caffe":
        assert_near([scale for _, scale in ours], golden["caffe_scale"], 0)


def test_the_maximum_in_the_stem():
    golden = arrays("unit/stem_maxpool.npz")
    ours = max_pool(tf.transpose(golden["x"], [0, 2, 3, 1]))
    np.testing.assert_array_equal(tf.transpose(ours, [0, 3, 1, 2]), golden["y"])
    for length, convolved, pooled in golden["sizes"]:
        assert half(length) == convolved
        assert max_pool(tf.zeros([1, convolved, 1, 1])).shape[1] == pooled


@pytest.fixture(params=FLAVORS, scope="module")
def stages(request):
    """The flavor, its golden numbers, and ours from the golden prepared picture."""
    flavor = request.param
    golden = arrays(f"{flavor}/chelsea_intermediate.npz")
    pixels = golden["pre_image"].transpose(1, 2, 0)[np.newaxis]
    if flavor == "hf":
        scales = 1 / golden["scales_yx"]
    else:
        scales = np.repeat(golden["im_info"][0, 2], 2)
    inputs = {
        "images": pixels,
        "image_sizes": np.int32([pixels.shape[1:3]]),
        "scales": np.float32([scales]),
    }
    model = golden_detector.detector(flavor)
    layers = {layer.name: layer.output for layer in model.layers}
    return flavor, golden, keras.Model(model.inputs, layers).predict(inputs, verbose=0)


def test_the_map(stages):
    _, golden, ours = stages
    assert_near(ours["res4_1"][0].transpose(2, 0, 1), golden["res4"], 5e-4)


def test_the_proposal_head(stages):
    flavor, golden, (logits, deltas) = *stages[:2], stages[2]["proposal_head"]
    logits, deltas = logits[0].transpose(2, 0, 1), deltas[0].transpose(2, 0, 1)
    if flavor == "hf":
        assert_near(logits, golden["rpn_objectness_logits"], 2e-4)
        assert_near(deltas, golden["rpn_anchor_deltas"], 1e-4)
        return
    order = golden["caffe_anchor_to_hf_anchor"]
    assert_near(tf.sigmoid(logits[order]), golden["rpn_fg_prob_caffe_order"], 5e-5)
    by_anchor = deltas.reshape(12, 4, *deltas.shape[1:])[order].reshape(deltas.shape)
    assert_near(by_anchor, golden["rpn_bbox_pred_caffe_order"], 1e-4)


def test_the_proposals(stages):
    flavor, golden, (proposals, counts) = *stages[:2], stages[2]["proposal_selection"]
    theirs = golden["proposals"] if flavor == "hf" else golden["rois"][:, 1:]
    assert counts == [len(theirs)]
    assert_near(proposals[0], theirs, 5e-3)


def test_the_pooled_regions(stages):
    flavor, golden, ours = stages
    proposals = golden["proposals"] if flavor == "hf" else golden["rois"][:, 1:]
    maps = ours["res4_1"]
    sizes = np.repeat(np.int32([maps.shape[1:3]]), 5, axis=0)
    bins = region_bins(proposals[:5], sizes, 14, 16)
    pooled = pool_bins(window_maxima(maps, bins), np.zeros([5], np.int32), bins)
    assert_near(tf.transpose(pooled, [0, 3, 1, 2]), golden["roi_pooled_first5"], 5e-4)


def test_the_features(stages):
    _, golden, ours = stages
    assert_near(ours["region_features"][0], golden["box_features"], 1e-4)


def test_res5():
    golden = arrays("hf/chelsea_intermediate.npz")
    hidden = golden["roi_pooled_first5"][:1].transpose(0, 2, 3, 1)
    for block in golden_detector.detector("hf").get_layer("region_features").blocks:
        hidden = block(hidden)
    assert_near(tf.transpose(hidden[0], [2, 0, 1]), golden["res5_first"], 5e-4)


def test_the_logits(stages):
    flavor, golden, (objects, attributes, deltas) = *stages[:2], stages[2]["region_classifier"]
    if flavor == "hf":
        assert_near(objects[0], golden["class_logits"], 2e-4)
        assert_near(attributes[0], golden["attr_logits"], 2e-4)
        assert_near(deltas[0].reshape(16, -1), golden["box_deltas"], 3e-4)
        return
    # The background comes first in caffe.
    objects, attributes = np.roll(objects[0], 1, axis=-1), np.roll(attributes[0], 1, axis=-1)
    assert_near(objects, golden["class_logits_bg_first"], 2e-4)
    assert_near(attributes, golden["attr_logits_bg_first"], 2e-4)
    np.testing.assert_array_equal(objects.argmax(axis=-1), golden["predicted_cls_bg_first"])


def test_the_regions(stages):
    flavor, _, ours = stages
    golden = arrays(f"{flavor}/chelsea_outputs.npz")
    assert ours["region_selection"]["region_count"] == [8]
    assert_regions(ours["region_selection"], golden)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_the_prepared_picture(flavor):
    golden = arrays(f"{flavor}/chelsea_intermediate.npz")
    config = dataclasses.replace(CONFIG, flavor=flavor)
    pixels, scales = prepare_image(golden_detector.picture(), config)
    theirs = golden["pre_image"].transpose(1, 2, 0)
    assert_near(pixels, theirs, 2e-3 if flavor == "hf" else 1e-4)
    if flavor == "hf":
        assert_near(1 / scales, golden["scales_yx"], 1e-6)
    else:
        assert_near(scales, [golden["im_info"][0, 2]] * 2, 1e-6)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_the_picture_from_its_file(flavor):
    model = golden_detector.detector(flavor)
    ours = model(model.prepare([golden_detector.picture()]))
    assert_regions(ours, arrays(f"{flavor}/chelsea_outputs.npz"), slack=8)


def test_lxmerts_selection_on_the_other_flavors_proposals():
    golden = arrays("hf/chelsea_intermediate.npz")
    theirs = arrays("hf/chelsea_lxmert_selection_on_hf_proposals.npz")
    # That run scales boxes by the two axes' own ratios.
    select = CaffeSelection(min_regions=8, max_regions=8)
    names = ("box_features", "class_logits", "attr_logits")
    ours = select(
        golden["proposals"][np.newaxis],
        np.int32([16]),
        *(golden[name][np.newaxis] for name in names),
        np.float32([1 / golden["scales_yx"]]),
    )
    assert_regions(ours, theirs)
    np.testing.assert_array_equal(ours["features"][0], golden["box_features"][theirs["keep_idx"]])


@pytest.mark.parametrize("min_confidence", [0.05, 0.2, 0.45])
def test_lxmerts_selection_with_other_confidences(min_confidence):
    golden = arrays("caffe/chelsea_intermediate.npz")
    theirs = arrays("caffe/chelsea_outputs.npz")
    background_last = [
        np.roll(golden[f"{kind}_logits_bg_first"], -1, axis=-1) for kind in ("class", "attr")
    ]
    select = CaffeSelection(min_confidence=min_confidence, min_regions=8, max_regions=8)
    ours = select(
        golden["rois"][np.newaxis, :, 1:],
        np.int32([16]),
        golden["box_features"][np.newaxis],
        *(logits[np.newaxis] for logits in background_last),
        np.repeat(golden["im_info"][:, 2:], 2, axis=1),
    )
    name = "keep_idx" if min_confidence == 0.2 else f"conf_{min_confidence}_keep_idx"
    kept = (golden if min_confidence == 0.2 else theirs)[name]
    np.testing.assert_array_equal(ours["features"][0], golden["box_features"][kept])
