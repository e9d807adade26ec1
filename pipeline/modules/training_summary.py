"""What a Trainer leaves beside its model: how long training took."""

import json
import pathlib

TRAINING_SUMMARY = "training.json"


def write_training_summary(artifact, seconds: float) -> None:
    """Writes `training.json` into a model artifact."""
    text = json.dumps({"train_seconds": round(seconds, 1)}) + "\n"
    (pathlib.Path(artifact) / TRAINING_SUMMARY).write_text(text, encoding="utf-8")


def read_training_seconds(artifact_uri: str) -> float:
    """How long the training of a model artifact took."""
    path = pathlib.Path(artifact_uri) / TRAINING_SUMMARY
    return json.loads(path.read_text(encoding="utf-8"))["train_seconds"]
