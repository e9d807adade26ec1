"""What the server needs of a loaded model, whichever engine runs it."""

from typing import Any

import numpy as np

from lxmert_tf.serving.input_spec import Specs

Arrays = dict[str, np.ndarray]


class ServedModel:
    """A model, loaded and warmed up.

    Attributes:
        specs: Inputs of each signature.
        metadata: SignatureDefs in the JSON form of TensorFlow Serving.
    """

    specs: dict[str, Specs]
    metadata: dict[str, dict[str, Any]]

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        """Call a signature.

        Args:
            signature: Name of the signature.
            inputs: Its inputs by name.

        Returns:
            Its outputs by name.

        Raises:
            RequestError: The model refuses the inputs (status 400).
        """
        raise NotImplementedError

    def can_batch(self, signature: str) -> bool:
        """Return whether requests can share a call: all inputs have the same batch axis.

        Requests with pictures do not, because the model sees one picture after the other: each
        would only wait for the pictures of the others.
        """
        specs = self.specs[signature]
        return "image" not in specs and all(spec.shape[0] is None for spec in specs.values())
