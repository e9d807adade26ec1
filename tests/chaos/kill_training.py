"""Kill training repeatedly, resume it, and compare the result with that of an undisturbed run.

    python -m tests.chaos.kill_training --kills 20

Each kill is a SIGKILL: at a random moment of the start, while a checkpoint is being written,
between two checkpoints, or while the preset is being written. Every rerun must resume from the
newest checkpoint, log the same for each epoch as the undisturbed run, and end with the same
weights, bit for bit (on one CPU device).
"""

import argparse
import collections
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
MODEL = """
{hidden_size: 8, num_attention_heads: 2, intermediate_size: 16, language_layers: 1, cross_layers: 1,
 relationship_layers: 1, num_objects: 5, num_attributes: 12, max_position_embeddings: 32}
"""
TRAINING = """
{vocabulary_size: 120, max_regions: 8, batch_size: 16, peak_learning_rate: 1.0e-3,
 checkpoint_steps: 1, %s}
"""
COMMANDS = ("finetune", "pretrain")
MOMENTS = ("start", "writing", "writing", "between")


class Training:
    """`lxmert finetune` or `lxmert pretrain` on the first pictures of easy-VQA.

    Args:
        command: "finetune" or "pretrain".
        folder: Folder of records and runs.
        epochs: Length of the run, at least two.
    """

    def __init__(self, command: str, folder: pathlib.Path, epochs: int):
        self._command = command
        self._folder = folder
        how_long = {
            "finetune": f"epochs: {epochs}, best_by: val_loss",
            "pretrain": "stages: [{epochs: 1, loss_weights: {answers: 0}}, "
            f"{{epochs: {epochs - 1}}}], best_by: val_masked_lm_loss",
        }
        for name, text in (("model", MODEL), (command, TRAINING % how_long[command])):
            (folder / f"{name}.yaml").write_text(text)

    def arguments(self, run: pathlib.Path, resume: bool) -> list[str]:
        """Return the command line that trains in the directory `run`."""
        records = self._folder / "records"
        arguments = [
            *(self._command, "--config", self._folder / f"{self._command}.yaml"),
            *("--model-config", self._folder / "model.yaml"),
            *("--train", records, "--validation", records, "--output", run),
            *(["--resume"] if resume else []),
        ]
        return [str(argument) for argument in arguments]

    def start(self, run: pathlib.Path, resume: bool) -> subprocess.Popen:
        """Start the command in a separate process."""
        command = [sys.executable, "-m", "lxmert_tf.cli", *self.arguments(run, resume)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, **pipes)

    def finish(self, run: pathlib.Path, resume: bool) -> str:
        """Run the command to its end; return what it wrote to stderr."""
        process = self.start(run, resume)
        _, messages = process.communicate()
        assert process.returncode == 0, messages
        return messages


def make_records(folder: pathlib.Path, pictures: int) -> None:
    """Write records; a picture has about ten questions."""
    from pipeline.ingest.config import IngestConfig, SplitConfig
    from pipeline.ingest.job import run_ingest

    run_ingest(IngestConfig("easy_vqa", SplitConfig("train", limit=pictures)), folder / "records")


def kill_and_compare(
    command: str, kills: int, folder: pathlib.Path, epochs: int, seed: int
) -> dict[str, int]:
    """Train with and without kills, and compare.

    Args:
        command: "finetune" or "pretrain".
        kills: Most kills; there are fewer if the run ends earlier.
        folder: Folder that holds `records`.
        epochs: Length of the run, at least two.
        seed: Seed of the random moments.

    Returns:
        The number of kills by moment.

    Raises:
        AssertionError: The runs differ, or a checkpoint was lost.
    """
    training, chance = Training(command, folder, epochs), random.Random(seed)
    began = time.monotonic()
    training.finish(folder / "whole", resume=False)
    seconds = time.monotonic() - began
    run, hits, newest = folder / "killed", collections.Counter(), 0
    for number in range(kills):
        # The last kill interrupts the writing of the preset, at the end of the run.
        moment = MOMENTS[number % len(MOMENTS)] if number < kills - 1 else "preset"
        process = training.start(run, resume=number > 0)
        killed = _kill_at(moment, process, run, chance, seconds)
        _, messages = process.communicate()
        _check_resumed(messages, newest)
        steps = saved_steps(run)
        assert not newest or (steps and steps[-1] >= newest), f"lost: {newest}, now {steps}"
        newest = max(steps, default=0)
        if not killed:
            assert process.returncode == 0, messages
            break
        left = "unfinished files" if any(run.glob("**/.*")) else "no unfinished files"
        print(f"{command}: killed at {moment}; step {newest} is saved, {left} left", flush=True)
        hits[moment] += 1
    _check_resumed(training.finish(run, resume=True), newest)
    compare(run, folder / "whole")
    return dict(hits)


def saved_steps(run: pathlib.Path) -> list[int]:
    """Return the steps of a run's checkpoints, ascending."""
    return sorted(int(p.stem.removeprefix("step-")) for p in run.glob("checkpoints/step-*.index"))


def _kill_at(moment: str, process, run: pathlib.Path, chance: random.Random, seconds) -> bool:
    """Kill a process at a moment; return False if it ended before."""
    if moment == "start":
        until = time.monotonic() + chance.uniform(0, 0.6 * seconds)
        _wait(process, lambda: time.monotonic() > until)
    elif moment == "preset":
        _wait(process, lambda: (run / ".preset.partial").exists())
    else:
        goal = max(saved_steps(run), default=0) + chance.randint(1, 3)
        _wait(process, lambda: goal <= max(saved_steps(run), default=0))
        if moment == "writing":
            _wait(process, (run / "checkpoints" / ".writing").exists)
            time.sleep(chance.uniform(0, 0.01))
    alive = process.poll() is None
    process.kill()
    return alive


def _wait(process, happened) -> None:
    while process.poll() is None and not happened():
        time.sleep(0.0005)


def _check_resumed(messages: str, newest: int) -> None:
    assert "damaged" not in messages and "Traceback" not in messages, messages
    match = re.search(r"resuming at step (\d+) ", messages)
    assert not match or int(match[1]) == newest, f"{messages!r}, but {newest} was saved"


def compare(run: pathlib.Path, whole: pathlib.Path) -> None:
    """Check that two runs have the same weights and logs, and that nothing unfinished is left.

    Raises:
        AssertionError: They differ.
    """
    for name in ("vocab.txt", "answers.txt"):
        ours, theirs = (folder / "preset" / name for folder in (run, whole))
        assert ours.read_bytes() == theirs.read_bytes(), f"{name} differs"
    ours, theirs = _weights(run), _weights(whole)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.tobytes() == theirs[name].tobytes(), f"{name} differs"
    assert _epochs(run) == _epochs(whole)
    assert not list(run.glob("**/.*")), "unfinished files are left"


def _weights(run: pathlib.Path) -> dict:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(run / "preset" / "weights"))
    # Without metrics and the optimizer, which only a process that trained has.
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if not re.search("^_|keras_api|/optimizer/|^save_counter", name)
    }


def _epochs(run: pathlib.Path) -> list[dict]:
    """Return the log lines of epochs, without training metrics: a resumed epoch has only a part."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    kept = ("step", "epoch", "learning_rate", "gradient_norm", "best_epoch")
    return [
        {name: line[name] for name in line if name in kept or name.startswith("val_")}
        for line in lines
        if "best_epoch" in line
    ]


def main() -> None:
    """Parse the command line and run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="kills of each command (default: 20)")
    parser.add_argument(
        "--commands",
        nargs="+",
        default=COMMANDS,
        choices=COMMANDS,
        help="commands to kill (default: both)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_records(pathlib.Path(folder), pictures=12)
        for command in args.commands:
            directory = pathlib.Path(folder) / command
            directory.mkdir()
            (directory / "records").symlink_to(pathlib.Path(folder) / "records")
            hits = kill_and_compare(command, args.kills, directory, 5, args.seed)
            print(f"{command}: killed {sum(hits.values())} times ({hits}); the results are equal")


if __name__ == "__main__":
    main()
