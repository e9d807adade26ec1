"""The part of the page that shows the results of a training or of a pipeline run."""

import dataclasses
import html
import pathlib

import gradio as gr

from lxmert_tf.app.answered_questions import question_cards
from lxmert_tf.app.bars import CHOOSE
from lxmert_tf.app.confusion_table import WORST, ConfusionTable
from lxmert_tf.app.events import PRIVATE, event_value
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.confusion import Confusion, read_confusion
from lxmert_tf.regions.picture_finder import PictureFinder
from lxmert_tf.result_files import LOG, MODEL_CARD, PREDICTIONS, REPORT
from lxmert_tf.serving.layout import EXTRA
from lxmert_tf.text_file import read_text
from lxmert_tf.visualization.learning_curves import learning_curves, read_log

# Questions that are shown at once.
MOST_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Results:
    """Results of a training or of a pipeline run; empty or None where they are missing.

    Args:
        report: The page of a pipeline run, which has the accuracy by slice and learning curves.
        curves: The learning curves of a single training, as HTML.
        card: The model card, in Markdown.
        confusion: Which answers the model gave in place of which.
    """

    report: str = ""
    curves: str = ""
    card: str = ""
    confusion: Confusion | None = None


def read_results(folder) -> Results:
    """Read the results in a folder.

    Args:
        folder: The root of a pipeline, the output of `lxmert finetune` or `lxmert pretrain`, or a
            folder that `lxmert evaluate --results` has written to.

    Raises:
        InputError: The folder is missing or has no results, or a file is damaged.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"results not found: {folder}")
    report, log, predictions = (folder / name for name in (REPORT, LOG, PREDICTIONS))
    cards = sorted(folder.glob(f"**/{EXTRA}/{MODEL_CARD}"), key=lambda path: path.stat().st_mtime)
    results = Results(
        read_text(report) if report.is_file() else "",
        learning_curves(read_log(log)) if log.is_file() else "",
        read_text(cards[-1]) if cards else "",
        read_confusion(predictions) if predictions.is_file() else None,
    )
    if results == Results():
        raise InputError(
            f"{folder}: no results; give the root of a pipeline, which has {REPORT}, the output of "
            f"a training, which has {LOG}, or a folder with {PREDICTIONS}"
        )
    return results


class ResultsTab:
    """Builds the tab.

    Args:
        results: What it shows.
        pictures: Finds the pictures of questions.
    """

    def __init__(self, results: Results, pictures: PictureFinder):
        self._results = results
        self._pictures = pictures

    def build(self) -> None:
        """Add the tab's components to the page that is being built."""
        if self._results.report:
            # A page of its own, whose style does not meet that of this one; it runs no scripts.
            document = html.escape(self._results.report)
            # Reports of older versions are dark on white, whatever the visitor prefers.
            scheme = "" if "color-scheme" in self._results.report else " light"
            gr.HTML(
                f'<iframe class="report{scheme}" sandbox title="Report of the pipeline run" '
                f'srcdoc="{document}"></iframe>',
                elem_id="results-report",
            )
        if self._results.confusion:
            self._build_answers(self._results.confusion)
        if self._results.curves:
            gr.HTML(f"<h2>Training</h2>{self._results.curves}", elem_id="results-curves")
        if self._results.card:
            with gr.Accordion("Model card", open=not self._results.report):
                gr.Markdown(self._results.card, elem_id="results-card")

    def _build_answers(self, confusion: Confusion) -> None:
        table = ConfusionTable(confusion)
        total = sum(confusion.counts.values())
        right = sum(n for (expected, given), n in confusion.counts.items() if expected == given)
        share = f"The model gave the expected answer to {right:,} of {total:,} questions."
        heading = f"<h2>Answers</h2><p>{share}</p>"
        choice = gr.HTML(heading + table.html(), js_on_load=CHOOSE, elem_id="results-confusion")
        shown = gr.HTML(self._worst(confusion), elem_id="results-questions")

        def show(event: gr.EventData):
            chosen = event_value(event, "choice")
            if chosen == WORST:
                return self._worst(confusion)
            cells = table.cells(chosen)
            return gr.skip() if cells is None else self._examples(confusion, cells)

        choice.select(show, None, shown, **PRIVATE)

    def _worst(self, confusion: Confusion) -> str:
        questions = confusion.worst(MOST_SHOWN)
        if not questions:
            return '<p role="status">There are no mistakes.</p>'
        title = "The worst mistakes, of which the model was surest"
        return _titled(title, question_cards(questions, self._pictures))

    def _examples(self, confusion: Confusion, cells: set) -> str:
        count = sum(confusion.counts[cell] for cell in cells)
        questions = confusion.examples(cells, MOST_SHOWN)
        what = f"{len(questions):,} of {count:,} questions" if count > 1 else "The only question"
        if len(cells) == 1:
            [(expected, given)] = cells
            what += f" with the answer “{given}” where “{expected}” is expected"
        if not questions:
            return f'<p role="status">No example of these {count:,} questions was kept.</p>'
        return _titled(what, question_cards(questions, self._pictures))


def _titled(title: str, content: str) -> str:
    return f'<div role="status"><h3>{html.escape(title)}</h3></div>{content}'
