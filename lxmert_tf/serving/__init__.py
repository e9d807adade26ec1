"""Answer models as SavedModels: export, a local server, and a client of any server."""

__all__ = ["Client", "ServerError"]


def __getattr__(name):
    # At first use: what imports only a part of serving does not wait for TensorFlow.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lxmert_tf.serving import client

    return getattr(client, name)
