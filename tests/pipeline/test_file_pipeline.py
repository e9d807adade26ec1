"""The first half of the pipeline, up to the gate, on files.

It needs runs of its own, because the shared one reads a data set instead of files, and because
these runs must fail. They train nothing.
"""

import dataclasses
import os
import pathlib
import time
from typing import NamedTuple

import pytest
import tensorflow as tf
from tfx import v1 as tfx
from tfx.dsl.compiler.compiler import Compiler

from lxmert_tf.data.batches import find_records
from lxmert_tf.data.schema import decode_scene
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.training.config import FinetuningConfig
from pipeline.beam.workers import process_runner
from pipeline.components import scene_example_gen
from pipeline.config import LoadedPipeline, PipelineConfig
from pipeline.ingest.config import PartConfig, RegionFiles, SentenceFiles, SplitConfig
from pipeline.pipeline import SCHEMA_FILE, create_pipeline
from pipeline.root_files import METADATA_FILE
from pipeline.run_record import RunRecord, read_last_run
from tests.pipeline.ingest.job_files import write_questions, write_regions

PARTS = ("train", "minival")
GATE = "AnomalyGate"


def make_config(folder: pathlib.Path) -> LoadedPipeline:
    """Write two parts of twenty images, with two questions each."""
    parts = {}
    for name in PARTS:
        ids = [f"{name}{n}" for n in range(20)]
        regions = write_regions(folder / f"{name}.tsv", ids)
        questions = write_questions(folder / f"{name}.json", ids)
        parts[name] = PartConfig(
            (RegionFiles((str(regions),)),), (SentenceFiles((str(questions),), "vqa_release"),)
        )
    settings = PipelineConfig(
        name="files",
        model="",
        task="",
        parts=parts,
        splits={
            "train": SplitConfig("train", percent=(20, 100)),
            "validation": SplitConfig("train", percent=(0, 20)),
            "test": SplitConfig("minival", layout="flat"),
        },
        least_accuracy=0.0,
    )
    return LoadedPipeline(settings, LxmertConfig(), FinetuningConfig())


@pytest.fixture
def config(tmp_path) -> LoadedPipeline:
    return make_config(tmp_path)


def with_upstream(component) -> set[str]:
    return {component.id}.union(*map(with_upstream, component.upstream_nodes))


def run_up_to(config: LoadedPipeline, root, component: str, **options) -> RunRecord:
    metadata_path = str(root / METADATA_FILE)
    root.mkdir(exist_ok=True)
    pipeline = create_pipeline(config, str(root), metadata_path, str(root / "pushed"), **options)
    wanted = with_upstream(next(one for one in pipeline.components if one.id == component))
    # TFX's partial runs need a full run before them, so cut the compiled pipeline.
    compiled = Compiler().compile(pipeline)
    nodes = [node for node in compiled.nodes if node.pipeline_node.node_info.id in wanted]
    del compiled.nodes[:]
    compiled.nodes.extend(nodes)
    tfx.orchestration.LocalDagRunner().run_with_ir(compiled)
    return read_last_run(metadata_path)


def examples_of(record: RunRecord, split: str) -> list[bytes]:
    files = find_records(f"{record.uris['SceneExampleGen', 'examples']}/Split-{split}")
    return [r.numpy() for r in tf.data.TFRecordDataset(files, compression_type="GZIP")]


class Stopped(NamedTuple):
    error: str
    record: RunRecord

    def images(self, split: str) -> list[str]:
        return [decode_scene(e).images[0].id for e in examples_of(self.record, split)]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Stopped:
    """A run with a schema that demands more regions than the images have."""
    folder = tmp_path_factory.mktemp("stopped")
    strict = folder / "scene.pbtxt"
    before, after = pathlib.Path(SCHEMA_FILE).read_text().split('name: "regions/count"')
    strict.write_text(f'{before}name: "regions/count"{after.replace("min: 0", "min: 4", 1)}')
    with pytest.raises(GateError) as caught:
        run_up_to(make_config(folder), folder / "root", "Trainer", schema_file=str(strict))
    return Stopped(str(caught.value), read_last_run(folder / "root" / METADATA_FILE))


@pytest.mark.e2e
def test_files_become_the_examples_of_their_splits(stopped):
    train, validation = stopped.images("train"), stopped.images("validation")
    assert sorted(train + validation) == sorted(f"train{n}" for n in range(20))
    # In the flat layout, every question is a record.
    assert sorted(stopped.images("test")) == sorted(2 * [f"minival{n}" for n in range(20)])
    assert stopped.record.states["ExampleValidator"] == "COMPLETE"


@pytest.mark.e2e
def test_anomaly_stops_the_run_before_training_with_feature_split_and_rule(stopped):
    assert stopped.error.startswith(
        "the data is not fit for training: regions/count of the split test: Out-of-range values: "
    )
    assert "\n" not in stopped.error
    states = stopped.record.states
    assert states[GATE] == "FAILED" and "Trainer" not in states


def test_missing_file_is_an_error_before_anything_runs(config, tmp_path):
    (tmp_path / "minival.tsv").unlink()
    with pytest.raises(InputError, match=r"minival\.tsv"):
        create_pipeline(config, str(tmp_path), str(tmp_path / METADATA_FILE), "pushed")


@pytest.mark.slow
@pytest.mark.e2e
def test_processes_ingest_the_same_examples(config, tmp_path, monkeypatch):
    alone = run_up_to(config, tmp_path / "alone", "SceneExampleGen")
    runners = []
    monkeypatch.setattr(
        scene_example_gen, "process_runner", lambda: runners.append(process_runner()) or runners[0]
    )
    processes = run_up_to(config, tmp_path / "two", "SceneExampleGen", workers=2)
    assert runners
    for split in config.pipeline.splits:
        examples = examples_of(processes, split)
        assert len(examples) > 2
        assert sorted(examples) == sorted(examples_of(alone, split))


@pytest.mark.slow
@pytest.mark.e2e
def test_data_is_ingested_again_only_when_a_file_changed(config, tmp_path):
    run_up_to(config, tmp_path / "root", "SceneExampleGen")
    again = run_up_to(config, tmp_path / "root", "SceneExampleGen")
    assert again.states["SceneExampleGen"] == "CACHED"
    later = time.time() + 5
    os.utime(tmp_path / "minival.json", (later, later))
    changed = run_up_to(config, tmp_path / "root", "SceneExampleGen")
    assert changed.states["SceneExampleGen"] == "COMPLETE"


@pytest.mark.e2e
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_a_reader_ends_the_run_in_its_own_words(config, tmp_path, workers):
    questions = tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json"
    questions.write_text('{"questions": []}')
    alone = (SentenceFiles((str(questions),), "vqa_official"),)
    parts = {**config.pipeline.parts}
    parts["minival"] = dataclasses.replace(parts["minival"], sentences=alone)
    broken = dataclasses.replace(config.pipeline, parts=parts)
    with pytest.raises(InputError) as caught:
        run_up_to(
            dataclasses.replace(config, pipeline=broken),
            tmp_path / "root",
            "SceneExampleGen",
            workers=workers,
        )
    annotations = tmp_path / "v2_mscoco_val2014_annotations.json"
    assert str(caught.value) == f"{questions}: annotations not found: {annotations}"


@pytest.mark.slow
@pytest.mark.e2e
def test_too_many_rejects_stop_the_run(config, tmp_path):
    write_questions(tmp_path / "minival.json", [f"minival{n}" for n in range(21)])
    with pytest.raises(GateError) as caught:
        run_up_to(config, tmp_path / "root", "SceneExampleGen")
    assert str(caught.value) == (
        "split 'minival': sentences rejected: 2 of 42, more than the limit of 1.00% "
        "(max_reject_fraction); the most common reason (2 of 2): its image is missing"
    )
    allowed = dataclasses.replace(config.pipeline, max_reject_fraction=0.1)
    run_up_to(dataclasses.replace(config, pipeline=allowed), tmp_path / "root", "SceneExampleGen")


@pytest.mark.slow
@pytest.mark.e2e
def test_skew_and_drift_stop_the_run_and_only_data_that_passed_is_compared_with(config, tmp_path):
    root, train, test = tmp_path / "root", tmp_path / "train.json", tmp_path / "minival.json"
    assert run_up_to(config, root, GATE).states[GATE] == "COMPLETE"
    test.write_text(test.read_text().replace('"what is"', '"how many"'))
    with pytest.raises(GateError, match="sentences/question_type of train compared with test: "):
        run_up_to(config, root, GATE)
    train.write_text(train.read_text().replace('"what is"', '"how many"'))
    # Twice, because data that failed must not become what the next run is compared with.
    for _ in range(2):
        with pytest.raises(GateError, match="question_type of test since the last run: "):
            run_up_to(config, root, GATE)
