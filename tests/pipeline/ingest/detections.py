"""What a detector found in an image, for the files that tests write."""

import base64
import dataclasses

import numpy as np

from tests.reference import reference_file


@dataclasses.dataclass
class Detections:
    """An image's arrays, boxes in pixels."""

    image_id: str
    height: int
    width: int
    features: np.ndarray
    boxes: np.ndarray
    object_ids: np.ndarray
    object_confidences: np.ndarray
    attribute_ids: np.ndarray
    attribute_confidences: np.ndarray

    def check(self, image, object_labels=True, attribute_labels=True):
        """Asserts that an image that was read holds just this."""
        assert (image.id, image.height, image.width) == (self.image_id, self.height, self.width)
        regions = image.regions
        np.testing.assert_array_equal(regions.features, self.features)
        assert regions.features.dtype == self.features.dtype
        scale = np.array([self.width, self.height] * 2, np.float32)
        np.testing.assert_array_equal(regions.boxes, self.boxes / scale)
        assert regions.boxes.dtype == np.float32
        for kind, given in (("object", object_labels), ("attribute", attribute_labels)):
            for name in (f"{kind}_ids", f"{kind}_confidences"):
                if given:
                    np.testing.assert_array_equal(getattr(regions, name), getattr(self, name))
                else:
                    assert getattr(regions, name) is None


def small(image_id: str, count: int = 3, size: int = 8, dtype=np.float32) -> Detections:
    """A made-up image; the same id gives the same."""
    random = np.random.default_rng(list(image_id.encode()))
    corners = np.sort(random.uniform(0, 1, [count, 2, 2]), axis=1).reshape(count, 4)
    return Detections(
        image_id,
        height=48,
        width=64,
        features=random.uniform(0, 3, [count, size]).astype(dtype),
        boxes=(corners * [64, 48, 64, 48]).astype(np.float32),
        object_ids=random.integers(0, 1600, count),
        object_confidences=random.uniform(0, 1, count).astype(np.float32),
        attribute_ids=random.integers(0, 400, count),
        attribute_confidences=random.uniform(0, 1, count).astype(np.float32),
    )


def real() -> list[Detections]:
    """The images of the release's sample."""
    rows = reference_file("coco_obj36_sample.tsv").read_text().splitlines()
    return [_of_row(row) for row in rows]


def _of_row(row: str) -> Detections:
    cells = row.split("\t")

    def array(position, dtype, *shape):
        return np.frombuffer(base64.b64decode(cells[position]), dtype).reshape(shape)

    count = int(cells[7])
    return Detections(
        cells[0],
        int(cells[1]),
        int(cells[2]),
        object_ids=array(3, np.int64, count),
        object_confidences=array(4, np.float32, count),
        attribute_ids=array(5, np.int64, count),
        attribute_confidences=array(6, np.float32, count),
        boxes=array(8, np.float32, count, 4),
        features=array(9, np.float32, count, -1),
    )
