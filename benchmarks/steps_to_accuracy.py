"""Compare the fine-tuning steps to an accuracy with and without pre-training.

    .venv/bin/python benchmarks/steps_to_accuracy.py --train build/records/train \
        --validation build/records/validation --output build/steps

For each seed, the script trains from scratch, pre-trains, and fine-tunes the pre-trained model.
It saves a checkpoint every few steps and evaluates the checkpoints afterwards. Finished runs in
--output are not trained again; unfinished ones are resumed.
"""

import argparse
import dataclasses
import pathlib

from rich.console import Console
from rich.table import Table

from lxmert_tf.runtime import silence_tensorflow

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def main() -> None:
    """Train, evaluate the checkpoints, and print a table."""
    args = _arguments()
    silence_tensorflow()
    table = Table("seed", title=f"Steps to a validation accuracy of {args.accuracy:.0%}")
    for column in ("from scratch", "fine-tuning", "pre-training", "both"):
        table.add_column(column, justify="right")
    rows = [_measure(seed, args) for seed in args.seeds]
    for seed, row in zip(args.seeds, rows):
        table.add_row(str(seed), *map(_cell, row))
    if None not in [steps for row in rows for steps in row]:
        table.add_row("mean", *(f"{sum(column) / len(rows):,.0f}" for column in zip(*rows)))
    Console().print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for split in ("train", "validation"):
        parser.add_argument(
            f"--{split}", required=True, nargs="+", metavar="GLOB", help=f"{split} records"
        )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the runs")
    parser.add_argument(
        "--task",
        default=CONFIGS / "task" / "easy_vqa.yaml",
        metavar="FILE",
        help="fine-tuning config",
    )
    parser.add_argument(
        "--pretraining",
        default=CONFIGS / "pretraining" / "easy_vqa.yaml",
        metavar="FILE",
        help="pre-training config",
    )
    parser.add_argument(
        "--model-config",
        default=CONFIGS / "model" / "mini.yaml",
        metavar="FILE",
        help="model sizes",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0, 1, 2],
        metavar="N",
        help="one run each (default: 0 1 2)",
    )
    parser.add_argument(
        "--accuracy",
        type=float,
        default=0.99,
        metavar="A",
        help="accuracy to reach, in 0..1 (default: 0.99)",
    )
    parser.add_argument(
        "--every", type=int, default=50, metavar="N", help="steps between checkpoints (default: 50)"
    )
    return parser.parse_args()


def _measure(seed: int, args: argparse.Namespace):
    """Train with one seed and count steps.

    Returns:
        Steps to the accuracy from scratch and in fine-tuning, all steps of pre-training, and the
        sum of the last two; None where the accuracy is not reached.
    """
    from lxmert_tf.config_file import load_config
    from lxmert_tf.data.batches import find_records
    from lxmert_tf.models.config import LxmertConfig
    from lxmert_tf.training.config import FinetuningConfig, PretrainingConfig
    from lxmert_tf.training.finetune import finetune
    from lxmert_tf.training.pretrain import pretrain

    train, validation = find_records(*args.train), find_records(*args.validation)
    model_config = LxmertConfig.from_file(args.model_config)
    output = pathlib.Path(args.output)
    saving = {"seed": seed, "checkpoint_steps": args.every, "checkpoints": 10_000}
    task = dataclasses.replace(load_config(FinetuningConfig, args.task), **saving)
    pretraining = dataclasses.replace(load_config(PretrainingConfig, args.pretraining), seed=seed)

    def run(train_model, name: str, config):
        directory = output / f"{name}-{seed}"
        if not (directory / "preset").exists():
            resume = (directory / "run.json").exists()
            train_model(train, [], config, model_config, directory=directory, resume=resume)
        return directory

    scratch = _first_step(run(finetune, "scratch", task), validation, task, args.accuracy)
    pretrained = run(pretrain, "pretraining", pretraining)
    started = dataclasses.replace(task, init_from=str(pretrained / "preset"))
    tuned = _first_step(run(finetune, "finetuning", started), validation, task, args.accuracy)
    before = _steps(pretrained)[-1]
    return scratch, tuned, before, tuned and tuned + before


def _first_step(directory: pathlib.Path, validation, task, accuracy: float) -> int | None:
    import tensorflow as tf

    from lxmert_tf.evaluation.evaluate import OVERALL, evaluate_answers
    from lxmert_tf.models.presets import load_preset

    model = load_preset(directory / "preset")
    for step in _steps(directory):
        checkpoint = tf.train.Checkpoint(model=model)
        status = checkpoint.read(str(directory / "checkpoints" / f"step-{step}"))
        # The checkpoint also holds the optimizer and metrics, which evaluation does not need.
        status.assert_existing_objects_matched().expect_partial()
        share, _ = evaluate_answers(model, validation, task.max_regions)[OVERALL]
        if share >= accuracy:
            return step
    return None


def _steps(directory: pathlib.Path) -> list[int]:
    return sorted(int(p.stem.split("-")[1]) for p in directory.glob("checkpoints/*.index"))


def _cell(steps: int | None) -> str:
    return "never" if steps is None else f"{steps:,}"


if __name__ == "__main__":
    main()
