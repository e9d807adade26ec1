"""Commands on models of the Hugging Face Hub, against a local server, each in a fresh process."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lxmert_tf import (
    Detector,
    LxmertAnswerClassifier,
    LxmertBackbone,
    Predictor,
    export_weights,
    make_extractor,
    read_image,
)
from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.torch_writing import write_torch_file
from lxmert_tf.json_file import read_json
from lxmert_tf.models.presets import load_preset
from lxmert_tf.serving.session import SavedModelSession
from tests.hub_server import commit_of, running_hub
from tests.lxmert_tf.detector import golden_detector
from tests.lxmert_tf.regions.made_up_detector import write_saved_model
from tests.serving.tiny import SIZES

# A detector's files, and their names in Hugging Face's directory of one.
DETECTOR_FILES = {
    "config.json": "config.json",
    "weights.safetensors": "model.safetensors",
    "objects.txt": "objects_vocab.txt",
}
QUESTION = "what shape is in the image?"
# As functions in a SavedModel are called.
FEATURE_MAP = "StatefulPartitionedCall/block/Relu"


@pytest.fixture
def hub(tiny, tmp_path):
    """A Hub with a model that has a vocabulary and answers without names."""
    model = LxmertAnswerClassifier.from_preset(tiny.preset)
    unnamed = LxmertAnswerClassifier(model.config, vocabulary=model.vocabulary)
    unnamed.set_weights(model.get_weights())
    export_weights(unnamed, "huggingface", tmp_path / "vqa")
    with running_hub() as server:
        server.repositories["lab/vqa"] = {"main": tmp_path / "vqa"}
        yield server


@pytest.fixture
def run(hub, tmp_path):
    """A function that runs Python in a process that asks the server."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env={**os.environ, **hub.environment(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.mark.slow
def test_a_model_is_exported_with_names_or_numbers_as_answers(run, tiny, tmp_path):
    command = ["-m", "lxmert_tf.cli", "export", "--preset", "hf://lab/vqa", "--output"]
    done = run(*command, tmp_path / "1")
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "answers" in line]
    assert line.startswith("hf://lab/vqa: the answers have no names and are numbered")
    answers = load_preset(tiny.preset).answers
    (tmp_path / "label2ans.json").write_text(json.dumps(answers))
    named = run(*command, tmp_path / "2", "--answers", tmp_path / "label2ans.json")
    assert named.returncode == 0 and "numbered" not in named.stderr
    inputs = {
        "question": [QUESTION],
        "region_features": np.ones([1, 2, 64]),
        "region_boxes": np.ones([1, 2, 4]),
        "region_count": [2],
    }
    expected = SavedModelSession(tiny.saved_model).run("serving_default", inputs)
    for version in (1, 2):
        found = SavedModelSession(tmp_path / str(version)).run("serving_default", inputs)
        np.testing.assert_allclose(found["scores"], expected["scores"], rtol=0, atol=1e-5)
    numbers = SavedModelSession(tmp_path / "1").run("serving_default", inputs)["answers"][0]
    assert [answers[int(text.split()[1])].encode() for text in numbers] == [*expected["answers"][0]]
    assert found["answers"].tolist() == expected["answers"].tolist()


@pytest.mark.slow
def test_a_question_about_a_picture_is_answered(run, hub, tiny, detector, picture, tmp_path):
    folder = tmp_path / "frcnn"
    folder.mkdir()
    for name, copy in DETECTOR_FILES.items():
        shutil.copy(detector / name, folder / copy)
    hub.repositories["lab/frcnn"] = {"main": folder}
    answers = LxmertAnswerClassifier.from_preset(tiny.preset).answers
    (tmp_path / "label2ans.json").write_text(json.dumps(answers))
    done = run(
        *("-m", "lxmert_tf.cli", "ask", "--model", "hf://lab/vqa", "--image", picture, QUESTION),
        *("--detector", "hf://lab/frcnn", "--answers", tmp_path / "label2ans.json"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    extractor = make_extractor({"name": "detector", "preset": str(detector)})
    predictor = Predictor.from_directory(tiny.preset, extractor)
    [expected] = predictor.answer(read_image(picture), [QUESTION])
    lines = [f"  {score:6.1%}  {answer}" for answer, score in expected[:3]]
    assert done.stdout.splitlines() == [QUESTION, *lines]


@pytest.mark.slow
def test_a_model_is_imported(run, hub, tmp_path):
    done = run(
        *("-m", "lxmert_tf.cli", "import-weights", "--source", "huggingface"),
        *("--checkpoint", "hf://lab/vqa@main", "--output", tmp_path / "preset"),
    )
    assert done.returncode == 0, done.stderr
    assert "missing:     0\n" in done.stdout
    imported, original = load_preset(tmp_path / "preset"), load_preset(tmp_path / "vqa")
    assert imported.vocabulary == original.vocabulary
    for ours, theirs in zip(imported.weights, original.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_vocabulary_that_a_repository_leaves_out_is_the_published_one(run, hub, tmp_path):
    published, bare = tmp_path / "published", tmp_path / "bare"
    published.mkdir()
    (published / "vocab.txt").write_text("".join(f"piece {i}\n" for i in range(30522)))
    hub.repositories["unc-nlp/lxmert-base-uncased"] = {"main": published}
    sizes = dataclasses.replace(SIZES, vocab_size=30522, hidden_size=2)
    export_weights(LxmertBackbone(sizes), "huggingface", bare)
    hub.repositories["lab/bare"] = {"main": bare}
    script = "from lxmert_tf import load_preset; print(load_preset('hf://lab/bare').vocabulary[9])"
    done = run("-c", script)
    assert (done.returncode, done.stdout) == (0, "piece 9\n")
    assert "hf://lab/bare: no vocabulary is stored; using that of" in done.stderr
    assert load_preset(bare).vocabulary is None


@pytest.mark.slow
def test_the_published_detector_loads_from_the_hub(run, hub, tmp_path):
    folder = tmp_path / "frcnn"
    folder.mkdir()
    content = read_json(golden_detector.folder() / "published_tensors.json")
    random = np.random.default_rng(0)
    tensors = {
        name: StoredTensor(tuple(shape), lambda shape=shape: random.random(shape, np.float32))
        for name, shape, *_ in content["tensors"]
    }
    write_torch_file(folder / "pytorch_model.bin", tensors, {})
    config = read_json(golden_detector.folder() / "hf/config.json")["published_config"]
    # JSON is YAML.
    (folder / "config.yaml").write_text(json.dumps(config))
    (folder / "objects_vocab.txt").write_text("\n".join(f"object {i}" for i in range(1600)))
    hub.repositories["unc-nlp/frcnn-vg-finetuned"] = {"main": folder}
    script = """
from lxmert_tf import Detector
detector = Detector.from_preset("hf://unc-nlp/frcnn-vg-finetuned")
print(detector.count_params(), detector.object_names[1599], detector.config.max_regions)
"""
    done = run("-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(Detector().count_params()), "object", "1599", "36"]


@pytest.mark.slow
def test_a_model_of_the_object_detection_api_is_an_extractor(run, hub, picture, tmp_path):
    write_saved_model(tmp_path / "ssd")
    hub.repositories["lab/ssd"] = {"main": tmp_path / "ssd"}
    extractor = tmp_path / "extractor.json"
    outputs = {}
    for name in (str(tmp_path / "ssd"), "hf://lab/ssd"):
        config = {"name": "tf_detection", "model": name, "feature_map": FEATURE_MAP}
        extractor.write_text(json.dumps(config))
        output = tmp_path / f"{len(outputs)}.tsv"
        done = run(
            *("-m", "lxmert_tf.cli", "extract", "--images", picture),
            *("--extractor", extractor, "--output", output),
        )
        assert (done.returncode, done.stderr) == (0, "")
        outputs[output] = output.read_bytes()
    assert len(outputs) == 2 and len(set(outputs.values())) == 1
    # Stored with its commit.
    script = f"from lxmert_tf import make_extractor; print(make_extractor({config}).get_config())"
    assert f"hf://lab/ssd@{commit_of('main')}" in run("-c", script).stdout
    assert hub.downloads().count("saved_model.pb") == 1
