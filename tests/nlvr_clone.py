"""A part of NLVR in the layout of its repository, made from the published files."""

import collections
import json
import os
import pathlib
import zipfile

import pytest

ROOT = pathlib.Path(
    os.environ.get("LXMERT_NLVR", pathlib.Path(__file__).parents[2] / "shared" / "data" / "nlvr")
)


def clone_nlvr(folder: pathlib.Path, per_directory: dict[str, int]) -> dict[str, list[dict]]:
    """Write nlvr/SPLIT/SPLIT.json and the images of its examples.

    Args:
        folder: What `git clone` would make.
        per_directory: By split, how many examples of each folder of images; each has six images.

    Returns:
        The examples by split. The test is skipped where the published files are absent.
    """
    kept = {}
    for split, most in per_directory.items():
        for name in (f"{split}.json", f"{split}.zip"):
            if not (ROOT / name).is_file():
                pytest.skip(f"needs NLVR's {name}; set LXMERT_NLVR to its folder")
        counts: collections.Counter[str] = collections.Counter()
        examples = []
        for line in (ROOT / f"{split}.json").read_text().splitlines():
            example = json.loads(line)
            counts[example["directory"]] += 1
            if counts[example["directory"]] <= most:
                examples.append(example)
        target = folder / "nlvr" / split
        target.mkdir(parents=True)
        (target / f"{split}.json").write_text("".join(json.dumps(e) + "\n" for e in examples))
        with zipfile.ZipFile(ROOT / f"{split}.zip") as archive:
            for example in examples:
                for order in range(6):
                    name = f"{split}-{example['identifier']}-{order}.png"
                    archive.extract(f"nlvr/{split}/images/{example['directory']}/{name}", folder)
        kept[split] = examples
    return kept
