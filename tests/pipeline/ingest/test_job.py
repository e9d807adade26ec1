"""`run_ingest`: what goes in comes out once, as a record or as a reject, or nothing is left."""

import collections
import itertools
import json
import pathlib
import re
import shutil

import easy_vqa
import pytest
import tensorflow as tf

from lxmert_tf.data.scene import Sentence
from lxmert_tf.data.schema import decode_scene
from lxmert_tf.data.sidecars import INGEST_SUMMARY
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.regions.grid import GridExtractor
from lxmert_tf.regions.registry import EXTRACTORS
from pipeline.ingest.config import IngestConfig, SplitConfig
from pipeline.ingest.inputs import hash_percent, inputs_of
from pipeline.ingest.job import run_ingest
from pipeline.ingest.readers.data_set import DataSet, ImageFile
from pipeline.ingest.readers.easy_vqa import EasyVqa
from pipeline.ingest.registry import DATA_SETS
from tests.pipeline.ingest.job_files import contents, rejects_in, scenes_in

LIMIT = 20


def sentences_of(scenes) -> list[tuple[str, Sentence]]:
    pairs = [(s.images[0].id, sentence) for s in scenes for sentence in s.sentences]
    return sorted(pairs, key=lambda pair: pair[1].id)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(folder, summary) of easy-VQA's first training pictures, by layout."""
    made = {}
    for layout in ("grouped", "flat"):
        folder = tmp_path_factory.mktemp("ingest") / layout
        config = IngestConfig("easy_vqa", SplitConfig("train", layout, limit=LIMIT))
        made[layout] = folder, run_ingest(config, folder)
    return made


@pytest.fixture(params=["grouped", "flat"])
def ingested(request, folders):
    """(layout, folder, summary)."""
    return request.param, *folders[request.param]


@pytest.fixture(scope="module")
def questions():
    """(question, answer, image number) of the same pictures, from the package itself."""
    return [row for row in zip(*easy_vqa.get_train_questions()) if row[2] < LIMIT]


def test_counts_are_those_of_the_data(ingested, questions):
    _, folder, summary = ingested
    assert summary == {
        "images": {"read": LIMIT, "written": LIMIT, "rejected": 0},
        "sentences": {"read": len(questions), "written": len(questions), "rejected": 0},
        "answers": {"read": len(questions), "written": len(questions), "rejected": 0},
        "reasons": {},
    }
    assert json.loads((folder / INGEST_SUMMARY).read_text()) == summary


def test_folder_holds_the_shards_and_the_summary_and_nothing_else(ingested):
    _, folder, _ = ingested
    shards = [f"scenes-{i:05d}-of-00004.tfrecord" for i in range(4)]
    assert sorted(contents(folder)) == ["extractor.json", INGEST_SUMMARY, *shards]


def test_every_question_is_there_once_with_its_answer_and_its_picture(ingested, questions):
    _, folder, _ = ingested
    found = [
        (sentence.text, sentence.answers, image_id)
        for image_id, sentence in sentences_of(scenes_in(folder))
    ]
    expected = [(text, ((answer, 1.0),), f"train-{image}") for text, answer, image in questions]
    assert sorted(found) == sorted(expected)


def test_records_are_one_per_picture_or_one_per_question(ingested, questions):
    layout, folder, _ = ingested
    scenes = scenes_in(folder)
    if layout == "grouped":
        assert sorted(s.images[0].id for s in scenes) == sorted(f"train-{i}" for i in range(LIMIT))
    else:
        assert len(scenes) == len(questions)
        assert all(len(scene.sentences) == 1 for scene in scenes)


def test_records_of_a_shard_are_in_no_order_of_the_pictures_names(tmp_path):
    config = IngestConfig("easy_vqa", SplitConfig("train", limit=LIMIT), shards=1)
    run_ingest(config, tmp_path / "records")
    names = [scene.images[0].id for scene in scenes_in(tmp_path / "records")]
    in_order = sum(one < two for one, two in itertools.pairwise(names))
    assert 0.2 * LIMIT < in_order < 0.8 * LIMIT


def test_question_types_match_the_questions(ingested):
    _, folder, _ = ingested
    pairs = sentences_of(scenes_in(folder))
    shapes = {"circle", "rectangle", "triangle"}
    for _, sentence in pairs:
        [(answer, _)] = sentence.answers
        if answer in ("yes", "no"):
            negated = re.search(r"\b(no|not)\b", sentence.text)
            expected = ("absence" if negated else "presence", "yes/no")
        else:
            # An answer that is neither yes, no nor a shape is a color in this data set.
            expected = ("shape" if answer in shapes else "color", "other")
        assert (sentence.question_type, sentence.answer_type) == expected, sentence.text
    kinds = collections.Counter(sentence.question_type for _, sentence in pairs)
    assert set(kinds) == {"color", "shape", "presence", "absence"}


def test_regions_are_those_of_the_picture(ingested):
    _, folder, _ = ingested
    from lxmert_tf.regions.image import read_image

    paths = easy_vqa.get_train_image_paths()
    extractor = GridExtractor()
    for scene in scenes_in(folder)[:5]:
        [image] = scene.images
        pixels = read_image(paths[int(image.id.removeprefix("train-"))])
        regions = extractor.extract(pixels)
        assert (image.height, image.width) == pixels.shape[:2]
        assert (image.regions.features == regions.features.astype("float16")).all()
        assert (image.regions.boxes == regions.boxes).all()
        assert (image.regions.object_ids == regions.object_ids).all()


def test_grouped_and_flat_records_hold_the_same(folders):
    grouped, flat = (scenes_in(folders[layout][0]) for layout in ("grouped", "flat"))
    assert sentences_of(grouped) == sentences_of(flat)
    boxes = {scene.images[0].id: scene.images[0].regions.boxes.tolist() for scene in grouped}
    for scene in flat:
        assert scene.images[0].regions.boxes.tolist() == boxes[scene.images[0].id]


def test_same_input_gives_the_same_bytes(ingested, tmp_path):
    layout, folder, _ = ingested
    config = IngestConfig("easy_vqa", SplitConfig("train", layout, limit=LIMIT))
    run_ingest(config, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)


class Given(DataSet):
    """What a test gives it."""

    name = "given"
    splits = ("all",)
    pictures = pairs = ()

    def images(self, split):
        return self.pictures

    def sentences(self, split):
        return self.pairs() if callable(self.pairs) else self.pairs

    def fingerprint(self):
        return "given"


@pytest.fixture
def source(monkeypatch):
    """Registers a source under a name for one test."""

    def register(pictures, pairs):
        monkeypatch.setattr(Given, "pictures", pictures)
        monkeypatch.setattr(Given, "pairs", staticmethod(pairs) if callable(pairs) else pairs)
        monkeypatch.setitem(DATA_SETS, "given", Given)
        # Few pictures, of which one may be broken.
        return IngestConfig("given", SplitConfig("all"), shards=2, max_reject_fraction=1.0)

    return register


def real_pictures(folder, count):
    """Copies of easy-VQA's first pictures and their sentences, under ids p0, p1, ..."""
    package, pictures = EasyVqa(), []
    for i, image in enumerate(list(package.images("test"))[:count]):
        path = shutil.copy(image.path, folder / f"p{i}.png")
        pictures.append(ImageFile(f"p{i}", str(path)))
    by_id = {f"test-{i}": f"p{i}" for i in range(count)}
    pairs = [(by_id[i], s) for i, s in package.sentences("test") if i in by_id]
    return pictures, pairs


def test_percent_ranges_split_all_pictures_with_none_on_both_sides(source, tmp_path):
    pictures, pairs = real_pictures(tmp_path, 30)
    config = source(pictures, pairs)
    parts = [
        IngestConfig("given", SplitConfig("all", percent=percent), config.extractor)
        for percent in ((0, 20), (20, 70), (70, 100))
    ]
    files = [[task.piece.file.path for task in inputs_of(part).regions] for part in parts]
    assert all(files)
    assert sorted(file for part in files for file in part) == sorted(p.path for p in pictures)

    summary = run_ingest(parts[0], tmp_path / "out")
    # Sentences about the pictures of other parts are no rejects.
    assert summary["sentences"]["rejected"] == 0
    ids = [scene.images[0].id for scene in scenes_in(tmp_path / "out")]
    assert len(ids) == len(files[0])
    assert all(hash_percent(image_id) < 20 for image_id in ids)


def test_percent_is_spread_evenly_over_the_pictures():
    shares = collections.Counter(hash_percent(i.image_id) < 25 for i in EasyVqa().images("train"))
    # Of 4,000: five standard deviations (27 each) around 1,000.
    assert abs(shares[True] - 1000) < 137


def test_broken_pictures_are_rejects_and_their_neighbors_are_untouched(source, tmp_path):
    pictures, pairs = real_pictures(tmp_path, 8)
    run_ingest(source(pictures, pairs), tmp_path / "whole")
    truncated, text, empty, missing = (pathlib.Path(p.path) for p in pictures[2:6])
    truncated.write_bytes(truncated.read_bytes()[:-40])
    text.write_bytes(b"a blue circle\n")
    empty.write_bytes(b"")
    missing.unlink()
    broken = {f"p{n}": pictures[n].path for n in range(2, 6)}
    summary = run_ingest(source(pictures, pairs), tmp_path / "out")

    lost = {sentence.id: image for image, sentence in pairs if image in broken}
    assert summary["images"] == {"read": 8, "written": 4, "rejected": 4}
    assert summary["sentences"]["rejected"] == len(lost) > 0
    assert summary["sentences"]["read"] == len(pairs)
    rejects = rejects_in(tmp_path / "out")
    images = [line for line in rejects if line["kind"] == "image"]
    assert {line["id"]: line["file"] for line in images} == broken
    assert all(line["reason"] for line in images)
    sentences = [line for line in rejects if line["kind"] == "sentence"]
    assert {line["id"]: line["image"] for line in sentences} == lost
    assert {line["reason"] for line in sentences} == {"its image is missing"}
    reasons = collections.Counter(line["reason"] for line in rejects)
    assert summary["reasons"] == dict(reasons)

    def neighbors(folder):
        files = sorted(str(path) for path in folder.glob("scenes-*"))
        records = [record.numpy() for record in tf.data.TFRecordDataset(files)]
        by_id = {decode_scene(record).images[0].id: record for record in records}
        return {image_id: by_id[image_id] for image_id in by_id.keys() - broken.keys()}

    assert neighbors(tmp_path / "out") == neighbors(tmp_path / "whole")


def test_a_sentence_without_a_picture_is_a_reject_and_a_picture_without_one_is_not(
    source, tmp_path
):
    pictures, pairs = real_pictures(tmp_path, 3)
    silent = [pair for pair in pairs if pair[0] != "p1"]
    stray = ("p9", Sentence("stray", "is there a circle?"))
    summary = run_ingest(source(pictures, [*silent, stray]), tmp_path / "out")
    assert summary["images"] == {"read": 3, "written": 2, "rejected": 0}
    assert summary["unused_images"] == 1
    assert summary["sentences"] == {
        "read": len(silent) + 1,
        "written": len(silent),
        "rejected": 1,
    }
    assert sorted((r["kind"], r["id"], r["reason"]) for r in rejects_in(tmp_path / "out")) == [
        ("sentence", "stray", "its image is missing"),
    ]


def test_second_picture_with_an_id_is_a_reject(source, tmp_path):
    pictures, pairs = real_pictures(tmp_path, 3)
    twice = ImageFile("p0", pictures[1].path)
    summary = run_ingest(source([*pictures, twice], pairs), tmp_path / "out")
    assert summary["images"] == {"read": 4, "written": 3, "rejected": 1}
    assert summary["sentences"]["written"] == len(pairs)
    [reject] = rejects_in(tmp_path / "out")
    assert (reject["kind"], reject["id"]) == ("image", "p0")
    assert reject["reason"] == "duplicate image id"


def test_if_everything_is_rejected_the_rejects_are_kept(source, tmp_path):
    pictures, pairs = real_pictures(tmp_path, 3)
    for picture in pictures:
        pathlib.Path(picture.path).write_bytes(b"no picture")
    work = tmp_path / "work"
    with pytest.raises(
        GateError,
        match=r"no records were written; the most common reason \(3 of 3\): not an image in a",
    ):
        run_ingest(source(pictures, pairs), work / "out")
    assert [path.name for path in work.iterdir()] == ["out-rejected"]
    assert len(rejects_in(work / "out-rejected")) == 3 + len(pairs)


def test_source_without_pictures_is_refused(source, tmp_path):
    with pytest.raises(InputError, match="the inputs have no images"):
        run_ingest(source([], []), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_output_that_is_taken_is_left_alone(tmp_path, kind):
    output = tmp_path / "out"
    if kind == "file":
        output.write_text("mine")
    else:
        output.mkdir()
        (output / "mine").write_text("mine")
    with pytest.raises(InputError, match="already exists"):
        run_ingest(IngestConfig("easy_vqa", SplitConfig("test", limit=2)), output)
    assert "mine" in (output if kind == "file" else output / "mine").read_text()


def test_empty_folder_may_become_the_output(tmp_path):
    (tmp_path / "out").mkdir()
    run_ingest(IngestConfig("easy_vqa", SplitConfig("test", limit=2)), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(scenes_in(tmp_path / "out")) == 2


def test_source_that_fails_midway_leaves_nothing(source, tmp_path):
    pictures, pairs = real_pictures(tmp_path, 3)

    def failing():
        yield from pairs[:5]
        raise RuntimeError("the disk is gone")

    work = tmp_path / "work"
    with pytest.raises(RuntimeError, match="the disk is gone"):
        run_ingest(source(pictures, failing), work / "out")
    assert list(work.iterdir()) == []


def test_worker_that_fails_midway_leaves_nothing(source, tmp_path, monkeypatch):
    class Failing(GridExtractor):
        seen = 0

        def extract(self, image):
            type(self).seen += 1
            if type(self).seen > 2:
                raise RuntimeError("out of memory")
            return super().extract(image)

    monkeypatch.setitem(EXTRACTORS, "grid", Failing)
    config = source(*real_pictures(tmp_path, 6))
    work = tmp_path / "work"
    with pytest.raises(RuntimeError, match="out of memory"):
        run_ingest(config, work / "out")
    assert list(work.iterdir()) == []


def test_the_remains_of_a_killed_job_are_replaced(tmp_path):
    work = tmp_path / ".out.partial" / "work"
    work.mkdir(parents=True)
    # Neither counts nor records of the killed job may be added to those of this one.
    (work / "written-old.json").write_text("{}")
    (work.parent / "scenes-00007-of-00008.tfrecord").write_bytes(b"half a record")
    run_ingest(IngestConfig("easy_vqa", SplitConfig("test", limit=2)), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(scenes_in(tmp_path / "out")) == 2
