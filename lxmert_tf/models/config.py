"""The sizes of an LXMERT model."""

import dataclasses
import json
import math
import numbers
import reprlib
from typing import Any, Literal, get_args

from lxmert_tf.config_file import load_config
from lxmert_tf.errors import InputError

# The pre-training tasks (paper section 3.1), by the names that configurations and losses use.
PretrainingTask = Literal[
    "masked_lm", "matched", "objects", "attributes", "region_features", "answers"
]
PRETRAINING_TASKS: tuple[PretrainingTask, ...] = get_args(PretrainingTask)


@dataclasses.dataclass(frozen=True)
class LxmertConfig:
    """Sizes and rates of an LXMERT model (Tan & Bansal 2019, section 3.3); defaults as published.

    Args:
        hidden_size: Width H of all three encoders.
        num_attention_heads: Heads per attention; must divide `hidden_size`.
        intermediate_size: Width of the feed-forward blocks.
        language_layers: Self-attention layers over the words (N_L).
        cross_layers: Cross-modality layers (N_X).
        relationship_layers: Self-attention layers over the regions (N_R).
        vocab_size: Number of word pieces.
        max_position_embeddings: Length of the longest sentence that the position table covers.
        type_vocab_size: Number of segments.
        region_feature_size: Width F of a region's feature vector.
        region_box_size: Coordinates per box, always 4.
        num_objects: Object classes of the pre-training head.
        num_attributes: Attribute classes of the pre-training head.
        num_answers: Answers A of the answer head.
        hidden_act: Activation of feed-forward blocks and heads; "gelu" is the erf form.
        layer_norm_eps: Epsilon of every layer normalization.
        hidden_dropout: Dropout rate after embeddings, attention and feed-forward blocks.
        attention_dropout: Dropout rate on attention probabilities.
        initializer_range: Standard deviation of the normal initialization.

    Raises:
        InputError: A size is not a positive whole number, a rate is not a number in [0, 1), boxes
            do not have four coordinates, the heads do not divide the width, or the activation is
            unknown.

    Example:
        from lxmert_tf import LxmertConfig

        config = LxmertConfig(hidden_size=96, num_attention_heads=4, num_answers=13)
    """

    hidden_size: int = 768
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    language_layers: int = 9
    cross_layers: int = 5
    relationship_layers: int = 5
    vocab_size: int = 30522
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    region_feature_size: int = 2048
    region_box_size: int = 4
    num_objects: int = 1600
    num_attributes: int = 400
    num_answers: int = 9500
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    initializer_range: float = 0.02

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = _exact(field.name, field.type, getattr(self, field.name))
            # The way to set a field of a frozen dataclass.
            object.__setattr__(self, field.name, value)
        may_be_zero = {"language_layers", "relationship_layers"}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in may_be_zero else 1
            if field.type is int and value < least:
                raise InputError(f"{field.name} is {value}; it must be at least {least}")
        if self.region_box_size != 4:
            raise InputError(
                f"region_box_size is {self.region_box_size}; it must be 4 (x1, y1, x2, y2)"
            )
        for rate in ("hidden_dropout", "attention_dropout"):
            if not 0 <= getattr(self, rate) < 1:
                raise InputError(f"{rate} is {getattr(self, rate)}; it must be in [0, 1)")
        for scale in ("layer_norm_eps", "initializer_range"):
            if not 0 < getattr(self, scale) < math.inf:
                raise InputError(f"{scale} is {getattr(self, scale)}; it must be above 0")
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise InputError(
                f"hidden_act is {reprlib.repr(self.hidden_act)}; "
                f"it must be one of {', '.join(ACTIVATIONS)}"
            )

    @classmethod
    def from_file(cls, path) -> "LxmertConfig":
        """Read a YAML or JSON file with these fields; those that are left out are as published."""
        return load_config(cls, path)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LxmertConfig":
        """Return the config with these fields; the inverse of `to_dict`.

        Raises:
            InputError: A field is unknown, or a value is refused.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise InputError(
                    f"no field is named {reprlib.repr(name)}; it must be one of {', '.join(names)}"
                )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Return the text of a preset's config.json."""
        return json.dumps(self.to_dict(), indent=1) + "\n"


def _exact(name: str, kind: type, value) -> int | float | str:
    """Return a value as the type of its field; numbers of NumPy become Python's, for JSON.

    Raises:
        InputError: The value has another type, such as a number in quotes.
    """
    accepted: type = {int: numbers.Integral, float: numbers.Real}.get(kind, kind)
    # Python counts a bool as a whole number.
    if not isinstance(value, accepted) or isinstance(value, bool):
        word = {int: "a whole number", float: "a number"}.get(kind, "a string")
        raise InputError(f"{name} is {reprlib.repr(value)}; it must be {word}")
    return kind(value)


# "gelu" is the exact (erf) form, as in the release.
ACTIVATIONS = ("gelu", "relu", "swish", "tanh")
