"""Ablations: variants of pre-training, each fine-tuned, evaluated, and listed in a table."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.evaluate import OVERALL, evaluate_answers
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.storage import is_url
from lxmert_tf.terminal import make_console
from lxmert_tf.text_file import write_text
from lxmert_tf.training.config import FinetuningConfig, PretrainingConfig, folder_of
from lxmert_tf.training.dataset_info import describe_starting_preset, read_feature_size
from lxmert_tf.training.finetune import finetune
from lxmert_tf.training.pretrain import pretrain
from lxmert_tf.training.run_directory import RUN, RunDirectory

RESULT = "result.json"


@dataclasses.dataclass(frozen=True)
class AblationRun:
    """The data and settings that all variants share.

    Args:
        train_files: TFRecord files of scenes.
        validation_files: TFRecord files of scenes to measure accuracy on.
        model_config: Sizes of variants that start from scratch.
        task: How each variant is fine-tuned.
    """

    train_files: Sequence[str]
    validation_files: Sequence[str]
    model_config: LxmertConfig
    task: FinetuningConfig

    def measure(self, pretraining: PretrainingConfig | None, folder) -> tuple[float, int]:
        """Pre-train and fine-tune in a folder, or resume what is there.

        Returns:
            The accuracy on the validation data, 0..1, and the number of sentences.
        """
        folder = pathlib.Path(folder)
        data = (self.train_files, self.validation_files)
        task = self.task
        if pretraining:
            run = folder / "pretraining"
            _train_or_resume(pretrain, run, *data, pretraining, self.model_config)
            task = dataclasses.replace(task, init_from=str(run / "preset"), vocabulary=None)
        run = folder / "finetuning"
        model, _ = _train_or_resume(finetune, run, *data, task, self.model_config)
        return evaluate_answers(model, self.validation_files, task.max_regions)[OVERALL]


def _train_or_resume(train, run: pathlib.Path, *arguments):
    return train(*arguments, directory=run, resume=(run / RUN).exists())


def run_ablation(
    variants: dict[str, PretrainingConfig | None], run: AblationRun, directory
) -> dict[str, tuple[float, int]]:
    """Measure each variant; results that an interrupted ablation has left are kept.

    Args:
        variants: Pre-training configuration by the variant's name; None for no pre-training.
        run: What all variants share.
        directory: Of the ablation; each variant has a folder in it.

    Returns:
        Accuracy (0..1) and number of sentences by variant.

    Raises:
        InputError: The directory holds another ablation, or no variant was trained because a
            preset to start from is missing or does not fit; or as `pretrain` and `finetune`.
    """
    if is_url(directory):
        raise InputError(f"{directory}: ablations are written to a local directory")
    directory = pathlib.Path(directory)
    _check_presets(variants, run.train_files, directory)
    settings = {
        "variants": {
            name: config and dataclasses.asdict(config) for name, config in variants.items()
        },
        "task": dataclasses.asdict(run.task),
        "model": run.model_config.to_dict(),
        "train": list(run.train_files),
        "validation": list(run.validation_files),
    }
    with RunDirectory(directory, settings, resume=(directory / RUN).exists()):
        results = {}
        for number, (variant, config) in enumerate(variants.items(), start=1):
            folder = directory / folder_of(variant)
            file = folder / RESULT
            if not file.exists():
                text = Text.assemble((variant, "bold"), f" ({number} of {len(variants)})")
                make_console().print(text)
                folder.mkdir(exist_ok=True)
                accuracy, sentences = run.measure(config, folder)
                write_text(file, json.dumps([accuracy, sentences]) + "\n")
            results[variant] = tuple(json.loads(file.read_text(encoding="utf-8")))
    return results


def _check_presets(variants, files: Sequence[str], directory: pathlib.Path) -> None:
    """Check the presets that variants without a result start from, before any is trained."""
    for variant, config in variants.items():
        trained = (directory / folder_of(variant) / RESULT).exists()
        if config and config.init_from and not trained:
            describe_starting_preset(config.init_from, read_feature_size(files))


def print_ablation(results: dict[str, tuple[float, int]]) -> None:
    """Print what `run_ablation` returned as a table."""
    table = Table("variant", title="Ablation")
    table.add_column("sentences", justify="right")
    table.add_column("accuracy", justify="right")
    for variant, (accuracy, sentences) in results.items():
        table.add_row(variant, f"{sentences:,}", f"{accuracy:.2%}")
    make_console().print(table)
