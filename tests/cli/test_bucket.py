"""From region features in a bucket to a served model, against moto's S3 server over HTTP."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from lxmert_tf import storage
from pipeline.extract.formats import FORMATS, Totals
from tests.lxmert_tf.samples import easy_vqa_scenes

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

SECRET = "hush/hush+hush0123456789"
QUESTION = "what color is the shape?"
SIZES = """
hidden_size: 16
num_attention_heads: 2
intermediate_size: 24
language_layers: 1
cross_layers: 1
relationship_layers: 1
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen) -> bytes:
    # Long, because other processes may leave little of the processor.
    for _ in range(600):
        assert process.poll() is None, process.stdout and process.stdout.read()
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.read()
        except OSError:
            time.sleep(1)
    raise AssertionError(f"{url} does not answer")


@pytest.fixture(scope="module")
def bucket():
    """Set the environment of a user of an empty bucket; return its URL."""
    for package in ("s3fs", "boto3", "moto", "flask"):
        reason = f"needs the packages s3fs, apache-beam[aws], and moto[server]: no {package}"
        pytest.importorskip(package, reason=reason)
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            wait_for(f"http://127.0.0.1:{port}/moto-api/", server)
            import s3fs

            s3fs.S3FileSystem().mkdir("data")
            yield "s3://data"
        finally:
            server.kill()
            server.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bucket")


@pytest.fixture
def lxmert(bucket, folder, monkeypatch):
    monkeypatch.setenv("LXMERT_CACHE", str(folder / "cache"))
    return run_lxmert


@pytest.fixture(scope="module")
def records(bucket, folder):
    """Ingest region features of the bucket into the bucket; return the URL of the records."""
    scenes = easy_vqa_scenes(24)
    images = [scene.images[0] for scene in scenes]
    for number in range(2):
        path = folder / f"{number}.tsv"
        totals = Totals(len(images), *images[0].regions.features.shape)
        FORMATS["lxmert_tsv"].write(path, images[number::2], totals)
        storage.upload(path, f"{bucket}/features/{number}.tsv")
    (folder / "questions.json").write_text(json.dumps(list(questions_of(scenes))))
    storage.upload(folder / "questions.json", f"{bucket}/questions.json")
    url = f"{bucket}/records"
    done = run_lxmert(
        *("ingest", "--regions", f"{bucket}/features/*.tsv", "--output", url, "--shards", "2"),
        *("--sentences", f"{bucket}/questions.json", "--sentences-format", "vqa_release"),
    )
    assert f"written to {url}" in done.stdout
    names = storage.list_directory(url)
    assert names == ["ingest-summary.json", *(f"scenes-0000{n}-of-00002.tfrecord" for n in (0, 1))]
    # Region files do not tell their extractor.
    (folder / "extractor").write_text(json.dumps({"name": "grid"}))
    storage.upload(folder / "extractor", f"{url}/extractor.json")
    (folder / "model.yaml").write_text(SIZES)
    return url


def questions_of(scenes):
    for scene in scenes:
        for sentence in scene.sentences:
            yield {
                "question_id": sentence.id,
                "img_id": scene.images[0].id,
                "sent": sentence.text,
                "question_type": "",
                "answer_type": sentence.answer_type,
                "label": dict(sentence.answers),
            }


def run_lxmert(*arguments, status=0) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", "lxmert_tf.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done


def training(command, config, records, output, *more) -> list[str]:
    options = ("--config", config, "--train", records, "--output", output)
    return [*map(str, (command, *options, "--set", "batch_size=16", *more))]


def kill_after_a_checkpoint(arguments, output) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lxmert_tf.cli", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not any(name.endswith(".index") for name in storage.find_files(output)):
        assert process.poll() is None
        time.sleep(0.2)
    process.kill()
    process.wait()
    assert "preset/preset.json" not in storage.find_files(output)


def test_a_model_is_trained_resumed_asked_exported_and_served_from_a_bucket(
    lxmert, bucket, records, folder, monkeypatch
):
    pretrained = f"{bucket}/pretrained"
    pretraining = training(
        *("pretrain", "configs/pretraining/easy_vqa.yaml", records, pretrained),
        *("--model-config", folder / "model.yaml", "--set", "stages.0.epochs=8"),
    )
    kill_after_a_checkpoint(pretraining, pretrained)
    again = lxmert(*pretraining, status=2)
    assert again.stderr.count("\n") == 1 and f"{pretrained}: holds a run already" in again.stderr
    # Another machine, which has none of the files.
    monkeypatch.setenv("LXMERT_CACHE", str(folder / "cache-of-another"))
    resumed = lxmert(*pretraining, "--resume")
    assert "resuming at step" in resumed.stderr and "waiting 35 s" in resumed.stderr
    names = storage.find_files(pretrained)
    assert {"run.json", "dataset.json", "log.jsonl", "preset/preset.json"} <= names.keys()
    assert any(re.fullmatch(r"checkpoints/step-\d+\.index", name) for name in names)
    hidden = [name for name in names if storage.basename(name).startswith(".")]
    assert not hidden and not list((folder / "cache-of-another" / "runs").glob("*/*"))

    tuned = f"{bucket}/tuned"
    more = ("--init-from", f"{pretrained}/preset", "--set", "epochs=1")
    lxmert(*training("finetune", "configs/task/easy_vqa.yaml", records, tuned, *more))
    image = folder / "shape.png"
    shutil.copy(next(iter(sorted(easy_vqa_images()))), image)
    answered = lxmert("ask", "--model", f"{tuned}/preset", "--image", image, QUESTION)
    assert answered.stdout.startswith(QUESTION) and "%" in answered.stdout
    evaluated = lxmert("evaluate", "--model", f"{tuned}/preset", "--examples", records)
    assert "all" in evaluated.stdout

    served = f"{bucket}/served/shapes"
    lxmert("export", "--preset", f"{tuned}/preset", "--output", f"{served}/1")
    assert lxmert("ask", "--model", served, "--image", image, QUESTION).stdout == answered.stdout
    refused = lxmert("export", "--preset", f"{tuned}/preset", "--output", f"{served}/1", status=2)
    assert f"{served}/1: already exists" in refused.stderr

    port = free_port()
    command = [
        sys.executable,
        "-m",
        "lxmert_tf.cli",
        "serve",
        "--model",
        served,
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    status = f"http://127.0.0.1:{port}/v1/models/shapes"
    try:
        assert versions(wait_for(status, process)) == ["1"]
        lxmert("export", "--preset", f"{tuned}/preset", "--output", f"{served}/2")
        for _ in range(600):
            if versions(wait_for(status, process)) == ["2"]:
                break
            time.sleep(1)
        assert versions(wait_for(status, process)) == ["2"]
    finally:
        process.terminate()
        process.communicate(timeout=60)

    no_secret_is_kept(bucket, folder)


def easy_vqa_images():
    import easy_vqa

    return easy_vqa.get_test_image_paths().values()


def versions(answer: bytes) -> list[str]:
    found = json.loads(answer)["model_version_status"]
    return [entry["version"] for entry in found if entry["state"] == "AVAILABLE"]


def no_secret_is_kept(bucket, folder):
    for name in storage.find_files(bucket):
        assert SECRET.encode() not in storage.read_bytes(f"{bucket}/{name}"), name
    for path in folder.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train", "s3://data/none*"], "no files match s3://data/none*"),
        (["--train", "s3://nobucket/x"], "no files match s3://nobucket/x"),
        (["--train", f"s3://AKIA:{SECRET}@data/x"], "s3://***@data/x: a URL must not hold"),
        (["--set", f"init_from=s3://AKIA:{SECRET}@data/x"], "s3://***@data/x: a URL must not"),
        (["--train", "records", "--typo", f"s3://AKIA:{SECRET}@data/x"], "s3://***@data/x: a URL"),
    ],
)
def test_a_mistake_is_one_line_without_a_secret(lxmert, records, folder, arguments, message):
    config = ("--config", "configs/task/easy_vqa.yaml", "--output", folder / "unused")
    records = [] if "--train" in arguments else ["--train", records]
    done = lxmert("finetune", *config, *records, *arguments, status=2)
    assert done.stderr.count("\n") == 1 and message in done.stderr
    assert SECRET[:4] not in done.stderr and not os.path.exists(folder / "unused")
