"""Weights of the detector from caffe's own file."""

import dataclasses
import functools

import numpy as np
import pytest
from safetensors.numpy import load_file

from lxmert_tf.cli.main import main
from lxmert_tf.converters.formats.caffemodel import read_caffemodel
from lxmert_tf.detector.boxes import caffe_anchors
from lxmert_tf.detector.caffe_weights import published_tensors
from lxmert_tf.detector.importing import import_detector
from lxmert_tf.detector.weight_names import ANCHORS
from lxmert_tf.errors import InputError
from lxmert_tf.json_file import read_json
from tests.lxmert_tf.detector import golden_detector
from tests.lxmert_tf.detector.caffemodel_layout import caffe_layers, encode_network
from tests.lxmert_tf.samples import one_line

FORMS = {
    "today": {},
    "float64": {"double": True},
    "older": {"form": "layers", "legacy": True},
}
BLOB = {"conv1": [np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)]}


@functools.cache
def layers():
    """The layers of the golden detector, with one that needs no weights."""
    tensors = load_file(golden_detector.folder() / "weights.safetensors")
    published = {name: value for name, value in tensors.items() if "num_batches" not in name}
    return {"data": [], **caffe_layers(published)}


@pytest.fixture
def golden_file(tmp_path):
    path = tmp_path / "resnet.caffemodel"
    path.write_bytes(encode_network(layers()))
    return path


def config_file():
    return golden_detector.folder() / "caffe/config.json"


@pytest.mark.parametrize("form", FORMS)
def test_blobs_are_read_from_every_form(form, tmp_path):
    path = tmp_path / "a.caffemodel"
    written = {**BLOB, "bn": [np.float32([1, 2]), np.float32([3])], "empty": []}
    path.write_bytes(encode_network(written, **FORMS[form]))
    read = read_caffemodel(path)
    assert list(read) == ["conv1", "bn"]
    for name, blobs in read.items():
        for blob, value in zip(blobs, written[name], strict=True):
            leading = (1,) * (4 - value.ndim) if form == "older" else ()
            assert blob.shape == (*leading, *value.shape)
            np.testing.assert_array_equal(blob.read(), value.reshape(blob.shape))


def test_the_golden_detector_from_caffes_file(tmp_path):
    path = tmp_path / "resnet.caffemodel"
    path.write_bytes(encode_network(layers(), form="layers", legacy=True))
    model, report = import_detector(path, config_file())
    assert report.is_complete() and report.unexpected == ()
    original = golden_detector.detector("caffe")
    assert model.config == dataclasses.replace(original.config, hf=model.config.hf)
    for ours, theirs in zip(model.weights, original.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6, err_msg=theirs.name)
    regions = model(model.prepare([golden_detector.picture()]))
    golden = golden_detector.arrays("caffe/chelsea_outputs.npz")
    golden_detector.assert_regions(regions, golden, slack=8)


def test_published_layers_give_the_published_tensors():
    content = read_json(golden_detector.folder() / "published_tensors.json")
    published = {
        # No memory is used for zeros that are not read.
        name: np.broadcast_to(np.float32(0), shape)
        for name, shape, *_ in content["tensors"]
        if not name.endswith("num_batches_tracked")
    }
    theirs = {
        name: [Stored(blob) for blob in blobs] for name, blobs in caffe_layers(published).items()
    }
    sources = {name: source for name, _, _, source in content["tensors"] if source}
    for name, source in sources.items():
        if name in published:
            assert source.split()[0] in theirs, name
    ours = published_tensors(theirs, {}, "published")
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: value.shape for name, value in published.items()
    }


class Stored:
    """A blob whose values are not needed."""

    def __init__(self, value):
        self.shape = value.shape


def test_flavor_and_names_without_a_config(golden_file):
    objects = [f"object {i}" for i in range(20)]
    (golden_file.parent / "objects_vocab.txt").write_text("\n".join(objects))
    model, _ = import_detector(golden_file)
    assert model.config.flavor == "caffe"
    assert model.config.num_attributes == 8
    assert (model.object_names, model.attribute_names) == (objects, None)
    # The network was trained with caffe's anchors, whatever the rules are.
    layer = model.get_layer("proposal_selection")
    own = caffe_anchors(model.config.anchor_sizes, model.config.anchor_ratios)
    np.testing.assert_array_equal(layer.caffe_anchors, own)
    np.testing.assert_array_equal(layer.hf_anchors, own + np.float32([0, 0, 1, 1]))


def test_the_command_reports_what_does_not_fit(tmp_path, capsys):
    changed = dict(layers())
    del changed["fc_attr"], changed["scale4b1_branch2c"]
    changed["rpn_conv/3x3"] = [changed["rpn_conv/3x3"][0][..., :1], changed["rpn_conv/3x3"][1]]
    changed["fc6"] = [np.ones([2, 3])]
    changed["conv1"] = [*changed["conv1"], np.ones([8])]
    path = tmp_path / "resnet.caffemodel"
    path.write_bytes(encode_network(changed))
    arguments = ["import-weights", "--source", "detector", "--checkpoint", str(path)]
    arguments += ["--detector-config", str(config_file()), "--output", str(tmp_path / "preset")]
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert "missing:     4\n" in printed.out
    assert "  backbone.res4.1.conv3.norm.weight\n" in printed.out
    assert "unexpected:  2\n  conv1 blob 1\n  fc6 blob 0\n" in printed.out
    assert "proposal_generator.rpn_head.conv.weight: [64, 128, 3, 1] in the" in printed.out
    assert "missing tensors: 4, of a wrong shape:" in printed.err
    assert len(printed.err.splitlines()) == 1


def test_batch_normalization_without_a_count_is_zero():
    stored = {"bn_conv1": [np.float32([3, 4]), np.float32([5, 6]), np.float32([0])]}
    tensors = published_tensors(
        {name: [Readable(blob) for blob in blobs] for name, blobs in stored.items()}, {}, "a"
    )
    for part in ("mean", "var"):
        np.testing.assert_array_equal(
            tensors[f"backbone.stem.conv1.norm.running_{part}"].read(), [0, 0]
        )
    assert tensors.keys() - {ANCHORS} == {
        f"backbone.stem.conv1.norm.running_{part}" for part in ("mean", "var")
    }


class Readable(Stored):
    """A blob that holds its values."""

    def __init__(self, value):
        super().__init__(value)
        self.read = lambda: value


def network(**options):
    return encode_network(BLOB, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (network()[:-20], "damaged caffemodel (it is cut short)"),
        (network() + b"\x07", "damaged caffemodel (no field begins at byte"),
        (b"\x10\x96\x01", "damaged caffemodel (a field has another type)"),
        (network().replace(b"\x3a\x06\x0a\x04\2\3\2\2", b"\x3a\x06\x0a\x04\2\3\2\1"), "24 values"),
        (network() + network(), "duplicate layer 'conv1'"),
        (network(), "not a checkpoint of the detector; it lacks roi_heads"),
        (encode_network({"a": []}), "not a caffemodel, or it has no weights"),
        (b"", "not a caffemodel, or it has no weights"),
        (b'name: "ResNet-101"\nlayer {\n', "it is a text file"),
    ],
)
def test_other_files_are_refused_in_one_line(content, message, tmp_path):
    path = tmp_path / "a.caffemodel"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        import_detector(path)
    assert message in one_line(raised)
    assert str(path) in str(raised.value)


def test_another_number_of_anchors_is_refused(golden_file, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"anchor_sizes": [64, 128]}')
    with pytest.raises(InputError) as raised:
        import_detector(golden_file, config)
    assert "'rpn_cls_score' has 24 outputs; the anchors need 12" in one_line(raised)
