"""The answers of a run's model to the test questions, for `lxmert app --results`."""

import pathlib

from lxmert_tf.data.batches import find_records
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.confusion import Confusion, read_confusion
from lxmert_tf.evaluation.evaluate import evaluate_answers, load_answering_model
from lxmert_tf.result_files import PREDICTIONS
from pipeline.components.anomaly_gate import SPLIT_PREFIX
from pipeline.components.scene_example_gen import SceneExampleGen
from pipeline.config import LoadedPipeline
from pipeline.run_record import RunRecord
from pipeline.trainer_modules.answering import PRESET


def write_predictions(config: LoadedPipeline, record: RunRecord, root) -> pathlib.Path:
    """Answer the test questions, and write which answers were given in place of which.

    The Evaluator keeps sums alone, so the model reads the split once more; not for a model whose
    answers are in the file already.

    Args:
        config: The pipeline that ran.
        record: Its run.
        root: The folder to write to.

    Returns:
        The path of the file; see `Confusion.write`.
    """
    path = pathlib.Path(root) / PREDICTIONS
    model = record.uris["Trainer", "model"]
    if _model_of(path) == model:
        return path
    examples = pathlib.Path(record.uris[SceneExampleGen.__name__, "examples"])
    confusion = Confusion(model)
    evaluate_answers(
        load_answering_model(pathlib.Path(model) / PRESET),
        find_records(examples / f"{SPLIT_PREFIX}test"),
        config.task.max_regions,
        confusion=confusion,
    )
    confusion.write(path)
    return path


def _model_of(path: pathlib.Path) -> str | None:
    try:
        return read_confusion(path).model
    except InputError:
        # There is none, or one of another version of this package.
        return None
