"""Draw a metric of several training runs into one SVG file.

    .venv/bin/python benchmarks/curves.py RUN [RUN ...] --metric answers_accuracy --output FILE.svg

A training log has averages since the epoch's beginning; the curve shows those of equal numbers of
steps.
"""

import argparse
import functools
import pathlib
import sys
from collections.abc import Sequence

from lxmert_tf.errors import InputError
from lxmert_tf.result_files import LOG
from lxmert_tf.terminal import make_console
from lxmert_tf.text_file import write_text
from lxmert_tf.visualization.learning_curves import Curve, curve_chart, read_log


def main() -> int:
    """Write the chart; return 2 if a log cannot be read or lacks the metric."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=pathlib.Path, metavar="RUN")
    parser.add_argument("--metric", required=True, metavar="NAME")
    add = functools.partial(parser.add_argument, metavar="TEXT")
    add("--names", nargs="+", help="of the curves (default: those of the folders)")
    add("--title", help="default: the metric")
    parser.add_argument("--every", type=int, default=500, metavar="STEPS")
    parser.add_argument("--output", required=True, type=pathlib.Path, metavar="FILE.svg")
    args = parser.parse_args()
    try:
        curves = {
            name: interval_curve(read_log(run / LOG), args.metric, args.every)
            for name, run in zip(args.names or map(str, args.runs), args.runs)
        }
    except InputError as error:
        make_console(stderr=True).print(f"curves: {error}", markup=False, soft_wrap=True)
        return 2
    chart = curve_chart(args.title or args.metric.replace("_", " "), curves)
    # Within a page no namespace is needed.
    write_text(args.output, chart.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))
    return 0


def interval_curve(log: Sequence[dict[str, float]], metric: str, every: int) -> Curve:
    """Return the averages of a metric over intervals of about `every` steps within an epoch.

    Args:
        log: Lines of a training log.
        metric: The metric.
        every: Steps of an interval.

    Raises:
        InputError: No line has the metric.
    """
    curve: Curve = []
    epoch, begin, start, last, total = -1.0, 0, 0, 0, 0.0
    for line in log:
        if metric not in line:
            continue
        step = int(line["step"])
        if line["epoch"] != epoch:
            epoch, begin, total = line["epoch"], last, 0.0
            start = begin
        if step - start >= every:
            sum_so_far = line[metric] * (step - begin)
            curve.append((step, (sum_so_far - total) / (step - start)))
            start, total = step, sum_so_far
        last = step
    if not curve:
        raise InputError(f"no line of the log has {metric!r} over {every} steps")
    return curve


if __name__ == "__main__":
    sys.exit(main())
