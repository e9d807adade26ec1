import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pipeline.ingest.checks.region_checks import RegionError, check_id, checked_image
from tests.pipeline.ingest import detections


def checked(image):
    return checked_image(
        image.image_id,
        image.height,
        image.width,
        image.boxes,
        image.features,
        image.object_ids,
        image.object_confidences,
        image.attribute_ids,
        image.attribute_confidences,
    )


def reason(**changes) -> str:
    with pytest.raises(RegionError) as caught:
        checked(dataclasses.replace(detections.small("a"), **changes))
    return str(caught.value)


def changed(values, place, value):
    values = values.copy()
    values[place] = value
    return values


def test_takes_the_release_images_as_they_are():
    for image in detections.real():
        image.check(checked(image))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_keeps_the_precision_of_the_file(dtype):
    image = detections.small("a", dtype=dtype)
    image.check(checked(image))


@pytest.mark.parametrize("dtype", ["f8", ">f4", ">f2"])
def test_makes_float32_of_other_numbers(dtype):
    image = detections.small("a", dtype=dtype)
    features = checked(image).regions.features
    assert features.dtype == np.float32 and features.dtype.isnative
    np.testing.assert_array_equal(features, image.features.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_numbers_are_refused(dtype, value):
    features = changed(detections.small("a", dtype=dtype).features, (2, 7), value)
    assert reason(features=features) == "features are NaN or infinite"


def test_refuses_features_that_float16_would_make_infinite():
    features = detections.small("a").features
    assert "65504" in reason(features=changed(features, (1, 1), 70000))
    assert "65504" in reason(features=changed(features, (1, 1), -70000))
    # Beyond float32: no warning, and told of as what it becomes.
    large = changed(features.astype(np.float64), (1, 1), 1e300)
    assert reason(features=large) == "features are NaN or infinite"


def test_refuses_features_of_text_or_objects():
    assert reason(features=np.full([3, 8], "1")) == "features are not numbers"
    assert reason(features=np.full([3, 8], None)) == "features are not numbers"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_boxes_and_confidences_that_are_not_numbers_are_refused(value):
    image = detections.small("a")
    assert reason(boxes=changed(image.boxes, (0, 1), value)) == "boxes are NaN or infinite"
    confidences = changed(image.object_confidences, 1, value)
    assert reason(object_confidences=confidences) == "confidences are NaN or infinite"
    assert reason(attribute_confidences=confidences) == "confidences are NaN or infinite"


def test_boxes_up_to_a_pixel_outside_the_image_are_clipped():
    image = detections.small("a")
    image.boxes[0] = [-0.5, -1, 64.5, 49]
    image.object_confidences[0] = 1.000005
    regions = checked(image).regions
    np.testing.assert_array_equal(regions.boxes[0], [0, 0, 1, 1])
    assert regions.object_confidences[0] == 1


@pytest.mark.parametrize(
    "box", [[-1.01, 0, 9, 9], [0, -1.01, 9, 9], [0, 0, 65.01, 9], [0, 0, 9, 50]]
)
def test_refuses_boxes_outside_the_image(box):
    boxes = changed(detections.small("a").boxes, 1, box)
    assert reason(boxes=boxes) == "boxes lie outside the image"


@pytest.mark.parametrize("box", [[60, 5, 40, 9], [5, 40, 9, 30]])
def test_refuses_inverted_boxes(box):
    boxes = changed(detections.small("a").boxes, 2, box)
    assert reason(boxes=boxes) == "boxes are inverted: their right or lower edge comes first"


def test_boxes_of_x_y_width_height_are_recognized():
    boxes = detections.small("a").boxes
    boxes[:] = [[30, 20, 10, 28], [0, 0, 64, 48], [5, 5, 9, 9]]
    assert "x, y, width, height" in reason(boxes=boxes)


def test_boxes_in_0_to_1_are_not_divided_again():
    image = detections.small("a")
    scaled = image.boxes / np.array([64, 48, 64, 48], np.float32)
    regions = checked(dataclasses.replace(image, boxes=scaled)).regions
    np.testing.assert_array_equal(regions.boxes, scaled)
    # Half a pixel outside, which is cut off.
    outside = changed(scaled, 0, [-1 / 128, 0, 1 + 1 / 128, 1])
    regions = checked(dataclasses.replace(image, boxes=outside)).regions
    np.testing.assert_array_equal(regions.boxes[0], [0, 0, 1, 1])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.float64, np.float16])
def test_boxes_of_every_type_are_pixels(dtype):
    boxes = detections.small("a").boxes.round().astype(dtype)
    regions = checked(dataclasses.replace(detections.small("a"), boxes=boxes)).regions
    assert regions.boxes.dtype == np.float32
    np.testing.assert_allclose(regions.boxes, boxes / np.array([64, 48, 64, 48], np.float32))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_that_are_taken_for_floats_are_refused(dtype):
    image = detections.small("a")
    floats = f"f{np.dtype(dtype).itemsize}"
    expected = "all corners of the boxes are 0"
    assert reason(boxes=image.boxes.astype(dtype).view(floats)) == expected
    assert reason(boxes=np.zeros([3, 4], dtype)) == expected
    features = np.arange(24, dtype=np.int32).reshape(3, 8).view(np.float32)
    assert "features are nearly 0" in reason(features=features)


def test_float32_features_are_never_taken_for_float64():
    infinite = np.full([3, 8], 1.5, np.float32)
    infinite[:, ::2] = np.inf
    assert reason(features=infinite) == "features are NaN or infinite"
    features = detections.small("a", size=64).features
    assert reason(features=changed(features, (0, 2), np.nan)) == "features are NaN or infinite"
    assert "65504" in reason(features=changed(features, (1, slice(0, 3)), 1e9))


def test_takes_a_box_without_area():
    image = detections.small("a")
    image.boxes[0] = [5, 5, 5, 9]
    image.check(checked(image))


def test_refuses_no_regions():
    image = detections.small("a", count=0)
    with pytest.raises(RegionError, match="the image has no regions"):
        checked(image)


@pytest.mark.parametrize(
    "name", ["features", "boxes", "object_ids", "object_confidences", "attribute_ids"]
)
def test_refuses_lengths_that_do_not_fit(name):
    values = getattr(detections.small("a"), name)
    expected = "the lengths of features, boxes, ids or confidences do not fit"
    assert reason(**{name: values[:-1]}) == expected
    assert reason(**{name: values[None]}) == expected


def test_refuses_boxes_of_other_than_four_numbers_and_empty_features():
    image = detections.small("a")
    assert "do not fit" in reason(boxes=image.boxes[:, :3])
    assert "do not fit" in reason(features=image.features[:, :0])


def test_refuses_ids_or_confidences_alone():
    assert "without" in reason(object_ids=None)
    assert "without" in reason(attribute_confidences=None)


def test_an_image_may_have_neither_ids_nor_confidences():
    image = detections.small("a")
    read = checked_image("a", 48, 64, image.boxes, image.features)
    image.check(read, object_labels=False, attribute_labels=False)


def test_refuses_ids_that_are_none():
    ids = detections.small("a").object_ids
    assert "negative" in reason(object_ids=changed(ids, 0, -2))
    assert "whole" in reason(attribute_ids=ids.astype(np.float32))
    unknown = dataclasses.replace(detections.small("a"), object_ids=changed(ids, 0, -1))
    assert checked(unknown).regions.object_ids[0] == -1


@pytest.mark.parametrize("side", [0, -1, 10**400])
def test_refuses_sizes_that_no_image_has(side):
    assert reason(height=side) == "the image's height or width is not a valid number of pixels"
    assert reason(width=side) == "the image's height or width is not a valid number of pixels"


def test_refuses_ids_that_records_cannot_hold():
    with pytest.raises(RegionError, match="no id"):
        check_id("")
    with pytest.raises(RegionError, match="not UTF-8") as caught:
        check_id("a\udce4")
    assert caught.value.read_error(3, "a\udce4").id == "a?"


_ARRAYS = npst.arrays(
    st.sampled_from([np.float32, np.float16, np.float64, np.int64, "S1", object]),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(_ARRAYS, _ARRAYS, st.none() | _ARRAYS, st.none() | _ARRAYS, st.integers(), st.integers())
def test_any_arrays_are_an_image_or_a_fault(boxes, features, ids, confidences, height, width):
    try:
        image = checked_image("a", height, width, boxes, features, ids, confidences)
    except RegionError:
        return
    assert len(image.regions) > 0
    assert np.isfinite(image.regions.features).all()
    assert ((image.regions.boxes >= 0) & (image.regions.boxes <= 1)).all()
