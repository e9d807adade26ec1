"""The Evaluator's result as one HTML file: what blessed the model or not, and bars by slice."""

import html
import pathlib
from collections.abc import Iterator, Mapping

from lxmert_tf.data import schema
from lxmert_tf.evaluation.evaluate import OVERALL
from lxmert_tf.text_file import write_text
from pipeline.config import LoadedPipeline
from pipeline.run_record import RunRecord

REPORT = "report.html"
HEADINGS = {
    OVERALL: "All questions",
    schema.QUESTION_TYPE: "By question type",
    schema.ANSWER_TYPE: "By answer type",
    schema.SENTENCE_SOURCE: "By source",
    schema.REGION_COUNT: "By number of regions",
}
# In pixels.
NAMES, BARS, NUMBERS, ROW, AXIS = 220, 420, 160, 24, 16

Accuracy = Mapping[str, tuple[float, int]]

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 820px; color: #222 }}
svg text {{ font: 13px sans-serif; fill: #222 }}
.candidate {{ fill: #3465a4 }}
.baseline {{ fill: none; stroke: #c4a000; stroke-width: 2 }}
.grid {{ stroke: #ddd }}
svg .axis {{ font-size: 11px; fill: #777 }}
.yes {{ color: #2e7d32 }}
.no {{ color: #b71c1c }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def write_report(config: LoadedPipeline, record: RunRecord, root) -> pathlib.Path:
    """Writes `report.html`, which needs nothing besides itself, into the run's root.

    Args:
        config: of the pipeline that ran.
        record: of the run, in which the Evaluator took part.
        root: the folder.

    Returns:
        the file.
    """
    path = pathlib.Path(root) / REPORT
    write_text(path, report_html(config, record))
    return path


def report_html(config: LoadedPipeline, record: RunRecord) -> str:
    """The page of `write_report`."""
    candidate = record.sliced_accuracy()
    baseline = record.sliced_accuracy("baseline") if record.compared else {}
    parts = [*_verdict(config, record, candidate, baseline)]
    for feature in HEADINGS:
        if feature in candidate:
            parts.append(f"<h2>{HEADINGS[feature]}</h2>")
            parts.append(bar_chart(candidate[feature], baseline.get(feature, {})))
    title = html.escape(f"{config.pipeline.name}: soft accuracy on the test split")
    return _PAGE.format(title=title, body="\n".join(parts))


def bar_chart(accuracy: Accuracy, baseline: Accuracy) -> str:
    """An SVG with a bar per value, and a mark where the baseline's bar would end.

    Args:
        accuracy: soft accuracy 0..1 and number of questions by value.
        baseline: the same of the model to compare with; empty if there is none.
    """
    height = ROW * len(accuracy)
    lines = [
        f'<svg width="{NAMES + BARS + NUMBERS}" height="{height + AXIS}" role="img">',
    ]
    for percent in (0, 25, 50, 75, 100):
        x = NAMES + BARS * percent // 100
        lines += [
            f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{height}"/>',
            f'<text class="axis" x="{x}" y="{height + 11}" text-anchor="middle">{percent}%</text>',
        ]
    for row, (value, (share, count)) in enumerate(accuracy.items()):
        top, text = ROW * row + 4, ROW * row + 17
        lines += [
            f'<text x="{NAMES - 8}" y="{text}" text-anchor="end">{html.escape(value)}</text>',
            f'<rect class="candidate" x="{NAMES}" y="{top}" width="{share * BARS:.1f}" '
            f'height="{ROW - 8}"><title>{share:.2%} of {count:,}</title></rect>',
            f'<text x="{NAMES + BARS + 8}" y="{text}">{share:.2%} of {count:,}</text>',
        ]
        if value in baseline:
            x = NAMES + baseline[value][0] * BARS
            lines.append(
                f'<path class="baseline" d="M{x:.1f} {top - 2}v{ROW - 4}">'
                f"<title>before: {baseline[value][0]:.2%}</title></path>"
            )
    return "\n".join([*lines, "</svg>"])


def _verdict(config: LoadedPipeline, record: RunRecord, candidate, baseline) -> Iterator[str]:
    share, count = candidate[OVERALL][OVERALL]
    settings = config.pipeline
    yield f"<p>{share:.2%} of {count:,} questions; {settings.least_accuracy:.2%} were asked for."
    if baseline:
        yield (
            f"The model blessed before has {baseline[OVERALL][OVERALL][0]:.2%} (yellow marks); "
            f"{settings.may_drop:.2%} less was allowed."
        )
    yield "</p>"
    if record.passed:
        yield '<p class="yes">The model was blessed.</p>'
        return
    yield '<p class="no">The model was not blessed:</p><ul>'
    yield from (f"<li>{html.escape(failure)}</li>" for failure in record.failures())
    yield "</ul>"
