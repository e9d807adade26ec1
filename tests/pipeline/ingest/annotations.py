"""A few items of each annotation format in its published layout, and how they are read."""

import copy
import json
import pathlib

from pipeline.ingest.files import find_inputs
from pipeline.ingest.interfaces import ReadError, ReadSentence, SentenceReader
from pipeline.ingest.readers.coco_captions import CocoCaptions
from pipeline.ingest.readers.gqa import GqaOfficial, GqaRelease
from pipeline.ingest.readers.json_lines import JsonLines, JsonLinesPairs
from pipeline.ingest.readers.nlvr import Nlvr
from pipeline.ingest.readers.nlvr2 import Nlvr2Official, Nlvr2Release
from pipeline.ingest.readers.pretraining_json import PretrainingJson
from pipeline.ingest.readers.vizwiz import VizWiz
from pipeline.ingest.readers.vqa import VqaOfficial, VqaRelease

VQA_RELEASE = [
    {
        "answer_type": "other",
        "img_id": "COCO_train2014_000000458752",
        "label": {"net": 1, "netting": 0.3},
        "question_id": 458752000,
        "question_type": "what is this",
        "sent": "What is this photo taken looking through?",
    },
    {
        "answer_type": "number",
        "img_id": "COCO_train2014_000000458752",
        "label": {},
        "question_id": 458752001,
        "question_type": "how many",
        "sent": "How many players?",
    },
    {
        "img_id": "COCO_test2015_000000262144",
        "question_id": 262144000,
        "sent": "Is the ball flying towards the batter?",
    },
]
VIZWIZ = [
    {
        "image": f"VizWiz_val_0000000{number}.jpg",
        "question": "Ok. There is another picture I hope it is a better one.",
        "answers": [
            {"answer": answer, "answer_confidence": "yes"}
            for answer in ["unanswerable"] * 8 + ["Soda", "soda"]
        ],
        "answer_type": "unanswerable",
        "answerable": 0,
    }
    for number in range(3)
]
GQA_RELEASE = [
    {
        "img_id": f"23{number}",
        "label": {"pipe": 1.0},
        "question_id": f"0733340{number}",
        "sent": "What is on the white wall?",
    }
    for number in range(3)
]
GQA_OFFICIAL = {
    f"0293015{number}": {
        "semantic": [{"operation": "select", "dependencies": [], "argument": "sky (2486325)"}],
        "entailed": ["02930160"],
        "equivalent": ["02930152"],
        "question": "Is the sky dark?",
        "imageId": "2354786",
        "isBalanced": True,
        "groups": {"global": None, "local": "06-sky_dark"},
        "answer": "yes",
        "semanticStr": "select: sky (2486325)->verify color: dark [0]",
        "annotations": {"answer": {}, "question": {"2": "2486325"}, "fullAnswer": {}},
        "types": {"detailed": "verifyAttr", "semantic": "attr", "structural": "verify"},
        "fullAnswer": "Yes, the sky is dark.",
    }
    for number in range(3)
}
NLVR = [
    {
        "sentence": "There is a tower with exactly two blocks.",
        "label": ("false", "true")[number % 2],
        "identifier": f"72-{number}",
        "directory": "5",
        "evals": {"r1": "true", "r4": "false"},
        "structured_rep": [[{"y_loc": 80, "type": "square", "color": "Black", "size": 20}], [], []],
    }
    for number in range(3)
]
NLVR2_RELEASE = [
    {
        "identifier": f"train-10171-0-{number}",
        "img0": "train-10171-0-img0",
        "img1": "train-10171-0-img1",
        "label": number % 2,
        "sent": "An image shows one leather pencil case.",
        "uid": f"nlvr2_train_{number}",
    }
    for number in range(3)
]
NLVR2_OFFICIAL = [
    {
        "sentence": "The right image shows a curving walkway of dark glass.",
        "left_url": "https://example.org/left.jpg",
        "right_url": "https://example.org/right.jpg",
        "writer": 177,
        "validation": {"20": "True", "24": "True"},
        "label": ("False", "True")[number % 2],
        "synset": "skywalk",
        "query": "skywalk1",
        "identifier": f"dev-850-{number}-0",
        "extra_validations": {},
    }
    for number in range(3)
]
PRETRAINING = [
    {
        "img_id": f"COCO_train2014_00000031855{number}",
        "labelf": {"vqa": [{"no": 1}, {"blue": 1, "blue and white": 0.3}]},
        "sentf": {
            "mscoco": ["A very clean bathroom", "A blue and white bathroom."],
            "vqa": ["Is the sink full of water?", "What color are the walls?"],
        },
    }
    for number in range(3)
]
COCO_CAPTIONS = {
    "info": {"description": "COCO 2014 Dataset", "year": 2014},
    "images": [
        {"license": 5, "file_name": "COCO_val2014_000000391895.jpg", "height": 360, "id": 391895},
        {"license": 4, "file_name": "000000522418.jpg", "height": 480, "id": 522418},
    ],
    "licenses": [{"id": 1, "name": "Attribution"}],
    "annotations": [
        {"image_id": 391895, "id": 770337, "caption": "A man with a red helmet."},
        {"image_id": 522418, "id": 770338, "caption": "A woman cutting a large cake."},
        {"image_id": 391895, "id": 771687, "caption": "A man on a dirt bike."},
    ],
}
VQA_QUESTIONS = {
    "info": {"description": "This is v2.0 of the VQA dataset."},
    "task_type": "Open-Ended",
    "data_type": "mscoco",
    "license": {"name": "CC"},
    "data_subtype": "val2014",
    "questions": [
        {"image_id": 262148, "question": "Where is he looking?", "question_id": 262148000},
        {"image_id": 262148, "question": "What is he on?", "question_id": 262148002},
        {"image_id": 393225, "question": "What website?", "question_id": 393225001},
    ],
}
VQA_ANNOTATIONS = {
    "info": {},
    "license": {},
    "data_subtype": "val2014",
    "annotations": [
        {
            "question_type": "none of the above",
            "multiple_choice_answer": "down",
            "answers": [
                {"answer": answer, "answer_confidence": "yes", "answer_id": number + 1}
                for number, answer in enumerate(["down"] * 8 + ["At the table.", "Down"])
            ],
            "image_id": question["image_id"],
            "answer_type": "other",
            "question_id": question["question_id"],
        }
        for question in VQA_QUESTIONS["questions"]
    ],
    "data_type": "mscoco",
}
JSON_LINES = [
    {
        "image": "kitchen-1",
        "sentence": "what is there?",
        "answers": {"a cup": 1, "cup": 0.5},
    },
    {"image": 17, "sentence": "A cup.", "id": "mine", "question_type": "what"},
    {
        "image": "kitchen-1",
        "sentence": "how many?",
        "answers": ["2"],
        "answer_type": "number",
    },
]
JSON_LINES_PAIRS = [
    {"image": ["left", number], "sentence": "both show a cup", "answers": "True"}
    for number in range(3)
]

QUESTIONS_FILE = "v2_OpenEnded_mscoco_val2014_questions.json"
ANNOTATIONS_FILE = "v2_mscoco_val2014_annotations.json"

# By format: its reader, the content of a file, where its items are in it, and its keys that a
# sentence cannot do without.
FORMATS = {
    "vqa_release": (VqaRelease, VQA_RELEASE, (), ("question_id", "img_id", "sent")),
    "vizwiz": (VizWiz, VIZWIZ, (), ("image", "question")),
    "gqa_release": (GqaRelease, GQA_RELEASE, (), ("question_id", "img_id", "sent")),
    "gqa_official": (GqaOfficial, GQA_OFFICIAL, (), ("question", "imageId")),
    "nlvr": (Nlvr, NLVR, (), ("identifier", "sentence")),
    "nlvr2_release": (Nlvr2Release, NLVR2_RELEASE, (), ("identifier", "img0", "img1", "sent")),
    "nlvr2_official": (Nlvr2Official, NLVR2_OFFICIAL, (), ("identifier", "sentence")),
    "pretraining": (PretrainingJson, PRETRAINING, (), ("img_id", "sentf")),
    "coco_captions": (CocoCaptions, COCO_CAPTIONS, ("annotations",), ("id", "image_id", "caption")),
    "vqa_official": (
        VqaOfficial,
        VQA_QUESTIONS,
        ("questions",),
        ("question_id", "image_id", "question"),
    ),
    "json_lines": (JsonLines, JSON_LINES, (), ("image", "sentence")),
    "json_lines_pairs": (JsonLinesPairs, JSON_LINES_PAIRS, (), ("image", "sentence")),
}
BY_LINE = ("nlvr", "nlvr2_official", "json_lines", "json_lines_pairs")


def content_of(name: str):
    """A copy of a format's sample, to be broken."""
    return copy.deepcopy(FORMATS[name][1])


def encode(name: str, content) -> bytes:
    """The file that holds it."""
    if name in BY_LINE and isinstance(content, list):
        return "".join(f"{json.dumps(line)}\n" for line in content).encode()
    return json.dumps(content).encode()


def write(name: str, folder: pathlib.Path, data: bytes) -> pathlib.Path:
    """Writes a file of a format, and what belongs beside it."""
    if name == "vqa_official":
        (folder / ANNOTATIONS_FILE).write_text(json.dumps(VQA_ANNOTATIONS))
    path = folder / (QUESTIONS_FILE if name == "vqa_official" else "annotations.json")
    path.write_bytes(data)
    return path


def read(reader: SentenceReader, path) -> list[ReadSentence | ReadError]:
    [file] = find_inputs([str(path)])
    return list(reader.read(file))


def read_content(name: str, folder: pathlib.Path, content) -> list[ReadSentence | ReadError]:
    return read(FORMATS[name][0](), write(name, folder, encode(name, content)))


def problems(items) -> list[tuple[int | None, str, str]]:
    return [(p.line, p.id, p.reason) for p in items if isinstance(p, ReadError)]


def sentences(items) -> list[ReadSentence]:
    return [item for item in items if isinstance(item, ReadSentence)]
