"""Whether the files of a model are large enough for the sizes that its config gives.

A config of a few bytes could ask for a model that fills the memory before its weights are read.
"""

import pathlib
from collections.abc import Iterable

from lxmert_tf.errors import InputError
from lxmert_tf.models.config import LxmertConfig

# Of the files in which weights are stored: TensorFlow's, and those of other projects.
_WEIGHTS = ("weights.*", "*.safetensors", "*.bin", "*.h5")
# A model of so many weights (2 GB) can be built to find out that its weights are missing.
_SMALL = 500_000_000


def check_stored_size(config: LxmertConfig, path: pathlib.Path, heads: Iterable[str] = ()) -> None:
    """Check that the weights of a model take at least a byte each.

    Args:
        config: The sizes of the model, as its files give them.
        path: The file of the weights, or the directory that they are in.
        heads: Names of the model's heads.

    Raises:
        InputError: The files are too small.
    """
    count = _count_weights(config, set(heads))
    if count <= _SMALL:
        return
    files = [file for name in _WEIGHTS for file in path.glob(name)] if path.is_dir() else [path]
    stored = sum(file.stat().st_size for file in files)
    if count > stored:
        raise InputError(
            f"{path}: the config describes {count:,} weights, more than the {stored:,} bytes in "
            "which they are stored"
        )


def _count_weights(config: LxmertConfig, heads: set[str]) -> int:
    """Return about the number of weights, without biases."""
    width, inner = config.hidden_size, config.intermediate_size
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    count = (rows + config.region_feature_size) * width
    layers = config.language_layers + config.relationship_layers
    count += layers * (4 * width * width + 2 * width * inner)
    # Attention to the other modality, which both share, and what each has by itself.
    count += config.cross_layers * (12 * width * width + 4 * width * inner)
    if "answer_head" in heads:
        count += 2 * width * (config.num_answers + width)
    if "region_head" in heads:
        count += width * (config.num_objects + config.num_attributes)
    return count
