"""HDF5 files of transformers' TensorFlow models, and malicious files."""

import pathlib
import shutil
import struct

import h5py
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertPretrainer
from lxmert_tf.converters.foreign_config import to_huggingface
from lxmert_tf.converters.formats.keras_h5 import pytorch_name, read_keras_h5
from lxmert_tf.converters.importing import import_weights
from lxmert_tf.converters.weight_names import bert_variables
from lxmert_tf.errors import InputError
from tests.lxmert_tf.converters.conftest import TINY
from tests.lxmert_tf.converters.keras_h5_layout import dataset_path, write_h5_directory

PLACE = "lxmert/tf_lxmert_model/lxmert/pooler/dense/kernel:0"


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        for tensor in read_keras_h5(path).values():
            tensor.read()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


@pytest.fixture
def hostile(tmp_path):
    """A file with one valid weight, open so that a test can add something malicious."""
    path = tmp_path / "tf_model.h5"
    with h5py.File(path, "w") as file:
        file[PLACE] = np.ones((2, 3), np.float32)
        yield file


def closed(file) -> str:
    name = file.filename
    file.close()
    return name


@pytest.mark.parametrize(
    "cls, name",
    [
        (LxmertPretrainer, "tf_lxmert_for_pre_training"),
        (LxmertBackbone, "tf_lxmert_model"),
        (LxmertAnswerClassifier, "tf_mine_3"),
    ],
)
def test_every_weight_comes_back(tiny_model, cls, name, tmp_path):
    model = tiny_model(cls)
    back, report = import_weights("huggingface", write_h5_directory(model, tmp_path / "hf", name))
    assert report.is_complete() and report.unexpected == ()
    assert type(back) is cls and back.config == model.config
    for ours, theirs in zip(model.weights, back.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.name)


@pytest.mark.parametrize(
    "place, name",
    [
        ("lxmert/embeddings/word_embeddings/weight:0", "lxmert.embeddings.word_embeddings.weight"),
        ("lxmert/embeddings/position/embeddings:0", "lxmert.embeddings.position.weight"),
        ("lxmert/encoder/layer_._11/dense/kernel:0", "lxmert.encoder.layer.11.dense.weight"),
        ("obj/decoder_dict.obj/kernel:0", "obj.decoder_dict.obj.weight"),
        ("answer_head/logit_fc_._2/gamma:0", "answer_head.logit_fc.2.weight"),
        ("answer_head/logit_fc_._2/beta:0", "answer_head.logit_fc.2.bias"),
        ("mlm___cls/predictions/bias:0", "cls.predictions.bias"),
    ],
)
def test_names_become_those_of_pytorch(place, name):
    assert pytorch_name(f"layer/model/{place}") == name


def test_a_bert_of_tensorflow_becomes_the_language_encoder(tiny_model, tmp_path):
    model = tiny_model(LxmertBackbone)
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        for named in bert_variables(model):
            for name, value in named.split(named.variable.numpy()).items():
                place = dataset_path(name, "tf_bert_model").replace("lxmert", "bert")
                file[place] = value.T if "/kernel:0" in place else value
    back, report = import_weights("bert", tmp_path, TINY)
    assert report.is_complete() and report.unexpected == ()
    for ours, theirs in zip(bert_variables(model), bert_variables(back), strict=True):
        np.testing.assert_array_equal(
            ours.variable.numpy(), theirs.variable.numpy(), err_msg=ours.names[0]
        )


def test_safetensors_take_precedence(checkpoint, tmp_path):
    directory = tmp_path / "hf"
    shutil.copytree(checkpoint(LxmertBackbone, "huggingface"), directory)
    (directory / "tf_model.h5").write_bytes(b"not even HDF5")
    assert import_weights("huggingface", directory)[1].is_complete()


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
def test_floating_point_of_any_width_and_order_is_read(hostile, dtype):
    value = np.arange(6).reshape(2, 3).astype(dtype)
    del hostile[PLACE]
    hostile[PLACE] = value
    [(name, tensor)] = read_keras_h5(closed(hostile)).items()
    assert name == "lxmert.pooler.dense.weight"
    assert tensor.shape == (3, 2)
    assert tensor.read().dtype == np.float32
    np.testing.assert_array_equal(tensor.read(), value.T)


def test_bytes_before_the_hdf5_do_not_shift_the_values(tmp_path):
    path = tmp_path / "tf_model.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file[PLACE] = np.arange(6, dtype=np.float32).reshape(2, 3)
    [tensor] = read_keras_h5(path).values()
    np.testing.assert_array_equal(tensor.read(), [[0, 3], [1, 4], [2, 5]])


def test_another_file_is_never_opened(hostile, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as other:
        other["x"] = np.ones(3, np.float32)
    hostile["lxmert/tf_lxmert_model/lxmert/pooler/dense/bias:0"] = h5py.ExternalLink(secret, "x")
    assert "bias:0' is a link to another path or file" in refusal(closed(hostile))


def test_a_layer_in_another_file_is_refused(hostile, tmp_path):
    hostile["cls"] = h5py.ExternalLink(tmp_path / "secret.h5", "/")
    assert "'cls' is a link to another path or file" in refusal(closed(hostile))


def test_a_soft_link_is_refused(hostile):
    hostile["lxmert/again"] = h5py.SoftLink("/lxmert")
    assert "'lxmert/again' is a link to another path or file" in refusal(closed(hostile))


def test_a_group_that_holds_itself_is_refused(hostile):
    hostile["lxmert/again"] = hostile["lxmert"]
    assert "has two names or contains itself" in refusal(closed(hostile))


def test_groups_nested_without_end_are_refused(hostile):
    group = hostile["lxmert"]
    for _ in range(2000):
        group = group.create_group("g")
    assert "damaged" in refusal(closed(hostile))


def test_a_dataset_whose_bytes_lie_elsewhere_is_refused(hostile, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(12))
    external = [(str(tmp_path / "raw"), 0, 12)]
    hostile.create_dataset("cls/m/cls/bias:0", (3,), np.float32, external=external)
    assert "virtual, external, chunked or compressed" in refusal(closed(hostile))


def test_a_virtual_dataset_is_refused(hostile, tmp_path):
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3,))
    hostile.create_virtual_dataset("cls/m/cls/bias:0", layout)
    assert "virtual, external, chunked or compressed" in refusal(closed(hostile))


def test_a_compressed_dataset_is_refused_unread(hostile):
    # 4 TB of zeros in a few hundred bytes.
    hostile.create_dataset(
        "cls/m/cls/bias:0", (1 << 40,), np.float32, chunks=(1 << 20,), compression="gzip"
    )
    assert "virtual, external, chunked or compressed" in refusal(closed(hostile))


def test_a_dataset_of_which_nothing_was_stored_is_refused(hostile):
    hostile.create_dataset("cls/m/cls/bias:0", (1 << 40,), np.float32)
    assert "less data than its shape requires" in refusal(closed(hostile))


@pytest.mark.parametrize("rows, columns", [(3, 3), (1 << 30, 3), (1 << 32, 1 << 32)])
def test_a_shape_that_is_larger_than_the_data_is_refused_unread(hostile, rows, columns):
    path = closed(hostile)
    content = pathlib.Path(path).read_bytes()
    # Twice: the present size and the largest.
    stated = struct.pack("<QQ", 2, 3)
    assert content.count(stated) == 2
    pathlib.Path(path).write_bytes(content.replace(stated, struct.pack("<QQ", rows, columns)))
    refusal(path)


@pytest.mark.parametrize(
    "value",
    [
        np.array(["a", "b"], h5py.string_dtype()),
        np.array([1, 2], h5py.enum_dtype({"a": 1, "b": 2})),
        np.zeros(2, [("a", "<f4")]),
        np.zeros(2, np.complex64),
        np.array([b"abc"]),
        h5py.Empty("f4"),
        np.void(b"abc"),
    ],
    ids=lambda value: str(value.dtype),
)
def test_datasets_other_than_plain_numbers_are_refused(hostile, value):
    hostile["cls/m/cls/bias:0"] = value
    assert "not plain numbers" in refusal(closed(hostile))


def test_references_and_named_types_are_refused(hostile):
    hostile["cls/m/cls/bias:0"] = np.array([hostile["lxmert"].ref], h5py.ref_dtype)
    hostile["type"] = np.dtype("f8")
    path = closed(hostile)
    assert "not plain numbers" in refusal(path)
    with h5py.File(path, "a") as file:
        del file["cls"]
    assert "neither a group nor a dataset" in refusal(path)


def test_two_shapes_under_one_name_are_refused(hostile):
    hostile["cls/tf_lxmert_model/lxmert/pooler/dense/kernel:0"] = np.ones((4, 3), np.float32)
    assert "duplicate entry" in refusal(closed(hostile))


def test_files_that_keras_did_not_write_are_refused(tmp_path):
    path = tmp_path / "tf_model.h5"
    for content in (b"", b"hello", b"\x89HDF\r\n\x1a\n", bytes(4096)):
        path.write_bytes(content)
        assert "damaged HDF5 file" in refusal(path)
    with h5py.File(path, "w") as file:
        file["x"] = np.ones(3, np.float32)
    assert "belongs to no layer" in refusal(path)
    with h5py.File(path, "w"):
        pass
    assert "holds no weights" in refusal(path)
    assert "No such file" in refusal(tmp_path / "missing.h5")
    assert "directory" in refusal(tmp_path)


def test_a_file_that_shrinks_after_it_was_opened_is_refused(whole, tmp_path):
    path = tmp_path / "shrinking.h5"
    shutil.copy(whole, path)
    tensors = read_keras_h5(path)
    path.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(InputError, match="cut short in"):
        for tensor in tensors.values():
            tensor.read()


@pytest.fixture(scope="module")
def whole(checkpoint):
    return checkpoint(LxmertBackbone, "h5") / "tf_model.h5"


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    return tmp_path_factory.mktemp("changed") / "tf_model.h5"


def test_a_file_cut_anywhere_is_refused_with_one_line(whole, tmp_path):
    data = whole.read_bytes()
    path = tmp_path / "cut.h5"
    for length in [*range(0, 200, 7), *range(200, len(data) - 1, 4999), len(data) - 1]:
        path.write_bytes(data[:length])
        refusal(path)


@hypothesis.given(st.data())
@hypothesis.settings(max_examples=100, derandomize=True)
def test_changed_bytes_only_change_numbers_or_are_refused(whole, changed, data):
    content = bytearray(whole.read_bytes())
    # Half of them where the superblock and the first groups lie.
    positions = st.integers(0, 4095) | st.integers(0, len(content) - 1)
    for position in data.draw(st.lists(positions, min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    changed.write_bytes(content)
    try:
        for tensor in read_keras_h5(changed).values():
            assert tensor.read().shape == tensor.shape
    except InputError as error:
        assert "\n" not in str(error)


@hypothesis.given(st.binary(max_size=600))
@hypothesis.settings(max_examples=50, derandomize=True)
def test_random_bytes_are_refused(changed, content):
    for start in (b"", b"\x89HDF\r\n\x1a\n"):
        changed.write_bytes(start + content)
        refusal(changed)


@pytest.mark.parametrize("name", ["TFLxmertForPreTraining", "TFLxmertModel"])
def test_files_of_transformers_are_read_and_give_the_same_outputs(name, tmp_path):
    transformers = pytest.importorskip("transformers", reason="an oracle, not a dependency")
    if not hasattr(transformers, name):
        pytest.skip("transformers dropped LXMERT with version 5")
    try:
        cls = getattr(transformers, name)
        theirs = cls(transformers.LxmertConfig(**to_huggingface(TINY, name)))
    except ImportError as error:
        pytest.skip(f"transformers is without its TensorFlow: {error}")
    random = np.random.default_rng(0)
    mask = np.int32([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    inputs = {
        "input_ids": random.integers(0, TINY.vocab_size, (2, 5)),
        "token_type_ids": random.integers(0, 2, (2, 5)),
        "attention_mask": mask,
        "visual_feats": random.normal(size=(2, 4, TINY.region_feature_size)).astype(np.float32),
        "visual_pos": random.uniform(size=(2, 4, 4)).astype(np.float32),
    }
    theirs(inputs)
    theirs.set_weights([random.normal(size=w.shape) for w in theirs.get_weights()])
    theirs.save_pretrained(tmp_path / "hf")

    ours, report = import_weights("huggingface", tmp_path / "hf")
    assert report.is_complete() and report.unexpected == ()
    names = ("token_ids", "segment_ids", "padding_mask", "region_features", "region_boxes")
    outputs = ours(dict(zip(names, inputs.values())))
    expected = theirs(inputs)
    pairs = {
        "masked_lm_logits": "prediction_logits",
        "matched_logits": "cross_relationship_score",
        "answer_logits": "question_answering_score",
        "language_output": "language_output",
        "vision_output": "vision_output",
        "pooled_output": "pooled_output",
    }
    compared = {mine: other for mine, other in pairs.items() if other in expected}
    assert len(compared) == 3
    for mine, other in compared.items():
        np.testing.assert_allclose(outputs[mine], expected[other], rtol=0, atol=1e-5, err_msg=mine)

    # The files of the tests above have the same layout.
    write_h5_directory(ours, tmp_path / "mine", theirs.name)
    assert places(tmp_path / "mine") == places(tmp_path / "hf")


def places(directory) -> set[str]:
    found = set()
    with h5py.File(directory / "tf_model.h5") as file:
        file.visititems(
            lambda name, item: found.add(name) if isinstance(item, h5py.Dataset) else None
        )
    return found
