"""Imported by the worker processes that a command starts, to silence TensorFlow there too.

Apache Beam's workers import it before anything else: `--beam_plugin=lxmert_tf.quiet_worker`.
"""

from lxmert_tf.runtime import silence_tensorflow

silence_tensorflow()
