"""A run at a URL, with the memory of fsspec in place of a cloud."""

import pytest

from lxmert_tf import storage, stored_folder
from lxmert_tf.errors import InputError
from lxmert_tf.training.run_mirror import RunMirror

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def url(request, tmp_path, monkeypatch):
    monkeypatch.setenv("LXMERT_CACHE", str(tmp_path / "cache"))
    folder = f"memory://{request.node.originalname}/run"
    yield folder
    storage.remove(storage.parent(folder))


def write(mirror, step):
    folder = mirror.folder / "checkpoints"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / f"step-{step}.data-00000-of-00001").write_text("data")
    (folder / f"step-{step}.index").write_text("index")
    (mirror.folder / "run.json").write_text("{}")
    (mirror.folder / "log.jsonl").write_text("line\n" * step)


def test_a_run_is_continued_from_its_url(url):
    first = RunMirror(url, resume=False)
    write(first, 1)
    first.push()
    write(first, 2)
    first.push()
    first.close()
    assert not first.folder.exists()
    names = ["checkpoints/step-2.data-00000-of-00001", "checkpoints/step-2.index"]
    assert list(storage.find_files(url)) == [*names, "log.jsonl", "run.json"]

    with pytest.raises(InputError, match=f"{url}: holds a run already"):
        RunMirror(url, resume=False)
    again = RunMirror(url, resume=True)
    assert [name for name in storage.find_files(again.folder) if "step" in name] == names
    write(again, 3)
    again.push()
    again.close()
    assert [name for name in storage.find_files(url) if name.endswith(".index")] == [
        "checkpoints/step-3.index"
    ]


def test_a_checkpoint_is_whole_at_every_moment(url, monkeypatch):
    mirror = RunMirror(url, resume=False)
    write(mirror, 1)
    mirror.push()
    write(mirror, 2)
    whole = []

    def watch(change):
        def changed(*arguments):
            change(*arguments)
            names = storage.find_files(url)
            indexes = [name for name in names if name.endswith(".index")]
            assert all(f"{name[:-6]}.data-00000-of-00001" in names for name in indexes)
            whole.append(len(indexes))

        return changed

    monkeypatch.setattr(storage, "upload", watch(storage.upload))
    monkeypatch.setattr(storage, "remove", watch(storage.remove))
    mirror.push()
    mirror.close()
    assert min(whole) == 1 and max(whole) == 2


def test_a_run_has_one_writer_on_a_machine_and_any_number_of_readers(url):
    first = RunMirror(url, resume=False)
    write(first, 1)
    first.push()
    with pytest.raises(InputError, match="another process is writing it"):
        RunMirror(url, resume=True)
    reader = RunMirror(url, resume=True, writes=False)
    (reader.folder / "new").write_text("")
    reader.push()
    reader.close()
    first.close()
    assert not storage.exists(f"{url}/new")
    RunMirror(url, resume=True).close()


def test_a_run_has_one_writer_on_all_machines(url, monkeypatch, tmp_path):
    monkeypatch.setattr(stored_folder, "BEAT", 0.02)
    monkeypatch.setattr(stored_folder, "PATIENCE", 0.4)
    monkeypatch.setattr(stored_folder, "_POLL", 0.02)
    first = RunMirror(url, resume=False)
    write(first, 1)
    first.push()
    # Another machine shares no local folder.
    monkeypatch.setenv("LXMERT_CACHE", str(tmp_path / "other"))
    with pytest.raises(InputError, match="another process is writing it"):
        RunMirror(url, resume=True)
    storage.remove(f"{url}/.writer")
    first._claim._stop.set()
    second = RunMirror(url, resume=True)
    write(first, 2)
    with pytest.raises(InputError, match="another process is writing it"):
        first.push()
    first.close()
    assert "checkpoints/step-1.index" in storage.find_files(url)
    second.push()
    second.close()
    assert ".writer" not in storage.find_files(url)
