"""The part of the page that shows the results of a training or of a pipeline run."""

import dataclasses
import html
import pathlib

import gradio as gr

from lxmert_tf.errors import InputError
from lxmert_tf.serving.layout import EXTRA
from lxmert_tf.serving.model_card import MODEL_CARD
from lxmert_tf.text_file import read_text
from lxmert_tf.visualization.learning_curves import learning_curves, read_log

# Written by `lxmert pipeline run` into its root, and by a training into its folder.
REPORT = "report.html"
LOG = "log.jsonl"


@dataclasses.dataclass(frozen=True)
class Results:
    """Results of a training or of a pipeline run; empty texts for those that are missing.

    Args:
        report: The page of a pipeline run, which has the accuracy by slice and learning curves.
        curves: The learning curves of a single training, as HTML.
        card: The model card, in Markdown.
    """

    report: str = ""
    curves: str = ""
    card: str = ""


def read_results(folder) -> Results:
    """Read the results in a folder.

    Args:
        folder: The root of a pipeline, or the output of `lxmert finetune` or `lxmert pretrain`.

    Raises:
        InputError: The folder is missing or has no results.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"results not found: {folder}")
    report, log = folder / REPORT, folder / LOG
    cards = sorted(folder.glob(f"**/{EXTRA}/{MODEL_CARD}"), key=lambda path: path.stat().st_mtime)
    results = Results(
        read_text(report) if report.is_file() else "",
        learning_curves(read_log(log)) if log.is_file() else "",
        read_text(cards[-1]) if cards else "",
    )
    if results == Results():
        raise InputError(
            f"{folder}: no results; give the root of a pipeline, which has {REPORT}, or the output "
            f"of a training, which has {LOG}"
        )
    return results


class ResultsTab:
    """Builds the tab.

    Args:
        results: What it shows.
    """

    def __init__(self, results: Results):
        self._results = results

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
        if self._results.curves:
            gr.HTML(f"<h2>Training</h2>{self._results.curves}", elem_id="results-curves")
        if self._results.card:
            with gr.Accordion("Model card", open=not self._results.report):
                gr.Markdown(self._results.card, elem_id="results-card")
