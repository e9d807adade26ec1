"""Names of the Hugging Face Hub, against a local server: what is downloaded, and every failure."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.hub import is_hub_name, local_directory, repository_name
from tests.hub_server import commit_of, running_hub
from tests.lxmert_tf.detector.samples import write_detector

# huggingface_hub reads its settings when it is imported, so each test is a process.
SCRIPT = """
import sys
from lxmert_tf.cli.main import report_errors
from lxmert_tf.hub import local_directory
sys.exit(report_errors("lxmert", lambda: print(local_directory(*sys.argv[1:]))))
"""
MODEL = {
    "config.json": json.dumps({"model_type": "lxmert"}),
    "vocab.txt": "[PAD]\n",
    "pytorch_model.bin": "torch" * 100,
    "tf_model.h5": "tensorflow" * 100,
    "README.md": "about",
    "training/optimizer.bin": "large",
}


def write_files(folder: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def hub(tmp_path):
    with running_hub() as server:
        server.repositories["lab/model"] = {"main": write_files(tmp_path / "model", MODEL)}
        yield server


@pytest.fixture
def resolve(hub, tmp_path):
    """A function that resolves a name in a process: exit status, directory, and messages."""

    def run(*arguments, **variables):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments],
            env={**os.environ, **hub.environment(tmp_path / "cache"), **variables},
            capture_output=True,
            text=True,
            timeout=100,
        )
        return done.returncode, pathlib.Path(done.stdout.strip()), done.stderr

    return run


def assert_refused(outcome, *parts):
    status, _, messages = outcome
    # huggingface_hub warns of its own in other lines.
    [line] = [line for line in messages.splitlines() if line.startswith("lxmert: ")]
    assert status == 2 and "Traceback" not in messages
    for part in parts:
        assert part in line


def test_paths_are_returned_unchanged(tmp_path):
    assert local_directory(tmp_path) == tmp_path
    assert local_directory("hf/model") == pathlib.Path("hf/model")
    assert is_hub_name("hf://lab/model") and not is_hub_name(tmp_path / "hf:")


def test_the_files_of_a_model_are_downloaded_once(hub, resolve):
    status, directory, messages = resolve("hf://lab/model")
    assert (status, messages) == (0, "")
    assert directory.name == commit_of("main")
    files = ["config.json", "pytorch_model.bin", "vocab.txt"]
    assert sorted(path.name for path in directory.iterdir()) == files
    assert sorted(hub.downloads()) == files
    for name in files:
        assert (directory / name).read_text() == MODEL[name]
    assert resolve("hf://lab/model") == (0, directory, "")
    assert len(hub.downloads()) == 3


@pytest.mark.parametrize(
    "files",
    [
        ["config.json", "preset.json", "weights.data-00000-of-00001", "weights.index"],
        ["config.json", "model-1-of-2.safetensors", "model-2-of-2.safetensors",
         "model.safetensors.index.json"],
        ["assets.extra/extractor.json", "saved_model.pb", "variables/variables.index"],
        ["attributes_vocab.txt", "config.yaml", "objects_vocab.txt", "pytorch_model.bin"],
    ],
    ids=lambda files: files[-1],
)  # fmt: skip
def test_models_of_every_kind_are_downloaded_and_nothing_else(hub, resolve, tmp_path, files):
    others = ["README.md", "tf_model.h5", "events.out", "other/pytorch_model.bin"]
    folder = write_files(tmp_path / "other", {file: "{}" for file in (*files, *others)})
    hub.repositories["lab/other"] = {"main": folder}
    kind = ["detector"] if "config.yaml" in files else []
    status, directory, _ = resolve("hf://lab/other", *kind)
    found = [path for path in directory.rglob("*") if path.is_file()]
    assert status == 0
    assert sorted(path.relative_to(directory).as_posix() for path in found) == files


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, resolve, tmp_path):
    older = write_files(tmp_path / "older", {**MODEL, "vocab.txt": "older\n"})
    hub.repositories["lab/model"]["refs/pr/1"] = older
    commit = commit_of("refs/pr/1")
    for revision in ("refs/pr/1", commit):
        status, directory, _ = resolve(f"hf://lab/model@{revision}")
        assert (status, directory.name) == (0, commit)
        assert (directory / "vocab.txt").read_text() == "older\n"
    outcome = resolve("hf://lab/model@v9")
    assert_refused(outcome, "hf://lab/model@v9: the repository has no revision 'v9'")


def test_the_cache_serves_without_a_network(hub, resolve, tmp_path):
    _, directory, _ = resolve("hf://lab/model")
    hub.requests.clear()
    assert resolve("hf://lab/model", HF_HUB_OFFLINE="1") == (0, directory, "")
    assert hub.requests == []
    status, cached, _ = resolve("hf://lab/model", HF_ENDPOINT="http://127.0.0.1:9")
    assert (status, cached) == (0, directory)


def test_without_network_and_cache_the_message_says_what_to_do(resolve, tmp_path):
    cache = f"in the cache {tmp_path / 'cache/hub'}"
    outcome = resolve("hf://lab/model", HF_HUB_OFFLINE="1")
    assert_refused(outcome, cache, "HF_HUB_OFFLINE is set; unset it and run once")
    outcome = resolve("hf://lab/model", HF_ENDPOINT="http://127.0.0.1:9")
    assert_refused(outcome, cache, "cannot reach http://127.0.0.1:9", "check the connection")


def test_repositories_that_cannot_be_read(hub, resolve):
    outcome = resolve("hf://lab/other")
    assert_refused(outcome, f"hf://lab/other: no such repository at {hub.endpoint}")
    hub.gated.add("lab/model")
    outcome = resolve("hf://lab/model")
    assert_refused(outcome, f"accept the terms at {hub.endpoint}/lab/model", "hf auth login")


@pytest.mark.parametrize(
    "name", ["hf://model", "hf://lab/model/part", "hf://lab/model@", "hf://", "HF://m"]
)
def test_malformed_names(name):
    with pytest.raises(InputError, match=f"^{name}: must be hf://ORGANIZATION/NAME"):
        local_directory(name)


@pytest.mark.parametrize(
    "name",
    [
        "hf://lab/my--model",
        "hf://../..",
        "hf://lab/modèle",
        "hf://lab/model.git",
        "hf://lab/" + "m" * 120,
    ],
)
def test_names_that_the_hub_does_not_allow(name):
    pytest.importorskip("huggingface_hub")
    with pytest.raises(InputError, match=f"^{name}: must be hf://ORGANIZATION/NAME") as raised:
        local_directory(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("files", "model_type", "message"),
    [
        (
            {"config.json": '{"model_type": "gpt2"}'},
            "lxmert",
            "model_type is 'gpt2'; expected 'lxmert'",
        ),
        (
            {"config.json": '{"model_type": "lxmert"}'},
            "detector",
            "a model of the type 'lxmert'; expected a detector",
        ),
        (
            {"config.json": "{}", "preset.json": '{"model": "Detector"}'},
            "lxmert",
            "a detector; expected a model of the type 'lxmert'",
        ),
        (
            {"config.json": "{}", "preset.json": '{"model": "LxmertBackbone"}'},
            "detector",
            "a model of the type 'lxmert'; expected a detector",
        ),
        ({"config.yaml": "{}"}, "lxmert", "a detector; expected a model of the type 'lxmert'"),
        ({"data.csv": "1,2"}, "lxmert", "not a model; it has none of config.json"),
    ],
)
def test_other_repositories_are_refused_before_their_weights_are_downloaded(
    hub, resolve, tmp_path, files, model_type, message
):
    weights = {"pytorch_model.bin": "large"}
    hub.repositories["lab/other"] = {"main": write_files(tmp_path / "other", {**files, **weights})}
    assert_refused(resolve("hf://lab/other", model_type), f"hf://lab/other: {message}")
    assert "pytorch_model.bin" not in hub.downloads()


@pytest.mark.parametrize("status", [401, 500])
def test_a_refused_request_is_not_called_a_lost_connection(hub, resolve, status):
    hub.status = status
    outcome = resolve("hf://lab/model")
    assert_refused(outcome, "hf://lab/model: the Hub refused the request: ", str(status))


def test_the_cache_serves_while_the_server_is_overloaded(hub, resolve):
    _, directory, _ = resolve("hf://lab/model")
    hub.status = 429
    assert resolve("hf://lab/model")[:2] == (0, directory)


def test_the_type_of_a_model_in_the_cache_is_checked_too(hub, resolve):
    assert resolve("hf://lab/model")[0] == 0
    outcome = resolve("hf://lab/model", "detector", HF_HUB_OFFLINE="1")
    assert_refused(outcome, "hf://lab/model: a model of the type 'lxmert'; expected a detector")


SHARDS = ("model-1-of-2.safetensors", "model-2-of-2.safetensors")


@pytest.mark.parametrize(
    ("files", "last"),
    [
        (
            {"model.safetensors.index.json": json.dumps({"weight_map": dict(enumerate(SHARDS))})}
            | dict.fromkeys(SHARDS, "large"),
            SHARDS[1],
        ),
        (
            {"preset.json": '{"model": "LxmertBackbone"}'}
            | dict.fromkeys(["weights.index", "weights.data-00000-of-00001"], "large"),
            "weights.data-00000-of-00001",
        ),
    ],
    ids=["shards", "preset"],
)
def test_a_part_of_the_weights_in_the_cache_is_not_a_model(hub, resolve, tmp_path, files, last):
    folder = write_files(tmp_path / "parts", {"config.json": "{}", **files})
    hub.repositories["lab/parts"] = {"main": folder}
    status, directory, _ = resolve("hf://lab/parts")
    assert status == 0
    assert resolve("hf://lab/parts", HF_HUB_OFFLINE="1")[0] == 0
    # As if the download had ended before it.
    (directory / last).unlink()
    outcome = resolve("hf://lab/parts", HF_HUB_OFFLINE="1")
    assert_refused(outcome, "not completely in the cache")


def test_a_branch_that_moves_during_a_download_gives_the_files_of_one_commit(hub, resolve):
    hub.repositories["lab/model"]["moved"] = hub.repositories["lab/model"]["main"]
    hub.moves.add("main")
    status, directory, _ = resolve("hf://lab/model")
    assert (status, directory.name) == (0, commit_of("main"))
    names = ["config.json", "pytorch_model.bin", "vocab.txt"]
    assert sorted(path.name for path in directory.iterdir()) == names


def test_a_pinned_name_keeps_its_files(hub, tmp_path):
    script = """
import sys
from lxmert_tf.hub import pinned_name, local_directory
name = pinned_name("hf://lab/model")
print(name, local_directory(name).name, pinned_name("build/model"))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **hub.environment(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    commit = commit_of("main")
    assert done.stdout.split() == [f"hf://lab/model@{commit}", commit, "build/model"], done.stderr


@pytest.mark.slow
def test_an_extractor_keeps_the_commit_of_its_detector(hub, tmp_path):
    write_detector(tmp_path / "detector")
    hub.repositories["lab/frcnn"] = {"main": tmp_path / "detector"}
    script = """
from lxmert_tf import make_extractor
extractor = make_extractor({"name": "detector", "preset": "hf://lab/frcnn"})
print(extractor.get_config()["preset"], make_extractor(extractor.get_config()).preset)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **hub.environment(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout.split() == [f"hf://lab/frcnn@{commit_of('main')}"] * 2, done.stderr


def test_a_repository_has_the_name_without_organization_and_revision():
    pytest.importorskip("huggingface_hub")
    assert repository_name("hf://lab/model@v1") == repository_name("hf://lab/model") == "model"
    assert repository_name("HF://lab/Model") == "Model"


def test_a_download_that_is_cut_goes_on_where_it_stopped(hub, resolve):
    hub.cut.add("pytorch_model.bin")
    status, directory, _ = resolve("hf://lab/model")
    assert status == 0
    assert (directory / "pytorch_model.bin").read_text() == MODEL["pytorch_model.bin"]
    assert hub.downloads().count("pytorch_model.bin") == 2


def test_a_broken_download_is_no_model(hub, resolve):
    hub.shortened.add("pytorch_model.bin")
    outcome = resolve("hf://lab/model")
    assert_refused(outcome, "the download of pytorch_model.bin failed; run it again", "of size 500")
    outcome = resolve("hf://lab/model", HF_HUB_OFFLINE="1")
    assert_refused(outcome, "not completely in the cache")
    hub.shortened.clear()
    assert resolve("hf://lab/model")[0] == 0
