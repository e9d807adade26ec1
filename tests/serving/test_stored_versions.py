"""Versions of a model at a URL, with the memory of fsspec in place of a cloud.

Only what is found, downloaded, and dropped is tested, so a model is the text of its file.
"""

import pytest

from lxmert_tf import storage
from lxmert_tf.errors import InputError
from lxmert_tf.serving.layout import find_model
from lxmert_tf.serving.server import model_versions
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.stored_folder import upload_directory

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def url(request, tmp_path, monkeypatch):
    monkeypatch.setenv("LXMERT_CACHE", str(tmp_path / "cache"))
    folder = f"memory://{request.node.originalname}"
    yield folder
    storage.remove(folder)


@pytest.fixture
def export(url, tmp_path):
    def write(number, text):
        folder = tmp_path / f"{number}-{text}"
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_text(text)
        (folder / "variables" / "variables.index").write_text(text)
        upload_directory(folder, f"{url}/{number}", last="saved_model.pb")

    return write


@pytest.fixture
def serve(url, monkeypatch):
    monkeypatch.setattr(
        model_versions, "_load_model", lambda path: (path / "saved_model.pb").read_text()
    )

    def serve(log=lambda line: None, **labels):
        return ModelVersions(url, labels, log)

    return serve


def test_the_highest_version_and_labels_are_served_and_new_ones_found(serve, export):
    for number in (1, 2, 3):
        export(number, f"model {number}")
    versions = serve(old=1)
    assert versions.numbers() == [3, 1] and versions.get() == (3, "model 3")
    export(10, "model 10")
    versions.refresh()
    # Its files must stay the same between two looks.
    versions.refresh()
    assert versions.get() == (10, "model 10") and versions.get(label="old") == (1, "model 1")


def test_an_unfinished_version_is_not_served(serve, export, url, tmp_path):
    export(1, "model")
    export(2, "half")
    storage.upload(tmp_path / "2-half" / "saved_model.pb", f"{url}/2/.unfinished")
    versions = serve()
    assert versions.numbers() == [1]
    storage.remove(f"{url}/2/.unfinished")
    versions.refresh()
    versions.refresh()
    assert versions.numbers() == [2]


def test_the_models_in_memory_answer_while_the_bucket_does_not(serve, export, monkeypatch):
    export(1, "model")
    versions = serve()

    def fail(path):
        raise InputError(f"{path}: the link is down")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "find_files", fail)
        versions.refresh()
        with pytest.raises(InputError, match="the link is down"):
            serve()
    assert versions.get() == (1, "model")


def test_a_version_that_cannot_be_downloaded_is_tried_again(serve, export, monkeypatch):
    export(1, "model")
    lines = []
    versions = serve(lines.append)
    export(2, "new model")

    def fail(path, target):
        raise InputError(f"{path}: the link is down")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "download", fail)
        for _ in range(4):
            versions.refresh()
    assert versions.get() == (1, "model")
    [line] = [line for line in lines if "the link is down" in line]
    versions.refresh()
    assert versions.get() == (2, "new model")


def test_at_the_start_a_model_that_cannot_be_downloaded_is_refused(serve, export, monkeypatch):
    export(1, "model")

    def fail(path, target):
        raise InputError(f"{path}: the link is down")

    monkeypatch.setattr(storage, "download", fail)
    with pytest.raises(InputError, match="the link is down"):
        serve()


def test_a_version_for_an_engine_that_is_not_installed_leaves_the_others(
    serve, export, monkeypatch
):
    export(1, "model")
    lines = []
    versions = serve(lines.append)
    load = model_versions._load_model

    def load_if_installed(path):
        if "other" in (path / "saved_model.pb").read_text():
            raise ModuleNotFoundError("No module named 'engine'", name="engine")
        return load(path)

    monkeypatch.setattr(model_versions, "_load_model", load_if_installed)
    for number, text in ((2, "other engine"), (3, "new model")):
        export(number, text)
        versions.refresh()
        versions.refresh()
    assert versions.get() == (3, "new model")
    [line] = [line for line in lines if "engine" in line]
    assert line.endswith("/2: needs the package 'engine', which is not installed")


def test_a_url_stands_for_its_highest_version(export, url):
    export(9, "nine")
    export(10, "ten")
    assert (find_model(url) / "variables" / "variables.index").read_text() == "ten"
    assert (find_model(f"{url}/9") / "saved_model.pb").read_text() == "nine"
    with pytest.raises(InputError, match="not found"):
        find_model(f"{url}/none")
