"""The page with models of all tasks: two pictures, ranking, and models side by side."""

import shutil

import pytest

from tests.app.conftest import photograph, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def url(tiny, tmp_path_factory):
    from lxmert_tf import LxmertPairClassifier, LxmertPretrainer

    folder = tmp_path_factory.mktemp("app")
    for number in ("1", "2"):
        shutil.copytree(tiny.saved_model, folder / "versions" / number)
    models = []
    for name, model_class in (("pair", LxmertPairClassifier), ("rank", LxmertPretrainer)):
        model_class.from_preset(tiny.preset).save_preset(folder / name)
        models += ["--model", folder / name]
    models += ["--model", folder / "versions", "--model", tiny.preset]
    results = folder / "results"
    results.mkdir()
    (results / "report.html").write_text("<!DOCTYPE html><title>r</title><p>The model was blessed.")
    (results / "log.jsonl").write_text('{"step": 5, "loss": 2}\n{"step": 10, "loss": 1}\n')
    with serving(folder, *models, "--results", results) as url:
        yield url


def open_tab(page, url, name):
    page.goto(url)
    page.get_by_role("tab", name=name).click()


def test_a_statement_about_two_pictures_is_judged_and_explained(page, url, pictures):
    open_tab(page, url, "Compare")
    page.fill("#compare-statement textarea", "the left picture has a circle")
    page.press("#compare-statement textarea", "Enter")
    alert = page.locator("#compare-note [role=alert]")
    alert.wait_for()
    assert alert.inner_text() == "Choose two pictures first."
    for side, number in (("left", 0), ("right", 1)):
        page.set_input_files(f"#{side}-picture input[type=file]", pictures[number])
        page.wait_for_selector(f"#{side}-view .box")
    page.press("#compare-statement textarea", "Enter")
    bars = page.locator("#compare-history article button")
    bars.nth(1).wait_for()
    assert sorted(text.split("\n")[0] for text in bars.all_inner_texts()) == ["False", "True"]
    scores = [float(text.split("\n")[1].removesuffix("%")) for text in bars.all_inner_texts()]
    assert sum(scores) == pytest.approx(100, abs=0.2)
    bars.nth(0).click()
    for side in ("left", "right"):
        page.wait_for_selector(f"#{side}-view .word")
    photograph(page, "compare")

    # An answer about other pictures is not explained with these.
    page.click("#left-again")
    page.set_input_files("#left-picture input[type=file]", pictures[2])
    page.wait_for_selector("#left-view .box")
    bars.nth(0).click()
    alert.wait_for()
    assert "judge the statement again" in alert.inner_text()


def test_sentences_are_ranked_and_explained(page, url):
    open_tab(page, url, "Rank")
    page.click("#rank-examples button >> nth=4")
    page.wait_for_selector("#rank-view .box")
    sentences = ["a red circle", "a blue triangle", "no shape at all"]
    page.fill("#rank-sentences textarea", "\n".join(sentences))
    page.click("#rank-button")
    bars = page.locator("#rank-ranking button")
    bars.nth(2).wait_for()
    shown = [text.split("\n") for text in bars.all_inner_texts()]
    assert sorted(text for text, _ in shown) == sorted(sentences)
    scores = [float(score.removesuffix("%")) for _, score in shown]
    assert scores == sorted(scores, reverse=True)
    bars.nth(1).click()
    heading = page.locator("#rank-view h3")
    heading.wait_for()
    assert shown[1][0] in heading.inner_text()
    photograph(page, "rank")


def choose(page, dropdown, name):
    page.click(f"#{dropdown} input")
    page.get_by_role("option", name=name).click()


def test_two_models_answer_side_by_side_and_only_a_preset_explains(page, url, pictures):
    open_tab(page, url, "Ask")
    page.set_input_files("#ask-picture input[type=file]", pictures[0])
    page.wait_for_selector("#ask-view .box")
    choose(page, "ask-other", "preset")
    page.fill("#ask-question textarea", "is there a circle?")
    page.press("#ask-question textarea", "Enter")
    page.wait_for_selector("#ask-history article")
    names = page.locator("#ask-history h4").all_inner_texts()
    assert names == ["versions, version 2", "preset"]
    lists = page.locator("#ask-history ol")
    assert lists.nth(0).inner_text() == lists.nth(1).inner_text()
    assert lists.nth(0).locator("button").count() == 0
    note = page.locator("#ask-note .message")
    assert "Choose an answer of preset to see where the model looked." in note.inner_text()
    lists.nth(1).locator("button").nth(0).click()
    page.wait_for_selector("#ask-view .word")
    photograph(page, "ask-side-by-side")
    choose(page, "ask-other", "no other")
    page.fill("#ask-question textarea", "is there a circle?")
    page.press("#ask-question textarea", "Enter")
    page.locator("#ask-history article").nth(1).wait_for()
    assert "can only be seen with a preset" in note.inner_text()


def test_results_of_a_training_are_shown(page, url):
    open_tab(page, url, "Results")
    report = page.frame_locator("#results-report iframe")
    assert report.locator("p").inner_text() == "The model was blessed."
    chart = page.locator("#results-curves svg")
    assert chart.get_attribute("aria-label") == "loss over 10 steps; at the end: training 1"
    photograph(page, "results")
