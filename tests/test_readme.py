"""What the README promises: its Python runs, its files exist."""

import pathlib
import re

import pytest

from lxmert_tf import LxmertAnswerClassifier, LxmertConfig
from lxmert_tf.data.batches import find_records
from lxmert_tf.training.config import FinetuningConfig
from lxmert_tf.training.dataset_info import read_dataset_info
from pipeline.ingest.config import IngestConfig, SplitConfig
from pipeline.ingest.job import run_ingest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def demo_output(tmp_path, monkeypatch):
    """The files that the README's code finds after its commands, at a small size."""
    monkeypatch.chdir(tmp_path)
    run_ingest(IngestConfig("easy_vqa", SplitConfig("train", limit=20)), "build/records/train")
    words = read_dataset_info(
        find_records("build/records/train"), FinetuningConfig(vocabulary_size=200)
    )
    config = LxmertConfig(
        hidden_size=8,
        num_attention_heads=2,
        intermediate_size=16,
        language_layers=1,
        cross_layers=1,
        relationship_layers=1,
        vocab_size=len(words.vocabulary),
        region_feature_size=256,
        num_answers=len(words.answers),
    )
    model = LxmertAnswerClassifier(config, vocabulary=words.vocabulary, answers=words.answers)
    model.save_preset("build/demo/preset")
    return tmp_path


def test_the_fine_tuning_example_runs_and_leaves_a_preset(demo_output):
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.splitlines()) <= 20
    exec(compile(code, "README.md", "exec"), {})
    assert LxmertAnswerClassifier.from_preset(demo_output / "build/fine_tuned").answers


def test_every_file_that_the_readme_and_the_docs_link_to_exists():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\((?!http)([^)#\s]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
