"""The programs of docs/serving.md, run one after another as on the page."""

import pathlib
import re
import shutil

import easy_vqa

from lxmert_tf.serving.server.model_versions import ModelVersions
from tests.serving.rest import running

# Its programs need a model that takes pictures; tests/serving/test_picture_signatures.py has one.
PICTURES = "Pictures in, answers out"
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "serving.md"


def programs_of(section: str) -> list[str]:
    """Return the programs of a part of the page."""
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def run_programs(programs: list[str], endpoint: str) -> list[str]:
    """Run programs one after another, and return what they print, line by line."""
    printed: list[str] = []
    # Not capsys: uvicorn's logging set-up closes streams that are replaced while it runs.
    names = {"print": lambda *values: printed.append(str(values[0]))}
    for program in programs:
        code = program.replace("http://127.0.0.1:8501", endpoint)
        exec(compile(code, PAGE.name, "exec"), names)
    return printed


def test_every_way_to_ask_gives_the_same_answer(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The files that the page names.
    shutil.copytree(tiny.saved_model, "saved_models/easy_vqa/1")
    pathlib.Path("build").mkdir()
    shutil.copy(easy_vqa.get_test_image_paths()[0], "build/shape.png")
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    programs = [p for part in sections if not part.startswith(PICTURES) for p in programs_of(part)]
    versions = ModelVersions("saved_models/easy_vqa", {}, print)
    with running(versions, name="easy_vqa") as endpoint:
        printed = run_programs(programs, endpoint)
    answers = [re.search(r"[a-z]+", line)[0] for line in printed]
    assert len(answers) == 4, "Predictor, SavedModel, HTTP, and Client print one line each"
    assert len(set(answers)) == 1
