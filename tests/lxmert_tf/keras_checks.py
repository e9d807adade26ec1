"""What Keras users expect of every layer and of every model, checked in one place."""

import copy

import numpy as np
import tensorflow as tf
from tensorflow import keras


def assert_equal(outputs, expected, atol=0.0):
    """Compare nested outputs: structure, dtype, shape and values."""
    tf.nest.assert_same_structure(outputs, expected)
    for ours, theirs in zip(tf.nest.flatten(outputs), tf.nest.flatten(expected)):
        ours, theirs = tf.convert_to_tensor(ours), tf.convert_to_tensor(theirs)
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(
            tf.cast(ours, tf.float32), tf.cast(theirs, tf.float32), rtol=0, atol=atol
        )


def check_layer(cls, arguments, inputs, policy, tmp_path) -> None:
    """Check a layer: configuration, building, shapes, freezing, and saving in a model.

    Args:
        cls: The class of the layer.
        arguments: Arguments of its constructor, all of them away from their defaults.
        inputs: Arrays that it is called on.
        policy: A dtype policy.
        tmp_path: A folder for files.
    """
    layer = cls(**arguments, name="original", dtype=policy)
    expected = layer(*inputs)
    # The config holds every argument, and makes an equal layer.
    written = keras.layers.serialize(layer)
    for name, value in arguments.items():
        assert written["config"][name] == value
    twin = keras.layers.deserialize(written)
    assert keras.layers.serialize(twin)["config"] == written["config"]
    # `build` makes all weights, under the names that a call gives them.
    twin.build(inputs[0].shape)
    assert [w.shape for w in twin.weights] == [w.shape for w in layer.weights]
    twin.set_weights(layer.get_weights())
    assert_equal(twin(*inputs), expected)
    # The shapes are known without a call.
    shapes = layer.compute_output_shape(*(value.shape for value in inputs[: _first_inputs(cls)]))
    for shape, output in zip(tf.nest.flatten([shapes]), tf.nest.flatten(expected)):
        assert shape.is_compatible_with(output.shape)
    # Freezing and unfreezing leaves the trainable weights as they were.
    trainable = [w.name for w in layer.trainable_weights]
    layer.trainable = False
    assert layer.trainable_weights == []
    layer.trainable = True
    assert [w.name for w in layer.trainable_weights] == trainable
    # It is a part of a functional model, which is saved and loaded.
    symbolic = [keras.Input(value.shape[1:], value.shape[0], dtype=value.dtype) for value in inputs]
    model = keras.Model(symbolic, twin(*symbolic))
    model.save(tmp_path / "model.keras")
    back = keras.models.load_model(tmp_path / "model.keras")
    outputs = tf.nest.flatten(back(list(inputs)))
    assert_equal(outputs, tf.nest.flatten(model(list(inputs))))


def _first_inputs(cls) -> int:
    """The inputs whose shapes `compute_output_shape` takes."""
    code = cls.compute_output_shape.__code__
    return code.co_argcount - 1


def check_model(model, inputs, targets, fresh_compile, tmp_path) -> None:
    """Check a model: graph, shapes, freezing, `fit`, and every way of saving it, compiled.

    Args:
        model: A model that is not compiled yet.
        inputs: Arrays by name.
        targets: Targets of `fit` on them.
        fresh_compile: A function that compiles a model.
        tmp_path: A folder for files.
    """
    expected = model(inputs)
    check_graph(model, inputs, expected)
    trainable = [w.name for w in model.trainable_weights]
    model.trainable = False
    assert model.trainable_weights == []
    model.trainable = True
    assert [w.name for w in model.trainable_weights] == trainable

    check_freezing_is_copied(model)
    fresh_compile(model)
    # Eagerly, because a trace takes longer than the steps; other tests train in graphs.
    model.run_eagerly = True
    history = model.fit(inputs, targets, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    steps = int(model.optimizer.iterations)
    assert steps == 2
    trained, scores = model(inputs), evaluate(model, inputs, targets)

    twins = {"from_config": type(model).from_config(model.get_config())}
    twins["clone_model"] = keras.models.clone_model(model)
    for name in ("weights.h5", "model.weights.h5", "checkpoint"):
        model.save_weights(tmp_path / name)
        twins[name] = type(model).from_config(model.get_config())
        twins[name].load_weights(tmp_path / name)
    for name, twin in twins.items():
        assert type(twin) is type(model), name
        if name in ("from_config", "clone_model"):
            twin.set_weights(model.get_weights())
        assert_equal(twin(inputs), trained)

    model.save(tmp_path / "model.keras")
    model.save(tmp_path / "saved_model", save_format="tf")
    compiled = {
        "keras": keras.models.load_model(tmp_path / "model.keras"),
        "tf": keras.models.load_model(tmp_path / "saved_model"),
        "deepcopy": copy.deepcopy(model),
    }
    for name, twin in compiled.items():
        assert type(twin) is type(model), name
        assert_equal(twin(inputs), trained)
        assert twin.optimizer.get_config() == model.optimizer.get_config(), name
        # A deep copy is a `.keras` file in memory.
        if name != "deepcopy":
            twin.run_eagerly = True
            assert evaluate(twin, inputs, targets) == scores, name
    # The optimizer is where it was. Of a SavedModel, Keras itself starts the optimizer anew.
    for name in ("keras", "deepcopy"):
        ours, theirs = compiled[name].optimizer.variables, model.optimizer.variables
        assert_equal([v.numpy() for v in ours], [v.numpy() for v in theirs])


def check_freezing_is_copied(model) -> None:
    """Check that a copy is frozen as the model is, and that freezing keeps the weights' order."""
    layers = [layer for layer in model.all_layers() if layer.name.startswith("language_")]
    weights = model.get_weights()
    for layer in layers:
        layer.trainable = False
    twin = type(model).from_config(model.get_config())
    names = [weight.name for weight in model.trainable_weights]
    assert [weight.name for weight in twin.trainable_weights] == names
    assert len(names) < len(weights)
    model.set_weights(weights)
    for layer in layers:
        layer.trainable = True


def evaluate(model, inputs, targets) -> dict[str, float]:
    """Return the losses and metrics of a compiled model."""
    return model.evaluate(inputs, targets, verbose=0, return_dict=True)


def check_graph(model, inputs, expected) -> None:
    """Check that the functional graph computes what a call does, and shows its layers."""
    graph = keras.Model(model.inputs, model.outputs)
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    # A call may leave out padding, in sums of another order.
    outputs = tf.nest.flatten(graph(tensors))
    as_list = model([tensors[name] for name in sorted(tensors)])
    assert_equal(as_list, expected)
    assert_equal(outputs, tf.nest.flatten(expected), atol=1e-5)
    shapes = model.compute_output_shape({name: value.shape for name, value in inputs.items()})
    tf.nest.map_structure(
        lambda shape, output: shape.assert_is_compatible_with(output.shape), shapes, expected
    )
    lines: list[str] = []
    model.summary(expand_nested=True, print_fn=lambda line, line_break=False: lines.append(line))
    text = "\n".join(lines)
    config = model.config
    for kind in ("language", "relationship", "cross_modality"):
        count = getattr(config, f"{kind.removesuffix('_modality')}_layers")
        assert all(f"{kind}_layer_{i}" in text for i in range(count)), text
