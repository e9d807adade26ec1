"""The reference model's numbers: read where they are, else the test says why it is skipped."""

import os
import pathlib

import numpy as np
import pytest

ROOT = pathlib.Path(
    os.environ.get("LXMERT_GOLDEN", pathlib.Path(__file__).parents[2] / "shared" / "golden")
)

# The published size: 0.9 GB, which tools/make_golden.py makes.
PUBLISHED = pytest.param("published", marks=pytest.mark.slow)

# Sizes for tests that need no golden numbers.
TINY = {
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "language_layers": 1,
    "cross_layers": 1,
    "relationship_layers": 1,
    "vocab_size": 30,
    "max_position_embeddings": 24,
    "region_feature_size": 6,
    "num_objects": 5,
    "num_attributes": 4,
    "num_answers": 3,
}


def golden_directory(name: str) -> pathlib.Path:
    """The folder of one set of numbers; skips the test where it is absent."""
    if not (ROOT / name).is_dir():
        pytest.skip(f"needs the golden numbers ({name}); set LXMERT_GOLDEN to their folder")
    return ROOT / name


def model_inputs(directory: pathlib.Path) -> dict[str, np.ndarray]:
    """The golden inputs under the names of the model contract."""
    arrays = np.load(directory / "inputs.npz")
    names = {
        "token_ids": "token_ids",
        "segment_ids": "segment_ids",
        "token_mask": "padding_mask",
        "region_features": "region_features",
        "region_boxes": "region_boxes",
        "region_mask": "region_mask",
    }
    return {ours: arrays[theirs] for theirs, ours in names.items() if theirs in arrays.files}


def load_weights(variables, directory: pathlib.Path) -> set[str]:
    """Assigns the golden weights to `NamedVariable`s; returns the names that were not used."""
    from safetensors.numpy import load_file

    tensors = load_file(directory / "weights.safetensors")
    unused = set(tensors)
    for named in variables:
        named.variable.assign(named.join(tensors))
        unused -= set(named.names)
    return unused
