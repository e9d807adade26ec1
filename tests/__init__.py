import lxmert_tf  # noqa: F401  (says which Keras it is to be, before a test imports TensorFlow)
