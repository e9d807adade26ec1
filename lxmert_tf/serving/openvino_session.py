"""An exported model in OpenVINO, with the signatures of the SavedModel and without TensorFlow."""

import pathlib
import threading
from typing import Any

import numpy as np

from lxmert_tf.errors import InputError
from lxmert_tf.serving.input_spec import STRING, InputSpec, Specs, check_signature
from lxmert_tf.serving.layout import OPENVINO_GRAPH, engine_of
from lxmert_tf.serving.openvino_description import (
    IMAGE_ENCODER,
    QUESTION_ENCODER,
    read_description,
)
from lxmert_tf.serving.openvino_runtime import import_openvino

Arrays = dict[str, np.ndarray]
# States [B, L, H] and their mask [B, L].
States = tuple[np.ndarray, np.ndarray]

# What OpenVINO calls a precision of products.
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


class OpenVinoSession:
    """Loads what `export_openvino` wrote, and calls its signatures.

    Args:
        directory: The OpenVINO model.

    Attributes:
        specs: The inputs of each signature, by name.
        precision: Precision of the products: that of the export, or float32 if this processor has
            no instructions for it.

    Raises:
        InputError: The model cannot be loaded.
        ModuleNotFoundError: The package openvino or tokenizers is not installed.
    """

    def __init__(self, directory: pathlib.Path):
        if engine_of(directory) == "tensorflow":
            raise InputError(
                f"{directory}: a SavedModel, not a model of lxmert export --format openvino"
            )
        openvino = import_openvino()
        # Here, because it needs the extra, too.
        from lxmert_tf.serving.question_tokenizer import QuestionTokenizer

        about = read_description(directory)
        self._top_k = about.settings.top_k
        self._hidden_size = about.config.hidden_size
        self._feature_size = about.config.region_feature_size
        self._answers = np.array([answer.encode() for answer in about.answers], STRING)
        try:
            self._tokenize = QuestionTokenizer(about.vocabulary, about.settings.max_length)
        except InputError as error:
            raise InputError(f"{directory}: {error}") from error
        core = openvino.Core()
        self.precision = about.settings.precision
        if self.precision == "bfloat16" and not _multiplies_bfloat16(core):
            self.precision = "float32"
        self._settings = {"INFERENCE_PRECISION_HINT": _HINTS[self.precision]}
        self._answer = _Graph(core, directory / OPENVINO_GRAPH, self._settings)
        # A model of one image has an encoder for each side.
        self._encoders = {}
        if "image_state" in self._answer.inputs:
            for name in (IMAGE_ENCODER, QUESTION_ENCODER):
                if not (directory / name).exists():
                    raise InputError(f"{directory / name}: the file is missing")
                self._encoders[name] = _Graph(core, directory / name, self._settings)
        self._directory = directory
        self.specs = self._make_specs()

    def run(self, signature: str, inputs: dict[str, Any]) -> Arrays:
        """Call a signature.

        Args:
            signature: Name of the signature.
            inputs: All inputs by name: arrays, or what NumPy makes arrays of.

        Returns:
            The outputs by name; texts are bytes objects.

        Raises:
            InputError: There is no such signature, a count of regions is negative or larger than
                the arrays, or states differ in number.
        """
        check_signature(signature, self.specs, str(self._directory))
        arrays = {
            name: np.asarray(inputs[name], spec.dtype)
            for name, spec in self.specs[signature].items()
        }
        if signature == "encode_image":
            return {"image_state": _without_padding(*self._image_states(arrays))}
        if signature == "encode_question":
            return {"question_state": _without_padding(*self._question_states(arrays))}
        pairs = signature == "answer_pairs"
        if pairs and len(arrays["question_state"]) != len(arrays["image_state"]):
            raise InputError("question_state and image_state differ in batch size")
        if not len(arrays["question_state" if pairs else "question"]):
            return self._best(np.zeros([0, len(self._answers)], np.float32))
        if pairs:
            states = arrays["question_state"], arrays["image_state"]
            return self._relate(*((state, _mask_of(state)) for state in states))
        if not self._encoders:
            return self._judge(arrays)
        questions = self._question_states(arrays)
        if signature == "serving_default":
            return self._relate(questions, self._image_states(arrays))
        # One image for all of them.
        state = np.repeat(arrays["image_state"], len(questions[0]), axis=0)
        return self._relate(questions, (state, _mask_of(state)))

    def _judge(self, arrays: Arrays) -> Arrays:
        """Judge statements about two images."""
        text = self._tokenize(arrays["question"].tolist())
        regions = {name: arrays[name] for name in ("region_features", "region_boxes")}
        return self._best(self._answer({**text, **regions, "region_mask": _region_mask(arrays)}))

    def _image_states(self, arrays: Arrays) -> States:
        mask = _region_mask(arrays)
        regions = {name: arrays[name] for name in ("region_features", "region_boxes")}
        return self._encoders[IMAGE_ENCODER]({**regions, "region_mask": mask}), mask

    def _question_states(self, arrays: Arrays) -> States:
        questions = arrays["question"].tolist()
        # Equal questions are encoded once.
        number = {question: i for i, question in enumerate(dict.fromkeys(questions))}
        if not number:
            return np.zeros([0, 2, self._hidden_size], np.float32), np.zeros([0, 2], np.int32)
        text = self._tokenize(list(number))
        state = self._encoders[QUESTION_ENCODER](text)
        rows = [number[question] for question in questions]
        return state[rows], text["padding_mask"][rows]

    def _relate(self, questions: States, images: States) -> Arrays:
        names = ("question_state", "padding_mask", "image_state", "region_mask")
        return self._best(self._answer(dict(zip(names, (*questions, *images)))))

    def _best(self, probabilities: np.ndarray) -> Arrays:
        # Stable, so that of equal answers the first comes first, as in TensorFlow.
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, : self._top_k]
        scores = np.take_along_axis(probabilities, best, axis=1)
        return {"answers": self._answers[best], "scores": scores}

    def _make_specs(self) -> dict[str, Specs]:
        batch: tuple[int | None, ...] = (None,) if self._encoders else (None, 2)
        floats, question = np.dtype(np.float32), InputSpec((None,), STRING)
        regions = {
            "region_boxes": InputSpec((*batch, None, 4), floats),
            "region_count": InputSpec(batch, np.dtype(np.int32)),
            "region_features": InputSpec((*batch, None, self._feature_size), floats),
        }
        specs = {"serving_default": {"question": question, **regions}}
        if self._encoders:
            state = InputSpec((None, None, self._hidden_size), floats)
            one_image = InputSpec((1, *state.shape[1:]), floats)
            specs["encode_image"] = regions
            specs["encode_question"] = {"question": question}
            specs["answer_about_image"] = {"image_state": one_image, "question": question}
            specs["answer_pairs"] = {"image_state": state, "question_state": state}
        return specs


class _Graph:
    """A compiled graph with one output.

    Args:
        core: OpenVINO's core.
        path: The graph, beside its weights.
        settings: Settings of the compilation.

    Attributes:
        inputs: Names of the inputs.

    Raises:
        InputError: The graph cannot be loaded.
    """

    def __init__(self, core: Any, path: pathlib.Path, settings: dict[str, str]):
        try:
            compiled = core.compile_model(str(path), "CPU", settings)
        except Exception as error:
            # Loading can fail anywhere, for example while the files are still being copied.
            raise InputError(f"{path}: cannot load the OpenVINO model: {_cause(error)}") from error
        self.inputs = {name for value in compiled.inputs for name in value.get_names()}
        self._request = compiled.create_infer_request()
        # A request computes one thing at a time.
        self._lock = threading.Lock()

    def __call__(self, inputs: Arrays) -> np.ndarray:
        with self._lock:
            return self._request.infer(inputs, share_inputs=True)[0]


def _multiplies_bfloat16(core: Any) -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _cause(error: Exception) -> str:
    """Return the cause in an error of OpenVINO, whose first lines say where it was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _without_padding(state: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return states with zeros in place of padding."""
    return state * mask[:, :, np.newaxis].astype(state.dtype)


def _mask_of(state: np.ndarray) -> np.ndarray:
    """Return the mask, int32 [B, L], of what `_without_padding` returned."""
    # A LayerNorm's output is never all zeros, so zeros are padding.
    return np.any(state != 0, axis=-1).astype(np.int32)


def _region_mask(arrays: Arrays) -> np.ndarray:
    """Return a mask of the regions that are not padding, int32 [..., R].

    Raises:
        InputError: A count is negative or larger than R.
    """
    count, regions = arrays["region_count"], arrays["region_features"].shape[-2]
    if count.size and count.max() > regions:
        raise InputError("region_count is larger than region_features holds")
    if count.size and count.min() < 0:
        raise InputError("region_count is negative")
    return (np.arange(regions) < count[..., np.newaxis]).astype(np.int32)
