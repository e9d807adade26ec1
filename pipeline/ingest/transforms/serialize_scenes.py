"""Read the regions of joined scenes back, and serialize records."""

from collections.abc import Iterator

import apache_beam as beam

from lxmert_tf.data.scene import Scene
from lxmert_tf.data.schema import decode_scene, encode_scene, replace_sentences
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
        serialized = encode_scene(Scene(decoded, ()))
    groups = [joined.sentences] if layout == "grouped" else [(s,) for s in joined.sentences]
    for sentences in groups:
        yield replace_sentences(serialized, sentences)


class SerializeScenes(beam.DoFn):
    """Serialize `JoinedScene` elements; emits records.

    Args:
        layout: As for `scene_records`.
    """

    def __init__(self, layout: str):
        self._layout = layout

    def start_bundle(self):
        """Open the region store."""
        self._store = RegionStoreReader()

    def finish_bundle(self):
        """Close the region store."""
        self._store.close()

    def process(self, joined: JoinedScene) -> Iterator[bytes]:
        """Yield the records of a scene."""
        yield from scene_records(joined, self._store, self._layout)
