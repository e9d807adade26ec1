"""Command-line arguments that several commands share, and how the training commands read theirs."""

import argparse
import contextlib
import json
import re
import typing
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from lxmert_tf.errors import InputError
from lxmert_tf.runtime import keep_freed_memory, prefer_onednn

if TYPE_CHECKING:
    from lxmert_tf.detector.detector import Detector
    from lxmert_tf.regions.extractor import RegionExtractor

RECORDS = "TFRecord files of scenes, or folders of them (from `lxmert ingest`)"


def add_record_arguments(parser: argparse.ArgumentParser, required: bool) -> None:
    """Declare the records that a model answers, and the batch size.

    Args:
        parser: The command's parser.
        required: Whether the command needs records.
    """
    parser.add_argument("--examples", required=required, nargs="+", metavar="GLOB", help=RECORDS)
    parser.add_argument(
        "--max-regions",
        type=positive_int,
        default=36,
        metavar="N",
        help="most regions of an image (default 36, as published)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive_int,
        default=256,
        metavar="N",
        help="sentences per batch (default 256)",
    )


@contextlib.contextmanager
def naming_options(names: Iterable[str]) -> Iterator[None]:
    """Let errors that begin with fields of a configuration name the options that set them.

    Args:
        names: Fields that options have set, such as "batch_size" for --batch-size.

    Raises:
        InputError: As in the block, with other names.
    """
    try:
        yield
    except InputError as error:
        message = str(error)
        for name in names:
            option = f"--{name.replace('_', '-')}"
            message = re.sub(rf"(^|^\S+ and ){name}\b", rf"\g<1>{option}", message)
        raise InputError(message) from error


def add_answers_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the names of a model's answers."""
    parser.add_argument(
        "--answers",
        metavar="FILE",
        help="names of the model's answers, if it has none: one per line, or a *.json table of the "
        "release",
    )


def read_answers(args: argparse.Namespace) -> list[str] | None:
    """Return the answers that `--answers` names, or None without it."""
    if not args.answers:
        return None
    # Imports TensorFlow.
    from lxmert_tf.data.answer_table import read_answer_table

    return read_answer_table(args.answers)


def add_detector_arguments(
    parser: argparse.ArgumentParser,
    use: str = "which finds the regions in place of the extractor that is stored with the model",
) -> None:
    """Declare the detector that finds the regions of images.

    Args:
        parser: The command's parser.
        use: What the command does with it, for the help.
    """
    parser.add_argument("--detector", metavar="PRESET", help=f"a preset of a detector, {use}")
    add_flavor_argument(parser)


def add_flavor_argument(parser: Any) -> None:
    """Declare the rules of the detector.

    Args:
        parser: The command's parser or a group of it.
    """
    from lxmert_tf.detector.config import Flavor

    parser.add_argument(
        "--flavor",
        choices=typing.get_args(Flavor),
        help="rules by which the detector resizes images and selects regions (default: those of "
        "its preset)",
    )


def read_detector(args: argparse.Namespace) -> "RegionExtractor | None":
    """Return the `DetectorExtractor` that is named, or None.

    Args:
        args: From `add_detector_arguments`.

    Raises:
        InputError: The preset is missing, damaged or not a detector's, or only a flavor is named.
    """
    from lxmert_tf.regions.registry import make_extractor

    check_detector_arguments(args)
    if args.detector is None:
        return None
    return make_extractor({"name": "detector", "preset": args.detector, "flavor": args.flavor})


def check_detector_arguments(args: argparse.Namespace) -> None:
    """Check that a flavor has its detector.

    Raises:
        InputError: It has none.
    """
    if args.flavor is not None and args.detector is None:
        raise InputError("--flavor requires --detector")


def load_detector(args: argparse.Namespace) -> "Detector | None":
    """Return the `Detector` that is named, in float32 whatever Keras's policy is, or None.

    Args:
        args: From `add_detector_arguments`.

    Raises:
        InputError: The preset is missing, damaged or not a detector's, or only a flavor is named.
    """
    check_detector_arguments(args)
    if args.detector is None:
        return None
    from lxmert_tf.detector.detector import Detector

    return Detector.from_preset(args.detector, flavor=args.flavor, dtype="float32")


def add_extractor_arguments(parser: Any) -> None:
    """Declare what finds the regions of images without a model: a detector or another extractor.

    Args:
        parser: The command's parser or a group of it.
    """
    extractor = parser.add_mutually_exclusive_group(required=True)
    extractor.add_argument("--detector", metavar="PRESET", help="a preset of the detector")
    extractor.add_argument(
        "--extractor", metavar="FILE", help="a YAML or JSON file with a region extractor's config"
    )
    add_flavor_argument(parser)


def extractor_config(args: argparse.Namespace) -> dict[str, Any]:
    """Return the config of the extractor that is named.

    Args:
        args: From `add_extractor_arguments`.

    Raises:
        InputError: The file is missing or is no mapping, or has a flavor beside it.
    """
    from lxmert_tf.config_file import read_mapping

    if args.detector is None:
        if args.flavor:
            raise InputError(
                "--flavor is for --detector; an --extractor file has its own arguments"
            )
        # YAML has values that JSON does not, such as dates.
        return json.loads(json.dumps(read_mapping(args.extractor), default=str))
    flavor = {"flavor": args.flavor} if args.flavor else {}
    return {"name": "detector", "preset": args.detector, **flavor}


def add_training_arguments(parser: argparse.ArgumentParser, example: str) -> None:
    """Declare what is trained on what, and where the run is kept.

    Args:
        parser: The command's parser.
        example: An example of its configuration file.
    """
    parser.add_argument(
        "--config", required=True, metavar="FILE", help=f"how to train, such as {example}"
    )
    add_override_argument(parser)
    add_data_arguments(parser)
    parser.add_argument(
        "--init-from", metavar="PRESET", help="preset to start from (default: random weights)"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="directory of the run: checkpoints, log, and at the end preset/",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --output")


def add_pictures_argument(parser: argparse.ArgumentParser, use: str) -> None:
    """Declare where the pictures of records are, which hold no pixels.

    Args:
        parser: The command's parser.
        use: What shows them where, for the help.
    """
    parser.add_argument(
        "--pictures",
        metavar="DIR",
        help=f"folder or zip archive of the pictures that {use}, named for the ids of the images "
        "(default: those of easy-VQA; without a picture, boxes are drawn)",
    )


def add_override_argument(parser: Any, example: str = "batch_size=64") -> None:
    """Declare `--set`.

    Args:
        parser: The command's parser.
        example: An override, for the help.
    """
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help=f"override a value of the file, such as {example}; may be repeated",
    )


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the records and the sizes of a model that starts from scratch."""
    parser.add_argument("--train", required=True, nargs="+", metavar="GLOB", help=RECORDS)
    parser.add_argument(
        "--validation",
        nargs="+",
        default=[],
        metavar="GLOB",
        help="records to evaluate on after each epoch",
    )
    parser.add_argument(
        "--model-config",
        metavar="FILE",
        help="sizes of a model that starts from scratch (default: the published ones)",
    )


def read_training_configs(args: argparse.Namespace, config_class: type):
    """Read the configuration files, before TensorFlow is imported, which takes seconds.

    Args:
        args: From `add_training_arguments`.
        config_class: Class of the training configuration.

    Returns:
        The training configuration and the `LxmertConfig` of a model that starts from scratch.
    """
    from lxmert_tf.config_file import load_config

    start = [f"init_from={args.init_from}"] if args.init_from else []
    config: Any = load_config(config_class, args.config, [*start, *args.overrides])
    model_config = read_model_config(args)
    keep_freed_memory()
    prefer_onednn()
    return config, model_config


def positive_int(text: str) -> int:
    """Return the number in an argument's text, for `type=` of argparse.

    Raises:
        argparse.ArgumentTypeError: The text is not an integer of at least 1.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be an integer of at least 1")
    return int(text)


def read_model_config(args: argparse.Namespace):
    """Read the `LxmertConfig` of a model that starts from scratch."""
    from lxmert_tf.models.config import LxmertConfig

    return LxmertConfig.from_file(args.model_config) if args.model_config else LxmertConfig()


def other_extractors(extractor: dict[str, Any] | None, files: Iterable[str]) -> list[str]:
    """Return a line for each folder of records whose regions a model was not trained with.

    Args:
        extractor: The config of the extractor that the model was trained with, or None.
        files: The records.

    Raises:
        InputError: The config beside a file is damaged.
    """
    from lxmert_tf import storage
    from lxmert_tf.data.sidecars import read_extractor
    from lxmert_tf.regions.registry import with_defaults

    lines = []
    for folder, file in {storage.parent(name): name for name in files}.items():
        found = read_extractor([file])
        if extractor is None or found is None:
            continue
        first, second = with_defaults(extractor), with_defaults(found)
        other = sorted(k for k in first.keys() | second if first.get(k) != second.get(k))
        if other:
            lines.append(
                f"{folder}: the regions were computed with other settings than those that the "
                f"model was trained with ({', '.join(other)}), so its answers may be worse"
            )
    return lines


def training_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return the files and the directory of a run, as `finetune` and `pretrain` take them."""
    from lxmert_tf.data.batches import find_records
    from lxmert_tf.data.sidecars import read_extractor

    train_files = find_records(*args.train)
    return {
        "train_files": train_files,
        "validation_files": find_records(*args.validation),
        "extractor": read_extractor(train_files),
        "directory": args.output,
        "resume": args.resume,
    }
