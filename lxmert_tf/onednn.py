"""Has TensorFlow compute a training step with oneDNN on every processor."""

import os


def prefer_onednn() -> None:
    """To be called by a command that trains, before TensorFlow is imported.

    TensorFlow itself takes oneDNN where there is AVX-512. With AVX2 alone its own products are as
    fast forwards, and slower where they give gradients (docs/performance.md). Whoever sets
    TF_ENABLE_ONEDNN_OPTS decides.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
