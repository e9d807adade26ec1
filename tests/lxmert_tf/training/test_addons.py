"""What needs TensorFlow Addons, where they are not."""

import sys

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.training.optimization import lamb


def test_without_tensorflow_addons_lamb_is_refused_in_one_sentence(monkeypatch):
    # None is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    with pytest.raises(InputError) as refused:
        lamb(1e-4, weight_decay=0.01, clip_norm=1.0)
    assert str(refused.value) == (
        "the optimizer 'lamb' needs tensorflow-addons: pip install 'lxmert-tf[addons]' "
        "(TensorFlow up to 2.15)"
    )
