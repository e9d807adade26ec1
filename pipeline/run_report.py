"""Reports of a pipeline run: table of components, HTML page, and completed model card."""

import html
import pathlib
from collections.abc import Iterator

import tensorflow_data_validation as tfdv
from rich.table import Table
from tfx.utils import path_utils

from lxmert_tf.data import schema
from lxmert_tf.evaluation.evaluate import OVERALL
from lxmert_tf.evaluation.score_report import NO_TYPE, ScoreReport
from lxmert_tf.html_page import html_page
from lxmert_tf.result_files import LOG, MODEL_CARD, REPORT
from lxmert_tf.serving.model_card import EXTRA, markdown_table, section
from lxmert_tf.terminal import make_console
from lxmert_tf.text_file import read_text, write_text
from lxmert_tf.visualization.accuracy_bars import BARS_STYLE, accuracy_bars
from lxmert_tf.visualization.learning_curves import learning_curves, read_log
from pipeline.components.anomaly_gate import SPLIT_PREFIX, STATISTICS_FILE
from pipeline.config import LoadedPipeline
from pipeline.pipeline import PRETRAINER
from pipeline.predictions import write_predictions
from pipeline.run_record import RunRecord
from pipeline.statement_slices import LENGTH, PHENOMENON

HEADINGS = {
    OVERALL: "All questions",
    schema.QUESTION_TYPE: "By question type",
    schema.ANSWER_TYPE: "By answer type",
    schema.SENTENCE_SOURCE: "By source",
    schema.REGION_COUNT: "By number of regions",
    PHENOMENON: "By phenomenon",
    LENGTH: "By sentence length",
}

_STYLE = (
    BARS_STYLE
    + """body { font-size: 15px; max-width: 820px }
.yes::before { content: "✓ "; color: #2e7d32 }
.no::before { content: "✗ "; color: #d32f2f }
th, td { padding: 0 1em 0 0; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; white-space: normal }
"""
)


def print_states(record: RunRecord) -> None:
    """Print which components ran and which results came from the cache."""
    table = Table("component", "", title="Run")
    for component, state in record.states.items():
        table.add_row(component, "cached" if state == "CACHED" else "ran")
    console = make_console()
    console.print(table)
    if record.compared:
        console.print("The model was compared with the last blessed model.")


def write_report(config: LoadedPipeline, record: RunRecord, root) -> pathlib.Path:
    """Write the evaluation of a run to `report.html`, a page without external files.

    Its answers are written beside it, for the page of `lxmert app`.

    Args:
        config: The pipeline that ran.
        record: Its run.
        root: The folder to write to.

    Returns:
        The path of the page.
    """
    path = pathlib.Path(root) / REPORT
    write_text(path, report_html(config, record))
    write_predictions(config, record, root)
    return path


def report_html(config: LoadedPipeline, record: RunRecord) -> str:
    """Return the HTML of `write_report`."""
    candidate = record.sliced_accuracy()
    baseline = record.sliced_accuracy("baseline") if record.compared else {}
    parts = [*_verdict(config, record, candidate, baseline)]
    if config.challenge is not None:
        parts += _score_tables(record.scores(config.challenge))
    for feature in HEADINGS:
        if feature in candidate and candidate[feature].keys() != {NO_TYPE}:
            heading, before = HEADINGS[feature], baseline.get(feature, {})
            parts += [f"<h2>{heading}</h2>", accuracy_bars(heading, candidate[feature], before)]
    parts += _curves(record)
    title = f"{config.pipeline.name}: accuracy on the test split"
    return html_page(title, "\n".join(parts), _STYLE)


def _curves(record: RunRecord) -> Iterator[str]:
    """Yield the learning curves, also of a model that is cached from an earlier run."""
    for component, title in ((PRETRAINER, "Pre-training"), ("Trainer", "Training")):
        uri = record.uris.get((component, "model_run"))
        if uri is not None and (log := pathlib.Path(uri) / LOG).is_file():
            yield f"<h2>{title}</h2>"
            yield learning_curves(read_log(log))


def _score_tables(scores: ScoreReport) -> Iterator[str]:
    yield "<h2>Official scores</h2>\n<table>"
    for group, rows in scores.groups.items():
        yield f"<tr><th>{html.escape(group)}</th><th>count</th><th>score</th></tr>"
        for score in rows:
            yield (
                f"<tr><td>{html.escape(score.name)}</td><td>{score.count:,}</td>"
                f"<td>{score.rounded:.2f}{score.unit}</td></tr>"
            )
    yield "</table>"


def _verdict(config: LoadedPipeline, record: RunRecord, candidate, baseline) -> Iterator[str]:
    share, count = candidate[OVERALL][OVERALL]
    settings = config.pipeline
    required = f"required: {settings.least_accuracy:.2%}"
    yield f"<p>Accuracy: {share:.2%}; questions: {count:,}; {required}."
    if baseline:
        yield (
            f"Last blessed model: {baseline[OVERALL][OVERALL][0]:.2%} (yellow marks); "
            f"allowed drop: {settings.may_drop:.2%}."
        )
    yield "</p><p>An answer that only some people gave counts in part (VQA's soft accuracy).</p>"
    if record.passed:
        yield '<p class="yes">The model was blessed. It reached what was required.</p>'
        return
    yield '<p class="no">The model was not blessed:</p><ul>'
    yield from (f"<li>{html.escape(failure)}</li>" for failure in record.failures())
    yield "</ul>"


def complete_model_card(record: RunRecord, version_directory: str) -> None:
    """Add data and accuracy, which the Trainer cannot know, to the model card of a pushed version.

    Args:
        record: The run that trained or reused the model.
        version_directory: The folder of the pushed version.
    """
    trained = pathlib.Path(path_utils.serving_model_path(record.uris["Trainer", "model"]))
    card = trained / EXTRA / MODEL_CARD
    if not card.exists():
        # The model is cached from a version of this package that wrote no card.
        return
    statistics = pathlib.Path(record.uris["StatisticsGen", "statistics"])
    rows = [_data_row(folder) for folder in sorted(statistics.glob(f"{SPLIT_PREFIX}*"))]
    data = section(
        "Data",
        "Only the evaluation used `test`.",
        markdown_table(("split", "sources", "images", "questions"), rows),
    )
    accuracy = [
        (kind, f"{share:.4f}", f"{questions:,}")
        for kind, (share, questions) in record.accuracy().items()
    ]
    measured = section(
        "Accuracy",
        "Soft accuracy on `test` by question type.",
        markdown_table(("questions", "accuracy", "number"), accuracy),
    )
    completed = "\n".join([read_text(card), data, measured])
    write_text(pathlib.Path(version_directory) / EXTRA / MODEL_CARD, completed)


def _data_row(folder: pathlib.Path) -> tuple[str, str, str, str]:
    """Return a split's name, its sources, and its numbers of images and sentences."""
    [data] = tfdv.load_stats_binary(str(folder / STATISTICS_FILE)).datasets
    features = {feature.path.step[0]: feature.string_stats for feature in data.features}
    # Flat records repeat the image for every question, so count distinct ids.
    images = features[schema.IMAGE_ID].unique
    sentences = features[schema.SENTENCE_ID].common_stats.tot_num_values
    sources = ", ".join(top.value for top in features[schema.SENTENCE_SOURCE].top_values)
    return folder.name.removeprefix(SPLIT_PREFIX), sources, f"{images:,}", f"{sentences:,}"
