"""Models on disk, as the page uses them."""

from collections.abc import Sequence

from lxmert_tf.app.page_model import PageModel, Task
from lxmert_tf.models.answer_names import load_with_numbered_answers
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import describe_preset
from lxmert_tf.regions.extractor import RegionExtractor
from lxmert_tf.serving.layout import find_model, is_preset
from lxmert_tf.serving.predictor import Predictor
from lxmert_tf.serving.ranker import Ranker
from lxmert_tf.visualization.attention_maps import AttentionReader

_MATCHER = "LxmertPretrainer"


def open_model(
    directory,
    extractor: RegionExtractor | None = None,
    answers: Sequence[str] | None = None,
) -> PageModel:
    """Load a model from disk, whatever its form and its task.

    Args:
        directory: As for `find_model`.
        extractor: As for `Predictor.from_directory`.
        answers: As for `Predictor.from_directory`.

    Raises:
        InputError: As from `Predictor.from_directory`; presets of the pre-trainer are welcome here.
    """
    if not is_preset(find_model(directory)):
        predictor = Predictor.from_directory(directory, extractor, answers)
        return PageModel(Task.JUDGE if predictor.images == 2 else Task.ANSWER, predictor)
    source = str(directory)
    if describe_preset(directory).model == _MATCHER:
        ranker = Ranker(directory, extractor)
        reader = AttentionReader(ranker.model, source, ranker.extractor)
        return PageModel(Task.RANK, ranker=ranker, reader=reader)
    model = load_with_numbered_answers(directory, answers)
    predictor = Predictor.from_model(model, source, extractor)
    reader = AttentionReader(model, source, predictor.extractor)
    task = Task.JUDGE if isinstance(model, LxmertPairClassifier) else Task.ANSWER
    return PageModel(task, predictor, reader=reader)
