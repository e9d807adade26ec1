"""Learning curves: the log they are read from, and what is drawn."""

import re

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.visualization.learning_curves import learning_curves, read_log

LINES = [
    '{"step": 50, "epoch": 0, "loss": 4.0, "soft_accuracy": 0.25}',
    '{"step": 100, "epoch": 0, "loss": 1.0, "soft_accuracy": 0.5, "val_loss": 2.0, '
    '"val_soft_accuracy": 0.75}',
]


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(LINES) + "\n")
    return path


def test_loss_and_accuracy_have_a_chart_with_their_last_values(log):
    charts = learning_curves(read_log(log)).split("</svg>")[:-1]
    labels = [re.search('aria-label="([^"]*)"', chart)[1] for chart in charts]
    assert labels == [
        "loss over 100 steps; at the end: training 1, validation 2",
        "soft accuracy over 100 steps; at the end: training 0.5, validation 0.75",
    ]


def test_the_curve_goes_from_the_first_value_to_the_last(log):
    chart = learning_curves(read_log(log)).split("</svg>")[0]
    # The training's curve is drawn last, above the validation's.
    curves = re.findall('<polyline points="([^"]*)"', chart)
    points = [tuple(map(float, point.split(","))) for point in curves[-1].split()]
    assert points[0][0] == pytest.approx((points[1][0] + 56) / 2)
    # 4 is at the top, and 1 a quarter of the height above the axis.
    assert points[0][1] == pytest.approx(46)
    assert points[1][1] == pytest.approx(46 + 136 * 3 / 4)


@pytest.mark.parametrize(
    ("most", "numbers"),
    [
        ("4.07", "0 1 2 3 4 5"),
        ("0.993", "0 0.2 0.4 0.6 0.8 1"),
        ("1e-9", "0 2e-10 4e-10 6e-10 8e-10 1e-09"),
    ],
)
def test_the_lines_stand_at_round_numbers(log, most, numbers):
    log.write_text(f'{{"step": 5, "loss": {most}}}\n')
    chart = learning_curves(read_log(log)).split("</svg>")[0]
    assert re.findall(r'x="50" [^>]*text-anchor="end">([^<]*)<', chart) == numbers.split()


def test_a_log_without_lines_has_no_chart(tmp_path):
    (tmp_path / "log.jsonl").write_text("")
    assert learning_curves(read_log(tmp_path / "log.jsonl")) == ""


def test_values_that_are_not_finite_are_left_out(log):
    log.write_text('{"step": 5, "loss": 2}\n{"step": 10, "loss": NaN}\n')
    assert "loss over 5 steps; at the end: training 2" in learning_curves(read_log(log))


@pytest.mark.parametrize(
    "line", ["[1]", '{"loss": 1}', '{"step": "no"}', '{"step": Infinity}', '{"step": 1, ']
)
def test_another_file_is_refused_with_the_line(log, line):
    log.write_text(f"{LINES[0]}\n{line}\n")
    with pytest.raises(InputError, match=r"log\.jsonl:2: not a line of a training log"):
        read_log(log)
