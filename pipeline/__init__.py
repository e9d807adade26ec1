"""Data ingestion and the TFX pipeline, built on the model library `lxmert_tf`."""

# Importing lxmert_tf selects Keras 2, which must happen before TFX imports TensorFlow.
import lxmert_tf  # noqa: F401
