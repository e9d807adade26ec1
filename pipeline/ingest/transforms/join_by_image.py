"""Join regions and sentences by the image that they are about."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

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
    AMBIGUOUS,
    BY_NUMBER,
    MISSING,
    UNUSED,
    AnnotatedSentence,
    ReadCount,
    Reject,
    only,
    reject_image,
    sum_counts,
)
from pipeline.ingest.image_names import image_key, match_names, parse_name
from pipeline.ingest.region_store import RegionRef


class ImageGroup(NamedTuple):
    """All that was read about one image.

    Args:
        image_id: The id; that of an image without regions is the name in the annotations.
        regions: Of the image, in the order in which they were read. Only the first is used.
        sentences: About the image.
        names: The image's names in the sentences.
        reason: Why the image is not found, if there are no regions.
        by_number: Whether the image was found by its number alone.
    """

    image_id: str
    regions: list[RegionRef]
    sentences: list[AnnotatedSentence]
    names: frozenset[str]
    reason: str = MISSING
    by_number: bool = False

    def rejects(self) -> Iterator[Reject]:
        """Yield repetitions of the image."""
        for ref in self.regions[1:]:
            yield reject_image(ref, "duplicate image id")

    def counts(self) -> Iterator[ReadCount]:
        """Yield a count if the image was found by its number, or if no sentence is about it."""
        if self.by_number:
            yield ReadCount(BY_NUMBER, 1)
        if self.regions and not self.sentences:
            yield ReadCount(UNUSED, 1, self.image_id)


class TraitCount(NamedTuple):
    """How many images have what is compared between all images of a job.

    Args:
        trait: Its kind, "feature size" or "numbering", and its value.
        count: How many.
    """

    trait: tuple[str, str | int]
    count: int  # type: ignore[assignment]  # hides tuple.count


class JoinByImage(beam.PTransform):
    """Join spilled `RegionRef` with spilled `AnnotatedSentence`, and make something of each image.

    Emits `Reject` of images whose features have another size than most, and what `make` returns.

    Args:
        make: Called with an `ImageGroup`.
        kind: The class of what it returns that is spilled.
        place: Where that goes, as for `spill`.
        folder: The work folder.
    """

    def __init__(
        self,
        make: Callable[[ImageGroup], Iterable[Any]],
        kind: type,
        place: Callable[[Any], Iterable[SpilledElement]],
        folder: str,
    ):
        super().__init__()
        self._make, self._kind, self._place, self._folder = make, kind, place, folder

    def expand(self, collections):
        """Group the outputs of `ReadRegions` and `RejectRepeated` by the keys of image names."""
        regions, sentences = collections
        traits = (
            regions
            | "Traits" >> only(TraitCount)
            | "EachTrait" >> beam.Map(lambda same: (same.trait, same.count))
            | "CountTraits" >> beam.CombinePerKey(sum)
        )
        return (
            (
                regions | "SpilledRegions" >> only_spilled(RegionRef),
                sentences | "SpilledSentences" >> only_spilled(AnnotatedSentence),
            )
            | beam.Flatten()
            | "ByImage" >> GroupSpilled(RegionRef, AnnotatedSentence)
            | "JoinPartition" >> beam.FlatMap(self._join, beam.pvalue.AsDict(traits))
        )

    def _join(self, spilled: Iterable[Spilled], traits: Mapping[tuple, int]) -> Iterator[Any]:
        made = (
            element
            for key, values in read_groups(spilled, self._folder)
            for group in make_image_groups(key, _by_kind(values), traits)
            for element in ([group] if isinstance(group, Reject) else self._make(group))
        )
        return spill(sum_counts(made), self._kind, self._folder, self._place)


def count_traits(refs: Iterable[Any]) -> Iterator[Any]:
    """Yield elements, and at the end a `TraitCount` for each trait of those of `RegionRef`."""
    traits: collections.Counter[tuple[str, str | int]] = collections.Counter()
    for ref in refs:
        yield ref
        if isinstance(ref, RegionRef):
            traits["feature size", ref.feature_size] += 1
            if numbering := parse_name(ref.name).numbering:
                traits["numbering", numbering] += 1
    yield from itertools.starmap(TraitCount, traits.items())


def by_image(ref: RegionRef) -> Iterator[SpilledElement]:
    """Yield the image under the key of its name."""
    yield keyed(image_key(ref.name), ref)


def by_each_image(annotated: AnnotatedSentence) -> Iterator[SpilledElement]:
    """Yield the sentence under the key of each of its images."""
    for key in dict.fromkeys(map(image_key, annotated.image_ids)):
        yield keyed(key, annotated)


def _by_kind(values: Iterable[Any]) -> dict[str, list[Any]]:
    kinds: dict[str, list[Any]] = {"regions": [], "sentences": []}
    for value in values:
        kinds["regions" if isinstance(value, RegionRef) else "sentences"].append(value)
    return kinds


def make_image_groups(
    key: str, grouped: Mapping[str, Iterable], traits: Mapping[tuple, int]
) -> Iterator[ImageGroup | Reject]:
    """Yield a group for each image that has a key, and each name that has no image.

    Args:
        key: The key (`image_key`).
        grouped: `regions` and `sentences` that have it, in any order.
        traits: How many images of the job have each of `image_traits`. If there are several ways
            of numbering, equal numbers may be of different images.
    """
    size = _most_common_size(traits)
    use_numbers = sum(kind == "numbering" for kind, _ in traits) < 2
    regions: dict[str, list[RegionRef]] = {}
    # The order does not depend on the runner.
    for ref in sorted(grouped["regions"], key=lambda ref: ref.order):
        if ref.feature_size == size:
            regions.setdefault(ref.image_id, []).append(ref)
        else:
            yield reject_image(ref, "its features have another size than those of most images")
    sentences: dict[str, list[AnnotatedSentence]] = {}
    for annotated in grouped["sentences"]:
        for name in dict.fromkeys(annotated.image_ids):
            if image_key(name) == key:
                sentences.setdefault(name, []).append(annotated)
    full_names = {image_id: refs[0].name for image_id, refs in regions.items()}
    matches = match_names(sorted(sentences), full_names, use_numbers)
    names: dict[str, list[str]] = {image_id: [] for image_id in regions}
    for name in sentences:
        if name in matches.ids:
            names[matches.ids[name]].append(name)
        else:
            reason = AMBIGUOUS if name in matches.ambiguous else MISSING
            yield ImageGroup(name, [], sentences[name], frozenset([name]), reason)
    for image_id, refs in regions.items():
        # A sentence about two images may use two names of one image.
        about = {id(a): a for name in names[image_id] for a in sentences[name]}
        yield ImageGroup(
            image_id,
            refs,
            list(about.values()),
            frozenset(names[image_id]),
            by_number=image_id in matches.by_number,
        )


def _most_common_size(traits: Mapping[tuple, int]) -> int | None:
    sizes = {value: count for (kind, value), count in traits.items() if kind == "feature size"}
    return max(sizes, key=lambda size: (sizes[size], size), default=None)
