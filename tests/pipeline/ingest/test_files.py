"""Input files by path and pattern, and what among them is no input."""

import gzip
import os
import pathlib
import stat
import struct
import zipfile

import pytest

from lxmert_tf.errors import InputError
from pipeline.components.scene_example_gen import files_fingerprint
from pipeline.ingest import files
from pipeline.ingest.config import IngestConfig, PartConfig, RegionFiles, SentenceFiles, SplitConfig
from pipeline.ingest.files import InputFile, closing_archives, find_inputs, open_input
from pipeline.ingest.inputs import inputs_of
from pipeline.ingest.registry import detect_format
from tests.lxmert_tf.samples import one_line
from tests.pipeline.ingest import detections
from tests.pipeline.ingest.job_files import lxmert_row

ROW = lxmert_row(detections.small("i"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.json").write_text("[]")
    return tmp_path


def write(*names: str, content: bytes = b"") -> None:
    for name in names:
        pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(name).write_bytes(content)


def names(*patterns: str) -> list[str]:
    return [file.name for file in find_inputs(patterns)]


def inputs(*regions: str, form: str | None = None, sentences: tuple[str, ...] = ("q.json",)):
    part = PartConfig((RegionFiles(regions, form),), (SentenceFiles(sentences, "vqa_release"),))
    return inputs_of(IngestConfig(records=SplitConfig("all"), parts={"all": part}))


def test_patterns_without_a_folder_and_names_with_brackets_are_found(folder):
    write("b.tsv", "a.tsv", "d [1]/c[0].tsv", content=ROW)
    assert names("*.tsv") == ["a.tsv", "b.tsv"]
    assert names("d [1]/*.tsv") == names("d [1]/c[0].tsv") == ["d [1]/c[0].tsv"]
    assert names("b.tsv", "*.tsv") == ["b.tsv", "a.tsv"]
    [task] = inputs("d [1]/c[0].tsv").regions
    assert task.piece.size == len(ROW)
    assert files_fingerprint(["d [1]/c[0].tsv"]) != files_fingerprint(["a.tsv"])
    for pattern in ("c[0].tsv", "d*"):
        with pytest.raises(InputError, match="no files match"):
            find_inputs([pattern])


def test_hidden_and_system_files_are_left_out(folder):
    write("p/.DS_Store", "p/._a.png", "p/Thumbs.db", "p/desktop.ini", "p/README.md", "p/LICENSE")
    write("p/a.png")
    assert names("p/*") == ["p/a.png"]
    # Unless they are named.
    assert names("p/._a.png", "p/README.md") == ["p/._a.png", "p/README.md"]
    with zipfile.ZipFile("p.zip", "w") as archive:
        for path in sorted(pathlib.Path("p").iterdir()):
            archive.write(path, f"photos/{path.name}")
        archive.writestr("__MACOSX/photos/._a.png", b"")
        archive.writestr(".git/b.png", b"")
        archive.writestr("./c.png", b"")
    assert names("p.zip") == ["p.zip!./c.png", "p.zip!photos/a.png"]
    assert names("p.zip!photos/._a.png") == ["p.zip!photos/._a.png"]


@pytest.mark.parametrize("form", [None, "lxmert_tsv"])
def test_other_files_beside_region_files_are_ignored_and_listed(folder, form):
    write("r/a.tsv", "r/b.txt", "r/c.tsv.0", "r/d", content=ROW)
    write("r/notes.txt", "r/Makefile", "r/list.csv", content=b"no columns\n")
    found = inputs("r/*", form=form)
    assert sorted(task.piece.file.name for task in found.regions) == [
        "r/a.tsv",
        "r/b.txt",
        "r/c.tsv.0",
        "r/d",
    ]
    assert sorted(found.ignored) == ["r/Makefile", "r/list.csv", "r/notes.txt"]


def test_files_that_cannot_be_read_beside_region_files_are_ignored(folder):
    write("r/a.tsv", content=ROW)
    pathlib.Path("r/notes").symlink_to("gone")
    with zipfile.ZipFile("r.zip", "w") as archive:
        archive.writestr("a.tsv", ROW)
        archive.writestr("secret", b"text")
    # The flag of an encrypted member, in its own header and in the directory.
    data = bytearray(pathlib.Path("r.zip").read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.rindex(signature) + flags] |= 1
    write("r.zip", content=bytes(data))
    for form in (None, "lxmert_tsv"):
        for pattern, ignored in (("r/*", "r/notes"), ("r.zip", "r.zip!secret")):
            found = inputs(pattern, form=form)
            assert len(found.regions) == 1
            assert found.ignored == (ignored,)
            with pytest.raises(InputError, match=ignored):
                inputs(ignored, form=form)


def test_other_files_beside_pictures_are_ignored_and_listed(folder):
    write("p/a.png", "p/b.heic", "p/c.json", "p/d.txt", "p/e")
    found = inputs("p/*", form="pictures", sentences=("*.json", "p/*.txt"))
    # A picture that cannot be decoded is a reject.
    read = [task.piece.file.name for task in found.regions]
    assert read == ["p/a.png", "p/b.heic", "p/e"]
    assert found.ignored == ("p/c.json", "p/d.txt")
    assert [task.file.name for task in found.sentences] == ["q.json", "p/d.txt"]
    # A pattern of annotations may find pictures.
    found = inputs("p/a.png", sentences=("p/a*", "q.json"))
    assert found.ignored == ("p/a.png",)


def test_sentences_of_files_with_the_same_name_get_different_ids(folder):
    line = b'{"image": "a", "sentence": "a color"}\n'
    write("x/q.jsonl", "y/q.jsonl", "z/r.jsonl", content=line)
    write("a.tsv", content=ROW)
    part = PartConfig((RegionFiles(("a.tsv",)),), (SentenceFiles(("*/*.jsonl",), "json_lines"),))
    found = inputs_of(IngestConfig(records=SplitConfig("all"), parts={"all": part}))
    read = [item for task in found.sentences for item in task.reader.read(task.file)]
    assert [item.sentence.id for item in read] == ["x/q-1", "y/q-1", "r-1"]


def test_unknown_endings_are_rejected_with_the_known_ones(folder):
    write("p/a.csv", "p/b.doc")
    with pytest.raises(InputError, match=r"p/a\.csv, is a region file; .*\.tsv, .*\.h5, .*\.npz"):
        inputs("p/*")
    with pytest.raises(InputError, match=r"unknown ending '\.csv' .* one of \.tsv, .*\.jpg"):
        inputs("p/a.csv")
    write("p/a.tsv", content=ROW)
    with pytest.raises(InputError, match="no vqa_release sentences"):
        inputs("p/a.tsv", sentences=("p/*",))


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.JPEG", "pictures"), ("a.npz.gz", "numpy_files"), ("x/b.LMDB", "mmf_lmdb")],
)
def test_the_format_is_detected_from_the_ending(name, form):
    assert detect_format(InputFile(name, 1)) == form


def test_a_folder_stands_for_the_pictures_below_it(folder):
    write("photos [v2]/b.PNG", "photos [v2]/1/2/a.jpg", "photos [v2]/1/a.json", "photos [v2]/a")
    write("photos [v2]/.git/c.png", "photos [v2]/__MACOSX/c.png", "photos [v2]/._c.png")
    assert names("photos [v2]") == ["photos [v2]/1/2/a.jpg", "photos [v2]/b.PNG"]
    found = inputs("photos [v2]/").regions
    assert [task.image_id for task in found] == ["a", "b"]
    assert all(task.reader.name == "pictures" for task in found)


def test_a_folder_without_pictures_is_refused_with_the_pattern_for_its_files(folder):
    write("features [v2]/a.tsv", content=ROW)
    message = r"features \[v2\]: is a folder without pictures; .*, such as 'features \[v2\]/\*'"
    with pytest.raises(InputError, match=message):
        find_inputs(["features [v2]"])
    assert names("features [v2]/*") == ["features [v2]/a.tsv"]


def test_an_archive_is_opened_once_until_it_changes(folder, monkeypatch):
    def pack(**members):
        with zipfile.ZipFile("new.zip", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        os.replace("new.zip", "all.zip")

    opened = []
    open_raw = files._open_raw
    monkeypatch.setattr(files, "_open_raw", lambda path: opened.append(path) or open_raw(path))
    pack(a="first", b="second")
    members = find_inputs(["all.zip"])
    opened.clear()
    for file, content in zip([*members, members[0]], (b"first", b"second", b"first")):
        with open_input(file) as stream:
            assert stream.read() == content
    assert opened == ["all.zip"]
    pack(a="other", b="")
    os.utime("all.zip", (1, 1))
    with open_input(members[0]) as stream:
        assert stream.read() == b"other"


def test_an_archive_without_files_to_read_is_named(folder):
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.writestr("__MACOSX/._a.png", "")
    with pytest.raises(InputError, match=r"photos\.zip: the archive has no files to read"):
        find_inputs(["*.zip"])


def test_archives_are_closed_after_a_job_and_if_they_are_damaged(folder):
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("a.png", "a")
    write("b.zip", content=b"no archive")

    def opened() -> set[str]:
        links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
        return {os.path.basename(os.readlink(link)) for link in links if os.path.lexists(link)}

    with closing_archives():
        with open_input(find_inputs(["a.zip"])[0]) as content:
            assert content.read() == b"a"
        del content
        assert "a.zip" in opened()
        with pytest.raises(InputError, match="not a zip archive") as caught:
            with open_input(InputFile("b.zip", 0, "a.png")):
                pass
        # The error, which has the file in its frames, is still known here.
        assert caught and "b.zip" not in opened()
    assert "a.zip" not in opened()


def test_a_file_that_is_named_in_two_ways_is_read_once(folder):
    write("a.tsv", content=ROW)
    write("d/q.json")
    assert names("a.tsv", "./a.tsv", str(folder / "a.tsv"), "d/../*.tsv") == ["a.tsv"]
    assert len(inputs("a.tsv", sentences=("q.json", "./q.json", "d/q.json")).sentences) == 2


def test_endings_of_archives_may_be_in_capitals(folder):
    with zipfile.ZipFile("A.ZIP", "w") as archive:
        archive.writestr("d/a.tsv", ROW)
    assert names("A.ZIP") == names("*.ZIP") == names("A.ZIP!d/a.tsv") == ["A.ZIP!d/a.tsv"]
    with open_input(find_inputs(["A.ZIP"])[0]) as content:
        assert content.read() == ROW
    with pytest.raises(InputError, match=r"A\.ZIP!d/\*: .* no such member; name one, not a patt"):
        find_inputs(["A.ZIP!d/*"])


def test_numbers_at_the_end_of_names_are_part_of_the_ids(folder):
    write("scan.001", "scan.002", "d/other.007", content=b"x")
    tasks = inputs("scan.001", "scan.002", "d/other.007", form="pictures").regions
    assert [task.image_id for task in tasks] == ["scan.001", "scan.002", "other"]


def refused(pattern: str) -> str:
    """What is said of an archive, or of its first member when that is read."""
    with pytest.raises(InputError) as caught:
        with open_input(find_inputs([pattern])[0]) as content:
            while content.read1(1 << 20):
                pass
    return one_line(caught)


def declare(path: str, size: int) -> None:
    """Write another uncompressed size of the only member into an archive."""
    data = bytearray(pathlib.Path(path).read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, size)
    write(path, content=bytes(data))


def test_a_member_that_expands_too_much_is_refused_before_it_is_read(folder):
    with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", bytes(100_000))
    with open_input(find_inputs(["bomb.zip"])[0]) as content:
        assert len(content.read()) == 100_000
    declare("bomb.zip", 1 << 30)
    message = refused("bomb.zip")
    assert "bomb.zip!a.json: refused" in message and "expand to 1,073,741,824" in message


def test_a_gzip_file_that_expands_too_much_is_refused(folder, monkeypatch):
    write("bomb.json.gz", content=gzip.compress(bytes(20_000_000)))
    with open_input(find_inputs(["bomb.json.gz"])[0]) as content:
        assert len(content.read(1000)) == 1000 and len(content.read()) == 19_999_000
    monkeypatch.setattr(files, "_SMALL_BYTES", 1 << 20)
    assert "bomb.json.gz: refused" in refused("bomb.json.gz")
    # One that holds as much as it says passes.
    write("large.json.gz", content=gzip.compress(os.urandom(3 << 20)))
    with open_input(find_inputs(["large.json.gz"])[0]) as content:
        assert len(content.read()) == 3 << 20


def test_members_that_share_their_bytes_are_refused(folder):
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("a.json", bytes(10_000))
    data = pathlib.Path("a.zip").read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[start:end]
    copies = b"".join(entry.replace(b"a.json", b"%d.json" % number) for number in range(9))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 9, 9, len(copies), start, 0)
    write("a.zip", content=data[:start] + copies + tail)
    assert "its members overlap" in refused("a.zip")


def test_a_member_without_a_name_is_refused(folder):
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("a.json", "[]")
    data = pathlib.Path("a.zip").read_bytes()
    assert data.count(b"a.json") == 2
    write("a.zip", content=data.replace(b"a.json", b"\0.json"))
    assert "a.zip: damaged: a member has no name" in refused("a.zip")


def test_a_member_in_lzma_is_refused(folder):
    # Its header may ask for a dictionary of 4 GB.
    with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.json", "[]")
    assert "a.zip!a.json: cannot be read" in refused("a.zip")


def test_nothing_leaves_an_archive(folder):
    secret = folder / "secret.txt"
    secret.write_text("secret")
    link = zipfile.ZipInfo("link.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    (folder / "inner").mkdir()
    with zipfile.ZipFile("inner/a.zip", "w") as archive:
        archive.writestr("../../up.json", "[1]")
        archive.writestr("/absolute.json", "[2]")
        archive.writestr(link, str(secret))
    before = sorted(folder.rglob("*"))
    read = {}
    for file in find_inputs(["inner/a.zip"]):
        with open_input(file) as content:
            read[file.member] = content.read()
    # A link is the path that it leads to, as text.
    assert read == {
        "../../up.json": b"[1]",
        "/absolute.json": b"[2]",
        "link.json": str(secret).encode(),
    }
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("flags", [0x800, 0])
def test_a_damaged_directory_of_an_archive_is_refused_in_one_line(folder, flags):
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("a.json", "[]")
    data = bytearray(pathlib.Path("a.zip").read_bytes())
    entry = data.index(b"PK\x01\x02")
    # The name is not UTF-8, or the member needs version 25.5 of the format.
    struct.pack_into("<HH", data, entry + 6, 20 if flags else 255, flags)
    data[entry + 46] = 0xFF
    write("a.zip", content=bytes(data))
    assert "a.zip: not a zip archive" in refused("a.zip")
