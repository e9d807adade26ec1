"""Join regions and sentences by the image that they are about."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import apache_beam as beam

from pipeline.ingest.elements import (
    AMBIGUOUS,
    BY_NUMBER,
    MISSING,
    UNUSED,
    AnnotatedSentence,
    ReadCount,
    Reject,
    reject_image,
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


class JoinByImage(beam.PTransform):
    """Join a collection of `RegionRef` and one of `AnnotatedSentence`.

    Emits `ImageGroup`, and `Reject` of images whose features have another size than most.
    """

    def expand(self, collections):
        """Group both collections by the keys of image names."""
        regions, sentences = collections
        traits = (
            regions
            | "EachTrait" >> beam.FlatMap(image_traits)
            | "CountTraits" >> beam.CombinePerKey(sum)
        )
        return (
            {
                "regions": regions | "ByImage" >> beam.WithKeys(lambda ref: image_key(ref.name)),
                "sentences": sentences | "ByEachImage" >> beam.FlatMap(by_each_image),
            }
            | beam.CoGroupByKey()
            | "ImageGroups"
            >> beam.FlatMap(
                lambda group, traits: make_image_groups(*group, traits), beam.pvalue.AsDict(traits)
            )
        )


def image_traits(ref: RegionRef) -> Iterator[tuple[tuple[str, str | int], int]]:
    """Yield (trait, 1) for what is compared between all images of a job."""
    yield ("feature size", ref.feature_size), 1
    if numbering := parse_name(ref.name).numbering:
        yield ("numbering", numbering), 1


def by_each_image(annotated: AnnotatedSentence) -> Iterator[tuple[str, AnnotatedSentence]]:
    """Yield the sentence under the key of each of its images."""
    for key in dict.fromkeys(map(image_key, annotated.image_ids)):
        yield key, annotated


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
