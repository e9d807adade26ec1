"""Weights of the release, of Hugging Face's LXMERT (PyTorch, TensorFlow) and BERT, into ours."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping

from lxmert_tf.config_file import read_mapping
from lxmert_tf.converters import foreign_config
from lxmert_tf.converters.formats.keras_h5 import read_keras_h5
from lxmert_tf.converters.formats.safetensors_file import read_safetensors
from lxmert_tf.converters.formats.stored_tensor import StoredTensor
from lxmert_tf.converters.formats.torch_reading import read_torch_file
from lxmert_tf.converters.weight_names import (
    TIED_NAMES,
    NamedVariable,
    bert_variables,
    model_variables,
)
from lxmert_tf.errors import InputError
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.backbone import LxmertBackbone
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.models.pretrainer import LxmertPretrainer
from lxmert_tf.text_file import read_lines

SOURCES = ("lxrt", "huggingface", "bert")

# The release's names, from those that other checkpoints use; the first that fits is replaced.
_PREFIXES = (
    ("lxrt_encoder.model.bert.", "bert."),
    # Fine-tuned on several GPUs.
    ("lxrt_encoder.model.module.bert.", "bert."),
    ("lxmert.", "bert."),
    ("logit_fc.", "answer_head.logit_fc."),
    ("embeddings.", "bert.embeddings."),
    ("encoder.", "bert.encoder."),
    ("pooler.", "bert.pooler."),
)


@dataclasses.dataclass(frozen=True)
class ImportReport:
    """What became of each tensor, by the release's names.

    Args:
        loaded: tensors that are in the model now.
        missing: tensors that the model needs and the checkpoint lacks.
        unexpected: tensors that the model has no place for.
        mismatched: (name, shape in the checkpoint, shape in the model).
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def is_full(self) -> bool:
        """Whether every weight that was asked for was loaded."""
        return not self.missing and not self.mismatched


def import_weights(
    source: str,
    checkpoint,
    config: LxmertConfig | None = None,
    vocabulary: list[str] | None = None,
    answers: list[str] | None = None,
) -> tuple[PresetModel, ImportReport]:
    """Makes the model that a checkpoint holds, and loads it.

    Args:
        source: "lxrt" (a `*_LXRT.pth`), "huggingface" (a directory of LxmertModel,
            LxmertForPreTraining or LxmertForQuestionAnswering, PyTorch's or TensorFlow's) or "bert"
            (a directory of a BERT, for embeddings, language encoder and pooler; the rest starts
            fresh and is in no part of the report).
        checkpoint: the file or directory.
        config: the sizes; told from the checkpoint if None. Required for "bert".
        vocabulary: to be kept with the model; the vocab.txt of the directory if None.
        answers: to be kept with the model.

    Returns:
        an `LxmertPretrainer` if the checkpoint has its heads; if it has the answer head alone an
        `LxmertAnswerClassifier`, or an `LxmertPairClassifier` where that reads two images; else
        an `LxmertBackbone`; and what was loaded.

    Raises:
        InputError: the checkpoint is damaged or of another kind.
    """
    checkpoint = pathlib.Path(checkpoint)
    tensors = _canonical(_read(source, checkpoint))
    if vocabulary is None and (checkpoint / "vocab.txt").is_file():
        vocabulary = read_lines(checkpoint / "vocab.txt")
    if source == "bert":
        return _import_bert(tensors, config, checkpoint, vocabulary)
    if config is None:
        config = _told_config(source, checkpoint, tensors)
    model = _make(_model_class(tensors), config, checkpoint, vocabulary, answers)
    return model, load_tensors(model_variables(model), tensors)


def load_tensors(
    variables: Iterable[NamedVariable], tensors: Mapping[str, StoredTensor]
) -> ImportReport:
    """Assigns tensors to variables, one variable at a time."""
    loaded, missing, mismatched = [], [], []
    unexpected = set(tensors)
    for named in variables:
        unexpected -= set(named.names)
        lacking = [name for name in named.names if name not in tensors]
        if lacking:
            missing += lacking
            continue
        wrong = [
            (name, tensors[name].shape, shape)
            for name, shape in named.shapes().items()
            if tensors[name].shape != shape
        ]
        if wrong:
            mismatched += wrong
            continue
        named.variable.assign(named.join({name: tensors[name].read() for name in named.names}))
        loaded += named.names
    return ImportReport(tuple(loaded), tuple(missing), tuple(sorted(unexpected)), tuple(mismatched))


def _read(source: str, checkpoint: pathlib.Path) -> dict[str, StoredTensor]:
    if source == "lxrt":
        return read_torch_file(checkpoint)
    if not checkpoint.is_dir():
        raise InputError(f"{checkpoint}: no such directory; {source} checkpoints are directories")
    readers: dict[str, Callable] = {
        "model.safetensors": read_safetensors,
        "pytorch_model.bin": read_torch_file,
        "tf_model.h5": read_keras_h5,
    }
    for name, read in readers.items():
        if (checkpoint / name).exists():
            return read(checkpoint / name)
    raise InputError(f"{checkpoint}: has neither {' nor '.join(readers)}")


def _canonical(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors under the release's names."""
    renamed = {}
    for name, tensor in tensors.items():
        # Checkpoints of before 2019 call LayerNorm's weights as TensorFlow did.
        name = name.removeprefix("module.").replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        for theirs, release in _PREFIXES:
            if name.startswith(theirs):
                name = release + name.removeprefix(theirs)
                break
        renamed[name] = tensor
    for copy, original in TIED_NAMES.items():
        if original in renamed:
            renamed.pop(copy, None)
    # Position numbers, which some versions of transformers store; no weights.
    renamed.pop("bert.embeddings.position_ids", None)
    return renamed


def _told_config(
    source: str, checkpoint: pathlib.Path, tensors: Mapping[str, StoredTensor]
) -> LxmertConfig:
    if source == "lxrt":
        return foreign_config.from_tensors(tensors, str(checkpoint))
    path = checkpoint / "config.json"
    return foreign_config.from_huggingface(read_mapping(path), str(path))


def _model_class(tensors: Mapping[str, StoredTensor]) -> type[PresetModel]:
    if "cls.predictions.bias" in tensors:
        return LxmertPretrainer
    if "answer_head.logit_fc.3.weight" not in tensors:
        return LxmertBackbone
    transform = tensors.get("answer_head.logit_fc.0.weight")
    # Both transforms are 2H wide; the one for two images reads two pooled outputs of H.
    if transform is not None and transform.shape[0] == transform.shape[-1]:
        return LxmertPairClassifier
    return LxmertAnswerClassifier


def _make(cls, config, checkpoint, vocabulary, answers=None) -> PresetModel:
    try:
        return cls(config, vocabulary=vocabulary, answers=answers)
    except ValueError as error:
        raise InputError(f"{checkpoint}: {error}") from error


def _import_bert(tensors, config, checkpoint, vocabulary):
    if config is None:
        raise InputError(f"{checkpoint}: a BERT does not say the sizes of LXMERT; name a config")
    words = tensors.get("bert.embeddings.word_embeddings.weight")
    if words is None or len(words.shape) != 2:
        raise InputError(f"{checkpoint}: no BERT; it has no table of word embeddings")
    config = dataclasses.replace(config, vocab_size=words.shape[0])
    model = _make(LxmertBackbone, config, checkpoint, vocabulary)
    return model, load_tensors(bert_variables(model), tensors)
