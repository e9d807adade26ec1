"""Import of weights from the release, Hugging Face's LXMERT (PyTorch, TensorFlow) and BERT."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping

from lxmert_tf.config_file import read_mapping
from lxmert_tf.converters import SOURCES, foreign_config
from lxmert_tf.converters.foreign_vocabulary import find_vocabulary, read_vocabulary
from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.keras_h5 import read_keras_h5
from lxmert_tf.converters.formats.safetensors_file import read_safetensors
from lxmert_tf.converters.formats.torch_reading import read_torch_file
from lxmert_tf.converters.weight_names import (
    TIED_NAMES,
    NamedVariable,
    bert_variables,
    model_variables,
)
from lxmert_tf.errors import InputError
from lxmert_tf.hub import is_hub_name, local_directory
from lxmert_tf.json_file import read_json
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.backbone import LxmertBackbone
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.models.pretrainer import LxmertPretrainer
from lxmert_tf.models.stored_size import check_stored_size

# Prefixes in other checkpoints and the release's, of which the first that matches is replaced.
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
# Files of a Hugging Face directory, of which the first that exists is read.
_READERS = {
    "model.safetensors": read_safetensors,
    "pytorch_model.bin": read_torch_file,
    "tf_model.h5": read_keras_h5,
}
# The ending of the name of a file that lists the parts of a large checkpoint. TensorFlow's parts
# name their variables in another way than a whole file does.
_INDEX = ".index.json"
_SHARDED = ("model.safetensors", "pytorch_model.bin")


@dataclasses.dataclass(frozen=True)
class ImportReport:
    """Names of the tensors that an import loaded and of those that it could not, as in the release.

    Args:
        loaded: Tensors that were copied to the model.
        missing: Tensors that the model needs and the checkpoint lacks.
        unexpected: Tensors of the checkpoint that the model does not have.
        wrong_shape: Tensors with another shape than the model's, which were not copied: name, shape
            in the checkpoint, shape in the model.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def is_complete(self) -> bool:
        """Return True if no tensor is missing or has the wrong shape."""
        return not self.missing and not self.wrong_shape

    def problem(self) -> str:
        """Return a part of a sentence that says what keeps the import from being complete."""
        example = [*self.missing, *(name for name, *_ in self.wrong_shape)][0]
        return (
            f"missing tensors: {len(self.missing)}, of a wrong shape: {len(self.wrong_shape)}, "
            f"such as {example}"
        )


def import_weights(
    source: str,
    checkpoint,
    config: LxmertConfig | None = None,
    vocabulary: list[str] | None = None,
    answers: list[str] | None = None,
) -> tuple[PresetModel, ImportReport]:
    """Build the model that a checkpoint holds and load its weights.

    Args:
        source: "lxrt" for a file of the release, such as `NAME_LXRT.pth`; "huggingface" for a
            directory of LxmertModel, LxmertForPreTraining or LxmertForQuestionAnswering, saved by
            PyTorch or TensorFlow; "bert" for a directory of a BERT, which gives the embeddings,
            the language encoder and the pooler. The other layers then keep their initial values
            and do not appear in the report.
        checkpoint: File or directory; a directory may be named `hf://ORGANIZATION/NAME`.
        config: Sizes of the model. If None, they are read from the checkpoint; a BERT lacks them.
        vocabulary: Word pieces to keep with the model. If None, the directory's vocab.txt or
            tokenizer.json is used.
        answers: Answers to keep with the model, in the order of the logits. If None, those that
            the directory's config.json names.

    Returns:
        The model and the report. The class of the model follows from the heads in the checkpoint.
        It is `LxmertPretrainer` if it has the pre-training heads, `LxmertPairClassifier` or
        `LxmertAnswerClassifier` if it has only an answer head on two images or on one, otherwise
        `LxmertBackbone`.

    Raises:
        InputError: The checkpoint is missing, damaged or of another kind.

    Example:
        >>> from lxmert_tf import LxmertBackbone, LxmertConfig, export_weights, import_weights
        >>> config = LxmertConfig(
        ...     hidden_size=64, num_attention_heads=1,
        ...     language_layers=1, relationship_layers=1, cross_layers=1,
        ... )
        >>> model = LxmertBackbone(config)
        >>> export_weights(model, "lxrt", "small_LXRT.pth")
        >>> model, report = import_weights("lxrt", "small_LXRT.pth")
        >>> report.is_complete(), report.unexpected
        (True, ())
    """
    if source not in SOURCES:
        raise InputError(f"unknown source {source!r}; it must be one of {', '.join(SOURCES)}")
    name = checkpoint
    if source == "lxrt" and is_hub_name(name):
        raise InputError(f"{name}: the source lxrt is a file such as NAME_LXRT.pth")
    checkpoint = local_directory(name, model_type=None if source == "bert" else "lxmert")
    tensors = read_tensors(source, checkpoint)
    if source == "bert":
        config = _bert_config(config, tensors, checkpoint)
        if vocabulary is None:
            vocabulary = read_vocabulary(checkpoint)
        model = _build(LxmertBackbone, config, checkpoint, vocabulary, answers=None)
        return model, load_tensors(bert_variables(model), tensors)
    cls, given = model_class(tensors), config
    if source == "lxrt":
        config = config or foreign_config.from_tensors(tensors, str(checkpoint))
        if vocabulary is None:
            vocabulary = read_vocabulary(checkpoint)
    else:
        config, named_answers = read_config(checkpoint, cls, config)
        if vocabulary is None:
            vocabulary = find_vocabulary(name, config.vocab_size)
        if answers is None:
            answers = named_answers
    if given is None:
        check_stored_size(config, checkpoint, cls.head_names)
    model = _build(cls, config, checkpoint, vocabulary, answers)
    return model, load_tensors(model_variables(model), tensors)


def read_config(
    directory: pathlib.Path, cls: type[PresetModel], config: LxmertConfig | None = None
) -> tuple[LxmertConfig, list[str] | None]:
    """Return the sizes and the answers in a directory of Hugging Face's LXMERT.

    Args:
        directory: The directory.
        cls: Class of the model.
        config: Sizes that replace those of the directory, which then needs no config.json.

    Returns:
        The sizes, and the answers if the model has any and config.json names them.

    Raises:
        InputError: The config.json is missing, damaged or of another kind.
    """
    path = directory / "config.json"
    if config is not None and not path.is_file():
        return config, None
    values = read_mapping(path)
    config = config or foreign_config.from_huggingface(values, str(path))
    has_answers = cls in (LxmertPretrainer, LxmertAnswerClassifier)
    answers = foreign_config.answers_from_huggingface(values, config.num_answers)
    return config, answers if has_answers else None


def load_tensors(
    variables: Iterable[NamedVariable], tensors: Mapping[str, StoredTensor]
) -> ImportReport:
    """Assign tensors to variables, reading the tensors of one variable at a time.

    Args:
        variables: Variables to load.
        tensors: Tensors by the release's names.
    """
    loaded: list[str] = []
    missing: list[str] = []
    wrong_shape: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []
    unexpected = set(tensors)
    for named in variables:
        unexpected -= set(named.names)
        shapes = named.shapes()
        absent = [name for name in shapes if name not in tensors]
        wrong = [
            (name, tensors[name].shape, shape)
            for name, shape in shapes.items()
            if name in tensors and tensors[name].shape != shape
        ]
        missing += absent
        wrong_shape += wrong
        if not absent and not wrong:
            named.variable.assign(named.join({name: tensors[name].read() for name in shapes}))
            loaded += named.names
    return ImportReport(
        tuple(loaded), tuple(missing), tuple(sorted(unexpected)), tuple(wrong_shape)
    )


def read_tensors(source: str, checkpoint: pathlib.Path) -> dict[str, StoredTensor]:
    """Return the tensors of a checkpoint by the release's names.

    Args:
        source: As for `import_weights`.
        checkpoint: File or directory.

    Raises:
        InputError: It is missing, damaged or of another kind.
    """
    return _with_release_names(_read(source, checkpoint))


def model_class(tensors: Mapping[str, StoredTensor]) -> type[PresetModel]:
    """Return the class of model that the heads among the release's tensors belong to."""
    if "cls.predictions.bias" in tensors:
        return LxmertPretrainer
    if "answer_head.logit_fc.3.weight" not in tensors:
        return LxmertBackbone
    transform = tensors.get("answer_head.logit_fc.0.weight")
    # The output is 2H wide in both; the input is 2H wide for two images and H for one.
    if transform is not None and transform.shape[0] == transform.shape[-1]:
        return LxmertPairClassifier
    return LxmertAnswerClassifier


def _read(source: str, checkpoint: pathlib.Path) -> dict[str, StoredTensor]:
    if not checkpoint.exists():
        raise InputError(f"checkpoint not found: {checkpoint}")
    if source == "lxrt":
        if checkpoint.is_dir():
            raise InputError(
                f"{checkpoint}: is a directory; the source lxrt is a file such as NAME_LXRT.pth"
            )
        return read_torch_file(checkpoint)
    if not checkpoint.is_dir():
        raise InputError(
            f"{checkpoint}: is a file; the source {source} is a directory with config.json and "
            "weights"
        )
    for name, read in _READERS.items():
        if (checkpoint / name).is_file():
            return read(checkpoint / name)
        index = checkpoint / f"{name}{_INDEX}"
        if name in _SHARDED and index.is_file():
            return _read_shards(index, read)
    names = [*_READERS, *(f"{name}{_INDEX}" for name in _SHARDED)]
    raise InputError(f"{checkpoint}: has no weights ({', '.join(names)})")


def _read_shards(
    index: pathlib.Path, read: Callable[[pathlib.Path], dict[str, StoredTensor]]
) -> dict[str, StoredTensor]:
    """Return the tensors of a checkpoint in several files, which an index lists by tensor."""
    content = read_json(index)
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not files:
        raise InputError(f"{index}: the key 'weight_map' must hold the file of each tensor")
    shards: dict[str, dict[str, StoredTensor]] = {}
    for file in files.values():
        if not isinstance(file, str) or file != pathlib.PurePath(file).name:
            raise InputError(f"{index}: {file!r} must be the name of a file in its directory")
        if file not in shards:
            shards[file] = read(index.parent / file)
    for name, file in files.items():
        if name not in shards[file]:
            raise InputError(f"{index.parent / file}: lacks {name!r}, which {index.name} lists")
    return {name: shards[file][name] for name, file in files.items()}


def _with_release_names(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    renamed = {}
    for name, tensor in tensors.items():
        # Checkpoints from before 2019 use TensorFlow's names for the weights of LayerNorm.
        name = name.removeprefix("module.").replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        for prefix, release in _PREFIXES:
            if name.startswith(prefix):
                name = release + name.removeprefix(prefix)
                break
        renamed[name] = tensor
    for copy, original in TIED_NAMES.items():
        if original in renamed:
            renamed.pop(copy, None)
    # Position numbers, which some versions of transformers store; they are not weights.
    renamed.pop("bert.embeddings.position_ids", None)
    return renamed


def _bert_config(
    config: LxmertConfig | None, tensors: Mapping[str, StoredTensor], checkpoint: pathlib.Path
) -> LxmertConfig:
    if config is None:
        raise InputError(f"{checkpoint}: a BERT lacks the sizes of LXMERT; give a model config")
    words = tensors.get("bert.embeddings.word_embeddings.weight")
    if words is None or len(words.shape) != 2:
        raise InputError(f"{checkpoint}: not a BERT; it has no matrix of word_embeddings")
    return dataclasses.replace(config, vocab_size=words.shape[0])


def _build(model_class, config, checkpoint, vocabulary, answers) -> PresetModel:
    try:
        return model_class(config, vocabulary=vocabulary, answers=answers)
    except ValueError as error:
        raise InputError(f"{checkpoint}: {error}") from error
