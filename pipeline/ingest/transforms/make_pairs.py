"""Make scenes of two images."""

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam

from pipeline.beam.spill import (
    GroupSpilled,
    Spilled,
    SpilledElement,
    keyed,
    only_spilled,
    read_groups,
    spill,
)
from pipeline.ingest.elements import (
    MISSING,
    AnnotatedSentence,
    JoinedScene,
    ReadCount,
    Reject,
    only,
    ordered,
    reject_image,
)
from pipeline.ingest.region_store import RegionRef
from pipeline.ingest.shards import place_scene
from pipeline.ingest.transforms.join_by_image import ImageGroup, JoinByImage


class ImageSide(NamedTuple):
    """An image as one side of a scene of two.

    Args:
        image_ids: The names of the scene's images in the sentence.
        side: Position of the image in the pair: 0 for left, 1 for right.
        regions: Its regions; None if they are missing.
        sentence: A sentence about the scene; only on side 0, so that each comes once.
        reason: Why the regions are missing.
    """

    image_ids: tuple[str, ...]
    side: int
    regions: RegionRef | None
    sentence: AnnotatedSentence | None
    reason: str = MISSING


class ImageUse(NamedTuple):
    """The outcome for an image: whether it became part of a scene.

    Args:
        regions: Of the image.
        is_used: False if the scene lacks its other image.
    """

    regions: RegionRef
    is_used: bool


class MakePairs(beam.PTransform):
    """Make scenes of two images; emits spilled `JoinedScene`, `Reject`, and `ReadCount`.

    Args:
        complete, shards, folder: As for `MakeScenes`.
    """

    def __init__(self, complete: bool, shards: int, folder: str):
        super().__init__()
        self._complete, self._shards, self._folder = complete, shards, folder

    def expand(self, collections) -> beam.PCollection:
        """Group images, then sides of scenes by scene, and look for images in no scene."""
        sides = collections | JoinByImage(split_sides, ImageSide, _by_scene, self._folder)
        pairs = (
            sides
            | "ByScene" >> GroupSpilled(ImageSide)
            | "MakePairs" >> beam.FlatMap(self._make_pairs)
        )
        unused = (
            pairs
            | "ByImage" >> GroupSpilled(ImageUse)
            | "RejectUnused" >> beam.FlatMap(self._reject_unused)
        )
        return (
            sides | "SideRejects" >> only(Reject),
            sides | "SideCounts" >> only(ReadCount),
            pairs | "Pairs" >> only_spilled(JoinedScene),
            pairs | "PairRejects" >> only(Reject),
            unused,
        ) | beam.Flatten()

    def _make_pairs(self, spilled: Iterable[Spilled]) -> Iterator[Spilled | Reject]:
        made = (
            element
            for image_ids, sides in read_groups(spilled, self._folder)
            for element in make_pair(image_ids, sides, self._complete)
        )
        place = functools.partial(place_scene, shards=self._shards)
        without_uses = spill(made, ImageUse, self._folder, _by_use)
        return spill(without_uses, JoinedScene, self._folder, place)

    def _reject_unused(self, spilled: Iterable[Spilled]) -> Iterator[Reject]:
        for image_id, uses in read_groups(spilled, self._folder):
            yield from reject_unused(image_id, uses)


def _by_scene(side: ImageSide) -> Iterator[SpilledElement]:
    yield keyed(side.image_ids, side)


def _by_use(use: ImageUse) -> Iterator[SpilledElement]:
    yield keyed(use.regions.image_id, use)


def split_sides(group: ImageGroup) -> Iterator[ImageSide | Reject | ReadCount]:
    """Yield an image once for each sentence and each side of its scene that the image is."""
    yield from group.rejects()
    yield from group.counts()
    regions = group.regions[0] if group.regions else None
    for annotated in group.sentences:
        for side, name in enumerate(annotated.image_ids):
            if name in group.names:
                sentence = annotated if side == 0 else None
                yield ImageSide(annotated.image_ids, side, regions, sentence, group.reason)


def make_pair(
    image_ids: tuple[str, ...], sides: Iterable[ImageSide], complete: bool = True
) -> Iterator[JoinedScene | Reject | ImageUse]:
    """Yield the scene of two images, or rejects if one is missing, and the use of each image."""
    sides = list(sides)
    by_side = {side.side: side for side in sides}
    regions = [by_side[side].regions for side in range(len(image_ids))]
    sentences = [side.sentence for side in sides if side.sentence]
    for ref in regions:
        if ref:
            yield ImageUse(ref, all(regions))
    found = tuple(ref for ref in regions if ref)
    if len(found) == len(regions):
        yield JoinedScene(tuple(ref.image_id for ref in found), found, ordered(sentences))
    elif complete:
        missing = regions.index(None)
        for annotated in sentences:
            yield annotated.reject(by_side[missing].reason, image_ids[missing])


def reject_unused(image_id: str, uses: Iterable[ImageUse]) -> Iterator[Reject]:
    """Yield a reject for an image whose every scene lacks the other image."""
    uses = list(uses)
    if not any(use.is_used for use in uses):
        yield reject_image(uses[0].regions, "the image beside it is missing")
