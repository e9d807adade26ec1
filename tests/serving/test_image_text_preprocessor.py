"""A preset must store what its model needs to read an image and a sentence."""

import pytest

from lxmert_tf import LxmertBackbone
from lxmert_tf.errors import InputError
from lxmert_tf.serving.image_text_preprocessor import ImageTextPreprocessor
from tests.lxmert_tf.samples import one_line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": None}, "no vocabulary is stored, so it cannot read a sentence"),
        (
            {"extractor": None},
            "no region extractor is stored, so it cannot read an image; name the detector that "
            "made its training data with --detector",
        ),
        (
            {"extractor": {"name": "grid", "crop_size": 8}},
            "the model reads 64 features per region, but the extractor 'grid' gives 256",
        ),
    ],
)
def test_an_incomplete_preset_is_refused(tiny, changes, message):
    model = LxmertBackbone.from_preset(tiny.preset, **changes)
    with pytest.raises(InputError) as raised:
        ImageTextPreprocessor(model, "presets/mine")
    assert one_line(raised) == f"presets/mine: {message}"


def test_a_vocabulary_without_a_special_piece_is_refused(keras_model):
    vocabulary = ["x" if piece == "[CLS]" else piece for piece in keras_model.vocabulary]
    model = LxmertBackbone(
        keras_model.config, vocabulary=vocabulary, extractor=keras_model.extractor
    )
    with pytest.raises(InputError, match=r"^presets/mine: .*\[CLS\]"):
        ImageTextPreprocessor(model, "presets/mine")
