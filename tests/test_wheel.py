"""The wheel, installed in a fresh environment outside the repository."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serving.tiny import make_tiny

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
SOURCES = ["lxmert_tf", "pipeline", "configs"]
FILES = ["pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"]


def run(*command, cwd, **environment):
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder of the source distribution and of the wheel that is built from it."""
    # A copy, because the build leaves files beside the sources.
    copy = tmp_path_factory.mktemp("source")
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, copy)
    run(sys.executable, "-m", "build", "--no-isolation", cwd=copy)
    return copy / "dist"


@pytest.fixture(scope="module")
def fresh(dist, tmp_path_factory):
    """The `bin` folder of an environment with the wheel and, to be quick, this one's packages."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    python = folder / "bin" / "python"
    [wheel] = dist.glob("*.whl")
    run(python, "-m", "pip", "install", "--no-index", "--no-deps", wheel, cwd=folder)
    site_packages = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    )
    # Python looks here after the fresh environment's own folder, and does not read the .pth files
    # there, so that it does not find the repository by them.
    locked = Path(site_packages.strip()) / "locked.pth"
    locked.write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_distributions_pass_twine(dist):
    files = sorted(dist.iterdir())
    assert [file.suffix for file in files] == [".whl", ".gz"]
    run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=dist)


def test_wheel_has_all_modules_and_data(dist):
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        file.relative_to(ROOT).as_posix()
        for folder in SOURCES
        for file in (ROOT / folder).rglob("*")
        if file.suffix in {".py", ".yaml", ".pbtxt", ".typed", ".css", ".js"}
    }
    assert inside == {
        f"lxmert_tf/{name}" if name.startswith("configs/") else name for name in expected
    }


def test_command_of_the_wheel_lists_all_commands(fresh, tmp_path):
    text = run(fresh / "lxmert", "--help", cwd=tmp_path, PATH="/usr/bin:/bin")
    for command in ("ask", "finetune", "ingest", "pipeline", "serve"):
        assert f"\n  {command} " in text


def test_wheel_answers_a_question(fresh, tmp_path, tmp_path_factory):
    tiny = make_tiny(tmp_path_factory)
    Image.fromarray(np.full([32, 32, 3], 200, np.uint8)).save(tmp_path / "picture.png")
    code = f"""
import importlib.resources, lxmert_tf
assert {str(fresh.parent)!r} in lxmert_tf.__file__, lxmert_tf.__file__
assert (importlib.resources.files("lxmert_tf.configs") / "model" / "base.yaml").is_file()
picture = lxmert_tf.read_image("picture.png")
predictor = lxmert_tf.Predictor.from_preset({str(tiny.preset)!r})
[answers] = predictor.answer(picture, ["what shape is it?"])
print(answers[0][0])
"""
    answer = run(fresh / "python", "-c", code, cwd=tmp_path, TF_CPP_MIN_LOG_LEVEL="3")
    assert answer.strip() in (tiny.preset / "answers.txt").read_text().splitlines()
