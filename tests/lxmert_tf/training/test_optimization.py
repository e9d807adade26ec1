"""BertAdamW against the formula in NumPy, its schedule, how both are saved, and LAMB."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf.errors import InputError
from lxmert_tf.training.optimization import BertAdamW, WarmupLinearDecay, lamb

SHAPES = ((4, 3), (3,), (5, 2))


def numpy_steps(values, gradients, rates, decay, clip_norm, beta_1=0.9, beta_2=0.999, epsilon=1e-6):
    """google-research/bert's AdamWeightDecayOptimizer in float64; returns the values after it."""
    # As float32 holds them: its 1 - 0.999 is off by 5e-5, which would be all that one sees.
    beta_1, beta_2 = float(np.float32(beta_1)), float(np.float32(beta_2))
    values = [value.astype(np.float64) for value in values]
    first, second = ([np.zeros_like(value) for value in values] for _ in range(2))
    for step, rate in zip(gradients, rates):
        norm = np.sqrt(sum((gradient.astype(np.float64) ** 2).sum() for gradient in step))
        scale = 1.0 if clip_norm is None else clip_norm / max(norm, clip_norm)
        for i, gradient in enumerate(step):
            first[i] = beta_1 * first[i] + (1 - beta_1) * gradient * scale
            second[i] = beta_2 * second[i] + (1 - beta_2) * (gradient * scale) ** 2
            update = first[i] / (np.sqrt(second[i]) + epsilon) + decay * values[i]
            values[i] = values[i] - rate * update
    return values


@pytest.fixture
def start():
    random = np.random.default_rng(0)
    return [random.normal(size=shape).astype(np.float32) for shape in SHAPES]


@pytest.fixture
def gradients():
    random = np.random.default_rng(1)
    scales = (0.1, 3.0, 1e-4, 1.0, 10.0, 0.0)
    return [[s * random.normal(size=n).astype(np.float32) for n in SHAPES] for s in scales]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize(("decay", "clip_norm"), [(0.01, 1.0), (0.0, None), (0.3, 5.0)])
def test_it_follows_the_formula(start, gradients, decay, clip_norm, compiled):
    schedule = WarmupLinearDecay(0.1, 6, 0.4)
    variables = [tf.Variable(value) for value in start]
    optimizer = BertAdamW(schedule, decay=decay, clip_norm=clip_norm)
    optimizer.build(variables)

    def apply(step):
        optimizer.apply_gradients(zip(step, variables))

    apply = tf.function(apply) if compiled else apply
    for step in gradients:
        apply([tf.constant(gradient) for gradient in step])
    rates = [float(schedule(step)) for step in range(len(gradients))]
    expected = numpy_steps(start, gradients, rates, decay, clip_norm)
    for variable, value in zip(variables, expected):
        np.testing.assert_allclose(variable, value, rtol=0, atol=2e-6)
        assert np.abs(value - start[0].mean()).max() > 0.01


def test_other_betas_and_epsilon_are_used(start, gradients):
    settings = {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2}
    variables = [tf.Variable(value) for value in start]
    optimizer = BertAdamW(0.1, decay=0.01, clip_norm=1.0, **settings)
    for step in gradients:
        optimizer.apply_gradients(zip([tf.constant(g) for g in step], variables))
    expected = numpy_steps(start, gradients, [0.1] * len(gradients), 0.01, 1.0, **settings)
    for variable, value in zip(variables, expected):
        np.testing.assert_allclose(variable, value, rtol=0, atol=2e-6)


def test_slices_of_an_embedding_update_as_their_sum_does(start):
    # Row 1 comes three times, as a word does that stands three times in a batch: its gradients
    # add up before the norm is taken, and rows without a gradient decay all the same.
    rows, ids = np.float32([[1, 2, 3], [1, 2, 3], [1, 2, 3], [0, 1, 0]]), [1, 1, 1, 3]
    dense = np.zeros(SHAPES[0], np.float32)
    np.add.at(dense, ids, rows)
    bias = np.float32([0.5, -0.5, 0.1])
    variables = [tf.Variable(value) for value in start[:2]]
    optimizer = BertAdamW(0.1, decay=0.1, clip_norm=1.0)
    for _ in range(3):
        slices = tf.IndexedSlices(tf.constant(rows), tf.constant(ids), tf.constant(SHAPES[0]))
        optimizer.apply_gradients(zip([slices, tf.constant(bias)], variables))
    expected = numpy_steps(start[:2], [[dense, bias]] * 3, [0.1] * 3, 0.1, 1.0)
    for variable, value in zip(variables, expected):
        np.testing.assert_allclose(variable, value, rtol=0, atol=2e-6)


def test_the_first_moment_of_clipped_slices_is_that_of_the_clipped_sum(start):
    # Adam hides the scale of a gradient at the first step, its moments do not.
    rows, ids = np.ones([4, 3], np.float32), [1, 1, 1, 1]
    variable = tf.Variable(start[0])
    optimizer = BertAdamW(0.1, clip_norm=1.0)
    slices = tf.IndexedSlices(tf.constant(rows), tf.constant(ids), tf.constant(SHAPES[0]))
    optimizer.apply_gradients([(slices, variable)])
    (first,) = (v for v in optimizer.variables if "/m/" in v.name)
    # The sum is (4, 4, 4) in row 1, of norm 4 sqrt(3); clipped to norm 1.
    np.testing.assert_allclose(first[1], [0.1 / np.sqrt(3)] * 3, rtol=1e-5)


@pytest.mark.parametrize("clip_norm", [1.0, None])
def test_it_tells_the_norm_before_clipping(start, gradients, clip_norm):
    optimizer = BertAdamW(0.1, clip_norm=clip_norm)
    variables = [tf.Variable(value) for value in start]
    for step in gradients:
        optimizer.apply_gradients(zip(map(tf.constant, step), variables))
        norm = np.sqrt(sum((gradient.astype(np.float64) ** 2).sum() for gradient in step))
        assert optimizer.gradient_norm == pytest.approx(norm, rel=1e-6)


def test_a_variable_without_a_gradient_stays(start):
    variables = [tf.Variable(value) for value in start[:2]]
    optimizer = BertAdamW(0.1)
    optimizer.build(variables)
    optimizer.apply_gradients([(tf.ones(SHAPES[0]), variables[0]), (None, variables[1])])
    np.testing.assert_array_equal(variables[1], start[1])
    assert np.abs(variables[0] - start[0]).min() > 0


@pytest.mark.parametrize("rate", [1e-3, WarmupLinearDecay(1e-3, 10, 0.1)])
def test_it_comes_back_from_its_config(rate):
    settings = {"decay": 0.2, "clip_norm": 3.0, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-5}
    optimizer = BertAdamW(rate, **settings, name="mine")
    twin = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(twin, BertAdamW)
    config = twin.get_config()
    assert config == optimizer.get_config()
    for name, value in settings.items():
        assert config[name] == value
    assert float(twin.learning_rate) == float(optimizer.learning_rate)


def test_no_clipping_comes_back_as_no_clipping():
    assert BertAdamW.from_config(BertAdamW(clip_norm=None).get_config()).global_clipnorm is None


def fitted_model() -> keras.Model:
    model = keras.Sequential([keras.layers.Embedding(5, 4), keras.layers.Dense(3)])
    model.compile(BertAdamW(WarmupLinearDecay(0.1, 8, 0.5), decay=0.2, clip_norm=0.5), "mse")
    model.fit(*batch(), epochs=3, batch_size=2, verbose=0)
    return model


def batch():
    return np.array([[1], [3]]), np.ones([2, 1, 3], np.float32)


# In a SavedModel Keras keeps no optimizer, not its own either.
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_saved_model_goes_on_as_the_model_itself(name, tmp_path):
    model = fitted_model()
    model.save(tmp_path / name)
    twin = keras.models.load_model(tmp_path / name)
    assert isinstance(twin.optimizer, BertAdamW)
    assert twin.optimizer.get_config() == model.optimizer.get_config()
    assert twin.optimizer.iterations.numpy() == 3
    for each in (model, twin):
        each.fit(*batch(), epochs=2, batch_size=2, verbose=0)
    assert twin.optimizer.iterations.numpy() == 5
    for ours, theirs in zip(twin.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_clone_can_be_compiled_with_a_copy_of_the_optimizer():
    model = fitted_model()
    clone = keras.models.clone_model(model)
    clone.compile(BertAdamW.from_config(model.optimizer.get_config()), "mse")
    before = clone.get_weights()
    clone.fit(*batch(), epochs=2, batch_size=2, verbose=0)
    assert clone.optimizer.iterations.numpy() == 2
    assert any(np.abs(ours - theirs).max() > 0 for ours, theirs in zip(clone.get_weights(), before))


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0),
        (1, 0.2),
        (4, 0.8),
        (5, 1.0),
        (6, 14 / 15),
        (10, 10 / 15),
        (19, 1 / 15),
        (20, 0.0),
        (50, 0.0),
    ],
)
def test_the_rate_rises_to_the_peak_and_falls_to_zero(step, rate):
    schedule = WarmupLinearDecay(peak=3e-4, total_steps=20, warmup=0.25)
    assert float(schedule(step)) == pytest.approx(3e-4 * rate, rel=1e-5, abs=1e-11)


def test_without_warm_up_the_rate_starts_at_the_peak():
    schedule = WarmupLinearDecay(peak=1e-3, total_steps=10, warmup=0.0)
    rates = [float(schedule(step)) for step in range(11)]
    np.testing.assert_allclose(rates, np.linspace(1e-3, 0, 11), rtol=1e-5, atol=1e-10)


def test_the_schedule_takes_a_variable_in_a_graph():
    schedule = WarmupLinearDecay(peak=1.0, total_steps=4, warmup=0.5)
    step = tf.Variable(1, dtype=tf.int64)
    assert float(tf.function(schedule)(step)) == 0.5


def test_the_schedule_comes_back_from_its_config():
    schedule = WarmupLinearDecay(peak=1e-3, total_steps=7, warmup=0.2)
    twin = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert isinstance(twin, WarmupLinearDecay)
    assert twin.get_config() == {"peak": 1e-3, "total_steps": 7, "warmup": 0.2}


def test_without_tensorflow_addons_lamb_is_refused_in_one_sentence(monkeypatch):
    # None is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    with pytest.raises(InputError) as refused:
        lamb(1e-4, weight_decay=0.01, clip_norm=1.0, beta_2=0.999)
    assert str(refused.value) == (
        "the optimizer 'lamb' needs tensorflow-addons: pip install 'lxmert-tf[addons]' "
        "(TensorFlow up to 2.15)"
    )
