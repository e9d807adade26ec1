"""The Trainers' `run_fn` with artifacts on remote filesystems.

Records come from the `memory://` of fsspec, all else goes through the `ram://` of TensorFlow. Of
the real filesystems, both know gs://.
"""

import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (the SavedModel has its ops)
import yaml
from tfx import v1 as tfx

from lxmert_tf import storage
from lxmert_tf.data.batches import find_records
from pipeline.trainer_modules import answering, pretraining
from pipeline.trainer_modules.artifacts import read_folder, written_folder
from tests.lxmert_tf.samples import easy_vqa_scenes, write_records
from tests.pipeline.tiny_pipeline import MODEL, PRETRAINING, TASK

ROOT = "ram://bucket"
RECORDS = "memory://bucket/examples/Split-train"


def test_remote_folder_is_written_whole_and_read_back():
    for text in ("first", "second"):
        with written_folder(f"{ROOT}/whole") as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / text).write_text(text)
            assert not tf.io.gfile.exists(f"{ROOT}/whole/inner/{text}")
    assert tf.io.gfile.listdir(f"{ROOT}/whole/inner") == ["second"]
    with read_folder(f"{ROOT}/whole") as folder:
        assert (folder / "inner" / "second").read_text() == "second"


def test_remote_folder_gets_nothing_after_an_error():
    with pytest.raises(KeyError), written_folder(f"{ROOT}/none") as folder:
        (folder / "half").touch()
        raise KeyError
    assert not tf.io.gfile.exists(f"{ROOT}/none")


def test_local_folder_is_itself(tmp_path):
    for context in (written_folder, read_folder):
        with context(str(tmp_path)) as folder:
            assert folder == tmp_path


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> str:
    """A pattern in TFX's form."""
    path = tmp_path_factory.mktemp("records") / "data_tfrecord-00000"
    write_records(path, easy_vqa_scenes(4))
    storage.upload(path, f"{RECORDS}/{path.name}")
    return f"{RECORDS}/*"


def test_remote_records_are_found_by_pattern_and_by_folder(records):
    expected = [records.replace("*", "data_tfrecord-00000")]
    assert find_records(records) == find_records(records.removesuffix("/*")) == expected


@pytest.mark.slow
def test_trainers_write_remotely_and_the_second_starts_from_the_first(records):
    def train(module, task, name, **options):
        module.run_fn(
            tfx.components.FnArgs(
                train_files=[records],
                eval_files=[records],
                serving_model_dir=f"{ROOT}/{name}/Format-Serving",
                model_run_dir=f"{ROOT}/logs/{name}",
                custom_config={
                    "model": yaml.safe_load(MODEL),
                    "task": yaml.safe_load(task),
                    "extractor": {"name": "grid"},
                },
                **options,
            )
        )

    train(pretraining, PRETRAINING, "pretrained")
    train(answering, TASK, "tuned", base_model=f"{ROOT}/pretrained/Format-Serving")
    for name in ("training.json", "preset/config.json", "Format-Serving/saved_model.pb"):
        assert tf.io.gfile.exists(f"{ROOT}/tuned/{name}")
    assert tf.io.gfile.glob(f"{ROOT}/logs/tuned/tensorboard/*tfevents*")
    served = tf.saved_model.load(f"{ROOT}/tuned/Format-Serving").signatures["encode_image"]
    assert served.structured_outputs["image_state"].shape[-1] == 32
