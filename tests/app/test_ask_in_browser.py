"""The page that answers questions, in a real browser."""

import json
import re
import socket

import pytest

from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.visualization.region_names import region_names
from tests.app.conftest import SIZES, photograph, serving
from tests.serving.rest import NAME, running
from tests.serving.tiny import EXTRACTOR

pytestmark = [pytest.mark.browser, pytest.mark.slow]

QUESTIONS = ["what color is the shape?", "is there a circle?", "what shape is in the image?"]


@pytest.fixture(scope="module")
def url(tiny, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("app"), "--model", tiny.preset) as url:
        yield url


@pytest.fixture
def opened(page, url, pictures):
    """The page with an uploaded picture."""
    page.goto(url)
    page.set_input_files("#ask-picture input[type=file]", pictures[0])
    page.wait_for_selector("lxmert-explorer .box")
    return page


# Copies a picture of 64 x 48 pixels.
COPY = """async () => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 64, height: 48});
  const pen = canvas.getContext('2d');
  pen.fillStyle = 'white';
  pen.fillRect(0, 0, 64, 48);
  pen.fillStyle = 'red';
  pen.fillRect(10, 10, 30, 20);
  const picture = await new Promise((done) => canvas.toBlob(done, 'image/png'));
  await navigator.clipboard.write([new ClipboardItem({'image/png': picture})]);
}"""

# Drops a file of a number of bytes on an element.
DROP = """([selector, name, type, size]) => {
  const files = new DataTransfer();
  files.items.add(new File(['x'.repeat(size)], name, {type}));
  const element = document.querySelector(selector);
  for (const kind of ['dragenter', 'dragover', 'drop']) {
    const options = {bubbles: true, cancelable: true, dataTransfer: files};
    element.dispatchEvent(new DragEvent(kind, options));
  }
}"""


def note(page):
    return page.locator("#ask-note .message")


def cards(page):
    return page.locator("#ask-history article")


def test_a_picture_shows_its_regions_and_each_alone_when_it_is_pointed_at(opened):
    boxes, listed = opened.locator(".box"), opened.locator(".region")
    assert boxes.count() == listed.count() > 1
    assert opened.locator("lxmert-explorer img").get_attribute("alt") == "Your picture"
    assert re.search(r"sees \d+ regions\. Now ask about the picture\.", note(opened).inner_text())
    names = [button.split("\n")[1] for button in listed.all_inner_texts()]
    assert any(re.search(r"(circle|rectangle|triangle) \d+% sure", name) for name in names), names
    listed.nth(1).hover()
    assert "hovered" in boxes.nth(1).get_attribute("class")
    assert "hovering" in opened.locator(".frame").get_attribute("class")
    opened.mouse.move(0, 0)
    photograph(opened, "ask-regions")


def test_questions_are_answered_and_stay_with_the_last_one_first(opened):
    opened.fill("#ask-question textarea", QUESTIONS[0])
    opened.press("#ask-question textarea", "Enter")
    cards(opened).nth(0).wait_for()
    opened.fill("#ask-question textarea", "\n".join(QUESTIONS[1:]))
    opened.click("#ask-question button")
    cards(opened).nth(2).wait_for()
    assert cards(opened).locator("h3").all_inner_texts() == [*reversed(QUESTIONS)]
    scores = cards(opened).nth(0).locator(".bar-score").all_inner_texts()
    assert len(scores) == 5
    values = [float(score.removesuffix("%")) for score in scores]
    assert values == sorted(values, reverse=True)
    assert opened.input_value("#ask-question textarea") == ""


def test_an_answer_shows_where_the_model_looked(opened):
    opened.fill("#ask-question textarea", QUESTIONS[0])
    opened.press("#ask-question textarea", "Enter")
    answer = cards(opened).nth(0).locator("button").nth(0)
    answer.click()
    words = opened.locator(".word")
    words.nth(0).wait_for()
    assert answer.get_attribute("aria-pressed") == "true"
    shown = [text.split("\n")[0] for text in words.all_inner_texts()]
    assert shown == ["Start", "what", "color", "is", "the", "shape", "?", "End"]
    summary = opened.locator(".summary")
    assert summary.inner_text().startswith("For the answer, the model looks most at region ")

    words.nth(2).click()
    assert re.match(r"“color” looks most at region \d", summary.inner_text())
    shares = shares_of(opened, ".region")
    assert sum(shares) == pytest.approx(100, abs=len(shares))
    overview = shares

    opened.locator("select").nth(0).select_option(label="Layer 1 of 2")
    opened.locator("select").nth(1).select_option(label="Head 2 of 2")
    assert shares_of(opened, ".region") != overview

    # With the keyboard: a region, and back.
    opened.locator(".region").nth(1).focus()
    opened.keyboard.press("Enter")
    assert summary.inner_text().startswith("The word that looks most at region 2")
    assert opened.locator(".region").nth(1).get_attribute("aria-pressed") == "true"
    assert len(shares_of(opened, ".word")) == len(shown)
    photograph(opened, "ask-attention")
    opened.locator(".region").nth(1).focus()
    opened.keyboard.press("Escape")
    assert summary.inner_text().startswith("For the answer")


def shares_of(page, selector):
    texts = page.locator(f"{selector} .share").all_inner_texts()
    return [int(text.removesuffix("%")) for text in texts]


def test_an_example_comes_with_questions_and_gives_way_to_another_picture(page, url):
    page.goto(url)
    assert page.locator("#ask-examples img").nth(0).get_attribute("alt").startswith("Example")
    page.click("#ask-examples button >> nth=1")
    page.wait_for_selector("lxmert-explorer .box")
    suggestion = page.locator("#ask-suggestions button").nth(0)
    question = suggestion.inner_text()
    suggestion.click()
    cards(page).nth(0).wait_for()
    assert cards(page).locator("h3").inner_text() == question
    page.click("#ask-again")
    page.wait_for_selector("#ask-picture input[type=file]", state="attached")
    page.wait_for_selector("lxmert-explorer", state="detached")
    assert cards(page).count() == 0


def shown_size(page):
    """Return the width and height of the picture that is shown."""
    page.wait_for_selector("lxmert-explorer .box")
    image = page.locator("lxmert-explorer img")
    return image.evaluate("image => [image.naturalWidth, image.naturalHeight]")


def test_a_picture_is_pasted_by_the_button_or_the_keyboard(page, url):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(url)
    page.evaluate(COPY)
    page.get_by_role("button", name="Paste from clipboard").click()
    assert shown_size(page) == [64, 48]
    page.click("#ask-again")
    page.wait_for_selector("#ask-picture input[type=file]", state="attached")
    page.wait_for_selector("lxmert-explorer", state="detached")
    # Text goes where the cursor is, and a picture to where it belongs.
    page.focus("#ask-question textarea")
    page.keyboard.press("Control+V")
    assert shown_size(page) == [64, 48]
    assert page.input_value("#ask-question textarea") == ""


def test_a_photograph_is_taken_by_the_webcam(page, url):
    page.goto(url)
    page.get_by_role("button", name="Capture from camera").click()
    page.get_by_role("button", name="Click to Access Webcam").click()
    # Before the first image there is nothing to take.
    page.wait_for_function("() => document.querySelector('video')?.videoWidth > 0")
    page.get_by_role("button", name="capture photo").click()
    width, height = shown_size(page)
    assert width > height > 200
    assert re.search(r"sees \d+ regions?\.", note(page).inner_text())


def test_a_detector_finds_the_regions_in_place_of_the_stored_extractor(
    page, tiny, detector, tmp_path, pictures
):
    with serving(tmp_path, "--model", tiny.preset, "--detector", detector) as url:
        page.goto(url)
        page.set_input_files("#ask-picture input[type=file]", pictures[0])
        page.wait_for_selector("lxmert-explorer .box")
        extractor = make_extractor({"name": "detector", "preset": detector})
        regions = extractor.extract(read_image(pictures[0]))
        expected = zip(region_names(extractor, regions), regions.object_confidences)
        listed = page.locator(".region .name").all_inner_texts()
        assert listed == [f"{name} {round(100 * float(sure))}% sure" for name, sure in expected]
        page.fill("#ask-question textarea", QUESTIONS[1])
        page.press("#ask-question textarea", "Enter")
        cards(page).nth(0).wait_for()
        assert cards(page).locator(".bar-text").count() == 5


def test_a_file_that_is_no_picture_is_refused_in_one_sentence(page, url):
    page.goto(url)
    page.wait_for_selector("#ask-picture input[type=file]", state="attached")
    photograph(page, "ask-start")
    file = {"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.set_input_files("#ask-picture input[type=file]", file)
    alert = page.locator("#ask-note [role=alert]")
    alert.wait_for()
    assert alert.inner_text() == "Not an image in a known format (PNG, JPEG, ...)."
    photograph(page, "ask-no-picture")
    # The next picture is welcome.
    page.click("#ask-examples button >> nth=0")
    page.wait_for_selector("lxmert-explorer .box")


def test_a_dropped_file_that_cannot_be_taken_is_refused_in_one_sentence(page, url, pictures):
    page.goto(url)
    page.wait_for_selector("#ask-picture input[type=file]", state="attached")
    alert = page.locator("#ask-note [role=alert]")

    def refusal(text):
        return alert.filter(has_text=text)

    page.evaluate(DROP, ["#ask-picture button", "notes.txt", "text/plain", 9])
    refusal("Not an image in a known format").wait_for()
    # Beside the picture, too, where the browser would open the file.
    page.evaluate(DROP, ["h1", "video.mp4", "video/mp4", 20_000_001])
    refusal("The file is too large; at most 20 MB.").wait_for()
    page.evaluate(DROP, ["#ask-picture button", "notes", "", 9])
    refusal("Not an image in a known format").wait_for()
    assert page.locator(".toast-body").count() == 0
    photograph(page, "ask-dropped-text")
    # The same in the dialog of files, where visitors may ask for files of all kinds.
    text = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"x" * 20_000_001}
    page.set_input_files("#ask-picture input[type=file]", text)
    refusal("The file is too large; at most 20 MB.").wait_for()
    page.set_input_files("#ask-picture input[type=file]", pictures[0])
    # The parts of the page change one after the other.
    page.locator("#ask-picture").wait_for(state="hidden")
    page.locator("#ask-again").wait_for()
    page.evaluate(DROP, ["h1", "x.png", "image/png", 9])
    refusal("A picture is shown already; press “Choose another picture” first.").wait_for()


def test_on_a_phone_the_chosen_answer_brings_its_explanation_into_view(opened):
    opened.set_viewport_size({"width": SIZES["390"][0], "height": SIZES["390"][1]})
    opened.fill("#ask-question textarea", "\n".join([*QUESTIONS, "is there a ☃?"]))
    opened.click("#ask-question button")
    cards(opened).nth(3).locator("button").nth(4).scroll_into_view_if_needed()
    assert opened.evaluate("scrollY") > SIZES["390"][1]
    cards(opened).nth(0).locator("button").nth(4).click()
    opened.locator(".word").nth(0).wait_for()
    opened.wait_for_function(
        "() => document.querySelector('#ask-view .why').getBoundingClientRect().top >= 0"
    )
    words = [text.split("\n")[0] for text in opened.locator(".word").all_inner_texts()]
    assert words[:4] == ["Start", "is", "there", "a"]
    assert "(unknown)" in words and "[UNK]" not in words


def test_a_question_without_a_picture_or_words_is_refused(page, url):
    page.goto(url)
    page.fill("#ask-question textarea", QUESTIONS[0])
    page.press("#ask-question textarea", "Enter")
    alert = page.locator("#ask-note [role=alert]")
    alert.wait_for()
    assert alert.inner_text() == "Choose a picture first."
    # It need not be typed again.
    assert page.input_value("#ask-question textarea") == QUESTIONS[0]


def test_two_visitors_keep_their_own_pictures(opened, chromium, url, pictures):
    with chromium.new_context() as context:
        second = context.new_page()
        second.goto(url)
        second.set_input_files("#ask-picture input[type=file]", pictures[1])
        second.wait_for_selector("lxmert-explorer .box")
        second.fill("#ask-question textarea", QUESTIONS[1])
        second.press("#ask-question textarea", "Enter")
        cards(second).nth(0).wait_for()
    opened.fill("#ask-question textarea", QUESTIONS[0])
    opened.press("#ask-question textarea", "Enter")
    cards(opened).nth(0).wait_for()
    assert cards(opened).locator("h3").all_inner_texts() == [QUESTIONS[0]]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_an_endpoint_that_is_down_is_named_until_it_is_up(page, tiny, tmp_path, pictures):
    # Another process could take the port before the server does, though none looks for it.
    port = free_port()
    extractor = tmp_path / "extractor.json"
    extractor.write_text(json.dumps(EXTRACTOR))
    argv = ("--model", NAME, "--endpoint", f"http://127.0.0.1:{port}", "--extractor", extractor)
    notes = f"http://127.0.0.1:{port}/.*: cannot connect.*; the page opens once the server is up\n"
    with serving(tmp_path, *argv, notes=notes) as url:
        page.goto(url)
        alert = page.locator("[role=alert]")
        assert f"127.0.0.1:{port}" in alert.inner_text()
        assert "cannot connect" in alert.inner_text()
        assert page.get_by_label("Your question").count() == 0
        photograph(page, "ask-endpoint-down")
        with running(ModelVersions(tiny.saved_model, {}, print), port=port):
            # The page comes by itself.
            page.wait_for_selector("#ask-picture input[type=file]", state="attached")
            page.set_input_files("#ask-picture input[type=file]", pictures[0])
            page.wait_for_selector("lxmert-explorer .box")
            page.fill("#ask-question textarea", QUESTIONS[0])
            page.press("#ask-question textarea", "Enter")
            cards(page).nth(0).wait_for()
        # A server that stops later is named, too.
        page.fill("#ask-question textarea", QUESTIONS[1])
        page.press("#ask-question textarea", "Enter")
        later = page.locator("#ask-note [role=alert]")
        later.wait_for()
        assert "cannot connect" in later.inner_text()


def test_every_part_has_a_name_for_screen_readers(opened):
    opened.fill("#ask-question textarea", QUESTIONS[0])
    opened.press("#ask-question textarea", "Enter")
    cards(opened).nth(0).locator("button").nth(0).click()
    opened.locator(".word").nth(0).wait_for()
    snapshot = opened.locator("body").aria_snapshot()
    # `- button "Ask"` has a name, and `- button` has none.
    parts = re.findall(r"- (?:button|textbox|combobox|tab|link)\b.*", snapshot)
    assert len(parts) > 20
    assert [part for part in parts if '"' not in part] == []
    for part in ('img "Your picture"', 'textbox "Your question', f'heading "{QUESTIONS[0]}"'):
        assert part in snapshot, snapshot
    assert opened.locator("img:not([alt])").count() == 0
