"""Data ingestion and the TFX pipeline, built on the model library `lxmert_tf`."""

# Importing lxmert_tf selects Keras 2, which must happen before TFX imports TensorFlow.
import lxmert_tf  # noqa: F401


def __getattr__(name: str):
    # By its type name, a container of Kubeflow finds the class of an artifact here.
    if name == "ApprovedStatistics":
        from pipeline.components.anomaly_gate import ApprovedStatistics

        return ApprovedStatistics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
