"""Pictures for tests of the extraction, and what it writes."""

import json
import pathlib

import numpy as np
from PIL import Image

from lxmert_tf.data.scene import SceneImage
from pipeline.ingest.job import run_ingest
from tests.pipeline.ingest.job_files import config_of, scenes_in


def draw(path: pathlib.Path, width=40, height=30, seed=0) -> pathlib.Path:
    """Write a picture of noise; another seed gives another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, [height, width, 3], np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def draw_many(folder: pathlib.Path, count: int, **size) -> pathlib.Path:
    """Write pictures p00.png, p01.png, and so on."""
    for number in range(count):
        draw(folder / f"p{number:02}.png", seed=number, **size)
    return folder


def ingested(regions, folder: pathlib.Path, **options) -> dict[str, SceneImage]:
    """Return the images of the records that `lxmert ingest` makes of region files, by id.

    Args:
        regions: A pattern or path.
        folder: A folder to write into.
        **options: Fields of the ingestion's configuration.
    """
    # Nothing but names of images is needed, so every id that may be there gets a sentence.
    folder.mkdir(parents=True)
    names = [f"p{number:02}" for number in range(20)] + ["photo [0]", "train/1", "val/1"]
    lines = (json.dumps({"image": name, "sentence": "what is it?"}) for name in names)
    (folder / "sentences.jsonl").write_text("".join(f"{line}\n" for line in lines))
    config = config_of(
        [regions],
        [folder / "sentences.jsonl"],
        form="json_lines",
        feature_dtype="float32",
        max_reject_fraction=1.0,
        **options,
    )
    run_ingest(config, folder / "records")
    return {scene.images[0].id: scene.images[0] for scene in scenes_in(folder / "records")}


def assert_same_regions(found, expected, labels=True, boxes_within=0.0) -> None:
    """Check that regions are equal; boxes may differ by `boxes_within`."""
    np.testing.assert_array_equal(found.features, expected.features)
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=boxes_within)
    for name in (
        f"{kind}_{part}" for kind in ("object", "attribute") for part in ("ids", "confidences")
    ):
        if labels:
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
        else:
            assert getattr(found, name) is None


def files_in(folder: pathlib.Path) -> dict[str, bytes]:
    """Return the content of all files in a folder, by path."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
