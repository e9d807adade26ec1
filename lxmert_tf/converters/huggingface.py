"""Directories of Hugging Face's LXMERT as presets: loaded in memory, and nothing is written."""

import pathlib
from collections.abc import Collection

import tensorflow as tf

from lxmert_tf.converters.foreign_vocabulary import find_vocabulary
from lxmert_tf.converters.importing import load_tensors, model_class, read_config, read_tensors
from lxmert_tf.converters.weight_names import model_variables
from lxmert_tf.errors import InputError
from lxmert_tf.hub import local_directory
from lxmert_tf.models.presets import PresetDescription, PresetModel


def describe_directory(name) -> PresetDescription:
    """Read everything in a directory except the weights.

    The class of the model follows from the heads in the checkpoint. No region extractor is stored.

    Args:
        name: The directory, or `hf://ORGANIZATION/NAME`.

    Raises:
        InputError: A part of it is missing or damaged.
    """
    directory = local_directory(name)
    cls = model_class(read_tensors("huggingface", directory))
    config, answers = read_config(directory, cls)
    vocabulary = find_vocabulary(name, config.vocab_size)
    return PresetDescription(cls.__name__, config, vocabulary, answers, extractor=None)


def load_weights(
    model: PresetModel, directory: pathlib.Path, without: Collection[tf.Variable] = ()
) -> None:
    """Load the weights of a model or of its backbone.

    Args:
        model: The model or the backbone.
        directory: The directory.
        without: Weights of the model that keep their values.

    Raises:
        InputError: A tensor is missing or has another shape.
    """
    kept = {id(weight) for weight in without}
    variables = [named for named in model_variables(model) if id(named.variable) not in kept]
    report = load_tensors(variables, read_tensors("huggingface", directory))
    if report.is_complete():
        return
    raise InputError(
        f"{directory}: {report.problem()}; "
        "`lxmert import-weights --source huggingface --partial` accepts this"
    )
