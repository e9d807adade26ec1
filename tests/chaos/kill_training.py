"""Kill training repeatedly, resume it, and compare the result with that of an undisturbed run.

    python -m tests.chaos.kill_training --kills 20

Each kill is a SIGKILL: at a random moment of the start, while a checkpoint is being written,
between two checkpoints, or while the preset is being written. Every rerun must resume from the
newest checkpoint, log the same for each epoch as the undisturbed run, and end with the same
weights, bit for bit (on one CPU device). If there are two workers, one of them is killed while they
train; the other must end by itself and say why.
"""

import argparse
import collections
import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import signal
import socket
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
# Name of a training: the command, the folder of its records, and the number of its workers.
TRAININGS = {
    "finetune": ("finetune", "records", 1),
    "pretrain": ("pretrain", "records", 1),
    "statements": ("finetune", "pairs", 1),
    "workers": ("finetune", "records", 2),
}
# Time in which a worker must notice that the other one has ended, on a busy machine.
NOTICE_SECONDS = 300
MOMENTS = ("start", "writing", "writing", "between")
# Only while they train do workers depend on each other.
MOMENTS_OF_WORKERS = ("writing", "between")


class Training:
    """A command that trains on the first pictures of easy-VQA, in a process for each worker.

    Args:
        name: One of `TRAININGS`.
        folder: Folder of records and runs.
        epochs: Length of the run, at least two.
    """

    def __init__(self, name: str, folder: pathlib.Path, epochs: int):
        self._name = name
        self._command, self._records, self._workers = TRAININGS[name]
        self._folder = folder
        finetuning = f"epochs: {epochs}, best_by: val_loss"
        settings = {
            "finetune": finetuning,
            "pretrain": "stages: [{epochs: 1, loss_weights: {answers: 0}}, "
            f"{{epochs: {epochs - 1}}}], best_by: val_masked_lm_loss",
            "statements": f"{finetuning}, task: statements",
            "workers": f"{finetuning}, strategy: multi_worker",
        }
        for file, text in (("model", MODEL), (name, TRAINING % settings[name])):
            (folder / f"{file}.yaml").write_text(text)

    def arguments(self, run: pathlib.Path, resume: bool) -> list[str]:
        """Return the command line that trains in the directory `run`."""
        records = self._folder / self._records
        arguments = [
            *(self._command, "--config", self._folder / f"{self._name}.yaml"),
            *("--model-config", self._folder / "model.yaml"),
            *("--train", records, "--validation", records, "--output", run),
            *(["--resume"] if resume else []),
        ]
        return [str(argument) for argument in arguments]

    def moments(self, kills: int) -> list[str]:
        """Return the moments of its kills.

        The last one of a single process is the end of the run, while the preset is written.

        Args:
            kills: Number of kills, at least one.
        """
        if self._workers > 1:
            return [*itertools.islice(itertools.cycle(MOMENTS_OF_WORKERS), kills)]
        return [*itertools.islice(itertools.cycle(MOMENTS), kills - 1), "preset"]

    def start(self, run: pathlib.Path, resume: bool) -> list[subprocess.Popen]:
        """Start the command in separate processes; the first one writes the files."""
        command = [sys.executable, "-m", "lxmert_tf.cli", *self.arguments(run, resume)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return [
            subprocess.Popen(command, cwd=ROOT, env={**os.environ, **cluster}, **pipes)
            for cluster in _cluster_variables(self._workers)
        ]

    def finish(self, run: pathlib.Path, resume: bool) -> list[str]:
        """Run the command to its end; return what each process wrote to stderr."""
        processes = self.start(run, resume)
        messages = [process.communicate()[1] for process in processes]
        assert not any(process.returncode for process in processes), messages
        return messages


def _cluster_variables(workers: int) -> list[dict[str, str]]:
    """Return the environment variables that each worker needs, on free ports of this machine."""
    if workers == 1:
        return [{}]
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(workers)]
        for probe in probes:
            probe.bind(("localhost", 0))
        cluster = {"worker": [f"localhost:{probe.getsockname()[1]}" for probe in probes]}
    tasks = [{"type": "worker", "index": index} for index in range(workers)]
    return [{"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})} for task in tasks]


def make_records(folder: pathlib.Path, pictures: int) -> None:
    """Write records: of pictures with about ten questions each, and of pairs with statements."""
    from lxmert_tf.regions.grid import GridExtractor
    from tests.lxmert_tf.samples import easy_vqa_scenes, pair_scenes
    from tests.lxmert_tf.training.conftest import write_folder

    extractor = GridExtractor(cells=2, max_components=4, crop_size=4)
    write_folder(folder / "records", easy_vqa_scenes(pictures, extractor))
    write_folder(folder / "pairs", pair_scenes(4 * pictures, extractor))


def kill_and_compare(
    name: str, kills: int, folder: pathlib.Path, epochs: int, seed: int
) -> dict[str, int]:
    """Train with and without kills, and compare.

    Args:
        name: One of `TRAININGS`.
        kills: Most kills; there are fewer if the run ends earlier.
        folder: Folder that holds the records.
        epochs: Length of the run, at least two.
        seed: Seed of the random moments.

    Returns:
        The number of kills by moment.

    Raises:
        AssertionError: The runs differ, or a checkpoint was lost.
    """
    training, chance = Training(name, folder, epochs), random.Random(seed)
    whole, run = folder / f"{name}-whole", folder / f"{name}-killed"
    began = time.monotonic()
    training.finish(whole, resume=False)
    seconds = time.monotonic() - began
    hits, newest = collections.Counter(), 0
    for number, moment in enumerate(training.moments(kills)):
        processes = training.start(run, resume=number > 0)
        killed = _kill_at(moment, processes, run, chance, seconds)
        messages = [process.communicate()[1] for process in processes]
        _check_resumed(messages, newest)
        _check_ended(processes, messages)
        steps = saved_steps(run)
        assert not newest or (steps and steps[-1] >= newest), f"lost: {newest}, now {steps}"
        newest = max(steps, default=0)
        if not killed:
            assert not any(process.returncode for process in processes), messages
            break
        left = "unfinished files" if any(run.glob("**/.*")) else "no unfinished files"
        print(f"{name}: killed at {moment}; step {newest} is saved, {left} left", flush=True)
        hits[moment] += 1
    _check_resumed(training.finish(run, resume=True), newest)
    compare(run, whole)
    return dict(hits)


def saved_steps(run: pathlib.Path) -> list[int]:
    """Return the steps of a run's checkpoints, ascending."""
    return sorted(int(p.stem.removeprefix("step-")) for p in run.glob("checkpoints/step-*.index"))


def _kill_at(moment: str, processes, run: pathlib.Path, chance: random.Random, seconds) -> bool:
    """Kill one of the processes at a moment, unless the first one, the writer, has ended before.

    All processes have ended when this returns.

    Returns:
        Whether one was killed.
    """
    writer = processes[0]
    if moment == "start":
        until = time.monotonic() + chance.uniform(0, 0.6 * seconds)
        _wait(writer, lambda: time.monotonic() > until)
    elif moment == "preset":
        _wait(writer, lambda: (run / ".preset.partial").exists())
    else:
        goal = max(saved_steps(run), default=0) + chance.randint(1, 3)
        _wait(writer, lambda: goal <= max(saved_steps(run), default=0))
        if moment == "writing":
            _wait(writer, (run / "checkpoints" / ".writing").exists)
            time.sleep(chance.uniform(0, 0.01))
    running = writer.poll() is None
    try:
        if running:
            chance.choice(processes).kill()
        for process in processes:
            process.wait(NOTICE_SECONDS)
    finally:
        for process in processes:
            process.kill()
    return running


def _wait(process, happened) -> None:
    while process.poll() is None and not happened():
        time.sleep(0.0005)


def _check_resumed(messages: list[str], newest: int) -> None:
    for text in messages:
        assert "damaged" not in text and "Traceback" not in text, text
        match = re.search(r"resuming at step (\d+) ", text)
        assert not match or int(match[1]) == newest, f"{text!r}, but {newest} was saved"


def _check_ended(processes, messages: list[str]) -> None:
    for process, text in zip(processes, messages, strict=True):
        explained = process.returncode == 2 and "another worker ended" in text
        assert process.returncode in (0, -signal.SIGKILL) or explained, (process.returncode, text)


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
    parser.add_argument("--kills", type=int, default=20, help="kills of each (default: 20)")
    parser.add_argument(
        "--trainings",
        nargs="+",
        default=list(TRAININGS),
        choices=list(TRAININGS),
        help="what to kill (default: all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_records(pathlib.Path(folder), pictures=12)
        for name in args.trainings:
            hits = kill_and_compare(name, args.kills, pathlib.Path(folder), 5, args.seed)
            kills = sum(hits.values())
            print(f"{name}: killed {kills} times ({hits}); the results are equal", flush=True)


if __name__ == "__main__":
    main()
