"""Ablations: pre-training with one thing changed each, fine-tuned, measured and put in a table."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.evaluate import OVERALL, evaluate_answers
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.text_file import write_text
from lxmert_tf.training.config import FinetuningConfig, PretrainingConfig
from lxmert_tf.training.finetune import finetune
from lxmert_tf.training.pretrain import pretrain
from lxmert_tf.training.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class AblationConfig:
    """A named set of variants of pre-training: a file under configs/ablation/.

    Args:
        variants: by name, what is changed of the pre-training's configuration ("KEY=VALUE" each,
            see `load_config`); null for no pre-training.
    """

    variants: dict[str, list[str] | None]

    def __post_init__(self):
        if not self.variants:
            raise InputError("variants is empty; it must hold at least one")
        folders = [folder_of(variant) for variant in self.variants]
        if len(set(folders)) < len(folders) or "" in folders:
            raise InputError("two variants differ in signs only; give them names of their own")


@dataclasses.dataclass(frozen=True)
class AblationRun:
    """What the variants have in common.

    Args:
        train_files, validation_files: TFRecords of scenes.
        model_config: sizes, for variants that start from scratch.
        task: how each variant is fine-tuned.
    """

    train_files: Sequence[str]
    validation_files: Sequence[str]
    model_config: LxmertConfig
    task: FinetuningConfig

    def measure(self, pretraining: PretrainingConfig | None, folder) -> tuple[float, int]:
        """Pre-trains and fine-tunes in a folder, or goes on with what is there.

        Returns:
            the accuracy on the validation data, 0..1, and the sentences asked.
        """
        folder = pathlib.Path(folder)
        data = (self.train_files, self.validation_files)
        task = self.task
        if pretraining:
            run = folder / "pretraining"
            _go_on(pretrain, run, *data, pretraining, self.model_config)
            task = dataclasses.replace(task, init_from=str(run / "preset"), vocabulary=None)
        model, _ = _go_on(finetune, folder / "finetuning", *data, task, self.model_config)
        return evaluate_answers(model, self.validation_files, task.max_regions)[OVERALL]


def _go_on(train, run: pathlib.Path, *arguments):
    return train(*arguments, directory=run, resume=(run / "run.json").exists())


def run_ablation(
    variants: dict[str, PretrainingConfig | None], run: AblationRun, directory
) -> dict[str, tuple[float, int]]:
    """Measures each variant; what an interrupted set has measured is not measured again.

    Args:
        variants: by name, how each is pre-trained; None for not at all.
        run: what they have in common.
        directory: of the set; each variant has a folder in it.

    Returns:
        accuracy (0..1) and sentences by variant.

    Raises:
        InputError: the directory holds another set, or as `pretrain` and `finetune`.
    """
    directory = pathlib.Path(directory)
    settings = {
        "variants": {
            name: config and dataclasses.asdict(config) for name, config in variants.items()
        },
        "task": dataclasses.asdict(run.task),
        "model": run.model_config.to_dict(),
        "train": list(run.train_files),
        "validation": list(run.validation_files),
    }
    with RunDirectory(directory, settings, resume=(directory / "run.json").exists()):
        results = {}
        for number, (variant, config) in enumerate(variants.items(), start=1):
            folder = directory / folder_of(variant)
            file = folder / "result.json"
            if not file.exists():
                text = f"[bold]{variant}[/] ({number} of {len(variants)})"
                Console().print(text, highlight=False)
                folder.mkdir(exist_ok=True)
                accuracy, sentences = run.measure(config, folder)
                write_text(file, json.dumps([accuracy, sentences]) + "\n")
            results[variant] = tuple(json.loads(file.read_text(encoding="utf-8")))
    return results


def folder_of(variant: str) -> str:
    """The name of a variant's folder."""
    return re.sub(r"[^a-z0-9]+", "-", variant.lower()).strip("-")


def print_ablation(results: dict[str, tuple[float, int]]) -> None:
    """Prints what `run_ablation` returned, as a table."""
    table = Table("variant", title="Ablation")
    table.add_column("sentences", justify="right")
    table.add_column("accuracy", justify="right")
    for variant, (accuracy, sentences) in results.items():
        table.add_row(variant, f"{sentences:,}", f"{accuracy:.2%}")
    Console().print(table)
