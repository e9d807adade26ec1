"""Fixtures of the tests of the page: models on disk, and the page in a real browser."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

from tests.lxmert_tf.detector.samples import write_named_detector
from tests.serving.tiny import make_tiny

SCREENSHOTS = pathlib.Path(__file__).parents[2] / "build" / "screenshots"
# Width and height of a desktop and of a phone.
SIZES = {"1280": (1280, 900), "390": (390, 844)}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory)


@pytest.fixture(scope="session")
def detector(tmp_path_factory):
    """A preset of a detector for the tiny model."""
    directory = tmp_path_factory.mktemp("detector") / "preset"
    write_named_detector(directory)
    return directory


@pytest.fixture(scope="session")
def pictures():
    """Paths of easy-VQA's test pictures, by number."""
    import easy_vqa

    return easy_vqa.get_test_image_paths()


@contextlib.contextmanager
def serving(folder, *argv, notes=""):
    """Run `lxmert app` and yield its URL; its temporary files must be gone afterwards.

    Args:
        folder: Where its files go.
        *argv: Its arguments.
        notes: Regular expression of what it writes to stderr beside its end.
    """
    temporary = folder / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "lxmert_tf.cli", "app", "--port", "0", *map(str, argv)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    # Read by its name: to seek in it would move the place where the process writes.
    path = folder / "log.txt"
    with open(path, "w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        try:
            line = process.stdout.readline()
            assert line.startswith("open http://127.0.0.1:"), line + path.read_text()
            yield line.split()[1] + "/"
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(timeout=120)
            process.stdout.close()
    assert status == 143
    assert re.fullmatch(f"{notes}lxmert app: terminated\n", path.read_text())
    assert not list(temporary.glob("lxmert-app-*")), "uploads were left behind"


@pytest.fixture(scope="session")
def chromium():
    """The system's Chromium; Playwright's own would be downloaded."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on PATH: apt-get install -y chromium")
    with playwright.sync_playwright() as driver:
        # Chromium's own sandbox does not work for root, as in most containers.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        # A camera that shows a moving pattern, and whose use is granted.
        arguments += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page of a desktop in light mode. Errors in it, and requests to elsewhere, fail the test."""
    width, height = SIZES["1280"]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme="light"
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    problems = []
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("request", lambda request: problems.extend(_outside(request.url)))
    yield page
    context.close()
    assert problems == []


def _outside(url):
    own = ("http://127.0.0.1:", "data:", "blob:")
    return [] if url.startswith(own) else [f"request: {url}"]


def photograph(page, name):
    """Keep screenshots of the page at both widths, light and dark."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for width, (across, down) in SIZES.items():
        page.set_viewport_size({"width": across, "height": down})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(150)
            page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, f"{name}: {overflow} pixels too wide at {width}"
    page.emulate_media(color_scheme="light")
    across, down = SIZES["1280"]
    page.set_viewport_size({"width": across, "height": down})
