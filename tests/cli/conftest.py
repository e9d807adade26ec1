"""Fixtures of the tests of commands."""

import pytest
from PIL import Image

from tests.cli.shell import Shell
from tests.lxmert_tf.detector.samples import write_named_detector
from tests.serving.tiny import make_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory)


@pytest.fixture(scope="session")
def detector(tmp_path_factory):
    """A preset of a detector for the tiny model."""
    directory = tmp_path_factory.mktemp("detector") / "preset"
    write_named_detector(directory)
    return directory


@pytest.fixture(scope="session")
def shell():
    shell = Shell()
    yield shell
    shell.close()


@pytest.fixture
def lxmert(shell, tmp_path):
    """Runs a command line in `tmp_path`."""
    return lambda *argv: shell.run(argv, tmp_path)


@pytest.fixture
def refused(lxmert, tmp_path):
    """Runs a command line that must be refused, and returns the message, which is one line."""

    def run(*argv):
        before = contents(tmp_path)
        outcome = lxmert(*argv)
        assert outcome.status == 2, outcome
        assert outcome.stdout == ""
        [line] = outcome.stderr.splitlines()
        assert line.startswith(f"lxmert {argv[0]}: ")
        assert contents(tmp_path) == before, "it left something behind"
        return line

    return run


@pytest.fixture(scope="session")
def pictures():
    """Paths of easy-VQA's test pictures, by number."""
    import easy_vqa

    return easy_vqa.get_test_image_paths()


@pytest.fixture
def picture(pictures, tmp_path):
    """A picture in `tmp_path`."""
    path = tmp_path / "picture.png"
    Image.open(pictures[0]).save(path)
    return path


def contents(folder):
    """Return {relative path: bytes, or None for a folder} of everything in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
