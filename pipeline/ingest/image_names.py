"""Names of images: which names in region files and in annotations are of one image.

A name may have folders before it, a picture's ending after it, and a prefix such as `COCO_val2014_`
before a number with leading zeros. Two names are of one image if they are equal but for parts that
only one of them has. What both have must be equal: `kitchen-1.png` is `kitchen-1`, and
`photos/train/1.png` is `train/1`, but `train/1` is not `val/1`.
"""

import collections
import functools
import os
import re
from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from lxmert_tf.errors import InputError

PICTURE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".avif", ".heic", ".heif", ".jp2", ".pbm", ".pgm", ".pnm", ".ppm"),
)
# A name that is nothing but an ending, such as `.jpg`, has none.
_PICTURE_ENDING = re.compile(
    rf"(?<=.)(\.({'|'.join(ending[1:] for ending in PICTURE_ENDINGS)}))+\Z", re.IGNORECASE
)
_SAME_ENDING = {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "tiff": "tif"}
# The names of MS COCO and of VQA's abstract scenes have 12 digits.
_PADDED = re.compile(r"(?P<prefix>(?:COCO|abstract_v[0-9]+)_[a-z]+[0-9]{4}_)?(?P<number>[0-9]{12})")
# Between an archive and its member.
MEMBER_MARK = re.compile(r"(?<=\.zip)!", re.IGNORECASE)
_BARE = re.compile(r"0|[1-9][0-9]{0,11}")


class ImageName(NamedTuple):
    """The parts of a name.

    Args:
        stem: The name without folders and ending.
        folders: The folders before it.
        ending: A picture's ending, in lower case and without the dot; may be empty.
        prefix: A prefix such as `COCO_val2014_`; may be empty.
        key: The number without leading zeros if the stem is one, with or without a prefix, and
            else the stem. Names of one image have equal keys.
    """

    stem: str
    folders: tuple[str, ...]
    ending: str
    prefix: str
    key: str

    @property
    def numbering(self) -> str:
        """How the name gives a number: "prefix", "zeros" or "bare"; empty if it is no number."""
        if self.prefix:
            return "prefix"
        if self.key != self.stem:
            return "zeros"
        return "bare" if _BARE.fullmatch(self.stem) else ""


def parse_name(name: str) -> ImageName:
    """Return the parts of a name, which may be a path."""
    parts = MEMBER_MARK.sub("/", name).replace("\\", "/").split("/")
    *folders, file = [part for part in parts if part not in ("", ".", "..")] or [name]
    found = _PICTURE_ENDING.search(file)
    stem, ending = (file[: found.start()], found[2].lower()) if found else (file, "")
    padded = _PADDED.fullmatch(stem)
    return ImageName(
        stem,
        tuple(folders),
        _SAME_ENDING.get(ending, ending),
        prefix=(padded["prefix"] or "") if padded else "",
        key=str(int(padded["number"])) if padded else stem,
    )


def name_of_file(path: str) -> str:
    """Return the name of the image that a file holds: the path, without an ending such as `.npz`.

    Args:
        path: Path of the file; that of a gzipped file may end in `.gz`.
    """
    path = re.sub(r"\.gz\Z", "", path, flags=re.IGNORECASE)
    return path if _PICTURE_ENDING.search(path) else os.path.splitext(path)[0]


@functools.lru_cache(maxsize=1 << 12)
def image_key(name: str) -> str:
    """Return the part of a name by which images and sentences are grouped."""
    return parse_name(name).key


class NameMatches(NamedTuple):
    """The images that names of one key stand for.

    Args:
        ids: The image's id by name.
        ambiguous: Names that fit several images, or share an image with a name of another one.
        by_number: Ids of images that were found by their number alone.
    """

    ids: dict[str, str]
    ambiguous: Set[str]
    by_number: Set[str]


def match_names(
    names: Iterable[str], images: Mapping[str, str], use_numbers: bool = True
) -> NameMatches:
    """Find the images of names that have one key.

    A name that is an image's id stands for that image. An image that is found by its number must
    not also be named by its id, because Visual Genome's 9 is not MS COCO's 9.

    Args:
        names: Names in annotations.
        images: Names of the images, as complete as they are known, by id.
        use_numbers: Whether to match a number with one of another form.

    Returns:
        The matches; a name that fits no image is in none of them.
    """
    names = list(dict.fromkeys(names))
    matches = {name: name for name in names if name in images}
    if len(matches) == len(names):
        return NameMatches(matches, set(), set())
    exact = set(matches)
    index = _NameIndex(images)
    ambiguous: set[str] = set()
    by_number: set[str] = set()
    for name in names:
        if name in exact:
            continue
        fits = index.images_of(name, use_numbers)
        numbers = {image_id for image_id, by_its_number in fits.items() if by_its_number}
        if len(fits) > 1 or numbers & exact:
            ambiguous.add(name)
        elif fits:
            [matches[name]] = fits
            by_number |= numbers
    for image_id in _contradicted(matches):
        ambiguous |= {name for name, found in matches.items() if found == image_id} - exact
    matches = {name: found for name, found in matches.items() if name not in ambiguous}
    return NameMatches(matches, ambiguous, by_number & set(matches.values()))


def distinct_ids(names: Iterable[str]) -> dict[str, str]:
    """Return ids of files with one image each: their stems, with what distinguishes equal stems.

    Args:
        names: Names of the files.

    Returns:
        The id by file, each another one. Files whose stems are equal get as many folders as are
        needed, and if these are equal too, their endings. If even these are equal, as those of
        `a.jpg` and `a.jpeg`, the id is the whole name.
    """
    by_stem: dict[str, list[str]] = collections.defaultdict(list)
    for name in dict.fromkeys(names):
        by_stem[parse_name(name).stem].append(name)
    ids: dict[str, str] = {}
    for stem, same in by_stem.items():
        ids |= {same[0]: stem} if len(same) == 1 else _distinguish(same)
    return ids


def ids_of_files(paths: Iterable[str]) -> dict[str, str]:
    """Return names of files without folders and ending, with what tells them apart.

    Args:
        paths: The files.

    Returns:
        The name by path, each another one, as by `distinct_ids`, and with the ending for files
        such as `q.json` and `q.jsonl`, or `a.jpg` and `a.jpg.gz`.
    """
    names = {path: name_of_file(path) for path in paths}
    counts = collections.Counter(names.values())
    names = {path: path if counts[name] > 1 else name for path, name in names.items()}
    if len(set(names.values())) < len(names):
        # `q.json.json` beside them.
        names = {path: path for path in names}
    ids = distinct_ids(names.values())
    return {path: ids[name] for path, name in names.items()}


def distinct_labels(paths: Iterable[str]) -> dict[str, str]:
    """Return the names that `ids_of_files` gives, with bytes that are not UTF-8 as `\\udcff`."""
    return {path: readable(name) for path, name in ids_of_files(paths).items()}


def readable(name: str) -> str:
    """Return a name of a file whose bytes that are not UTF-8 are written as `\\udcff`."""
    return name.encode(errors="backslashreplace").decode()


class OtherImages:
    """Images that are not in a split, whose sentences are left out of it.

    Args:
        inside: Names of the images in the split.
        outside: Names of the others.
    """

    def __init__(self, inside: Iterable[str] = (), outside: Iterable[str] = ()):
        by_key: dict[str, dict[str, str]] = collections.defaultdict(dict)
        inside, outside = frozenset(inside), frozenset(outside)
        self._outside, self._both = outside - inside, outside & inside
        for name in outside:
            by_key[image_key(name)][name] = name
        # Names of images of both kinds that have one key.
        self._shared: dict[str, dict[str, str]] = {}
        for name in inside:
            if (key := image_key(name)) in by_key:
                self._shared.setdefault(key, by_key[key])[name] = name
        self._alone = frozenset(by_key.keys() - self._shared.keys())

    def has(self, name: str) -> bool:
        """Return whether a name in annotations is of one of these images."""
        key = image_key(name)
        if key not in self._shared:
            return key in self._alone
        return match_names([name], self._shared[key]).ids.get(name) in self._outside

    def may_have(self, name: str) -> bool:
        """Return whether a name fits one of these images and one in the split."""
        if not self._shared:
            return False
        matches = match_names([name], self._shared.get(image_key(name), {}))
        return name in matches.ambiguous or matches.ids.get(name) in self._both


class IdRegex:
    """A regular expression that selects the part of names that is an image's id.

    Args:
        regex: The expression, with one or more groups; None leaves names as they are.

    Raises:
        InputError: The expression is invalid or has no group.
    """

    def __init__(self, regex: str | None):
        try:
            self._regex = None if regex is None else re.compile(regex)
        except re.error as error:
            raise InputError(f"image_id_regex {regex!r} is invalid: {error}") from error
        if self._regex is not None and not self._regex.groups:
            raise InputError(f"image_id_regex {regex!r} needs a group, the part that is the id")

    def __bool__(self):
        return self._regex is not None

    def __call__(self, name: str) -> str:
        """Return the groups, joined by `/`, or a name that has none of them as it is."""
        match = self._regex.search(name) if self._regex else None
        return "/".join(filter(None, match.groups())) or name if match else name


class _NameIndex:
    """Images by folders, because there may be thousands of images with one key."""

    def __init__(self, images: Mapping[str, str]):
        self._deeper: dict[tuple[str, ...], list[tuple[str, ImageName]]] = {}
        self._equal: dict[tuple[str, ...], list[tuple[str, ImageName]]] = {}
        for image_id, name in images.items():
            parsed = parse_name(name)
            self._equal.setdefault(parsed.folders, []).append((image_id, parsed))
            for start in range(len(parsed.folders) + 1):
                self._deeper.setdefault(parsed.folders[start:], []).append((image_id, parsed))

    def images_of(self, name: str, use_numbers: bool) -> dict[str, bool]:
        """Return the ids of images that a name fits, and whether only by the number."""
        parsed = parse_name(name)
        # Images whose folders end in those of the name, or the reverse.
        found = list(self._deeper.get(parsed.folders, []))
        for start in range(1, len(parsed.folders) + 1):
            found += self._equal.get(parsed.folders[start:], [])
        return {
            image_id: parsed.stem != other.stem
            for image_id, other in found
            if _merge(parsed, other) and (use_numbers or parsed.stem == other.stem)
        }


def _merge(one: ImageName, other: ImageName) -> ImageName | None:
    """Return a name with the parts of two, or None if they are not of one image."""
    long, short = one.folders, other.folders
    if len(long) < len(short):
        long, short = short, long
    if one.key != other.key or (short and long[-len(short) :] != short):
        return None
    for a, b in ((one.ending, other.ending), (one.prefix, other.prefix)):
        if a and b and a != b:
            return None
    ending, prefix = one.ending or other.ending, one.prefix or other.prefix
    return ImageName(one.stem, long, ending, prefix, one.key)


def _contradicted(matches: Mapping[str, str]) -> set[str]:
    """Return the images that have names of several images."""
    merged: dict[str, ImageName | None] = {}
    for name, image_id in matches.items():
        parsed = parse_name(name)
        known = merged.get(image_id, parsed)
        merged[image_id] = known and _merge(known, parsed)
    return {image_id for image_id, name in merged.items() if name is None}


def _distinguish(names: list[str]) -> dict[str, str]:
    parsed = {name: parse_name(name) for name in names}
    deepest = max(len(name.folders) for name in parsed.values())
    for with_ending in (False, True):
        for depth in range(deepest + 1):
            ids = {name: _short_name(parsed[name], depth, with_ending) for name in names}
            if len(set(ids.values())) == len(names):
                return ids
    return {name: name for name in names}


def _short_name(name: ImageName, depth: int, with_ending: bool) -> str:
    folders = name.folders[len(name.folders) - min(depth, len(name.folders)) :]
    ending = f".{name.ending}" if with_ending and name.ending else ""
    return "/".join((*folders, f"{name.stem}{ending}"))
