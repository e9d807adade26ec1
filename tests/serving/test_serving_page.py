"""The programs of docs/serving.md, run one after another as on the page."""

import pathlib
import re
import shutil

import easy_vqa

from lxmert_tf.serving.server.model_versions import ModelVersions
from tests.serving.page import PAGE, PICTURES, programs_of, run_programs
from tests.serving.rest import running


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
    assert len(answers) == 5, "Predictor (twice), SavedModel, HTTP, and Client print a line each"
    assert len(set(answers)) == 1
