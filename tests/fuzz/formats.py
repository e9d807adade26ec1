"""A small valid file of each format, and what reads such files."""

import gzip
import json
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import h5py
import numpy as np
import tensorflow as tf
from PIL import Image

from lxmert_tf import LxmertAnswerClassifier
from lxmert_tf.config_file import load_config, read_mapping
from lxmert_tf.converters import foreign_config
from lxmert_tf.converters.foreign_vocabulary import read_vocabulary
from lxmert_tf.converters.formats import StoredTensor, torch_writing
from lxmert_tf.converters.formats.caffemodel import read_caffemodel
from lxmert_tf.converters.formats.keras_h5 import read_keras_h5
from lxmert_tf.converters.formats.numpy_pickle import read_numpy_pickle
from lxmert_tf.converters.formats.safetensors_file import read_safetensors, write_safetensors
from lxmert_tf.converters.formats.torch_reading import (
    LEGACY_MAGIC,
    LEGACY_VERSION,
    read_torch_file,
)
from lxmert_tf.data.batches import (
    example_batches,
    find_records,
    naming_damaged_files,
    read_records,
)
from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.data.schema import encode_scene
from lxmert_tf.errors import InputError
from lxmert_tf.json_file import read_json
from lxmert_tf.models.presets import load_preset
from lxmert_tf.regions.extractor import Regions
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.label_map import read_label_map
from lxmert_tf.text_file import read_lines
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.files import closing_archives, find_inputs
from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.registry import (
    detect_format,
    make_region_reader,
    make_sentence_reader,
)
from pipeline.ingest.tfrecord import write_record
from tests.lxmert_tf.detector.caffemodel_layout import encode_network
from tests.lxmert_tf.samples import CONFIG, config
from tests.pipeline.ingest import detections, test_gqa_hdf5, test_mmf_lmdb, tsv_rows
from tests.pipeline.ingest.test_hdf5_variants import write_bottom_up, write_groups

_IMAGES = [detections.small(str(number), count=3) for number in (9, 25)]
_QUESTIONS = [
    {
        "question_id": number,
        "img_id": f"COCO_val2014_{number:012}",
        "sent": "What is it?",
        "question_type": "what is",
        "answer_type": "other",
        "label": {"net": 1, "a b": 0.3},
    }
    for number in (1, 2, 3)
]


class Format(NamedTuple):
    """A format of files that may come from strangers.

    Args:
        make: Writes a valid file into a folder; returns its path.
        read: Reads all that is in a file.
        apart: Whether a library reads it that could end the process.
        slow: Whether one mutation takes a large part of a second.
    """

    make: Callable[[pathlib.Path], pathlib.Path]
    read: Callable[[pathlib.Path], object]
    apart: bool = False
    slow: bool = False


# Configurations and text.


def _make_yaml(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "ingest.yaml"
    path.write_text(
        "parts:\n"
        "  train: &train\n"
        "    regions: [{files: ['a*.tsv'], rows: [0, 10]}]\n"
        "    sentences: [{files: [q.json], format: vqa_release}]\n"
        "  more: *train\n"
        "  again: {<<: *train}\n"
        "splits:\n"
        "  train: {from: train, percent: [0, 95], folders: [0, '1?']}\n"
        "  test: {from: [train, more], percent: [95, 100], layout: flat, limit: 12}\n"
        "shards: 2\n"
        "extractor: {name: grid, columns: 3, rate: 1e-3, date: 2020-01-01, size: 1:30}\n"
    )
    return path


def _read_yaml(path: pathlib.Path) -> object:
    return load_config(IngestConfig, path, ["shards=3", "splits.train.percent=[1, 2]"])


def _make_config(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "config.json"
    path.write_text(json.dumps(foreign_config.to_huggingface(CONFIG, "LxmertForPreTraining")))
    return path


def _read_config(path: pathlib.Path) -> object:
    return foreign_config.from_huggingface(read_mapping(path), str(path))


def _make_json(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "questions.json"
    path.write_text(
        json.dumps({"a": _QUESTIONS, "b": [None, True, -1.5e3, "\u00e9\\\ud83d\ude00"]})
    )
    return path


def _make_tokenizer(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "tokenizer.json"
    model = {"type": "WordPiece", "vocab": {"[PAD]": 0, "a": 1, "##b": 2}}
    path.write_text(json.dumps({"model": model, "added_tokens": [{"id": 3, "content": "x"}]}))
    return path


def _make_words(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n##é\r\nwörd\n")
    return path


def _make_label_map(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "label_map.pbtxt"
    path.write_text(
        "# Names\n"
        'item { id: 1 name: "/m/01" display_name: "person" keypoints { id: 2 label: "x" } }\n'
        "item {\n  name: 'a \\'b\\' \\303\\251'\n  id: 4\n}\n"
    )
    return path


# Weights.


def _tensors() -> dict[str, StoredTensor]:
    values = {
        "bert.pooler.dense.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "bert.pooler.dense.bias": np.float32([1, 2]),
        "scalar": np.float32(3),
    }
    return {name: StoredTensor(v.shape, lambda v=v: v) for name, v in values.items()}


def _read_tensors(tensors: dict[str, StoredTensor]) -> object:
    return {name: tensor.read() for name, tensor in tensors.items()}


def _make_torch(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "small_LXRT.pth"
    torch_writing.write_torch_file(path, _tensors())
    return path


def _make_torch_legacy(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "legacy_LXRT.pth"
    tensors = _tensors()
    keys = {name: str(number) for number, name in enumerate(sorted(tensors))}
    entries = {
        name: torch_writing._tensor(keys[name], tensor.shape) for name, tensor in tensors.items()
    }
    parts = [pickle.dumps(part, 2) for part in (LEGACY_MAGIC, LEGACY_VERSION, {"short": 2})]
    parts += [torch_writing._state_dict(entries), pickle.dumps(list(keys.values()), 2)]
    for name in keys:
        values = tensors[name].read()
        parts += [struct.pack("<q", values.size), values.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def _make_pickle(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "faster_rcnn.pkl"
    values = {"conv1_w": np.ones([2, 3], np.float32), "n": np.float64(3), "names": ["a", (1, 2.5)]}
    path.write_bytes(pickle.dumps({"model": values, "__author__": "x"}, 2))
    return path


def _read_pickle(path: pathlib.Path) -> object:
    with path.open("rb") as file:
        return read_numpy_pickle(file, path.stat().st_size)


def _make_safetensors(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "model.safetensors"
    write_safetensors(path, _tensors())
    return path


def _make_keras_h5(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "tf_model.h5"
    with h5py.File(path, "w") as file:
        for name in ("pooler/dense/kernel:0", "pooler/dense/bias:0", "norm/gamma:0"):
            shape = (2, 3) if "kernel" in name else (3,)
            file[f"lxmert/tf_lxmert_model/lxmert/{name}"] = np.ones(shape, np.float32)
    return path


def _make_caffemodel(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "resnet.caffemodel"
    layers = {"conv1": [np.ones([2, 1, 1, 3], np.float32)], "bn": [np.float32([1, 2])] * 2}
    path.write_bytes(encode_network(layers) + encode_network({"fc": layers["bn"]}, "layers", True))
    return path


def _read_caffemodel(path: pathlib.Path) -> object:
    return [blob.read() for blobs in read_caffemodel(path).values() for blob in blobs]


def _make_preset(folder: pathlib.Path) -> pathlib.Path:
    size = config(language_layers=1, cross_layers=1, relationship_layers=0)
    LxmertAnswerClassifier(size).save_preset(folder / "preset")
    return folder / "preset"


def _make_preset_index(folder: pathlib.Path) -> pathlib.Path:
    return _make_preset(folder) / "weights.index"


def _make_preset_data(folder: pathlib.Path) -> pathlib.Path:
    [path] = _make_preset(folder).glob("weights.data-*")
    return path


def _make_preset_config(folder: pathlib.Path) -> pathlib.Path:
    return _make_preset(folder) / "config.json"


def _read_preset(path: pathlib.Path) -> object:
    return load_preset(path.parent)


# Records.


def _scene(number: int) -> bytes:
    made = detections.small(str(number), count=3)
    regions = Regions(features=made.features, boxes=np.clip(made.boxes / 64, 0, 1))
    image = SceneImage(made.image_id, made.height, made.width, regions)
    sentence = Sentence(f"s-{number}", "What is it?", "vqa", "what", "other", (("net", 1.0),))
    return encode_scene(Scene((image,), (sentence,)))


def _make_tfrecord(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.tfrecord"
    with path.open("wb") as file:
        for number in range(3):
            write_record(file, _scene(number))
    return path


def _make_tfrecord_gz(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.tfrecord.gz"
    path.write_bytes(gzip.compress(_make_tfrecord(folder).read_bytes(), mtime=0))
    return path


def _read_tfrecord(path: pathlib.Path) -> object:
    files = find_records(str(path))
    with naming_damaged_files(files):
        return list(example_batches(read_records(files), 2, 3).as_numpy_iterator())


def _make_example(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "example"
    path.write_bytes(_scene(1))
    return path


def _read_example(path: pathlib.Path) -> object:
    """Read the bytes of one record, as if its checksum were right."""
    records = tf.data.Dataset.from_tensors(path.read_bytes())
    with naming_damaged_files([str(path)]):
        return list(example_batches(records, 2, 3).as_numpy_iterator())


# Regions.


def _read_regions(path: pathlib.Path) -> object:
    items: list = []
    with closing_archives():
        for file in find_inputs([str(path)]):
            reader = make_region_reader(detect_format(file), {"name": "grid"})
            for piece in reader.pieces(file):
                items += reader.read(piece)
    return _checked(items)


def _read_sentences(path: pathlib.Path) -> object:
    items: list = []
    with closing_archives():
        for file in find_inputs([str(path)]):
            name = "json_lines" if ".jsonl" in file.name else "vqa_release"
            items += make_sentence_reader(name).read(file)
    return _checked(items)


def _checked(items: list) -> list:
    """Return items after a check that what is said of the invalid ones is one printable line."""
    for item in items:
        if isinstance(item, ReadError) and not item.reason.isprintable():
            raise InputError(item.reason)
    return items


def _make_tsv(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "train_obj36.tsv"
    path.write_bytes(b"".join(tsv_rows.row(tsv_rows.lxmert_cells(image)) for image in _IMAGES))
    return path


def _make_tsv_gz(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "trainval.tsv.gz"
    rows = b"".join(tsv_rows.row(tsv_rows.bottom_up_cells(image)) for image in _IMAGES)
    path.write_bytes(gzip.compress(rows, mtime=0))
    return path


def _make_lmdb(folder: pathlib.Path) -> pathlib.Path:
    images = [detections.small(str(number), count=2, size=4) for number in range(6)]
    # Values of one kind lie in a leaf, of the other in pages of their own.
    images += [detections.small(str(number), count=9, size=99) for number in range(6, 9)]
    return pathlib.Path(test_mmf_lmdb.write_images(folder / "a.lmdb", images))


def _make_gqa(folder: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(test_gqa_hdf5.write(folder, _IMAGES, regions=4))


def _make_gqa_chunked(folder: pathlib.Path) -> pathlib.Path:
    storage = {"chunks": (1, 2, 4), "compression": "gzip", "shuffle": True}
    return pathlib.Path(test_gqa_hdf5.write(folder, _IMAGES, regions=4, **storage))


def _make_gqa_info(folder: pathlib.Path) -> pathlib.Path:
    _make_gqa(folder)
    return folder / "gqa_objects_info.json"


def _read_beside(name: str) -> Callable[[pathlib.Path], object]:
    return lambda path: _read_regions(path.with_name(name))


def _make_bottom_up(folder: pathlib.Path) -> pathlib.Path:
    return write_bottom_up(folder, _IMAGES, adaptive=True)


def _make_ids(folder: pathlib.Path) -> pathlib.Path:
    write_bottom_up(folder, _IMAGES, protocol=2)
    return folder / "train36_imgid2idx.pkl"


def _make_groups(folder: pathlib.Path) -> pathlib.Path:
    return write_groups(folder, _IMAGES[:1])


def _arrays() -> dict:
    [image] = _IMAGES[:1]
    return {
        "x": image.features,
        "bbox": image.boxes,
        "num_bbox": 3,
        "image_h": image.height,
        "image_w": image.width,
        "info": {"objects_id": image.object_ids, "objects_conf": image.object_confidences},
    }


def _make_npz(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "COCO_1.npz"
    np.savez_compressed(path, **_arrays())
    return path


def _make_npy(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "COCO_1.npy"
    values = _arrays()
    np.save(path, {**values, **values.pop("info"), "features": values["x"]})
    return path


def _make_npy_features(folder: pathlib.Path) -> pathlib.Path:
    values = _arrays()
    features = values.pop("x")
    np.save(folder / "COCO_1_info.npy", values)
    path = folder / "COCO_1.npy"
    np.save(path, features)
    return path


def _make_zip(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "regions.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(_make_npz(folder), "images/COCO_1.npz")
        archive.write(_make_npy_features(folder), "images/COCO_2.npy")
        archive.write(folder / "COCO_1_info.npy", "images/COCO_2_info.npy")
        archive.writestr("a.tsv", _make_tsv(folder).read_bytes())
    return path


# Sentences.


def _make_questions(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "train.json"
    path.write_text(json.dumps(_QUESTIONS))
    return path


def _make_questions_zip(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "questions.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.json", json.dumps(_QUESTIONS))
        archive.writestr("more/val.json", json.dumps(_QUESTIONS))
    return path


def _make_json_lines(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "mine.jsonl"
    lines = [{"image": "a", "sentence": "What?", "answers": {"net": 0.5}, "id": "1"}] * 3
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


# Pictures.


def _make_picture(ending: str, mode: str = "RGB", **options) -> Callable:
    def make(folder: pathlib.Path) -> pathlib.Path:
        path = folder / f"a.{ending}"
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, [9, 11, 3], np.uint8)
        picture = Image.fromarray(pixels).convert(mode)
        if ending in ("jpg", "tif", "webp"):
            exif = Image.Exif()
            exif[0x0112] = 6
            options["exif"] = exif
        picture.save(path, **options)
        return path

    return make


FORMATS: dict[str, Format] = {
    "yaml": Format(_make_yaml, _read_yaml),
    "config_json": Format(_make_config, _read_config),
    "json": Format(_make_json, read_json),
    "tokenizer_json": Format(_make_tokenizer, lambda path: read_vocabulary(path.parent)),
    "vocabulary": Format(_make_words, read_lines),
    "label_map": Format(_make_label_map, lambda path: read_label_map(str(path))),
    "torch_zip": Format(_make_torch, lambda path: _read_tensors(read_torch_file(path))),
    "torch_legacy": Format(_make_torch_legacy, lambda path: _read_tensors(read_torch_file(path))),
    "numpy_pickle": Format(_make_pickle, _read_pickle),
    "safetensors": Format(_make_safetensors, lambda path: _read_tensors(read_safetensors(path))),
    "caffemodel": Format(_make_caffemodel, _read_caffemodel),
    "keras_h5": Format(_make_keras_h5, lambda path: _read_tensors(read_keras_h5(path)), apart=True),
    "preset_config": Format(_make_preset_config, _read_preset, apart=True, slow=True),
    "preset_index": Format(_make_preset_index, _read_preset, apart=True, slow=True),
    "preset_data": Format(_make_preset_data, _read_preset, apart=True, slow=True),
    "tfrecord": Format(_make_tfrecord, _read_tfrecord, apart=True, slow=True),
    "tfrecord_gz": Format(_make_tfrecord_gz, _read_tfrecord, apart=True, slow=True),
    "example": Format(_make_example, _read_example, apart=True, slow=True),
    "lxmert_tsv": Format(_make_tsv, _read_regions),
    "bottom_up_tsv_gz": Format(_make_tsv_gz, _read_regions),
    "mmf_lmdb": Format(_make_lmdb, _read_regions),
    "gqa_hdf5": Format(_make_gqa, _read_regions, apart=True),
    "gqa_hdf5_chunked": Format(_make_gqa_chunked, _read_regions, apart=True),
    "gqa_info": Format(_make_gqa_info, _read_beside("gqa_objects_0.h5")),
    "bottom_up_hdf5": Format(_make_bottom_up, _read_regions, apart=True),
    "bottom_up_ids": Format(_make_ids, _read_beside("train36.hdf5")),
    "grouped_hdf5": Format(_make_groups, _read_regions, apart=True),
    "npz": Format(_make_npz, _read_regions),
    "npy": Format(_make_npy, _read_regions),
    "npy_features": Format(_make_npy_features, _read_regions),
    "zip_of_regions": Format(_make_zip, _read_regions),
    "vqa_release": Format(_make_questions, _read_sentences),
    "zip_of_sentences": Format(_make_questions_zip, _read_sentences),
    "json_lines": Format(_make_json_lines, _read_sentences),
    "png": Format(_make_picture("png", "RGBA"), read_image),
    "jpeg": Format(_make_picture("jpg", progressive=True), read_image),
    "gif": Format(_make_picture("gif"), read_image),
    "webp": Format(_make_picture("webp"), read_image),
    "tiff": Format(_make_picture("tif", compression="tiff_lzw"), read_image, apart=True),
    "bmp": Format(_make_picture("bmp"), read_image),
    "ppm": Format(_make_picture("ppm", "L"), read_image),
    "jpeg_2000": Format(_make_picture("jp2"), read_image, apart=True),
    "avif": Format(_make_picture("avif"), read_image, apart=True),
}
