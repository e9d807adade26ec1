"""Our numbers against the reference implementation's, to the last digits that float32 keeps."""

import numpy as np
import pytest

from lxmert_tf import LxmertConfig, LxmertPretrainer
from lxmert_tf.converters.weight_names import model_variables
from tests import golden

OUTPUTS = {
    "masked_lm_logits": "lm_logits",
    "matched_logits": "matched_logits",
    "object_logits": "obj_logits",
    "attribute_logits": "attr_logits",
    "region_feature_predictions": "feat_pred",
    "answer_logits": "answer_logits",
}
BACKBONE_OUTPUTS = {
    "language_output": "language",
    "vision_output": "vision",
    "pooled_output": "pooled",
}


@pytest.fixture(scope="module", params=["small", "small_region_mask", golden.PUBLISHED])
def reference(request):
    directory = golden.golden_directory(request.param)
    model = LxmertPretrainer(LxmertConfig.from_file(directory / "config.json"))
    unused = golden.load_weights(model_variables(model), directory)
    assert unused == set()
    return model, golden.model_inputs(directory), np.load(directory / "outputs.npz")


def test_every_variable_has_a_name_in_the_release(reference):
    model, _, _ = reference
    named = {id(item.variable) for item in model_variables(model)}
    assert named == {id(variable) for variable in model.weights}


def test_backbone_outputs_equal_the_reference(reference):
    model, inputs, expected = reference
    outputs = model.backbone(inputs)
    for ours, theirs in BACKBONE_OUTPUTS.items():
        np.testing.assert_allclose(outputs[ours], expected[theirs], rtol=0, atol=1e-5, err_msg=ours)


def test_head_outputs_equal_the_reference(reference):
    model, inputs, expected = reference
    outputs = model(inputs)
    assert set(outputs) == set(OUTPUTS)
    for ours, theirs in OUTPUTS.items():
        np.testing.assert_allclose(outputs[ours], expected[theirs], rtol=0, atol=1e-5, err_msg=ours)
