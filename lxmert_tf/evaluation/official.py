"""The official scores of any task."""

from collections.abc import Mapping

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.gqa import score_gqa
from lxmert_tf.evaluation.nlvr import score_nlvr
from lxmert_tf.evaluation.nlvr2 import score_nlvr2
from lxmert_tf.evaluation.score_report import ScoreReport
from lxmert_tf.evaluation.vqa import score_vqa


def score(
    task: str, predictions: Mapping[str, str], annotations_path, choices_path=None
) -> ScoreReport:
    """Score predictions as the official evaluation of a task does.

    Args:
        task: "vqa", "gqa", "nlvr" or "nlvr2".
        predictions: {question ID: answer}; for NLVR2 {identifier: "True" or "False"}, for NLVR
            {name of an image: "True" or "False"}.
        annotations_path: The official file of annotations, or the LXMERT release's.
        choices_path: GQA's official choices file, or None.

    Returns:
        The scores.

    Raises:
        InputError: A file is damaged or of another kind, or the predictions are for other
            questions.
    """
    if task == "gqa":
        return score_gqa(predictions, annotations_path, choices_path)
    if choices_path is not None:
        raise InputError(f"{choices_path}: a choices file is for GQA, not for {task}")
    scorers = {"vqa": score_vqa, "nlvr": score_nlvr, "nlvr2": score_nlvr2}
    return scorers[task](predictions, annotations_path)
