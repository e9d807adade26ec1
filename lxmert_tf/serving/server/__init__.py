"""A local server with the REST API of TensorFlow Serving, for answer models."""
