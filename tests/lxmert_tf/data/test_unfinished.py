"""Records in a folder at a URL are read only once it is whole."""

import pytest

from lxmert_tf.data.unfinished import check_finished
from lxmert_tf.errors import InputError
from lxmert_tf.storage import UNFINISHED


def test_a_folder_at_a_url_is_refused_until_it_is_whole(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    files = [f"memory://unfinished-test/{name}.tfrecord" for name in ("a", "b")]
    mark = f"/unfinished-test/{UNFINISHED}"
    try:
        store.pipe_file(mark, b"")
        with pytest.raises(InputError, match=r"^memory://unfinished-test: is unfinished; wait"):
            check_finished(files)
        store.rm_file(mark)
        check_finished(files)
    finally:
        if store.exists("/unfinished-test"):
            store.rm("/unfinished-test", recursive=True)
    # Local folders appear whole.
    (tmp_path / UNFINISHED).write_text("")
    check_finished([str(tmp_path / "a.tfrecord")])
