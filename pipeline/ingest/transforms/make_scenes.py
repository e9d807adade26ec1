"""Make scenes of one image."""

import functools
from collections.abc import Iterator

import apache_beam as beam

from pipeline.ingest.elements import JoinedScene, ReadCount, Reject, ordered
from pipeline.ingest.shards import place_scene
from pipeline.ingest.transforms.join_by_image import ImageGroup, JoinByImage


class MakeScenes(beam.PTransform):
    """Make scenes of one image; emits spilled `JoinedScene`, `Reject`, and `ReadCount`.

    Args:
        complete: Whether to reject sentences without an image; not in a trial of a few images.
        shards: Number of record files.
        folder: The work folder.
    """

    def __init__(self, complete: bool, shards: int, folder: str):
        super().__init__()
        self._make = functools.partial(make_scene, complete=complete)
        self._place = functools.partial(place_scene, shards=shards)
        self._folder = folder

    def expand(self, collections) -> beam.PCollection:
        """Join the outputs of `ReadRegions` and `RejectRepeated`, and make each image a scene."""
        return collections | JoinByImage(self._make, JoinedScene, self._place, self._folder)


def make_scene(group: ImageGroup, complete: bool) -> Iterator[JoinedScene | Reject | ReadCount]:
    """Yield the scene of an image, or rejects if its regions or its sentences are missing."""
    yield from group.rejects()
    yield from group.counts()
    if group.regions and group.sentences:
        sentences = ordered(group.sentences)
        yield JoinedScene((group.image_id,), (group.regions[0],), sentences)
    elif complete:
        for annotated in group.sentences:
            yield annotated.reject(group.reason, group.image_id)
