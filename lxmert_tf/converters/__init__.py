"""Weights of the PyTorch release, of Hugging Face's LXMERT and of BERT, imported and exported."""

# Kinds of checkpoints that `import_weights` reads and `export_weights` writes.
SOURCES = ("lxrt", "huggingface", "bert")
FORMATS = ("lxrt", "huggingface")
# The kind of checkpoint that `lxmert_tf.detector.importing` reads.
DETECTOR = "detector"
