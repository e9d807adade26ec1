"""The demo's outputs: the question-only baseline, the table, and the picture."""

import importlib.resources

import easy_vqa
import numpy as np
import pytest
from PIL import Image

from pipeline.config import load_pipeline
from pipeline.demo import (
    GRID_COLUMNS,
    GRID_ROWS,
    Sample,
    draw_answers,
    majority_by_type,
    print_comparison,
    sample_questions,
)


@pytest.fixture(scope="module")
def config():
    folder = importlib.resources.files("lxmert_tf.configs")
    return load_pipeline(folder / "pipeline" / "easy_vqa.yaml").pipeline


@pytest.fixture(scope="module")
def majority(config):
    return majority_by_type(config)


def test_majority_on_the_official_split_is_the_known_one(majority):
    # The known accuracy is 67.0 %.
    assert 0.669 <= majority["all"] <= 0.671


def test_majority_of_all_is_the_mean_over_all_types(majority, config):
    from pipeline.ingest.readers.easy_vqa import question_type

    questions, _, _ = easy_vqa.get_test_questions()
    kinds = [question_type(question) for question in questions]
    assert set(majority) == {*kinds, "all"}
    together = sum(majority[kind] for kind in kinds) / len(kinds)
    assert majority["all"] == pytest.approx(together, abs=1e-12)


def test_comparison_prints_both_columns_for_every_type(capsys):
    accuracy = {"color": (0.5, 2000), "all": (0.98765, 9673)}
    print_comparison(accuracy, {"color": 0.12, "all": 0.67})
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("│")
    ]
    assert rows == [
        ["color", "2,000", "12.00%", "50.00%"],
        ["all", "9,673", "67.00%", "98.77%"],
    ]


class Parrot:
    """A predictor that answers with the question."""

    def answer(self, image, questions):
        assert image.shape == (64, 64, 3)
        return [[(question, 0.5), ("no", 0.1)] for question in questions]


@pytest.fixture(scope="module")
def samples(config):
    return sample_questions(config, Parrot())


def test_samples_are_test_images_with_their_own_questions_in_turn(samples, config):
    from pipeline.ingest.readers.easy_vqa import question_type

    assert len(samples) == GRID_COLUMNS * GRID_ROWS
    assert len({sample.path for sample in samples}) == len(samples)
    kinds = ["absence", "color", "presence", "shape"]
    assert [question_type(s.question) for s in samples] == [kinds[i % 4] for i in range(18)]
    truth = set(zip(*easy_vqa.get_test_questions()))
    numbers = {path: number for number, path in easy_vqa.get_test_image_paths().items()}
    for sample in samples:
        assert (sample.question, sample.truth, numbers[sample.path]) in truth
        assert (sample.answer, sample.score) == (sample.question, 0.5)


def test_picture_of_the_answers_opens_and_is_not_blank(samples, tmp_path):
    draw_answers(samples, tmp_path / "answers.png")
    with Image.open(tmp_path / "answers.png") as picture:
        assert picture.format == "PNG"
        # A cell is 2.4 x 3.2 inches at 100 dpi. 6 * 2.4 is a little less than 14.4 in floating
        # point, which releases of matplotlib round differently.
        assert picture.width in (240 * GRID_COLUMNS - 1, 240 * GRID_COLUMNS)
        assert picture.height == 320 * GRID_ROWS
        pixels = np.asarray(picture.convert("L"))
    for row in range(GRID_ROWS):
        for column in range(GRID_COLUMNS):
            cell = pixels[320 * row : 320 * (row + 1), 240 * column : 240 * (column + 1)]
            assert cell.std() > 1, (row, column)


def test_fewer_samples_than_cells_are_drawn_too(tmp_path):
    path = easy_vqa.get_test_image_paths()[0]
    draw_answers([Sample(path, "what?", "red", 0.9, "blue")], tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as picture:
        # Wrong answers are red.
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    reddish = (pixels[..., 0] > 150) & (pixels[..., 1] < 60) & (pixels[..., 2] < 60)
    below_the_image = reddish[260:320, :240]
    assert below_the_image.any()
