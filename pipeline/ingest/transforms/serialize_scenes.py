"""Read the regions of joined scenes back, and serialize records."""

from collections.abc import Iterator

import apache_beam as beam

from lxmert_tf.data.schema import decode_scene, encode_images, replace_sentences
from pipeline.beam.spill import Spilled, read_spilled
from pipeline.ingest.elements import JoinedScene
from pipeline.ingest.region_store import RegionStoreReader


def scene_records(joined: JoinedScene, store: RegionStoreReader, layout: str) -> Iterator[bytes]:
    """Yield the records of a scene, which are serialized tf.Examples.

    Args:
        joined: The scene.
        store: Reads its regions.
        layout: "grouped" for one record, "flat" for one per sentence.
    """
    images = [store.read(ref) for ref in joined.regions]
    if len(images) == 1:
        [serialized] = images
    else:
        decoded = tuple(decode_scene(image).images[0] for image in images)
        serialized = encode_images(decoded)
    groups = [joined.sentences] if layout == "grouped" else [(s,) for s in joined.sentences]
    for sentences in groups:
        yield replace_sentences(serialized, sentences)


class SerializeScenes(beam.DoFn):
    """Serialize spilled `JoinedScene`; emits records.

    Args:
        layout: As for `scene_records`.
        folder: The work folder.
    """

    def __init__(self, layout: str, folder: str):
        self._layout, self._folder = layout, folder

    def start_bundle(self):
        """Open the region store."""
        self._store = RegionStoreReader()

    def finish_bundle(self):
        """Close the region store."""
        self._store.close()

    def process(self, spilled: Spilled) -> Iterator[bytes]:
        """Yield the records of scenes."""
        for scenes in read_spilled([spilled], self._folder):
            for joined in scenes:
                yield from scene_records(joined, self._store, self._layout)
