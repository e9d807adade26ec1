"""Attention probabilities: computed once, and in memory only where they are asked for."""

import weakref

import pytest
import tensorflow as tf

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone
from lxmert_tf.models.backbone import ATTENTIONS
from tests.lxmert_tf.samples import CONFIG, MODEL_CLASSES, model_inputs

# Each layer has one, and a cross-modality layer two of its own beside those between the sides.
SOFTMAXES = CONFIG.language_layers + CONFIG.relationship_layers + 4 * CONFIG.cross_layers


def computed_softmaxes(cls, asked=False) -> int:
    """Return how many attentions a call computes."""
    # The classifier's head reads the first token alone: the last layer leaves out the attention
    # among the regions, and the one from regions to words unless it is asked for.
    return SOFTMAXES - (2 - asked) * (cls is LxmertAnswerClassifier)


@pytest.fixture
def softmaxes(monkeypatch):
    """[(weak reference to a softmax, how many earlier ones were alive then)], as calls add them."""
    computed = []
    softmax = tf.nn.softmax

    def watched(*args, **kwargs):
        alive = sum(reference() is not None for reference, _ in computed)
        result = softmax(*args, **kwargs)
        computed.append((weakref.ref(result), alive))
        return result

    monkeypatch.setattr(tf.nn, "softmax", watched)
    return computed


@pytest.mark.parametrize("cls", MODEL_CLASSES, ids=lambda cls: cls.__name__)
def test_no_attention_is_kept_that_is_not_asked_for(cls, softmaxes):
    model = cls(CONFIG)
    softmaxes.clear()
    outputs = model(model_inputs())
    assert [alive for _, alive in softmaxes] == [0] * computed_softmaxes(cls)
    assert [reference() for reference, _ in softmaxes] == [None] * computed_softmaxes(cls)
    del outputs


@pytest.mark.parametrize("cls", MODEL_CLASSES, ids=lambda cls: cls.__name__)
def test_returned_attention_is_that_of_the_layers(cls, softmaxes):
    model = cls(CONFIG)
    softmaxes.clear()
    attentions = model(model_inputs(), output_attentions=True)["attentions"]
    asked = {id(layer) for layers in attentions.values() for layer in layers}
    assert len(softmaxes) == computed_softmaxes(cls, asked=True)
    kept = {id(reference()) for reference, _ in softmaxes if reference() is not None}
    # Not those within the sides of the cross-modality layers, which are no part of the contract.
    assert kept == asked
    assert len(asked) == SOFTMAXES - 2 * CONFIG.cross_layers


@pytest.mark.parametrize("cls", MODEL_CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("asked", [False, True])
def test_a_graph_computes_each_attention_once(cls, asked):
    model = cls(CONFIG)
    graph = tf.function(model).get_concrete_function(model_inputs(), output_attentions=asked).graph
    assert _count(graph, "Softmax") == computed_softmaxes(cls, asked)


def _count(graph, kind: str) -> int:
    """The operations of a kind in a graph and the functions that it calls."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return sum(node.op == kind for node in nodes)


def test_the_parts_of_a_call_give_attentions_where_asked():
    backbone = LxmertBackbone(CONFIG)
    inputs = model_inputs()
    mask = inputs["region_mask"]
    regions = (inputs["region_features"], inputs["region_boxes"], mask)
    attentions = {kind: [] for kind in ATTENTIONS}
    state = backbone.encode_image(*regions, attentions=attentions)
    words, padding = (inputs["token_ids"], inputs["segment_ids"]), inputs["padding_mask"]
    text = backbone.encode_text(*words, padding, attentions=attentions)
    backbone.relate(text, padding, state, mask, attentions=attentions)
    expected = backbone(inputs, output_attentions=True)["attentions"]
    tf.nest.map_structure(tf.debugging.assert_equal, attentions, dict(expected))
