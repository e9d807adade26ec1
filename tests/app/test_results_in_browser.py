"""The answers of a model by what was expected, with pictures, in a real browser."""

import http.server
import re
import shutil
import threading
import zipfile

import pytest

from tests.app.conftest import photograph, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def results(tiny, tmp_path_factory):
    """The folder that `lxmert evaluate --results` writes."""
    from lxmert_tf.cli.main import main

    folder = tmp_path_factory.mktemp("results")
    argv = ["--model", tiny.preset, "--examples", tiny.flat, "--results", folder]
    assert main(["evaluate", *map(str, argv)]) == 0
    return folder


@pytest.fixture(scope="module")
def opened_with(tiny, results, chromium, tmp_path_factory):
    """The URL of a page with the results."""
    with serving(
        tmp_path_factory.mktemp("app"), "--model", tiny.preset, "--results", results
    ) as url:
        yield url


def open_results(page, url):
    page.goto(url)
    page.get_by_role("tab", name="Results").click()
    page.wait_for_selector("#results-questions article")


def test_the_worst_mistakes_are_shown_with_their_pictures(page, opened_with):
    open_results(page, opened_with)
    cards = page.locator("#results-questions article")
    assert 1 < cards.count() <= 12
    assert cards.locator("img").count() == cards.count()
    assert page.locator("#results-questions .hint").count() == 0
    sure = [
        int(score) for text in cards.all_inner_texts() for score in re.findall(r"(\d+)% sure", text)
    ]
    assert sure == sorted(sure, reverse=True)
    wide = cards.locator("img").nth(0).evaluate("image => image.naturalWidth")
    assert wide > 0
    photograph(page, "results-answers")


def test_a_number_of_the_table_shows_its_questions(page, opened_with):
    open_results(page, opened_with)
    button = page.locator("#results-confusion .wrong").nth(0)
    label = button.get_attribute("aria-label")
    expected, given = re.fullmatch(r"[\d,]+ × expected (.+), answered (.+)", label).groups()
    count = int(button.inner_text())
    button.click()
    title = page.locator("#results-questions h3")
    page.wait_for_function(
        "text => document.querySelector('#results-questions h3').innerText.includes(text)",
        arg=f"“{given}” where “{expected}” is expected",
    )
    assert button.get_attribute("aria-pressed") == "true"
    cards = page.locator("#results-questions article")
    assert cards.count() == min(count, 8)
    for text in cards.all_inner_texts():
        assert f"Answer: {given}" in text and f"Expected: {expected}" in text
    photograph(page, "results-cell")
    page.get_by_role("button", name="The worst mistakes").click()
    page.wait_for_function(
        "() => document.querySelector('#results-questions h3').innerText.includes('surest')"
    )
    assert "surest" in title.inner_text()


def test_right_answers_can_be_chosen_with_the_keyboard(page, opened_with):
    open_results(page, opened_with)
    page.locator("#results-confusion .right").nth(0).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#results-questions article.right")
    assert page.locator("#results-questions article.wrong").count() == 0


def test_without_pictures_boxes_are_drawn_and_an_archive_gives_them(
    page, tiny, results, pictures, tmp_path
):
    text = (results / "predictions.json").read_text()
    (tmp_path / "predictions.json").write_text(text.replace('"easy_vqa"', '"other"'))
    argv = ("--model", tiny.preset, "--results", tmp_path)
    (tmp_path / "without").mkdir()
    with serving(tmp_path / "without", *argv) as url:
        open_results(page, url)
        assert page.locator("#results-questions article svg rect").count() > 1
        assert "--pictures" in page.locator("#results-questions .hint").inner_text()
        photograph(page, "results-boxes")
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for number in range(6):
            archive.write(pictures[number], f"test/test-{number}.png")
    (tmp_path / "with").mkdir()
    with serving(tmp_path / "with", *argv, "--pictures", tmp_path / "pictures.zip") as url:
        open_results(page, url)
        assert page.locator("#results-questions article svg").count() == 0
        assert page.locator("#results-questions article img").count() > 1


def test_a_model_card_makes_the_browser_load_nothing_from_elsewhere(page, tiny, results, tmp_path):
    asked = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    card = folder / "1" / "assets.extra" / "model_card.md"
    card.parent.mkdir(parents=True)
    card.write_text(f"# Card\n\n![A picture](http://127.0.0.1:{server.server_port}/picture.png)\n")
    with serving(tmp_path, "--model", tiny.preset, "--results", folder) as url:
        open_results(page, url)
        picture = page.locator("#results-card img")
        picture.wait_for(state="attached")
        page.wait_for_function("document.querySelector('#results-card img').complete")
        assert picture.evaluate("image => image.naturalWidth") == 0
    server.shutdown()
    server.server_close()
    assert asked == []
