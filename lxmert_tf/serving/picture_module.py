"""The signatures of a model that is exported with a detector: pictures in, answers out."""

import tensorflow as tf

from lxmert_tf.detector.boxes import relative_boxes
from lxmert_tf.detector.detector import Detector
from lxmert_tf.detector.image_preparation import prepare_image
from lxmert_tf.errors import InputError
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.serving.picture_decoding import decode_picture
from lxmert_tf.serving.signatures import AnswerModule, shared_graph

NO_REGIONS = "no regions were found in the image"


class PictureModule(AnswerModule):
    """Answers questions about pictures, whose regions a detector in the same graph finds.

    Args:
        model: The model.
        detector: The detector whose features the model reads.
        max_length: See `ServedModule`.
        top_k: See `ServedModule`.

    Raises:
        InputError: See `ServedModule`, or the model reads features of another size.
    """

    def __init__(
        self,
        model: LxmertAnswerClassifier,
        detector: Detector,
        max_length: int = 20,
        top_k: int = 5,
    ):
        super().__init__(model, max_length, top_k)
        given, read = detector.config.feature_size, model.config.region_feature_size
        if given != read:
            raise InputError(
                f"the detector gives {given} features per region, but the model reads {read}"
            )
        # As for the model, only the variables are tracked.
        object.__setattr__(self, "_detector", detector)
        self._detector_variables = detector.variables
        self._find = shared_graph(self._find_regions, tf.TensorSpec([None], tf.string))

    def answer_image(self, image, question):
        """Answer one question per picture. Equal pictures pass the detector once.

        Args:
            image: string [B], the bytes of JPEG or PNG files.
            question: string [B].

        Returns:
            `answers` string [B, k] and `scores` float32 [B, k] in 0..1, best first, and `error`
            string [B]: why a picture is refused, or empty. The answers about a refused picture are
            empty, and their scores 0.
        """
        same = tf.debugging.assert_equal(
            tf.size(image), tf.size(question), message="image and question differ in batch size"
        )
        with tf.control_dependencies([same]):
            pictures, row = tf.unique(image)
        return self._answer_pictures(pictures, row, question)

    def answer_about_picture(self, image, question):
        """Answer any number of questions about one picture.

        Args:
            image: string [1], the bytes of a JPEG or PNG file.
            question: string [Q].

        Returns:
            `answers` string [Q, k], `scores` float32 [Q, k] and `error` string [Q], as from
            `answer_image`.
        """
        return self._answer_pictures(image, tf.zeros_like(question, tf.int32), question)

    def encode_picture(self, image):
        """Return what depends on the pictures alone, for `answer_about_image`.

        Args:
            image: string [B], the bytes of JPEG or PNG files.

        Returns:
            `image_state` float32 [B, R, H], with zeros in place of padding and for pictures that
            are refused, and `error` string [B], as from `answer_image`.
        """
        found = self._find(image)
        encoded = self.encode_image(found["features"], found["boxes"], found["count"])
        return {**encoded, "error": found["error"]}

    def _answer_pictures(self, pictures, row, question):
        """Answer questions about some of the pictures.

        Args:
            pictures: string [P].
            row: int32 [B], the index of each question's picture.
            question: string [B].
        """
        found = self._find(pictures)
        mask = tf.sequence_mask(found["count"], self._max_regions, tf.int32)
        state = self._encode(found["features"], found["boxes"], mask)
        best = self._best(self._score(question, tf.gather(state, row), tf.gather(mask, row)))
        error = tf.gather(found["error"], row)
        answered = (error == "")[:, tf.newaxis]
        return {
            "answers": tf.where(answered, best["answers"], ""),
            "scores": tf.where(answered, best["scores"], 0.0),
            "error": error,
        }

    def _methods(self):
        question = tf.TensorSpec([None], tf.string, "question")
        image = tf.TensorSpec([None], tf.string, "image")
        one_image = tf.TensorSpec([1], tf.string, "image")
        return {
            **super()._methods(),
            "answer_image": (self.answer_image, (image, question)),
            "answer_about_picture": (self.answer_about_picture, (one_image, question)),
            "encode_picture": (self.encode_picture, (image,)),
        }

    @property
    def _max_regions(self) -> int:
        return self._detector.config.max_regions

    def _find_regions(self, pictures):
        """Return the regions of each picture: `features`, `boxes`, `count` and `error`."""
        size = self._detector.config.feature_size
        # One after the other, so that memory does not grow with their number, and a picture gives
        # the same in every batch.
        return tf.map_fn(
            self._regions_of_one,
            pictures,
            fn_output_signature={
                "features": tf.TensorSpec([self._max_regions, size], tf.float32),
                "boxes": tf.TensorSpec([self._max_regions, 4], tf.float32),
                "count": tf.TensorSpec([], tf.int32),
                "error": tf.TensorSpec([], tf.string),
            },
            parallel_iterations=1,
        )

    def _regions_of_one(self, contents):
        pixels, problem = decode_picture(contents)
        size = self._detector.config.feature_size
        return tf.cond(
            problem == "",
            lambda: self._detect(pixels),
            lambda: {
                "features": tf.zeros([self._max_regions, size]),
                "boxes": tf.zeros([self._max_regions, 4]),
                "count": tf.constant(0),
                "error": problem,
            },
        )

    def _detect(self, pixels):
        """Return the regions in pixels uint8 [height, width, 3]."""
        image, scales = prepare_image(pixels, self._detector.config)
        outputs = self._detector(
            {
                "images": image[tf.newaxis],
                "image_sizes": tf.shape(image)[tf.newaxis, :2],
                "scales": scales[tf.newaxis],
            },
            training=False,
        )
        height, width, _ = tf.unstack(tf.shape(pixels))
        count = outputs["region_count"][0]
        return {
            "features": outputs["features"][0],
            "boxes": relative_boxes(outputs["boxes"][0], height, width),
            "count": count,
            "error": tf.where(count > 0, "", NO_REGIONS),
        }


def make_picture_module(
    model: PresetModel, detector: Detector, max_length: int = 20, top_k: int = 5
) -> PictureModule:
    """Return the signatures of a model with a detector.

    Args:
        model: An `LxmertAnswerClassifier`.
        detector: The detector whose features the model reads.
        max_length: See `ServedModule`.
        top_k: See `ServedModule`.

    Raises:
        InputError: The model is of another class or lacks a part, or the two do not fit.
    """
    if not isinstance(model, LxmertAnswerClassifier):
        raise InputError(
            f"a {type(model).__name__} cannot be exported with a detector; only models that answer "
            "questions about one image can"
        )
    return PictureModule(model, detector, max_length, top_k)
