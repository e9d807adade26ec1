"""Attention maps are those of the model, and one layer and head can be selected."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import lxmert_tf
from lxmert_tf import LxmertAnswerClassifier, LxmertTextPreprocessor
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import MODELS, load_preset
from lxmert_tf.regions.extractor import Regions
from lxmert_tf.regions.grid import GridExtractor
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.visualization import KINDS
from lxmert_tf.visualization.attention_maps import attention_maps
from lxmert_tf.visualization.region_names import region_names
from tests.lxmert_tf.samples import one_line
from tests.lxmert_tf.visualization.conftest import SENTENCE


@pytest.fixture(scope="module")
def attentions(tiny, image):
    """Attention by kind and layer, [heads, query, key], from a direct call of the model."""
    model = LxmertAnswerClassifier.from_preset(tiny.preset)
    regions = make_extractor(model.extractor).extract(image)
    inputs = {
        **LxmertTextPreprocessor(model.vocabulary, pad_to_longest=True)(tf.constant([SENTENCE])),
        "region_features": regions.features[np.newaxis].astype(np.float32),
        "region_boxes": regions.boxes[np.newaxis],
    }
    attentions = model(inputs, output_attentions=True)["attentions"]
    return {k: [layer[0].numpy() for layer in layers] for k, layers in attentions.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", [0, 1, -1, "mean"])
def test_the_selected_map_is_the_models(maps, attentions, kind, head):
    for layer in range(-len(attentions[kind]), len(attentions[kind])):
        heads = attentions[kind][layer]
        expected = heads.mean(axis=0) if head == "mean" else heads[head]
        shares = maps.select(kind, layer, head)
        np.testing.assert_array_equal(shares, expected)
        np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-6)


def test_the_last_layer_and_the_mean_are_taken_by_default(maps, attentions):
    expected = attentions["language_to_vision"][1].mean(axis=0)
    np.testing.assert_array_equal(maps.select("language_to_vision"), expected)
    assert np.abs(attentions["language_to_vision"][0].mean(axis=0) - expected).max() > 1e-3


def test_rows_and_columns_are_the_pieces_and_regions(maps):
    sides = {"words": len(maps.pieces), "regions": len(maps.regions)}
    assert maps.pieces[0] == "[CLS]" and maps.pieces[-1] == "[SEP]"
    assert "".join(piece.removeprefix("##") for piece in maps.pieces[1:-1]) == SENTENCE.replace(
        " ", ""
    )
    for kind, (_, rows, columns) in KINDS.items():
        assert maps.select(kind).shape == (sides[rows], sides[columns])


@pytest.mark.parametrize(
    ("layer", "head", "message"),
    [
        (2, "mean", "layer 2 is out of range: vision_to_language has 2 layers: use 0 to 1"),
        (-3, "mean", "layer -3 is out of range"),
        (0, 2, "head 2 is out of range: vision_to_language has 2 heads: use 0 to 1, or -1 to -2"),
        (0, -3, "head -3 is out of range"),
    ],
)
def test_an_unknown_layer_or_head_is_refused(maps, layer, head, message):
    with pytest.raises(InputError) as raised:
        maps.select("vision_to_language", layer, head)
    assert message in one_line(raised)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"LxmertAnswerClassifier"}))
def test_every_model_has_attention_maps(tiny, image, maps, tmp_path, name):
    getattr(lxmert_tf, name).from_preset(tiny.preset).save_preset(tmp_path / "preset")
    others = attention_maps(tmp_path / "preset", image, SENTENCE)
    assert others.pieces == maps.pieces
    tf.nest.map_structure(np.testing.assert_array_equal, others.layers, maps.layers)


def test_regions_have_the_names_that_the_extractor_knows(maps, tiny):
    extractor = make_extractor(load_preset(tiny.preset).extractor)
    assert region_names(extractor, maps.regions) == maps.region_names
    # The first picture shows a triangle; a grid's cells have no name.
    assert any("triangle" in name for name in maps.region_names)
    assert maps.region_names[-4:] == [""] * 4
    regions = Regions(np.zeros([1, 3], np.float32), np.zeros([1, 4], np.float32))
    assert region_names(GridExtractor(), regions) == [""]


def test_an_empty_sentence_is_refused(tiny, image):
    with pytest.raises(InputError) as raised:
        attention_maps(tiny.preset, image, " ")
    assert one_line(raised) == "sentence 1 is empty"


def test_an_incomplete_preset_is_refused(tiny, image, tmp_path):
    shutil.copytree(tiny.preset, tmp_path / "preset")
    (tmp_path / "preset" / "vocab.txt").unlink()
    with pytest.raises(InputError) as raised:
        attention_maps(tmp_path / "preset", image, "a circle")
    assert f"{tmp_path / 'preset'}: no vocabulary is stored" in one_line(raised)
