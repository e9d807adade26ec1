"""What the page accepts from a browser."""

import pytest

from lxmert_tf.app.bars import bar_list
from lxmert_tf.app.example_pictures import easy_vqa_examples, example_buttons, examples_in
from lxmert_tf.app.messages import error_message, message
from lxmert_tf.app.sentences import MAX_CHARACTERS, typed_lines
from lxmert_tf.app.uploads import read_picture_file, uploaded_path
from lxmert_tf.errors import InputError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of uploads."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


def test_an_uploaded_file_is_read(folder):
    path = folder / "picture.png"
    path.write_bytes(b"picture")
    assert read_picture_file(uploaded_path({"path": str(path)})) == b"picture"


@pytest.mark.parametrize("payload", [None, "picture.png", {}, {"path": None}, {"path": ""}])
def test_without_a_file_nothing_is_read(folder, payload):
    assert uploaded_path(payload) is None


def test_a_path_outside_the_folder_is_refused(folder, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    (folder / "link.png").symlink_to(secret)
    for path in (secret, folder / ".." / "secret.png", folder / "link.png", folder / "a\0.png"):
        with pytest.raises(InputError, match="no uploaded picture"):
            uploaded_path({"path": str(path)})


def test_a_file_that_is_too_large_or_gone_is_refused(folder):
    with open(folder / "large.png", "wb") as file:
        file.truncate(20_000_001)
    with pytest.raises(InputError, match="the file is too large; at most 20 MB"):
        read_picture_file(folder / "large.png")
    with pytest.raises(InputError, match="no longer here"):
        read_picture_file(folder / "gone.png")
    with pytest.raises(InputError, match="no longer here"):
        read_picture_file(folder)


def test_examples_come_from_a_folder_with_its_questions(pictures, tmp_path):
    for name in ("b.png", "a.png"):
        (tmp_path / name).symlink_to(pictures[0])
    (tmp_path / "questions.txt").write_text("what is it?\n\nis it red?\n")
    examples = examples_in(tmp_path)
    assert [example.path.name for example in examples] == ["a.png", "b.png"]
    assert examples[0].questions == ("what is it?", "is it red?")
    assert example_buttons(examples).count("<img ") == 2
    with pytest.raises(InputError, match="examples not found"):
        examples_in(tmp_path / "none")
    (tmp_path / "questions.txt").write_bytes(b"what is caf\xe9?")
    with pytest.raises(InputError, match=r"questions\.txt"):
        examples_in(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        examples_in(tmp_path / "empty")


def test_easy_vqa_has_examples_with_questions():
    examples = easy_vqa_examples()
    assert len(examples) == 8
    assert all(example.questions and example.path.is_file() for example in examples)


def test_typed_lines_are_counted_and_cut():
    assert typed_lines(" a \n\n" + "b" * 400, "question", 2) == ["a", "b" * MAX_CHARACTERS]
    with pytest.raises(InputError, match="type a question first"):
        typed_lines(" \n", "question", 2)
    with pytest.raises(InputError, match="3 questions are too many; at most 2 at once"):
        typed_lines("a\nb\nc", "question", 2)


def test_what_models_and_visitors_say_is_text_and_not_html():
    bars = bar_list([("<b>bold</b>", 0.5)], 'a "label"', "0-0")
    assert "&lt;b&gt;bold&lt;/b&gt;" in bars and "<b>" not in bars
    assert 'aria-label="a &quot;label&quot;"' in bars
    assert message("<i>") == '<p role="status" class="message note">&lt;i&gt;</p>'
    assert message("") == ""
    alert = '<p role="alert" class="message error">No model is &lt;i&gt;.</p>'
    assert error_message(InputError("no model is\n<i>")) == alert
