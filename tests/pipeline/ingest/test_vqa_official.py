"""VQA v2's own files: questions and annotations that are joined."""

import gzip
import json
import random
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.data.scene import Sentence
from lxmert_tf.errors import InputError
from pipeline.ingest.files import find_inputs
from pipeline.ingest.interfaces import ReadSentence
from pipeline.ingest.readers.vqa import VqaOfficial
from tests.pipeline.ingest.annotations import (
    ANNOTATIONS_FILE,
    QUESTIONS_FILE,
    VQA_ANNOTATIONS,
    content_of,
    problems,
    read,
    sentences,
)
from tests.pipeline.ingest.test_annotation_formats import places_in, with_value
from tests.pipeline.ingest.test_json_items import VALUES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for files that are overwritten many times."""
    return tmp_path_factory.mktemp("any")


def read_both(folder, annotations, questions=None):
    (folder / QUESTIONS_FILE).write_text(json.dumps(questions or content_of("vqa_official")))
    (folder / ANNOTATIONS_FILE).write_text(json.dumps(annotations))
    return read(VqaOfficial(), folder / QUESTIONS_FILE)


def annotations_with(change) -> dict:
    content = json.loads(json.dumps(VQA_ANNOTATIONS))
    change(content["annotations"])
    return content


def test_questions_and_answers(tmp_path):
    first, *_ = read_both(tmp_path, VQA_ANNOTATIONS)
    answers = (("down", 1.0), ("at table", 0.3))
    sentence = Sentence(
        "262148000", "Where is he looking?", "vqa", "none of the above", "other", answers
    )
    assert first == ReadSentence(("COCO_val2014_000000262148",), sentence)


@settings(derandomize=True, max_examples=30)
@given(st.integers(), st.integers(0, 8))
def test_the_order_does_not_matter(folder, seed, missing):
    questions, annotations = content_of("vqa_official"), annotations_with(lambda items: None)
    for number in range(8):
        questions["questions"].append(
            {"image_id": number, "question": f"number {number}?", "question_id": number}
        )
        annotations["annotations"].append(
            {**VQA_ANNOTATIONS["annotations"][0], "question_id": number, "answer_type": str(number)}
        )
    expected = read_both(folder, annotations, questions)
    assert problems(expected) == []
    random.Random(seed).shuffle(annotations["annotations"])
    gone = [a["question_id"] for a in annotations["annotations"][:missing]]
    del annotations["annotations"][:missing]
    items = read_both(folder, annotations, questions)
    assert sentences(items) == [e for e in expected if int(e.sentence.id) not in gone]
    assert sorted(int(question_id) for _, question_id, _ in problems(items)) == sorted(gone)


def test_a_question_without_annotation_is_reported(tmp_path):
    items = read_both(tmp_path, annotations_with(lambda items: items.pop(1)))
    reason = "the annotations file has no entry for this question"
    assert problems(items) == [(2, "262148002", reason)]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("answers", [{"answer": "down"}] * 9, "answers must be those of ten people"),
        ("answers", [{"answer": "down"}] * 9 + [{}], "answers lacks a part"),
        (
            "answers",
            [{"answer": "down"}] * 9 + [{"answer": 1}],
            "a value of answers must be a string",
        ),
        ("answers", [{"answer": "a\0"}] * 10, "answers has a control character in it"),
        ("answers", None, "answers must be a list"),
        ("question_type", None, "question_type must be a string"),
    ],
)
def test_a_broken_annotation_costs_its_question(tmp_path, key, value, reason):
    items = read_both(tmp_path, annotations_with(lambda items: items[1].update({key: value})))
    assert problems(items) == [(2, "262148002", f"annotations: {reason}")]
    assert len(sentences(items)) == 2


def test_an_annotation_of_an_unknown_question_is_reported(tmp_path):
    items = read_both(tmp_path, annotations_with(lambda items: items.__setitem__(1, None)))
    assert problems(items) == [
        (2, "", "annotations: the item must be an object"),
        (2, "262148002", "the annotations file has no entry for this question"),
    ]
    assert len(sentences(items)) == 2


def test_annotations_cut_anywhere(tmp_path):
    (tmp_path / QUESTIONS_FILE).write_text(json.dumps(content_of("vqa_official")))
    whole = read_both(tmp_path, VQA_ANNOTATIONS)
    data = json.dumps(VQA_ANNOTATIONS).encode()
    for length in (*range(1, len(data), 1 + len(data) // 400), len(data) - 1):
        (tmp_path / ANNOTATIONS_FILE).write_bytes(data[:length])
        items = read(VqaOfficial(), tmp_path / QUESTIONS_FILE)
        found = sentences(items)
        assert found == whole[: len(found)]
        assert len([p for p in problems(items) if p[1]]) == len(whole) - len(found)
    assert found == whole


@settings(derandomize=True, max_examples=80)
@given(st.data())
def test_any_value_at_any_place_of_an_annotation(folder, data):
    items = VQA_ANNOTATIONS["annotations"]
    place = data.draw(st.sampled_from([place for place in places_in(items) if place]))
    content = {**VQA_ANNOTATIONS, "annotations": with_value(items, place, data.draw(VALUES))}
    read_items = read_both(folder, content)
    of_questions = [problem for problem in problems(read_items) if problem[1]]
    assert len(sentences(read_items)) + len(of_questions) == 3
    assert len(sentences(read_items)) >= 2


@pytest.mark.parametrize(
    ("subset", "prefix"),
    [("test2015", "COCO_test2015_"), ("test-dev2015", "COCO_test2015_")],
)
def test_test_questions_need_no_annotations(tmp_path, subset, prefix):
    path = tmp_path / f"v2_OpenEnded_mscoco_{subset}_questions.json"
    path.write_text(json.dumps({**content_of("vqa_official"), "data_subtype": subset}))
    items = read(VqaOfficial(), path)
    assert problems(items) == []
    assert items[0].image_ids == (f"{prefix}000000262148",)
    assert items[0].sentence == Sentence("262148000", "Where is he looking?", "vqa")


@pytest.mark.parametrize("subset", [2014, "val", "../2014", "val2014 ", "kitchen2014"])
def test_images_of_nobody_knows_where(tmp_path, subset):
    questions = {**content_of("vqa_official"), "data_subtype": subset}
    with pytest.raises(InputError, match="'data_subtype' must be a subset of MS COCO"):
        read_both(tmp_path, VQA_ANNOTATIONS, questions)


def test_annotations_must_be_there(tmp_path):
    (tmp_path / QUESTIONS_FILE).write_text(json.dumps(content_of("vqa_official")))
    with pytest.raises(InputError, match=f"annotations not found: .*{ANNOTATIONS_FILE}"):
        read(VqaOfficial(), tmp_path / QUESTIONS_FILE)


def test_another_name_does_not_tell_the_annotations(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(content_of("vqa_official")))
    with pytest.raises(InputError, match="must have 'questions' in its name"):
        read(VqaOfficial(), tmp_path / "mine.json")


def test_a_pattern_may_name_both_files(tmp_path):
    read_both(tmp_path, VQA_ANNOTATIONS)
    files = find_inputs([str(tmp_path / "*.json")])
    assert len(files) == 2
    assert [f.name for f in files if VqaOfficial().reads(f)] == [str(tmp_path / QUESTIONS_FILE)]


def test_the_archives_as_they_are_published(tmp_path):
    expected = read_both(tmp_path, VQA_ANNOTATIONS)
    for kind, name in (("Questions", QUESTIONS_FILE), ("Annotations", ANNOTATIONS_FILE)):
        with zipfile.ZipFile(tmp_path / f"v2_{kind}_Val_mscoco.zip", "w") as archive:
            archive.write(tmp_path / name, name)
    assert read(VqaOfficial(), tmp_path / "v2_Questions_Val_mscoco.zip") == expected


def test_one_archive_and_gzipped_files(tmp_path):
    expected = read_both(tmp_path, VQA_ANNOTATIONS)
    (tmp_path / "packed").mkdir()
    with zipfile.ZipFile(tmp_path / "packed" / "vqa.zip", "w") as archive:
        for name in (QUESTIONS_FILE, ANNOTATIONS_FILE):
            archive.write(tmp_path / name, f"vqa/{name}")
            packed = gzip.compress((tmp_path / name).read_bytes())
            (tmp_path / "packed" / f"{name}.gz").write_bytes(packed)
    in_archive = str(tmp_path / "packed" / f"vqa.zip!vqa/{QUESTIONS_FILE}")
    assert read(VqaOfficial(), in_archive) == expected
    assert read(VqaOfficial(), tmp_path / "packed" / f"{QUESTIONS_FILE}.gz") == expected


@pytest.mark.parametrize(
    ("subset", "name", "image"),
    [
        ("minival2014", "v2_OpenEnded_mscoco_minival2014", "COCO_val2014_000000262148"),
        ("nominival2014", "v2_OpenEnded_mscoco_nominival2014", "COCO_val2014_000000262148"),
        (None, "v2_OpenEnded_mscoco_train2014", "COCO_train2014_000000262148"),
        (None, "MultipleChoice_mscoco_val2014", "COCO_val2014_000000262148"),
        ("train2015", "OpenEnded_abstract_v002_train2015", "abstract_v002_train2015_000000262148"),
        ("val2014", "my", "COCO_val2014_000000262148"),
    ],
)
def test_other_files_of_this_kind(tmp_path, subset, name, image):
    questions = {**content_of("vqa_official"), "data_subtype": subset}
    annotations = name.replace("OpenEnded_", "").replace("MultipleChoice_", "")
    (tmp_path / f"{name}_questions.json").write_text(json.dumps(questions))
    (tmp_path / f"{annotations}_annotations.json").write_text(json.dumps(VQA_ANNOTATIONS))
    items = read(VqaOfficial(), tmp_path / f"{name}_questions.json")
    assert problems(items) == []
    assert items[0].image_ids == (image,)
    assert items[0].sentence.answers == (("down", 1.0), ("at table", 0.3))


def test_a_damaged_file_is_not_blamed_for_its_content(tmp_path):
    for name, content in (
        (QUESTIONS_FILE, content_of("vqa_official")),
        (ANNOTATIONS_FILE, VQA_ANNOTATIONS),
    ):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(json.dumps(content).encode()))
    questions, annotations = (
        tmp_path / f"{name}.gz" for name in (QUESTIONS_FILE, ANNOTATIONS_FILE)
    )
    for path in (annotations, questions):
        path.write_bytes(path.read_bytes()[:12])
        with pytest.raises(InputError) as caught:
            read(VqaOfficial(), questions)
        assert str(caught.value) == f"{path}: damaged or cut short"


def test_data_type_marks_abstract_scenes(tmp_path):
    questions = {**content_of("vqa_official"), "data_type": "abstract_v002"}
    first, *_ = read_both(tmp_path, VQA_ANNOTATIONS, questions)
    assert first.image_ids == ("abstract_v002_val2014_000000262148",)


def test_lists_of_vqa_cp(tmp_path):
    expected = read_both(tmp_path, VQA_ANNOTATIONS)
    questions = content_of("vqa_official")["questions"]
    for question in questions:
        question["coco_split"] = "val2014"
    path = tmp_path / "vqacp_v2_test_questions.json"
    (tmp_path / "vqacp_v2_test_annotations.json").write_text(
        json.dumps(VQA_ANNOTATIONS["annotations"])
    )
    path.write_text(json.dumps(questions))
    assert read(VqaOfficial(), path) == expected
    del questions[0]["coco_split"]
    questions[1]["coco_split"] = "kitchen"
    path.write_text(json.dumps(questions))
    items = read(VqaOfficial(), path)
    assert sentences(items) == expected[2:]
    missing, wrong = problems(items)
    assert missing == (1, "262148000", "coco_split is missing, which names the subset of MS COCO")
    assert wrong[2].startswith("coco_split ")
