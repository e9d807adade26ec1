"""The graph's components over files: what is ingested, when it is ingested anew, what stops it."""

import dataclasses
import os
import time

import pytest
import tensorflow as tf
from tfx import v1 as tfx
from tfx.dsl.compiler.compiler import Compiler

from lxmert_tf.data.batches import find_records
from lxmert_tf.data.schema import decode_scene
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.training.config import FinetuningConfig
from pipeline import pipeline as graph
from pipeline.config import LoadedPipeline, PipelineConfig
from pipeline.ingest.config import PartConfig, RegionFiles, SentenceFiles, SplitConfig
from pipeline.run_record import read_last_run
from tests.pipeline.test_ingest_files import write_questions, write_regions

pytestmark = pytest.mark.e2e

PARTS = ("train", "minival")
GATE = "AnomalyGate"


@pytest.fixture
def config(tmp_path) -> LoadedPipeline:
    """Two parts of twenty images, two questions each."""
    parts = {}
    for name in PARTS:
        ids = [f"{name}{n}" for n in range(20)]
        regions = write_regions(tmp_path / f"{name}.tsv", ids)
        questions = write_questions(tmp_path / f"{name}.json", ids)
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


def with_upstream(component) -> set[str]:
    return {component.id}.union(*map(with_upstream, component.upstream_nodes))


def run_up_to(config: LoadedPipeline, root, component="ExampleValidator"):
    metadata = str(root / "metadata.sqlite")
    root.mkdir(exist_ok=True)
    whole = graph.create_pipeline(config, str(root), metadata, str(root / "pushed"))
    wanted = with_upstream(next(one for one in whole.components if one.id == component))
    # Of the compiled graph: a partial run needs a whole one before it.
    compiled = Compiler().compile(whole)
    nodes = [node for node in compiled.nodes if node.pipeline_node.node_info.id in wanted]
    del compiled.nodes[:]
    compiled.nodes.extend(nodes)
    tfx.orchestration.LocalDagRunner().run_with_ir(compiled)
    return read_last_run(metadata)


def images_of(record, split):
    files = find_records(f"{record.uris['SceneExampleGen', 'examples']}/Split-{split}")
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return [decode_scene(r.numpy()).images[0].id for r in records]


def test_files_become_the_examples_of_their_splits(config, tmp_path):
    record = run_up_to(config, tmp_path / "root")
    train, validation = images_of(record, "train"), images_of(record, "validation")
    assert sorted(train + validation) == sorted(f"train{n}" for n in range(20))
    # A question is a record there.
    assert sorted(images_of(record, "test")) == sorted(2 * [f"minival{n}" for n in range(20)])
    assert record.states["ExampleValidator"] == "COMPLETE"


@pytest.mark.slow
def test_data_is_ingested_anew_only_when_a_file_changed(config, tmp_path):
    run_up_to(config, tmp_path / "root", "SceneExampleGen")
    again = run_up_to(config, tmp_path / "root", "SceneExampleGen")
    assert again.states["SceneExampleGen"] == "CACHED"
    later = time.time() + 5
    os.utime(tmp_path / "minival.json", (later, later))
    changed = run_up_to(config, tmp_path / "root", "SceneExampleGen")
    assert changed.states["SceneExampleGen"] == "COMPLETE"


def test_missing_file_is_told_before_anything_runs(config, tmp_path):
    (tmp_path / "minival.tsv").unlink()
    with pytest.raises(InputError, match=r"minival\.tsv: no file is named so"):
        run_up_to(config, tmp_path / "root")


@pytest.mark.slow
def test_too_many_rejects_stop_the_run(config, tmp_path):
    write_questions(tmp_path / "minival.json", [f"minival{n}" for n in range(21)])
    with pytest.raises(GateError) as caught:
        run_up_to(config, tmp_path / "root", "SceneExampleGen")
    assert str(caught.value) == (
        "2 of 42 sentences of the split minival were rejected, more than the 1.00% of "
        "max_reject_fraction; the commonest reason (2 times): its image is missing"
    )
    allowed = dataclasses.replace(config.pipeline, max_reject_fraction=0.1)
    run_up_to(dataclasses.replace(config, pipeline=allowed), tmp_path / "root", "SceneExampleGen")


def test_anomaly_stops_the_run_before_training_with_feature_split_and_rule(
    config, tmp_path, monkeypatch
):
    strict = tmp_path / "scene.pbtxt"
    text = graph.SCHEMA_FILE.read_text()
    before, after = text.split('name: "regions/count"')
    strict.write_text(f'{before}name: "regions/count"{after.replace("min: 0", "min: 4", 1)}')
    monkeypatch.setattr(graph, "SCHEMA_FILE", strict)
    with pytest.raises(GateError) as caught:
        run_up_to(config, tmp_path / "root", "Trainer")
    message = str(caught.value)
    assert message.startswith(
        "the data was not trained on: regions/count of the split test: Out-of-range values: "
    )
    assert "\n" not in message
    states = read_last_run(str(tmp_path / "root" / "metadata.sqlite")).states
    assert states[GATE] == "FAILED" and "Trainer" not in states


@pytest.mark.slow
def test_skew_and_drift_stop_the_run_and_only_data_that_passed_is_compared_with(config, tmp_path):
    root, train, test = tmp_path / "root", tmp_path / "train.json", tmp_path / "minival.json"
    assert run_up_to(config, root, GATE).states[GATE] == "COMPLETE"
    was = test.read_text()
    test.write_text(was.replace('"what is"', '"how many"'))
    with pytest.raises(GateError, match="sentences/question_type of train beside test: "):
        run_up_to(config, root, GATE)
    train.write_text(train.read_text().replace('"what is"', '"how many"'))
    # Again and again: what was refused is not what the next run is compared with.
    for _ in range(2):
        with pytest.raises(GateError, match="question_type of test since the last run: "):
            run_up_to(config, root, GATE)
