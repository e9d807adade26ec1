"""The programs of docs/serving.md, run one after another as on the page."""

import pathlib
import re
import shutil

import easy_vqa

from lxmert_tf.serving.server.model_versions import ModelVersions
from tests.serving.rest import running

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "serving.md"


def test_every_way_to_ask_gives_the_same_answer(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The files that the page names.
    shutil.copytree(tiny.saved_model, "saved_models/easy_vqa/1")
    pathlib.Path("build").mkdir()
    shutil.copy(easy_vqa.get_test_image_paths()[0], "build/shape.png")
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    log, printed = [], []
    # Not capsys: uvicorn's logging set-up closes streams that are replaced while it runs.
    names = {"print": lambda *values: printed.append(str(values[0]))}
    versions = ModelVersions("saved_models/easy_vqa", {}, log.append)
    with running(versions, name="easy_vqa") as endpoint:
        for program in programs:
            code = program.replace("http://127.0.0.1:8501", endpoint)
            exec(compile(code, PAGE.name, "exec"), names)
    answers = [re.search(r"[a-z]+", line)[0] for line in printed]
    assert len(answers) == 4, "Predictor, SavedModel, HTTP, and Client print one line each"
    assert len(set(answers)) == 1
