"""What pre-training saves: fine-tuning steps until a validation accuracy, from scratch and from it.

    .venv/bin/python benchmarks/steps_to_accuracy.py --train build/records/train \
        --validation build/records/validation --output build/steps

Each seed trains from scratch with the task's file, and once more from a model that was pre-trained
with the same seed. A checkpoint is saved every few steps and measured afterwards. What is there
already in --output is not trained again.
"""

import argparse
import dataclasses
import pathlib

from rich.console import Console
from rich.table import Table

from lxmert_tf.runtime import silence_tensorflow

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def main() -> None:
    """Trains what is not trained yet, and prints the table."""
    args = _arguments()
    silence_tensorflow()
    table = Table("seed", title=f"Steps to {args.accuracy:.0%} of the validation questions")
    for column in ("from scratch", "fine-tuning", "pre-training", "of both"):
        table.add_column(column, justify="right")
    rows = [_measure(seed, args) for seed in args.seeds]
    for seed, row in zip(args.seeds, rows):
        table.add_row(str(seed), *map(_cell, row))
    if None not in [steps for row in rows for steps in row]:
        table.add_row("mean", *(f"{sum(column) / len(rows):,.0f}" for column in zip(*rows)))
    Console().print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", required=True, nargs="+", metavar="GLOB")
    parser.add_argument("--validation", required=True, nargs="+", metavar="GLOB")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--task", default=CONFIGS / "task" / "easy_vqa.yaml", metavar="FILE")
    parser.add_argument(
        "--pretraining", default=CONFIGS / "pretraining" / "easy_vqa.yaml", metavar="FILE"
    )
    parser.add_argument("--model-config", default=CONFIGS / "model" / "mini.yaml", metavar="FILE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--accuracy", type=float, default=0.99, metavar="SHARE")
    parser.add_argument("--every", type=int, default=50, metavar="STEPS")
    return parser.parse_args()


def _measure(seed: int, args: argparse.Namespace):
    """Steps from scratch, and of fine-tuning, of pre-training and of both; None if never."""
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

    def run(train_it, name: str, config):
        directory = output / f"{name}-{seed}"
        if not (directory / "preset").exists():
            resume = (directory / "run.json").exists()
            train_it(train, [], config, model_config, directory=directory, resume=resume)
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
        checkpoint.read(str(directory / "checkpoints" / f"step-{step}")).expect_partial()
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
