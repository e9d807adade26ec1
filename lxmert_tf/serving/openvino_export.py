"""Export of answer models for OpenVINO, which answers on CPUs without TensorFlow.

The graphs are those of the SavedModel, without the tokenizer and the answer table: OpenVINO has no
strings. `OpenVinoSession` adds both.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, get_args

import tensorflow as tf

from lxmert_tf.atomic_write import atomic_directory, check_replaceable
from lxmert_tf.data.sidecars import write_extractor
from lxmert_tf.errors import InputError
from lxmert_tf.layers.packing import without_branches
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.serving.export import cast_weights
from lxmert_tf.serving.int8_weights import compress_weights
from lxmert_tf.serving.layout import EXTRA, OPENVINO_GRAPH
from lxmert_tf.serving.openvino_description import (
    IMAGE_ENCODER,
    QUESTION_ENCODER,
    OpenVinoDescription,
    OpenVinoSettings,
    Precision,
    write_description,
)
from lxmert_tf.serving.openvino_runtime import import_openvino
from lxmert_tf.serving.signatures import make_served_module

# A function of tensors by name, and the specs of its arguments.
Graph = tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]


def export_openvino(
    model: PresetModel,
    directory,
    precision: str = "float32",
    max_length: int = 20,
    top_k: int = 5,
) -> None:
    """Write a model for OpenVINO, complete or not at all.

    Needs the package openvino (extra `openvino`).

    Args:
        model: An `LxmertAnswerClassifier` or `LxmertPairClassifier` with its vocabulary and
            answers.
        directory: A new directory, such as NAME/VERSION; parents are made.
        precision: "float32"; "bfloat16" to multiply in bfloat16 on processors that can, with
            weights that are stored as float32; or "int8", see `compress_weights`.
        max_length: Word pieces per question, with [CLS] and [SEP]; at least 3.
        top_k: Answers per question, at least 1.

    Raises:
        InputError: The model is of another class or lacks a part, the directory exists, the
            precision is unknown, or a number is too small.
        ModuleNotFoundError: The package openvino is not installed.

    Example:
        ```python
        export_openvino(load_preset("presets/vqa"), "saved_models/vqa/1")
        ```
    """
    if precision not in get_args(Precision):
        raise InputError(
            f"precision is {precision!r}; it must be one of {', '.join(get_args(Precision))}"
        )
    check_replaceable(directory)
    openvino = import_openvino()
    model = cast_weights(model, "float32")
    # Checks the model, and the numbers.
    make_served_module(model, max_length, top_k)
    description = OpenVinoDescription(
        OpenVinoSettings(
            precision=precision,  # type: ignore[arg-type]
            max_length=min(max_length, model.config.max_position_embeddings),
            top_k=min(top_k, model.config.num_answers),
        ),
        model.config,
        model.vocabulary or [],
        model.answers or [],
    )
    with atomic_directory(directory, last=OPENVINO_GRAPH) as unfinished:
        for name, (function, specs) in _graphs(model).items():
            graph = _convert(function, specs)
            if precision == "int8":
                compress_weights(graph)
            openvino.save_model(graph, str(unfinished / name), compress_to_fp16=False)
        write_description(unfinished, description)
        if model.extractor is not None:
            (unfinished / EXTRA).mkdir()
            write_extractor(unfinished / EXTRA, model.extractor)


def _graphs(model: PresetModel) -> dict[str, Graph]:
    """Return the graphs of a model by file name."""
    if isinstance(model, LxmertPairClassifier):
        return {OPENVINO_GRAPH: _pair_graph(model)}
    assert isinstance(model, LxmertAnswerClassifier)
    return {
        IMAGE_ENCODER: _image_graph(model),
        QUESTION_ENCODER: _question_graph(model),
        OPENVINO_GRAPH: _pairs_graph(model),
    }


def _image_graph(model: LxmertAnswerClassifier) -> Graph:
    def encode_image(region_features, region_boxes, region_mask):
        return {"image_state": model.encode_image(region_features, region_boxes, region_mask)}

    return encode_image, _region_specs(model)


def _question_graph(model: LxmertAnswerClassifier) -> Graph:
    def encode_question(**text):
        return {"question_state": model.encode_question(text)}

    return encode_question, _text_specs()


def _pairs_graph(model: LxmertAnswerClassifier) -> Graph:
    def answer_pairs(**inputs):
        return {"probabilities": tf.sigmoid(model.answer_pairs(**inputs))}

    question_state, image_state = (
        tf.TensorSpec([None, None, model.config.hidden_size], tf.float32, name)
        for name in ("question_state", "image_state")
    )
    return answer_pairs, [question_state, _text_specs()[-1], image_state, _region_specs(model)[-1]]


def _pair_graph(model: LxmertPairClassifier) -> Graph:
    def judge(**inputs):
        logits = model(inputs, training=False, output_attentions=False, packed=model.packs)
        return {"probabilities": tf.nn.softmax(logits)}

    return judge, [*_text_specs(), *_region_specs(model)]


def _text_specs() -> list[tf.TensorSpec]:
    return [tf.TensorSpec([None, None], tf.int32, name) for name in ("token_ids", "padding_mask")]


def _region_specs(model: PresetModel) -> list[tf.TensorSpec]:
    images = model.images_per_scene
    batch = [None] if images == 1 else [None, images]
    return [
        tf.TensorSpec(
            [*batch, None, model.config.region_feature_size], tf.float32, "region_features"
        ),
        tf.TensorSpec([*batch, None, 4], tf.float32, "region_boxes"),
        tf.TensorSpec([*batch, None], tf.int32, "region_mask"),
    ]


def _convert(function: Callable, specs: list[tf.TensorSpec]) -> Any:
    with without_branches():
        arguments = {spec.name: spec for spec in specs}
        traced = tf.function(function, autograph=False).get_concrete_function(**arguments)
    openvino = import_openvino()
    with _known_environment():
        converted = openvino.convert_model(traced)
    names = {spec.name for spec in specs}
    for parameter in converted.inputs:
        # The converter adds the names of what it fused with an input.
        [name] = names & parameter.get_names()
        parameter.get_tensor().set_names({name})
    return converted


@contextlib.contextmanager
def _known_environment() -> Iterator[None]:
    """Tell OpenVINO the version of TensorFlow, which it does not find on every Python.

    The function of OpenVINO 2026.4 fails on Python 3.13, where `exec` defines no local name.
    """
    from openvino.frontend.tensorflow import utils

    own = utils.get_environment_setup
    utils.get_environment_setup = lambda framework: {"tensorflow": tf.__version__}
    try:
        yield
    finally:
        utils.get_environment_setup = own
