"""The pipeline as it is built, without running it: dry run, partial runs, pairs, refusals."""

import dataclasses
import json

import ml_metadata as mlmd
import pytest
from tfx import v1 as tfx

from lxmert_tf.cli import main as cli
from lxmert_tf.errors import InputError
from pipeline.batch_prediction import predict
from pipeline.config import load_pipeline
from pipeline.ingest.config import (
    IngestConfig,
    PartConfig,
    RegionFiles,
    SentenceFiles,
    SplitConfig,
)
from pipeline.metadata import connection_config
from pipeline.pipeline import create_components, create_pipeline
from pipeline.root_files import METADATA_FILE
from pipeline.runners.local import partial_run_options, run_local
from tests.pipeline.tiny_pipeline import COMPONENTS, write_tiny_pipeline


@pytest.fixture
def file(tmp_path):
    return write_tiny_pipeline(tmp_path)


def linked_components(file, folder):
    """Return the components of a pipeline, which links each to those before and after it."""
    config = load_pipeline(file)
    return create_pipeline(config, str(folder), str(folder / METADATA_FILE), "pushed").components


def test_dry_run_prints_the_components_and_runs_nothing(file, capsys, monkeypatch):
    monkeypatch.chdir(file.parent)
    before = sorted(file.parent.iterdir())
    assert cli.main(["pipeline", "run", "--config", "pipeline.yaml", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for name in COMPONENTS:
        assert f"│ {name} " in printed
    assert sorted(file.parent.iterdir()) == before


def test_components_are_in_topological_order(file, tmp_path):
    components = create_components(load_pipeline(file), "pushed")
    assert tuple(component.id for component in components) == COMPONENTS
    # A pipeline links its components.
    tfx.dsl.Pipeline("linked", str(tmp_path), components=components)
    seen = set()
    for component in components:
        assert {node.id for node in component.upstream_nodes} <= seen
        seen.add(component.id)


def test_no_training_before_the_data_has_passed(file):
    components = {c.id: c for c in create_components(load_pipeline(file), "pushed")}
    for trainer in ("Pretrainer", "Trainer"):
        assert "AnomalyGate" in {node.id for node in components[trainer].upstream_nodes}


@pytest.mark.parametrize(
    "changes, splits",
    [
        ([], ["train"]),
        (["splits.easy.from=train", "pretraining.stages.0.split=easy"], ["easy"]),
    ],
)
def test_pretraining_reads_the_splits_of_its_stages(file, changes, splits):
    components = {c.id: c for c in create_components(load_pipeline(file, changes), "pushed")}
    read = [
        json.loads(components[name].exec_properties["train_args"])["splits"]
        for name in ("Pretrainer", "Trainer")
    ]
    assert read == [splits, ["train"]]


def test_newer_preset_is_not_served_from_the_cache(file, tmp_path):
    preset = tmp_path / "preset"
    preset.mkdir()
    (preset / "config.json").write_text("{}")
    config = load_pipeline(file)
    stage = dataclasses.replace(config.pretraining, init_from=str(preset))
    config = dataclasses.replace(config, pretraining=stage)

    def trainer_properties():
        components = {c.id: c for c in create_components(config, "pushed")}
        return [components[n].exec_properties["custom_config"] for n in ("Pretrainer", "Trainer")]

    pretrainer, trainer = trainer_properties()
    assert trainer_properties() == [pretrainer, trainer]
    (preset / "config.json").write_text("{} ")
    assert trainer_properties()[0] != pretrainer
    assert trainer_properties()[1] == trainer


def test_partial_run_resolves_baselines_again(file, tmp_path):
    (tmp_path / METADATA_FILE).touch()
    components = linked_components(file, tmp_path)
    options = partial_run_options(components, "Evaluator", tmp_path / METADATA_FILE)
    assert list(options.from_nodes) == ["Evaluator", "latest_blessed_model"]


def test_partial_run_from_an_unknown_component_or_without_an_earlier_run_is_refused(file, tmp_path):
    config = load_pipeline(file)
    with pytest.raises(InputError, match=r"no such component; it must be one of .*Trainer"):
        run_local(config, tmp_path / "root", tmp_path / "pushed", from_component="Trainr")
    with pytest.raises(InputError, match="no earlier run in"):
        run_local(config, tmp_path / "root", tmp_path / "pushed", from_component="Trainer")
    assert not (tmp_path / "root").exists()


def test_status_of_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    assert cli.main(["pipeline", "status", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"lxmert pipeline: {tmp_path}/metadata.sqlite: no such file; no pipeline has run there"
    ]


def test_the_report_is_opened_if_a_run_has_left_one(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    argv = ["pipeline", "report", "--root", str(tmp_path)]
    assert cli.main(argv) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"lxmert pipeline: {tmp_path}/report.html: not found; a run writes it after its evaluation"
    ]
    (tmp_path / "report.html").write_text("report")
    assert cli.main([*argv, "--no-browser"]) == 0
    assert (capsys.readouterr().out, opened) == (f"{tmp_path}/report.html\n", [])
    assert cli.main(argv) == 0
    assert opened == [(tmp_path / "report.html").as_uri()]


def test_prediction_of_an_unknown_split_names_the_splits(tmp_path):
    data = IngestConfig("easy_vqa", splits={"test": SplitConfig("test")})
    with pytest.raises(InputError, match="unknown split 'tset'; it must be one of test"):
        predict(tmp_path, data, "tset", "vqa", tmp_path / "answers.json")


def test_status_looks_where_the_demo_and_pipelines_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["pipeline", "status"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        "lxmert pipeline: no pipeline has run in build/pipeline/* or build/demo/pipeline; name its "
        "root with --root DIR, the folder with metadata.sqlite"
    )
    for root in ("build/demo/pipeline", "build/pipeline/vqa"):
        (tmp_path / root).mkdir(parents=True)
        mlmd.MetadataStore(connection_config(f"{root}/{METADATA_FILE}"))
    assert cli.main(["pipeline", "status"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("build/")] == [
        "build/pipeline/vqa",
        "build/demo/pipeline",
    ]


def test_missing_files_leave_no_folder(file, tmp_path):
    config = load_pipeline(file)
    part = PartConfig(
        (RegionFiles(("nowhere/*.tsv",)),), (SentenceFiles(("nowhere/*.json",), "vqa_release"),)
    )
    splits = {
        name: dataclasses.replace(split, from_=("part",))
        for name, split in config.pipeline.splits.items()
    }
    settings = dataclasses.replace(
        config.pipeline, source=None, extractor=None, parts={"part": part}, splits=splits
    )
    with pytest.raises(InputError, match="no files match nowhere"):
        run_local(dataclasses.replace(config, pipeline=settings), tmp_path / "a/root", "pushed")
    assert not (tmp_path / "a").exists()
