"""Files that the stacks exchange: records, a preset, a SavedModel, and a training checkpoint.

`python -m tests.stacks.exchanged MINE YOURS` writes the files and their results into the folder
MINE, reads the files that the other stack wrote into YOURS, and adds its results there.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (the SavedModel has its ops)

from lxmert_tf import LxmertAnswerClassifier, LxmertTextPreprocessor
from lxmert_tf.data import schema
from lxmert_tf.data.batches import find_records, read_records
from lxmert_tf.data.scene_tensors import decode_regions, parse_scenes
from lxmert_tf.training.checkpointing import TrainingCheckpoints
from lxmert_tf.training.optimization import BertAdamW
from tests.serving.tiny import Tiny, write_tiny

# Files of results: of the stack that wrote the folder, and of the stack that read it.
WRITTEN, READ = "written.npz", "read.npz"


class Exchanged:
    """The exchanged files in a folder, and the results of using them.

    The results are, for the records, the `logits` of the preset's model and the `probabilities` of
    the SavedModel, and all `weights` one training step after the checkpoint.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._tiny = Tiny(folder)

    def write(self) -> None:
        """Write the files and the results."""
        write_tiny(self._tiny)
        training = _Training(self._tiny, self._checkpoints)
        training.step()
        training.checkpoints.save()
        np.savez(self._folder / WRITTEN, **self._results(training))

    def read(self) -> None:
        """Read the files and add the results."""
        training = _Training(self._tiny, self._checkpoints)
        training.checkpoints.restore()
        np.savez(self._folder / READ, **self._results(training))

    def results(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of a file of results, WRITTEN or READ."""
        with np.load(self._folder / name, allow_pickle=False) as arrays:
            return dict(arrays)

    def _results(self, training: "_Training") -> dict[str, np.ndarray]:
        model = LxmertAnswerClassifier.from_preset(self._tiny.preset)
        served = tf.saved_model.load(str(self._tiny.saved_model)).signatures["serve_examples"]
        answers = served(examples=tf.constant(_records(self._tiny)))
        return {
            "logits": model(_inputs(self._tiny, model), training=False).numpy(),
            "probabilities": answers["probabilities"].numpy(),
            "weights": training.step(),
        }

    @property
    def _checkpoints(self) -> pathlib.Path:
        return self._folder / "checkpoints"


class _Training:
    def __init__(self, tiny: Tiny, checkpoints: pathlib.Path):
        self._model = LxmertAnswerClassifier.from_preset(tiny.preset)
        self._inputs = _inputs(tiny, self._model)
        self._optimizer = BertAdamW(1e-2)
        self.checkpoints = TrainingCheckpoints(checkpoints, self._model, self._optimizer, keep=1)

    def step(self) -> np.ndarray:
        """Take one step and return all weights."""
        # Without dropout, because the stacks draw different random numbers.
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self._model(self._inputs, training=False) ** 2)
        variables = self._model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return np.concatenate([variable.numpy().ravel() for variable in variables])


def _records(tiny: Tiny) -> list[bytes]:
    return [record.numpy() for record in read_records(find_records(tiny.flat))]


def _inputs(tiny: Tiny, model: LxmertAnswerClassifier) -> dict[str, tf.Tensor]:
    scenes = parse_scenes(tf.constant(_records(tiny)))
    questions = scenes[schema.SENTENCE_TEXT].flat_values
    return {
        **LxmertTextPreprocessor(model.vocabulary)(questions),
        **decode_regions(scenes),
    }


if __name__ == "__main__":
    mine, yours = (Exchanged(pathlib.Path(folder)) for folder in sys.argv[1:])
    mine.write()
    yours.read()
