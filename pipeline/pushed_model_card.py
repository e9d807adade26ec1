"""The model card of a pushed version, with what only the whole run knows: data and accuracy."""

import pathlib

import tensorflow_data_validation as tfdv
from tfx.utils import path_utils

from lxmert_tf.data import schema
from lxmert_tf.serving.export import EXTRA
from lxmert_tf.serving.model_card import MODEL_CARD, markdown_table, section
from lxmert_tf.text_file import read_text, write_text
from pipeline.run_record import RunRecord


def complete_model_card(record: RunRecord) -> None:
    """Writes the Trainer's card again into the pushed version, completed.

    Args:
        record: of a run that pushed, or whose model an earlier run had pushed.
    """
    trained = pathlib.Path(path_utils.serving_model_path(record.uris["Trainer", "model"]))
    card = trained / EXTRA / MODEL_CARD
    if not card.exists():
        # Served from the cache of a root whose models had none yet.
        return
    statistics = pathlib.Path(record.uris["StatisticsGen", "statistics"])
    rows = [_data_row(folder) for folder in sorted(statistics.glob("Split-*"))]
    data = section(
        "Data",
        "The evaluation alone read `test`.",
        markdown_table(("split", "sources", "images", "questions"), rows),
    )
    accuracy = [
        (kind, f"{share:.4f}", f"{questions:,}")
        for kind, (share, questions) in record.accuracy().items()
    ]
    measured = section(
        "Accuracy",
        "Soft accuracy on `test`, by the question's type.",
        markdown_table(("questions", "accuracy", "number"), accuracy),
    )
    completed = "\n".join([read_text(card), data, measured])
    write_text(pathlib.Path(record.pushed_to) / EXTRA / MODEL_CARD, completed)


def _data_row(folder: pathlib.Path) -> tuple[str, str, str, str]:
    """A split's name, where its sentences come from, and its numbers of images and sentences."""
    [data] = tfdv.load_stats_binary(str(folder / "FeatureStats.pb")).datasets
    features = {feature.path.step[0]: feature.string_stats for feature in data.features}
    # Distinct ones: in the flat layout an image stands once per question.
    images = features[schema.IMAGE_ID].unique
    sentences = features[schema.SENTENCE_ID].common_stats.tot_num_values
    sources = ", ".join(top.value for top in features[schema.SENTENCE_SOURCE].top_values)
    return folder.name.removeprefix("Split-"), sources, f"{images:,}", f"{sentences:,}"
