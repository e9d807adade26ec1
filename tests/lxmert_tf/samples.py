"""What several tests start from: a small model's sizes and inputs, and easy-VQA's real pictures."""

import collections
import dataclasses

import easy_vqa
import numpy as np
import tensorflow as tf

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertConfig, LxmertPretrainer
from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.data.schema import encode_scene
from lxmert_tf.regions.grid import GridExtractor
from lxmert_tf.regions.image import read_image

MODEL_CLASSES = (LxmertBackbone, LxmertAnswerClassifier, LxmertPretrainer)

# Every size is another number, so that axes cannot be mistaken for each other; initial weights
# are wide, so that attention is far from uniform and a wrong mask or axis shows.
CONFIG = LxmertConfig(
    hidden_size=16,
    num_attention_heads=2,
    intermediate_size=24,
    language_layers=3,
    cross_layers=2,
    relationship_layers=1,
    vocab_size=50,
    max_position_embeddings=32,
    region_feature_size=12,
    num_objects=13,
    num_attributes=11,
    num_answers=17,
    hidden_dropout=0.0,
    attention_dropout=0.0,
    initializer_range=0.3,
)


def config(**changes) -> LxmertConfig:
    """`CONFIG` with other values."""
    return dataclasses.replace(CONFIG, **changes)


def model_inputs(tokens=(7, 4, 1), regions=(5, 3, 1), seed=0) -> dict[str, np.ndarray]:
    """A batch with so many tokens and regions per example, padded to the most with garbage."""
    random = np.random.default_rng(seed)
    batch, length, most = len(tokens), max(tokens), max(regions)
    corners = np.sort(random.uniform(size=[batch, most, 2, 2]), axis=2)
    return {
        "token_ids": random.integers(0, CONFIG.vocab_size, [batch, length], np.int32),
        "segment_ids": random.integers(0, 2, [batch, length], np.int32),
        "padding_mask": (np.arange(length) < np.array(tokens)[:, None]).astype(np.int32),
        "region_features": random.normal(size=[batch, most, CONFIG.region_feature_size]).astype(
            np.float32
        ),
        "region_boxes": corners.reshape(batch, most, 4).astype(np.float32),
        "region_mask": (np.arange(most) < np.array(regions)[:, None]).astype(np.int32),
    }


def named_outputs(outputs) -> dict:
    """A model's outputs as a dict, also those of the classifier, which has one."""
    return outputs if isinstance(outputs, dict) else {"answer_logits": outputs}


def easy_vqa_scenes(count: int, extractor: GridExtractor | None = None) -> list[Scene]:
    """The first pictures of easy-VQA's test split with their questions, grouped."""
    extractor = extractor or GridExtractor()
    sentences = collections.defaultdict(list)
    for number, (question, answer, image) in enumerate(zip(*easy_vqa.get_test_questions())):
        kind = "yes/no" if answer in ("yes", "no") else "other"
        sentences[image].append(
            Sentence(f"test-{number}", question, "easy_vqa", "", kind, ((answer, 1.0),))
        )
    scenes = []
    for number, path in sorted(easy_vqa.get_test_image_paths().items())[:count]:
        pixels = read_image(path)
        image = SceneImage(f"test-{number}", *pixels.shape[:2], extractor.extract(pixels))
        scenes.append(Scene((image,), tuple(sentences[number])))
    return scenes


def pair_scenes(count: int, extractor: GridExtractor | None = None) -> list[Scene]:
    """Two of easy-VQA's pictures each, with statements of which every other is true."""
    single = easy_vqa_scenes(2 * count, extractor)
    return [
        Scene(
            single[2 * i].images + single[2 * i + 1].images,
            tuple(
                Sentence(
                    f"pair-{i}-{j}",
                    f"the {side} picture has a shape in it .",
                    "nlvr2",
                    side,
                    answers=(("True" if (i + j) % 2 else "False", 1.0),),
                )
                for j, side in enumerate(("left", "right", "other")[: 1 + i % 3])
            ),
        )
        for i in range(count)
    ]


def write_records(path, scenes, compression="") -> str:
    """Write a TFRecord file of scenes; return its name."""
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for scene in scenes:
            writer.write(encode_scene(scene))
    return str(path)


def one_line(raised) -> str:
    """The text of what `pytest.raises` caught, which must be one line as a command prints it."""
    text = str(raised.value)
    assert text.strip() == text != ""
    assert len(text.splitlines()) == 1
    return text
