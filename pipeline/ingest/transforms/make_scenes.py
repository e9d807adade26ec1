"""Make scenes of one image."""

from collections.abc import Iterator

import apache_beam as beam

from pipeline.ingest.elements import JoinedScene, ReadCount, Reject, ordered
from pipeline.ingest.transforms.join_by_image import ImageGroup


class MakeScenes(beam.PTransform):
    """Make scenes of one image from `ImageGroup`; emits `JoinedScene` and `Reject`.

    Args:
        complete: Whether to reject sentences without an image; not in a trial of a few images.
    """

    def __init__(self, complete: bool):
        super().__init__()
        self._complete = complete

    def expand(self, groups: beam.PCollection) -> beam.PCollection:
        """Make each group a scene."""
        return groups | beam.FlatMap(make_scene, self._complete)


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
