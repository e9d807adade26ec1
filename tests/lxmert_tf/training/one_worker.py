"""Fine-tune as one of the workers in TF_CONFIG, or alone.

    python -m tests.lxmert_tf.training.one_worker RECORDS DIRECTORY STRATEGY FILE

Writes the trained weights to FILE.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from lxmert_tf import LxmertConfig
from lxmert_tf.data.batches import find_records
from lxmert_tf.training.config import FinetuningConfig
from lxmert_tf.training.finetune import finetune
from tests import golden

# Without dropout, which differs between replicas.
SIZES = LxmertConfig.from_dict({**golden.TINY, "hidden_dropout": 0.0, "attention_dropout": 0.0})


def main(records: str, directory: str, strategy: str, weights: str) -> None:
    """Train for two epochs, whose last batches are smaller."""
    config = FinetuningConfig(
        vocabulary_size=120,
        max_regions=8,
        batch_size=15,
        epochs=2,
        peak_learning_rate=1e-3,
        checkpoint_steps=4,
        strategy=strategy,
    )
    files = find_records(records)
    model, _ = finetune(files, files, config, SIZES, directory=directory, resume=True)
    np.savez(weights, *model.get_weights())


if __name__ == "__main__":
    main(*sys.argv[1:])
