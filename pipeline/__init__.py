import lxmert_tf  # noqa: F401  (says which Keras it is to be, before TFX imports TensorFlow)
