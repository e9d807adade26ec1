"""A pipeline so small that it runs in seconds: files for `lxmert pipeline run`."""

import pathlib

MODEL = """
hidden_size: 32
num_attention_heads: 2
intermediate_size: 64
language_layers: 0
relationship_layers: 0
cross_layers: 1
hidden_dropout: 0.0
attention_dropout: 0.0
initializer_range: 0.1
max_position_embeddings: 32
"""
TASK = """
vocabulary_size: 200
max_regions: 8
batch_size: 32
epochs: 2
peak_learning_rate: 1.0e-3
"""
PRETRAINING = """
vocabulary_size: 200
max_regions: 8
batch_size: 32
stages: [{epochs: 1}]
peak_learning_rate: 4.0e-4
"""
EXTRACTOR = "extractor: {name: grid, cells: 2, max_components: 4, crop_size: 4}\n"
IMAGES = {"train": 60, "validation": 20, "test": 30}
PIPELINE = f"""
name: tiny
source: easy_vqa
model: model.yaml
pretraining: pretraining.yaml
task: task.yaml
splits:
  train: {{from: train, percent: [10, 100], limit: {IMAGES["train"]}}}
  validation: {{from: train, percent: [0, 10], limit: {IMAGES["validation"]}}}
  test: {{from: test, layout: flat, limit: {IMAGES["test"]}}}
{EXTRACTOR}
least_accuracy: 0.0
may_drop: 0.05
"""
COMPONENTS = (
    "SceneExampleGen",
    "StatisticsGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "approved_statistics",
    "AnomalyGate",
    "Pretrainer",
    "Trainer",
    "latest_blessed_model",
    "Evaluator",
    "Pusher",
)


def write_tiny_pipeline(folder: pathlib.Path) -> pathlib.Path:
    """Write the four files and return the path of the pipeline's own."""
    files = {"model": MODEL, "pretraining": PRETRAINING, "task": TASK, "pipeline": PIPELINE}
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "pipeline.yaml"
