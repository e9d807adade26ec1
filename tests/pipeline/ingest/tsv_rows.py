"""Rows of the text formats, written independently of what reads them."""

import base64

import numpy as np

from tests.pipeline.ingest.detections import Detections


def lxmert_cells(image: Detections) -> dict[str, bytes]:
    """The cells of a row of the release, by the names of their columns."""
    return {
        "img_id": image.image_id.encode(),
        "img_h": b"%d" % image.height,
        "img_w": b"%d" % image.width,
        "objects_id": encode(image.object_ids, "<i8"),
        "objects_conf": encode(image.object_confidences),
        "attrs_id": encode(image.attribute_ids, "<i8"),
        "attrs_conf": encode(image.attribute_confidences),
        "num_boxes": b"%d" % len(image.features),
        "boxes": encode(image.boxes),
        "features": encode(image.features),
    }


def bottom_up_cells(image: Detections) -> dict[str, bytes]:
    """The cells of a row of bottom-up attention."""
    return {
        "image_id": image.image_id.encode(),
        "image_w": b"%d" % image.width,
        "image_h": b"%d" % image.height,
        "num_boxes": b"%d" % len(image.features),
        "boxes": encode(image.boxes),
        "features": encode(image.features),
    }


def row(cells: dict[str, bytes], end: bytes = b"\n") -> bytes:
    return b"\t".join(cells.values()) + end


def encode(values, dtype: str = "<f4") -> bytes:
    return base64.b64encode(np.asarray(values).astype(dtype).tobytes())
